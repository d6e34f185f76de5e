/**
 * What in a teacher's labels a person should see before days of training are spent on them: a wanted precision that validation does
 * not show, classes that the labels crowd out, and confidence that validation does not support. Pure; each guard gives the reason of a
 * pause, or nothing. Not for: lost shards (coverage), a class without any label (`decide`), losses that are no numbers (the worker).
 *
 * Invariants:
 *  1. Only validation is asked, as for promotions.
 *  2. A guard that a person resumed the run past stays silent for what that person saw: these labels, this student.
 */
import type { ClassSelection, Score } from '../../proto/gen/alumnus/v1/task.ts';
import type { Recipe } from '../../recipe/index.ts';
import { candidateOf } from './fine-tune.ts';
import { currentIteration, pauseRules, type RunState } from './state.ts';
import { thresholdOf } from './threshold.ts';

/** Classes named in a reason: a line that can be read; the report names all. */
const CLASSES_TOLD_MAX = 5;

export interface ClassShare {
  readonly class: number;
  /** Of the eligible labels, 0 to 1. */
  readonly share: number;
  /** Of validation, 0 to 1. */
  readonly expected: number;
}

/**
 * Classes with too few or too many of the eligible labels against their share of validation. Before they are copied or cut:
 * the balance hides what a teacher has forgotten, it doesn't mend it. None where nothing is eligible or validation tells no classes.
 */
export function skewedClasses(classes: readonly ClassSelection[], validation: Pick<Score, 'classes'> | undefined, guards: Recipe['guards']): { rare: ClassShare[]; crowded: ClassShare[] } {
  const truth = new Map(validation?.classes.map((each) => [each.class, each.total]));
  const [eligible, known] = [classes.reduce((sum, each) => sum + each.eligible, 0), [...truth.values()].reduce((sum, total) => sum + total, 0)];
  if (eligible === 0 || known === 0) return { rare: [], crowded: [] };
  const shares = classes.map((each) => {
    const own = truth.get(each.class) ?? 0;
    // One quotient of whole numbers: just enough is enough, to the bit.
    return { class: each.class, share: each.eligible / eligible, expected: own / known, kept: own === 0 ? Infinity : (each.eligible * known) / (own * eligible) };
  });
  const told = ({ class: at, share, expected }: ClassShare): ClassShare => ({ class: at, share, expected });
  return {
    rare: shares.filter(({ kept }) => kept < guards.class_share_least).sort((a, b) => a.kept - b.kept || a.class - b.class).map(told),
    crowded: shares.filter(({ share, expected }) => share > guards.class_share_most && expected <= guards.class_share_most / 2).map(told),
  };
}

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;

export interface GuardPause {
  readonly rule: string;
  readonly reason: string;
}

const asked = (state: RunState, rule: string): boolean => currentIteration(state).passed?.includes(rule) !== true;

/** At the begin of label: no threshold has the precision that the recipe wants. */
export function precisionOutOfReach(state: RunState): GuardPause | undefined {
  const { confidence, measured } = thresholdOf(state);
  if (measured === undefined || measured.reached || !asked(state, pauseRules.precision)) return undefined;
  const { wanted, correct, total, least } = measured;
  return {
    rule: pauseRules.precision,
    reason: `iteration ${state.iteration}: no threshold keeps labels that are known to be right as often as labels.precision ${wanted} asks for; the best on validation is confidence ${confidence.toFixed(4)} and above, with ${correct} of ${total} right, at least ${percent(least)} (95 % bound); resume to keep the labels from there on, or cancel and submit again with a lower labels.precision, more validation images or a better first teacher`,
  };
}

/** At the end of select: the labels crowd a class out, or crowd into one. */
export function skewedLabels(state: RunState): GuardPause | undefined {
  const { selection, teacher: { sha256 } = { sha256: '' } } = currentIteration(state);
  if (selection === undefined || !asked(state, pauseRules.skew)) return undefined;
  const { guards } = state.recipe;
  const teacher = state.promoted.find((each) => each.model.sha256 === sha256);
  const { rare, crowded } = skewedClasses(selection.classes, teacher?.evaluation.validation, guards);
  if (rare.length + crowded.length === 0) return undefined;
  const told = (classes: readonly ClassShare[]): string => {
    const named = classes.slice(0, CLASSES_TOLD_MAX).map((each) => `${state.data.classNames[each.class] ?? each.class} ${percent(each.share)} instead of ${percent(each.expected)}`);
    return `${named.join(', ')}${classes.length > named.length ? ` and ${classes.length - named.length} more` : ''}`;
  };
  const parts = [
    ...(rare.length > 0 ? [`too few, under ${guards.class_share_least} of the share on validation (guards.class_share_least), have ${told(rare)}`] : []),
    ...(crowded.length > 0 ? [`too many, over ${percent(guards.class_share_most)} of all (guards.class_share_most), has ${told(crowded)}`] : []),
  ];
  return { rule: pauseRules.skew, reason: `iteration ${state.iteration}: the classes of the eligible pseudo-labels are skewed: ${parts.join('; ')}; resume to train on them all the same, or cancel and submit again with more labeled images of the rare classes, or another threshold` };
}

/**
 * Before a promotion: a model that is to write labels is surer of itself than validation shows. The last model writes none. One that is
 * less sure than it could be (its best temperature is at most 1) does no harm: fewer labels pass the threshold, and those are right.
 */
export function unsupportedConfidence(state: RunState): GuardPause | undefined {
  const { evaluation } = candidateOf(state, currentIteration(state));
  const { recipe: { rounds, guards }, iteration } = state;
  const error = evaluation?.validation?.calibrationError ?? 0;
  const fitted = evaluation?.calibration;
  const tooSure = fitted === undefined || fitted.temperature > 1;
  if (iteration >= rounds || !tooSure || error <= guards.calibration_error_most || !asked(state, pauseRules.calibration)) return undefined;
  const mended = fitted === undefined ? '' : `; at its best temperature, ${fitted.temperature.toPrecision(3)}, the error is ${(evaluation?.validation?.calibrationErrorScaled ?? 0).toFixed(3)}`;
  return { rule: pauseRules.calibration, reason: `iteration ${iteration}: the model is surer of itself than validation shows, by ${error.toFixed(3)} on average, more than guards.calibration_error_most ${guards.calibration_error_most}, and it is to write labels${mended}; resume to let the gate decide all the same, or cancel and submit again with labels.precision in place of a threshold, label smoothing or other noise` };
}
