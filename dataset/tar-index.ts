/**
 * What is known of a tar at a place: its digest, how many images it holds and, of a labeled one, their own keys and labels.
 * Found out by reading the tar once from end to end, and then kept as an immutable object in the store, so that whoever
 * registers (the command line, a worker, either of them again after a crash) reads only tars that nobody has read.
 * Not for: which tars there are and what a dataset makes of them (register.ts).
 * Invariants:
 *  1. The object's name is a function of place, key, bytes, the time of writing where the place tells it, and whether labels
 *     were looked at. So a tar that is written anew there is another one, and is read again.
 *  2. Nothing is kept of a tar that was not read to its end.
 *  3. Memory holds one window of a tar that is being read, never a tar; of a labeled one also keys and labels.
 */
import { z } from 'zod';
import { AlumnusError, invariant } from '../proto/errors.ts';
import { canonicalJson, paths, sha256, sha256Stream, type ObjectReader, type ObjectStore } from '../store/index.ts';
import { placedName, readerAt } from './registered.ts';
import { samplesIn } from './sources/webdataset.ts';
import { readTar, type ByteSource } from './tar.ts';

/** Read at once of one tar: fills a connection, and several of them fit any memory. */
const WINDOW_BYTES = 8 * 1024 * 1024;
/** Part of the object's name: what a later release keeps otherwise lies elsewhere. */
const SCHEMA_VERSION = 1;

/** A tar as its place lists it, and whether its labels count. */
export interface PlacedTar {
  /** URL of the place. */
  readonly location: string;
  readonly key: string;
  readonly bytes: number;
  /** When it was written, by the place's clock, in whole milliseconds; absent where the place does not tell. */
  readonly writtenMs?: number;
  readonly labeled: boolean;
}

const indexSchema = z.strictObject({
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
  samples: z.int().min(0),
  labels: z.array(z.tuple([z.string(), z.union([z.string(), z.number()])])).optional().describe('Own keys and labels, in the tar\'s order, where labels count.'),
});

export type TarIndex = z.infer<typeof indexSchema>;

const indexKey = ({ location, key, bytes, writtenMs, labeled }: PlacedTar): string => paths.tarIndex(sha256(canonicalJson({ schemaVersion: SCHEMA_VERSION, location, key, bytes, writtenMs, labeled })));

/** What was found out of the tar before; undefined where nothing was. @throws AlumnusError SHARD_CORRUPT, and the store's errors */
export async function knownTar(store: ObjectStore, tar: PlacedTar): Promise<TarIndex | undefined> {
  const key = indexKey(tar);
  const found = await store.getNamed(key);
  if (found === undefined) return undefined;
  try {
    return indexSchema.parse(JSON.parse(Buffer.from(found.content).toString()));
  } catch (thrown) {
    throw new AlumnusError('SHARD_CORRUPT', `what is kept of the tar ${placedName(tar.location, tar.key)} cannot be read: delete this object, and the tar is read again`, { where: key, cause: thrown });
  }
}

/**
 * Reads the tar, unless it is known, and keeps what it found. @param onBytes told of each window; what it throws ends the reading.
 * @throws AlumnusError SHARD_CORRUPT, DATASET_SOURCE_UNREADABLE (an image without a label), LABEL_OUT_OF_RANGE, DIGEST_MISMATCH (it changed meanwhile);
 *   those of `openPlace` and of both stores
 */
export async function indexTar(store: ObjectStore, tar: PlacedTar, onBytes: (bytes: number) => void): Promise<TarIndex> {
  const known = await knownTar(store, tar);
  if (known !== undefined) return known;
  const index = await read(tar, onBytes);
  const content = Buffer.from(canonicalJson(index));
  const { created, ref } = await store.putNamed(indexKey(tar), content);
  if (!created && ref.sha256 !== sha256(content)) throw new AlumnusError('DIGEST_MISMATCH', 'the tar changed while it was read: two readers found two digests', { where: placedName(tar.location, tar.key) });
  return index;
}

async function read(tar: PlacedTar, onBytes: (bytes: number) => void): Promise<TarIndex> {
  const where = placedName(tar.location, tar.key);
  const ranges = new HashedRanges(await readerAt(tar.location), tar, onBytes);
  const keys = new Set<string>();
  const labels: [string, string | number][] = [];
  for await (const { key, label } of samplesIn(readTar(ranges, where), where, tar.labeled)) {
    if (keys.has(key)) throw new AlumnusError('SHARD_CORRUPT', `the tar holds two images called ${JSON.stringify(key)}`, { where });
    keys.add(key);
    if (!tar.labeled) continue;
    if (label === undefined) throw new AlumnusError('DATASET_SOURCE_UNREADABLE', `the image ${JSON.stringify(key)} has no label: write a .cls or .json beside it, or register with --part unlabeled`, { where });
    if (typeof label === 'number' && !Number.isFinite(label)) throw new AlumnusError('LABEL_OUT_OF_RANGE', 'the label is no number that a class could have', { where: `${where}/${key}` });
    labels.push([key, label]);
  }
  return { sha256: await ranges.digest(), samples: keys.size, ...(tar.labeled ? { labels } : {}) };
}

/** An object from its first byte to its last, each read once, in ranges, and hashed on the way. */
export class HashedRanges implements ByteSource {
  readonly #reader: ObjectReader;
  readonly #tar: Pick<PlacedTar, 'key' | 'bytes'>;
  readonly #onBytes: (bytes: number) => void;
  readonly #hash = sha256Stream();
  #window = Buffer.alloc(0);
  #windowStart = 0;

  constructor(reader: ObjectReader, tar: Pick<PlacedTar, 'key' | 'bytes'>, onBytes: (bytes: number) => void) {
    this.#reader = reader;
    this.#tar = tar;
    this.#onBytes = onBytes;
  }

  get #read(): number {
    return this.#windowStart + this.#window.byteLength;
  }

  async read(start: number, end: number): Promise<Uint8Array> {
    invariant(start >= this.#windowStart && start <= this.#read, 'a tar is read in its order');
    if (end > this.#read && this.#read < this.#tar.bytes) {
      const next = await this.#fetch(Math.max(end, this.#read + WINDOW_BYTES));
      // A new buffer each time: entries handed out keep theirs.
      this.#window = Buffer.concat([this.#window.subarray(start - this.#windowStart), next]);
      this.#windowStart = start;
    }
    return this.#window.subarray(start - this.#windowStart, end - this.#windowStart);
  }

  async #fetch(end: number): Promise<Uint8Array> {
    const { key, bytes } = this.#tar;
    // Its digest is what is being found out; the length is checked.
    const content = await this.#reader.getRange({ key, bytes, sha256: '' }, this.#read, Math.min(end, bytes));
    this.#hash.update(content);
    this.#onBytes(content.byteLength);
    return content;
  }

  /** Of the whole object: what no one has asked for is read now. */
  async digest(): Promise<string> {
    while (this.#read < this.#tar.bytes) {
      const next = await this.#fetch(this.#read + WINDOW_BYTES);
      this.#windowStart = this.#read + next.byteLength;
      this.#window = Buffer.alloc(0);
    }
    return this.#hash.digest('hex');
  }
}
