/**
 * A person's word on models, over the gate's: promote one that was refused, go back to an earlier one, or have a run that
 * succeeded return another than its best. Pure. Both commands leave one fact, `modelChosen`: its iteration's model is the
 * teacher, and nothing that came after that iteration holds.
 * Invariants:
 *  1. Only a model that was evaluated on validation can be chosen: its labels' worth is known.
 *  2. A model that was gone back before is not returned at the run's end, however well it did on validation.
 *  3. What is made anew is made under another try, and so with another seed: the same would come out the same.
 */
import { Map as ImmutableMap } from 'immutable';
import { AlumnusError, invariant } from '../../proto/errors.ts';
import type { ModelChosen } from '../../proto/gen/alumnus/v1/events.ts';
import { Stage } from '../../proto/gen/alumnus/v1/task.ts';
import { candidateOf } from './fine-tune.ts';
import { isCancelling, isEnded, type IterationState, type RunState, type Teacher } from './state.ts';

/** What an iteration's model would be as a teacher; undefined where it is not trained and evaluated. */
function candidateTeacher(state: RunState, each: IterationState | undefined): Teacher | undefined {
  if (each === undefined) return undefined;
  const { trained, evaluation } = candidateOf(state, each);
  const model = trained?.result.model;
  return model === undefined || evaluation === undefined || each.student === undefined ? undefined : { model, iteration: each.iteration, parameters: each.student.result.parameters, evaluation };
}

/** Iterations whose model an operator may promote now: refused ones of a run under way; of one that succeeded any but what it returns. */
export function promotable(state: RunState): number[] {
  const { phase, best } = state;
  if ((phase !== 'succeeded' && isEnded(phase)) || isCancelling(state)) return [];
  return state.iterations.filter((each) => candidateTeacher(state, each) !== undefined && (phase === 'succeeded' ? each.iteration !== best?.iteration : each.decision === 'refused')).map(({ iteration }) => iteration);
}

/** Iterations that a run under way may go back to: those before the present one whose model was promoted. */
export function earlierTeachers(state: RunState): number[] {
  if (isEnded(state.phase) || isCancelling(state)) return [];
  return state.promoted.map(({ iteration }) => iteration).filter((iteration) => iteration < state.iteration);
}

/** @throws AlumnusError RUN_CONFLICT naming what can be chosen */
export function chosen(state: RunState, wish: 'promote' | 'rollback', iteration: number | undefined, reason: string, by: string): ModelChosen {
  const may = wish === 'promote' ? promotable(state) : earlierTeachers(state);
  const at = iteration ?? (wish === 'promote' && state.phase !== 'succeeded' ? may.find((each) => each === state.iteration) : undefined);
  if (at === undefined || !may.includes(at)) {
    const which = iteration === undefined ? 'say which iteration' : `the model of iteration ${iteration} cannot be`;
    const done = wish === 'promote' ? (state.phase === 'succeeded' ? 'what it returns' : 'promoted') : 'gone back to';
    const list = may.length === 0 ? `no model of it can be ${done} now` : `${iteration === undefined ? which : `${which} ${done}`}: ${may.length === 1 ? 'that of iteration' : 'those of iterations'} ${may.join(', ')} can`;
    throw new AlumnusError('RUN_CONFLICT', list, { where: state.runId });
  }
  const each = state.iterations[at];
  const teacher = candidateTeacher(state, each);
  invariant(each !== undefined && teacher !== undefined, 'what may be chosen was evaluated');
  return { iteration: at, try: each.try, model: teacher.model, reason, by };
}

export function modelChosen(state: RunState, { iteration, reason, by }: ModelChosen): RunState {
  const each = state.iterations[iteration];
  const teacher = candidateTeacher(state, each);
  invariant(each !== undefined && teacher !== undefined, 'who is chosen was trained and evaluated');
  if (state.phase === 'succeeded') return { ...state, best: { model: teacher.model, iteration } };
  const why = [by, reason].filter((text) => text !== '').join(': ');
  const promoted = [...state.promoted.filter((before) => before.iteration < iteration), ...(each.decision === 'promoted' ? state.promoted.filter((before) => before.iteration === iteration) : [teacher])];
  const { acknowledged: _, ...rest } = each;
  const changed: IterationState = { ...rest, decision: 'promoted', ...(each.decision === 'refused' ? { chosen: why } : {}) };
  return {
    ...state, iteration, stage: Stage.PROMOTE, try: each.try, teacher, promoted,
    iterations: [...state.iterations.slice(0, iteration), changed],
    refusedTries: [...state.refusedTries, ...state.iterations.slice(iteration + 1)],
    // What trained beside the stages learned from what is gone, but for the control, which never saw a label of a teacher.
    comparisons: ImmutableMap(), measurements: ImmutableMap(), rounds: ImmutableMap(), failures: ImmutableMap(),
  };
}

/** The next try of an iteration: 0 but where a person went back before it. */
export const nextTry = (state: RunState, iteration: number): number =>
  state.refusedTries.reduce((most, each) => (each.iteration === iteration ? Math.max(most, each.try + 1) : most), 0);
