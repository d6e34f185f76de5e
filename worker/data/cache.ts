/**
 * Decoded shards on the worker's own disk. An entry: the pixels, a footer as JSON (keys, rows of a piece, CRC-32 of each piece),
 * the footer's own CRC-32 and its length (both uint32, little-endian). Readers take pieces at random; a file gets its name when it is whole.
 * Nothing here is an error to its caller: an entry that is damaged is none, and where there is no room or no right to write, none comes to be.
 */
import { randomUUID } from 'node:crypto';
import { mkdir, open, readdir, rename, rm, stat, utimes, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import type { ImageShape } from '../../dataset/index.ts';
import type { ShardRef } from '../../proto/gen/alumnus/v1/task.ts';

/** What one worker's cache may hold; the least recently used entries go first. */
const CACHE_BYTES_MAX = 4 * 1024 ** 3;
/** A larger one would push out most others. */
const ENTRY_BYTES_MAX = CACHE_BYTES_MAX / 8;
/** The cache is swept once in so many new entries. */
const SWEEP_EVERY = 64;
const TAIL_BYTES = 8;
let written = 0;

interface Piece {
  readonly keys: readonly string[];
  readonly images: Uint8Array;
}

interface Footer {
  readonly keys: readonly string[];
  readonly pieceRows: number;
  readonly crcs: readonly number[];
}

/** Where a shard's entry lies; undefined where it has none. */
export function entryPath(folder: string, shard: ShardRef, { height, width, channels }: ImageShape): string | undefined {
  if (folder === '' || shard.ref === undefined || shard.samples * height * width * channels > ENTRY_BYTES_MAX) return undefined;
  // A tar of ours has other keys where somebody registers it.
  return join(folder, `${shard.ref.sha256}-${height}x${width}x${channels}${shard.location === undefined ? '' : '-registered'}.decoded`);
}

export class CacheEntry {
  readonly #file: FileHandle;
  readonly #footer: Footer;
  readonly #imageBytes: number;

  private constructor(file: FileHandle, footer: Footer, imageBytes: number) {
    this.#file = file;
    this.#footer = footer;
    this.#imageBytes = imageBytes;
  }

  static async open(path: string, samples: number, imageBytes: number): Promise<CacheEntry | undefined> {
    let file: FileHandle | undefined;
    try {
      file = await open(path, 'r');
      const { size } = await file.stat();
      const tail = await readAt(file, size - TAIL_BYTES, TAIL_BYTES);
      const length = tail.readUInt32LE(4);
      const text = await readAt(file, size - TAIL_BYTES - length, length);
      const footer = crc32(text) === tail.readUInt32LE(0) ? (JSON.parse(text.toString('utf8')) as Footer) : undefined;
      if (footer?.keys.length !== samples || size !== samples * imageBytes + length + TAIL_BYTES) throw new Error('another shard');
      await utimes(path, new Date(), new Date());
      return new CacheEntry(file, footer, imageBytes);
    } catch {
      await file?.close();
      return undefined;
    }
  }

  /** The pieces' numbers. */
  pieces(): Iterable<number> {
    return this.#footer.crcs.keys();
  }

  /** Undefined where the piece is damaged. */
  async read(index: number): Promise<Piece | undefined> {
    const { keys, pieceRows, crcs } = this.#footer;
    const own = keys.slice(index * pieceRows, (index + 1) * pieceRows);
    try {
      const images = await readAt(this.#file, index * pieceRows * this.#imageBytes, own.length * this.#imageBytes);
      return crc32(images) === crcs[index] ? { keys: own, images } : undefined;
    } catch {
      return undefined;
    }
  }

  async close(): Promise<void> {
    await this.#file.close().catch(() => undefined);
  }
}

async function readAt(file: FileHandle, position: number, length: number): Promise<Buffer> {
  if (position < 0 || length < 0) throw new Error('shorter than it says');
  const content = Buffer.allocUnsafeSlow(length);
  const { bytesRead } = await file.read(content, 0, length, position);
  if (bytesRead !== length) throw new Error('shorter than it says');
  return content;
}

/** An entry under way. `finish` gives it its name; `discard` is harmless after that. */
export class CacheDraft {
  readonly #folder: string;
  readonly #path: string;
  readonly #temporary: string;
  readonly #pieceRows: number;
  readonly #keys: string[] = [];
  readonly #crcs: number[] = [];
  #file: FileHandle | undefined;
  #failed = false;

  /** @param pieceRows of every piece but the last */
  constructor(folder: string, path: string, pieceRows: number) {
    this.#folder = folder;
    this.#path = path;
    this.#temporary = `${path}.${randomUUID()}.new`;
    this.#pieceRows = pieceRows;
  }

  async add({ keys, images }: Piece): Promise<void> {
    await this.#attempt(async () => {
      if (this.#file === undefined) await mkdir(this.#folder, { recursive: true });
      this.#file ??= await open(this.#temporary, 'wx');
      for (const key of keys) this.#keys.push(key);
      this.#crcs.push(crc32(images));
      await this.#file.writeFile(images);
    });
  }

  async finish(): Promise<void> {
    await this.#attempt(async () => {
      if (this.#file === undefined) return;
      const footer: Footer = { keys: this.#keys, pieceRows: this.#pieceRows, crcs: this.#crcs };
      const text = Buffer.from(JSON.stringify(footer));
      const tail = Buffer.alloc(TAIL_BYTES);
      tail.writeUInt32LE(crc32(text), 0);
      tail.writeUInt32LE(text.byteLength, 4);
      await this.#file.writeFile(Buffer.concat([text, tail]));
      await this.#file.close();
      this.#file = undefined;
      await rename(this.#temporary, this.#path);
      written += 1;
      if (written % SWEEP_EVERY === 0) await sweep(this.#folder);
    });
  }

  async discard(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    if (file === undefined) return;
    await file.close().catch(() => undefined);
    await rm(this.#temporary, { force: true }).catch(() => undefined);
  }

  async #attempt(work: () => Promise<void>): Promise<void> {
    if (this.#failed) return;
    try {
      await work();
    } catch {
      this.#failed = true;
      await this.discard();
    }
  }
}

async function sweep(folder: string): Promise<void> {
  const names = await readdir(folder);
  const entries = await Promise.all(names.map(async (name) => ({ path: join(folder, name), info: await stat(join(folder, name)) })));
  let bytes = entries.reduce((sum, entry) => sum + entry.info.size, 0);
  for (const entry of entries.sort((a, b) => a.info.mtimeMs - b.info.mtimeMs)) {
    if (bytes <= CACHE_BYTES_MAX) return;
    await rm(entry.path, { force: true });
    bytes -= entry.info.size;
  }
}
