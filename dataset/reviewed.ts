/**
 * Images of an unlabeled part that a person gave a label to, as labeled ones: copies in shards of their own behind those of a labeled part, its labels with theirs, and a
 * table that says which they are. Of a dataset that is a new version. Not for: which keys may be reviewed (worker/data/review-import.ts).
 */
import { AlumnusError } from '../proto/errors.ts';
import { paths, type ObjectRef, type ObjectStore } from '../store/index.ts';
import { encodeKeys, KEY_DIGITS } from './keys.ts';
import { loadManifest, versionOf, writeManifest, type DatasetManifest, type DatasetShard, type ImageShape, type LoadedManifest } from './manifest.ts';
import { SHARD_SAMPLES_DEFAULT, shardName, type ShardSample } from './shards.ts';
import { encodeLabels, encodeReviewed, readLabels, readOrigins, readReviewed, streamOrigins, type Labels, type ReviewedImage } from './tables.ts';
import { writeTar } from './tar.ts';

/** With the image as the dataset keeps it. */
export interface ReviewedSample extends ReviewedImage, Pick<ShardSample, 'extension' | 'bytes'> {}

/** What reviewed images stand behind. */
export interface LabeledImages {
  readonly labels: ObjectRef;
  /** Of reviews before. */
  readonly reviewed?: ObjectRef | undefined;
}

export interface ReviewedPart {
  /** New ones; none where every image was labeled already, and has another label now. */
  readonly shards: readonly DatasetShard[];
  readonly labels: ObjectRef;
  readonly reviewed: ObjectRef;
  /** In the new shards. */
  readonly samples: number;
  /** Images that had another label. */
  readonly changed: number;
  /** What `labels` holds. */
  readonly table: Labels;
  /** In the new shards, in their order. */
  readonly added: readonly ReviewedImage[];
}

/**
 * Where an image has a label already, that is replaced.
 * @param prefix what the objects lie below @param nameOf the name of the shard of that number among the new ones
 */
export async function writeReviewed(store: ObjectStore, prefix: string, before: LabeledImages, samples: readonly ReviewedSample[], nameOf: (at: number, ref: ObjectRef) => string): Promise<ReviewedPart> {
  const [labels, earlier] = await Promise.all([readLabels(store, before.labels), before.reviewed === undefined ? [] : readReviewed(store, before.reviewed)]);
  const rowOf = new Map(labels.keys.map((key, row) => [key, row]));
  const sorted = [...samples].sort((a, b) => (a.key < b.key ? -1 : 1));
  const added = sorted.filter(({ key }) => !rowOf.has(key));
  const classes = Int32Array.from([...labels.classes, ...added.map((each) => each.class)]);
  let changed = 0;
  for (const each of sorted) {
    const row = rowOf.get(each.key);
    if (row === undefined || classes[row] === each.class) continue;
    classes[row] = each.class;
    changed += 1;
  }
  const table: Labels = { keys: [...labels.keys, ...added.map(({ key }) => key)], classes };
  const shards: DatasetShard[] = [];
  for (let from = 0; from < added.length; from += SHARD_SAMPLES_DEFAULT) {
    const own = added.slice(from, from + SHARD_SAMPLES_DEFAULT);
    const ref = await store.putAddressed(prefix, writeTar(own.map(({ key, extension, bytes }) => ({ name: `${key}.${extension}`, bytes }))), { extension: '.tar' });
    shards.push({ name: nameOf(shards.length, ref), ref, samples: own.length });
  }
  const all = new Map([...earlier, ...sorted].map(({ key, class: label, shard }): [string, ReviewedImage] => [key, { key, class: label, shard }]));
  return {
    shards, table, added, changed, samples: added.length, labels: await store.putAddressed(prefix, encodeLabels(table), { extension: '.parquet' }),
    reviewed: await store.putAddressed(prefix, encodeReviewed([...all.values()].sort((a, b) => (a.key < b.key ? -1 : 1))), { extension: '.parquet' }),
  };
}

/**
 * A new version of the dataset, with these images behind its labeled ones; the present one where all of that is in it already.
 * @param origin of a new image, for a person who looks it up @throws AlumnusError DATASET_NOT_FOUND; USAGE where its classes or its images' shape are others, or it has no labeled part
 */
export async function appendReviewed(store: ObjectStore, name: string, samples: readonly ReviewedSample[], of: { readonly classes: readonly string[]; readonly image: ImageShape; readonly origin: (image: ReviewedImage) => string }): Promise<LoadedManifest & Pick<ReviewedPart, 'changed'> & { readonly added: number }> {
  const present = await loadManifest(store, name);
  const { manifest, digest } = present;
  const { labeled } = manifest.parts;
  if (labeled?.labels === undefined) throw new AlumnusError('USAGE', 'the dataset has no labeled part', { where: name });
  if (manifest.classes.join('\n') !== of.classes.join('\n')) throw new AlumnusError('USAGE', `the dataset has other classes than the run: ${manifest.classes.slice(0, 12).join(', ')}`, { where: name });
  const { height, width, channels } = manifest.image;
  if (height !== of.image.height || width !== of.image.width || channels !== of.image.channels) throw new AlumnusError('USAGE', `the dataset's images are ${height}x${width}x${channels}, and the run's are not`, { where: name });
  const part = await writeReviewed(store, paths.datasetPart(name, 'labeled'), { labels: labeled.labels, reviewed: labeled.reviewed }, samples, (at) => shardName('labeled', labeled.shards.length + at));
  if (part.labels.sha256 === labeled.labels.sha256 && part.reviewed.sha256 === labeled.reviewed?.sha256) return { ...present, added: 0, changed: 0 };
  const classCounts = new Array<number>(manifest.classes.length).fill(0);
  for (const label of part.table.classes) classCounts[label] = (classCounts[label] ?? 0) + 1;
  const { keys: _keys, origins, ...kept } = labeled;
  const next: DatasetManifest = {
    ...manifest, version: versionOf(manifest) + 1, previous: digest,
    parts: {
      ...manifest.parts,
      labeled: {
        ...kept, samples: labeled.samples + part.samples, shards: [...labeled.shards, ...part.shards], labels: part.labels, reviewed: part.reviewed, classCounts,
        ...(labeled.keys === undefined ? {} : await keysOf(store, name, part.table.keys)),
        ...(origins === undefined ? {} : { origins: await originsWith(store, name, origins, part.added, of.origin) }),
      },
    },
  };
  return { ...(await writeManifest(store, next)), added: part.samples, changed: part.changed };
}

/** None where a key is no digest of its image: those of registered tars. */
async function keysOf(store: ObjectStore, name: string, keys: readonly string[]): Promise<{ keys?: ObjectRef }> {
  if (!keys.every((key) => key.length === KEY_DIGITS && /^[0-9a-f]+$/.test(key))) return {};
  return { keys: await store.putAddressed(paths.datasetPart(name, 'labeled'), encodeKeys(keys), { extension: '.keys' }) };
}

async function originsWith(store: ObjectStore, name: string, origins: ObjectRef, added: readonly ReviewedImage[], originOf: (image: ReviewedImage) => string): Promise<ObjectRef> {
  const before = await readOrigins(store, origins);
  const rows = async function* (): AsyncGenerator<readonly [string, string]> {
    yield* before;
    for (const image of added) yield await Promise.resolve([image.key, originOf(image)]);
  };
  return store.putAddressed(paths.datasetPart(name, 'labeled'), streamOrigins(rows()), { extension: '.parquet' });
}
