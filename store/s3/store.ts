/**
 * The object store on S3: MinIO, Versity's gateway, and whatever speaks S3 as they do. What is verified when, which requests
 * are made and what a bucket needs is in docs/storage.md.
 *
 * How a write stays whole: S3 shows an object only once all of its bytes came, and refuses those that differ from the MD5 sent
 * along. A put resolves when the server's ETag says that it holds our bytes, or, where the ETag says nothing (encryption), when
 * they were read back. The same bytes get the same key, so a put whose answer was lost is simply taken again.
 *
 * Invariants beyond those of object-store.ts:
 *  1. A name is written under a condition, so it is created once. An object under its digest is written where it is not there, or
 *     where its bytes are not those that its key names; two writers at the same moment write the same bytes twice, no less.
 *     (A condition there would have a server lock the key until a connection that stands still has timed out.)
 *  2. Memory stays bounded whatever is put or streamed: PARTS_AT_ONCE parts for an upload, one chunk for a download.
 *  3. Only what may pass by itself is tried again, within the bounds of retry.ts.
 */
import { createHash, randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { LookupFunction } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from 'minio';
import { AlumnusError, toAlumnusError } from '../../proto/errors.ts';
import { sha256, sha256Stream } from '../digest.ts';
import { checkKey, checkPrefix } from '../keys.ts';
import { METADATA_RESERVED, decodeMetadataValue, encodeMetadata } from '../metadata.ts';
import { digestMismatch, lengthMismatch } from '../mismatch.ts';
import type { ObjectRef, ObjectStore, PutOptions } from '../object-store.ts';
import { BrokenAnswerError, S3Failure, StalledError, failureOf, isMissingObject, isMissingUpload, isRetryable, isTaken, toStoreError, xmlElements, xmlText } from './failure.ts';
import type { S3Credentials, S3Location } from './location.ts';
import { OPEN_ATTEMPTS_MAX, Retries, type Surroundings } from './retry.ts';
import { SPOOL_MEMORY_BYTES_MAX, Spool } from './spool.ts';
import { STALL_MS, agentFor, transportFor } from './transport.ts';

/** S3 takes parts from 5 MiB on; larger ones cost memory, smaller ones requests. The same bytes are always cut alike, so that ETags compare. */
export const PART_BYTES = SPOOL_MEMORY_BYTES_MAX;
/** S3's limit of parts; a larger object gets larger parts. */
const PARTS_MAX = 10_000;
/** Fills a connection to a server nearby; three parts are 48 MiB of memory. */
const PARTS_AT_ONCE = 3;
/** A put whose name another one took and gave up, or that loses its upload to a server's restart, starts again this often. */
const PUT_TRIES_MAX = 3;
/** What S3 gives at most in one page. */
const LIST_PAGE_MAX = 1000;
/** Of an answer that we read as text: a full page with the longest keys stays below. */
const TEXT_BYTES_MAX = 16 * 1024 * 1024;
/** S3's limit for a key, the store's prefix included. */
const KEY_BYTES_MAX = 1024;
/** What is ours in the bucket and no object of the store: `list` leaves it out. */
const OWN = '.alumnus/';
/** An object that stays: writing it "only if it is not there" must fail, and shows that the server knows that condition. */
const PROBE = `${OWN}conditional-put`;
const HEADER = 'x-amz-meta-';

export interface S3StoreOptions {
  readonly surroundings?: Surroundings;
  /** Certificates to trust in this store alone, PEM. */
  readonly ca?: string;
  readonly lookup?: LookupFunction;
  readonly stallMs?: number;
  /** Where uploads beyond the memory's bound are kept while they last. Default: the system's folder (TMPDIR). */
  readonly temporaryFolder?: string;
}

interface Head {
  readonly bytes: number;
  /** Without quotes. */
  readonly etag: string;
  /** As sent: escaped. */
  readonly metadata: Readonly<Record<string, string>>;
}

interface Request {
  readonly method: 'GET' | 'HEAD' | 'PUT' | 'POST' | 'DELETE';
  /** Of the store, without its prefix; none for the bucket itself. */
  readonly key?: string;
  readonly query?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Buffer;
}

const systemSurroundings: Surroundings = { now: () => performance.now(), random: Math.random, sleep: (ms) => sleep(ms) };

export class S3Store implements ObjectStore {
  readonly #location: S3Location;
  readonly #client: Client;
  readonly #retries: Retries;
  readonly #stallMs: number;
  readonly #temporaryFolder: string | undefined;
  /** Whether the server knows `If-None-Match: *`; asked once, by the first name that is written. */
  #conditional: Promise<boolean> | undefined;

  private constructor(location: S3Location, { accessKey, secretKey, sessionToken }: S3Credentials, options: S3StoreOptions) {
    this.#location = location;
    this.#stallMs = options.stallMs ?? STALL_MS;
    this.#temporaryFolder = options.temporaryFolder;
    this.#retries = new Retries(options.surroundings ?? systemSurroundings, isRetryable);
    const transport = {
      secure: location.secure, stallMs: this.#stallMs,
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

  /** Asks the bucket for one key. @throws AlumnusError BUCKET_NOT_FOUND, STORE_DENIED, STORE_UNREACHABLE, STORE_CLOCK_SKEWED, STORE_UNTRUSTED, USAGE */
  static async open(location: S3Location, credentials: S3Credentials, options: S3StoreOptions = {}): Promise<S3Store> {
    const store = new S3Store(location, credentials, options);
    try {
      await store.#retries.run(() => store.#page('', undefined, 1), OPEN_ATTEMPTS_MAX);
    } catch (thrown) {
      throw toStoreError(thrown, location.url);
    }
    return store;
  }

  async putAddressed(prefix: string, content: Uint8Array | AsyncIterable<Uint8Array>, options: PutOptions = {}): Promise<ObjectRef> {
    const keyOf = (digest: string): string => this.#check(`${prefix}/${digest}${options.extension ?? ''}`);
    checkKey(prefix);
    // Said before a long stream is read.
    keyOf('0'.repeat(64));
    const headers = headersOf(encodeMetadata(options.metadata ?? {}, prefix));
    let spool: Spool;
    try {
      spool = await Spool.of(content, this.#temporaryFolder);
    } catch (thrown) {
      throw toAlumnusError(thrown, prefix);
    }
    const ref = { key: keyOf(spool.sha256), sha256: spool.sha256, bytes: spool.bytes };
    try {
      await this.#putSpool(ref, spool, headers);
      return ref;
    } catch (thrown) {
      throw toStoreError(thrown, ref.key);
    } finally {
      await spool.close();
    }
  }

  async putNamed(key: string, content: Uint8Array): Promise<{ created: boolean; ref: ObjectRef }> {
    this.#check(key);
    const ref = { key, sha256: sha256(content), bytes: content.byteLength };
    const body = Buffer.from(content.buffer, content.byteOffset, content.byteLength);
    try {
      const conditional = await this.#knowsConditions();
      for (let tries = 1; tries <= PUT_TRIES_MAX; tries += 1) {
        // Without the condition there is a moment between asking and writing; docs/storage.md says what it means.
        if (!conditional) {
          const there = await this.#namedRef(key);
          if (there !== undefined) return { created: false, ref: there };
        }
        // Tells our own first attempt, whose answer was lost, from another writer.
        const mark = randomUUID();
        try {
          await this.#retries.run(() => this.#putSingle(key, body, { [`${HEADER}${METADATA_RESERVED}`]: mark }, conditional));
        } catch (thrown) {
          if (!isTaken(thrown)) throw thrown;
        }
        const head = await this.#head(key);
        const there = head === undefined ? undefined : await this.#namedRef(key);
        // Deleted meanwhile: the name is free again.
        if (head === undefined || there === undefined) continue;
        if (head.metadata[METADATA_RESERVED] !== mark) return { created: false, ref: there };
        if (there.sha256 !== ref.sha256) throw digestMismatch(ref, there.sha256);
        return { created: true, ref };
      }
      throw new AlumnusError('STORE_UNREACHABLE', 'the name was deleted again and again while it was being created', { where: key });
    } catch (thrown) {
      throw toStoreError(thrown, key);
    }
  }

  async get(ref: ObjectRef): Promise<Uint8Array> {
    let content: Buffer | undefined;
    let at = 0;
    for await (const chunk of this.stream(ref)) {
      // By now the server said that it has so many bytes: a wrong reference asks for no memory.
      content ??= Buffer.allocUnsafeSlow(ref.bytes);
      content.set(chunk, at);
      at += chunk.byteLength;
    }
    return content ?? new Uint8Array(0);
  }

  /** Goes on at the next byte where a connection breaks. The length is checked before the first byte. */
  async *stream(ref: ObjectRef): AsyncIterable<Uint8Array> {
    this.#check(ref.key);
    const hash = sha256Stream();
    const call = this.#retries.call();
    let at = 0;
    for (;;) {
      try {
        for await (const chunk of this.#bytes(ref, at, ref.bytes)) {
          at += chunk.byteLength;
          hash.update(chunk);
          call.progressed();
          yield chunk;
        }
      } catch (thrown) {
        await call.again(thrown).catch((last: unknown) => {
          throw toStoreError(last, ref.key);
        });
        // It broke off behind the last byte.
        if (at < ref.bytes || at === 0) continue;
      }
      break;
    }
    const found = hash.digest('hex');
    if (found !== ref.sha256) throw digestMismatch(ref, found);
  }

  async getRange(ref: ObjectRef, start: number, end: number): Promise<Uint8Array> {
    this.#check(ref.key);
    if (!(Number.isSafeInteger(start) && Number.isSafeInteger(end) && start >= 0 && start <= end && end <= ref.bytes)) {
      throw new AlumnusError('USAGE', `bytes ${start} to ${end} are not within the object's ${ref.bytes}`, { where: ref.key });
    }
    try {
      // S3 has no empty range.
      if (start === end) {
        await this.#checkLength(ref);
        return new Uint8Array(0);
      }
      return await this.#retries.run(async () => {
        const chunks: Uint8Array[] = [];
        for await (const chunk of this.#bytes(ref, start, end)) chunks.push(chunk);
        return Buffer.concat(chunks, end - start);
      });
    } catch (thrown) {
      throw toStoreError(thrown, ref.key);
    }
  }

  async getNamed(key: string): Promise<{ ref: ObjectRef; content: Uint8Array } | undefined> {
    this.#check(key);
    try {
      const content = await this.#retries.run(async () => {
        const response = await this.#request({ method: 'GET', key });
        return this.#readAll(response, Number.MAX_SAFE_INTEGER);
      });
      return { ref: { key, sha256: sha256(content), bytes: content.byteLength }, content };
    } catch (thrown) {
      if (isMissingObject(thrown)) return undefined;
      throw toStoreError(thrown, key);
    }
  }

  async metadata(key: string): Promise<Record<string, string>> {
    this.#check(key);
    try {
      const head = await this.#head(key);
      return Object.fromEntries(Object.entries(head?.metadata ?? {}).filter(([name]) => name !== METADATA_RESERVED).map(([name, value]) => [name, decodeMetadataValue(value)]));
    } catch (thrown) {
      throw toStoreError(thrown, key);
    }
  }

  async *list(prefix: string): AsyncIterable<{ key: string; bytes: number; writtenMs?: number }> {
    checkPrefix(prefix);
    let token: string | undefined;
    do {
      let page;
      try {
        const after = token;
        page = await this.#retries.run(() => this.#page(prefix, after, LIST_PAGE_MAX));
      } catch (thrown) {
        throw toStoreError(thrown, prefix === '' ? this.#location.url : prefix);
      }
      // A key that ends in "/" is what some consoles make of a folder.
      for (const entry of page.entries) if (!entry.key.startsWith(OWN) && !entry.key.endsWith('/')) yield entry;
      token = page.token;
    } while (token !== undefined);
  }

  async delete(key: string): Promise<void> {
    this.#check(key);
    try {
      await this.#retries.run(() => this.#text({ method: 'DELETE', key }));
    } catch (thrown) {
      if (!isMissingObject(thrown)) throw toStoreError(thrown, key);
    }
  }

  // ── Writing

  async #putSpool(ref: ObjectRef, spool: Spool, headers: Readonly<Record<string, string>>): Promise<void> {
    for (let tries = 1; tries <= PUT_TRIES_MAX; tries += 1) {
      const head = await this.#head(ref.key);
      if (head !== undefined && await this.#differs(ref, head, spool) === undefined) return;
      try {
        const etag = spool.bytes <= PART_BYTES
          ? await this.#retries.run(async () => this.#putSingle(ref.key, await spool.read(0, spool.bytes), headers, false))
          : await this.#putParts(ref.key, spool, headers);
        if (await this.#matches(etag, spool)) return;
      } catch (thrown) {
        // It was lost with a server's restart, or completed by an attempt whose answer was lost: the next round looks.
        if (!isMissingUpload(thrown)) throw thrown;
      }
    }
    const head = await this.#head(ref.key);
    const found = head === undefined ? 'that of nothing' : await this.#differs(ref, head, spool);
    if (found !== undefined) throw digestMismatch(ref, found);
  }

  /** One request. @returns the server's ETag */
  async #putSingle(key: string, body: Buffer, headers: Readonly<Record<string, string>>, conditional: boolean): Promise<string> {
    const md5 = createHash('md5').update(body).digest('base64');
    const { response } = await this.#text({ method: 'PUT', key, body, headers: { ...headers, 'content-type': 'application/octet-stream', 'content-md5': md5, ...(conditional ? { 'if-none-match': '*' } : {}) } });
    return etagOf(response);
  }

  async #putParts(key: string, spool: Spool, headers: Readonly<Record<string, string>>): Promise<string> {
    const uploadId = await this.#retries.run(async () => {
      const { text } = await this.#text({ method: 'POST', key, query: 'uploads=', headers: { ...headers, 'content-type': 'application/octet-stream' } });
      const id = xmlText(text, 'UploadId');
      if (id === undefined) throw new BrokenAnswerError('the answer names no upload');
      return id;
    });
    const upload = `uploadId=${encodeURIComponent(uploadId)}`;
    try {
      const etags = await this.#sendParts(key, upload, spool);
      const body = Buffer.from(`<CompleteMultipartUpload>${etags.map((etag, at) => `<Part><PartNumber>${at + 1}</PartNumber><ETag>"${etag}"</ETag></Part>`).join('')}</CompleteMultipartUpload>`);
      return await this.#retries.run(async () => {
        const { text } = await this.#text({ method: 'POST', key, query: upload, body, headers: { 'content-type': 'application/xml' } });
        // S3 may begin its answer with 200 and fail afterwards.
        if (text.includes('<Error>')) throw failureOf(500, text, '');
        const etag = xmlText(text, 'ETag');
        if (etag === undefined) throw new BrokenAnswerError('the answer names no ETag');
        return unquoted(etag);
      });
    } catch (thrown) {
      // Best effort, once: what stays is swept by the bucket's lifecycle rule.
      await this.#text({ method: 'DELETE', key, query: upload }).catch(() => undefined);
      throw thrown;
    }
  }

  async #sendParts(key: string, upload: string, spool: Spool): Promise<string[]> {
    const bounds = partBounds(spool.bytes);
    const etags = new Array<string>(bounds.length);
    let next = 0;
    let failed = false;
    const send = async (): Promise<void> => {
      // One part's memory for all parts that are sent one after the other: garbage of this size piles up.
      const [, partBytes] = bounds[0] ?? [0, 0];
      const memory = Buffer.allocUnsafeSlow(partBytes);
      for (let at = next; at < bounds.length && !failed; at = next) {
        next = at + 1;
        const [start, end] = bounds[at] ?? [0, 0];
        try {
          const body = await spool.read(start, end, memory);
          const md5 = createHash('md5').update(body).digest();
          const etag = await this.#retries.run(async () => {
            const { response } = await this.#text({ method: 'PUT', key, query: `partNumber=${at + 1}&${upload}`, body, headers: { 'content-md5': md5.toString('base64') } });
            return etagOf(response);
          });
          etags[at] = etag;
        } catch (thrown) {
          failed = true;
          throw thrown;
        }
      }
    };
    const results = await Promise.allSettled(Array.from({ length: Math.min(PARTS_AT_ONCE, bounds.length) }, send));
    for (const result of results) if (result.status === 'rejected') throw result.reason;
    return etags;
  }

  /** Whether the ETag alone says that the server holds these bytes. */
  async #matches(etag: string, spool: Spool): Promise<boolean> {
    if (/^[0-9a-f]{32}$/.test(etag)) return etag === (await spool.md5(0, spool.bytes)).toString('hex');
    const [, count] = /^[0-9a-f]{32}-(\d+)$/.exec(etag) ?? [];
    const bounds = partBounds(spool.bytes);
    if (count === undefined || Number(count) !== bounds.length) return false;
    const all = createHash('md5');
    for (const [start, end] of bounds) all.update(await spool.md5(start, end));
    return etag === `${all.digest('hex')}-${bounds.length}`;
  }

  /** The digest of what lies there where it is not ours; undefined where it is. */
  async #differs(ref: ObjectRef, head: Head, spool: Spool): Promise<string | undefined> {
    if (head.bytes !== spool.bytes) return `that of ${head.bytes} bytes`;
    if (await this.#matches(head.etag, spool)) return undefined;
    try {
      for await (const _ of this.stream(ref)) continue;
      return undefined;
    } catch (thrown) {
      if (thrown instanceof AlumnusError && (thrown.code === 'DIGEST_MISMATCH' || thrown.code === 'OBJECT_NOT_FOUND')) return 'that of other bytes';
      throw thrown;
    }
  }

  #knowsConditions(): Promise<boolean> {
    this.#conditional ??= this.#probe().catch((thrown: unknown) => {
      // Asked again by the next one.
      this.#conditional = undefined;
      throw thrown;
    });
    return this.#conditional;
  }

  async #probe(): Promise<boolean> {
    // The first time in a bucket it creates the object; then, and ever after, it must be refused.
    for (let tries = 0; tries < 2; tries += 1) {
      try {
        await this.#retries.run(() => this.#putSingle(PROBE, Buffer.from('Alumnus asks here whether the store knows conditional puts.\n'), {}, true));
      } catch (thrown) {
        if (isTaken(thrown)) return true;
        if (thrown instanceof S3Failure && (thrown.status === 501 || thrown.code === 'NotImplemented')) return false;
        throw thrown;
      }
    }
    return false;
  }

  // ── Reading

  /** Bytes [start, end) of the object in one request, all of them or a failure. */
  async *#bytes(ref: ObjectRef, start: number, end: number): AsyncIterable<Buffer> {
    const whole = start === 0 && end === ref.bytes;
    let response: IncomingMessage;
    try {
      response = await this.#request({ method: 'GET', key: ref.key, ...(whole ? {} : { headers: { range: `bytes=${start}-${end - 1}` } }) });
    } catch (thrown) {
      // The range lies behind the end of what is there.
      if (thrown instanceof S3Failure && thrown.status === 416) await this.#checkLength(ref);
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
    for await (const chunk of chunksOf(response, this.#stallMs)) {
      bytes += chunk.byteLength;
      if (bytes > end - start) throw new BrokenAnswerError('the answer is longer than it said');
      yield chunk;
    }
    if (bytes !== end - start) throw new BrokenAnswerError('the answer broke off');
  }

  async #checkLength(ref: ObjectRef): Promise<void> {
    const head = await this.#head(ref.key);
    if (head === undefined) throw new AlumnusError('OBJECT_NOT_FOUND', 'the object is not in the store', { where: ref.key });
    if (head.bytes !== ref.bytes) throw lengthMismatch(ref, head.bytes);
  }

  async #head(key: string): Promise<Head | undefined> {
    try {
      return await this.#retries.run(async () => {
        const { response } = await this.#text({ method: 'HEAD', key });
        const metadata = Object.entries(response.headers).filter(([name]) => name.startsWith(HEADER)).map(([name, value]) => [name.slice(HEADER.length), String(value)]);
        return { bytes: lengthOf(response), etag: etagOf(response), metadata: Object.fromEntries(metadata) as Record<string, string> };
      });
    } catch (thrown) {
      if (isMissingObject(thrown)) return undefined;
      throw thrown;
    }
  }

  async #namedRef(key: string): Promise<ObjectRef | undefined> {
    return (await this.getNamed(key))?.ref;
  }

  async #page(prefix: string, token: string | undefined, countMax: number): Promise<{ entries: { key: string; bytes: number; writtenMs?: number }[]; token: string | undefined }> {
    const root = this.#location.prefix === '' ? '' : `${this.#location.prefix}/`;
    const query = [
      ...(token === undefined ? [] : [`continuation-token=${encodeURIComponent(token)}`]),
      'encoding-type=url', 'list-type=2', `max-keys=${countMax}`, `prefix=${escapeQuery(root + prefix)}`,
    ].join('&');
    const { text } = await this.#text({ method: 'GET', query });
    if (!text.includes('<ListBucketResult')) throw new BrokenAnswerError('the answer is no listing');
    const entries = xmlElements(text, 'Contents').map((entry) => {
      const key = xmlText(entry, 'Key');
      const bytes = Number(xmlText(entry, 'Size') ?? Number.NaN);
      if (key === undefined || !Number.isSafeInteger(bytes)) throw new BrokenAnswerError('an entry of the listing has no key or size');
      const writtenMs = Date.parse(xmlText(entry, 'LastModified') ?? '');
      return { key: decodeURIComponent(key.replaceAll('+', ' ')).slice(root.length), bytes, ...(Number.isNaN(writtenMs) ? {} : { writtenMs }) };
    });
    const next = xmlText(text, 'IsTruncated') === 'true' ? xmlText(text, 'NextContinuationToken') : undefined;
    if (next === undefined && xmlText(text, 'IsTruncated') === 'true') throw new BrokenAnswerError('the listing goes on without saying where');
    return { entries, token: next };
  }

  // ── Requests

  /** One attempt. Statuses beyond 2xx are thrown as `S3Failure`, by the transport. */
  #request({ method, key, query, headers = {}, body }: Request): Promise<IncomingMessage> {
    return this.#client.makeRequestAsync({
      method, bucketName: this.#location.bucket, headers: { ...headers },
      ...(key === undefined ? {} : { objectName: this.#fullKey(key) }), ...(query === undefined ? {} : { query }),
    }, body ?? '', [200, 204, 206]);
  }

  /** One attempt, its answer read to the end. */
  async #text(request: Request): Promise<{ response: IncomingMessage; text: string }> {
    const response = await this.#request(request);
    if (request.method === 'HEAD') {
      response.resume();
      return { response, text: '' };
    }
    return { response, text: (await this.#readAll(response, TEXT_BYTES_MAX)).toString() };
  }

  async #readAll(response: IncomingMessage, bytesMax: number): Promise<Buffer> {
    const chunks: Buffer[] = [];
    let bytes = 0;
    for await (const chunk of chunksOf(response, this.#stallMs)) {
      bytes += chunk.byteLength;
      if (bytes > bytesMax) throw new BrokenAnswerError(`the answer is longer than ${bytesMax} bytes`);
      chunks.push(chunk);
    }
    if (response.headers['content-length'] !== undefined && bytes !== lengthOf(response)) throw new BrokenAnswerError('the answer broke off');
    return Buffer.concat(chunks);
  }

  #fullKey(key: string): string {
    return this.#location.prefix === '' ? key : `${this.#location.prefix}/${key}`;
  }

  #check(key: string): string {
    checkKey(key);
    if (Buffer.byteLength(this.#fullKey(key)) > KEY_BYTES_MAX) throw new AlumnusError('USAGE', `the object key, with the store's prefix, is longer than ${KEY_BYTES_MAX} bytes`, { where: JSON.stringify(key) });
    return key;
  }
}

