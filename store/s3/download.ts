/** Downloads: a range of an object in one attempt, checked against the length that was asked for. Not for: trying again or digests; that is store.ts. */
import type { IncomingMessage } from 'node:http';
import { AlumnusError } from '../../proto/errors.ts';
import { lengthMismatch } from '../mismatch.ts';
import type { ObjectRef } from '../object-store.ts';
import { chunksOf, lengthOf, type Bucket } from './bucket.ts';
import { BrokenAnswerError, S3Failure } from './failure.ts';

/** Bytes [start, end) of the object in one request, all of them or a failure. */
export async function* rangeOf(bucket: Bucket, ref: ObjectRef, start: number, end: number): AsyncIterable<Buffer> {
  const whole = start === 0 && end === ref.bytes;
  let response: IncomingMessage;
  try {
    response = await bucket.request({ method: 'GET', key: ref.key, ...(whole ? {} : { headers: { range: `bytes=${start}-${end - 1}` } }) });
  } catch (thrown) {
    // The range lies behind the end of what is there.
    if (thrown instanceof S3Failure && thrown.status === 416) await checkLength(bucket, ref);
    throw thrown;
  }
  const [, total] = /\/(\d+)$/.exec(response.headers['content-range'] ?? '') ?? [];
  try {
    const there = response.statusCode === 206 ? Number(total) : lengthOf(response);
    if (there !== ref.bytes) throw lengthMismatch(ref, there);
    if (!whole && response.statusCode !== 206) throw new AlumnusError('INTERNAL', 'the object store ignores ranges', { where: ref.key });
  } catch (thrown) {
    response.destroy();
    throw thrown;
  }
  let bytes = 0;
  for await (const chunk of chunksOf(response, bucket.stallMs)) {
    bytes += chunk.byteLength;
    if (bytes > end - start) throw new BrokenAnswerError('the answer is longer than it said');
    yield chunk;
  }
  if (bytes !== end - start) throw new BrokenAnswerError('the answer broke off');
}

/** @throws AlumnusError OBJECT_NOT_FOUND, DIGEST_MISMATCH */
export async function checkLength(bucket: Bucket, ref: ObjectRef): Promise<void> {
  const head = await bucket.head(ref.key);
  if (head === undefined) throw new AlumnusError('OBJECT_NOT_FOUND', 'the object is not in the store', { where: ref.key });
  if (head.bytes !== ref.bytes) throw lengthMismatch(ref, head.bytes);
}
