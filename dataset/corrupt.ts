/**
 * Corrupt: of the images that judge, validation and test, datasets of their own, one a corruption and one a perturbation sequence,
 * named `NAME.<corruption>`. Made once and stored like every dataset: runs are then measured on the same bytes.
 * Invariants:
 *  1. Labels are those of the images they were made of; of a corruption it is the very same table, by digest, so whoever holds both
 *     manifests sees that they are about the same samples.
 *  2. Nothing of a corruption is visible before its manifest. The same command again makes what is missing, and nothing twice.
 *  3. One shard is held at a time.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { AlumnusError, invariant, toAlumnusError } from '../proto/errors.ts';
import { paths, type ObjectStore, type PartName } from '../store/index.ts';
import { corrupted, corruptionNames, frames, isCorruptible, sequenceNames, sequenceOf, type CorruptionName, type SequenceName } from './corruptions/index.ts';
import { encodePng } from './images.ts';
import type { Progress } from './import.ts';
import { encodeKeys } from './keys.ts';
import { checkDatasetName, loadManifest, referenceOf, writeManifest, type DatasetManifest, type DatasetPart, type DatasetShard, type LoadedManifest } from './manifest.ts';
import { samplePixels, shardSamples } from './registered.ts';
import { SHARD_SAMPLES_DEFAULT, writeShard, type ShardSample } from './shards.ts';
import { encodeLabels, readLabels } from './tables.ts';

/** The parts that judge. Others train, and nothing is to be trained on corruptions that it is then measured by. */
const JUDGES = ['validation', 'test'] as const satisfies readonly PartName[];

/** Images of a part that sequences are made of: each is up to 31 frames. */
const SEQUENCE_IMAGES_DEFAULT = 500;

export interface CorruptOptions {
  /** What the datasets' names begin with. Default the dataset's own name and `-c`. */
  readonly as?: string | undefined;
  readonly seed?: number;
  /** Images of each part that corruptions are made of, the first of its shards; absent: all. */
  readonly images?: number | undefined;
  /** Images of a part, the first of its shards (which lie in a drawn order), that perturbation sequences are made of; 0: no sequences. */
  readonly sequenceImages?: number;
  readonly signal?: AbortSignal;
}

export interface CorruptedSet extends LoadedManifest {
  /** False: it was there. */
  readonly made: boolean;
}

export const corruptedName = (as: string, corruption: string): string => `${as}.${corruption}`;

/**
 * @param reference the dataset, as `loadManifest` takes it
 * @throws AlumnusError USAGE (images of another shape, no part that judges), DATASET_NOT_FOUND, DATASET_EXISTS (a name of these holds another
 *   dataset), CANCELLED, and what reading shards and writing objects throw
 */
