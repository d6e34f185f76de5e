/** Text without what is secret in it. */
import { describe, expect, test } from 'vitest';
import { isSecretName, redacted } from '../../../cli/redact.ts';

test.each([
  ['a user\'s part of a URL', 'nats://user:s3cret@host:4222/x', 'nats://REDACTED@host:4222/x'],
  ['a signed URL', 'see https://h/m.onnx?X-Amz-Signature=abc&sig=s3cret&v=1 here', 'see https://h/m.onnx?X-Amz-Signature=REDACTED&sig=REDACTED&v=REDACTED here'],
  ['a bearer token', 'authorization was Bearer s3cret.x-y', 'authorization was Bearer REDACTED'],
  ['a field of JSON', '{"secretKey": "s3cret", "key": "runs/r/1"}', '{"secretKey": "REDACTED", "key": "runs/r/1"}'],
  ['a field of YAML', 'access_key: s3cret\nname: a', 'access_key: REDACTED\nname: a'],
  ['a variable', 'ALUMNUS_S3_SECRET_KEY=s3cret next', 'ALUMNUS_S3_SECRET_KEY=REDACTED next'],
  ['a private key', 'a\n-----BEGIN EC PRIVATE KEY-----\ns3cret\n-----END EC PRIVATE KEY-----\nb', 'a\nREDACTED\nb'],
  ['a private key that is cut off', '-----BEGIN PRIVATE KEY-----\ns3cret', 'REDACTED'],
])('%s', (_, text, expected) => expect(redacted(text)).toBe(expected));

test('values that are known to be secret go wherever they stand, a longer one whole', () => {
  expect(redacted('x=abcd, y=abcdef, z=abc', ['abcd', 'abcdef', 'abc'])).toBe('x=REDACTED, y=REDACTED, z=abc');
});

describe('what is no secret stays', () => {
  test.each(['s3://bucket/prefix?endpoint=https://host:9000&region=us-east-1', 'file:///home/a/store', 'i0.train.student: 2 attempts failed', 'sha256 0123456789abcdef', '"runId": "mnist-1"', '2025-01-02T03:04:05Z coordinator answers'])('%s', (text) => expect(redacted(text)).toBe(text));
});

test('names of secrets are known as such', () => {
  expect(['ALUMNUS_TOKEN', 'ALUMNUS_S3_SECRET_KEY', 'ALUMNUS_S3_ACCESS_KEY', 'password', 'api-key'].every(isSecretName)).toBe(true);
  expect(['ALUMNUS_HOME', 'ALUMNUS_ADDRESS', 'TF_CPP_MIN_LOG_LEVEL', 'key', 'NODE_EXTRA_CA_CERTS'].some(isSecretName)).toBe(false);
});
