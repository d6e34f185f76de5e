/**
 * Distillation as a run has it: what a student's training is told of its teacher, and, where that is stored, label tasks for the shards of the
 * labeled part, too. They stand beside the unlabeled ones in the label stage, under subjects of their own.
 * Pure. Not for: the loss (worker/learning/distillation.ts).
 * Invariants:
 *  1. Where the recipe has none, every function here answers as if there were no such thing, and no task's id changes.
 *  2. No label of a labeled shard is selected, audited or quarantined: they are in no tally, and no training could do without them.
 */
import { invariant } from '../../proto/errors.ts';
import { Stage, type DistillSpec, type LabeledShard, type ShardRef } from '../../proto/gen/alumnus/v1/task.ts';
import { isOfLabeled, labeledSubject } from '../../proto/subjects.ts';
import type { Comparison, Distill, Recipe } from '../../recipe/index.ts';
import { labeledPart } from './reviews.ts';
import type { IterationState, RunState } from './state.ts';

interface ShardToLabel {
  /** Of its label task. */
  readonly subject: string;
  readonly shard: ShardRef;
}

/** How the last student, or this comparison with it, learns from its teacher; undefined where it learns labels alone. */
export function distillOf({ training }: Recipe, comparison?: Comparison): Distill | undefined {
  if (comparison === undefined) return training.distill;
  if (comparison.labels !== 'pseudo' || comparison.kind !== undefined || comparison.distill === 'none') return undefined;
  return comparison.distill ?? training.distill;
}

/** The labeled shards that the teacher labels, too: none but for a stored teacher and students that see labeled images. */
function labeledToLabel(state: RunState, iteration: number): ShardToLabel[] {
  const { recipe } = state;
  const wishes = [undefined, ...(recipe.comparisons ?? [])].map((comparison) => distillOf(recipe, comparison));
  if (wishes.every((wish) => wish?.teacher !== 'stored') || recipe.training.student.batch_labeled === 0) return [];
  return (labeledPart(state, iteration)?.shards ?? []).map((shard) => ({ subject: labeledSubject(shard.name), shard }));
}

/** All that the label stage is to label. */
export const shardsToLabel = (state: RunState): ShardToLabel[] => [...(state.data.unlabeled?.shards ?? []).map((shard) => ({ subject: shard.name, shard })), ...labeledToLabel(state, state.iteration)];

/** How many those are. */
export const labelTotal = (state: RunState): number => (state.data.unlabeled?.shards.length ?? 0) + labeledToLabel(state, state.iteration).length;

/** The accepted labels of the unlabeled part, by shard. */
export const pseudoLabelsOf = ({ labels }: IterationState): LabeledShard[] =>
  [...labels.entries()].filter(([subject]) => !isOfLabeled({ stage: Stage.LABEL, subject })).sort(([a], [b]) => (a < b ? -1 : 1)).map(([shard, result]) => ({ shard, labels: result.labels, tally: result.tally }));

/** What a training of an iteration's student is told of its teacher. */
export function distillSpec(state: RunState, { iteration, teacher, labels }: IterationState, wish: Distill): DistillSpec {
  invariant(teacher !== undefined, 'an iteration with a student has a teacher');
  return {
    teacher,
    labels: (wish.teacher === 'stored' ? labeledToLabel(state, iteration) : []).map(({ subject, shard }) => {
      const written = labels.get(subject);
      invariant(written !== undefined, `${subject} is labeled before a student trains`);
      return { shard: shard.name, labels: written.labels, tally: undefined };
    }),
  };
}
