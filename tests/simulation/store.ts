/** The object store in memory: what was put is there, whole and for good. */
import { AlumnusError } from '../../proto/errors.ts';
import { sha256, type ObjectRef, type ObjectStore, type PutOptions } from '../../store/index.ts';

export class MemoryStore implements ObjectStore {
  /** When each object came. */
  readonly bornMs = new Map<string, number>();
  readonly objects = new Map<string, { content: Uint8Array; metadata: Record<string, string> }>();

  readonly #now: () => number;

  constructor(now: () => number = () => 0) {
    this.#now = now;
  }

  async putAddressed(prefix: string, content: Uint8Array | AsyncIterable<Uint8Array>, options: PutOptions = {}): Promise<ObjectRef> {
    const pieces: Uint8Array[] = [];
    if (content instanceof Uint8Array) pieces.push(content);
    else for await (const piece of content) pieces.push(piece);
    const bytes = Buffer.concat(pieces);
    const ref: ObjectRef = { key: `${prefix}/${sha256(bytes)}${options.extension ?? ''}`, sha256: sha256(bytes), bytes: bytes.byteLength };
    if (!this.objects.has(ref.key)) {
      this.objects.set(ref.key, { content: bytes, metadata: { ...options.metadata } });
      this.bornMs.set(ref.key, this.#now());
    }
    return ref;
  }

  putNamed(key: string, content: Uint8Array): Promise<{ created: boolean; ref: ObjectRef }> {
    const created = !this.objects.has(key);
    if (created) this.objects.set(key, { content, metadata: {} });
    const held = this.#must(key).content;
    return Promise.resolve({ created, ref: { key, sha256: sha256(held), bytes: held.byteLength } });
  }

  async get(ref: ObjectRef): Promise<Uint8Array> {
    const { content } = this.#must(ref.key);
    if (sha256(content) !== ref.sha256) throw new AlumnusError('DIGEST_MISMATCH', 'other bytes lie there', { where: ref.key });
    return content;
  }

  async *stream(ref: ObjectRef): AsyncGenerator<Uint8Array> {
    yield await this.get(ref);
  }

  async getRange(ref: ObjectRef, start: number, end: number): Promise<Uint8Array> {
    return (await this.get(ref)).subarray(start, end);
  }

  getNamed(key: string): Promise<{ ref: ObjectRef; content: Uint8Array } | undefined> {
    const held = this.objects.get(key);
    return Promise.resolve(held === undefined ? undefined : { ref: { key, sha256: sha256(held.content), bytes: held.content.byteLength }, content: held.content });
  }

  metadata(key: string): Promise<Record<string, string>> {
    return Promise.resolve(this.objects.get(key)?.metadata ?? {});
  }

  async *list(prefix: string): AsyncGenerator<{ key: string; bytes: number; writtenMs: number }> {
    for (const key of [...this.objects.keys()].sort()) if (key.startsWith(prefix)) yield { key, bytes: this.#must(key).content.byteLength, writtenMs: this.bornMs.get(key) ?? 0 };
  }

  delete(key: string): Promise<void> {
    this.objects.delete(key);
    return Promise.resolve();
  }

  #must(key: string): { content: Uint8Array; metadata: Record<string, string> } {
    const held = this.objects.get(key);
    if (held === undefined) throw new AlumnusError('OBJECT_NOT_FOUND', 'the object is not in the store', { where: key });
    return held;
  }
}
