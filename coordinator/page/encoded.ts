/**
 * Answers as bytes: made and compressed once for all who ask. One is given again while nothing changed, and a dear one for so long that making it takes a tenth of the
 * time at most, however many ask and however much changes.
 */
import { createHash } from 'node:crypto';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';

/** Smaller ones are not worth it. */
const GZIP_BYTES_MIN = 1_400;
/** What changes by itself (progress, times) is as old as this at most where nothing else is dear. */
const AGE_MS_MAX = 1_000;
const COST_FACTOR = 10;
/** Answers that are kept: the newest of so many questions… */
const KEPT_MAX = 256;
/** …and so many bytes, uncompressed. */
const KEPT_BYTES_MAX = 64 * 1024 * 1024;

export class Encoded {
  readonly body: Buffer;
  readonly etag: string;
  #compressed: Promise<Buffer> | undefined;

  constructor(text: string | Buffer) {
    this.body = Buffer.from(text);
    this.etag = `"${createHash('sha256').update(this.body).digest('base64url').slice(0, 22)}"`;
  }

  /** Undefined where it is too small to be compressed. */
  compressed(): Promise<Buffer> | undefined {
    if (this.body.byteLength < GZIP_BYTES_MIN) return undefined;
    this.#compressed ??= promisify(gzip)(this.body, { level: 1 });
    return this.#compressed;
  }
}

interface Kept {
  readonly encoded: Encoded;
  readonly version: number;
  readonly madeMs: number;
  readonly costMs: number;
}

export class Answers {
  readonly #kept = new Map<string, Kept>();
  readonly #now: () => number;
  #bytes = 0;

  /** @param now milliseconds that only grow */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** @param version of what it is made from @param make a document, or JSON @throws what `make` throws */
  get(question: string, version: number, make: () => object | string): Encoded {
    const before = this.#kept.get(question);
    const startMs = this.#now();
    if (before !== undefined) {
      const ageMs = startMs - before.madeMs;
      if (ageMs < before.costMs * COST_FACTOR || (before.version === version && ageMs < AGE_MS_MAX)) return before.encoded;
      this.#drop(question, before);
    }
    const made = make();
    const encoded = new Encoded(typeof made === 'string' ? made : JSON.stringify(made));
    const madeMs = this.#now();
    this.#kept.set(question, { encoded, version, madeMs, costMs: madeMs - startMs });
    this.#bytes += encoded.body.byteLength;
    for (const [oldest, kept] of this.#kept) {
      if (this.#kept.size <= KEPT_MAX && this.#bytes <= KEPT_BYTES_MAX) break;
      this.#drop(oldest, kept);
    }
    return encoded;
  }

  /** Who gave a command sees what came of it. */
  forget(): void {
    this.#kept.clear();
    this.#bytes = 0;
  }

  #drop(question: string, { encoded }: Kept): void {
    this.#kept.delete(question);
    this.#bytes -= encoded.body.byteLength;
  }
}
