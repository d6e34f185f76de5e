/**
 * Encoded images between reading a source and writing its shards, when their part becomes known: in memory while they
 * are few, in a temporary file beyond. The file has lost its name before the first byte, so a crash leaves nothing.
 */
import { randomUUID } from 'node:crypto';
import { open, unlink, type FileHandle } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** MNIST fits ten times over. */
const MEMORY_BYTES_MAX = 256 * 1024 * 1024;

export type Spooled = Uint8Array | { readonly offset: number; readonly bytes: number };

export class Spool {
  readonly #memoryBytesMax: number;
  #memoryBytes = 0;
  #file: FileHandle | undefined;
  #fileBytes = 0;

  constructor(memoryBytesMax = MEMORY_BYTES_MAX) {
    this.#memoryBytesMax = memoryBytesMax;
  }

  async add(content: Uint8Array): Promise<Spooled> {
    if (this.#memoryBytes + content.byteLength <= this.#memoryBytesMax) {
      this.#memoryBytes += content.byteLength;
      // A copy: the source may hand out a window on something far larger.
      return content.byteLength === content.buffer.byteLength ? content : new Uint8Array(content);
    }
    const offset = this.#fileBytes;
    const file = await this.#open();
    for (let at = 0; at < content.byteLength;) at += (await file.write(content, at, content.byteLength - at, offset + at)).bytesWritten;
    this.#fileBytes += content.byteLength;
    return { offset, bytes: content.byteLength };
  }

  async read(spooled: Spooled): Promise<Uint8Array> {
    if (spooled instanceof Uint8Array) return spooled;
    const content = Buffer.alloc(spooled.bytes);
    const file = await this.#open();
    for (let at = 0; at < content.byteLength;) {
      const { bytesRead } = await file.read(content, at, content.byteLength - at, spooled.offset + at);
      if (bytesRead === 0) throw new Error('invariant broken: the spool holds what was added');
      at += bytesRead;
    }
    return content;
  }

  async close(): Promise<void> {
    await this.#file?.close();
  }

  async #open(): Promise<FileHandle> {
    if (this.#file === undefined) {
      const path = join(tmpdir(), `alumnus-import-${randomUUID()}`);
      this.#file = await open(path, 'wx+', 0o600);
      await unlink(path);
    }
    return this.#file;
  }
}
