/**
 * Import: from a source to a dataset. Reads every image once, checks it, brings it to the dataset's shape, draws the
 * split, writes shards and tables, and last the manifest.
 * Invariants:
 *  1. Nothing is visible before the manifest: an import that fails or is killed leaves unreferenced objects for gc alone.
 *  2. The same source, options and release give the same manifest digest: nothing of time, machine or order goes in.
 *  3. Truth of the unlabeled part lies in a table of its own, under a path of its own; no shard and no key tells it.
 *  4. Memory holds facts of shards and classes, one shard, one group of a table's rows, and what sorts and spool hold before they
 *     write to temporary files: never something of every image.
 */
import { AlumnusError, invariant, toAlumnusError } from '../proto/errors.ts';
import { paths, type ObjectRef, type ObjectStore, type PartName } from '../store/index.ts';
import { classesOf, type SourceLabel } from './classes.ts';
import { conformImage, encodePng, shapeOf, type ImageExtension } from './images.ts';
import { contentDigest, KEY_DIGITS, streamKeys } from './keys.ts';
import { checkDatasetName, datasetExists, loadManifest, partNames, writeManifest, type DatasetManifest, type DatasetPart, type ImageShape, type LoadedManifest } from './manifest.ts';
import { SHARD_BYTES_MAX, SHARD_SAMPLES_DEFAULT, shardOrder, writeShard, type ShardSample } from './shards.ts';
import type { Source, SourceSample } from './sources/source.ts';
import { Sorted } from './sorted.ts';
import { split, SPLIT_METHOD, type Candidate, type Drawn, type SplitRequest } from './split.ts';
import { Spool, type Spooled } from './spool.ts';
import { streamLabels, streamOrigins } from './tables.ts';

/** A shard is closed at this size whatever its sample count, well below what a reader accepts. */
const SHARD_BYTES_TARGET = SHARD_BYTES_MAX / 4;
/** Images that are decoded at once: sharp uses as many threads as libuv has, 4. */
const DECODING_AT_ONCE = 4;

export type Progress = (done: number, total: number, label: string) => void;

export interface ImportOptions extends Partial<SplitRequest> {
  readonly name: string;
  readonly seed?: number;
  /** Samples of a shard. Default 2,000. */
  readonly shardSamples?: number;
  /** Class names in the order of their indices. Default what the source says, else what its labels are, sorted. */
  readonly classes?: readonly string[];
  /** Images of another shape are resized to it. Default that of the source's first image. */
  readonly image?: ImageShape;
  /** What the images' spool, and each of a few sorts of facts about them, hold in memory before they write to temporary files. Default 16 and 8 MiB. */
  readonly heldBytesMax?: number;
  readonly signal?: AbortSignal;
}

export interface Imported extends LoadedManifest {
  /** One sentence each: what was resized, dropped or passed over. */
  readonly notes: readonly string[];
}

/** What is kept of an image beside its bytes, through sorts: plain JSON. */
interface Item {
  readonly origin: string;
  readonly pool: SourceSample['pool'];
  readonly label?: SourceLabel | undefined;
  readonly extension: ImageExtension;
  readonly stored: Spooled;
  readonly digest: string;
}

/** An image whose class is known, where it has one. */
type Sample = Item & Candidate;

const keyOf = ({ digest }: Item): string => digest.slice(0, KEY_DIGITS);

interface AllRead {
  readonly shape: ImageShape;
  readonly resized: number;
  /** Each label with the first image that has it. */
  readonly labels: ReadonlyMap<SourceLabel, string>;
  readonly hasTest: boolean;
}

interface Conformed {
  readonly bytes: Uint8Array;
  readonly extension: ImageExtension;
  readonly pixels: Uint8Array;
  readonly resized: boolean;
}

const sameShape = (a: ImageShape, b: ImageShape): boolean => a.height === b.height && a.width === b.width && a.channels === b.channels;

/** Results in the order of the input, `width` of them under way at once. */
async function* mapOrdered<T, R>(items: AsyncIterable<T>, width: number, map: (item: T) => Promise<R>): AsyncIterable<R> {
  const underWay: Promise<R>[] = [];
  try {
    for await (const item of items) {
      const result = map(item);
      // Its failure is met when its turn comes.
      result.catch(() => undefined);
      underWay.push(result);
      if (underWay.length >= width) yield await (underWay.shift() as Promise<R>);
    }
    while (underWay.length > 0) yield await (underWay.shift() as Promise<R>);
  } finally {
    await Promise.allSettled(underWay);
  }
}

