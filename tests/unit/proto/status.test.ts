/** Errors of the table on the wire. The bytes are held against an encoding made by protobuf's own Python library, see below. */
import { Metadata } from '@grpc/grpc-js';
import { expect, test } from 'vitest';
import { AlumnusError, errorTable, type ErrorCode } from '../../../proto/errors.ts';
import { carriedBy, statusOf } from '../../../proto/status.ts';

test.each(Object.keys(errorTable) as ErrorCode[])('%s arrives as it was said', (code) => {
  const error = new AlumnusError(code, 'what happened', { where: 'a place, “quoted”/ü' });
  const { code: status, details, metadata } = statusOf(error);
  expect([status, details]).toEqual([errorTable[code].grpc, 'what happened']);
  expect(carriedBy(metadata)).toEqual({ code, where: 'a place, “quoted”/ü' });
});

test('any client of gRPC\'s richer error model can read it', () => {
  // from google.rpc import status_pb2, error_details_pb2 (googleapis-common-protos); details packed by Any.Pack; SerializeToString().hex()
  const [bytes] = statusOf(new AlumnusError('RUN_NOT_FOUND', 'no such run', { where: 'r1' })).metadata.get('grpc-status-details-bin');
  expect((bytes as Buffer).toString('hex')).toBe('0805120b6e6f20737563682072756e1a650a28747970652e676f6f676c65617069732e636f6d2f676f6f676c652e7270632e4572726f72496e666f12390a0d52554e5f4e4f545f464f554e441207616c756d6e75731a120a09726574727961626c65120566616c73651a0b0a057768657265120272311a5f0a2f747970652e676f6f676c65617069732e636f6d2f676f6f676c652e7270632e4c6f63616c697a65644d657373616765122c0a02656e12264c697374207468652072756e7320776974682060616c756d6e75732072756e206c697374602e');
});

test('trailers of another program, or none, carry no error of ours', () => {
  expect(carriedBy(undefined)).toBeUndefined();
  expect(carriedBy(new Metadata())).toBeUndefined();
  for (const bytes of [Buffer.from([0xff, 0xff]), Buffer.from(''), Buffer.from([0x08, 0x05])]) {
    const metadata = new Metadata();
    metadata.set('grpc-status-details-bin', bytes);
    expect(carriedBy(metadata)).toBeUndefined();
  }
});
