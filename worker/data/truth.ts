/**
 * The true labels of an unlabeled part, for the one training that may see them: a comparison that asks what labels without mistakes, or with a known share of
 * them, would have been worth. Not for: anything that teaches, labels or is promoted. Holds a class for each key of the part.
 */
import { readLabels } from '../../dataset/index.ts';
import { AlumnusError } from '../../proto/errors.ts';
import type { ObjectRef } from '../../proto/gen/alumnus/v1/task.ts';
import { sha256, type ObjectStore } from '../../store/index.ts';

/** The class of an image by its key. */
export type LabelOf = (key: string) => number;

/**
 * @param noise share of the images, drawn by seed and key, whose label is another class, drawn evenly among the others; 0 to 1
 * @throws AlumnusError OBJECT_NOT_FOUND, DIGEST_MISMATCH, SHARD_CORRUPT
 */
export async function trueLabels(store: ObjectStore, truth: ObjectRef, { classes, noise, seed }: { readonly classes: number; readonly noise: number; readonly seed: number }): Promise<LabelOf> {
  const table = await readLabels(store, truth);
  const known = new Map(table.keys.map((key, row) => [key, table.classes[row] ?? -1]));
  // Who asks for a key that has none: USAGE.
  return (key) => {
    const label = known.get(key);
    if (label === undefined) throw new AlumnusError('USAGE', `nobody knows the true label of ${key}`, { where: truth.key });
    return noise === 0 ? label : flipped(label, key, { classes, noise, seed });
  };
}

/** Exported for its test. */
export function flipped(label: number, key: string, { classes, noise, seed }: { readonly classes: number; readonly noise: number; readonly seed: number }): number {
  const digest = Buffer.from(sha256(`label-noise/${seed}/${key}`), 'hex');
  if (digest.readUInt32BE(0) / 2 ** 32 >= noise) return label;
  return (label + 1 + (digest.readUInt32BE(4) % (classes - 1))) % classes;
}