export async function corruptDataset(store: ObjectStore, reference: string, options: CorruptOptions = {}, progress: Progress = () => undefined): Promise<CorruptedSet[]> {
  const source = await loadManifest(store, reference);
  const { manifest } = source;
  const where = referenceOf(manifest);
  if (manifest.corruption !== undefined) throw new AlumnusError('USAGE', `it was made of ${manifest.corruption.of.name} itself: name that one`, { where });
  if (!isCorruptible(manifest.image)) {
    const { height, width, channels } = manifest.image;
    throw new AlumnusError('USAGE', `its images are ${height}x${width}x${channels}, and the corruptions are defined for gray images of 28x28 (28x28x1)`, { where });
  }
  const parts = JUDGES.filter((part) => manifest.parts[part]?.labels !== undefined);
  if (parts.length === 0) throw new AlumnusError('USAGE', 'it has neither a validation nor a test part: these are what is corrupted', { where });
  const { as = `${manifest.name}-c`, seed = 1, images: most, sequenceImages = SEQUENCE_IMAGES_DEFAULT } = options;
  const wanted = [...corruptionNames, ...(sequenceImages > 0 ? sequenceNames : [])];
  for (const corruption of wanted) checkDatasetName(corruptedName(as, corruption));
  const workOf = (corruption: string): number => parts.reduce((sum, part) => sum + imagesOf(manifest.parts[part], sequenceOf(corruption) === undefined ? most ?? Infinity : sequenceImages) * (sequenceOf(corruption)?.frames ?? 1), 0);
  const total = wanted.reduce((sum, corruption) => sum + workOf(corruption), 0);
  const sets: CorruptedSet[] = [];
  let done = 0;
  try {
    for (const corruption of wanted) {
      const name = corruptedName(as, corruption);
      const images = sequenceOf(corruption) === undefined ? most : sequenceImages;
      const made: DatasetManifest['corruption'] = { name: corruption, seed, of: { name: manifest.name, sha256: source.digest }, ...(images === undefined ? {} : { images }) };
      const there = await existing(store, name, made);
      if (there === undefined) {
        const onImages = (more: number): void => progress(done += more, total, corruption);
        sets.push({ ...await write({ store, source: manifest, name, corruption: made, onImages, signal: options.signal }, parts), made: true });
      } else {
        sets.push({ ...there, made: false });
        progress(done += workOf(corruption), total, corruption);
      }
    }
    return sets;
  } catch (thrown) {
    if (options.signal?.aborted === true) throw new AlumnusError('CANCELLED', `stopped after ${sets.length} of ${wanted.length} datasets; the same command makes the others`, { where, cause: thrown });
    throw toAlumnusError(thrown, where);
  }
}

const imagesOf = (part: DatasetPart | undefined, most: number): number => Math.min(part?.samples ?? 0, most);

/** What an earlier command made. @throws AlumnusError DATASET_EXISTS where it was made otherwise. */
async function existing(store: ObjectStore, name: string, wanted: NonNullable<DatasetManifest['corruption']>): Promise<LoadedManifest | undefined> {
  let there: LoadedManifest;
  try {
    there = await loadManifest(store, name);
  } catch (thrown) {
    if (thrown instanceof AlumnusError && thrown.code === 'DATASET_NOT_FOUND') return undefined;
    throw thrown;
  }
  const { corruption } = there.manifest;
  if (corruption?.name !== wanted.name || corruption.seed !== wanted.seed || corruption.of.sha256 !== wanted.of.sha256 || corruption.images !== wanted.images) {
    throw new AlumnusError('DATASET_EXISTS', `there is already a dataset "${name}", made of other images, of another number of them, or with another seed; --as names these otherwise`, { where: name });
  }
  return there;
}

type Judge = (typeof JUDGES)[number];

/** A dataset on its way: of which it is made, and how. */
interface Making {
  readonly store: ObjectStore;
  readonly source: DatasetManifest;
  readonly name: string;
  readonly corruption: NonNullable<DatasetManifest['corruption']>;
  /** Told how many more images, or frames, are made. */
  readonly onImages: (more: number) => void;
  readonly signal: AbortSignal | undefined;
}

async function write(making: Making, parts: readonly Judge[]): Promise<LoadedManifest> {
  const { store, source: { classes, image }, name, corruption } = making;
  const made: DatasetManifest['parts'] = {};
  for (const part of parts) made[part] = await (sequenceOf(corruption.name) === undefined ? corruptPart : sequencePart)(making, part);
  return writeManifest(store, { schemaVersion: 1, name, classes, image, parts: made, corruption });
}

function partOf({ source }: Making, part: Judge): DatasetPart {
  const found = source.parts[part];
  invariant(found !== undefined, 'parts that judge are there');
  return found;
}

/** The images of a shard, in its order. */
async function* imagesIn({ store, source, signal }: Making, shard: DatasetShard): AsyncGenerator<{ key: string; pixels: Uint8Array }> {
  for await (const { key, bytes } of shardSamples(store, shard)) {
    // Nothing else here waits: without it no interrupt would come through before the shard's end.
    await nextTurn();
    signal?.throwIfAborted();
    yield { key, pixels: await samplePixels(shard, bytes, source.image, `${shard.ref.key} ${key}`) };
  }
}

