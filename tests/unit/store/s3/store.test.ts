/**
 * What no server at hand does: one that knows no conditional put, one that keeps other bytes than it was given, one that fails
 * behind a 200, one that answers nonsense. A few lines of HTTP stand in for them, kept in memory.
 */
import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { PART_BYTES, openS3Store, type S3Store } from '../../../../store/s3/index.ts';
import { failureOf, isRetryable, toStoreError, xmlText } from '../../../../store/s3/failure.ts';
import { partBounds } from '../../../../store/s3/upload.ts';
import { collect } from '../conformance.ts';

const KEYS = { ALUMNUS_S3_ACCESS_KEY: 'a', ALUMNUS_S3_SECRET_KEY: 'b' };
const bytes = (text: string): Buffer => Buffer.from(text);
const error = (code: string): string => `<Error><Code>${code}</Code><Message>said so</Message></Error>`;

interface Stored {
  readonly body: Buffer;
  readonly etag: string;
  readonly metadata: Record<string, string>;
}

let server: Server;
let url: string;
let objects: Map<string, Stored>;
/** Called first; true where it answered. */
let quirk: (request: IncomingMessage, response: ServerResponse, body: Buffer) => boolean;
let puts: string[];

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  const body = Buffer.concat(chunks);
  const target = new URL(request.url ?? '/', 'http://x');
  const key = decodeURIComponent(target.pathname.replace(/^\/bucket\/?/, ''));
  if (request.method === 'PUT') puts.push(key);
  if (quirk(request, response, body)) return;
  const stored = objects.get(key);
  if (request.method === 'PUT') {
    const metadata = Object.fromEntries(Object.entries(request.headers).filter(([name]) => name.startsWith('x-amz-meta-')).map(([name, value]) => [name, String(value)]));
    const etag = createHash('md5').update(body).digest('hex');
    objects.set(key, { body, etag, metadata });
    response.writeHead(200, { etag: `"${etag}"` }).end();
  } else if (request.method === 'DELETE') {
    objects.delete(key);
    response.writeHead(204).end();
  } else if (target.searchParams.has('list-type')) {
    response.writeHead(200).end(`<ListBucketResult>${[...objects].map(([each, { body: { length } }]) => `<Contents><Key>${each}</Key><Size>${length}</Size></Contents>`).join('')}<IsTruncated>false</IsTruncated></ListBucketResult>`);
  } else if (stored === undefined) {
    response.writeHead(404).end(request.method === 'HEAD' ? undefined : error('NoSuchKey'));
  } else {
    response.writeHead(200, { ...stored.metadata, 'etag': `"${stored.etag}"`, 'content-length': stored.body.length }).end(request.method === 'HEAD' ? undefined : stored.body);
  }
}

const open = (): Promise<S3Store> => openS3Store(url, KEYS, { surroundings: { now: () => 0, random: () => 0, sleep: () => Promise.resolve() } });

beforeEach(async () => {
  objects = new Map();
  quirk = () => false;
  puts = [];
  server = createServer((request, response) => void answer(request, response));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  url = `s3://bucket?endpoint=http://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`;
});
afterEach(() => {
  server.close();
  server.closeAllConnections();
});

describe('on a server that knows no conditional put', () => {
  it('a name is created where nothing lies, and left alone where something does', async () => {
    const store = await open();
    expect(await store.putNamed('name', bytes('one'))).toMatchObject({ created: true });
    expect(await store.putNamed('name', bytes('other'))).toMatchObject({ created: false, ref: { bytes: 3 } });
    expect(objects.get('name')?.body.toString()).toBe('one');
    // The question was asked once, and is no object of the store.
    expect(puts).toEqual(['.alumnus/conditional-put', '.alumnus/conditional-put', 'name']);
    expect(await collect(store.list(''))).toEqual([{ key: 'name', bytes: 3 }]);
    expect(await store.metadata('name')).toEqual({});
  });

  it('a writer that was written over at the same moment sees it', async () => {
    const store = await open();
    quirk = (request, response) => {
      if (request.method !== 'PUT' || request.url !== '/bucket/name') return false;
      objects.set('name', { body: bytes('faster'), etag: 'x', metadata: { 'x-amz-meta-alumnus-put': 'somebody else' } });
      response.writeHead(200, { etag: '"x"' }).end();
      return true;
    };
    expect(await store.putNamed('name', bytes('slower'))).toMatchObject({ created: false, ref: { bytes: 6 } });
  });

  it('one that refuses the header is taken for such a server, too', async () => {
    const store = await open();
    quirk = (request, response) => {
      if (request.headers['if-none-match'] === undefined) return false;
      response.writeHead(501).end(error('NotImplemented'));
      return true;
    };
    expect(await store.putNamed('name', bytes('one'))).toMatchObject({ created: true });
  });
});

