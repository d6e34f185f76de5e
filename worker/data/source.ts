/** The words that held.ts, streamed.ts and batches.ts share: where training reads from, and what a set of it answers. */
import type { ObjectRef, LabeledShard, PartRef } from '../../proto/gen/alumnus/v1/task.ts';
import { AlumnusError } from '../../proto/errors.ts';
import { imageBytes, type Reading } from './decoded.ts';
import type { SelectionDocument } from './select.ts';
import type { LabelOf } from './truth.ts';

export interface Source extends Reading {
  readonly classes: number;
}

export type TargetKind = 'soft' | 'hard';

/** Samples in the order that they were drawn in. */
export interface Drawn {
  /** `[count, height, width, channels]` */
  readonly images: Uint8Array;
  /** `[count, classes]`, each row sums to 1. */
  readonly targets: Float32Array;
}

/** A set in its order: a pure function of seed and cursor, over all epochs. */
export interface Draws {
  /** In memory, so that nothing is gained by asking early. */
  readonly held: boolean;
  /** The draws `cursor` to `cursor + count - 1`. */
  read(cursor: number, count: number): Promise<Drawn>;
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

/** Decoded, with its target: probabilities where it is soft, a class where it is hard. */
export const bytesOfSample = ({ shape, classes }: Source, kind: TargetKind): number => imageBytes(shape) + (kind === 'soft' ? classes : 1) * Float32Array.BYTES_PER_ELEMENT;

/** The class of a labeled image. @throws AlumnusError LABEL_OUT_OF_RANGE */
export function checkedLabel(label: number | undefined, key: string, classes: number, where: string): number {
  if (label === undefined) throw new AlumnusError('LABEL_OUT_OF_RANGE', `the image ${key} has no label`, { where });
  if (label < 0 || label >= classes) throw new AlumnusError('LABEL_OUT_OF_RANGE', `the label of ${key} is ${label}, and there are ${classes} classes`, { where });
  return label;
}

/** Float16 log-probabilities don't sum to one exactly: they are normalized again. */
export function writeTarget(targets: Float32Array, offset: number, logProbabilities: ArrayLike<number>, label: number, kind: TargetKind): void {
  if (kind === 'hard') {
    targets[offset + label] = 1;
    return;
  }
  let sum = 0;
  for (let each = 0; each < logProbabilities.length; each += 1) sum += Math.exp(logProbabilities[each] ?? -Infinity);
  for (let each = 0; each < logProbabilities.length; each += 1) targets[offset + each] = Math.exp(logProbabilities[each] ?? -Infinity) / sum;
}
