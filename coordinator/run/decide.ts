/**
 * decide(state, command, now) -> facts. Pure: no clock, no I/O, no randomness. `respond` turns one command into facts;
 * `consequence` then says, rule by rule, what follows from the state alone (a stage that is complete is left, a student
 * that was evaluated is promoted or refused, …) until nothing does.
 *
 * Invariants:
 *  1. The first accepted completion of a task wins; any later one changes nothing.
 *  2. A student's stage is entered only when each shard of the stage before is accepted or quarantined.
 *  3. Only validation decides. No field of the test split is read here.
 *  4. A run that ended takes no more facts; the leader adds but the one about the manifest that holds its end.
 */
import { AlumnusError, errorTable, exitCode, invariant, isErrorCode } from '../../proto/errors.ts';
import type { Event, RunData, TaskPlace } from '../../proto/gen/alumnus/v1/events.ts';
import { Stage, type ObjectRef, type Task, type TaskResult } from '../../proto/gen/alumnus/v1/task.ts';
import { canonicalJson, type Recipe } from '../../recipe/index.ts';
import { evolve } from './evolve.ts';
import { decideGate } from './gate.ts';
import { currentIteration, isAudit, isControl, isEnded, type Phase, type RunState, type Teacher } from './state.ts';
import { auditWanted, controlWanted, openTasks } from './tasks.ts';

export type Command =
  | { readonly kind: 'submit'; readonly runId: string; readonly recipe: Recipe; readonly data: RunData }
  | { readonly kind: 'complete'; readonly task: Task; readonly workerId: string; readonly result: TaskResult }
  | { readonly kind: 'fail'; readonly task: Task; readonly workerId: string; readonly code: string; readonly message: string; readonly counts: boolean; readonly fleet: number; readonly heldMs: number }
  | { readonly kind: 'pause'; readonly reason: string }
  | { readonly kind: 'resume' }
  | { readonly kind: 'cancel'; readonly reason: string };

type Fact = NonNullable<Event['fact']>;

/** Of a failure's message in the journal: enough to know it by; a native crash can print megabytes. */
const MESSAGE_CHARS_MAX = 2_000;
/** A task that failed this many times as often as it has attempts is given up, on however few workers it failed. */
const ATTEMPTS_FACTOR_MAX = 3;

export const placeOf = (task: Task): TaskPlace => ({ taskId: task.taskId, iteration: task.iteration, stage: task.stage, subject: task.subject, try: task.try });

/** The facts of one command and all that follows from them, in order. @throws AlumnusError RUN_CONFLICT, LEASE_LOST. */
export function decide(state: RunState | undefined, command: Command, nowMs: number): { events: Event[]; state: RunState } {
  const runId = command.kind === 'submit' ? command.runId : state?.runId;
  if (runId === undefined) throw new AlumnusError('RUN_NOT_FOUND', 'there is no such run');
  const events: Event[] = [];
  let next = state;
  const apply = (fact: Fact): void => {
    const event: Event = { runId, atMs: nowMs, fact };
    next = evolve(next, event);
    events.push(event);
  };
  respond(state, command).forEach(apply);
  for (;;) {
    const fact = next === undefined ? undefined : consequence(next);
    if (fact === undefined) break;
    apply(fact);
  }
  if (next === undefined) throw new Error('invariant broken: a command that was taken leaves a run');
  return { events, state: next };
}

function respond(state: RunState | undefined, command: Command): Fact[] {
  if (command.kind === 'submit') {
    if (state !== undefined) throw new AlumnusError('RUN_CONFLICT', 'a run of this id is there already', { where: command.runId });
    return [{ $case: 'runSubmitted', value: { name: command.recipe.name, recipeJson: canonicalJson(command.recipe), data: command.data } }];
  }
  if (state === undefined) throw new AlumnusError('RUN_NOT_FOUND', 'there is no such run');
  const only = (phases: Phase[], wish: string): void => {
    if (!phases.includes(state.phase)) throw new AlumnusError('RUN_CONFLICT', `it is ${state.phase} and cannot be ${wish}`, { where: state.runId });
  };
  switch (command.kind) {
    case 'complete': {
      mustBeOpen(state, command.task);
      mustAnswer(command.task, command.result);
      return [{ $case: 'taskCompleted', value: { place: placeOf(command.task), workerId: command.workerId, result: command.result } }];
    }
    case 'fail': {
      mustBeOpen(state, command.task);
      const { task, workerId, code, counts, fleet, heldMs } = command;
      const message = command.message.slice(0, MESSAGE_CHARS_MAX);
      const failed: Fact = { $case: 'taskFailed', value: { place: placeOf(task), workerId, code, message, counts, heldMs } };
      if (!counts) return [failed];
      const workers = [...(state.failures.get(task.taskId) ?? []).map((failure) => failure.workerId), workerId];
      const distinct = new Set(workers).size;
      const { attempts } = state.recipe.tolerance;
      // N different workers; on a fleet smaller than N there never will be so many, so N times. Workers that live but
      // take nothing (they drain, they train for hours) may leave too few others: that is not waited for without end.
      const givenUp = distinct >= attempts || (fleet < attempts && workers.length >= attempts) || workers.length >= ATTEMPTS_FACTOR_MAX * attempts;
      return givenUp ? [failed, givingUp(task, workers.length, code, message)] : [failed];
    }
    case 'pause':
      only(['running'], 'paused');
      return [{ $case: 'runPaused', value: { reason: command.reason, by: 'operator', rule: '' } }];
    case 'resume':
      only(['paused'], 'resumed');
      return [{ $case: 'runResumed', value: {} }];
    case 'cancel':
      only(['running', 'paused'], 'cancelled');
      return [{ $case: 'runCancelled', value: { reason: command.reason } }];
  }
}

