/**
 * The object store in a directory: what `alumnus demo` and a single machine use. Any number of processes may share it.
 *
 *   <root>/objects/<key>          the objects
 *   <root>/metadata/<key>.json    what they say of themselves
 *   <root>/temporary/             writes under way
 *
 * How a write stays whole: bytes go to a temporary file of the same file system, are flushed and read back, and only
 * then get their name; the folder that holds the name is flushed too. A crash at any moment leaves temporary garbage at
 * most, which `open` sweeps once it is old. A named object gets its name by `link`, which fails where the name is taken.
 */
import { randomUUID } from 'node:crypto';
import * as nodeFileSystem from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { AlumnusError, toAlumnusError } from '../proto/errors.ts';
import { canonicalJson } from '../proto/canonical.ts';
import { sha256, sha256Stream } from './digest.ts';
import { checkKey, checkPrefix } from './keys.ts';
import { encodeMetadata } from './metadata.ts';
import { digestMismatch, lengthMismatch } from './mismatch.ts';
import type { ObjectReader, ObjectRef, ObjectStore, PutOptions } from './object-store.ts';

/** No single put takes this long, so an older temporary file has lost its writer. */
const TEMPORARY_AGE_MS_MAX = 24 * 60 * 60 * 1000;
/** Pieces of a streamed read: large enough that system calls do not count, small enough to hold several. */
const STREAM_CHUNK_BYTES = 1024 * 1024;

export type FileSystem = Pick<typeof nodeFileSystem, 'mkdir' | 'open' | 'link' | 'rename' | 'unlink' | 'readFile' | 'readdir' | 'stat'>;

export interface DirectoryStoreOptions {
  readonly fileSystem?: FileSystem;
  readonly now?: () => number;
  /** Whether a folder that is missing is made. Default true; who only reads says false, and then nothing at all is written by `open`. */
  readonly create?: boolean;
}

const systemCode = (thrown: unknown): string => (typeof thrown === 'object' && thrown !== null && 'code' in thrown ? String(thrown.code) : '');
const isMissing = (thrown: unknown): boolean => ['ENOENT', 'ENOTDIR'].includes(systemCode(thrown));

export class DirectoryStore implements ObjectStore {
  readonly #root: string;
  /** Where the objects lie by their keys. */
  readonly #objects: string;
  readonly #fs: FileSystem;
  /** Folders known to exist and to be flushed up to the root. */
  readonly #folders = new Set<string>();

  private constructor(root: string, fileSystem: FileSystem, objects = join(root, 'objects')) {
    this.#root = root;
    this.#objects = objects;
    this.#fs = fileSystem;
  }

