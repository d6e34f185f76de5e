/**
 * decide(state, command, now) -> facts. Pure: no clock, no I/O, no randomness. `respond` turns one command into facts;
 * `consequence` then says, rule by rule, what follows from the state alone (a stage that is complete is left, a student
 * that was evaluated is promoted or refused, …) until nothing does.
 *
 * Invariants:
 *  1. The first accepted completion of a task wins; any later one changes nothing.
 *  2. A student's stage is entered only when each shard of the stage before is accepted or quarantined.
 *  3. Only validation decides. No field of the test split is read here.
 *  4. A run that ended takes no more facts but a person's: that it is to be tried again, or to return another model. The leader adds the one about
 *     the manifest that holds its end.
 *  5. A run whose budget is spent waits for nothing: it ends by what is known, or is paused. No resume passes by that.
 */
import { AlumnusError, errorTable, exitCode, invariant, isErrorCode, type ErrorCode } from '../../proto/errors.ts';
import type { Event, RunData } from '../../proto/gen/alumnus/v1/events.ts';
import { Stage, type Checkpoint, type ObjectRef, type Task, type TaskResult } from '../../proto/gen/alumnus/v1/task.ts';
import { isOfLabeled } from '../../proto/subjects.ts';
import { canonicalJson, DEVICE_HOURS_MAX, isImported, WALL_HOURS_MAX, type Recipe } from '../../recipe/index.ts';
import { mustAnswer, mustBeNewer } from './answers.ts';
import { givesUp } from './attempts.ts';
import { besidesOwed } from './beside.ts';
import { isBudgetDue, spentBudget, type SpentBudget } from './budget.ts';
import { chosen, nextTry } from './choose.ts';
import { measurementsOwed } from './compress.ts';
import { thinClasses } from './coverage.ts';
import { labelTotal } from './distill.ts';
import { evolve } from './evolve.ts';
import { candidateOf, fineTunedEvaluationOwed, fineTuneOwed } from './fine-tune.ts';
import { decideGate } from './gate.ts';
import { precisionOutOfReach, skewedLabels, unsupportedConfidence, type GuardPause } from './guards.ts';
import { isFingerprintWanted } from './near-duplicates.ts';
import { reviewed, type Review } from './reviews.ts';
import { corruptionRatio } from './robustness.ts';
import { canDoWithout, roundConsequence, sharedOf } from './rounds.ts';
import { currentIteration, isAudit, isBeside, isCancelling, isEnded, pauseRules, placeOf, type Phase, type RunState, type Teacher } from './state.ts';
import { auditWanted, besideTasks, openTasks, openTrainings } from './tasks.ts';
import { thresholdOf } from './threshold.ts';

export type Command = Said & {
  /** Workers that live now. Absent where whoever says it can't know: then no round opens that depends on it, and no task is given up for their being few. */
  readonly fleet?: number | undefined;
  /** Attempts of the run that are under way. Absent where whoever says it can't know: then nothing that waits for their end follows. */
  readonly leases?: number | undefined;
};

