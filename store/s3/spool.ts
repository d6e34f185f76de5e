/**
 * Bytes on their way to a store that wants their digest before the first of them: kept in memory up to a bound and in a
 * temporary file beyond it.
 *
 * Invariants:
 *  1. At most SPOOL_MEMORY_BYTES_MAX of a stream are in memory. Bytes that were handed over whole are the caller's and are not copied.
 *  2. The file has no name from the moment it is open: it is gone with its process, however that ends.
 */
import { createHash, randomUUID } from 'node:crypto';
import { open, unlink, type FileHandle } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AlumnusError } from '../../proto/errors.ts';

/** One part of an upload: what fits is sent from memory in one request, what does not is sent in parts from the file. */
export const SPOOL_MEMORY_BYTES_MAX = 16 * 1024 * 1024;
/** Pieces in which a digest is taken: memory stays small beside the parts under way. */
const DIGEST_BYTES = 1024 * 1024;

export class Spool {
  readonly sha256: string;
  readonly bytes: number;
  readonly #memory: Buffer | undefined;
  readonly #file: FileHandle | undefined;

  private constructor(sha256: string, bytes: number, memory: Buffer | undefined, file: FileHandle | undefined) {
    this.sha256 = sha256;
    this.bytes = bytes;
    this.#memory = memory;
    this.#file = file;
  }

  /** Reads the source to its end. @throws what the source throws, STORE_FULL of the folder's disk as a system error */
  static async of(content: Uint8Array | AsyncIterable<Uint8Array>, folder = tmpdir()): Promise<Spool> {
    const hash = createHash('sha256');
    if (content instanceof Uint8Array) {
      const memory = Buffer.from(content.buffer, content.byteOffset, content.byteLength);
      return new Spool(hash.update(memory).digest('hex'), memory.byteLength, memory, undefined);
    }
    let chunks: Buffer[] = [];
    let bytes = 0;
    let file: FileHandle | undefined;
    try {
      for await (const chunk of content) {
        hash.update(chunk);
        bytes += chunk.byteLength;
        // A copy: the source may fill the same buffer again.
        if (file === undefined && bytes <= SPOOL_MEMORY_BYTES_MAX) {
          chunks.push(Buffer.from(chunk));
          continue;
        }
        if (file === undefined) {
          file = await nameless(folder);
          for (const kept of chunks) await file.writeFile(kept);
          chunks = [];
        }
        await file.writeFile(chunk);
      }
    } catch (thrown) {
      await file?.close();
      throw thrown;
    }
    return new Spool(hash.digest('hex'), bytes, file === undefined ? Buffer.concat(chunks) : undefined, file);
  }

  /** Bytes [start, end). `into`: memory that may be used for them. */
  async read(start: number, end: number, into?: Buffer): Promise<Buffer> {
    if (this.#memory !== undefined) return this.#memory.subarray(start, end);
    const part = into?.subarray(0, end - start) ?? Buffer.allocUnsafe(end - start);
    for (let at = 0; at < part.byteLength;) {
      const { bytesRead } = await this.#file?.read(part, at, part.byteLength - at, start + at) ?? { bytesRead: 0 };
      if (bytesRead === 0) throw new AlumnusError('STORE_FULL', 'the temporary file of an upload is shorter than what was written to it');
      at += bytesRead;
    }
    return part;
  }

  /** MD5 of bytes [start, end): what S3 calls a single upload's ETag. */
  async md5(start: number, end: number): Promise<Buffer> {
    const hash = createHash('md5');
    const piece = Buffer.allocUnsafe(DIGEST_BYTES);
    for (let at = start; at < end; at += DIGEST_BYTES) hash.update(await this.read(at, Math.min(end, at + DIGEST_BYTES), piece));
    return hash.digest();
  }

  async close(): Promise<void> {
    await this.#file?.close();
  }
}

async function nameless(folder: string): Promise<FileHandle> {
  const path = join(folder, `alumnus-${randomUUID()}`);
  const file = await open(path, 'wx+', 0o600);
  await unlink(path);
  return file;
}
