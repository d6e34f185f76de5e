/**
 * Whether labels that grow surer from one teacher to the next also grow better, as far as validation tells: a student that learns from its own mistakes
 * repeats them with more confidence. Pure; warns and decides nothing. Not for: comparing labels, which is the select task's (worker/data/drift.ts).
 */
import type { PrecisionDrift } from '../../proto/gen/alumnus/v1/operator.ts';
import type { DriftSpec, EvaluateResult } from '../../proto/gen/alumnus/v1/task.ts';
import { pseudoLabelsOf } from './distill.ts';
import { currentIteration, type IterationState, type RunState } from './state.ts';
import { thresholdOf } from './threshold.ts';

/** The iteration before, where another teacher wrote its labels; undefined where there are none to compare with. */
const labeledBefore = (state: RunState, { iteration, teacher }: IterationState): IterationState | undefined => {
  const before = state.iterations[iteration - 1];
  return before?.teacher === undefined || before.teacher.sha256 === teacher?.sha256 ? undefined : before;
};

/** What the present iteration's labels are to be compared with; undefined where the recipe does not ask, and then no task's id changes. */
export function driftSpec(state: RunState): DriftSpec | undefined {
  const before = state.recipe.labels.drift === true ? labeledBefore(state, currentIteration(state)) : undefined;
  if (before?.teacher === undefined) return undefined;
  return { teacherSha256: before.teacher.sha256, shards: pseudoLabelsOf(before) };
}

/** Of a teacher's predictions on validation those whose bin of confidence lies at or above the threshold: a bin that the threshold cuts is left out. */
function precisionFrom(threshold: number, evaluation: Pick<EvaluateResult, 'confidence'> | undefined): { correct: number; total: number } {
  const bins = (evaluation?.confidence ?? []).filter(({ confidence }) => confidence >= threshold);
  return { correct: bins.reduce((sum, each) => sum + each.correct, 0), total: bins.reduce((sum, each) => sum + each.total, 0) };
}

/**
 * Alarm: the mean confidence of the labels rose, and the share of right ones among the teacher's predictions on validation, each teacher's at its own
 * iteration's threshold, did not. None where every prediction was right (nothing could rise), and where validation tells nothing of either teacher.
 */
export function precisionDrift(state: RunState, each: IterationState): PrecisionDrift | undefined {
  const drift = each.selection?.drift;
  const before = labeledBefore(state, each);
  if (drift === undefined || before === undefined) return undefined;
  const of = (iteration: IterationState): { correct: number; total: number } =>
    precisionFrom(thresholdOf(state, iteration).confidence, state.promoted.find(({ model }) => model.sha256 === iteration.teacher?.sha256)?.evaluation);
  const [old, now] = [of(before), of(each)];
  // As products of whole numbers: equal shares are equal.
  const rose = now.correct * old.total > old.correct * now.total;
  const alarm = drift.confidenceAfter > drift.confidenceBefore && old.total > 0 && now.total > 0 && now.correct < now.total && !rose;
  return { correctBefore: old.correct, totalBefore: old.total, correctAfter: now.correct, totalAfter: now.total, alarm };
}

const percent = (share: number): string => `${(100 * share).toFixed(2)} %`;

/** The alarms of a run, a sentence each. */
export function driftWarnings(state: RunState): string[] {
  return state.iterations.flatMap((each) => {
    const drift = each.selection?.drift;
    const precision = precisionDrift(state, each);
    if (drift === undefined || precision?.alarm !== true) return [];
    const { correctBefore, totalBefore, correctAfter, totalAfter } = precision;
    return [`iteration ${each.iteration}: its labels are surer than those before (mean confidence ${percent(drift.confidenceBefore)}, now ${percent(drift.confidenceAfter)}), and on validation its teacher is not right more often from the threshold on (${percent(correctBefore / totalBefore)}, now ${percent(correctAfter / totalAfter)}): errors may be confirming themselves; ${drift.flips} of ${drift.samples} labels name another class than before`];
  });
}
