/**
 * The bucket as its requests: signed, sent and answered, one attempt each unless it says otherwise, with what an answer's
 * headers and pages say. Not for: what is written or read when (store.ts), nor for whole objects (upload.ts, download.ts).
 */
import type { IncomingMessage } from 'node:http';
import type { LookupFunction } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from 'minio';
import { AlumnusError } from '../../proto/errors.ts';
import { checkKey } from '../keys.ts';
import { BrokenAnswerError, StalledError, isMissingObject, isRetryable, xmlElements, xmlText } from './failure.ts';
import type { S3Credentials, S3Location } from './location.ts';
import { Retries, type Surroundings } from './retry.ts';
import { STALL_MS, agentFor, transportFor } from './transport.ts';

/** Of an answer that we read as text: a full page with the longest keys stays below. */
const TEXT_BYTES_MAX = 16 * 1024 * 1024;
/** S3's limit for a key, the store's prefix included. */
const KEY_BYTES_MAX = 1024;
/** What is ours in the bucket and no object of the store: `list` leaves it out. */
export const OWN = '.alumnus/';
/** Before the name of what an object says of itself. */
export const HEADER = 'x-amz-meta-';

export interface BucketOptions {
  readonly surroundings?: Surroundings;
  /** Certificates to trust in this store alone, PEM. */
  readonly ca?: string;
  readonly lookup?: LookupFunction;
  readonly stallMs?: number;
}

export interface Head {
  readonly bytes: number;
  /** Without quotes. */
  readonly etag: string;
  /** As sent: escaped. */
  readonly metadata: Readonly<Record<string, string>>;
}

export interface Request {
  readonly method: 'GET' | 'HEAD' | 'PUT' | 'POST' | 'DELETE';
  /** Of the store, without its prefix; none for the bucket itself. */
  readonly key?: string;
  readonly query?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Buffer;
}

const systemSurroundings: Surroundings = { now: () => performance.now(), random: Math.random, sleep: (ms) => sleep(ms) };

export class Bucket {
  readonly location: S3Location;
  readonly retries: Retries;
  readonly stallMs: number;
  readonly #client: Client;