  /** Creates the folder where it is missing and sweeps temporary files whose writer is gone. @throws AlumnusError STORE_NOT_FOUND where it may not be created */
  static async open(root: string, options: DirectoryStoreOptions = {}): Promise<DirectoryStore> {
    const store = new DirectoryStore(root, options.fileSystem ?? nodeFileSystem);
    try {
      if (options.create === false) {
        const objects = await store.#fs.stat(join(root, 'objects')).catch((thrown: unknown) => {
          if (isMissing(thrown)) return undefined;
          throw thrown;
        });
        if (objects?.isDirectory() !== true) throw new AlumnusError('STORE_NOT_FOUND', 'there is no object store in this folder', { where: root });
        return store;
      }
      await store.#fs.mkdir(root, { recursive: true });
      // The root's own name: best effort, since the folder above may belong to somebody else.
      await store.#flushFolder(dirname(root)).catch(() => undefined);
      for (const folder of ['objects', 'metadata', 'temporary']) await store.#ensureFolder(join(root, folder));
      await store.#sweep(options.now ?? Date.now);
    } catch (thrown) {
      throw toAlumnusError(thrown, root);
    }
    return store;
  }

  /** A folder of somebody else's, each file under its path: to be read and never written. @throws AlumnusError OBJECT_NOT_FOUND, where it is no folder. */
  static async openFolder(folder: string, fileSystem: FileSystem = nodeFileSystem): Promise<ObjectReader> {
    const found = await fileSystem.stat(folder).catch((thrown: unknown) => {
      if (isMissing(thrown)) return undefined;
      throw toAlumnusError(thrown, folder);
    });
    if (found?.isDirectory() !== true) throw new AlumnusError('OBJECT_NOT_FOUND', 'there is no such folder', { where: folder });
    return new DirectoryStore(folder, fileSystem, folder);
  }

  async putAddressed(prefix: string, content: Uint8Array | AsyncIterable<Uint8Array>, options: PutOptions = {}): Promise<ObjectRef> {
    checkKey(prefix);
    encodeMetadata(options.metadata ?? {}, prefix);
    const temporary = this.#temporaryPath();
    try {
      const writing = this.#writeTemporary(temporary, content);
      writing.catch(() => undefined);
      // What is in memory has its name before it is written: then all that must be on disk before the object is gets there side by side.
      const digest = content instanceof Uint8Array ? sha256(content) : (await writing).digest;
      const key = checkKey(`${prefix}/${digest}${options.extension ?? ''}`);
      const path = this.#objectPath(key);
      const steps = [writing, this.#ensureFolder(dirname(path)), options.metadata === undefined ? Promise.resolve() : this.#putMetadata(key, options.metadata)] as const;
      // All have ended before the temporary file is removed.
      await Promise.allSettled(steps);
      const [written] = await Promise.all(steps);
      const ref = { key, sha256: digest, bytes: written.bytes };
      if (written.digest !== digest) throw digestMismatch(ref, written.digest);
      if (await this.#digestOf(path) === digest) {
        // Whoever wrote it may have died before its name was durable.
        await this.#flushFolder(dirname(path));
        return ref;
      }
      // Either nothing lies here, or bytes that are not what the name says: the right ones take the name back.
      await this.#fs.rename(temporary, path);
      await this.#flushFolder(dirname(path));
      return ref;
    } catch (thrown) {
      throw toAlumnusError(thrown, prefix);
    } finally {
      await this.#fs.unlink(temporary).catch(() => undefined);
    }
  }

  async putNamed(key: string, content: Uint8Array): Promise<{ created: boolean; ref: ObjectRef }> {
    const path = this.#objectPath(key);
    const temporary = this.#temporaryPath();
    try {
      const { digest, bytes } = await this.#writeTemporary(temporary, content);
      await this.#ensureFolder(dirname(path));
      if (await this.#linkNew(temporary, path)) return { created: true, ref: { key, sha256: digest, bytes } };
      const there = await this.#fs.readFile(path);
      return { created: false, ref: { key, sha256: sha256(there), bytes: there.byteLength } };
    } catch (thrown) {
      throw toAlumnusError(thrown, key);
    } finally {
      await this.#fs.unlink(temporary).catch(() => undefined);
    }
  }

  async get(ref: ObjectRef): Promise<Uint8Array> {
    const content = await this.#read(ref.key, () => this.#fs.readFile(this.#objectPath(ref.key)));
    if (content.byteLength !== ref.bytes) throw lengthMismatch(ref, content.byteLength);
    const found = sha256(content);
    if (found !== ref.sha256) throw digestMismatch(ref, found);
    return content;
  }

  async *stream(ref: ObjectRef): AsyncIterable<Uint8Array> {
    const file = await this.#read(ref.key, () => this.#fs.open(this.#objectPath(ref.key), 'r'));
    try {
      const hash = sha256Stream();
      let bytes = 0;
      for (;;) {
        const chunk = Buffer.allocUnsafe(STREAM_CHUNK_BYTES);
        const { bytesRead } = await file.read(chunk, 0, STREAM_CHUNK_BYTES);
        if (bytesRead === 0) break;
        bytes += bytesRead;
        if (bytes > ref.bytes) throw lengthMismatch(ref, bytes);
        hash.update(chunk.subarray(0, bytesRead));
        yield chunk.subarray(0, bytesRead);
      }
      if (bytes !== ref.bytes) throw lengthMismatch(ref, bytes);
      const found = hash.digest('hex');
      if (found !== ref.sha256) throw digestMismatch(ref, found);
    } finally {
      await file.close();
    }
  }

  async getRange(ref: ObjectRef, start: number, end: number): Promise<Uint8Array> {
    if (!(Number.isSafeInteger(start) && Number.isSafeInteger(end) && start >= 0 && start <= end && end <= ref.bytes)) {
      throw new AlumnusError('USAGE', `bytes ${start} to ${end} are not within the object's ${ref.bytes}`, { where: ref.key });
    }
    const file = await this.#read(ref.key, () => this.#fs.open(this.#objectPath(ref.key), 'r'));
    try {
      const { size } = await file.stat();
      if (size !== ref.bytes) throw lengthMismatch(ref, size);
      const content = Buffer.alloc(end - start);
      for (let at = 0; at < content.byteLength;) {
        const { bytesRead } = await file.read(content, at, content.byteLength - at, start + at);
        if (bytesRead === 0) throw lengthMismatch(ref, start + at);
        at += bytesRead;
      }
      return content;
    } finally {
      await file.close();
    }
  }

  async getNamed(key: string): Promise<{ ref: ObjectRef; content: Uint8Array } | undefined> {
    try {
      const content = await this.#fs.readFile(this.#objectPath(key));
      return { ref: { key, sha256: sha256(content), bytes: content.byteLength }, content };
    } catch (thrown) {
      if (isMissing(thrown)) return undefined;
      throw toAlumnusError(thrown, key);
    }
  }

  async metadata(key: string): Promise<Record<string, string>> {
    try {
      const parsed: unknown = JSON.parse(await this.#fs.readFile(this.#metadataPath(key), 'utf8'));
      if (typeof parsed !== 'object' || parsed === null) return {};
      return Object.fromEntries(Object.entries(parsed).map(([name, value]) => [name, String(value)]));
    } catch (thrown) {
      if (isMissing(thrown)) return {};
      throw toAlumnusError(thrown, key);
    }
  }

  async *list(prefix: string): AsyncIterable<{ key: string; bytes: number; writtenMs: number }> {
    checkPrefix(prefix);
    const folder = prefix.includes('/') ? prefix.slice(0, prefix.lastIndexOf('/')) : '';
    yield* this.#walk(folder, prefix);
  }

  async delete(key: string): Promise<void> {
    try {
      await this.#fs.unlink(this.#objectPath(key));
      await this.#flushFolder(dirname(this.#objectPath(key)));
    } catch (thrown) {
      if (!isMissing(thrown)) throw toAlumnusError(thrown, key);
    }
    await this.#fs.unlink(this.#metadataPath(key)).catch(() => undefined);
  }

  #objectPath(key: string): string {
    return join(this.#objects, checkKey(key));
  }

  #metadataPath(key: string): string {
    return join(this.#root, 'metadata', `${checkKey(key)}.json`);
  }

  #temporaryPath(): string {
    return join(this.#root, 'temporary', randomUUID());
  }

  /** Writes, flushes and reads back. The digest is of what was asked to be written; what lies on disk equals it. */
  async #writeTemporary(path: string, content: Uint8Array | AsyncIterable<Uint8Array>): Promise<{ digest: string; bytes: number }> {
    const hash = sha256Stream();
    let bytes = 0;
    const file = await this.#fs.open(path, 'wx');
    try {
      for await (const chunk of content instanceof Uint8Array ? [content] : content) {
        hash.update(chunk);
        await file.writeFile(chunk);
        bytes += chunk.byteLength;
      }
      await file.sync();
    } finally {
      await file.close();
    }
    const digest = hash.digest('hex');
    const written = await this.#digestOf(path);
    if (written !== digest) throw digestMismatch({ key: path, sha256: digest, bytes }, written ?? 'nothing');
    return { digest, bytes };
  }

  async #digestOf(path: string): Promise<string | undefined> {
    let file;
    try {
      file = await this.#fs.open(path, 'r');
    } catch (thrown) {
      if (isMissing(thrown)) return undefined;
      throw thrown;
    }
    try {
      const hash = sha256Stream();
      const chunk = Buffer.allocUnsafe(STREAM_CHUNK_BYTES);
      for (;;) {
        const { bytesRead } = await file.read(chunk, 0, STREAM_CHUNK_BYTES);
        if (bytesRead === 0) return hash.digest('hex');
        hash.update(chunk.subarray(0, bytesRead));
      }
    } finally {
      await file.close();
    }
  }

  /** Before the object: whoever finds an object finds its metadata. Metadata without an object is harmless. */
  async #putMetadata(key: string, metadata: Readonly<Record<string, string>>): Promise<void> {
    const path = this.#metadataPath(key);
    const temporary = this.#temporaryPath();
    try {
      await this.#writeTemporary(temporary, Buffer.from(canonicalJson(metadata)));
      await this.#ensureFolder(dirname(path));
      await this.#linkNew(temporary, path);
    } finally {
      await this.#fs.unlink(temporary).catch(() => undefined);
    }
  }

  /** Gives a finished file its name; false where the name is taken. */
  async #linkNew(from: string, to: string): Promise<boolean> {
    try {
      await this.#fs.link(from, to);
    } catch (thrown) {
      if (systemCode(thrown) === 'EEXIST') return false;
      throw thrown;
    }
    await this.#flushFolder(dirname(to));
    return true;
  }

  /** Makes a folder durable with those above it. Of one that is known to be, nothing is asked again: a flush may wait for all that other processes write. */
  async #ensureFolder(folder: string): Promise<void> {
    if (folder.length <= this.#root.length || this.#folders.has(folder)) return;
    await this.#ensureFolder(dirname(folder));
    await this.#fs.mkdir(folder, { recursive: true });
    await this.#flushFolder(dirname(folder));
    this.#folders.add(folder);
  }

  async #flushFolder(folder: string): Promise<void> {
    const handle = await this.#fs.open(folder, 'r');
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  }

  async #sweep(now: () => number): Promise<void> {
    const folder = join(this.#root, 'temporary');
    for (const name of await this.#fs.readdir(folder)) {
      const path = join(folder, name);
      try {
        const { mtimeMs } = await this.#fs.stat(path);
        if (now() - mtimeMs > TEMPORARY_AGE_MS_MAX) await this.#fs.unlink(path);
      } catch (thrown) {
        // Its writer, or another process that sweeps, was faster.
        if (!isMissing(thrown)) throw thrown;
      }
    }
  }

  async *#walk(folder: string, prefix: string): AsyncIterable<{ key: string; bytes: number; writtenMs: number }> {
    const path = join(this.#objects, folder);
    let entries;
    try {
      entries = await this.#fs.readdir(path, { withFileTypes: true });
    } catch (thrown) {
      if (isMissing(thrown)) return;
      throw toAlumnusError(thrown, folder);
    }
    // A folder sorts as its keys do, with the separator behind its name.
    const sorted = entries.map((entry) => ({ entry, order: Buffer.from(entry.isDirectory() ? `${entry.name}/` : entry.name) })).sort((a, b) => Buffer.compare(a.order, b.order));
    for (const { entry } of sorted) {
      const key = folder === '' ? entry.name : `${folder}/${entry.name}`;
      if (entry.isDirectory()) {
        if (`${key}/`.startsWith(prefix) || prefix.startsWith(`${key}/`)) yield* this.#walk(key, prefix);
      } else if (key.startsWith(prefix)) {
        try {
          const { size, mtimeMs } = await this.#fs.stat(join(path, entry.name));
          yield { key, bytes: size, writtenMs: mtimeMs };
        } catch (thrown) {
          if (!isMissing(thrown)) throw toAlumnusError(thrown, key);
        }
      }
    }
  }

  async #read<T>(key: string, read: () => Promise<T>): Promise<T> {
    try {
      return await read();
    } catch (thrown) {
      if (isMissing(thrown)) throw new AlumnusError('OBJECT_NOT_FOUND', 'the object is not in the store', { where: key, cause: thrown });
      throw toAlumnusError(thrown, key);
    }
  }
}