async function conform(sample: SourceSample, shape: ImageShape): Promise<Conformed> {
  const { image, origin } = sample;
  if ('encoded' in image) return conformImage(image.encoded, image.extension, shape, origin);
  const bytes = encodePng(image.pixels, image.shape);
  return sameShape(image.shape, shape) ? { bytes, extension: 'png', pixels: image.pixels, resized: false } : conformImage(bytes, 'png', shape, origin);
}

/** @param items takes each image, by digest and then in the source's order */
async function readAll(source: Source, options: ImportOptions, spool: Spool, items: Sorted<Item>, progress: Progress): Promise<AllRead> {
  const labels = new Map<SourceLabel, string>();
  let shape = options.image;
  let resized = 0;
  let hasTest = false;
  const shaped = async function* (): AsyncIterable<{ sample: SourceSample; shape: ImageShape }> {
    for await (const sample of source.samples()) {
      options.signal?.throwIfAborted();
      if (sample.pool === 'test' && (options.test ?? 0) > 0) throw new AlumnusError('USAGE', 'the source has a test split of its own, so none is drawn: leave the count of test images out', { where: 'test' });
      shape ??= 'encoded' in sample.image ? await shapeOf(sample.image.encoded, sample.origin) : sample.image.shape;
      yield { sample, shape };
    }
  };
  for await (const { sample, conformed, digest } of mapOrdered(shaped(), DECODING_AT_ONCE, async (each) => {
    const result = await conform(each.sample, each.shape);
    const { height, width, channels } = each.shape;
    return { sample: each.sample, conformed: result, digest: contentDigest({ height, width, channels }, result.pixels) };
  })) {
    if (conformed.resized) resized += 1;
    const { origin, pool, label } = sample;
    hasTest ||= pool === 'test';
    if (label !== undefined && !labels.has(label)) labels.set(label, origin);
    await items.add(digest, { origin, pool, label, extension: conformed.extension, stored: await spool.add(conformed.bytes), digest });
    progress(items.size, Math.max(items.size, source.samplesExpected ?? 0), 'reading images');
  }
  if (shape === undefined) throw new AlumnusError('DATASET_TOO_SMALL', 'the source holds no image', { where: source.name });
  return { shape, resized, labels, hasTest };
}

/** Shards are cut by count, and by size where images are large. */
async function writePart(store: ObjectStore, dataset: string, part: PartName, samples: AsyncIterable<Sample>, shardSamples: number, spool: Spool, onShard: (samples: number) => void, signal: AbortSignal | undefined): Promise<DatasetPart['shards']> {
  const shards: DatasetPart['shards'] = [];
  let open: ShardSample[] = [];
  let bytes = 0;
  const close = async (): Promise<void> => {
    signal?.throwIfAborted();
    shards.push(await writeShard(store, dataset, part, shards.length, open));
    onShard(open.length);
    open = [];
    bytes = 0;
  };
  for await (const item of samples) {
    const content = await spool.read(item.stored);
    if (open.length > 0 && bytes + content.byteLength > SHARD_BYTES_TARGET) await close();
    open.push({ key: keyOf(item), extension: item.extension, bytes: content });
    bytes += content.byteLength;
    if (open.length >= shardSamples) await close();
  }
  if (open.length > 0) await close();
  return shards;
}

async function* mapped<T, R>(items: AsyncIterable<T>, map: (item: T) => R | undefined): AsyncGenerator<R> {
  for await (const item of items) {
    const result = map(item);
    if (result !== undefined) yield result;
  }
}

