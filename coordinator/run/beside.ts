/**
 * What trains beside the stages: the control, and the recipe's comparisons. Each is the last iteration's student with something else
 * about it; it is trained, evaluated, and decides nothing. Pure. Not for: what a training's specification says (tasks.ts).
 * Invariants:
 *  1. Nothing of a stage ever waits for one of these; the run's end does.
 *  2. One that learns from labels begins when the last iteration's selection is there. In a run that ends before, it is left out.
 *  3. A comparison is evaluated once the last gate is decided, and so is paired with a model that does not change any more. The control needs no
 *     pairing, and is evaluated as soon as it is trained.
 */
import { comparisonSubject, subjects } from '../../proto/subjects.ts';
import { Stage, type EvaluateResult } from '../../proto/gen/alumnus/v1/task.ts';
import type { Comparison, Recipe } from '../../recipe/index.ts';
import { candidateOf, fineTunedEvaluationOwed } from './fine-tune.ts';
import { currentIteration, type BesideState, type IterationState, type RunState } from './state.ts';

export interface Beside {
  /** Of its training. */
  readonly subject: string;
  /** Undefined: the control. */
  readonly comparison?: Comparison;
}

const nothing: BesideState = {};

/** All that the recipe asks for, the control first. */
export function besidesOf({ control, comparisons = [], rounds }: Recipe): Beside[] {
  if (rounds === 0) return [];
  return [...(control ? [{ subject: subjects.control }] : []), ...comparisons.map((comparison) => ({ subject: comparisonSubject(comparison.name), comparison }))];
}

export const besideState = (state: RunState, subject: string): BesideState => (subject === subjects.control ? state.control : state.comparisons.get(subject) ?? nothing);

export function withBeside(state: RunState, subject: string, change: Partial<BesideState>): RunState {
  const next = { ...besideState(state, subject), ...change };
  return subject === subjects.control ? { ...state, control: next } : { ...state, comparisons: state.comparisons.set(subject, next) };
}

/** Whoever resumes a run asks for another go at what was given up. */
export function besidesGivenAnotherGo({ control, comparisons, measurements }: RunState): Pick<RunState, 'control' | 'comparisons' | 'measurements'> {
  const again = <Given extends { readonly givenUp?: string }>({ givenUp: _, ...rest }: Given): Omit<Given, 'givenUp'> => rest;
  return { control: again(control), comparisons: comparisons.map(again), measurements: measurements.map(again) };
}

/** The iteration whose labels it learns from; undefined where it learns from none. */
export const labelsOf = (state: RunState, { comparison }: Beside): IterationState | undefined =>
  (comparison === undefined || comparison.labels === 'none' ? undefined : state.iterations[state.recipe.rounds]);

const learns = ({ comparison }: Beside): boolean => comparison !== undefined && comparison.labels !== 'none';

/** Trained, or to be trained, and not evaluated yet: what the run's end waits for. */
export function isOwed(state: RunState, beside: Beside): boolean {
  const { evaluation, fineTunedEvaluation, givenUp } = besideState(state, beside.subject);
  if (givenUp !== undefined || (evaluation !== undefined && !fineTunedEvaluationOwed(state, { fineTunedEvaluation }))) return false;
  return !learns(beside) || labelsOf(state, beside)?.selection !== undefined;
}

/** Those that are owed, in the recipe's order. */
export const besidesOwed = (state: RunState): Beside[] => besidesOf(state.recipe).filter((beside) => isOwed(state, beside));

/** What a comparison's evaluation is paired with; undefined before that is decided, and for the control. */
export function pairedWith(state: RunState, { comparison }: Beside): EvaluateResult | undefined {
  return comparison === undefined || state.stage !== Stage.PROMOTE ? undefined : candidateOf(state, currentIteration(state)).evaluation;
}

/** Whether it may be evaluated now. */
export const mayEvaluate = (state: RunState, beside: Beside): boolean => beside.comparison === undefined || pairedWith(state, beside) !== undefined;