type Said =
  | { readonly kind: 'submit'; readonly runId: string; readonly recipe: Recipe; readonly data: RunData; readonly dataRef?: ObjectRef | undefined; readonly project?: string }
  | { readonly kind: 'complete'; readonly task: Task; readonly workerId: string; readonly result: TaskResult }
  | { readonly kind: 'fail'; readonly task: Task; readonly workerId: string; readonly code: string; readonly message: string; readonly counts: boolean; readonly heldMs: number }
  | { readonly kind: 'checkpoint'; readonly task: Task; readonly workerId: string; readonly checkpoint: Checkpoint }
  | { readonly kind: 'pause'; readonly reason: string }
  /** The run's project has taken all that it may: why, for people. */
  | { readonly kind: 'quota'; readonly reason: string }
  | { readonly kind: 'resume'; readonly inFlightMs?: number }
  /** Limits from now on, in hours, 0: none; what is absent stays. */
  | { readonly kind: 'budget'; readonly deviceHours?: number | undefined; readonly wallHours?: number | undefined; readonly inFlightMs?: number }
  /** Time went on, or the fleet changed: for a run of which `isDue`. `inFlightMs` is the device time of its attempts under way. */
  | { readonly kind: 'clock'; readonly inFlightMs: number }
  /** Labels that a person gave. `behind`: digest of the labels that these were written behind. */
  | { readonly kind: 'review'; readonly review: Review; readonly behind: string }
  /** `cancel` waits for what is under way, `kill` for nothing. */
  | { readonly kind: 'cancel' | 'kill'; readonly reason: string }
  | { readonly kind: 'retry'; readonly by: string }
  /** @see chosen */
  | { readonly kind: 'promote' | 'rollback'; readonly iteration?: number | undefined; readonly reason: string; readonly by: string };

type Fact = NonNullable<Event['fact']>;

/** Of a failure's message in the journal: enough to know it by; a native crash can print megabytes. */
const MESSAGE_CHARS_MAX = 2_000;
/** Classes named in a reason: a line that can be read; the report names all. */
const CLASSES_TOLD_MAX = 5;
/** Workers named in a reason. */
const WORKERS_TOLD_MAX = 5;

/** The facts of one command and all that follows from them, in order. @throws AlumnusError RUN_CONFLICT, BUDGET_SPENT, LEASE_LOST, USAGE. */
export function decide(state: RunState | undefined, command: Command, nowMs: number): { events: Event[]; state: RunState } {
  const runId = command.kind === 'submit' ? command.runId : state?.runId;
  if (runId === undefined) throw new AlumnusError('RUN_NOT_FOUND', 'there is no such run');
  const moment: Moment = { nowMs, inFlightMs: 'inFlightMs' in command ? command.inFlightMs ?? 0 : 0, fleet: command.fleet, leases: command.leases };
  const decided = follow(runId, state, respond(state, command, moment), moment);
  if (command.kind === 'retry' && decided.state.phase === 'failed') {
    throw new AlumnusError('RUN_CONFLICT', `it would fail again at once: ${decided.state.reason}; \`alumnus run resubmit ${runId} --set FIELD=VALUE\` runs a changed recipe`, { where: runId });
  }
  if (decided.state.pauseRule !== pauseRules.budget) return decided;
  if (command.kind === 'resume' || command.kind === 'retry') throw stillSpent(decided.state, moment);
  if (command.kind !== 'complete') return decided;
  // The last result came after the budget was spent: what ends without a device needs no larger one.
  const goneOn = follow(runId, decided.state, [{ $case: 'runResumed', value: {} }], moment);
  return isEnded(goneOn.state.phase) ? { events: [...decided.events, ...goneOn.events], state: goneOn.state } : decided;
}

/** These facts, and those that follow from the state that they leave. */
function follow(runId: string, state: RunState | undefined, facts: readonly Fact[], moment: Moment): { events: Event[]; state: RunState } {
  const events: Event[] = [];
  let next = state;
  const apply = (fact: Fact): void => {
    const event: Event = { runId, atMs: moment.nowMs, fact };
    next = evolve(next, event);
    events.push(event);
  };
  facts.forEach(apply);
  for (;;) {
    const fact = next === undefined ? undefined : consequence(next) ?? roundDue(next, moment) ?? budgetConsequence(next, moment) ?? cancelConsequence(next, moment);
    if (fact === undefined) break;
    apply(fact);
  }
  invariant(next !== undefined, 'a command that was taken leaves a run');
  return { events, state: next };
}

/** What a decision may know besides the state. */
export interface Moment {
  readonly nowMs: number;
  /** Device time of attempts under way; 0 where the command does not tell. */
  readonly inFlightMs: number;
  /** Workers that live now; undefined where the command does not tell. */
  readonly fleet: number | undefined;
  /** Attempts of the run under way; undefined where the command does not tell. */
  readonly leases?: number | undefined;
}