/** Shard by shard: same names, same samples, same order; the first of them alone where so many are enough. */
async function corruptPart(making: Making, part: Judge): Promise<DatasetPart> {
  const { store, source: { image, classes: names }, name, corruption: { name: corruption, seed, images: most = Infinity }, onImages } = making;
  const source = partOf(making, part);
  const shards: DatasetPart['shards'] = [];
  const taken: string[] = [];
  for (const shard of source.shards) {
    if (taken.length === most) break;
    const samples: ShardSample[] = [];
    for await (const { key, pixels } of imagesIn(making, shard)) {
      if (taken.length === most) break;
      samples.push({ key, extension: 'png', bytes: encodePng(corrupted(corruption as CorruptionName, pixels, seed, key), image) });
      taken.push(key);
      onImages(1);
    }
    shards.push(await writeShard(store, name, part, shards.length, samples));
  }
  const { labels, keys, classCounts, samples } = source;
  if (taken.length === samples) return { samples, shards, ...(labels === undefined ? {} : { labels }), ...(keys === undefined ? {} : { keys }), ...(classCounts === undefined ? {} : { classCounts }) };
  invariant(labels !== undefined, 'parts that judge are labeled');
  const table = await readLabels(store, labels);
  const classOf = new Map(table.keys.map((key, at) => [key, table.classes[at]]));
  const classes = taken.map((key) => classOf.get(key));
  return {
    samples: taken.length, shards, labels, classCounts: names.map((_, at) => classes.filter((each) => each === at).length),
    ...(keys === undefined ? {} : { keys: await store.putAddressed(paths.datasetPart(name, part), encodeKeys(taken), { extension: '.keys', metadata: { dataset: name, part, table: 'keys' } }) }),
  };
}

/** Frames of an image lie one after another, in one shard. */
async function sequencePart(making: Making, part: Judge): Promise<DatasetPart> {
  const { store, source: { image, classes: names }, name, corruption: { name: sequence, seed, images = 0 }, onImages } = making;
  const source = partOf(making, part);
  invariant(source.labels !== undefined, 'parts that judge are labeled');
  const labels = await readLabels(store, source.labels);
  const classOf = new Map(labels.keys.map((key, at) => [key, labels.classes[at] ?? 0]));
  const perShard = Math.floor(SHARD_SAMPLES_DEFAULT / (sequenceOf(sequence)?.frames ?? 1));
  const shards: DatasetPart['shards'] = [];
  const [keys, classes]: [string[], number[]] = [[], []];
  let open: ShardSample[] = [];
  let taken = 0;
  const close = async (): Promise<void> => {
    if (open.length > 0) shards.push(await writeShard(store, name, part, shards.length, open));
    open = [];
  };
  for (const shard of source.shards) {
    if (taken === images) break;
    for await (const { key, pixels } of imagesIn(making, shard)) {
      if (taken === images) break;
      const made = frames(sequence as SequenceName, pixels, seed, key);
      made.forEach((frame, index) => {
        const frameKey = `${key}_${String(index).padStart(2, '0')}`;
        open.push({ key: frameKey, extension: 'png', bytes: encodePng(frame, image) });
        keys.push(frameKey);
        classes.push(classOf.get(key) ?? 0);
      });
      taken += 1;
      onImages(made.length);
      if (taken % perShard === 0) await close();
    }
  }
  await close();
  const table = encodeLabels({ keys, classes: Int32Array.from(classes) });
  return {
    samples: keys.length, shards, labels: await store.putAddressed(paths.datasetPart(name, part), table, { extension: '.parquet', metadata: { dataset: name, part, table: 'labels' } }),
    classCounts: names.map((_, at) => classes.filter((each) => each === at).length),
  };
}