  constructor(location: S3Location, { accessKey, secretKey, sessionToken }: S3Credentials, options: BucketOptions) {
    this.location = location;
    this.stallMs = options.stallMs ?? STALL_MS;
    this.retries = new Retries(options.surroundings ?? systemSurroundings, isRetryable);
    const transport = {
      secure: location.secure, stallMs: this.stallMs,
      ...(options.ca === undefined ? {} : { ca: options.ca }), ...(options.lookup === undefined ? {} : { lookup: options.lookup }),
    };
    this.#client = new Client({
      endPoint: location.host, port: location.port, useSSL: location.secure, region: location.region, pathStyle: location.pathStyle,
      accessKey, secretKey, ...(sessionToken === undefined ? {} : { sessionToken }),
      transport: transportFor(transport), transportAgent: agentFor(transport),
      // Its own retries tell nobody and know no budget.
      retryOptions: { disableRetry: true },
    });
  }

  /** Tried again. Undefined where there is no such object. */
  async head(key: string): Promise<Head | undefined> {
    try {
      return await this.retries.run(async () => {
        const { response } = await this.text({ method: 'HEAD', key });
        const metadata = Object.entries(response.headers).filter(([name]) => name.startsWith(HEADER)).map(([name, value]) => [name.slice(HEADER.length), String(value)]);
        return { bytes: lengthOf(response), etag: etagOf(response), metadata: Object.fromEntries(metadata) as Record<string, string> };
      });
    } catch (thrown) {
      if (isMissingObject(thrown)) return undefined;
      throw thrown;
    }
  }

  /** A page of the listing, keys as the store has them. */
  async page(prefix: string, token: string | undefined, countMax: number): Promise<{ entries: { key: string; bytes: number }[]; token: string | undefined }> {
    const root = this.location.prefix === '' ? '' : `${this.location.prefix}/`;
    const query = [
      ...(token === undefined ? [] : [`continuation-token=${encodeURIComponent(token)}`]),
      'encoding-type=url', 'list-type=2', `max-keys=${countMax}`, `prefix=${escapeQuery(root + prefix)}`,
    ].join('&');
    const { text } = await this.text({ method: 'GET', query });
    if (!text.includes('<ListBucketResult')) throw new BrokenAnswerError('the answer is no listing');
    const entries = xmlElements(text, 'Contents').map((entry) => {
      const key = xmlText(entry, 'Key');
      const bytes = Number(xmlText(entry, 'Size') ?? Number.NaN);
      if (key === undefined || !Number.isSafeInteger(bytes)) throw new BrokenAnswerError('an entry of the listing has no key or size');
      return { key: decodeURIComponent(key.replaceAll('+', ' ')).slice(root.length), bytes };
    });
    const next = xmlText(text, 'IsTruncated') === 'true' ? xmlText(text, 'NextContinuationToken') : undefined;
    if (next === undefined && xmlText(text, 'IsTruncated') === 'true') throw new BrokenAnswerError('the listing goes on without saying where');
    return { entries, token: next };
  }

  /** One attempt. Statuses beyond 2xx are thrown as `S3Failure`, by the transport. */
  request({ method, key, query, headers = {}, body }: Request): Promise<IncomingMessage> {
    return this.#client.makeRequestAsync({
      method, bucketName: this.location.bucket, headers: { ...headers },
      ...(key === undefined ? {} : { objectName: this.#fullKey(key) }), ...(query === undefined ? {} : { query }),
    }, body ?? '', [200, 204, 206]);
  }

  /** One attempt, its answer read to the end. */
  async text(request: Request): Promise<{ response: IncomingMessage; text: string }> {
    const response = await this.request(request);
    if (request.method === 'HEAD') {
      response.resume();
      return { response, text: '' };
    }
    return { response, text: (await this.readAll(response, TEXT_BYTES_MAX)).toString() };
  }

  /** @throws BrokenAnswerError where it is longer than `bytesMax`, or shorter than it said */
  async readAll(response: IncomingMessage, bytesMax: number): Promise<Buffer> {
    const chunks: Buffer[] = [];
    let bytes = 0;
    for await (const chunk of chunksOf(response, this.stallMs)) {
      bytes += chunk.byteLength;
      if (bytes > bytesMax) throw new BrokenAnswerError(`the answer is longer than ${bytesMax} bytes`);
      chunks.push(chunk);
    }
    if (response.headers['content-length'] !== undefined && bytes !== lengthOf(response)) throw new BrokenAnswerError('the answer broke off');
    return Buffer.concat(chunks);
  }

  #fullKey(key: string): string {
    return this.location.prefix === '' ? key : `${this.location.prefix}/${key}`;
  }

  /** The key itself. @throws AlumnusError USAGE where it is none for this bucket */
  check(key: string): string {
    checkKey(key);
    if (Buffer.byteLength(this.#fullKey(key)) > KEY_BYTES_MAX) throw new AlumnusError('USAGE', `the object key, with the store's prefix, is longer than ${KEY_BYTES_MAX} bytes`, { where: JSON.stringify(key) });
    return key;
  }
}

export const unquoted = (etag: string): string => etag.replace(/^"|"$/g, '');
export const etagOf = (response: IncomingMessage): string => unquoted(response.headers.etag ?? '');

export function lengthOf(response: IncomingMessage): number {
  const length = Number(response.headers['content-length'] ?? Number.NaN);
  if (!Number.isSafeInteger(length)) throw new BrokenAnswerError('the answer does not say how long it is');
  return length;
}

/** As signing wants it: `encodeURIComponent` leaves a few characters that S3 escapes. */
const escapeQuery = (text: string): string => encodeURIComponent(text).replace(/[!'()*]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`);

/** The answer's body. Waiting for the next chunk has an end; a reader that rests between two chunks has all the time. */
export async function* chunksOf(response: IncomingMessage, stallMs: number): AsyncIterable<Buffer> {
  const iterator = response[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  let timer: NodeJS.Timeout | undefined;
  try {
    for (;;) {
      const stalled = new Promise<never>((_, reject) => {
        timer = setTimeout(() => reject(new StalledError(`no byte came for ${stallMs} ms`)), stallMs);
      });
      const next = await Promise.race([iterator.next(), stalled]);
      clearTimeout(timer);
      if (next.done === true) return;
      yield next.value;
    }
  } finally {
    clearTimeout(timer);
    // Closes the connection where the body was not read to its end; otherwise it is free for others already.
    if (!response.readableEnded) response.destroy();
  }
}
