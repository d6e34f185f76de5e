/**
 * What training reads: labeled images, and the selected pseudo-labeled ones with their copies. Each batch is a pure
 * function of seed and step. The true labels of the unlabeled part cannot be reached from here.
 *
 * This release holds the sets that one training sees in memory, decoded, one byte a value; TRAINING_BYTES_MAX says how much.
 */
import { readLabels, type ImageShape } from '../../dataset/index.ts';
import { AlumnusError, invariant } from '../../proto/errors.ts';
import type { LabeledShard, ObjectRef, PartRef } from '../../proto/gen/alumnus/v1/task.ts';
import type { ObjectStore } from '../../store/index.ts';
import { decodedShard, type DecodedShard } from './decoded.ts';
import { readLabelTable } from './label-table.ts';
import { sampleAt } from './order.ts';
import { readSelection, readSelectionPart } from './select.ts';

export interface TrainingBatch {
  /** `[labeled then pseudo-labeled, height, width, channels]` */
  readonly images: Uint8Array;
  /** `[labeled then pseudo-labeled, classes]`, each row sums to 1. */
  readonly targets: Float32Array;
}

/** Images with a target each, and the order of draws: an image that is repeated stands in `draws` as often. */
export interface TrainingSet {
  readonly images: Uint8Array;
  readonly targets: Float32Array;
  readonly draws: Uint32Array;
}

/** Images and targets of each of the two sets, well within the memory of a machine that has a device. */
const TRAINING_BYTES_MAX = 8 * 1024 ** 3;

interface Source {
  readonly store: ObjectStore;
  readonly shape: ImageShape;
  readonly classes: number;
  readonly cacheFolder: string;
  readonly signal: AbortSignal;
}

function allocate(samples: number, source: Source, where: string): { images: Uint8Array; targets: Float32Array } {
  const size = source.shape.height * source.shape.width * source.shape.channels;
  const bytes = samples * (size + source.classes * Float32Array.BYTES_PER_ELEMENT);
  if (bytes > TRAINING_BYTES_MAX) {
    throw new AlumnusError('DATASET_TOO_LARGE', `${samples} images take ${bytes} bytes decoded, with their targets, and one training of this release holds at most ${TRAINING_BYTES_MAX}`, { where });
  }
  return { images: new Uint8Array(samples * size), targets: new Float32Array(samples * source.classes) };
}

/** @throws AlumnusError LABEL_OUT_OF_RANGE, SHARD_CORRUPT, IMAGE_CORRUPT, DIGEST_MISMATCH */
export async function loadLabeled(source: Source, part: PartRef): Promise<TrainingSet> {
  const { images, targets } = allocate(part.samples, source, part.dataset);
  const { classes: labels } = await eachImage(source, part, (row, pixels) => images.set(pixels, row * pixels.length));
  labels.forEach((label, row) => (targets[row * source.classes + label] = 1));
  return { images, targets, draws: Uint32Array.from(labels.keys()) };
}

/** Every image of a labeled part in the order of its shards, and its class. Also how evaluation reads. */
export async function eachImage(source: Source, part: PartRef, take: (row: number, pixels: Uint8Array) => void): Promise<{ keys: string[]; classes: Uint16Array }> {
  invariant(part.labels !== undefined, 'a labeled part names its labels');
  invariant(part.shards.reduce((sum, shard) => sum + shard.samples, 0) === part.samples, 'a part has as many samples as its shards');
  const table = await readLabels(source.store, part.labels);
  const labelOf = new Map(table.keys.map((key, row) => [key, table.classes[row] ?? -1]));
  const keys: string[] = [];
  const classes = new Uint16Array(part.samples);
  const size = source.shape.height * source.shape.width * source.shape.channels;
  for (const shard of part.shards) {
    source.signal.throwIfAborted();
    const decoded = await decodedShard(source.store, shard, source.shape, source.cacheFolder);
    decoded.keys.forEach((key, at) => {
      const label = labelOf.get(key);
      if (label === undefined) throw new AlumnusError('LABEL_OUT_OF_RANGE', `the image ${key} has no label`, { where: `${part.dataset} ${shard.name}` });
      if (label < 0 || label >= source.classes) throw new AlumnusError('LABEL_OUT_OF_RANGE', `the label of ${key} is ${label}, and there are ${source.classes} classes`, { where: `${part.dataset} ${shard.name}` });
      classes[keys.length] = label;
      take(keys.length, decoded.images.subarray(at * size, (at + 1) * size));
      keys.push(key);
    });
  }
  return { keys, classes };
}

