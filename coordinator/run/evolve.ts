/**
 * evolve(state, fact) -> state. Pure and total over journalled facts: it takes them as they are and decides nothing, so
 * that a journal written by an earlier release folds to what it meant then.
 */
import { Map as ImmutableMap } from 'immutable';
import { invariant } from '../../proto/errors.ts';
import { Stage, type ObjectRef, type TaskResult } from '../../proto/gen/alumnus/v1/task.ts';
import type { Event, TaskPlace } from '../../proto/gen/alumnus/v1/events.ts';
import { outputsOf } from '../../proto/outputs.ts';
import { partOf } from '../../proto/subjects.ts';
import { journalledRecipe } from '../../recipe/index.ts';
import { besidesGivenAnotherGo, withBeside } from './beside.ts';
import { wallMsSpent } from './budget.ts';
import { modelChosen } from './choose.ts';
import { candidateOf } from './fine-tune.ts';
import { fingerprinted } from './near-duplicates.ts';
import { closed as roundClosed, givenAnotherGo, mergeDone, opened as roundOpened, replicaDone, replicaGivenUp, sharedOf } from './rounds.ts';
import { CHECKPOINTS_MAX, currentIteration, guardRules, besideOf, isAudit, isFineTuned, labelGuards, measuredOf, pauseRules, type Budget, type IterationState, type RunState, type Teacher } from './state.ts';

const emptyIteration = (iteration: number, attempt: number, teacher: ObjectRef | undefined): IterationState => ({
  iteration, try: attempt, teacher, labels: ImmutableMap(), quarantined: ImmutableMap(),
});

function withIteration(state: RunState, change: Partial<IterationState>): RunState {
  const iterations = [...state.iterations];
  iterations[state.iteration] = { ...currentIteration(state), ...change };
  return { ...state, iterations };
}

const FLOAT32_BYTES = 4;

/** A model's document is named by its result, and its weights by the document. */
function storedBy(result: Result): number {
  const named = outputsOf(result).reduce((sum, { bytes }) => sum + bytes, 0);
  return named + (result.$case === 'train' ? result.value.parameters * FLOAT32_BYTES : 0);
}

/** What was kept for a task's next attempt is not needed any more. */
const closed = (state: RunState, taskId: string): RunState => ({ ...state, failures: state.failures.delete(taskId), checkpoints: state.checkpoints.delete(taskId) });

/** Device time once spent stays so, whatever a worker's clock says. */
const withDeviceMs = (state: RunState, ms: number): RunState => ({ ...state, budget: { ...state.budget, deviceMsSpent: state.budget.deviceMsSpent + Math.max(0, ms) } });

/** The wall budget's clock stands from here on. */
const stopped = (state: RunState, atMs: number): Budget => ({ ...state.budget, wallMsSpent: wallMsSpent(state, atMs), runningSinceMs: undefined });
const ended = (state: RunState, atMs: number): Pick<RunState, 'endedAtMs' | 'pauseRule' | 'pausedBy' | 'budget'> => ({ endedAtMs: atMs, pauseRule: '', pausedBy: '', budget: stopped(state, atMs) });

