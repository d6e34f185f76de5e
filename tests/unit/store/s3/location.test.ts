/** Where a bucket lies, what may stand in its URL, and which keys are taken. */
import { describe, expect, it } from 'vitest';
import { credentialsFrom, parseS3Url } from '../../../../store/s3/location.ts';

describe('a store\'s s3:// URL', () => {
  it('names bucket, prefix, endpoint, region and addressing', () => {
    expect(parseS3Url('s3://data/team/a?endpoint=https://s3.example.org:9443&region=eu-west-3&addressing=virtual-host')).toMatchObject({
      bucket: 'data', prefix: 'team/a', secure: true, host: 's3.example.org', port: 9443, region: 'eu-west-3', pathStyle: false,
    });
    expect(parseS3Url('s3://data?endpoint=http://127.0.0.1:9000')).toMatchObject({ prefix: '', secure: false, host: '127.0.0.1', port: 9000, region: 'us-east-1', pathStyle: true });
    expect(parseS3Url('s3://data/?endpoint=http://[::1]')).toMatchObject({ prefix: '', host: '::1', port: 80 });
    expect(parseS3Url('s3://data/with%20space/?endpoint=https%3A%2F%2Fminio')).toMatchObject({ prefix: 'with space', host: 'minio', port: 443 });
  });

  it.each([
    's3://', 's3:///prefix', 's3://UPPER', 's3://a', 's3://a..b', 's3://data:9000', 's3://data?endpoint=ftp://x', 's3://data?endpoint=x', 's3://data?endpoint=http://x/path', 's3://data?endpoint=http://key:secret@x',
    's3://key:secret@data', 's3://key@data', 's3://data?secret=x', 's3://data?region=a&region=b', 's3://data?addressing=auto', 's3://data/../x/%2e%2e?endpoint=http://x', 's3://data/a//b', 's3://data#x',
    's3://da.ta?endpoint=https://x&addressing=virtual-host',
  ])('is refused with a sentence when it is %j', (url) => {
    expect(() => parseS3Url(url)).toThrow(expect.objectContaining({ code: 'USAGE' }));
  });

  it('does not repeat a secret that was written into it', () => {
    try {
      parseS3Url('s3://key:hush@data');
      expect.unreachable();
    } catch (thrown) {
      expect(`${String(thrown)} ${JSON.stringify(thrown)}`).not.toContain('hush');
    }
  });
});

describe('the keys of a store', () => {
  const aws = { AWS_ACCESS_KEY_ID: 'a', AWS_SECRET_ACCESS_KEY: 'b', AWS_SESSION_TOKEN: 'c' };
  it('are ours, else those of the AWS tools', () => {
    expect(credentialsFrom(aws, 's3://x')).toEqual({ accessKey: 'a', secretKey: 'b', sessionToken: 'c' });
    expect(credentialsFrom({ ...aws, ALUMNUS_S3_ACCESS_KEY: 'd', ALUMNUS_S3_SECRET_KEY: 'e' }, 's3://x')).toEqual({ accessKey: 'd', secretKey: 'e' });
  });

  it.each([[{}], [{ AWS_ACCESS_KEY_ID: 'a' }], [{ ...aws, ALUMNUS_S3_SECRET_KEY: 'e' }]])('are missed with a sentence in %o', (env) => {
    expect(() => credentialsFrom(env, 's3://x')).toThrow(expect.objectContaining({ code: 'STORE_DENIED' }));
  });
});
