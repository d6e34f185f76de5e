/**
 * What a worker's word must hold to be taken: a result that answers its task, a checkpoint that goes further than the last. A worker of an earlier
 * release leaves out what it did not know, because it did something else: it is found out by that. Pure.
 * Not for: whether the task is still open (decide.ts).
 */
import { AlumnusError, invariant } from '../../proto/errors.ts';
import type { Checkpoint, ReplicaResult, Task, TaskResult, TrainResult, TrainSpec } from '../../proto/gen/alumnus/v1/task.ts';
import { namedOutputs } from '../../proto/outputs.ts';
import type { Recipe } from '../../recipe/index.ts';
import { mustMeasureAsAsked } from './compress.ts';
import { fingerprintProblem } from './near-duplicates.ts';
import { missingCorruption } from './robustness.ts';
import type { RunState } from './state.ts';

/** What a result must hold for its task to be done by it: a student that was compared with nobody must not pass the gate. @throws AlumnusError USAGE */
export function mustAnswer(task: Task, { result }: TaskResult, { labels }: Recipe): void {
  const bad = (what: string): AlumnusError => new AlumnusError('USAGE', what, { where: task.taskId });
  const wanted = task.spec;
  if (result === undefined || result.$case !== wanted?.$case) throw bad(`a ${wanted?.$case ?? 'nameless'} task can't be completed by ${result === undefined ? 'no' : `a ${result.$case}`} result`);
  invariant(result.$case !== 'index', 'no run has tasks that index tars');
  const outputs = namedOutputs(result);
  for (const [, output] of outputs) {
    if (output === undefined || output.sha256 === '') throw bad(`the result names no ${outputs.map(([name]) => name).join(' and ')}`);
    // A task's id covers its inputs: what lies elsewhere may be of another teacher.
    if (!output.key.startsWith(`${task.outputPrefix}/`)) throw bad(`the result names ${output.key}, which is not below ${task.outputPrefix}`);
  }
  if (result.$case === 'replica' && wanted.$case === 'replica' && result.value.steps !== wanted.value.steps) throw bad(`the result is of ${result.value.steps} steps, and the round has ${wanted.value.steps}`);
  if (result.$case === 'merge' && wanted.$case === 'merge' && (result.value.trained !== undefined) !== wanted.value.last) throw bad(wanted.value.last ? 'the result of the last merge holds no model' : 'the result holds a model, and rounds are left');
  mustTrainAsAsked(task, result);
  mustMeasureAsAsked(task, result);
  if (result.$case === 'select' && wanted.$case === 'select' && wanted.value.drift !== undefined && result.value.drift === undefined) throw bad('the result does not compare the labels with those before, as labels.drift asks: the worker is of an earlier release');
  if (result.$case === 'select' && wanted.$case === 'select' && (wanted.value.leftOut !== undefined) !== (result.value.leftOut !== undefined)) throw bad('the result does not say how many labels were left out: the worker is of an earlier release');
  const contradiction = result.$case === 'fingerprint' && wanted.$case === 'fingerprint' ? fingerprintProblem(wanted.value, result.value) : undefined;
  if (contradiction !== undefined) throw bad(contradiction);
  if (result.$case !== 'evaluate' || wanted.$case !== 'evaluate') return;
  if (result.value.validation === undefined) throw bad('the result holds no score on the validation split');
  // A worker of an earlier release counts no predictions by confidence; a threshold can't be chosen from its evaluation.
  if (labels.precision !== undefined && result.value.confidence.reduce((sum, bin) => sum + bin.total, 0) !== result.value.validation.total) throw bad('the result does not count the predictions on validation by confidence, which labels.precision needs');
  const unmeasured = missingCorruption(wanted.value, result.value);
  if (unmeasured !== undefined) throw bad(`the result holds no errors on ${unmeasured} of data.corrupted: the worker is of an earlier release`);
  if (wanted.value.baseline !== undefined && result.value.paired[0] === undefined) throw bad('the result holds no counts against the present teacher');
}

/** The training that a result is of, or a part of one: as it was asked for, and what is told of it. */
function trainingOf({ spec }: Task, result: NonNullable<TaskResult['result']>): { readonly asked: TrainSpec | undefined; readonly told: TrainResult | ReplicaResult } | undefined {
  if (spec?.$case === 'train' && result.$case === 'train') return { asked: spec.value, told: result.value };
  return spec?.$case === 'replica' && result.$case === 'replica' ? { asked: spec.value.train, told: result.value } : undefined;
}

function mustTrainAsAsked(task: Task, result: NonNullable<TaskResult['result']>): void {
  const { asked, told } = trainingOf(task, result) ?? {};
  if (asked === undefined || told === undefined) return;
  const bad = (what: string): AlumnusError => new AlumnusError('USAGE', `${what}: the worker is of an earlier release`, { where: task.taskId });
  const { truth, distill, begin, trainingJson } = asked;
  if (told.truthSha256 !== truth?.sha256) throw bad(`the training learned from ${told.truthSha256 === undefined ? 'the teacher\'s labels' : 'true labels'}, not from ${truth === undefined ? 'those' : 'true ones'}`);
  if (told.distilledSha256 !== distill?.teacher?.sha256) throw bad(`the training distilled ${told.distilledSha256 ?? 'no teacher'}, not ${distill?.teacher?.sha256 ?? 'none'}`);
  if (result.$case !== 'train') return;
  if (result.value.begunSha256 !== begin?.sha256) throw bad(`the training began with ${result.value.begunSha256 ?? 'no model'}, not with ${begin?.sha256 ?? 'none'}`);
  if ('early_stop' in (JSON.parse(trainingJson) as object) && result.value.bestStep === undefined) throw bad('the training measured nothing on images held out, as training.early_stop asks');
}

/** Checkpoints are told again and again, and by any attempt: only what takes the next one further is a fact. @throws AlumnusError USAGE, RUN_CONFLICT */
export function mustBeNewer(state: RunState, task: Task, { step, ref }: Checkpoint): void {
  const bad = (what: string): AlumnusError => new AlumnusError('USAGE', what, { where: task.taskId });
  if (task.spec?.$case !== 'train' && task.spec?.$case !== 'replica') throw bad('only a training has checkpoints');
  // Steps are those of the training, in a round of it, too.
  const first = task.spec.$case === 'replica' ? task.spec.value.firstStep : 0;
  if (!Number.isInteger(step) || step <= first || step > first + task.work) throw bad(`a checkpoint is of step ${first + 1} to ${first + task.work}, not ${step}`);
  if (ref === undefined || ref.sha256 === '' || !ref.key.startsWith(`${task.outputPrefix}/`)) throw bad(`the checkpoint of step ${step} names nothing below ${task.outputPrefix}`);
  const known = state.checkpoints.get(task.taskId)?.[0]?.step ?? 0;
  if (step <= known) throw new AlumnusError('RUN_CONFLICT', `a checkpoint of step ${known} is journalled, and this one is of step ${step}`, { where: task.taskId });
}
