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
import { randomUUID } from 'node:crypto';
import { AlumnusError, toAlumnusError } from '../../proto/errors.ts';
import { sha256, sha256Stream } from '../digest.ts';
import { checkKey, checkPrefix } from '../keys.ts';
import { METADATA_RESERVED, decodeMetadataValue, encodeMetadata } from '../metadata.ts';
import { digestMismatch } from '../mismatch.ts';
import type { ObjectRef, ObjectStore, PutOptions } from '../object-store.ts';
import { Bucket, HEADER, OWN, type BucketOptions, type Head } from './bucket.ts';
import { Conditions } from './conditions.ts';
import { checkLength, rangeOf } from './download.ts';
import { isMissingObject, isMissingUpload, isTaken, toStoreError } from './failure.ts';
import type { S3Credentials, S3Location } from './location.ts';
import { OPEN_ATTEMPTS_MAX } from './retry.ts';
import { Spool } from './spool.ts';
import { PART_BYTES, matches, putParts, putSingle } from './upload.ts';

/** A put whose name another one took and gave up, or that loses its upload to a server's restart, starts again this often. */
const PUT_TRIES_MAX = 3;
/** What S3 gives at most in one page. */
const LIST_PAGE_MAX = 1000;

export interface S3StoreOptions extends BucketOptions {
  /** Where uploads beyond the memory's bound are kept while they last. Default: the system's folder (TMPDIR). */
  readonly temporaryFolder?: string;
}

export class S3Store implements ObjectStore {
  readonly #bucket: Bucket;
  readonly #conditions: Conditions;
  readonly #temporaryFolder: string | undefined;

  private constructor(bucket: Bucket, temporaryFolder: string | undefined) {
    this.#bucket = bucket;
    this.#conditions = new Conditions(bucket);
    this.#temporaryFolder = temporaryFolder;
  }

  /** Asks the bucket for one key. @throws AlumnusError BUCKET_NOT_FOUND, STORE_DENIED, STORE_UNREACHABLE, STORE_CLOCK_SKEWED, STORE_UNTRUSTED, USAGE */
  static async open(location: S3Location, credentials: S3Credentials, options: S3StoreOptions = {}): Promise<S3Store> {
    const bucket = new Bucket(location, credentials, options);
    try {
      await bucket.retries.run(() => bucket.page('', undefined, 1), OPEN_ATTEMPTS_MAX);
    } catch (thrown) {
      throw toStoreError(thrown, location.url);
    }
    return new S3Store(bucket, options.temporaryFolder);
  }