const roundDue = (state: RunState, moment: Moment): Fact | undefined => roundConsequence(state, () => openTrainings(state), moment);

/**
 * Whether a `clock` command would say something now: a budget is spent, a round waited for workers and some are there, a
 * straggler's time is over, or a run that is being cancelled has nothing under way any more. Cheap, so that a leader can ask for each run on each tick.
 */
export const isDue = (state: RunState, moment: Moment): boolean => isBudgetDue(state, moment.nowMs, moment.inFlightMs) || roundDue(state, moment) !== undefined || cancelConsequence(state, moment) !== undefined;

function respond(state: RunState | undefined, command: Command, moment: Moment): Fact[] {
  if (command.kind === 'submit') {
    if (state !== undefined) throw new AlumnusError('RUN_CONFLICT', 'a run of this id is there already', { where: command.runId });
    return [{ $case: 'runSubmitted', value: { name: command.recipe.name, recipeJson: canonicalJson(command.recipe), data: command.data, dataRef: command.dataRef, ...(command.project === undefined ? {} : { project: command.project }) } }];
  }
  if (state === undefined) throw new AlumnusError('RUN_NOT_FOUND', 'there is no such run');
  const only = (phases: Phase[], wish: string): void => {
    if (!phases.includes(state.phase)) throw new AlumnusError('RUN_CONFLICT', `it ${state.phase === 'succeeded' || state.phase === 'failed' ? 'has' : 'is'} ${state.phase} and cannot be ${wish}`, { where: state.runId });
  };
  if (isCancelling(state) && OF_PEOPLE.includes(command.kind)) throw new AlumnusError('RUN_CONFLICT', 'it is being cancelled: what is under way is finished first; `alumnus run kill` does not wait for it', { where: state.runId });
  switch (command.kind) {
    case 'complete': {
      mustBeOpen(state, command.task);
      mustAnswer(command.task, command.result, state.recipe);
      return [{ $case: 'taskCompleted', value: { place: placeOf(command.task), workerId: command.workerId, result: command.result } }];
    }
    case 'fail': {
      mustBeOpen(state, command.task);
      const { task, workerId, code, counts, heldMs } = command;
      // While nobody knows how many workers live, nothing is given up for their being few.
      const { fleet = Infinity } = moment;
      const message = command.message.slice(0, MESSAGE_CHARS_MAX);
      const failed: Fact = { $case: 'taskFailed', value: { place: placeOf(task), workerId, code, message, counts, heldMs } };
      if (!counts) return [failed];
      if (ofTeacher.has(code)) return [failed, { $case: 'runFailed', value: { code, reason: message } }];
      const workers = [...(state.failures.get(task.taskId) ?? []).map((failure) => failure.workerId), workerId];
      const distinct = new Set(workers).size;
      const { attempts } = state.recipe.tolerance;
      // What surrounds one worker (its keys, its disk) says nothing about the others: while they live, it pauses nothing by itself.
      const givenUp = isOfSurroundings(code)
        ? workers.length >= attempts && distinct >= Math.min(attempts, fleet)
        : givesUp(workers, attempts, fleet);
      return givenUp ? [failed, ...givingUp(state, task, workers, code, message)] : [failed];
    }
    case 'checkpoint':
      mustBeOpen(state, command.task);
      mustBeNewer(state, command.task, command.checkpoint);
      return [{ $case: 'checkpointReached', value: { place: placeOf(command.task), workerId: command.workerId, checkpoint: command.checkpoint } }];
    case 'pause':
      only(['running', 'paused'], 'paused');
      if (state.pausedBy === 'operator') throw new AlumnusError('RUN_CONFLICT', `a person paused it already: ${state.reason}`, { where: state.runId });
      // A person's pause takes over: what let a rule's pause go by itself (a larger budget) does not undo a person's word.
      return [{ $case: 'runPaused', value: { reason: state.phase === 'paused' && state.pauseRule !== pauseRules.budget ? `${command.reason}; before that: ${state.reason}` : command.reason, by: 'operator', rule: '' } }];
    case 'quota':
      only(['running'], 'paused for its quota');
      return [{ $case: 'runPaused', value: { reason: command.reason, by: 'alumnus', rule: pauseRules.quota } }];
    case 'resume':
      if (state.phase === 'running') throw new AlumnusError('RUN_CONFLICT', 'it is running already', { where: state.runId });
      only(['paused'], 'resumed');
      return [{ $case: 'runResumed', value: {} }];
    case 'budget':
      only(['running', 'paused'], 'given another budget');
      return budgetChanged(state, command, moment);
    case 'clock':
      // What a tick saw may be over when its turn comes: raised, paused, ended.
      if (!isDue(state, moment)) throw new AlumnusError('RUN_CONFLICT', `it is ${state.phase}, and nothing of it is due`, { where: state.runId });
      return [];
    case 'review':
      only(['running', 'paused'], 'given labels (a dataset can: `alumnus review import --dataset NAME`)');
      return [{ $case: 'labelsReviewed', value: reviewed(state, command.review, command.behind) }];
    case 'cancel':
      only(['running', 'paused'], 'cancelled');
      if (moment.leases === 0) return [{ $case: 'runCancelled', value: { reason: command.reason } }];
      return [{ $case: 'runPaused', value: { reason: command.reason, by: 'operator', rule: pauseRules.cancel } }];
    case 'kill':
      only(['running', 'paused'], 'killed');
      return [{ $case: 'runCancelled', value: { reason: command.reason } }];
    case 'retry':
      if (!hasFailed(state)) throw new AlumnusError('RUN_CONFLICT', 'nothing of it failed or was given up; `alumnus run resubmit` does all of it again, as a new run', { where: state.runId });
      return [{ $case: 'runRetried', value: { by: command.by } }];
    case 'promote':
    case 'rollback': {
      const choice: Fact = { $case: 'modelChosen', value: chosen(state, command.kind, command.iteration, command.reason, command.by) };
      // What it waited for is decided, or gone. A person's own pause and a spent budget stand.
      return state.phase === 'paused' && state.pausedBy !== 'operator' && state.pauseRule !== pauseRules.budget ? [choice, { $case: 'runResumed', value: {} }] : [choice];
    }
  }
}

