/**
 * What a run comes to with nothing in its way: the other side of I11's comparison. Also the recipe that a plan's run has.
 * Not for: the comparison itself (simulate.ts).
 */
import { currentIteration, decide, isDue, isEnded, openTasks, type IterationState, type RunState } from '../../coordinator/run/index.ts';
import type { RunData } from '../../proto/gen/alumnus/v1/events.ts';
import { Stage, type Task } from '../../proto/gen/alumnus/v1/task.ts';
import type { Recipe } from '../../recipe/index.ts';
import { finished } from '../unit/coordinator/bucket.ts';
import { makeRecipe } from '../unit/coordinator/work.ts';
import type { StudentRound } from './books/shared-trainings.ts';
import { plain } from './checker.ts';
import type { Plan, RunPlan } from './plan.ts';

export function recipeOf(plan: RunPlan, { seed, checkpointSteps }: Plan): Recipe {
  return makeRecipe({
    training: {
      checkpoint_steps: checkpointSteps,
      ...(plan.shared === undefined ? {} : { replicas: plan.shared.replicas, sharing: { local_steps: plan.shared.localSteps, quorum: plan.shared.quorum, straggler_wait: plan.shared.stragglerWait } }),
      ...(plan.fineTuning === 'none' ? {} : { fine_tune: { steps: 700, teaches: plan.fineTuning === 'teaches' } }),
    },
    seed, rounds: plan.rounds, weight: plan.weight, control: plan.control,
    labels: { balance: 'classes', ...(plan.guarded ? { precision: 0.97 } : {}) },
    ...(plan.guarded ? { guards: { class_share_least: 0.9, class_share_most: 0.5, calibration_error_most: 0.05 } } : {}),
    promotion: { on_refusal: plan.onRefusal, require: plan.require, tries_max: 2 },
    tolerance: { quarantined_share: plan.quarantinedShare, attempts: plan.attempts },
  });
}

/** What a run came to: every decision with its reasons and every digest that went into one. */
export function outcome(state: RunState): string {
  const tried = (each: IterationState): object => ({ ...each, quarantined: [...each.quarantined.keys()].sort(), audit: undefined, auditGivenUp: undefined, acknowledged: undefined });
  const { phase, iteration, teacher, promoted, best, gates } = state;
  return JSON.stringify(plain({ phase, iteration, try: state.try, teacher, promoted, best, gates, iterations: state.iterations.map(tried), refusedTries: state.refusedTries.map(tried) }));
}

/**
 * Plays a run alone, but for the shards that were quarantined in `like`; its rounds have the replicas that they had there, and merge the same ones.
 * @param roundOf a student's round as it went there
 */
export function playUndisturbed(run: RunPlan, recipe: Recipe, data: RunData, like: RunState, roundOf: (iteration: number, attempt: number, round: number) => StudentRound | undefined): RunState {
  // Here a round closes by its last replica alone. How long stragglers are waited for is no input of any task.
  const { training } = recipe;
  const patient: Recipe = training.sharing === undefined ? recipe : { ...recipe, training: { ...training, sharing: { ...training.sharing, straggler_wait: 100 } } };
  let nowMs = 0;
  let { state } = decide(undefined, { kind: 'submit', runId: run.runId, recipe: patient, data }, nowMs);
  const give = (task: Task): void => {
    state = decide(state, { kind: 'complete', task, workerId: 'alone', result: finished(task).result }, nowMs).state;
  };
  const studentsRound = (): number => state.rounds.find(({ training }) => training.subject === 'student')?.merges ?? 0;
  for (let step = 0; step < 20_000 && !isEnded(state.phase); step += 1) {
    nowMs += 1;
    if (state.phase === 'paused') {
      state = decide(state, { kind: 'resume' }, nowMs).state;
      continue;
    }
    // The control's rounds are compared with nothing: they may have any number.
    if (isDue(state, { nowMs, inFlightMs: 0, fleet: 1 })) {
      state = decide(state, { kind: 'clock', inFlightMs: 0, fleet: roundOf(state.iteration, state.try, studentsRound())?.replicas ?? 1 }, nowMs).state;
      continue;
    }
    const leftOut = state.stage === Stage.LABEL ? like.iterations[state.iteration]?.quarantined : undefined;
    const open = openTasks(state);
    const isDoomed = (task: Task): boolean => {
      if (task.spec?.$case === 'replica') return task.subject.startsWith('student') && roundOf(state.iteration, state.try, task.spec.value.round)?.included?.includes(task.spec.value.replica) === false;
      return leftOut?.has(task.subject) === true && !currentIteration(state).quarantined.has(task.subject);
    };
    const doomed = open.find(isDoomed);
    const next = doomed ?? open[0];
    if (next === undefined) break;
    if (doomed === undefined) give(next);
    else state = decide(state, { kind: 'fail', task: doomed, workerId: `w${step}`, code: 'ENGINE_CRASHED', message: 'the engine died', counts: true, fleet: 1_000, heldMs: 0 }, nowMs).state;
  }
  return state;
}
