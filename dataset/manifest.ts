/**
 * The manifest: the one mutable-looking thing about a dataset, created once. It names classes, the images' shape and, for
 * each part, shards and tables by digest. Reading and writing it; what is in the parts is shards.ts, registered.ts and tables.ts.
 * A dataset that was appended to has several, its versions: each a whole manifest under a name of its own, which names the
 * digest of the one before. `NAME` is the newest, `NAME@N` a given one; a run fixes by digest what it was given.
 * Invariants:
 *  1. The manifest is written last, so a dataset is there whole or not at all.
 *  2. `digest`, the SHA-256 of the manifest's bytes, covers every byte of the dataset through the digests it lists.
 *  3. Equal contents have equal bytes (canonical JSON), so importing the same source twice gives the same digest.
 *  4. A name can't hold its content's digest, so the manifest holds its own: one that was edited afterwards is not taken.
 */
import { z } from 'zod';
import { AlumnusError } from '../proto/errors.ts';
import { canonicalJson, datasetOfManifest, paths, sha256, type ObjectRef, type ObjectStore, type PartName } from '../store/index.ts';

export const partNames: readonly PartName[] = ['labeled', 'unlabeled', 'validation', 'test'];

/** As in recipes, and safe as a folder's name. */
export const DATASET_NAME = /^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?$/;
/** Far above the manifest of a dataset of 100,000 shards; bounds what a wrong file can cost. */
const MANIFEST_BYTES_MAX = 64 * 1024 * 1024;

/** What fits the numbers' fixed width. */
const VERSION_MAX = 99_999_999;
const REFERENCE = /^(?<name>[^@]*)(@(?<version>[1-9]\d{0,7}))?$/;

const count = z.int().min(0);
const objectRef = z.strictObject({ key: z.string().min(1), sha256: z.string().regex(/^[0-9a-f]{64}$/), bytes: count });

const partSchema = z.strictObject({
  samples: count,
  shards: z.array(z.strictObject({
    name: z.string().min(1), ref: objectRef, samples: count,
    location: z.string().min(1).optional().describe('URL of the place that the reference\'s key lies below, where that is not this store: a registered shard.'),
  })),
  labels: objectRef.optional().describe('Parquet: key, class. Absent of the unlabeled part.'),
  truth: objectRef.optional().describe('Of the unlabeled part, where true labels are known: for reports and comparisons, hidden from teachers and students.'),
  origins: objectRef.optional().describe('Parquet: key, origin. Where each image came from, for a person who looks one up.'),
  keys: objectRef.optional().describe('Every sample\'s key, sorted: tells whether two parts share images. Absent of what was imported before there were such lists.'),
  reviewed: objectRef.optional().describe('Parquet: key, class, shard. Which images of the labeled part are an unlabeled shard\'s, to which a person gave a label in a review: no pseudo-label of them is selected. Absent where there are none.'),
  classCounts: z.array(count).optional().describe('Samples of each class. Absent of the unlabeled part.'),
});

export const manifestSchema = z.strictObject({
  schemaVersion: z.literal(1),
  name: z.string().regex(DATASET_NAME),
  version: z.int().min(2).max(VERSION_MAX).optional().describe('Absent of the first.'),
  previous: z.string().regex(/^[0-9a-f]{64}$/).optional().describe('Digest of the version before. Absent of the first.'),
  classes: z.array(z.string().min(1)).refine((classes) => classes.length !== 1, 'one class alone leaves nothing to tell apart').describe('Empty where the dataset has unlabeled images only.'),
  image: z.strictObject({ height: z.int().min(1), width: z.int().min(1), channels: z.union([z.literal(1), z.literal(3)]) }),
  parts: z.strictObject({ labeled: partSchema.optional(), unlabeled: partSchema.optional(), validation: partSchema.optional(), test: partSchema.optional() }),
  split: z
    .strictObject({ seed: z.int(), method: z.string(), source: z.string(), dropped: z.strictObject({ duplicates: count, straddling: count }) })
    .optional()
    .describe('How the parts were drawn. duplicates: extra exact copies within a part; straddling: copies on the training side of an image held out.'),
  corruption: z
    .strictObject({ name: z.string().min(1), seed: z.int(), of: z.strictObject({ name: z.string().regex(DATASET_NAME), sha256: z.string().regex(/^[0-9a-f]{64}$/) }), images: count.optional() })
    .optional()
    .describe('Of a dataset that was made of another: by which corruption or perturbation sequence, and of which manifest. Its samples have the keys of those that they were made of, with the frame behind it where there are several. images: of each part, how many at most, where not all.'),
});

/**
 * As stored: beside the manifest the SHA-256 of its canonical JSON. Manifests written before this
 * field was there have none and are taken as they are.
 */
const storedSchema = manifestSchema.extend({ sha256: z.string().optional() });

export type DatasetManifest = z.infer<typeof manifestSchema>;
export type DatasetPart = z.infer<typeof partSchema>;
export type DatasetShard = DatasetPart['shards'][number];
/** What a decoded image is: `[height, width, channels]`, 8 bits a channel; 1 channel is gray, 3 are RGB. */
export type ImageShape = DatasetManifest['image'];

export interface LoadedManifest {
  readonly manifest: DatasetManifest;
  /** SHA-256 of the manifest's bytes: names the dataset's whole content. */
  readonly digest: string;
  readonly ref: ObjectRef;
  /** Whether the manifest says its own digest; where it does not, nobody can tell that it was edited. */
  readonly sealed: boolean;
}

