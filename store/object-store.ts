/**
 * ObjectStore: immutable bytes under keys, read only by digest. The interface that every engine implements alike; the
 * directory is one, S3 another, and tests/unit/store/conformance.ts holds all of them to what is said here.
 * Not for: deciding what is kept (paths.ts names it, the journal says what counts), or caching.
 *
 * Invariants:
 *  1. What a key holds never changes. Nothing is overwritten with other bytes.
 *  2. A put that resolved is durable: it survives the loss of power.
 *  3. A reader sees an object whole or not at all, whenever the writer died.
 *  4. Bytes handed out by `get` and, at its end, `stream` have the digest that was asked for.
 */

/** Names immutable bytes; the fields of the wire's ObjectRef. */
export interface ObjectRef {
  readonly key: string;
  /** Lower-case hex. */
  readonly sha256: string;
  readonly bytes: number;
}

export interface PutOptions {
  /** Follows the digest in the key: `.tar`, `.parquet`. Default none. */
  readonly extension?: string;
  /**
   * Says what the object is, for whoever finds it without a journal. The first put's metadata stays.
   * Names of lower-case letters, digits, "." and "-"; names and escaped values together at most 2 KB (metadata.ts).
   */
  readonly metadata?: Readonly<Record<string, string>>;
}

export interface ObjectStore {
  /**
   * Writes `<prefix>/<sha256><extension>`; durable and verified before it resolves. The same bytes twice are one object.
   * @throws AlumnusError STORE_FULL, STORE_UNWRITABLE, USAGE; and, as every method, STORE_UNREACHABLE, STORE_DENIED
   */
  putAddressed(prefix: string, content: Uint8Array | AsyncIterable<Uint8Array>, options?: PutOptions): Promise<ObjectRef>;
  /**
   * A name that can be created once and never changed (a dataset's manifest). `created` is false where the name is
   * taken; `ref` is then what lies there, so that a caller can tell the same bytes from others.
   */
  putNamed(key: string, content: Uint8Array): Promise<{ created: boolean; ref: ObjectRef }>;
  /** @throws AlumnusError OBJECT_NOT_FOUND, DIGEST_MISMATCH */
  get(ref: ObjectRef): Promise<Uint8Array>;
  /** As `get`, in pieces. The digest is known only at the end: trust nothing before the iteration has ended. */
  stream(ref: ObjectRef): AsyncIterable<Uint8Array>;
  /** Bytes [start, end) of the object. The length is checked, the digest cannot be. */
  getRange(ref: ObjectRef, start: number, end: number): Promise<Uint8Array>;
  getNamed(key: string): Promise<{ ref: ObjectRef; content: Uint8Array } | undefined>;
  /** Empty where the object has none. */
  metadata(key: string): Promise<Record<string, string>>;
  /** Every key that begins with `prefix`, in the order of their bytes; where the store tells it, when what lies there was written, by the store's clock. */
  list(prefix: string): AsyncIterable<{ key: string; bytes: number; writtenMs?: number }>;
  /** For garbage collection alone. Deleting what is not there is no error. */
  delete(key: string): Promise<void>;
}

/** What lies at a place that others write to: read by digest as everything else, never written. */
export type ObjectReader = Pick<ObjectStore, 'get' | 'stream' | 'getRange' | 'list'>;
