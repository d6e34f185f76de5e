/**
 * The labeled images that a run keeps out of its trainings, to measure early stop on: of each class the same share, drawn by a seeded
 * hash of their keys. Which they are depends on seed, keys and classes alone, never on how the part was cut into shards, so that all
 * trainings of a run that name one seed leave the same images out. Not for: validation, which no training touches and which alone decides promotions.
 */
import { shardSamples } from '../../dataset/index.ts';
import { AlumnusError, invariant } from '../../proto/errors.ts';
import type { PartRef } from '../../proto/gen/alumnus/v1/task.ts';
import { sha256 } from '../../store/index.ts';
import { imageBytes, resizes } from './decoded.ts';
import { decoders } from './decoders.ts';
import { labelsByKey } from './labeled.ts';
import type { LeftOut, Source } from './source.ts';

/** They are held decoded for the length of a training. */
const HELD_OUT_BYTES_MAX = 1024 ** 3;
/** Images that one thread decodes at a time. */
const IMAGES_PER_JOB = 32;

export interface HeldOutPart extends LeftOut {
  /** `[keys, height, width, channels]`, in the order of the part's shards. */
  readonly images: Uint8Array;
  /** `[keys]` */
  readonly truth: Uint16Array;
}

/** Of each class floor(share x its images), those of the least hashes. */
export function drawHeldOut(labels: ReadonlyMap<string, number>, share: number, seed: number): Set<string> {
  const byClass = new Map<number, string[]>();
  for (const [key, label] of labels) {
    const keys = byClass.get(label);
    if (keys === undefined) byClass.set(label, [key]);
    else keys.push(key);
  }
  const ranked = (keys: readonly string[]): string[] => keys.map((key) => ({ key, hash: sha256(`${seed}/${key}`) })).sort((a, b) => (a.hash < b.hash ? -1 : 1)).map(({ key }) => key);
  return new Set([...byClass.values()].flatMap((keys) => ranked(keys).slice(0, Math.floor(share * keys.length))));
}

/** @throws AlumnusError RECIPE_INVALID where there are none, or too many to hold; what reading a shard throws */
export async function holdOut(source: Source, part: PartRef, { share, seed }: { readonly share: number; readonly seed: number }): Promise<HeldOutPart> {
  const { store, shape, signal } = source;
  const labels = await labelsByKey(store, part);
  const keys = drawHeldOut(labels, share, seed);
  const size = imageBytes(shape);
  if (keys.size === 0) throw new AlumnusError('RECIPE_INVALID', `${share} of each class of ${part.samples} labeled images is less than one image: nothing is held out`, { where: 'training.early_stop.holdout' });
  if (keys.size * size > HELD_OUT_BYTES_MAX) throw new AlumnusError('RECIPE_INVALID', `the ${keys.size} images held out take more than ${HELD_OUT_BYTES_MAX} bytes`, { where: 'training.early_stop.holdout' });
  const images = new Uint8Array(keys.size * size);
  const truth = new Uint16Array(keys.size);
  const ofShard = new Map<string, number>();
  let row = 0;
  for (const shard of part.shards) {
    signal.throwIfAborted();
    invariant(shard.ref !== undefined, 'a manifest\'s shard has its object');
    const own: { name: string; bytes: Uint8Array }[] = [];
    for await (const { key, extension, bytes } of shardSamples(store, { ref: shard.ref, location: shard.location })) {
      if (!keys.has(key)) continue;
      truth[row + own.length] = labels.get(key) ?? 0;
      own.push({ name: `${shard.name}/${key}.${extension}`, bytes });
    }
    ofShard.set(shard.name, own.length);
    for (let from = 0; from < own.length; from += IMAGES_PER_JOB) {
      const job = own.slice(from, from + IMAGES_PER_JOB);
      const anyShape = job.map(() => resizes(source, shard));
      images.set(await decoders.decode({ shape, names: job.map(({ name }) => name), images: job.map(({ bytes }) => bytes), anyShape }, signal), (row + from) * size);
    }
    row += own.length;
  }
  invariant(row === keys.size, 'every labeled key lies in a shard once');
  return { keys, ofShard, images, truth };
}