  async putAddressed(prefix: string, content: Uint8Array | AsyncIterable<Uint8Array>, options: PutOptions = {}): Promise<ObjectRef> {
    const keyOf = (digest: string): string => this.#bucket.check(`${prefix}/${digest}${options.extension ?? ''}`);
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
    this.#bucket.check(key);
    const ref = { key, sha256: sha256(content), bytes: content.byteLength };
    const body = Buffer.from(content.buffer, content.byteOffset, content.byteLength);
    try {
      const conditional = await this.#conditions.known();
      for (let tries = 1; tries <= PUT_TRIES_MAX; tries += 1) {
        // Without the condition there is a moment between asking and writing; docs/storage.md says what it means.
        if (!conditional) {
          const there = await this.#namedRef(key);
          if (there !== undefined) return { created: false, ref: there };
        }
        // Tells our own first attempt, whose answer was lost, from another writer.
        const mark = randomUUID();
        try {
          await this.#bucket.retries.run(() => putSingle(this.#bucket, key, body, { [`${HEADER}${METADATA_RESERVED}`]: mark }, conditional));
        } catch (thrown) {
          if (!isTaken(thrown)) throw thrown;
        }
        const head = await this.#bucket.head(key);
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
    this.#bucket.check(ref.key);
    const hash = sha256Stream();
    const call = this.#bucket.retries.call();
    let at = 0;
    for (;;) {
      try {
        for await (const chunk of rangeOf(this.#bucket, ref, at, ref.bytes)) {
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
    this.#bucket.check(ref.key);
    if (!(Number.isSafeInteger(start) && Number.isSafeInteger(end) && start >= 0 && start <= end && end <= ref.bytes)) {
      throw new AlumnusError('USAGE', `bytes ${start} to ${end} are not within the object's ${ref.bytes}`, { where: ref.key });
    }
    try {
      // S3 has no empty range.
      if (start === end) {
        await checkLength(this.#bucket, ref);
        return new Uint8Array(0);
      }
      return await this.#bucket.retries.run(async () => {
        const chunks: Uint8Array[] = [];
        for await (const chunk of rangeOf(this.#bucket, ref, start, end)) chunks.push(chunk);
        return Buffer.concat(chunks, end - start);
      });
    } catch (thrown) {
      throw toStoreError(thrown, ref.key);
    }
  }

  async getNamed(key: string): Promise<{ ref: ObjectRef; content: Uint8Array } | undefined> {
    this.#bucket.check(key);
    try {
      const content = await this.#bucket.retries.run(async () => {
        const response = await this.#bucket.request({ method: 'GET', key });
        return this.#bucket.readAll(response, Number.MAX_SAFE_INTEGER);
      });
      return { ref: { key, sha256: sha256(content), bytes: content.byteLength }, content };
    } catch (thrown) {
      if (isMissingObject(thrown)) return undefined;
      throw toStoreError(thrown, key);
    }
  }

  async metadata(key: string): Promise<Record<string, string>> {
    this.#bucket.check(key);
    try {
      const head = await this.#bucket.head(key);
      return Object.fromEntries(Object.entries(head?.metadata ?? {}).filter(([name]) => name !== METADATA_RESERVED).map(([name, value]) => [name, decodeMetadataValue(value)]));
    } catch (thrown) {
      throw toStoreError(thrown, key);
    }
  }

  async *list(prefix: string): AsyncIterable<{ key: string; bytes: number }> {
    checkPrefix(prefix);
    let token: string | undefined;
    do {
      let page;
      try {
        const after = token;
        page = await this.#bucket.retries.run(() => this.#bucket.page(prefix, after, LIST_PAGE_MAX));
      } catch (thrown) {
        throw toStoreError(thrown, prefix === '' ? this.#bucket.location.url : prefix);
      }
      // A key that ends in "/" is what some consoles make of a folder.
      for (const entry of page.entries) if (!entry.key.startsWith(OWN) && !entry.key.endsWith('/')) yield entry;
      token = page.token;
    } while (token !== undefined);
  }

  async delete(key: string): Promise<void> {
    this.#bucket.check(key);
    try {
      await this.#bucket.retries.run(() => this.#bucket.text({ method: 'DELETE', key }));
    } catch (thrown) {
      if (!isMissingObject(thrown)) throw toStoreError(thrown, key);
    }
  }

  async #putSpool(ref: ObjectRef, spool: Spool, headers: Readonly<Record<string, string>>): Promise<void> {
    for (let tries = 1; tries <= PUT_TRIES_MAX; tries += 1) {
      const head = await this.#bucket.head(ref.key);
      if (head !== undefined && await this.#differs(ref, head, spool) === undefined) return;
      try {
        const etag = spool.bytes <= PART_BYTES
          ? await this.#bucket.retries.run(async () => putSingle(this.#bucket, ref.key, await spool.read(0, spool.bytes), headers, false))
          : await putParts(this.#bucket, ref.key, spool, headers);
        if (await matches(etag, spool)) return;
      } catch (thrown) {
        // It was lost with a server's restart, or completed by an attempt whose answer was lost: the next round looks.
        if (!isMissingUpload(thrown)) throw thrown;
      }
    }
    const head = await this.#bucket.head(ref.key);
    const found = head === undefined ? 'that of nothing' : await this.#differs(ref, head, spool);
    if (found !== undefined) throw digestMismatch(ref, found);
  }

  /** The digest of what lies there where it is not ours; undefined where it is. */
  async #differs(ref: ObjectRef, head: Head, spool: Spool): Promise<string | undefined> {
    if (head.bytes !== spool.bytes) return `that of ${head.bytes} bytes`;
    if (await matches(head.etag, spool)) return undefined;
    try {
      for await (const _ of this.stream(ref)) continue;
      return undefined;
    } catch (thrown) {
      if (thrown instanceof AlumnusError && (thrown.code === 'DIGEST_MISMATCH' || thrown.code === 'OBJECT_NOT_FOUND')) return 'that of other bytes';
      throw thrown;
    }
  }

  async #namedRef(key: string): Promise<ObjectRef | undefined> {
    return (await this.getNamed(key))?.ref;
  }
}

const headersOf = (metadata: Readonly<Record<string, string>>): Record<string, string> => Object.fromEntries(Object.entries(metadata).map(([name, value]) => [`${HEADER}${name}`, value]));
