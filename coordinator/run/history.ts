/**
 * How a run came to its models: its iterations with labels, selections, models and decisions, and the tasks that made one of the
 * models, as they were granted. Pure: facts in, nothing decided. Not for: where the facts come from (coordinator/history.ts), nor
 * doing the tasks again (the worker's).
 * Invariant: a task is told with the specification that it was granted with, whose digest its id holds; one that this release would
 * grant otherwise is not told at all.
 */
import { AlumnusError, invariant } from '../../proto/errors.ts';
import type { Event } from '../../proto/gen/alumnus/v1/events.ts';
import type { AcceptedTask, ComparisonHistory, IterationHistory, ModelHistory, RunHistory } from '../../proto/gen/alumnus/v1/history.ts';
import type { EvaluateResult, ObjectRef, Task } from '../../proto/gen/alumnus/v1/task.ts';
import { besidesOf, besideState, labelsOf } from './beside.ts';
import { pseudoLabelsOf } from './distill.ts';
import { evolve } from './evolve.ts';
import { besideOf, isFineTuned, type IterationState, type RunState, type Trained } from './state.ts';
import { nearTables } from './near-duplicates.ts';
import { openTasks } from './tasks.ts';
import { thresholdOf } from './threshold.ts';

const modelHistory = (trained: Trained | undefined, evaluation: EvaluateResult | undefined): ModelHistory | undefined =>
  (trained === undefined ? undefined : { model: trained.result.model, evaluation, deviceMs: trained.deviceMs });

function iterationHistory(state: RunState, each: IterationState): IterationHistory {
  return {
    iteration: each.iteration, try: each.try, teacher: each.teacher, labels: pseudoLabelsOf(each), selection: each.selection, audit: each.audit, decision: each.decision ?? '', gate: each.gate,
    lost: [...each.quarantined].map(([shard, reason]) => ({ shard, reason })).sort((a, b) => (a.shard < b.shard ? -1 : 1)),
    threshold: each.teacher === undefined ? undefined : thresholdOf(state, each),
    student: modelHistory(each.student, each.evaluation), fineTuned: modelHistory(each.fineTuned, each.fineTunedEvaluation),
  };
}

/** Tries of one iteration after one another, those that were refused and taken again first. */
const triesOf = (state: RunState): IterationState[] => [...state.refusedTries, ...state.iterations].sort((a, b) => a.iteration - b.iteration || a.try - b.try);

export function historyOf(state: RunState): RunHistory {
  const { runId, phase, recipeJson, data, control, best } = state;
  return {
    runId, state: phase, recipeJson, data, iterations: triesOf(state).map((each) => iterationHistory(state, each)),
    control: modelHistory(control.trained, control.evaluation), controlFineTuned: modelHistory(control.fineTuned, control.fineTunedEvaluation),
    comparisons: comparisonHistories(state), bestModel: best?.model, wanted: undefined, tasks: [], notes: [], reviews: [...state.reviews], nearDuplicates: nearTables(state),
  };
}

function comparisonHistories(state: RunState): ComparisonHistory[] {
  return besidesOf(state.recipe).flatMap((beside) => {
    const { trained, evaluation, fineTuned, fineTunedEvaluation } = besideState(state, beside.subject);
    if (beside.comparison === undefined || trained === undefined) return [];
    return [{ name: beside.comparison.name, model: modelHistory(trained, evaluation), fineTuned: modelHistory(fineTuned, fineTunedEvaluation), iteration: labelsOf(state, beside)?.iteration }];
  });
}

/**
 * Every task whose result the run took, in the order of the facts.
 * @param facts of one run, from its first, with its data @throws AlumnusError CODE_OUTDATED where this release derives other tasks than the one that ran
 */
export function acceptedTasks(facts: readonly Event[]): AcceptedTask[] {
  const accepted: AcceptedTask[] = [];
  /** Those of the present stage; derived once, since a stage may have thousands. */
  let open = new Map<string, Task>();
  let state: RunState | undefined;
  for (const event of facts) {
    if (event.fact?.$case === 'taskCompleted') {
      const { place, result, workerId } = event.fact.value;
      invariant(state !== undefined && place !== undefined, 'a completion names its task and follows a submission');
      if (!open.has(place.taskId)) open = new Map(openTasks({ ...state, phase: 'running' }).map((task) => [task.taskId, task]));
      const task = open.get(place.taskId);
      if (task === undefined) throw new AlumnusError('CODE_OUTDATED', 'this release would not grant the task as it was done: it is of another release', { where: place.taskId });
      accepted.push({ task, result, workerId });
    }
    state = evolve(state, event);
  }
  return accepted;
}

const names = (trained: Trained | undefined, model: ObjectRef): boolean => trained?.result.model?.sha256 === model.sha256;

/**
 * Of all accepted tasks those that made a model: its labels, its selection, its training in all parts, its fine-tuning. What its teacher was
 * made by is told of the teacher. @throws AlumnusError MODEL_NOT_FOUND where the run took no such model
 */
export function tasksBehind(state: RunState, accepted: readonly AcceptedTask[], model: ObjectRef): AcceptedTask[] {
  const ofIteration = triesOf(state).find((each) => names(each.student, model) || names(each.fineTuned, model));
  const beside = ofIteration === undefined ? besidesOf(state.recipe).find(({ subject }) => [besideState(state, subject).trained, besideState(state, subject).fineTuned].some((each) => names(each, model))) : undefined;
  if (ofIteration === undefined && beside === undefined) throw new AlumnusError('MODEL_NOT_FOUND', 'the run took no such model: an attempt may have written it whose result did not count', { where: model.key });
  const tuned = names(beside === undefined ? ofIteration?.fineTuned : besideState(state, beside.subject).fineTuned, model);
  const from = beside === undefined ? ofIteration : labelsOf(state, beside);
  const tables = new Set(from?.labels.valueSeq().map(({ labels }) => labels?.key ?? ''));
  return accepted.filter(({ task, result }) => {
    invariant(task !== undefined, 'an accepted task is told');
    switch (result?.result?.$case) {
      case 'label': return tables.has(result.result.value.labels?.key ?? '');
      case 'select': return result.result.value.selection !== undefined && result.result.value.selection.key === from?.selection?.selection?.key;
      case 'train':
      case 'import':
      case 'replica':
      case 'merge':
        if (besideOf(task) !== beside?.subject || (isFineTuned(task) && !tuned)) return false;
        return beside !== undefined || (task.iteration === from?.iteration && task.try === from.try);
      default: return false;
    }
  });
}