/** The bytes of a manifest as it is written. */
const seal = (manifest: DatasetManifest): Buffer => Buffer.from(canonicalJson({ ...manifest, sha256: sha256(canonicalJson(manifest)) }));

/** @throws AlumnusError USAGE */
export function checkDatasetName(name: string): string {
  if (!DATASET_NAME.test(name)) throw new AlumnusError('USAGE', 'a dataset\'s name is 1 to 63 of a-z, 0-9, ".", "_" and "-", beginning and ending with a letter or digit', { where: JSON.stringify(name) });
  return name;
}

/** The number of a manifest among those of its dataset. */
export const versionOf = ({ version = 1 }: DatasetManifest): number => version;

/** As a person writes it: the number where there is one to tell. */
export const referenceOf = ({ name, version }: Pick<DatasetManifest, 'name' | 'version'>): string => (version === undefined ? name : `${name}@${version}`);

async function newestVersion(store: ObjectStore, name: string): Promise<number> {
  let newest = 1;
  for await (const { key } of store.list(paths.datasetVersions(name))) newest = Math.max(newest, Number(/\/(\d+)\.json$/.exec(key)?.[1] ?? 1));
  return newest;
}

/**
 * @param reference NAME, the newest version, or NAME@N
 * @throws AlumnusError DATASET_NOT_FOUND, SHARD_CORRUPT (a manifest that is none), DIGEST_MISMATCH (edited since it was written)
 */
export async function loadManifest(store: ObjectStore, reference: string): Promise<LoadedManifest> {
  const { edited, ...loaded } = await readManifest(store, reference);
  if (edited !== undefined) throw edited;
  return loaded;
}

/** As `loadManifest`, for who looks for damage: an edited manifest is handed out with its error. */
export async function readManifest(store: ObjectStore, reference: string): Promise<LoadedManifest & { edited: AlumnusError | undefined }> {
  const { name = reference, version: asked } = REFERENCE.exec(reference)?.groups ?? {};
  checkDatasetName(name);
  const version = asked === undefined ? await newestVersion(store, name) : Number(asked);
  const key = paths.datasetVersion(name, version);
  const found = await store.getNamed(key);
  if (found === undefined) throw new AlumnusError('DATASET_NOT_FOUND', `there is no dataset "${reference}"`, { where: reference });
  const corrupt = (reason: string, cause?: unknown): AlumnusError => new AlumnusError('SHARD_CORRUPT', `the manifest ${reason}`, { where: key, cause });
  if (found.ref.bytes > MANIFEST_BYTES_MAX) throw corrupt(`is larger than ${MANIFEST_BYTES_MAX} bytes`);
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(found.content));
  } catch (thrown) {
    throw corrupt('is not JSON', thrown);
  }
  const parsed = storedSchema.safeParse(value);
  if (!parsed.success) throw corrupt(`does not fit its schema: ${parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`).join('; ')}`);
  const { sha256: own, ...manifest } = parsed.data;
  if (manifest.name !== name || versionOf(manifest) !== version) throw corrupt(`names the dataset "${referenceOf(manifest)}"`);
  // All bytes are compared, not the digest alone: spaces change what runs are told to be the dataset's digest.
  const edited = own === undefined || seal(manifest).equals(found.content) ? undefined : new AlumnusError('DIGEST_MISMATCH', 'the manifest was changed after it was written: its sha256 of itself does not hold', { where: key });
  return { manifest, digest: found.ref.sha256, ref: found.ref, sealed: own !== undefined, edited };
}

/**
 * Makes the dataset visible. The same manifest twice is no error: an import that was repeated has changed nothing.
 * @throws AlumnusError DATASET_EXISTS where the name holds another dataset.
 */
export async function writeManifest(store: ObjectStore, manifest: DatasetManifest): Promise<LoadedManifest> {
  const checked = manifestSchema.parse(manifest);
  const content = seal(checked);
  const { created, ref } = await store.putNamed(paths.datasetVersion(checkDatasetName(manifest.name), versionOf(manifest)), content);
  if (created) return { manifest: checked, digest: ref.sha256, ref, sealed: true };
  // What an earlier release imported is the same dataset: without lists of keys, and before that unsealed, too.
  for (const form of [checked, withoutKeys(checked)]) {
    for (const sealed of [true, false]) if (ref.sha256 === sha256(sealed ? seal(form) : canonicalJson(form))) return { manifest: form, digest: ref.sha256, ref, sealed };
  }
  throw datasetExists(referenceOf(manifest));
}

const withoutKeys = (manifest: DatasetManifest): DatasetManifest =>
  ({ ...manifest, parts: Object.fromEntries(Object.entries(manifest.parts).flatMap(([name, part]) => {
    if (part === undefined) return [];
    const { keys: _keys, ...rest } = part;
    return [[name, rest]];
  })) });

export const datasetExists = (name: string): AlumnusError => new AlumnusError('DATASET_EXISTS', `there is already a dataset "${name}" with other contents`, { where: name });

/** Names, in order. */
export async function listDatasets(store: ObjectStore): Promise<string[]> {
  const names: string[] = [];
  for await (const { key } of store.list(paths.datasets)) {
    const name = datasetOfManifest(key);
    if (name !== undefined) names.push(name);
  }
  return names;
}
