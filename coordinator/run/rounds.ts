/**
 * A training that several workers share, as a sequence of rounds (DiLoCo, arXiv 2311.08105): in each, replicas make H local
 * steps from the same weights, on their own shares of the data, and a merge takes one outer step. All rules of rounds are
 * here: how long one is, when it opens and closes, what its replicas and its merge are given. Pure: time and the size of the
 * fleet are arguments. Not for: what a merge computes (worker/learning), nor what is done by a training once it is trained.
 *
 * Invariants:
 *  1. A training of `steps` has exactly ceil(steps / H) rounds, one after another, each ended by one merge.
 *  2. No two replicas of a training share a place in the order of the data, in whatever rounds they are; that of one left out is not used again.
 *  3. A merge takes at least the quorum of its round's replicas, and nothing of one that was left out.
 *  4. A round is opened and closed by facts, never by the clock alone: whoever folds them has the same replicas, merged alike.
 */
import { Map as ImmutableMap } from 'immutable';
import { invariant } from '../../proto/errors.ts';
import type { Event, TaskPlace } from '../../proto/gen/alumnus/v1/events.ts';
import type { MergeInput, ObjectRef, ReplicaResult, Task } from '../../proto/gen/alumnus/v1/task.ts';
import { comparisonSubject, partOf, partSubject, type TrainingPart } from '../../proto/subjects.ts';
import { REPLICAS_MAX, type Recipe, type Sharing } from '../../recipe/index.ts';
import { wallMsSpent } from './budget.ts';
import { isBeside, placeOf, taskIdPrefix, type Round, type RunState, type SharedTraining } from './state.ts';

type Fact = NonNullable<Event['fact']>;
type Spec = NonNullable<Task['spec']>;

/** What a decision about rounds may know besides the state. */
export interface RoundMoment {
  readonly nowMs: number;
  /** Workers that live now; absent where that is not known. */
  readonly fleet?: number | undefined;
}

/** How the recipe has trainings shared; undefined where one worker does each. */
export function sharingOf(recipe: Recipe): (Sharing & { readonly replicas: number | 'auto' }) | undefined {
  const { replicas, sharing } = recipe.training;
  return replicas === undefined || sharing === undefined ? undefined : { ...sharing, replicas };
}

function mustShare(recipe: Recipe): Sharing & { readonly replicas: number | 'auto' } {
  const sharing = sharingOf(recipe);
  invariant(sharing !== undefined, 'only a shared training has rounds');
  return sharing;
}

/** Steps of a training's schedule: the teacher's in iteration 0, a student's later; of what trains beside the stages as of a student, where a comparison says nothing else. */
export function stepsOf({ training, comparisons = [] }: Recipe, place: Pick<TaskPlace, 'iteration' | 'stage' | 'subject'>): number {
  if (!isBeside(place)) return (place.iteration === 0 ? training.teacher : training.student).steps;
  return comparisons.find(({ name }) => comparisonSubject(name) === place.subject)?.steps ?? training.student.steps;
}

export const roundsOf = (steps: number, localSteps: number): number => Math.ceil(steps / localSteps);

/** Steps before a round, and in it: the last round has what is left. */
export const roundSteps = (steps: number, localSteps: number, round: number): { readonly first: number; readonly steps: number } =>
  ({ first: round * localSteps, steps: Math.min(localSteps, steps - round * localSteps) });

/** How many of a round's replicas are enough: the least number that is at least this share of them. */
export function quorumOf(share: number, replicas: number): number {
  // As a quotient: 0.55 of 20 is 11, while 0.55 * 20 is a bit more.
  const product = Math.ceil(share * replicas);
  return Math.max(1, (product - 1) / replicas >= share ? product - 1 : product);
}

/** The replicas that a round opened now would have; undefined where `auto` can't tell yet. */
function replicasNow(wish: number | 'auto', fleet: number | undefined): number | undefined {
  if (wish !== 'auto') return wish;
  return fleet === undefined || fleet < 1 ? undefined : Math.min(fleet, REPLICAS_MAX);
}

/**
 * The next fact about rounds that follows from the state, the time and the fleet; undefined where none does.
 * @param trainings the run's open trainings, as one worker alone would do them. Not asked for where the run has no replicas.
 */