/** What a run that is being cancelled takes no more of. */
const OF_PEOPLE: readonly Command['kind'][] = ['pause', 'resume', 'budget', 'review', 'cancel', 'retry', 'promote', 'rollback'];

/** A run that is being cancelled ends with its last attempt. */
function cancelConsequence(state: RunState, { leases }: Moment): Fact | undefined {
  return isCancelling(state) && leases === 0 ? { $case: 'runCancelled', value: { reason: state.reason } } : undefined;
}

/** Whether there is something that `retry` tries again. What was quarantined in a stage that is over stays so: another go would throw away what was made of the rest. */
export function hasFailed(state: RunState): boolean {
  const { phase, control, comparisons, measurements, rounds, stage } = state;
  const { quarantined, auditGivenUp } = currentIteration(state);
  return phase === 'failed' || phase === 'cancelled' || (stage === Stage.LABEL && quarantined.size > 0) || auditGivenUp !== undefined
    || [control, ...comparisons.values(), ...measurements.values()].some(({ givenUp }) => givenUp !== undefined)
    || [...rounds.values()].some(({ current }) => (current?.givenUp.size ?? 0) > 0);
}

/** New limits; a run that the old ones paused goes on where nothing is spent any more, and is told afresh why not where it is. */
function budgetChanged(state: RunState, wish: { readonly deviceHours?: number | undefined; readonly wallHours?: number | undefined }, moment: Moment): Fact[] {
  const { deviceHours = state.budget.deviceHours, wallHours = state.budget.wallHours } = wish;
  if (wish.deviceHours === undefined && wish.wallHours === undefined) throw new AlumnusError('USAGE', 'a budget is changed by device hours, wall hours or both', { where: state.runId });
  for (const [name, hours, max] of [['device', deviceHours, DEVICE_HOURS_MAX], ['wall', wallHours, WALL_HOURS_MAX]] as const) {
    if (!(hours >= 0 && hours <= max)) throw new AlumnusError('USAGE', `${name} hours are a number from 0 (no limit) to ${max}`, { where: state.runId });
  }
  const changed: Fact = { $case: 'budgetChanged', value: { deviceHours, wallHours } };
  if (state.pauseRule !== pauseRules.budget) return [changed];
  const spent = spentBudget({ ...state, budget: { ...state.budget, deviceHours, wallHours } }, moment.nowMs, moment.inFlightMs);
  return [changed, spent === undefined ? { $case: 'runResumed', value: {} } : pausedByBudget(spent)];
}

