/**
 * What a run comes to with nothing in its way: the other side of I11's comparison. Also the recipe that a plan's run has.
 * Not for: the comparison itself (simulate.ts).
 */
import { chosenOf, currentIteration, decide, evolve, isEnded, openTasks, openTrainings, placeOf, type Command, type IterationState, type RunState } from '../../coordinator/run/index.ts';
import type { RunData, TaskPlace } from '../../proto/gen/alumnus/v1/events.ts';
import { Stage, type Task } from '../../proto/gen/alumnus/v1/task.ts';
import { partOf } from '../../proto/subjects.ts';
import type { Recipe } from '../../recipe/index.ts';
import { finished } from '../unit/coordinator/bucket.ts';
import { makeRecipe } from '../unit/coordinator/work.ts';
import type { SharedRound } from './books/shared-trainings.ts';
import { plain } from './checker.ts';
import type { Plan, RunPlan } from './plan.ts';

export function recipeOf(plan: RunPlan, { seed, checkpointSteps }: Plan): Recipe {
  const { comparisons, compress, corrupted, corruptionErrorMost, distill, nearDuplicates } = plan.wishes;
  return makeRecipe({
    data: { dataset: 'digits', ...(corrupted.length === 0 ? {} : { corrupted: 'digits-c' }), ...(nearDuplicates ? { near_duplicates: {} } : {}) },
    ...(comparisons.length === 0 ? {} : { comparisons }),
    compress,
    training: {
      distill,
      checkpoint_steps: checkpointSteps,
      ...(plan.shared === undefined ? {} : { replicas: plan.shared.replicas, sharing: { local_steps: plan.shared.localSteps, quorum: plan.shared.quorum, straggler_wait: plan.shared.stragglerWait } }),
      ...(plan.fineTuning === 'none' ? {} : { fine_tune: { steps: 700, teaches: plan.fineTuning === 'teaches' } }),
    },
    seed, rounds: plan.rounds, weight: plan.weight, control: plan.control,
    labels: { balance: 'classes', ...(plan.guarded ? { precision: 0.97 } : {}) },
    ...(plan.guarded ? { guards: { class_share_least: 0.9, class_share_most: 0.5, calibration_error_most: 0.05 } } : {}),
    promotion: { on_refusal: plan.onRefusal, require: plan.require, tries_max: 2, corruption_error_most: corruptionErrorMost },
    tolerance: { quarantined_share: plan.quarantinedShare, attempts: plan.attempts },
  });
}

/**
 * What a run came to: every decision with its reasons and every digest that went into one. @param like says what was given up beside the stages, which is left out: nothing
 * else depends on it but the choice of what is measured.
 */
export function outcome(state: RunState, like: RunState): string {
  const tried = (each: IterationState): object => ({ ...each, quarantined: [...each.quarantined.keys()].sort(), audit: undefined, auditGivenUp: undefined, acknowledged: undefined });
  const { phase, iteration, teacher, promoted, best, gates, fingerprints, reviews } = state;
  const isKept = (of: RunState): boolean => [of.control, ...of.comparisons.values(), ...of.measurements.values()].every(({ givenUp }) => givenUp === undefined);
  const beside = {
    control: like.control.givenUp === undefined ? state.control : undefined,
    comparisons: state.comparisons.filter((_, subject) => like.comparisons.get(subject)?.givenUp === undefined),
    // Who was given up is measured all the same where it was trained.
    ...(isKept(like) ? { measurements: state.measurements, chosen: chosenOf(state) } : {}),
  };
  return JSON.stringify(plain({ phase, iteration, try: state.try, teacher, promoted, best, gates, fingerprints, reviews, ...beside, iterations: state.iterations.map(tried), refusedTries: state.refusedTries.map(tried) }));
}

/**
 * Plays a run alone, but for the shards that were quarantined in `like`, and for what a person said of images there; its rounds have the replicas that they had there, and merge the same ones.
 * @param roundOf a round of a training as it went there; of one that did not get so far, undefined
 */
export function playUndisturbed(run: RunPlan, recipe: Recipe, data: RunData, like: RunState, roundOf: (training: TaskPlace, round: number) => SharedRound | undefined): RunState {
  // Here a round closes by its last replica alone. How long stragglers are waited for is no input of any task.
  const { training } = recipe;
  const patient: Recipe = training.sharing === undefined ? recipe : { ...recipe, training: { ...training, sharing: { ...training.sharing, straggler_wait: 100 } } };
  let nowMs = 0;
  let { state } = decide(undefined, { kind: 'submit', runId: run.runId, recipe: patient, data }, nowMs);
  const say = (command: Command): void => {
    ({ state } = decide(state, command, nowMs));
  };
  for (let step = 0; step < 20_000 && !isEnded(state.phase); step += 1) {
    nowMs += 1;
    const review = like.reviews[state.reviews.length];
    // When in the iteration before they came is no matter.
    if (review?.fromIteration === state.iteration + 1) {
      say({ kind: 'review', review, behind: (state.reviews.at(-1) ?? data.labeled)?.labels?.sha256 ?? '' });
      continue;
    }
    if (state.phase === 'paused') {
      say({ kind: 'resume' });
      continue;
    }
    // Not by the clock: at one time it would open all rounds alike.
    const waits = training.replicas === 'auto' ? openTrainings(state).find(({ taskId }) => state.rounds.get(taskId)?.current === undefined) : undefined;
    if (waits !== undefined) {
      const round = state.rounds.get(waits.taskId)?.merges ?? 0;
      state = evolve(state, { runId: run.runId, atMs: nowMs, fact: { $case: 'roundOpened', value: { training: placeOf(waits), round, replicas: roundOf(placeOf(waits), round)?.replicas ?? 1 } } });
      continue;
    }
    const leftOut = state.stage === Stage.LABEL ? like.iterations[state.iteration]?.quarantined : undefined;
    const open = openTasks(state);
    const isDoomed = (task: Task): boolean => {
      const part = partOf(task);
      if (part?.replica !== undefined) return roundOf({ ...placeOf(task), subject: part.training }, part.round)?.included?.includes(part.replica) === false;
      return leftOut?.has(task.subject) === true && !currentIteration(state).quarantined.has(task.subject);
    };
    const doomed = open.find(isDoomed);
    const next = doomed ?? open[0];
    if (next === undefined) break;
    if (doomed === undefined) say({ kind: 'complete', task: next, workerId: 'alone', result: finished(next).result });
    else say({ kind: 'fail', task: doomed, workerId: `w${step}`, code: 'ENGINE_CRASHED', message: 'the engine died', counts: true, fleet: 1_000, heldMs: 0 });
  }
  return state;
}