export function roundConsequence(state: RunState, trainings: () => readonly Task[], moment: RoundMoment): Fact | undefined {
  const sharing = sharingOf(state.recipe);
  if (sharing === undefined || state.phase !== 'running') return undefined;
  for (const task of trainings()) {
    const shared = state.rounds.get(task.taskId);
    const training = placeOf(task);
    if (shared?.current === undefined) {
      const replicas = replicasNow(sharing.replicas, moment.fleet);
      if (replicas !== undefined) return { $case: 'roundOpened', value: { training, round: shared?.merges ?? 0, replicas } };
    } else if (shared.current.included === undefined && isOver(shared.current, sharing, wallMsSpent(state, moment.nowMs))) {
      return { $case: 'roundClosed', value: { training, round: shared.current.round, replicas: doneOf(shared.current) } };
    }
  }
  return undefined;
}

const doneOf = ({ results }: Round): number[] => [...results.keys()].sort((a, b) => a - b);

/** Whether nothing more is waited for: everybody is done or given up, or the stragglers' time is over; and never short of the quorum. */
function isOver(round: Round, sharing: Sharing, wallMs: number): boolean {
  const { replicas, results, givenUp } = round;
  if (results.size < quorumOf(sharing.quorum, replicas)) return false;
  return results.size + givenUp.size >= replicas || wallMs >= waitsUntilWallMs(round, sharing);
}

/** Until when stragglers are waited for, in the run's wall time; Infinity before there is a quorum. */
export const waitsUntilWallMs = ({ openedWallMs, quorumWallMs }: Round, { straggler_wait: wait }: Sharing): number =>
  // The next leader's clock may be behind that of the one that opened the round.
  (quorumWallMs === undefined ? Infinity : quorumWallMs + wait * Math.max(0, quorumWallMs - openedWallMs));

/** Whether the quorum can be reached without this replica, too. */
export function canDoWithout(state: RunState, place: TaskPlace): boolean {
  const replica = partOf(place)?.replica;
  const round = sharedOf(state, place)?.current;
  if (replica === undefined || round === undefined || round.included !== undefined) return false;
  return round.replicas - round.givenUp.set(replica, '').size >= quorumOf(mustShare(state.recipe).quorum, round.replicas);
}

/** The shared training that a replica or merge is of; undefined for all other places, and once the training is done. */
export function sharedOf(state: RunState, place: TaskPlace): SharedTraining | undefined {
  const part = partOf(place);
  if (part === undefined) return undefined;
  return state.rounds.find(({ training }) => training.subject === part.training && training.iteration === place.iteration && training.try === place.try);
}

/** A task of a round, without what all tasks have. */
export interface RoundTask {
  readonly subject: string;
  readonly spec: Spec;
  /** The specification but for the training, which names all that goes in: its own id covers that. */
  readonly own: object;
  /** Steps of a replica, inputs of a merge. */
  readonly work: number;
  /** None where they could say nothing. */
  readonly checkpointSteps: number;
}

/** The open tasks of a shared training: the replicas that its round waits for, or the merge of one that is closed. */
export function roundTasks(state: RunState, training: Task): RoundTask[] {
  const shared = state.rounds.get(training.taskId);
  const { current } = shared ?? {};
  if (shared === undefined || current === undefined) return [];
  invariant(training.spec?.$case === 'train', 'what is shared is a training');
  const { recipe } = state;
  const train = training.spec.value;
  const sharing = mustShare(recipe);
  const { seed } = training;
  const { first: firstStep, steps } = roundSteps(training.work, sharing.local_steps, current.round);
  const part: TrainingPart = { training: training.subject, round: current.round };
  const common = { seed, round: current.round, firstStep, steps, merged: shared.merged };
  if (current.included !== undefined) {
    const inputs = inputsOf(current, current.included);
    const last = current.round + 1 === roundsOf(training.work, sharing.local_steps);
    const own = { ...common, inputs, outerLearningRate: sharing.outer.learning_rate, outerMomentum: sharing.outer.momentum, last, images: shared.images + imagesOf(current, current.included) };
    return [{ subject: partSubject(part), spec: { $case: 'merge', value: { ...own, train } }, own, work: inputs.length, checkpointSteps: 0 }];
  }
  return Array.from({ length: current.replicas }, (_, replica) => replica)
    .filter((replica) => !current.results.has(replica) && !current.givenUp.has(replica))
    .map((replica): RoundTask => {
      const own = { ...common, replica, firstBatch: shared.batches + replica * steps, optimizer: shared.optimizers[replica] };
      return { subject: partSubject({ ...part, replica }), spec: { $case: 'replica', value: { ...own, train } }, own, work: steps, checkpointSteps: training.checkpointSteps };
    });
}

const resultOf = ({ results }: Round, replica: number): ReplicaResult & { readonly state: ObjectRef } => {
  const result = results.get(replica);
  invariant(result?.state !== undefined, 'a replica that is merged has a result');
  return { ...result, state: result.state };
};