/** @param keys closed here */
async function writeTables(store: ObjectStore, dataset: string, part: PartName, samples: Sorted<Sample>, classes: number, keys: Sorted<string>): Promise<Pick<DatasetPart, 'labels' | 'truth' | 'origins' | 'keys' | 'classCounts'>> {
  const prefix = paths.datasetPart(dataset, part);
  const put = (at: string, content: AsyncIterable<Uint8Array>, table: string, extension = '.parquet'): Promise<ObjectRef> => store.putAddressed(at, content, { extension, metadata: { dataset, part, table } });
  const classCounts = new Array<number>(classes).fill(0);
  try {
    for await (const sample of samples) {
      await keys.add(keyOf(sample), keyOf(sample));
      if (sample.class !== undefined) classCounts[sample.class] = (classCounts[sample.class] ?? 0) + 1;
    }
    const known = classCounts.reduce((sum, count) => sum + count, 0);
    const list = await put(prefix, streamKeys(keys), 'keys', '.keys');
    const origins = await put(part === 'unlabeled' ? paths.datasetTruth(dataset) : prefix, streamOrigins(mapped(samples, (sample) => [keyOf(sample), sample.origin] as const)), 'origins');
    const labels = (): AsyncIterable<Uint8Array> => streamLabels(mapped(samples, (sample) => (sample.class === undefined ? undefined : [keyOf(sample), sample.class] as const)));
    if (part === 'unlabeled') return { origins, keys: list, ...(known === 0 ? {} : { truth: await put(paths.datasetTruth(dataset), labels(), 'truth') }) };
    invariant(known === samples.size, `every sample of ${part} has a label`);
    return { origins, keys: list, labels: await put(prefix, labels(), 'labels'), classCounts };
  } finally {
    await keys.close();
  }
}

/** The items with their classes, in the same order. */
async function* classified(items: AsyncIterable<Item>, indexOf: (label: SourceLabel, origin: string) => number, signal: AbortSignal | undefined): AsyncGenerator<Sample> {
  let before: Item | undefined;
  for await (const item of items) {
    signal?.throwIfAborted();
    invariant(before === undefined || before.digest === item.digest || keyOf(before) !== keyOf(item), 'no two contents share a key');
    before = item;
    yield { ...item, class: item.label === undefined ? undefined : indexOf(item.label, item.origin) };
  }
}

function notesOf(source: Source, resized: number, shape: ImageShape, drawn: Drawn): string[] {
  const notes = [...source.notes];
  if (resized > 0) notes.push(`${resized} images of another shape were resized to ${shape.width} x ${shape.height}, ${shape.channels === 1 ? 'gray' : 'RGB'}`);
  if (drawn.dropped.duplicates > 0) notes.push(`${drawn.dropped.duplicates} extra exact copies were left out`);
  if (drawn.dropped.straddling > 0) notes.push(`${drawn.dropped.straddling} exact copies of held-out images were left out of the training side`);
  if (drawn.contradictory > 0) notes.push(`${drawn.contradictory} images came under more than one class; each was kept once, under the first of them`);
  return notes;
}

const checkCount = (value: number | undefined, field: string, least: number): void => {
  if (value !== undefined && !(Number.isInteger(value) && value >= least)) throw new AlumnusError('USAGE', `${field} is a whole number, at least ${least}`, { where: field });
};
const checkCountOrShare = (value: number | undefined, field: string): void => {
  if (value !== undefined && !(value >= 0 && (value < 1 || Number.isInteger(value)))) throw new AlumnusError('USAGE', `${field} is a whole number, or a share below 1`, { where: field });
};

/**
 * Refuses a name that holds what this import cannot give, by its manifest alone, before all images are read. What may be
 * the same goes on: an import that is repeated puts back what its dataset lacks.
 * @throws AlumnusError DATASET_EXISTS
 */
async function refuseTaken(store: ObjectStore, name: string, source: Source, request: SplitRequest, options: ImportOptions): Promise<void> {
  let there: DatasetManifest;
  try {
    there = (await loadManifest(store, name)).manifest;
  } catch (thrown) {
    const error = toAlumnusError(thrown, name);
    // Of a damaged manifest nothing is known before the end, when the two are compared byte by byte.
    if (error.code === 'DATASET_NOT_FOUND' || error.code === 'SHARD_CORRUPT' || error.code === 'DIGEST_MISMATCH') return;
    throw error;
  }
  const { labeledPerClass, labeled, validation = 0 } = request;
  const samples = (part: PartName): number => there.parts[part]?.samples ?? 0;
  const other = (there.split !== undefined && (there.split.seed !== request.seed || there.split.source !== source.name))
    || (options.image !== undefined && !sameShape(options.image, there.image))
    || (options.classes !== undefined && options.classes.join('\n') !== there.classes.join('\n'))
    || (labeledPerClass !== undefined && labeledPerClass * there.classes.length !== samples('labeled'))
    || (labeled !== undefined && labeled !== samples('labeled'))
    || (validation >= 1 && validation !== samples('validation'));
  if (other) throw datasetExists(name);
}

/**
 * The same import twice changes nothing and gives the same digest.
 * @throws AlumnusError USAGE, DATASET_EXISTS, DATASET_TOO_SMALL, DATASET_CLASS_EMPTY, LABEL_OUT_OF_RANGE, IMAGE_CORRUPT,
 *   SHARD_CORRUPT (of a source), DATASET_SOURCE_UNREADABLE, STORE_FULL, CANCELLED
 */
