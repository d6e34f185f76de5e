/** The words that held.ts, streamed.ts and batches.ts share: where training reads from, and what a set of it answers. */
import type { ObjectRef, LabeledShard, PartRef } from '../../proto/gen/alumnus/v1/task.ts';
import { AlumnusError, invariant } from '../../proto/errors.ts';
import { imageBytes, type Reading } from './decoded.ts';
import type { SelectionDocument } from './select.ts';
import type { LabelOf } from './truth.ts';

export interface Source extends Reading {
  readonly classes: number;
}

/**
 * What a target row holds. Of labels alone, `[classes]`, which sum to 1: soft, a teacher's probabilities; hard, a class. Of distillation, where the teacher's word stands
 * apart from the true label: truth, `[classes]`, the true class, or zeros where nobody knows it; stored, `[2 classes]`, the same and then the teacher's log-probabilities.
 */
export type TargetKind = 'soft' | 'hard' | 'truth' | 'stored';

/** Numbers of a target row. */
export const targetWidth = ({ classes }: Pick<Source, 'classes'>, kind: TargetKind): number => (kind === 'stored' ? 2 * classes : classes);

/** Samples in the order that they were drawn in. */
export interface Drawn {
  /** `[count, height, width, channels]` */
  readonly images: Uint8Array;
  /** `[count, targetWidth]` */
  readonly targets: Float32Array;
}

/** A set in its order: a pure function of seed and cursor, over all epochs. */
export interface Draws {
  /** In memory, so that nothing is gained by asking early. */
  readonly held: boolean;
  /** The draws `cursor` to `cursor + count - 1`. */
  read(cursor: number, count: number): Promise<Drawn>;
}

/** Labeled images that a training must leave out, because it is measured on them (hold-out.ts). */
export interface LeftOut {
  readonly keys: ReadonlySet<string>;
  /** How many of them lie in each shard. */
  readonly ofShard: ReadonlyMap<string, number>;
}

/** Of a labeled set. */
export interface LabeledTargets {
  readonly kind: TargetKind;
  /** What the teacher said of its shards, where `kind` is stored. */
  readonly teacherLabels: readonly LabeledShard[];
  readonly leftOut: LeftOut | undefined;
}

export interface Selected {
  readonly document: SelectionDocument;
  readonly unlabeled: PartRef;
  readonly selection: ObjectRef;
  readonly pseudoLabels: readonly LabeledShard[];
  /** Hard where there is an `instead`. */
  readonly kind: TargetKind;
  readonly instead?: LabelOf | undefined;
}

/** Decoded, with its target as a batch holds it. */
export const bytesOfSample = (source: Source, kind: TargetKind): number => imageBytes(source.shape) + targetWidth(source, kind) * Float32Array.BYTES_PER_ELEMENT;

/** The class of a labeled image. @throws AlumnusError LABEL_OUT_OF_RANGE */
export function checkedLabel(label: number | undefined, key: string, classes: number, where: string): number {
  if (label === undefined) throw new AlumnusError('LABEL_OUT_OF_RANGE', `the image ${key} has no label`, { where });
  if (label < 0 || label >= classes) throw new AlumnusError('LABEL_OUT_OF_RANGE', `the label of ${key} is ${label}, and there are ${classes} classes`, { where });
  return label;
}

/** What is known of a sample: its true class, or a teacher's most probable one, and the teacher's log-probabilities. */
export interface Known {
  readonly truth?: number;
  readonly label?: number;
  readonly logProbabilities?: ArrayLike<number> | undefined;
}

/** Into zeros. Float16 log-probabilities don't sum to one exactly: probabilities are normalized again; who takes the logarithms does so by itself. */
export function writeTarget(targets: Float32Array, offset: number, { truth, label, logProbabilities = [] }: Known, kind: TargetKind): void {
  if (kind === 'hard') {
    targets[offset + (truth ?? label ?? 0)] = 1;
    return;
  }
  if (kind !== 'soft') {
    if (truth !== undefined) targets[offset + truth] = 1;
    if (kind !== 'stored') return;
    // Zeros would be a teacher that is unsure of everything.
    invariant(logProbabilities.length > 0, 'a stored teacher said something of every image that a student sees');
    targets.set(logProbabilities, offset + logProbabilities.length);
    return;
  }
  let sum = 0;
  for (let each = 0; each < logProbabilities.length; each += 1) sum += Math.exp(logProbabilities[each] ?? -Infinity);
  for (let each = 0; each < logProbabilities.length; each += 1) targets[offset + each] = Math.exp(logProbabilities[each] ?? -Infinity) / sum;
}
