/**
 * How requests reach the server, below the client that signs them: every wait has an end, and every answer that says no
 * becomes an `S3Failure` before the client sees it (the client would tell a busy server and a lost one alike).
 *
 * Invariants:
 *  1. No attempt waits on a connection that stands still for longer than the stall time.
 *  2. An answer that was refused is read to its end or its connection is closed: none is left hanging.
 */
import http from 'node:http';
import https from 'node:https';
import type { LookupFunction } from 'node:net';
import type { ClientOptions } from 'minio';
import { StalledError, failureOf } from './failure.ts';

/** A server on another continent answers in far less; a lost packet or two are repeated by then. */
export const CONNECT_MS_MAX = 10_000;
/** How long nothing may move. Disks that spin up and garbage collections of servers stay below. */
export const STALL_MS = 30_000;
/** Putting the parts of an upload together takes a server a while, and it may say nothing meanwhile. */
const COMPLETE_MS_MAX = 300_000;
/** A request of at most one part: what crawls on beyond this is taken again on another connection. */
const ATTEMPT_MS_MAX = 600_000;
/** More connections of one process than this gain nothing and cost the server. */
const CONNECTIONS_MAX = 64;
/** Of an answer that says no. */
const FAILURE_BYTES_MAX = 64 * 1024;

export interface TransportOptions {
  readonly secure: boolean;
  /** Certificates to trust beside the system's, in PEM; NODE_EXTRA_CA_CERTS is how a user names them. */
  readonly ca?: string;
  readonly lookup?: LookupFunction;
  readonly stallMs: number;
}

type Transport = NonNullable<ClientOptions['transport']>;

/** Connections that are kept open between requests and hold no process. */
export function agentFor({ secure, ca, lookup }: TransportOptions): http.Agent {
  const options = { keepAlive: true, maxSockets: CONNECTIONS_MAX, ...(lookup === undefined ? {} : { lookup }) };
  return secure ? new https.Agent({ ...options, ...(ca === undefined ? {} : { ca }) }) : new http.Agent(options);
}

export function transportFor({ secure, stallMs }: TransportOptions): Transport {
  const start = (options: https.RequestOptions, onResponse: (response: http.IncomingMessage) => void): http.ClientRequest => {
    const path = options.path ?? '';
    const completes = options.method === 'POST' && path.includes('uploadId=');
    const request = (secure ? https : http).request(options);
    const limit = setTimeout(() => request.destroy(new StalledError(`no answer within ${ATTEMPT_MS_MAX} ms`)), ATTEMPT_MS_MAX);
    const waitMs = completes ? COMPLETE_MS_MAX : stallMs;
    request.setTimeout(waitMs, () => request.destroy(new StalledError(`nothing moved for ${waitMs} ms`)));
    request.once('socket', (socket) => {
      if (!socket.connecting) return;
      const connectMs = Math.min(CONNECT_MS_MAX, stallMs);
      const connecting = setTimeout(() => request.destroy(new StalledError(`no connection within ${connectMs} ms`)), connectMs);
      for (const event of [secure ? 'secureConnect' : 'connect', 'close']) socket.once(event, () => clearTimeout(connecting));
    });
    request.once('close', () => clearTimeout(limit));
    request.once('response', (response) => {
      clearTimeout(limit);
      // It may break before anybody reads it, and whoever reads it is told then.
      response.on('error', () => undefined);
      if ((response.statusCode ?? 0) < 300) {
        // An object's bytes are waited for by whoever reads them, who may take a rest; all else is read at once.
        if (options.method === 'GET' && !path.includes('?')) request.setTimeout(0);
        onResponse(response);
        return;
      }
      refuse(request, response);
    });
    return request;
  };
  // The client calls it in this one way.
  return { request: start } as unknown as Transport;
}

function refuse(request: http.ClientRequest, response: http.IncomingMessage): void {
  const chunks: Buffer[] = [];
  let bytes = 0;
  response.on('data', (chunk: Buffer) => {
    bytes += chunk.byteLength;
    if (bytes <= FAILURE_BYTES_MAX) chunks.push(chunk);
    else request.destroy();
  });
  // Also where the answer breaks off: its status was seen.
  let told = false;
  const tell = (): void => {
    if (told) return;
    told = true;
    const region = response.headers['x-amz-bucket-region'];
    const failure = failureOf(response.statusCode ?? 0, Buffer.concat(chunks).toString(), typeof region === 'string' ? region : '');
    request.emit('error', failure);
    // The server would not read the rest of what we send.
    if (!request.writableFinished) request.destroy();
  };
  response.once('end', tell).once('close', tell).once('error', tell);
}