const inputsOf = (round: Round, included: readonly number[]): MergeInput[] => included.map((replica) => ({ replica, state: resultOf(round, replica).state, loss: resultOf(round, replica).loss }));

const imagesOf = (round: Round, included: readonly number[]): number => included.reduce((sum, replica) => sum + resultOf(round, replica).images, 0);

/** The state once a round is open. @param openedWallMs in the run's wall time */
export function opened(state: RunState, training: TaskPlace, round: number, replicas: number, openedWallMs: number): RunState {
  const shared = state.rounds.get(training.taskId) ?? { training, merges: 0, optimizers: [], batches: 0, images: 0, leftOut: 0, deviceMs: 0 };
  invariant(shared.current === undefined && shared.merges === round, `round ${round} of ${training.taskId} follows the merge of the one before`);
  return withShared(state, { ...shared, current: { round, replicas, openedWallMs, results: ImmutableMap(), givenUp: ImmutableMap() } });
}

/** The state once nothing more is waited for. What was kept for the next attempts of those left out is forgotten. */
export function closed(state: RunState, training: TaskPlace, round: number, included: readonly number[]): RunState {
  const shared = state.rounds.get(training.taskId);
  invariant(shared?.current?.round === round, `round ${round} of ${training.taskId} is open when it is closed`);
  const leftOut = Array.from({ length: shared.current.replicas }, (_, replica) => replica).filter((replica) => !included.includes(replica))
    .map((replica) => taskIdPrefix({ ...training, subject: partSubject({ training: training.subject, round, replica }) }));
  const isOfLeftOut = (_: unknown, taskId: string): boolean => leftOut.some((prefix) => taskId.startsWith(prefix));
  return withShared({ ...state, failures: state.failures.filterNot(isOfLeftOut), checkpoints: state.checkpoints.filterNot(isOfLeftOut) }, { ...shared, current: { ...shared.current, included: [...included] } });
}

/** The state once a replica is done. @param wallMs the run's wall time */
export function replicaDone(state: RunState, place: TaskPlace, result: ReplicaResult, deviceMs: number, wallMs: number): RunState {
  const { shared, current, replica } = mustBeOfRound(state, place);
  const results = current.results.set(replica, result);
  const isQuorum = current.quorumWallMs === undefined && results.size >= quorumOf(mustShare(state.recipe).quorum, current.replicas);
  return withShared(state, { ...shared, deviceMs: shared.deviceMs + deviceMs, current: { ...current, results, ...(isQuorum ? { quorumWallMs: wallMs } : {}) } });
}

export function replicaGivenUp(state: RunState, place: TaskPlace, reason: string): RunState {
  const { shared, current, replica } = mustBeOfRound(state, place);
  return withShared(state, { ...shared, current: { ...current, givenUp: current.givenUp.set(replica, reason) } });
}

/** The state once a round is merged, but for the last one. */
export function mergeDone(state: RunState, place: TaskPlace, merged: ObjectRef, deviceMs: number): RunState {
  const shared = sharedOf(state, place);
  const { current } = shared ?? {};
  invariant(shared !== undefined && current?.included !== undefined, `${place.taskId} merges a round that is closed`);
  const { current: _, ...before } = shared;
  const { steps } = roundSteps(stepsOf(state.recipe, shared.training), mustShare(state.recipe).local_steps, current.round);
  return withShared(state, {
    ...before, merges: current.round + 1, merged, optimizers: inputsOf(current, current.included).flatMap((input) => input.state ?? []),
    batches: shared.batches + current.replicas * steps, images: shared.images + imagesOf(current, current.included), leftOut: shared.leftOut + current.replicas - current.included.length, deviceMs: shared.deviceMs + deviceMs,
  });
}

/** Whoever resumes a run asks for another go of those that were given up. */
export const givenAnotherGo = (rounds: RunState['rounds']): RunState['rounds'] =>
  rounds.map((shared) => (shared.current === undefined || shared.current.included !== undefined ? shared : { ...shared, current: { ...shared.current, givenUp: ImmutableMap<number, string>() } }));

function mustBeOfRound(state: RunState, place: TaskPlace): { shared: SharedTraining; current: Round; replica: number } {
  const shared = sharedOf(state, place);
  const part = partOf(place);
  invariant(shared?.current !== undefined && part?.replica !== undefined && part.round === shared.current.round, `${place.taskId} is of a round under way`);
  return { shared, current: shared.current, replica: part.replica };
}

const withShared = (state: RunState, shared: SharedTraining): RunState => ({ ...state, rounds: state.rounds.set(shared.training.taskId, shared) });
