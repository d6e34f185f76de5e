/**
 * Register and append: tars become shards where they lie. Each is read once from end to end, to hash it and to count its
 * samples, here or by the workers of a fleet; what is known of each lies in the store as soon as it is known (tar-index.ts),
 * so that whoever is interrupted goes on. Last the manifest is written.
 * Invariants:
 *  1. Nothing at the place is written, moved or copied.
 *  2. Memory holds some facts of each tar and one window of those that are being read, never a tar; of a labeled part also
 *     keys and classes.
 *  3. The same tars and options give the same manifest digest, however often the reading was interrupted.
 */
import { AlumnusError, invariant, toAlumnusError } from '../proto/errors.ts';
import { paths, type ObjectReader, type ObjectStore, type PartName } from '../store/index.ts';
import { classesOf, type SourceLabel } from './classes.ts';
import { shapeOf } from './images.ts';
import type { Progress } from './import.ts';
import { checkDatasetName, datasetExists, loadManifest, partNames, versionOf, writeManifest, type DatasetManifest, type DatasetPart, type DatasetShard, type ImageShape, type LoadedManifest } from './manifest.ts';
import { placedName, readerAt, registeredKey } from './registered.ts';
import { SHARD_BYTES_MAX, shardName } from './shards.ts';
import { samplesIn } from './sources/webdataset.ts';
import { encodeLabels, readLabels } from './tables.ts';
import { HashedRanges, indexTar, knownTar, type PlacedTar, type TarIndex } from './tar-index.ts';
import { readTar } from './tar.ts';

const AT_ONCE_DEFAULT = 4;
/** Small objects that are asked for at once: hides the store's latency. */
const LOOKUPS_AT_ONCE = 16;

/**
 * Others who read tars, such as a fleet of workers, and keep in the same store what they find (`indexTar`). Told again and again
 * until all are done: which tars that was since the last time, and how many bytes of all of them are read by now, as far as is known.
 */
export type TarReaders = (tars: readonly PlacedTar[], signal: AbortSignal) => AsyncIterable<{ readonly indexed: readonly PlacedTar[]; readonly bytes: number }>;

export interface PlacedTars {
  /** URL of the place; tars are the objects below it whose keys end in `.tar`. */
  readonly location: string;
  readonly part: PartName;
  /** Who reads the tars. Default this process. */
  readonly readers?: TarReaders;
  /** Tars that this process reads at once. Default 4. */
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

type Tar = Pick<PlacedTar, 'key' | 'bytes' | 'writtenMs'>;
type IndexedTar = PlacedTar & TarIndex;

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
  return extend(store, empty, tars, options, progress);
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
  const extended = await extend(store, next, tars, options, progress);
  return extended.added > 0 ? extended : { ...before, added: 0, notes: extended.notes };
}

const shardsOf = (manifest: DatasetManifest): DatasetShard[] => partNames.flatMap((part) => manifest.parts[part]?.shards ?? []);

/** The manifest with these tars at the end of the part, written unless none of them is new. */
async function extend(store: ObjectStore, manifest: DatasetManifest, tars: readonly Tar[], options: PlacedTars, progress: Progress): Promise<Registered> {
  const { location, part: partName } = options;
  const labeled = partName !== 'unlabeled';
  const notes: string[] = [];
  const part: DatasetPart = manifest.parts[partName] ?? { samples: 0, shards: [] };
  const indexed = await indexTars(store, tars.map((tar) => ({ ...tar, location, labeled })), options, progress);
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
  const finish = (written: LoadedManifest): Registered => ({ ...written, added: added.length, notes });
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
  for await (const { key, bytes, writtenMs } of reader.list('')) {
    if (!key.endsWith('.tar')) continue;
    if (bytes > SHARD_BYTES_MAX) throw new AlumnusError('DATASET_TOO_LARGE', `the tar has ${bytes} bytes, and a worker holds at most ${SHARD_BYTES_MAX} of one: cut it into smaller ones`, { where: placedName(location, key) });
    tars.push({ key, bytes, ...(writtenMs === undefined ? {} : { writtenMs: Math.floor(writtenMs) }) });
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

/** What is known of the tars, in their order, after those of which nothing was known were read: here, or by whoever `options.readers` is. */
async function indexTars(store: ObjectStore, tars: readonly PlacedTar[], options: PlacedTars, progress: Progress): Promise<IndexedTar[]> {
  const { signal, atOnce = AT_ONCE_DEFAULT, readers } = options;
  const total = tars.reduce((sum, { bytes }) => sum + bytes, 0);
  const indices = new Map<PlacedTar, TarIndex>();
  const stopping = new AbortController();
  const stop = signal === undefined ? stopping.signal : AbortSignal.any([signal, stopping.signal]);
  /** `work` on each of the tars, `width` of them at once; on a failure the others end, too. */
  const each = async (all: readonly PlacedTar[], width: number, work: (tar: PlacedTar) => Promise<void>): Promise<void> => {
    const left = all.values();
    const take = async (): Promise<void> => {
      for (const tar of left) {
        stop.throwIfAborted();
        await work(tar);
      }
    };
    const ends = await Promise.allSettled(Array.from({ length: width }, () => take().catch((thrown: unknown) => {
      stopping.abort(thrown);
      throw thrown;
    })));
    const failed = ends.find((end) => end.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
  };
  let done = 0;
  const read = (bytes: number): void => {
    stop.throwIfAborted();
    progress(done += bytes, total, 'reading tars');
  };
  try {
    await each(tars, LOOKUPS_AT_ONCE, async (tar) => {
      const known = await knownTar(store, tar);
      if (known !== undefined) indices.set(tar, known);
      done += known === undefined ? 0 : tar.bytes;
    });
    progress(done, total, 'reading tars');
    const unknown = tars.filter((tar) => !indices.has(tar));
    if (readers === undefined) await each(unknown, atOnce, async (tar) => void indices.set(tar, await indexTar(store, tar, read)));
    else if (unknown.length > 0) {
      const before = done;
      for await (const { indexed, bytes } of readers(unknown, stop)) {
        progress(done = before + bytes, total, 'reading tars');
        await each(indexed, LOOKUPS_AT_ONCE, async (tar) => {
          const found = await knownTar(store, tar);
          if (found === undefined) throw new AlumnusError('OBJECT_NOT_FOUND', 'the tar was read, and what was found is not in this object store: the coordinator uses another one', { where: placedName(tar.location, tar.key) });
          indices.set(tar, found);
        });
      }
    }
    stop.throwIfAborted();
  } catch (thrown) {
    if (signal?.aborted === true) throw new AlumnusError('CANCELLED', 'the reading was stopped; what was read is kept, and the same command goes on from there', { where: options.location, cause: thrown });
    throw toAlumnusError(thrown, options.location);
  }
  return tars.map((tar) => {
    const index = indices.get(tar);
    invariant(index !== undefined, 'every tar was read');
    return { ...tar, ...index };
  });
}
