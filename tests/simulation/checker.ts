/**
 * What must hold in every history. Of results the checker keeps its own books (most of them in books/), from the groups as they are written and
 * from what workers are told; who teaches and what is quarantined it takes from the fold of those groups.
 *
 * Invariants (S: stays on in production as an assertion, in the file named):
 *   I1  Groups follow one another without gaps, and terms never go back; a term is begun once. (S: fold.ts, journal/)
 *   I2  A task is accepted once, was handed out before, and a run that ended takes nothing more, unless a person has it tried again; none is given up for the store. (S: run/decide.ts)
 *   I3  A shard has one accepted label by one teacher.
 *   I4  What a selection or a training reads are the accepted labels of its teacher, each once, and nothing else; only quarantined shards are left out. What a student
 *       distills from store are those of all its labeled shards. Fine-tuning begins with the model that was accepted of its own training.
 *   I5  Who is told that a result counts: it is written by then, and is that result.
 *   I6  A task has at most two leases, of two workers; a worker no more than it has slots. (S: scheduler/)
 *   I7  A leader's state is the fold of its journal, whether it came by groups or by a snapshot; a new one knows all that is written.
 *   I8  No lease is granted while another holds the leader's entry, nor of a run that is paused. (simulate.ts; S: leader.ts)
 *   I9  A manifest lies in the store before the journal names it, names the one before, and all of a run's manifests together are the journal's facts of the run up to there.
 *   I10 After a loss and a reconcile every result that a worker was told counts is accepted again, with its digest (no plan that loses the journal has workers whose results differ: the bucket can't tell which counted); but in runs that went on
 *       before anybody reconciled them, and where its task was given up meanwhile.
 *   I11 When faults have stopped every run ends, and ends as it would have undisturbed. (simulate.ts)
 *   I12 A coordinator of an older release never leads a journal that holds what a newer one wrote. (simulate.ts; S: journal/)
 *   I13 A checkpoint lies in the store before the journal names it, and takes its training further than the one before. What a training is handed
 *       are journalled checkpoints of its own, newest first; it begins at one of them or anew. (S: run/decide.ts, worker/tasks)
 *   I14 Rounds of a shared training follow one another, each closed with at least its quorum of replicas, all of them accepted. (S: run/rounds.ts)
 *   I15 No place in the order of the data is used twice in a shared training. A replica begins with what the merge before wrote, and with the optimizer's state of a
 *       replica that was merged there; a merge takes the replicas that its round was closed with, and what the merge before wrote. Of one left out nothing is used.
 *   I16 A shared training is done with exactly ceil(steps / H) merges, and not before.
 *   I17 What judges is fingerprinted once, and each shard is looked through once, against just that. Nothing is selected from a shard that was not, and each selection leaves out all near-duplicates that were found.
 *   I18 A person's labels are taken once, for the iterations after the one under way, and are written by the time that the person is told so. From then on selections leave these images out, and
 *       students have each of them once, labeled; who learns from labeled images alone beside the stages has what was submitted. (S: run/reviews.ts)
 *   I19 Who is promoted is the iteration's own student, trained once, evaluated once, and paired with its own teacher. What trains beside the stages never is; a comparison is paired with the
 *       last student once the last gate is decided; and by the run's end each is evaluated, given up, or left out since its labels never came.
 *   I20 By the run's end each model that `compress` asks about is measured once, in all the ways that were asked for and when all trainings are over, or given up; what is chosen is the smallest that keeps enough.
 */
import { isDeepStrictEqual } from 'node:util';
import { RunData, type Event, type EventGroup, type TaskPlace } from '../../proto/gen/alumnus/v1/events.ts';
import { MeasureResult, Stage, type Task, type TaskResult } from '../../proto/gen/alumnus/v1/task.ts';
import type { Leader } from '../../coordinator/leader.ts';
import { besideOf, measuredOf, partOf } from '../../proto/subjects.ts';
import { dataRefOf, evolve, hydrated, type RunState } from '../../coordinator/run/index.ts';
import { Checkpoints } from './books/checkpoints.ts';
import { Labels } from './books/labels.ts';
import { LeftOut } from './books/left-out.ts';
import { Manifests } from './books/manifests.ts';
import { Measurements } from './books/measurements.ts';
import { Models } from './books/models.ts';
import { SharedTrainings, type SharedRound } from './books/shared-trainings.ts';
import type { MemoryStore } from './store.ts';
import { must, Violation } from './violation.ts';
import type { World } from './world.ts';

