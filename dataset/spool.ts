/**
 * Encoded images between reading a source and writing its shards, when their part becomes known: in memory while they
 * are few, in a temporary file beyond. An image is told by two numbers, so that whoever sorts images holds none.
 */
import type { FileHandle } from 'node:fs/promises';
import { invariant } from '../proto/errors.ts';
import { openScratch } from './scratch.ts';

/** Nearly all of MNIST. What lies in the file is mostly in the system's own cache. */
const HELD_BYTES_MAX = 16 * 1024 * 1024;
/** Memory is taken in pieces of this size, which hold whole images: one allocation for each image would cost more than a small image. */
const SLAB_BYTES = 4 * 1024 * 1024;
/** Written to the file at once. */
const WRITE_BYTES = 1024 * 1024;

/** Where an image lies: from `heldBytesMax` on in the file. */
export interface Spooled {
  readonly offset: number;
  readonly bytes: number;
}

export class Spool {
  readonly #heldBytesMax: number;
  readonly #slabBytes: number;
  readonly #slabs: Buffer[] = [];
  #heldBytes = 0;
  #file: FileHandle | undefined;
  #fileBytes = 0;
  /** Behind the file's end, not written yet. */
  #open: Uint8Array[] = [];
  #openBytes = 0;

  constructor(heldBytesMax = HELD_BYTES_MAX) {
    this.#heldBytesMax = heldBytesMax;
    this.#slabBytes = Math.min(SLAB_BYTES, heldBytesMax);
  }

  async add(content: Uint8Array): Promise<Spooled> {
    const bytes = content.byteLength;
    // An image lies in one slab: where it does not fit, the next begins.
    const into = this.#heldBytes % this.#slabBytes;
    const offset = into + bytes > this.#slabBytes ? this.#heldBytes + this.#slabBytes - into : this.#heldBytes;
    if (bytes <= this.#slabBytes && offset + bytes <= this.#heldBytesMax) {
      const slab = (this.#slabs[Math.floor(offset / this.#slabBytes)] ??= Buffer.alloc(this.#slabBytes));
      slab.set(content, offset % this.#slabBytes);
      this.#heldBytes = offset + bytes;
      return { offset, bytes };
    }
    const at = this.#fileBytes + this.#openBytes;
    // A copy: the source may hand out a window on something far larger, or use it again.
    this.#open.push(new Uint8Array(content));
    this.#openBytes += bytes;
    if (this.#openBytes >= WRITE_BYTES) await this.#write();
    return { offset: this.#heldBytesMax + at, bytes };
  }

  async read({ offset, bytes }: Spooled): Promise<Uint8Array> {
    if (offset < this.#heldBytesMax) {
      const slab = this.#slabs[Math.floor(offset / this.#slabBytes)];
      invariant(slab !== undefined, 'the spool holds what was added');
      return slab.subarray(offset % this.#slabBytes, (offset % this.#slabBytes) + bytes);
    }
    await this.#write();
    const content = Buffer.alloc(bytes);
    for (let at = 0; at < bytes;) {
      const { bytesRead } = await (this.#file ??= await openScratch()).read(content, at, bytes - at, offset - this.#heldBytesMax + at);
      invariant(bytesRead > 0, 'the spool holds what was added');
      at += bytesRead;
    }
    return content;
  }

  async close(): Promise<void> {
    await this.#file?.close();
  }

  async #write(): Promise<void> {
    if (this.#open.length === 0) return;
    const content = Buffer.concat(this.#open, this.#openBytes);
    this.#file ??= await openScratch();
    for (let at = 0; at < content.byteLength;) at += (await this.#file.write(content, at, content.byteLength - at, this.#fileBytes + at)).bytesWritten;
    this.#fileBytes += content.byteLength;
    this.#open = [];
    this.#openBytes = 0;
  }
}
