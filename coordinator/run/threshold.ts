/**
 * The threshold of an iteration's pseudo-labels: what the recipe says, or, where it wants a precision, what the teacher's predictions
 * on validation allow. Pure, and a function of journalled facts: whoever folds them comes to the same number.
 *
 * Invariant: the threshold never falls as the wanted precision rises. It is the least of those that have it, and fewer have a higher one.
 */
import type { LabelThreshold } from '../../proto/gen/alumnus/v1/operator.ts';
import type { EvaluateResult } from '../../proto/gen/alumnus/v1/task.ts';
import { invariant } from '../../proto/errors.ts';
import type { Recipe } from '../../recipe/index.ts';
import { currentIteration, type IterationState, type RunState } from './state.ts';

/** The 95 % quantile of the normal distribution: the bound is one-sided. */
const NORMAL_95 = 1.6448536269514722;

/**
 * One-sided 95 % lower bound of a share of which `correct` of `total` were seen, 0 to 1 (Wilson 1927). The share itself would not do: of
 * a few most confident predictions all are right, and any precision would be had somewhere.
 */
export function shareAtLeast(correct: number, total: number): number {
  if (total === 0) return 0;
  const [seen, square] = [correct / total, NORMAL_95 ** 2];
  return Math.max(0, (seen + square / (2 * total) - NORMAL_95 * Math.sqrt((seen * (1 - seen)) / total + square / (4 * total ** 2))) / (1 + square / total));
}

/**
 * The least confidence at or above which predictions on validation have the precision that the recipe wants, by its lower bound; where none
 * has it, the one with the best. Only confidences that validation has seen come into question.
 * @param teacher its evaluation; not read where the recipe gives the threshold
 */
export function labelThreshold(labels: Pick<Recipe['labels'], 'threshold' | 'precision'>, teacher: Pick<EvaluateResult, 'confidence'> | undefined): LabelThreshold {
  if (labels.precision === undefined) {
    invariant(labels.threshold !== undefined, 'a recipe that wants no precision has a threshold');
    return { confidence: labels.threshold, measured: undefined };
  }
  const wanted = labels.precision;
  let [correct, total] = [0, 0];
  let best = { confidence: 0, correct, total, least: 0 };
  let reached: typeof best | undefined;
  // From the most confident down: each bin with all above it. Of equals the lower threshold keeps more.
  for (const bin of [...(teacher?.confidence ?? [])].reverse()) {
    [correct, total] = [correct + bin.correct, total + bin.total];
    const least = shareAtLeast(correct, total);
    if (least >= best.least) best = { confidence: bin.confidence, correct, total, least };
    if (least >= wanted) reached = { confidence: bin.confidence, correct, total, least };
  }
  const { confidence, ...measured } = reached ?? best;
  return { confidence, measured: { wanted, ...measured, reached: reached !== undefined } };
}

/** Of the labels that an iteration keeps, by the evaluation of the teacher that writes them. @param iteration any but iteration 0 */
export function thresholdOf(state: RunState, iteration: IterationState = currentIteration(state)): LabelThreshold {
  const teacher = state.promoted.find((each) => each.model.sha256 === iteration.teacher?.sha256);
  return labelThreshold(state.recipe.labels, teacher?.evaluation);
}