/** A paused run still takes the results of tasks under way, so that no finished work is thrown away. */
function mustBeOpen(state: RunState, task: Task): void {
  if (isEnded(state.phase)) throw new AlumnusError('LEASE_LOST', `the run is ${state.phase}`, { where: state.runId });
  const running: RunState = state.phase === 'running' ? state : { ...state, phase: 'running' };
  if (!isOpen(running, task)) throw new AlumnusError('LEASE_LOST', 'the task is closed: done elsewhere, quarantined or of an earlier try', { where: task.taskId });
}

/** What a result must hold for its task to be done by it: a student that was compared with nobody must not pass the gate. */
function mustAnswer(task: Task, { result }: TaskResult): void {
  const bad = (what: string): AlumnusError => new AlumnusError('USAGE', what, { where: task.taskId });
  const wanted = task.spec;
  if (result === undefined || result.$case !== wanted?.$case) throw bad(`a ${wanted?.$case ?? 'nameless'} task can't be completed by ${result === undefined ? 'no' : `a ${result.$case}`} result`);
  const { output, name } = outputOf(result);
  if (output === undefined || output.sha256 === '') throw bad(`the result names no ${name}`);
  if (result.$case !== 'evaluate' || wanted.$case !== 'evaluate') return;
  if (result.value.validation === undefined) throw bad('the result holds no score on the validation split');
  if (wanted.value.baseline !== undefined && result.value.paired[0] === undefined) throw bad('the result holds no counts against the present teacher');
}

function outputOf(result: NonNullable<TaskResult['result']>): { output: ObjectRef | undefined; name: string } {
  switch (result.$case) {
    case 'label': return { output: result.value.tally === undefined ? undefined : result.value.labels, name: 'labels and tally' };
    case 'select': return { output: result.value.selection, name: 'selection' };
    case 'train': return { output: result.value.model, name: 'model' };
    case 'evaluate': return { output: result.value.evaluation, name: 'evaluation' };
    case 'audit': return { output: result.value.audit, name: 'audit' };
  }
}

/** Whether this very task is still wanted. Constant time for label tasks, of which there are many. */
export function isOpen(state: RunState, task: Task): boolean {
  if (isControl(task)) return controlWanted(state) && openTasks(state).some((open) => open.taskId === task.taskId);
  if (task.iteration !== state.iteration || task.stage !== state.stage) return false;
  if (task.stage === Stage.LABEL) {
    const { labels, quarantined, teacher } = currentIteration(state);
    return task.spec?.$case === 'label' && task.spec.value.teacher?.sha256 === teacher?.sha256 && !labels.has(task.subject) && !quarantined.has(task.subject);
  }
  return openTasks(state).some((open) => open.taskId === task.taskId);
}

/** What is done without a task that keeps failing: shards and reports are left out, a model can't be. */
function givingUp(task: Task, times: number, code: string, message: string): Fact {
  const reason = `${times} attempts failed, the last with ${code}: ${message}`;
  // A full disk or a missing library says nothing about the shard: no data is given up for it.
  const surroundings = isErrorCode(code) && errorTable[code].exit === exitCode.environment;
  const dispensable = task.stage === Stage.LABEL || isControl(task) || isAudit(task);
  if (dispensable && !surroundings) return { $case: 'taskQuarantined', value: { place: placeOf(task), reason } };
  if (code === 'TRAINING_DIVERGED') return { $case: 'runFailed', value: { code, reason: `${task.taskId}: ${reason}` } };
  return { $case: 'runPaused', value: { reason: `${task.taskId}: ${reason}`, by: 'alumnus', rule: '' } };
}