const pausedByBudget = ({ what, raise }: SpentBudget): Fact =>
  ({ $case: 'runPaused', value: { by: 'alumnus', rule: pauseRules.budget, reason: `${what}; \`${raise}\` raises it, and the run goes on` } });

function stillSpent(state: RunState, { nowMs, inFlightMs }: Moment): AlumnusError {
  const spent = spentBudget(state, nowMs, inFlightMs);
  invariant(spent !== undefined, 'a run is paused for its budget only where that is spent');
  return new AlumnusError('BUDGET_SPENT', `it cannot be resumed: ${spent.what}; raise it with \`${spent.raise}\``, { where: state.runId });
}

/**
 * A run that waits for work and has nothing left to spend is paused. It comes after every other rule: what follows
 * without a device (a promotion, the end) still follows, so that no finished work waits for money.
 */
function budgetConsequence(state: RunState, { nowMs, inFlightMs }: Moment): Fact | undefined {
  if (state.phase !== 'running') return undefined;
  const spent = spentBudget(state, nowMs, inFlightMs);
  return spent === undefined ? undefined : pausedByBudget(spent);
}

/** A paused run still takes the results of tasks under way, so that no finished work is thrown away. */
function mustBeOpen(state: RunState, task: Task): void {
  if (isEnded(state.phase)) throw new AlumnusError('LEASE_LOST', `the run is ${state.phase}`, { where: state.runId });
  const running: RunState = state.phase === 'running' ? state : { ...state, phase: 'running' };
  if (!isOpen(running, task)) throw new AlumnusError('LEASE_LOST', 'the task is closed: done elsewhere, quarantined or of an earlier try', { where: task.taskId });
}

/** Whether this very task is still wanted. Does not derive the tasks of shards, of which there are many. */
export function isOpen(state: RunState, task: Task): boolean {
  if (isBeside(task)) return state.phase === 'running' && besideTasks(state).some((open) => open.taskId === task.taskId);
  if (task.iteration !== state.iteration || task.stage !== state.stage) return false;
  if (task.stage === Stage.LABEL) {
    const { labels, quarantined, teacher } = currentIteration(state);
    return task.spec?.$case === 'label' && task.spec.value.teacher?.sha256 === teacher?.sha256 && !labels.has(task.subject) && !quarantined.has(task.subject);
  }
  if (task.spec?.$case === 'fingerprint') return state.phase === 'running' && isFingerprintWanted(state, task.subject, task.spec.value);
  return openTasks(state).some((open) => open.taskId === task.taskId);
}

/** A full disk, a missing library, a store that is away or another's: they say nothing about the shard. */
const isOfSurroundings = (code: string): boolean => isErrorCode(code) && (code === 'BUCKET_NOT_FOUND' || errorTable[code].exit === exitCode.environment || errorTable[code].exit === exitCode.unreachable);