const LEASES_PER_TASK_MAX = 2;

/** A state as plain data, its maps in order of their keys. */
export function plain(state: object | undefined): unknown {
  return JSON.parse(JSON.stringify(state, (_, value: unknown) => {
    if (value === null || typeof value !== 'object' || Array.isArray(value)) return value;
    return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
  }) ?? 'null');
}

interface Accepted {
  readonly workerId: string;
  readonly sha256: string;
}

export class Checker {
  readonly #world: World;
  /** Every task that was ever handed to a worker, by id. */
  readonly #tasks = new Map<string, Task>();
  readonly #accepted = new Map<string, Accepted>();
  readonly #ended = new Set<string>();
  readonly #adopted = new Set<string>();
  readonly #doubled = new Set<string>();
  /** The fold of what is written, after each sequence. */
  readonly #folds = new Map<number, ReadonlyMap<string, RunState>>([[0, new Map()]]);
  #lastSequence = 0;
  #lastTerm = 0;
  /** Results that a worker was told count, by task. */
  readonly #told = new Map<string, string>();
  readonly #labels: Labels;
  readonly #leftOut: LeftOut;
  readonly #models: Models;
  readonly #measurements: Measurements;
  readonly #manifests: Manifests;
  readonly #checkpoints: Checkpoints;
  readonly #sharedTrainings: SharedTrainings;
  readonly #knownRuns = new Set<string>();
  readonly #groups: EventGroup[] = [];
  /** Runs that took facts after a loss while nobody reconciled: theirs is another branch, whatever the bucket says of the first. */
  readonly #wentOn = new Set<string>();
  #lost = false;
  #reconciling = false;
  readonly #store: MemoryStore;
  readonly #term: () => number;

  /** @param term the newest. */
  constructor(world: World, store: MemoryStore, term: () => number) {
    this.#world = world;
    this.#store = store;
    this.#labels = new Labels(world);
    this.#leftOut = new LeftOut(world);
    this.#models = new Models(world);
    this.#measurements = new Measurements(world, this.#models);
    this.#manifests = new Manifests(store);
    this.#checkpoints = new Checkpoints(store);
    this.#sharedTrainings = new SharedTrainings(world);
    this.#term = term;
  }

  state(runId: string): RunState | undefined {
    return this.#folds.get(this.#lastSequence)?.get(runId);
  }