export function evolve(state: RunState | undefined, event: Event): RunState {
  const { fact, atMs, runId } = event;
  invariant(fact !== undefined, `an event of run ${runId} carries a fact`);
  if (fact.$case === 'runSubmitted') {
    invariant(state === undefined, `run ${runId} is submitted once`);
    invariant(fact.value.data !== undefined, `run ${runId} is submitted with its data`);
    const recipe = journalledRecipe(fact.value.recipeJson);
    return {
      runId,
      name: fact.value.name,
      project: fact.value.project ?? '',
      recipe,
      recipeJson: fact.value.recipeJson,
      data: fact.value.data,
      ...(fact.value.dataRef === undefined ? {} : { dataRef: fact.value.dataRef }),
      phase: 'running', reason: '', pauseRule: '', pausedBy: '',
      budget: { deviceHours: recipe.budget.device_hours, wallHours: recipe.budget.wall_hours, deviceMsSpent: 0, wallMsSpent: 0, runningSinceMs: atMs },
      storedBytes: 0, submittedAtMs: atMs, endedAtMs: 0,
      iteration: 0, stage: Stage.TRAIN, try: 0, stageEnteredAtMs: atMs,
      iterations: [emptyIteration(0, 0, undefined)],
      refusedTries: [], promoted: [], control: {}, comparisons: ImmutableMap(), measurements: ImmutableMap(), fingerprints: ImmutableMap(), reviews: [], gates: 0, failures: ImmutableMap(), checkpoints: ImmutableMap(), rounds: ImmutableMap(),
    };
  }
  invariant(state !== undefined, `the first fact of run ${runId} is its submission`);
  switch (fact.$case) {
    case 'taskCompleted': {
      const { place, result } = fact.value;
      invariant(place !== undefined && result?.result !== undefined, 'a completion names its task and result');
      const stored = { ...state, storedBytes: state.storedBytes + storedBy(result.result) };
      const next = withDeviceMs(closed(stored, place.taskId), result.deviceMs);
      return completed(result.result.$case === 'evaluate' ? { ...next, evaluationMs: result.deviceMs } : next, place, result.result, result.deviceMs, atMs);
    }
    case 'taskFailed': {
      const { place, workerId, code, message, counts, heldMs } = fact.value;
      invariant(place !== undefined, 'a failure names its task');
      const spent = withDeviceMs(state, heldMs);
      if (!counts) return spent;
      const before = state.failures.get(place.taskId) ?? [];
      return { ...spent, failures: state.failures.set(place.taskId, [...before, { workerId, code, message, atMs }]) };
    }
    case 'checkpointReached': {
      const { place, checkpoint } = fact.value;
      invariant(place !== undefined && checkpoint !== undefined, 'a checkpoint names its task');
      const before = state.checkpoints.get(place.taskId) ?? [];
      return { ...state, checkpoints: state.checkpoints.set(place.taskId, [checkpoint, ...before].slice(0, CHECKPOINTS_MAX)) };
    }
    case 'roundOpened': {
      const { training, round, replicas } = fact.value;
      invariant(training !== undefined, 'a round names its training');
      return roundOpened(state, training, round, replicas, wallMsSpent(state, atMs));
    }
    case 'roundClosed': {
      const { training, round, replicas } = fact.value;
      invariant(training !== undefined, 'a round names its training');
      return roundClosed(state, training, round, replicas);
    }
    case 'taskQuarantined': {
      const { place, reason } = fact.value;
      invariant(place !== undefined, 'a quarantine names its task');
      const next = closed(state, place.taskId);
      if (partOf(place) !== undefined) return replicaGivenUp(next, place, reason);
      const measured = measuredOf(place);
      if (measured !== undefined) return { ...next, measurements: next.measurements.set(measured, { givenUp: reason }) };
      const beside = besideOf(place);
      if (beside !== undefined) return withBeside(next, beside, { givenUp: reason });
      if (isAudit(place)) return withIteration(next, { auditGivenUp: reason });
      return withIteration(next, { quarantined: currentIteration(next).quarantined.set(place.subject, reason) });
    }
    case 'stageEntered':
      return stageEntered(state, fact.value.iteration, fact.value.stage, fact.value.try, atMs);
    case 'studentPromoted':
    case 'studentRefused': {
      const gate = fact.value.gate;
      const gates = state.gates + (gate === undefined ? 0 : 1);
      const decided = withIteration({ ...state, stage: Stage.PROMOTE, gates }, { decision: fact.$case === 'studentPromoted' ? 'promoted' : 'refused', ...(gate === undefined ? {} : { gate }) });
      if (fact.$case === 'studentRefused') return decided;
      const current = currentIteration(decided);
      const { trained, evaluation } = candidateOf(decided, current);
      invariant(current.student !== undefined && trained?.result.model !== undefined && evaluation !== undefined, 'who is promoted was trained and evaluated');
      const teacher: Teacher = { model: trained.result.model, iteration: current.iteration, parameters: current.student.result.parameters, evaluation };
      return { ...decided, teacher, promoted: [...decided.promoted, teacher] };
    }
    case 'runPaused':
      return { ...state, phase: 'paused', reason: fact.value.reason, pauseRule: fact.value.rule, pausedBy: fact.value.by, budget: stopped(state, atMs) };
    case 'runResumed': {
      const goesOn: RunState = { ...state, phase: 'running', reason: '', pauseRule: '', pausedBy: '', budget: { ...state.budget, runningSinceMs: atMs } };
      // A larger budget says nothing about what was given up: that stands.
      if (state.pauseRule === pauseRules.budget) return goesOn;
      // Whoever resumes asks for another go at what was given up in this stage, and beside the stages.
      const resumed: RunState = { ...goesOn, failures: ImmutableMap(), ...besidesGivenAnotherGo(state), rounds: givenAnotherGo(state.rounds) };
      if (state.pauseRule === pauseRules.coverage) return withIteration(resumed, { coverageAcknowledged: true });
      if (guardRules.includes(state.pauseRule)) return withIteration(resumed, { passed: [...(currentIteration(state).passed ?? []), state.pauseRule] });
      if (state.stage === Stage.LABEL) return withIteration(resumed, { quarantined: ImmutableMap() });
      return state.stage === Stage.PROMOTE ? withIteration(resumed, { acknowledged: true }) : resumed;
    }
    case 'runRetried': {
      const again: RunState = {
        ...state, phase: 'running', reason: '', pauseRule: '', pausedBy: '', endedAtMs: 0, budget: { ...state.budget, runningSinceMs: state.budget.runningSinceMs ?? atMs },
        failures: ImmutableMap(), ...besidesGivenAnotherGo(state), rounds: givenAnotherGo(state.rounds),
      };
      const { auditGivenUp: _, ...current } = currentIteration(again);
      const reopened = state.stage === Stage.LABEL ? { ...current, quarantined: ImmutableMap<string, string>() } : current;
      return { ...again, iterations: again.iterations.with(state.iteration, reopened) };
    }
    case 'modelChosen':
      return modelChosen(state, fact.value);
    case 'manifestWritten': {
      const { manifest, number, facts } = fact.value;
      invariant(manifest !== undefined, 'a manifest that was written has a digest');
      return { ...state, manifest: { ref: manifest, number, facts } };
    }
    case 'budgetChanged':
      return { ...state, budget: { ...state.budget, deviceHours: fact.value.deviceHours, wallHours: fact.value.wallHours } };
    case 'labelsReviewed':
      return { ...state, reviews: [...state.reviews, fact.value] };
    case 'runCancelled':
      return { ...state, phase: 'cancelled', reason: fact.value.reason, ...ended(state, atMs) };
    case 'runFailed':
      return { ...state, phase: 'failed', reason: `${fact.value.reason} [${fact.value.code}]`, ...ended(state, atMs) };
    case 'runSucceeded': {
      const model = fact.value.bestModel;
      invariant(model !== undefined, 'a run that succeeded has a best model');
      return { ...state, phase: 'succeeded', reason: '', ...ended(state, atMs), best: { model, iteration: fact.value.bestIteration } };
    }
  }
}