/** Where the parts of so many bytes begin and end: a function of the length alone. */
export function partBounds(bytes: number): (readonly [start: number, end: number])[] {
  const mebibyte = 1024 * 1024;
  const partBytes = Math.max(PART_BYTES, Math.ceil(bytes / PARTS_MAX / mebibyte) * mebibyte);
  return Array.from({ length: Math.ceil(bytes / partBytes) }, (_, at) => [at * partBytes, Math.min(bytes, (at + 1) * partBytes)] as const);
}

const headersOf = (metadata: Readonly<Record<string, string>>): Record<string, string> => Object.fromEntries(Object.entries(metadata).map(([name, value]) => [`${HEADER}${name}`, value]));

const unquoted = (etag: string): string => etag.replace(/^"|"$/g, '');
const etagOf = (response: IncomingMessage): string => unquoted(response.headers.etag ?? '');

function lengthOf(response: IncomingMessage): number {
  const length = Number(response.headers['content-length'] ?? Number.NaN);
  if (!Number.isSafeInteger(length)) throw new BrokenAnswerError('the answer does not say how long it is');
  return length;
}

/** As signing wants it: `encodeURIComponent` leaves a few characters that S3 escapes. */
const escapeQuery = (text: string): string => encodeURIComponent(text).replace(/[!'()*]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`);

/** The answer's body. Waiting for the next chunk has an end; a reader that rests between two chunks has all the time. */
async function* chunksOf(response: IncomingMessage, stallMs: number): AsyncIterable<Buffer> {
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