/** The images that a selection keeps, with the teacher's soft labels or the hard ones made of them. */
export async function loadSelected(source: Source, unlabeled: PartRef, selection: ObjectRef, pseudoLabels: readonly LabeledShard[], kind: 'soft' | 'hard'): Promise<TrainingSet> {
  const { store, shape, classes, cacheFolder, signal } = source;
  const document = await readSelection(store, selection);
  const kept = document.parts.reduce((sum, part) => sum + part.kept, 0);
  const { images, targets } = allocate(kept, source, unlabeled.dataset);
  const draws = new Uint32Array(document.parts.reduce((sum, part) => sum + part.rows, 0));
  const size = shape.height * shape.width * shape.channels;
  const shards = new Map(unlabeled.shards.map((shard) => [shard.name, shard]));
  const tables = new Map(pseudoLabels.map((each) => [each.shard, each.labels]));
  let sample = 0;
  let drawn = 0;
  for (const part of document.parts) {
    signal.throwIfAborted();
    const [shard, table] = [shards.get(part.shard), tables.get(part.shard)];
    invariant(shard !== undefined && table !== undefined && table.sha256 === part.labels, `the selection of ${part.shard} was cut from the labels that this training was given`);
    const [decoded, labels, copies] = await Promise.all([
      decodedShard(store, shard, shape, cacheFolder),
      store.get(table).then((bytes) => readLabelTable(bytes, table.key)),
      readSelectionPart(store, selection, part),
    ]);
    const rowOf = new Map(decoded.keys.map((key, row) => [key, row]));
    labels.keys.forEach((key, at) => {
      const times = copies.get(key);
      if (times === undefined) return;
      const row = rowOf.get(key);
      invariant(row !== undefined, `the labeled key ${key} lies in its shard`);
      images.set(decoded.images.subarray(row * size, (row + 1) * size), sample * size);
      writeTarget(targets, sample * classes, labels.logProbabilities[at] ?? [], labels.classes[at] ?? 0, kind);
      for (let copy = 0; copy < times; copy += 1) draws[drawn++] = sample;
      sample += 1;
    });
  }
  invariant(sample === kept && drawn === draws.length, 'every selected label is used, as often as was selected');
  return { images, targets, draws };
}

/** Float16 log-probabilities don't sum to one exactly: they are normalized again. */
function writeTarget(targets: Float32Array, offset: number, logProbabilities: ArrayLike<number>, label: number, kind: 'soft' | 'hard'): void {
  if (kind === 'hard') {
    targets[offset + label] = 1;
    return;
  }
  let sum = 0;
  for (let each = 0; each < logProbabilities.length; each += 1) sum += Math.exp(logProbabilities[each] ?? -Infinity);
  for (let each = 0; each < logProbabilities.length; each += 1) targets[offset + each] = Math.exp(logProbabilities[each] ?? -Infinity) / sum;
}

export interface BatchPlan {
  readonly batchLabeled: number;
  readonly batchUnlabeled: number;
  readonly classes: number;
  readonly seed: number;
}

/** The batch of a step: place and order are functions of seed and step alone. */
export function batcher(plan: BatchPlan, labeled: TrainingSet, selected: TrainingSet | undefined): (step: number) => TrainingBatch {
  const parts = [{ set: labeled, size: plan.batchLabeled, seed: plan.seed }];
  if (plan.batchUnlabeled > 0) {
    invariant(selected !== undefined && selected.draws.length > 0, 'a training with pseudo-labeled batches has a selection that is not empty');
    parts.push({ set: selected, size: plan.batchUnlabeled, seed: plan.seed ^ 0x5bd1e995 });
  }
  const imageSize = labeled.images.length / (labeled.targets.length / plan.classes);
  const total = plan.batchLabeled + plan.batchUnlabeled;
  return (step) => {
    const images = new Uint8Array(total * imageSize);
    const targets = new Float32Array(total * plan.classes);
    let row = 0;
    for (const { set, size, seed } of parts) {
      for (let at = 0; at < size; at += 1, row += 1) {
        const sample = set.draws[sampleAt(seed, set.draws.length, step * size + at)] ?? 0;
        images.set(set.images.subarray(sample * imageSize, (sample + 1) * imageSize), row * imageSize);
        targets.set(set.targets.subarray(sample * plan.classes, (sample + 1) * plan.classes), row * plan.classes);
      }
    }
    return { images, targets };
  };
}

export type { DecodedShard };
