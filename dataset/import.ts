/**
 * Import: from a source to a dataset. Reads every image once, checks it, brings it to the dataset's shape, draws the
 * split, writes shards and tables, and last the manifest.
 * Invariants:
 *  1. Nothing is visible before the manifest: an import that fails or is killed leaves unreferenced objects for gc alone.
 *  2. The same source, options and release give the same manifest digest: nothing of time, machine or order goes in.
 *  3. Truth of the unlabeled part lies in a table of its own, under a path of its own; no shard and no key tells it.
 */
import { AlumnusError, invariant, toAlumnusError } from '../proto/errors.ts';
import { paths, sha256, type ObjectRef, type ObjectStore, type PartName } from '../store/index.ts';
import { classesOf } from './classes.ts';
import { conformImage, encodePng, shapeOf, type ImageExtension } from './images.ts';
import { encodeKeys, KEY_DIGITS } from './keys.ts';
import { checkDatasetName, datasetExists, loadManifest, partNames, writeManifest, type DatasetManifest, type DatasetPart, type ImageShape, type LoadedManifest } from './manifest.ts';
import { SHARD_BYTES_MAX, SHARD_SAMPLES_DEFAULT, shardOrder, writeShard, type ShardSample } from './shards.ts';
import type { Source, SourceSample } from './sources/source.ts';
import { split, SPLIT_METHOD, type Candidate, type SplitRequest } from './split.ts';
import { Spool, type Spooled } from './spool.ts';
import { encodeLabels, encodeOrigins } from './tables.ts';

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
  readonly signal?: AbortSignal;
}

export interface Imported extends LoadedManifest {
  /** One sentence each: what was resized, dropped or passed over. */
  readonly notes: readonly string[];
}

interface Item {
  readonly origin: string;
  readonly pool: SourceSample['pool'];
  readonly label: number | string | undefined;
  readonly extension: ImageExtension;
  readonly stored: Spooled;
  readonly digest: string;
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

async function readAll(source: Source, options: ImportOptions, spool: Spool, progress: Progress): Promise<{ items: Item[]; shape: ImageShape; resized: number }> {
  const items: Item[] = [];
  let shape = options.image;
  let resized = 0;
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
    return { sample: each.sample, conformed: result, digest: sha256(Buffer.concat([Buffer.from(`${height} ${width} ${channels}\n`), result.pixels])) };
  })) {
    if (conformed.resized) resized += 1;
    items.push({ origin: sample.origin, pool: sample.pool, label: sample.label, extension: conformed.extension, stored: await spool.add(conformed.bytes), digest });
    progress(items.length, Math.max(items.length, source.samplesExpected ?? 0), 'reading images');
  }
  if (shape === undefined) throw new AlumnusError('DATASET_TOO_SMALL', 'the source holds no image', { where: source.name });
  return { items, shape, resized };
}

interface Sample {
  readonly key: string;
  readonly item: Item;
  readonly class: number | undefined;
}

/** Shards are cut by count, and by size where images are large. */
async function writePart(store: ObjectStore, dataset: string, part: PartName, samples: readonly Sample[], shardSamples: number, spool: Spool, onShard: (samples: number) => void, signal: AbortSignal | undefined): Promise<DatasetPart['shards']> {
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
  for (const { key, item } of samples) {
    const content = await spool.read(item.stored);
    if (open.length > 0 && bytes + content.byteLength > SHARD_BYTES_TARGET) await close();
    open.push({ key, extension: item.extension, bytes: content });
    bytes += content.byteLength;
    if (open.length >= shardSamples) await close();
  }
  if (open.length > 0) await close();
  return shards;
}

async function writeTables(store: ObjectStore, dataset: string, part: PartName, samples: readonly Sample[], classes: number): Promise<Pick<DatasetPart, 'labels' | 'truth' | 'origins' | 'keys' | 'classCounts'>> {
  const prefix = paths.datasetPart(dataset, part);
  const put = (at: string, content: Uint8Array, table: string, extension = '.parquet'): Promise<ObjectRef> => store.putAddressed(at, content, { extension, metadata: { dataset, part, table } });
  const keys = await put(prefix, encodeKeys(samples.map(({ key }) => key)), 'keys', '.keys');
  const origins = await put(part === 'unlabeled' ? paths.datasetTruth(dataset) : prefix, encodeOrigins(samples.map(({ key }) => key), samples.map(({ item }) => item.origin)), 'origins');
  const known = samples.filter((sample): sample is Sample & { class: number } => sample.class !== undefined);
  const table = encodeLabels({ keys: known.map(({ key }) => key), classes: Int32Array.from(known, (sample) => sample.class) });
  if (part === 'unlabeled') return { origins, keys, ...(known.length === 0 ? {} : { truth: await put(paths.datasetTruth(dataset), table, 'truth') }) };
  invariant(known.length === samples.length, `every sample of ${part} has a label`);
  const classCounts = new Array<number>(classes).fill(0);
  for (const sample of known) classCounts[sample.class] = (classCounts[sample.class] ?? 0) + 1;
  return { origins, keys, labels: await put(prefix, table, 'labels'), classCounts };
}

function notesOf(source: Source, resized: number, shape: ImageShape, drawn: ReturnType<typeof split>): string[] {
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
  const spool = new Spool();
  try {
    await refuseTaken(store, name, source, request, options);
    const { items, shape, resized } = await readAll(source, options, spool, progress);
    const known = classesOf(options.classes ?? source.classes, items.map(({ label }) => label));
    const classes = known.names;
    const candidates: Candidate[] = items.map((item) => ({ digest: item.digest, pool: item.pool, class: item.label === undefined ? undefined : known.indexOf(item.label, item.origin) }));
    if (classes.length === 1) throw new AlumnusError('DATASET_CLASS_EMPTY', 'there is one class only: a model has nothing to tell apart', { where: source.name });

    const drawn = split(candidates, classes, request);
    const total = partNames.reduce((sum, part) => sum + drawn.parts[part].length, 0);
    let written = 0;
    const parts: DatasetManifest['parts'] = {};
    const keys = new Set<string>();
    for (const part of partNames) {
      const samples = drawn.parts[part]
        .map((at): Sample => {
          const item = items[at];
          invariant(item !== undefined, 'the split names samples of the source');
          return { key: item.digest.slice(0, KEY_DIGITS), item, class: candidates[at]?.class };
        })
        .map((sample) => ({ sample, order: shardOrder(seed, sample.key) }))
        .sort((a, b) => (a.order < b.order ? -1 : 1))
        .map(({ sample }) => sample);
      if (samples.length === 0) continue;
      for (const { key } of samples) {
        invariant(!keys.has(key), 'no two contents share a key');
        keys.add(key);
      }
      const shards = await writePart(store, name, part, samples, shardSamples, spool, (count) => progress(written += count, total, 'writing shards'), options.signal);
      parts[part] = { samples: samples.length, shards, ...(await writeTables(store, name, part, samples, classes.length)) };
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
    await spool.close();
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