export async function importDataset(store: ObjectStore, source: Source, options: ImportOptions, progress: Progress = () => undefined): Promise<Imported> {
  const name = checkDatasetName(options.name);
  checkCount(options.seed, 'seed', 0);
  checkCount(options.shardSamples, 'shardSamples', 1);
  checkCount(options.labeledPerClass, 'labeledPerClass', 1);
  checkCount(options.labeled, 'labeled', 1);
  checkCount(options.unlabeled, 'unlabeled', 0);
  checkCountOrShare(options.validation, 'validation');
  checkCountOrShare(options.test, 'test');
  if (options.labeled !== undefined && options.labeledPerClass !== undefined) throw new AlumnusError('USAGE', 'ask for labeled images in all or for each class, not both', { where: 'labeled' });
  const { seed = 1, shardSamples = SHARD_SAMPLES_DEFAULT } = options;
  const request = splitRequest(seed, options, source);
  const spool = new Spool(options.heldBytesMax);
  const open: { close(): Promise<void> }[] = [spool];
  const newSort = <Value>(): Sorted<Value> => {
    const sort = new Sorted<Value>(options.heldBytesMax);
    open.push(sort);
    return sort;
  };
  try {
    await refuseTaken(store, name, source, request, options);
    const items = newSort<Item>();
    const { shape, resized, labels, hasTest } = await readAll(source, options, spool, items, progress);
    const known = classesOf(options.classes ?? source.classes, labels.keys());
    const classes = known.names;
    for (const [label, origin] of labels) known.indexOf(label, origin);
    if (classes.length === 1) throw new AlumnusError('DATASET_CLASS_EMPTY', 'there is one class only: a model has nothing to tell apart', { where: source.name });

    const samples: Record<PartName, Sorted<Sample>> = { labeled: newSort(), unlabeled: newSort(), validation: newSort(), test: newSort() };
    const put = (part: PartName, sample: Sample): Promise<void> => samples[part].add(shardOrder(seed, keyOf(sample)), sample);
    const drawn = await split(classified(items, (label, origin) => known.indexOf(label, origin), options.signal), classes, hasTest ? { ...request, test: 0 } : request, put, () => newSort<Sample>());
    await items.close();
    const total = partNames.reduce((sum, part) => sum + samples[part].size, 0);
    let written = 0;
    const parts: DatasetManifest['parts'] = {};
    for (const part of partNames) {
      const { size } = samples[part];
      if (size === 0) continue;
      const shards = await writePart(store, name, part, samples[part], shardSamples, spool, (count) => progress(written += count, total, 'writing shards'), options.signal);
      parts[part] = { samples: size, shards, ...(await writeTables(store, name, part, samples[part], classes.length, newSort())) };
    }
    const manifest: DatasetManifest = {
      schemaVersion: 1, name, classes: [...classes], image: shape, parts,
      split: { seed, method: SPLIT_METHOD, source: source.name, dropped: { ...drawn.dropped } },
    };
    return { ...(await writeManifest(store, manifest)), notes: notesOf(source, resized, shape, drawn) };
  } catch (thrown) {
    if (options.signal?.aborted === true) throw new AlumnusError('CANCELLED', 'the import was stopped; no dataset was made', { where: name, cause: thrown });
    throw toAlumnusError(thrown, name);
  } finally {
    for (const each of open) await each.close();
  }
}

/** What was asked for, and the source's defaults for what was not; asking for one kind of labeled count replaces the other. */
function splitRequest(seed: number, options: ImportOptions, source: Source): SplitRequest {
  const { labeledPerClass, labeled, ...held } = source.defaults;
  const asked = options.labeled !== undefined || options.labeledPerClass !== undefined;
  const pick = <K extends keyof SplitRequest>(field: K): Pick<SplitRequest, K> | Record<string, never> => (options[field] === undefined ? {} : { [field]: options[field] } as Pick<SplitRequest, K>);
  return {
    ...(asked ? {} : { ...(labeledPerClass === undefined ? {} : { labeledPerClass }), ...(labeled === undefined ? {} : { labeled }) }),
    ...held, ...pick('labeledPerClass'), ...pick('labeled'), ...pick('validation'), ...pick('unlabeled'), ...pick('test'), seed,
  };
}
