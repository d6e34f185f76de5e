/** What the books of checker.ts read of a task: the training that it is, or is a part of. */
import type { Task, TrainSpec } from '../../../proto/gen/alumnus/v1/task.ts';

/** Undefined of all that trains nothing. */
export function trainingOf({ spec }: Task): TrainSpec | undefined {
  if (spec?.$case === 'train') return spec.value;
  return spec?.$case === 'replica' || spec?.$case === 'merge' ? spec.value.train : undefined;
}