/** What is wrong with a teacher from elsewhere is wrong on every worker, and nothing can go on without it. */
const ofTeacher: ReadonlySet<string> = new Set<ErrorCode>(['TEACHER_NOT_FOUND', 'TEACHER_UNREADABLE', 'TEACHER_UNSUITABLE']);

function workersNamed(workers: readonly string[]): string {
  const names = [...new Set(workers)];
  const more = names.length > WORKERS_TOLD_MAX ? ` and ${names.length - WORKERS_TOLD_MAX} more` : '';
  return `${names.length === 1 ? 'worker' : 'workers'} ${names.slice(0, WORKERS_TOLD_MAX).join(', ')}${more}`;
}

/** What is done without a task that keeps failing: shards and reports are left out, a model can't be. No data is given up for what its surroundings did. */
function givingUp(state: RunState, task: Task, workers: readonly string[], code: string, message: string): Fact[] {
  const reason = `${workers.length} attempts failed on ${workersNamed(workers)}, the last with ${code}: ${message}`;
  const place = placeOf(task);
  if (canDoWithout(state, place) && !isOfSurroundings(code)) return [{ $case: 'taskQuarantined', value: { place, reason } }];
  const dispensable = (task.stage === Stage.LABEL && !isOfLabeled(task)) || isBeside(task) || isAudit(task);
  // A part that its round can't do without takes its whole training along.
  if (dispensable && !isOfSurroundings(code)) return [{ $case: 'taskQuarantined', value: { place: sharedOf(state, place)?.training ?? place, reason } }];
  if (code === 'TRAINING_DIVERGED') return [{ $case: 'runFailed', value: { code, reason: `${task.taskId}: ${reason}` } }];
  // Why it is paused already, and by what rule it goes on, stands.
  return state.phase === 'paused' ? [] : [{ $case: 'runPaused', value: { reason: `${task.taskId}: ${reason}`, by: 'alumnus', rule: '' } }];
}

