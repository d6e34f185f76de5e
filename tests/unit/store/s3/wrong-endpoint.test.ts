/** What a person is told whose URL names a port that answers, but not as S3: the words are those of MinIO's console, of Go's HTTP server and of OpenSSL. */
import { createServer, type Server } from 'node:http';
import { createServer as createRawServer, type AddressInfo, type Server as RawServer } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { openS3Store } from '../../../../store/s3/index.ts';

const KEYS = { ALUMNUS_S3_ACCESS_KEY: 'key', ALUMNUS_S3_SECRET_KEY: 'secret-key' };
let server: Server | RawServer | undefined;
afterEach(() => new Promise<void>((resolve) => server?.close(() => resolve())));

async function opened(on: Server | RawServer, scheme: 'http' | 'https'): Promise<unknown> {
  server = on;
  await new Promise<void>((resolve) => on.listen(0, '127.0.0.1', resolve));
  const url = `s3://bucket?endpoint=${scheme}://127.0.0.1:${(on.address() as AddressInfo).port}`;
  return openS3Store(url, KEYS).then(() => undefined, (thrown: unknown) => thrown);
}

test('the console\'s port', async () => {
  const body = '<?xml version="1.0" encoding="UTF-8"?><Error><Code>InvalidArgument</Code><Message>S3 API Requests must be made to API port.</Message></Error>';
  const console = createServer((_, response) => response.writeHead(400, { 'content-type': 'application/xml', connection: 'close' }).end(body));
  expect(await opened(console, 'http')).toMatchObject({ code: 'USAGE', message: expect.stringContaining('answers, but not as S3') as string });
});

test('HTTP on a port of TLS', async () => {
  const tls = createRawServer((socket) => socket.on('error', () => undefined).once('data', () => socket.end('HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n')));
  expect(await opened(tls, 'http')).toMatchObject({ code: 'USAGE', message: 'the endpoint speaks TLS: write https:// into the store\'s URL' });
});

test('TLS on a port of plain HTTP', async () => {
  const plain = createServer((_, response) => response.end());
  expect(await opened(plain, 'https')).toMatchObject({ code: 'STORE_UNREACHABLE', message: expect.stringContaining('speaks no TLS') as string });
});