  written(group: EventGroup): void {
    must(group.term > this.#lastTerm || (group.events.length > 0 && group.term === this.#lastTerm), `a group of term ${group.term} was written after term ${this.#lastTerm}`);
    this.#lastTerm = group.term;
    this.#groups.push(group);
    must(group.firstSequence === this.#lastSequence + 1, `sequence ${group.firstSequence} was written after ${this.#lastSequence}`);
    const states = new Map(this.#folds.get(this.#lastSequence));
    for (const event of group.events) {
      this.#fact(event, states.get(event.runId));
      this.#knownRuns.add(event.runId);
      this.#manifests.written(event);
      if (this.#lost && !this.#reconciling) this.#wentOn.add(event.runId);
      states.set(event.runId, evolve(states.get(event.runId), this.#hydrated(event)));
    }
    this.#lastSequence += group.events.length;
    this.#folds.set(this.#lastSequence, states);
  }

  /** A submission's data lies in the store before anyone journals the fact that names it. */
  #hydrated(event: Event): Event {
    const ref = dataRefOf(event);
    if (ref === undefined) return event;
    must(event.fact?.$case === 'runSubmitted' && event.fact.value.data === undefined, `the submission of ${event.runId} is journalled with its data and with a reference to it`);
    const held = this.#store.objects.get(ref.key);
    if (held === undefined) throw new Violation(`the data of ${event.runId} is named by a fact and not in the store`);
    this.#world.count('branch: a submission names its data by digest');
    return hydrated(event, RunData.decode(held.content));
  }

  #fact({ runId, fact }: Event, before: RunState | undefined): void {
    // Its last manifest is told behind the end that it holds.
    if (fact?.$case === 'runRetried') this.#ended.delete(runId);
    must(!this.#ended.has(runId) || fact?.$case === 'manifestWritten', `run ${runId} ended and took ${fact?.$case}`);
    switch (fact?.$case) {
      case 'taskCompleted': {
        const { place, result, workerId } = fact.value;
        const taskId = place?.taskId ?? '';
        must(!this.#accepted.has(taskId), `task ${taskId} was accepted twice`);
        const task = this.#tasks.get(taskId);
        must(task !== undefined, `task ${taskId} was accepted and never handed out`);
        this.#accepted.set(taskId, { workerId, sha256: digestOf(result) });
        if (task !== undefined) for (const book of [this.#labels, this.#leftOut, this.#models, this.#measurements]) book.accepted(task, result?.result);
        if (before?.phase === 'paused') this.#world.count('branch: a result is taken while paused');
        if (place !== undefined && before !== undefined) this.#sharedTrainings.part(runId, place, result?.result, before);
        break;
      }
      case 'checkpointReached': {
        const { place, checkpoint } = fact.value;
        const taskId = place?.taskId ?? '';
        const task = this.#tasks.get(taskId);
        if (task === undefined || checkpoint === undefined) throw new Violation(`a checkpoint of ${taskId} was journalled, which was never handed out`);
        must(!this.#accepted.has(taskId), `a checkpoint of ${taskId} was journalled after its end`);
        this.#checkpoints.written(task, checkpoint);
        this.#world.count('branch: a checkpoint is journalled');
        break;
      }
      case 'roundOpened': this.#sharedTrainings.opened(runId, fact.value, before); break;
      case 'roundClosed': this.#sharedTrainings.closed(runId, fact.value, before); break;
      case 'taskQuarantined':
        must(!fact.value.reason.includes('the last with STORE_'), `${fact.value.place?.taskId} was given up for the store: ${fact.value.reason}`);
        this.#checkpoints.givenUp(fact.value.place?.taskId ?? '');
        if (fact.value.place !== undefined) this.#world.count(`branch: ${givenUp(fact.value.place)}`);
        break;
      case 'labelsReviewed': this.#leftOut.reviewed(runId, fact.value, before); break;
      case 'studentPromoted': this.#models.promoted(runId, fact.value, before); break;
      case 'studentRefused':
        this.#world.count(`branch: a student is refused (${before?.recipe.promotion.on_refusal})`);
        break;
      case 'stageEntered':
        if (fact.value.try > 0 && fact.value.stage === Stage.TRAIN) this.#world.count('branch: another try');
        if (fact.value.stage === Stage.LABEL && before !== undefined && before.iterations[before.iteration]?.decision === 'refused') this.#world.count('branch: labels are kept with their teacher');
        break;
      case 'runPaused':
        if (fact.value.reason.includes('the last with STORE_')) this.#world.count('branch: the run pauses itself (the store)');
        if (fact.value.by === 'alumnus') this.#world.count(`branch: the run pauses itself (${fact.value.rule !== '' ? fact.value.rule : before?.stage === Stage.LABEL ? 'quarantine' : before?.stage === Stage.PROMOTE || before?.stage === Stage.EVALUATE ? 'refusal or evaluation' : 'a model is given up'})`);
        break;
      case 'runSucceeded': case 'runFailed': case 'runCancelled':
        this.#ended.add(runId);
        if (fact.$case === 'runSucceeded' && before !== undefined) {
          this.#models.succeeded(runId, fact.value.bestModel, before);
          this.#measurements.succeeded(before);
        }
        this.#world.count(`branch: a run ends (${fact.$case})`);
        break;
      default:
    }
  }

  /** How a round of a training went; undefined where it was never opened. */
  sharedRound(runId: string, training: TaskPlace, round: number): SharedRound | undefined {
    return this.#sharedTrainings.round(runId, training, round);
  }

  /** Whether the run was ever journalled, also before a loss. */
  knew(runId: string): boolean {
    return this.#knownRuns.has(runId);
  }

  /** The journal's end is another: the books begin again there, and what workers were told stays. */
  rewound(sequence: number, term: number): void {
    const groups = this.#groups.filter((group) => group.firstSequence + group.events.length - 1 <= sequence);
    for (const book of [this.#accepted, this.#labels, this.#leftOut, this.#models, this.#measurements, this.#folds, this.#ended, this.#adopted, this.#manifests, this.#sharedTrainings]) book.clear();
    this.#checkpoints.rewound();
    this.#folds.set(0, new Map());
    this.#groups.length = 0;
    this.#lastSequence = 0;
    this.#lastTerm = 0;
    const { counts } = this.#world;
    const before = new Map(counts);
    for (const group of groups) if (group.term <= term || group.events.length > 0) this.written(group);
    this.#lastTerm = term;
    this.#lost = true;
    this.#wentOn.clear();
    // What is read again happened once.
    counts.clear();
    for (const [what, times] of before) counts.set(what, times);
  }

  /** What is written from now on, or no longer, may be what reconcile brings back. */
  set reconciling(is: boolean) {
    this.#reconciling = is;
  }

  /** I10. @param diverged as reconcile says it. */
  reconciled(diverged: readonly string[]): void {
    this.#lost = false;
    for (const [taskId, sha256] of this.#told) {
      const task = this.#tasks.get(taskId);
      const now = this.state(task?.runId ?? '');
      // A task that was granted again before its record was read may have failed again, and been given up.
      const givenUp = task?.spec?.$case === 'label' ? now?.iterations[task.iteration]?.quarantined.has(task.subject) === true : [now?.control, ...now?.comparisons.values() ?? [], ...now?.measurements.values() ?? []].some((each) => each?.givenUp !== undefined) || now?.iterations[task?.iteration ?? 0]?.auditGivenUp !== undefined;
      // So may a replica, or its round have been closed without it.
      if (task !== undefined && this.#sharedTrainings.isLeftOut(task)) continue;
      const runId = task?.runId ?? '';
      if (!diverged.includes(runId) && !this.#wentOn.has(runId) && !givenUp) must(this.#accepted.get(taskId)?.sha256 === sha256, `${taskId} was acknowledged, and is not known after reconcile`);
    }
  }

  /** A worker is handed a task: what it reads must be what was accepted. */
  handedOut(task: Task, term: number): void {
    this.#tasks.set(task.taskId, task);
    this.#checkpoints.handedOut(task);
    // A deposed leader may still hand out what the run has left behind; its results are not taken any more.
    const state = this.state(task.runId);
    if (term !== this.#term() || state === undefined) return;
    for (const book of [this.#labels, this.#leftOut, this.#models, this.#measurements]) book.handedOut(task, state);
    this.#sharedTrainings.handedOut(task);
  }

  /** A training goes on. @param sha256 of the bytes that it read. */
  resumed(task: Task, step: number, sha256: string): void {
    this.#checkpoints.resumed(task, step, sha256);
  }

  /** The operator is told that labels count. */
  reviewAcknowledged(runId: string, labels: string): void {
    this.#leftOut.acknowledged(runId, labels);
  }

  /** A worker is told that its result counts: it must be written by then, and be that result. */
  acknowledged(taskId: string, workerId: string, sha256: string): void {
    const accepted = this.#accepted.get(taskId);
    must(accepted !== undefined, `${taskId} was acknowledged before it was written`);
    this.#told.set(taskId, sha256);
    must(accepted?.workerId === workerId && accepted.sha256 === sha256, `${taskId} was acknowledged to ${workerId}, and ${accepted?.workerId} had been accepted`);
  }

  isAccepted(taskId: string): boolean {
    return this.#accepted.has(taskId);
  }

  leases(leader: Leader, runIds: readonly string[]): void {
    for (const runId of runIds) {
      for (const { task, leases } of leader.scheduler.tasksOf(runId)) {
        must(leases.length <= LEASES_PER_TASK_MAX, `${task.taskId} has ${leases.length} leases`);
        must(new Set(leases.map((lease) => lease.workerId)).size === leases.length, `${task.taskId} has two leases of one worker`);
        if (leases.length > 1 && !this.#doubled.has(task.taskId)) {
          this.#doubled.add(task.taskId);
          this.#world.count('branch: a second lease');
        }
        for (const { leaseId } of leases) {
          const key = `${leader.term}<${leaseId.term}.${leaseId.counter}`;
          if (leaseId.term === leader.term || this.#adopted.has(key)) continue;
          this.#adopted.add(key);
          this.#world.count('branch: an older term\'s lease is adopted');
        }
      }
    }
    for (const { worker, leases } of leader.scheduler.workers()) must(leases.length <= worker.slots, `${worker.workerId} has ${leases.length} leases in ${worker.slots} slots`);
  }

  /** A leader that never learned of an append's end may know less than what is written, and must know that much exactly. */
  leaderEnds(leader: Leader): void {
    const known = this.#folds.get(leader.sequence);
    must(known !== undefined, `a leader is at sequence ${leader.sequence}, in the middle of a group`);
    this.#same(leader, known ?? new Map());
  }

  leaderBegins(leader: Leader): void {
    this.#same(leader, this.#folds.get(this.#lastSequence) ?? new Map());
    for (const run of leader.runs()) {
      const current = run.iterations[run.iteration];
      for (const [shard, sha256] of this.#labels.of(run.runId, current?.teacher?.sha256 ?? '')) {
        if (current?.teacher === undefined) continue;
        must(current.labels.get(shard)?.labels?.sha256 === sha256, `the accepted label of ${shard} in ${run.runId} was lost or changed`);
      }
    }
  }

  #same(leader: Leader, folds: ReadonlyMap<string, RunState>): void {
    const runs = leader.runs();
    must(runs.length === folds.size, `the leader of term ${leader.term} knows ${runs.length} runs, ${folds.size} are written`);
    // As text first: equal states nearly always print equally, and sorting costs more than all else here.
    for (const run of runs) must(JSON.stringify(run) === JSON.stringify(folds.get(run.runId)) || isDeepStrictEqual(plain(run), plain(folds.get(run.runId))), `the leader of term ${leader.term} holds a state of ${run.runId} that its journal does not give`);
  }
}

function givenUp(place: TaskPlace): string {
  if (place.stage === Stage.LABEL) return 'a shard is quarantined';
  const what = partOf(place) !== undefined ? 'a replica' : measuredOf(place) !== undefined ? 'a measurement' : besideOf(place)?.startsWith('comparison.') === true ? 'a comparison' : place.subject;
  return `${what} is given up`;
}

/** What names a result's content: the digest of its output. */
export function digestOf(done: TaskResult | undefined): string {
  const result = done?.result;
  switch (result?.$case) {
    case 'label': return result.value.labels?.sha256 ?? '';
    case 'select': return result.value.selection?.sha256 ?? '';
    case 'train': return result.value.model?.sha256 ?? '';
    case 'evaluate': return result.value.evaluation?.sha256 ?? '';
    case 'import': return result.value.model?.sha256 ?? '';
    case 'audit': return result.value.audit?.sha256 ?? '';
    case 'replica': return result.value.state?.sha256 ?? '';
    case 'merge': return `${result.value.merged?.sha256 ?? ''}${result.value.trained?.model?.sha256 ?? ''}`;
    case 'fingerprint': return result.value.fingerprints?.sha256 ?? result.value.near?.sha256 ?? '';
    // It has no output: it is all that it says.
    case 'measure': return Buffer.from(MeasureResult.encode(result.value).finish()).toString('base64');
    case 'index':
    case undefined: return '';
  }
}