type Result = NonNullable<TaskResult['result']>;

function completed(state: RunState, place: TaskPlace, result: Result, deviceMs: number, atMs: number): RunState {
  if (result.$case === 'replica') return replicaDone(state, place, result.value, deviceMs, wallMsSpent(state, atMs));
  if (result.$case === 'merge') {
    const { merged, trained } = result.value;
    invariant(merged !== undefined, 'a merge names what it wrote');
    if (trained === undefined) return mergeDone(state, place, merged, deviceMs);
    const shared = sharedOf(state, place);
    invariant(shared !== undefined, 'the last merge is of a training under way');
    // Done as if one worker had done it.
    return completed({ ...state, rounds: state.rounds.delete(shared.training.taskId) }, shared.training, { $case: 'train', value: trained }, shared.deviceMs + deviceMs, atMs);
  }
  const beside = besideOf(place);
  if (beside !== undefined) {
    if (result.$case === 'train') return withBeside(state, beside, { [isFineTuned(place) ? 'fineTuned' : 'trained']: { result: result.value, deviceMs } });
    if (result.$case === 'evaluate') return withBeside(state, beside, { [isFineTuned(place) ? 'fineTunedEvaluation' : 'evaluation']: result.value });
  }
  switch (result.$case) {
    case 'label':
      return withIteration(state, { labels: currentIteration(state).labels.set(place.subject, result.value) });
    case 'select':
      return withIteration(state, { selection: result.value });
    case 'train':
      return withIteration(state, { [isFineTuned(place) ? 'fineTuned' : 'student']: { result: result.value, deviceMs } });
    case 'import': {
      const { model, parameters = 0 } = result.value;
      return withIteration(state, { imported: result.value, student: { result: { model, parameters, steps: 0, images: 0, finalLoss: 0, curve: [], heldOutCurve: [] }, deviceMs } });
    }
    case 'evaluate':
      return withIteration(state, { [isFineTuned(place) ? 'fineTunedEvaluation' : 'evaluation']: result.value });
    case 'audit':
      return withIteration(state, { audit: result.value });
    case 'fingerprint':
      return fingerprinted(state, place.subject, result.value);
    case 'measure': {
      const measured = measuredOf(place);
      invariant(measured !== undefined, 'a measurement names its model');
      return { ...state, measurements: state.measurements.set(measured, { result: result.value }) };
    }
    case 'index':
      throw new Error('invariant broken: no run has tasks that index tars');
  }
}

/** The guards of a teacher's labels that a person resumed the run past. */
function seenOfLabels({ passed = [] }: IterationState): Pick<IterationState, 'passed'> {
  const kept = passed.filter((rule) => labelGuards.includes(rule));
  return kept.length === 0 ? {} : { passed: kept };
}

function stageEntered(state: RunState, iteration: number, stage: RunState['stage'], attempt: number, atMs: number): RunState {
  const next: RunState = { ...state, iteration, stage, try: attempt, stageEnteredAtMs: atMs };
  const current = state.iterations[iteration];
  if (current === undefined) {
    const previous = state.iterations[iteration - 1];
    const fresh = emptyIteration(iteration, attempt, state.teacher?.model);
    // The same teacher would write the same labels: an iteration that keeps its teacher keeps its labels, and what a person has seen of them.
    // So does one that is made anew, since a person went back to the teacher that it had.
    const same = [previous, ...state.refusedTries.filter((each) => each.iteration === iteration)].find((each) => each?.teacher !== undefined && each.teacher.sha256 === fresh.teacher?.sha256);
    return { ...next, iterations: [...state.iterations, same === undefined ? fresh : { ...fresh, labels: same.labels, ...seenOfLabels(same) }] };
  }
  if (attempt === current.try) return next;
  // Another seed: training and what follows are done again, labels and selection stand.
  const iterations = [...state.iterations];
  iterations[iteration] = {
    ...emptyIteration(iteration, attempt, current.teacher), labels: current.labels, quarantined: current.quarantined,
    ...(current.selection === undefined ? {} : { selection: current.selection }), ...seenOfLabels(current),
  };
  return { ...next, iterations, refusedTries: [...state.refusedTries, current] };
}