describe('on a server that is not what it seems', () => {
  it('a put resolves only when the right bytes lie there', async () => {
    const store = await open();
    quirk = (request, response, body) => {
      if (request.method !== 'PUT') return false;
      objects.set('p/x', { body, etag: 'y', metadata: {} });
      for (const key of puts) objects.set(key, { body: Buffer.alloc(body.length), etag: '0'.repeat(32), metadata: {} });
      response.writeHead(200, { etag: '"00000000000000000000000000000000"' }).end();
      return true;
    };
    await expect(store.putAddressed('p', bytes('weights'))).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' });
    expect(puts).toHaveLength(3);
  });

  it('bytes under an ETag that is no MD5 (encryption) are read back', async () => {
    const store = await open();
    let reads = 0;
    quirk = (request, response, body) => {
      if (request.method === 'GET') reads += 1;
      if (request.method !== 'PUT') return false;
      objects.set(puts.at(-1) ?? '', { body, etag: 'f'.repeat(32), metadata: {} });
      response.writeHead(200, { etag: `"${'f'.repeat(32)}"` }).end();
      return true;
    };
    const ref = await store.putAddressed('p', bytes('weights'));
    expect(reads).toBe(1);
    expect(Buffer.from(await store.get(ref)).toString()).toBe('weights');
  });

  it('a failure behind a 200 fails the upload, which is given up', async () => {
    const store = await open();
    const asked: string[] = [];
    quirk = (request, response) => {
      const query = new URL(request.url ?? '', 'http://x').searchParams;
      if (!query.has('uploads') && !query.has('uploadId')) return false;
      asked.push(`${request.method} ${query.has('uploads') ? 'begin' : query.has('partNumber') ? 'part' : 'end'}`);
      if (query.has('uploads')) response.writeHead(200).end('<R><UploadId>a&amp;b/c=</UploadId></R>');
      else if (query.get('uploadId') !== 'a&b/c=') response.writeHead(400).end(error('InvalidArgument'));
      else if (request.method === 'PUT') response.writeHead(200, { etag: '"e"' }).end();
      else if (request.method === 'POST') response.writeHead(200).end(`  ${error('InternalError')}`);
      else response.writeHead(204).end();
      return true;
    };
    await expect(store.putAddressed('p', Buffer.alloc(PART_BYTES + 1))).rejects.toMatchObject({ code: 'STORE_UNREACHABLE', retryable: true });
    expect(asked.filter((each) => each === 'POST end')).toHaveLength(8);
    expect(asked.at(-1)).toBe('DELETE end');
  });

  it('an answer that is no listing is taken again, and then for an outage', async () => {
    const store = await open();
    let asked = 0;
    quirk = (_, response) => {
      asked += 1;
      response.writeHead(200).end('<html>Please sign in</html>');
      return true;
    };
    await expect(collect(store.list(''))).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' });
    expect(asked).toBe(8);
  });

  it('a full store, a denied request and an unknown refusal each have their own word', async () => {
    const store = await open();
    for (const [status, code, expected] of [[507, 'XMinioStorageFull', 'STORE_FULL'], [403, 'AccessDenied', 'STORE_DENIED'], [400, 'InvalidArgument', 'INTERNAL'], [400, 'AuthorizationHeaderMalformed', 'USAGE'], [404, 'NoSuchBucket', 'BUCKET_NOT_FOUND']] as const) {
      let asked = 0;
      quirk = (_, response) => {
        asked += 1;
        response.writeHead(status).end(error(code));
        return true;
      };
      await expect(store.getNamed('name'), code).rejects.toMatchObject({ code: expected });
      expect(asked, code).toBe(1);
    }
  });
});

describe('failures', () => {
  it('are read from S3\'s XML, escapes undone and nothing expanded', () => {
    expect(xmlText('<A><Key>a&amp;b&lt;&#x41;&#66;&other;</Key></A>', 'Key')).toBe('a&b<AB&other;');
    expect(failureOf(503, error('SlowDown'), '')).toMatchObject({ status: 503, code: 'SlowDown', message: 'HTTP 503: SlowDown: said so' });
    expect(toStoreError(failureOf(301, '', 'eu-west-3'), 's3://x')).toMatchObject({ code: 'USAGE', message: expect.stringContaining('eu-west-3') });
  });

  it('are tried again where they may pass by themselves, and only there', () => {
    const node = (code: string): Error => Object.assign(new Error(code), { code });
    for (const passing of [failureOf(500, '', ''), failureOf(503, error('SlowDown'), ''), failureOf(429, '', ''), failureOf(400, error('BadDigest'), ''), failureOf(409, error('ConditionalRequestConflict'), ''), node('ECONNRESET'), node('EAI_AGAIN'), node('HPE_INVALID_CONSTANT'), node('ERR_SSL_DECRYPTION_FAILED_OR_BAD_RECORD_MAC')]) expect(isRetryable(passing), passing.message).toBe(true);
    for (const lasting of [failureOf(403, error('AccessDenied'), ''), failureOf(404, error('NoSuchKey'), ''), failureOf(412, '', ''), failureOf(501, '', ''), failureOf(507, error('XMinioStorageFull'), ''), node('CERT_HAS_EXPIRED'), node('ERR_TLS_CERT_ALTNAME_INVALID'), node('ENOSPC'), new Error('a defect')]) expect(isRetryable(lasting), lasting.message).toBe(false);
  });
});

describe('the parts of an upload', () => {
  it('are cut by the length alone, whole, and never too many', () => {
    expect(partBounds(PART_BYTES + 1)).toEqual([[0, PART_BYTES], [PART_BYTES, PART_BYTES + 1]]);
    for (const length of [1, PART_BYTES, 5 * PART_BYTES - 1, 160 * 2 ** 30, 5 * 2 ** 40]) {
      const bounds = partBounds(length);
      expect(bounds.length).toBeLessThanOrEqual(10_000);
      expect(bounds[0]?.[0]).toBe(0);
      expect(bounds.at(-1)?.[1]).toBe(length);
      for (let at = 1; at < bounds.length; at += 1) expect(bounds[at]?.[0]).toBe(bounds[at - 1]?.[1]);
    }
  });
});
