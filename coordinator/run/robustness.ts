/**
 * How a model bears images that it was not made for: mean corruption error and mean flip rate (Hendrycks and Dietterich 2019, arXiv
 * 1903.12261, sections 4.3 and 4.4), over the corruptions and the perturbation sequences that its evaluation holds. There a fixed
 * network's errors normalize them; here iteration 0's teacher's do, so figures of different runs are not to be compared. Pure.
 * Invariants:
 *  1. Validation and test are never mixed, and only validation's figures are asked by the gate.
 *  2. Where the one that a ratio is taken by made no mistake, none is taken for half a mistake, of either, so that every ratio is finite (facts hold no
 *     other numbers), and iteration 0's teacher has 1 everywhere.
 */
import type { RobustnessFigures } from '../../proto/gen/alumnus/v1/operator.ts';
import type { CorruptionScore, CorruptionScores, Errors, EvaluateResult, EvaluateSpec } from '../../proto/gen/alumnus/v1/task.ts';
import type { RunState } from './state.ts';

type Split = 'validation' | 'test';

const isMeasured = (errors: Errors | undefined): errors is Errors => errors !== undefined && errors.total > 0;
const rate = ({ wrong, total }: Errors): number => wrong / total;
const atLeastHalf = ({ wrong, total }: Errors): Errors => ({ wrong: Math.max(wrong, 0.5), total });
const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;

/** The mean rate, and the mean of rates each divided by that of `first`; undefined where nothing is measured, the second where `first` lacks one. */
function means(scores: readonly CorruptionScore[], first: CorruptionScores | undefined, split: Split): { own: number; normalized: number | undefined } | undefined {
  const measured = scores.flatMap((score) => (isMeasured(score[split]) ? [{ name: score.name, errors: score[split] }] : []));
  if (measured.length === 0) return undefined;
  const normalized = measured.flatMap(({ name, errors }) => {
    const before = first?.scores.find((score) => score.name === name)?.[split];
    return isMeasured(before) ? [before.wrong > 0 ? rate(errors) / rate(before) : rate(atLeastHalf(errors)) / rate(atLeastHalf(before))] : [];
  });
  return { own: mean(measured.map(({ errors }) => rate(errors))), normalized: normalized.length === measured.length ? mean(normalized) : undefined };
}

/** @param first of iteration 0's teacher; undefined while there is none */
export function robustnessOn(split: Split, of: CorruptionScores | undefined, first: CorruptionScores | undefined): RobustnessFigures | undefined {
  if (of === undefined) return undefined;
  const corruptions = means(of.scores.filter(({ frames }) => frames === 0), first, split);
  const sequences = means(of.scores.filter(({ frames }) => frames > 0), first, split);
  if (corruptions === undefined) return undefined;
  return { meanError: corruptions.own, meanCorruptionError: corruptions.normalized, meanFlipProbability: sequences?.own, meanFlipRate: sequences?.normalized };
}

/** Of iteration 0's teacher, which is always promoted. */
export const firstScores = ({ promoted }: RunState): CorruptionScores | undefined => promoted[0]?.evaluation.corruption;

/** A candidate's mean corruption error on validation by the present teacher's. Undefined where nothing is corrupted. */
export function corruptionRatio(state: RunState, candidate: EvaluateResult): number | undefined {
  const first = firstScores(state);
  const errorOf = (scores: CorruptionScores | undefined): number | undefined => robustnessOn('validation', scores, first)?.meanCorruptionError;
  const ofTeacher = state.teacher?.evaluation.corruption;
  const [own, teacher] = [errorOf(candidate.corruption), errorOf(ofTeacher)];
  if (own === undefined || teacher === undefined) return undefined;
  if (teacher > 0) return own / teacher;
  // It made no mistake on any corruption. A student of its kind is no worse.
  const half = errorOf({ scores: (ofTeacher?.scores ?? []).map((score) => ({ ...score, validation: score.validation && atLeastHalf(score.validation) })) });
  return own === 0 || half === undefined ? 1 : own / half;
}

/** What a result lacks of what was to be measured; undefined where it is whole. */
export function missingCorruption({ corrupted }: EvaluateSpec, { corruption }: EvaluateResult): string | undefined {
  return corrupted?.parts.find(({ name, validation, test }) => {
    const score = corruption?.scores.find((each) => each.name === name);
    return !isMeasured(score?.validation) || validation === undefined || (test !== undefined && !isMeasured(score.test));
  })?.name;
}
