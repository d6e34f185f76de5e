/**
 * Register and append: tars become shards where they lie. Each is read once from end to end, to hash it and to count its
 * samples, a few at a time; what is known of each is kept in a file as soon as it is known, so that whoever is interrupted
 * goes on. Last the manifest is written.
 * Invariants:
 *  1. Nothing at the place is written, moved or copied.
 *  2. Memory holds some facts of each tar and one window of those that are being read, never a tar; of a labeled part also
 *     keys and classes.
 *  3. The same tars and options give the same manifest digest, however often the reading was interrupted.
 */
import { createReadStream } from 'node:fs';
import { mkdir, open, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { createInterface } from 'node:readline';
import { AlumnusError, invariant, toAlumnusError } from '../proto/errors.ts';
import { paths, sha256Stream, type ObjectReader, type ObjectStore, type PartName } from '../store/index.ts';
import { classesOf, type SourceLabel } from './classes.ts';
import { shapeOf } from './images.ts';
import type { Progress } from './import.ts';
import { checkDatasetName, datasetExists, loadManifest, partNames, versionOf, writeManifest, type DatasetManifest, type DatasetPart, type DatasetShard, type ImageShape, type LoadedManifest } from './manifest.ts';
import { placedName, readerAt, registeredKey } from './registered.ts';
import { SHARD_BYTES_MAX, shardName } from './shards.ts';
import { samplesIn } from './sources/webdataset.ts';
import { encodeLabels, readLabels } from './tables.ts';
import { readTar, type ByteSource } from './tar.ts';

/** Read at once of one tar: fills a connection, and several of them fit any memory. */
const WINDOW_BYTES = 8 * 1024 * 1024;
const AT_ONCE_DEFAULT = 4;

export interface PlacedTars {
  /** URL of the place; tars are the objects below it whose keys end in `.tar`. */
  readonly location: string;
  readonly part: PartName;
  /** Where what is known of each tar is kept until the manifest is written. */
  readonly journalFile: string;
  /** Tars that are read at once. Default 4. */
  readonly atOnce?: number;
  /** Class names in the order of their indices, where the dataset has none yet. Default what the labels are. */
  readonly classes?: readonly string[];
  readonly signal?: AbortSignal;
}

export interface RegisterOptions extends PlacedTars {
  readonly name: string;
  /** What images become when they are read. Default the first image's. */
  readonly image?: ImageShape;
}

export interface Registered extends LoadedManifest {
  /** Shards that the manifest before did not have. */
  readonly added: number;
  /** One sentence each: what was left out, and why. */
  readonly notes: readonly string[];
}

interface Tar {
  readonly key: string;
  readonly bytes: number;
}

interface IndexedTar extends Tar {
  readonly sha256: string;
  readonly samples: number;
  /** Own keys and labels, where the part is a labeled one. */
  readonly labels?: readonly (readonly [string, SourceLabel])[];
}

/** @throws AlumnusError DATASET_EXISTS, DATASET_SOURCE_UNREADABLE, DATASET_TOO_LARGE, SHARD_CORRUPT, CANCELLED; as `openPlace` */
export async function registerDataset(store: ObjectStore, options: RegisterOptions, progress: Progress = () => undefined): Promise<Registered> {
  // Said before hours of reading, not after.
  if ((await store.getNamed(paths.datasetManifest(checkDatasetName(options.name)))) !== undefined) throw datasetExists(options.name);
  const reader = await readerAt(options.location);
  const tars = await tarsAt(reader, options.location);
  const [first] = tars;
  if (first === undefined) throw new AlumnusError('DATASET_SOURCE_UNREADABLE', 'no object there has a name that ends in ".tar"', { where: options.location });
  const image = options.image ?? await shapeOfFirst(reader, tars, options.location);
  const empty: DatasetManifest = { schemaVersion: 1, name: options.name, classes: [], image, parts: {} };
  return extend(store, empty, tars, reader, options, progress);
}

/**
 * A new version of the dataset, with the tars at the place that it does not have yet. Where there are none it stays as it is.
 * @param reference NAME: its newest version is the one before
 * @throws as `registerDataset`; DATASET_NOT_FOUND; DIGEST_MISMATCH, where a tar has another size than it had
 */
export async function appendDataset(store: ObjectStore, reference: string, options: PlacedTars, progress: Progress = () => undefined): Promise<Registered> {
  const before = await loadManifest(store, checkDatasetName(reference));
  const reader = await readerAt(options.location);
  const bytesOf = new Map(shardsOf(before.manifest).filter((shard) => shard.location === options.location).map(({ ref }) => [ref.key, ref.bytes]));
  const tars = (await tarsAt(reader, options.location)).filter(({ key, bytes }) => {
    const known = bytesOf.get(key);
    if (known !== undefined && known !== bytes) throw new AlumnusError('DIGEST_MISMATCH', `the tar has ${bytes} bytes where it had ${known} when it was registered`, { where: placedName(options.location, key) });
    return known === undefined;
  });
  if (tars.length === 0) return { ...before, added: 0, notes: ['every tar there belongs to the dataset already'] };
  const next: DatasetManifest = { ...before.manifest, version: versionOf(before.manifest) + 1, previous: before.digest };
  const extended = await extend(store, next, tars, reader, options, progress);
  return extended.added > 0 ? extended : { ...before, added: 0, notes: extended.notes };
}

const shardsOf = (manifest: DatasetManifest): DatasetShard[] => partNames.flatMap((part) => manifest.parts[part]?.shards ?? []);

/** The manifest with these tars at the end of the part, written unless none of them is new. */
async function extend(store: ObjectStore, manifest: DatasetManifest, tars: readonly Tar[], reader: ObjectReader, options: PlacedTars, progress: Progress): Promise<Registered> {
  const { location, part: partName, journalFile } = options;
  const labeled = partName !== 'unlabeled';
  const notes: string[] = [];
  const part: DatasetPart = manifest.parts[partName] ?? { samples: 0, shards: [] };
  const indexed = await indexTars(reader, tars, labeled, options, progress);
  const known = new Set(shardsOf(manifest).map(({ ref }) => ref.sha256));
  const added: IndexedTar[] = [];
  let [copies, empty] = [0, 0];
  for (const tar of indexed) {
    if (tar.samples === 0) empty += 1;
    else if (known.has(tar.sha256)) copies += 1;
    else added.push(tar);
    known.add(tar.sha256);
  }
  if (copies > 0) notes.push(`${copies} tars that are exact copies of others were left out`);
  if (empty > 0) notes.push(`${empty} tars without an image were left out`);
  const finish = async (written: LoadedManifest): Promise<Registered> => {
    await rm(journalFile, { force: true });
    return { ...written, added: added.length, notes };
  };
  if (added.length === 0) {
    if (part.shards.length === 0) throw new AlumnusError('DATASET_SOURCE_UNREADABLE', 'no tar there holds a PNG or JPEG image', { where: location });
    return finish(await loadManifest(store, manifest.name));
  }
  const shards = added.map(({ key, sha256, bytes, samples }, at) => ({ name: shardName(partName, part.shards.length + at), ref: { key, sha256, bytes }, samples, location }));
  const tables = labeled ? await labelTable(store, manifest, part, added, options) : { classes: options.classes ?? manifest.classes };
  const { classes, ...table } = tables;
  // A list of keys is of all images or of none: those of other people's tars are not the contents' digests.
  const { keys: _keys, ...kept } = part;
  const extended: DatasetPart = { ...kept, ...table, samples: part.samples + added.reduce((sum, { samples }) => sum + samples, 0), shards: [...part.shards, ...shards] };
  return finish(await writeManifest(store, { ...manifest, classes: [...classes], parts: { ...manifest.parts, [partName]: extended } }));
}

/** The part's labels with those of the new tars behind them. */
async function labelTable(store: ObjectStore, manifest: DatasetManifest, part: DatasetPart, added: readonly IndexedTar[], { part: partName, location, classes: asked }: PlacedTars): Promise<Pick<DatasetPart, 'labels' | 'classCounts'> & { classes: readonly string[] }> {
  if (asked !== undefined && manifest.classes.length > 0 && asked.join('\n') !== manifest.classes.join('\n')) throw new AlumnusError('USAGE', `the dataset has classes already: ${manifest.classes.slice(0, 12).join(', ')}`, { where: 'classes' });
  const classes = classesOf(manifest.classes.length > 0 ? manifest.classes : asked, labelsOf(added));
  if (classes.names.length === 1) throw new AlumnusError('DATASET_CLASS_EMPTY', 'there is one class only: a model has nothing to tell apart', { where: manifest.name });
  const before = part.labels === undefined ? { keys: [], classes: new Int32Array() } : await readLabels(store, part.labels);
  const keys = [...before.keys];
  const indices = Array.from(before.classes);
  for (const tar of added) {
    for (const [own, label] of tar.labels ?? []) {
      keys.push(registeredKey(tar.sha256, own));
      indices.push(classes.indexOf(label, `${placedName(location, tar.key)}/${own}`));
    }
  }
  const classCounts = new Array<number>(classes.names.length).fill(0);
  for (const index of indices) classCounts[index] = (classCounts[index] ?? 0) + 1;
  const labels = await store.putAddressed(paths.datasetPart(manifest.name, partName), encodeLabels({ keys, classes: Int32Array.from(indices) }), { extension: '.parquet', metadata: { dataset: manifest.name, part: partName, table: 'labels' } });
  return { classes: classes.names, labels, classCounts };
}

function* labelsOf(tars: readonly IndexedTar[]): Iterable<SourceLabel> {
  for (const { labels } of tars) for (const [, label] of labels ?? []) yield label;
}

/** In the order of their keys, whatever the place lists first. */
async function tarsAt(reader: ObjectReader, location: string): Promise<Tar[]> {
  const tars: Tar[] = [];
  for await (const { key, bytes } of reader.list('')) {
    if (!key.endsWith('.tar')) continue;
    if (bytes > SHARD_BYTES_MAX) throw new AlumnusError('DATASET_TOO_LARGE', `the tar has ${bytes} bytes, and a worker holds at most ${SHARD_BYTES_MAX} of one: cut it into smaller ones`, { where: placedName(location, key) });
    tars.push({ key, bytes });
  }
  return tars.sort((a, b) => (a.key < b.key ? -1 : 1));
}

async function shapeOfFirst(reader: ObjectReader, tars: readonly Tar[], location: string): Promise<ImageShape> {
  for (const tar of tars) {
    const where = placedName(location, tar.key);
    const samples = samplesIn(readTar(new HashedRanges(reader, tar, () => undefined), where), where, false)[Symbol.asyncIterator]();
    const first = await samples.next();
    await samples.return?.();
    if (first.done !== true) return shapeOf(first.value.image.encoded, `${where}/${first.value.key}`);
  }
  throw new AlumnusError('DATASET_SOURCE_UNREADABLE', 'no tar there holds a PNG or JPEG image', { where: location });
}

/** An object from its first byte to its last, each read once, in ranges, and hashed on the way. */
class HashedRanges implements ByteSource {
  readonly #reader: ObjectReader;
  readonly #tar: Tar;
  readonly #onBytes: (bytes: number) => void;
  readonly #hash = sha256Stream();
  #window = Buffer.alloc(0);
  #windowStart = 0;

  constructor(reader: ObjectReader, tar: Tar, onBytes: (bytes: number) => void) {
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

async function indexTar(reader: ObjectReader, location: string, tar: Tar, labeled: boolean, onBytes: (bytes: number) => void): Promise<IndexedTar> {
  const where = placedName(location, tar.key);
  const ranges = new HashedRanges(reader, tar, onBytes);
  const keys = new Set<string>();
  const labels: [string, SourceLabel][] = [];
  for await (const { key, label } of samplesIn(readTar(ranges, where), where, labeled)) {
    if (keys.has(key)) throw new AlumnusError('SHARD_CORRUPT', `the tar holds two images called ${JSON.stringify(key)}`, { where });
    keys.add(key);
    if (!labeled) continue;
    if (label === undefined) throw new AlumnusError('DATASET_SOURCE_UNREADABLE', `the image ${JSON.stringify(key)} has no label: write a .cls or .json beside it, or register with --part unlabeled`, { where });
    labels.push([key, label]);
  }
  return { ...tar, sha256: await ranges.digest(), samples: keys.size, ...(labeled ? { labels } : {}) };
}

/** What an earlier attempt found out, by the tar's key. A line that was cut off is found out again. */
async function readJournal(file: string): Promise<Map<string, IndexedTar>> {
  const known = new Map<string, IndexedTar>();
  const input = createReadStream(file);
  try {
    for await (const line of createInterface({ input, crlfDelay: Infinity })) {
      try {
        const tar = JSON.parse(line) as IndexedTar;
        known.set(tar.key, tar);
      } catch {
        // Cut off where its writer was.
      }
    }
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code !== 'ENOENT') throw toAlumnusError(thrown, file);
  }
  return known;
}

async function indexTars(reader: ObjectReader, tars: readonly Tar[], labeled: boolean, options: PlacedTars, progress: Progress): Promise<IndexedTar[]> {
  const { journalFile, signal, atOnce = AT_ONCE_DEFAULT } = options;
  const known = await readJournal(journalFile);
  const total = tars.reduce((sum, { bytes }) => sum + bytes, 0);
  const label = 'reading tars';
  let done = 0;
  const indexed: (IndexedTar | undefined)[] = tars.map((tar) => {
    const before = known.get(tar.key);
    if (before?.bytes !== tar.bytes) return undefined;
    done += tar.bytes;
    return before;
  });
  progress(done, total, label);
  await mkdir(dirname(journalFile), { recursive: true });
  const journal = await open(journalFile, 'a').catch((thrown: unknown) => {
    throw toAlumnusError(thrown, journalFile);
  });
  const stopping = new AbortController();
  const stop = signal === undefined ? stopping.signal : AbortSignal.any([signal, stopping.signal]);
  let next = 0;
  // Line behind line; a line that its process did not finish begins no other's.
  let written: Promise<unknown> = journal.appendFile('\n');
  const work = async (): Promise<void> => {
    while (next < tars.length) {
      const at = next;
      next += 1;
      const tar = tars[at];
      if (tar === undefined || indexed[at] !== undefined) continue;
      const found = await indexTar(reader, options.location, tar, labeled, (bytes) => {
        stop.throwIfAborted();
        progress(done += bytes, total, label);
      });
      indexed[at] = found;
      written = written.then(() => journal.appendFile(`${JSON.stringify(found)}\n`));
      await written;
    }
  };
  try {
    // On a failure the others end with their next window, for the same reason.
    const ends = await Promise.allSettled(Array.from({ length: atOnce }, () => work().catch((thrown: unknown) => {
      stopping.abort(thrown);
      throw thrown;
    })));
    const failed = ends.find((end) => end.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
  } catch (thrown) {
    if (signal?.aborted === true) throw new AlumnusError('CANCELLED', 'the reading was stopped; what was read is kept, and the same command goes on from there', { where: options.location, cause: thrown });
    throw toAlumnusError(thrown, options.location);
  } finally {
    await journal.close();
  }
  return indexed.map((tar) => {
    invariant(tar !== undefined, 'every tar was read');
    return tar;
  });
}