/** The next fact that follows from the state alone; undefined when the run waits for work, for a person, or is over. */
function consequence(state: RunState): Fact | undefined {
  if (state.phase !== 'running') return undefined;
  const { recipe, iteration } = state;
  const current = currentIteration(state);
  const enter = (stage: Stage, attempt: number = state.try, at: number = iteration): Fact => ({ $case: 'stageEntered', value: { iteration: at, stage, try: attempt } });
  switch (state.stage) {
    case Stage.LABEL: {
      const shards = state.data.unlabeled?.shards.length ?? 0;
      const lost = current.quarantined.size;
      // As a quotient: 29 of 50 is a share of 0.58 to the bit, while 0.58 * 50 is less than 29.
      if (shards > 0 && lost / shards > recipe.tolerance.quarantined_share) {
        const [shard = '', why = ''] = [...current.quarantined.entries()][0] ?? [];
        return { $case: 'runPaused', value: { by: 'alumnus', rule: '', reason: `${lost} of ${shards} shards are quarantined, more than the tolerated share of ${recipe.tolerance.quarantined_share}; one is ${shard}: ${why}` } };
      }
      return current.labels.size + lost === shards ? enter(Stage.SELECT) : undefined;
    }
    case Stage.SELECT: {
      const selection = current.selection;
      if (selection === undefined) return undefined;
      const empty = selection.classes.filter((each) => each.eligible === 0).map((each) => state.data.classNames[each.class] ?? String(each.class));
      if (empty.length > 0 && (recipe.labels.balance === 'classes' || empty.length === selection.classes.length)) {
        return { $case: 'runFailed', value: { code: 'LABELS_COLLAPSED', reason: `iteration ${iteration}: no pseudo-label of at least ${recipe.labels.threshold} confidence names ${empty.join(', ')}` } };
      }
      return enter(Stage.TRAIN);
    }
    case Stage.TRAIN: {
      const student = current.student;
      if (student === undefined) return undefined;
      if (state.teacher !== undefined && student.result.parameters < state.teacher.parameters) {
        return { $case: 'runFailed', value: { code: 'RECIPE_LADDER_SHRINKS', reason: `iteration ${iteration}: the student has ${student.result.parameters} parameters, its teacher ${state.teacher.parameters}` } };
      }
      return enter(Stage.EVALUATE);
    }
    case Stage.EVALUATE: {
      const evaluation = current.evaluation;
      if (evaluation === undefined || auditWanted(state)) return undefined;
      const model = current.student?.result.model;
      if (state.teacher === undefined) return { $case: 'studentPromoted', value: { iteration, model, gate: undefined } };
      const [counts] = evaluation.paired;
      invariant(counts !== undefined, 'a student with a teacher is compared with it');
      const { promote, gate } = decideGate(counts, recipe.promotion, state.gates + 1);
      return { $case: promote ? 'studentPromoted' : 'studentRefused', value: { iteration, model, gate } };
    }
    case Stage.PROMOTE:
      return afterDecision(state, enter);
    default:
      return undefined;
  }
}

function afterDecision(state: RunState, enter: (stage: Stage, attempt?: number, iteration?: number) => Fact): Fact | undefined {
  const { recipe, iteration } = state;
  const { decision, gate, acknowledged } = currentIteration(state);
  if (decision === 'refused') {
    const { on_refusal: wish, tries_max: triesMax } = recipe.promotion;
    if (wish === 'retry' && state.try + 1 < triesMax) return enter(Stage.TRAIN, state.try + 1);
    if (wish === 'wait' && acknowledged !== true) {
      return { $case: 'runPaused', value: { by: 'alumnus', rule: '', reason: `iteration ${iteration}: the student was refused (${gate?.reason ?? ''}); resume to go on with the old teacher, or cancel` } };
    }
    if (wish === 'stop') return finish(state);
  }
  if (iteration < recipe.rounds) return enter(Stage.LABEL, 0, iteration + 1);
  return finish(state);
}

/** The run ends with the best model it had, not with the last; the control is waited for. */
function finish(state: RunState): Fact | undefined {
  if (controlWanted(state)) return undefined;
  const best = bestOf(state.promoted);
  if (best === undefined) return { $case: 'runFailed', value: { code: 'INTERNAL', reason: 'no model was promoted' } };
  return { $case: 'runSucceeded', value: { bestModel: best.model, bestIteration: best.iteration } };
}

/** Most validation samples right; of equals the earlier, which is never the larger. */
export function bestOf(promoted: readonly Teacher[]): Teacher | undefined {
  let best: Teacher | undefined;
  for (const each of promoted) if (best === undefined || (each.evaluation.validation?.correct ?? 0) > (best.evaluation.validation?.correct ?? 0)) best = each;
  return best;
}