/** The next fact that follows from the state alone; undefined when the run waits for work, for a person, or is over. */
function consequence(state: RunState): Fact | undefined {
  if (state.phase !== 'running') return undefined;
  const { recipe, iteration } = state;
  const current = currentIteration(state);
  const enter = (stage: Stage, attempt: number = state.try, at: number = iteration): Fact => ({ $case: 'stageEntered', value: { iteration: at, stage, try: attempt } });
  switch (state.stage) {
    case Stage.LABEL: {
      const unreached = precisionOutOfReach(state);
      if (unreached !== undefined) return pausedByGuard(unreached);
      const shards = state.data.unlabeled?.shards.length ?? 0;
      const lost = current.quarantined.size;
      // As a quotient: 29 of 50 is a share of 0.58 to the bit, while 0.58 * 50 is less than 29.
      if (shards > 0 && lost / shards > recipe.tolerance.quarantined_share) {
        const [shard = '', why = ''] = [...current.quarantined.entries()][0] ?? [];
        return { $case: 'runPaused', value: { by: 'alumnus', rule: '', reason: `${lost} of ${shards} shards are quarantined, more than the tolerated share of ${recipe.tolerance.quarantined_share}; one is ${shard}: ${why}` } };
      }
      return current.labels.size + lost === labelTotal(state) ? enter(Stage.SELECT) : undefined;
    }
    case Stage.SELECT: {
      const selection = current.selection;
      if (selection === undefined) return undefined;
      const empty = selection.classes.filter((each) => each.eligible === 0).map((each) => state.data.classNames[each.class] ?? String(each.class));
      if (empty.length > 0 && (recipe.labels.balance === 'classes' || empty.length === selection.classes.length)) {
        return { $case: 'runFailed', value: { code: 'LABELS_COLLAPSED', reason: `iteration ${iteration}: no pseudo-label of at least ${thresholdOf(state).confidence} confidence names ${empty.join(', ')}` } };
      }
      const thin = lowCoverage(state);
      if (thin !== undefined) return thin;
      const skewed = skewedLabels(state);
      return skewed === undefined ? enter(Stage.TRAIN) : pausedByGuard(skewed);
    }
    case Stage.TRAIN: {
      const student = current.student;
      if (student === undefined) return undefined;
      // A teacher from elsewhere may be compressed into a smaller student; that is told (`runView`), not refused. One that is distilled may, too.
      if (recipe.training.distill === undefined && state.teacher !== undefined && !isImported(recipe, state.teacher.iteration) && student.result.parameters < state.teacher.parameters) {
        return { $case: 'runFailed', value: { code: 'RECIPE_LADDER_SHRINKS', reason: `iteration ${iteration}: the student has ${student.result.parameters} parameters, its teacher ${state.teacher.parameters}` } };
      }
      return fineTuneOwed(state, { ...current, trained: student }) ? undefined : enter(Stage.EVALUATE);
    }
    case Stage.EVALUATE: {
      const { trained, evaluation } = candidateOf(state, current);
      if (evaluation === undefined || current.evaluation === undefined || fineTunedEvaluationOwed(state, current) || auditWanted(state)) return undefined;
      const model = trained?.result.model;
      const doubt = unsupportedConfidence(state);
      if (state.teacher === undefined) return doubt === undefined ? { $case: 'studentPromoted', value: { iteration, model, gate: undefined } } : pausedByGuard(doubt);
      const [counts] = evaluation.paired;
      invariant(counts !== undefined, 'a student with a teacher is compared with it');
      const { promote, gate } = decideGate(counts, recipe.promotion, state.gates + 1, corruptionRatio(state, evaluation));
      // Who is refused writes no labels: nobody need see it.
      if (promote && doubt !== undefined) return pausedByGuard(doubt);
      return { $case: promote ? 'studentPromoted' : 'studentRefused', value: { iteration, model, gate } };
    }
    case Stage.PROMOTE:
      return afterDecision(state, enter);
    default:
      return undefined;
  }
}

const pausedByGuard = ({ rule, reason }: GuardPause): Fact => ({ $case: 'runPaused', value: { by: 'alumnus', rule, reason } });

/**
 * Labels of lost shards may be missed by some classes more than by others: then a person decides. Whoever resumes goes on
 * with what there is. The shards had all their attempts already, and another go would throw the selection away.
 */
function lowCoverage(state: RunState): Fact | undefined {
  const { quarantined, selection, coverageAcknowledged } = currentIteration(state);
  if (quarantined.size === 0 || selection === undefined || coverageAcknowledged === true) return undefined;
  const { thin, need } = thinClasses(selection.classes, state.recipe);
  if (thin.length === 0) return undefined;
  const told = thin.slice(0, CLASSES_TOLD_MAX).map((each) => `${state.data.classNames[each.class] ?? each.class} ${each.eligible}`);
  const more = thin.length > told.length ? ` and ${thin.length - told.length} more` : '';
  const reason = `iteration ${state.iteration}: ${quarantined.size === 1 ? 'a shard is' : `${quarantined.size} shards are`} quarantined, and ${thin.length === 1 ? 'a class has' : `${thin.length} classes have`} fewer than the ${need} labels that tolerance.class_coverage asks for: ${told.join(', ')}${more}; resume to go on with these, or cancel`;
  return { $case: 'runPaused', value: { by: 'alumnus', rule: pauseRules.coverage, reason } };
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
  if (iteration < recipe.rounds) return enter(Stage.LABEL, nextTry(state, iteration + 1), iteration + 1);
  return finish(state);
}

/** The run ends with the best model it had, not with the last; what trains beside the stages, and what is measured after it, is waited for. */
function finish(state: RunState): Fact | undefined {
  if (besidesOwed(state).length > 0 || measurementsOwed(state).length > 0) return undefined;
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
