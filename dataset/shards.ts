/**
 * Shards: immutable tars of images in WebDataset layout, `<key>.png` or `<key>.jpg`, nothing else; labels live in tables
 * of their own. Writing them with fixed bytes, and reading them with the damage named.
 */
import { AlumnusError } from '../proto/errors.ts';
import { paths, sha256, type ObjectRef, type ObjectStore, type PartName } from '../store/index.ts';
import { imageExtension, type ImageExtension } from './images.ts';
import type { DatasetShard } from './manifest.ts';
import { bufferSource, readTar, writeTar } from './tar.ts';

export const SHARD_SAMPLES_DEFAULT = 2000;
/** A shard is held in memory whole, once as tar and once decoded; import keeps well below. */
export const SHARD_BYTES_MAX = 2 ** 30;
/** A key is a file's name in a tar and a string in every label table. */
const KEY = /^[A-Za-z0-9_][A-Za-z0-9_-]{0,79}$/;

export interface ShardSample {
  readonly key: string;
  readonly extension: ImageExtension;
  readonly bytes: Uint8Array;
}

export const isSampleKey = (key: string): boolean => KEY.test(key);

/** The order of samples in a part, and so in its shards: by a seeded hash of the key, so that every shard is a mixture. */
export const shardOrder = (seed: number, key: string): string => sha256(`${seed}\n${key}`);

export const shardName = (part: PartName, index: number): string => `${part}-${String(index).padStart(6, '0')}`;

/** @param samples in the order in which they are to lie. */
export async function writeShard(store: ObjectStore, dataset: string, part: PartName, index: number, samples: readonly ShardSample[]): Promise<DatasetShard> {
  const name = shardName(part, index);
  const tar = writeTar(samples.map((sample) => ({ name: `${sample.key}.${sample.extension}`, bytes: sample.bytes })));
  const ref = await store.putAddressed(paths.datasetPart(dataset, part), tar, { extension: '.tar', metadata: { dataset, part, shard: name, samples: String(samples.length) } });
  return { name, ref, samples: samples.length };
}

/**
 * The samples of a shard, in its order. The digest of the whole is checked before the first sample comes.
 * @throws AlumnusError OBJECT_NOT_FOUND, DIGEST_MISMATCH (the stored bytes changed), SHARD_CORRUPT (they never were a shard)
 */
export async function* readShard(store: ObjectStore, ref: ObjectRef): AsyncIterable<ShardSample> {
  if (ref.bytes > SHARD_BYTES_MAX) throw new AlumnusError('SHARD_CORRUPT', `the shard has ${ref.bytes} bytes, more than ${SHARD_BYTES_MAX}`, { where: ref.key });
  for await (const { name, bytes, offset } of readTar(bufferSource(await store.get(ref)), ref.key)) {
    const extension = imageExtension(name);
    const key = name.replace(/\.[^.]*$/, '');
    if (extension === undefined || !isSampleKey(key)) throw new AlumnusError('SHARD_CORRUPT', `the entry ${JSON.stringify(name)} at byte ${offset} is not <key>.png or <key>.jpg`, { where: ref.key });
    yield { key, extension, bytes };
  }
}
