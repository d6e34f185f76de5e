/** Between node:http and the page: answers with the headers that keep a page safe, errors with the HTTP status that their row's gRPC status is. Not for: what is answered. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { isIP } from 'node:net';
import { AlumnusError, errorTable, grpcStatus } from '../../proto/errors.ts';
import { API_VERSION } from '../../proto/machine.ts';
import type { ErrorAnswer } from '../../proto/page.ts';
import type { Encoded } from './encoded.ts';

const httpStatus: Readonly<Record<number, number>> = {
  [grpcStatus.invalidArgument]: 400, [grpcStatus.unauthenticated]: 401, [grpcStatus.permissionDenied]: 403, [grpcStatus.notFound]: 404, [grpcStatus.alreadyExists]: 409,
  [grpcStatus.failedPrecondition]: 409, [grpcStatus.aborted]: 409, [grpcStatus.resourceExhausted]: 429, [grpcStatus.unavailable]: 503, [grpcStatus.deadlineExceeded]: 504,
};

export const statusOf = (error: AlumnusError): number => httpStatus[errorTable[error.code].grpc] ?? 500;

/** Scripts, styles and calls of our own origin alone; the gallery's images come as data. */
const SECURITY = {
  'content-security-policy': "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff', 'referrer-policy': 'no-referrer', 'cross-origin-resource-policy': 'same-origin', 'cross-origin-opener-policy': 'same-origin',
} as const;

export interface Headers {
  readonly [name: string]: string;
}

export const headersOf = (more: Headers): Headers => ({ ...SECURITY, ...more });

/** In full, compressed, or not at all where the asker has it already. */
export async function answer(request: IncomingMessage, response: ServerResponse, encoded: Encoded, more: Headers): Promise<void> {
  const headers = headersOf({ ...more, etag: encoded.etag, vary: 'accept-encoding, authorization' });
  if (request.headers['if-none-match'] === encoded.etag) return void response.writeHead(304, headers).end();
  const compressed = /\bgzip\b/.test(request.headers['accept-encoding'] ?? '') ? await encoded.compressed() : undefined;
  const body = compressed ?? encoded.body;
  response.writeHead(200, { ...headers, ...(compressed === undefined ? {} : { 'content-encoding': 'gzip' }), 'content-length': String(body.byteLength) });
  response.end(request.method === 'HEAD' ? undefined : body);
}

export const JSON_TYPE = 'application/json; charset=utf-8';

export function errorAnswer(error: AlumnusError): ErrorAnswer {
  const { code, message, where, remedy } = error;
  return { apiVersion: API_VERSION, kind: 'Error', code, message, where: code === 'NOT_LEADER' ? '' : where, remedy, ...(code === 'NOT_LEADER' ? { leader: where } : {}) };
}

export function refuse(response: ServerResponse, error: AlumnusError): void {
  if (response.headersSent) return void response.destroy();
  const status = statusOf(error);
  response.writeHead(status, headersOf({ 'content-type': JSON_TYPE, 'cache-control': 'no-store', ...(status === 401 ? { 'www-authenticate': 'Bearer' } : {}), ...(status === 503 || status === 429 ? { 'retry-after': '1' } : {}) }));
  response.end(JSON.stringify(errorAnswer(error)));
}

const BODY_BYTES_MAX = 16_384;

/** @throws AlumnusError USAGE where it is too large, or no JSON object */
export async function readJson(request: IncomingMessage): Promise<Readonly<Record<string, unknown>>> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.byteLength;
    if (bytes > BODY_BYTES_MAX) throw new AlumnusError('USAGE', `the body has more than ${BODY_BYTES_MAX} bytes`);
    chunks.push(chunk);
  }
  let value: unknown;
  try {
    value = JSON.parse(Buffer.concat(chunks).toString('utf8'));
  } catch (thrown) {
    throw new AlumnusError('USAGE', 'the body is not JSON', { cause: thrown });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new AlumnusError('USAGE', 'the body is not a JSON object');
  return value as Readonly<Record<string, unknown>>;
}

export function bearerOf(request: IncomingMessage): string | undefined {
  return /^Bearer +(\S+)$/i.exec(request.headers.authorization ?? '')?.[1];
}

const hostName = (host: string): string => host.replace(/:\d*$/, '').replace(/^\[(.*)\]$/, '$1').toLowerCase();

/**
 * Where nobody needs a token, a page of another site must not speak for whoever opens it: it cannot under an address or a name of this machine, since a browser lets
 * it call only its own name, and that is none of these, wherever it points to.
 */
export function isOwnName(request: IncomingMessage, names: ReadonlySet<string>): boolean {
  const name = hostName(request.headers.host ?? '');
  return isIP(name) !== 0 || name === 'localhost' || name.endsWith('.localhost') || names.has(name);
}

/** A command comes from this page, or from no page at all. */
export function isSameOrigin(request: IncomingMessage): boolean {
  const { origin, host } = request.headers;
  const site = request.headers['sec-fetch-site'];
  if (site !== undefined && site !== 'same-origin' && site !== 'none') return false;
  if (origin === undefined) return true;
  try {
    return new URL(origin).host === host;
  } catch {
    return false;
  }
}
