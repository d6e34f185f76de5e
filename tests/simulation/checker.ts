/**
 * What must hold in every history. Of results the checker keeps its own books, from the groups as they are written and
 * from what workers are told; who teaches and what is quarantined it takes from the fold of those groups.
 *
 * Invariants (S: stays on in production as an assertion, in the file named):
 *   I1  Groups follow one another without gaps, and terms never go back; a term is begun once. (S: fold.ts, journal/)
 *   I2  A task is accepted once, was handed out before, and a run that ended takes nothing more; none is given up for the store. (S: run/decide.ts)
 *   I3  A shard has one accepted label by one teacher.
 *   I4  What a selection or a training reads are the accepted labels of its teacher, each once, and nothing else; only quarantined shards are left out.
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
 */
import { isDeepStrictEqual } from 'node:util';
import { Event, RunData, type EventGroup, type RoundClosed, type RoundOpened, type TaskPlace } from '../../proto/gen/alumnus/v1/events.ts';
import { RunManifest } from '../../proto/gen/alumnus/v1/record.ts';
import { Stage, type LabeledShard, type Task, type TaskResult } from '../../proto/gen/alumnus/v1/task.ts';
import type { Leader } from '../../coordinator/leader.ts';
import { partOf } from '../../proto/subjects.ts';
import { dataRefOf, evolve, hydrated, isBeside, isFineTuned, type RunState } from '../../coordinator/run/index.ts';
import type { Plan } from './plan.ts';
import type { MemoryStore } from './store.ts';
import type { World } from './world.ts';

const LEASES_PER_TASK_MAX = 2;

export class Violation extends Error {}

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

/** A round of a student's training, as the journal has it. */
export interface StudentRound {
  readonly replicas: number;
  /** Absent while it is open. */
  included?: readonly number[];
}

/** Of a training that is shared: what was journalled of it, and which places of the data were handed out. */
interface SharedBook {
  readonly rounds: StudentRound[];
  /** Accepted states, by `round.replica`. */
  readonly states: Map<string, string>;
  /** What each round's merge wrote. */
  readonly merged: string[];
  readonly places: Map<number, { readonly taskId: string; readonly end: number }>;
}

const bookKey = (runId: string, { iteration, try: attempt }: Pick<TaskPlace, 'iteration' | 'try'>, training: string): string => `${runId} i${iteration} ${training} t${attempt}`;

export class Checker {
  readonly #world: World;
  readonly #plan: Plan;
  /** Every task that was ever handed to a worker, by id. */
  readonly #tasks = new Map<string, Task>();
  readonly #accepted = new Map<string, Accepted>();
  /** Accepted labels by run, teacher and shard. */
  readonly #labels = new Map<string, Map<string, string>>();
  readonly #ended = new Set<string>();
  readonly #adopted = new Set<string>();
  readonly #doubled = new Set<string>();
  /** The fold of what is written, after each sequence. */
  readonly #folds = new Map<number, ReadonlyMap<string, RunState>>([[0, new Map()]]);
  #lastSequence = 0;
  #lastTerm = 0;
  /** A run's facts since its last manifest, and how many it and those before it hold. */
  readonly #pending = new Map<string, Event[]>();
  readonly #manifests = new Map<string, { sha256: string; number: number; facts: number }>();
  /** Results that a worker was told count, by task. */
  readonly #told = new Map<string, string>();
  /** Checkpoints that were ever journalled, by task, and how far the task came in the journal of now. */
  readonly #checkpoints = new Map<string, Set<string>>();
  readonly #reached = new Map<string, number>();
  readonly #shared = new Map<string, SharedBook>();
  readonly #knownRuns = new Set<string>();
  readonly #groups: EventGroup[] = [];
  /** Runs that took facts after a loss while nobody reconciled: theirs is another branch, whatever the bucket says of the first. */
  readonly #wentOn = new Set<string>();
  #lost = false;
  #reconciling = false;
  readonly #store: MemoryStore;

  readonly #term: () => number;

  /** @param term the newest. */
  constructor(world: World, plan: Plan, store: MemoryStore, term: () => number) {
    this.#world = world;
    this.#plan = plan;
    this.#store = store;
    this.#term = term;
  }

  state(runId: string): RunState | undefined {
    return this.#folds.get(this.#lastSequence)?.get(runId);
  }

  written(group: EventGroup): void {
    this.#must(group.term > this.#lastTerm || (group.events.length > 0 && group.term === this.#lastTerm), `a group of term ${group.term} was written after term ${this.#lastTerm}`);
    this.#lastTerm = group.term;
    this.#groups.push(group);
    this.#must(group.firstSequence === this.#lastSequence + 1, `sequence ${group.firstSequence} was written after ${this.#lastSequence}`);
    const states = new Map(this.#folds.get(this.#lastSequence));
    for (const event of group.events) {
      this.#fact(event, states.get(event.runId));
      this.#manifest(event);
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
    this.#must(event.fact?.$case === 'runSubmitted' && event.fact.value.data === undefined, `the submission of ${event.runId} is journalled with its data and with a reference to it`);
    const held = this.#store.objects.get(ref.key);
    if (held === undefined) throw new Violation(`the data of ${event.runId} is named by a fact and not in the store`);
    this.#world.count('branch: a submission names its data by digest');
    return hydrated(event, RunData.decode(held.content));
  }

  #fact({ runId, fact }: Event, before: RunState | undefined): void {
    // Its last manifest is told behind the end that it holds.
    this.#must(!this.#ended.has(runId) || fact?.$case === 'manifestWritten', `run ${runId} ended and took ${fact?.$case}`);
    switch (fact?.$case) {
      case 'taskCompleted': {
        const { place, result, workerId } = fact.value;
        const taskId = place?.taskId ?? '';
        this.#must(!this.#accepted.has(taskId), `task ${taskId} was accepted twice`);
        const task = this.#tasks.get(taskId);
        this.#must(task !== undefined, `task ${taskId} was accepted and never handed out`);
        this.#accepted.set(taskId, { workerId, sha256: digestOf(result) });
        if (result?.result?.$case === 'label' && task?.spec?.$case === 'label') {
          const labels = this.#labelsOf(runId, task.spec.value.teacher?.sha256 ?? '');
          const shard = task.spec.value.shard?.name ?? '';
          this.#must(!labels.has(shard), `shard ${shard} has two accepted labels by one teacher in ${runId}`);
          this.#must(result.result.value.labels?.key.startsWith(`${task.outputPrefix}/`) === true, `${taskId} was completed with labels of another task: ${result.result.value.labels?.key}`);
          labels.set(shard, result.result.value.labels?.sha256 ?? '');
        }
        if (before?.phase === 'paused') this.#world.count('branch: a result is taken while paused');
        if (place !== undefined && before !== undefined) this.#part(runId, place, result?.result, before);
        break;
      }
      case 'checkpointReached': {
        const { place, checkpoint } = fact.value;
        const [taskId, step, ref] = [place?.taskId ?? '', checkpoint?.step ?? 0, checkpoint?.ref];
        this.#must(this.#tasks.has(taskId), `a checkpoint of ${taskId} was journalled, which was never handed out`);
        this.#must(!this.#accepted.has(taskId), `a checkpoint of ${taskId} was journalled after its end`);
        this.#must(step > (this.#reached.get(taskId) ?? 0), `the checkpoint of step ${step} of ${taskId} was journalled after that of step ${this.#reached.get(taskId)}`);
        this.#must(this.#store.bornMs.has(ref?.key ?? '') && ref?.key.startsWith(`${this.#tasks.get(taskId)?.outputPrefix}/`) === true, `the checkpoint of step ${step} of ${taskId} is journalled and was never in the store`);
        this.#reached.set(taskId, step);
        this.#checkpoints.set(taskId, (this.#checkpoints.get(taskId) ?? new Set()).add(`${step} ${ref?.sha256}`));
        this.#world.count('branch: a checkpoint is journalled');
        break;
      }
      case 'roundOpened': this.#opened(runId, fact.value, before); break;
      case 'roundClosed': this.#closed(runId, fact.value, before); break;
      case 'taskQuarantined':
        this.#must(!fact.value.reason.includes('the last with STORE_'), `${fact.value.place?.taskId} was given up for the store: ${fact.value.reason}`);
        this.#reached.delete(fact.value.place?.taskId ?? '');
        this.#world.count(`branch: ${fact.value.place?.stage === Stage.LABEL ? 'a shard is quarantined' : `${fact.value.place !== undefined && partOf(fact.value.place) !== undefined ? 'a replica' : fact.value.place?.subject} is given up`}`);
        break;
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
        this.#world.count(`branch: a run ends (${fact.$case})`);
        break;
      default:
    }
  }

  #book(runId: string, place: Pick<TaskPlace, 'iteration' | 'try'>, training: string): SharedBook {
    const key = bookKey(runId, place, training);
    const book: SharedBook = this.#shared.get(key) ?? { rounds: [], states: new Map(), merged: [], places: new Map() };
    this.#shared.set(key, book);
    return book;
  }

  /** How a student's round went; undefined where it was never opened. */
  studentRound(runId: string, iteration: number, attempt: number, round: number): StudentRound | undefined {
    return this.#shared.get(bookKey(runId, { iteration, try: attempt }, 'student'))?.rounds[round];
  }

  #opened(runId: string, { training, round, replicas }: RoundOpened, before: RunState | undefined): void {
    const book = this.#book(runId, training as TaskPlace, training?.subject ?? '');
    const wish = before?.recipe.training.replicas;
    this.#must(before?.phase === 'running', `round ${round} of ${training?.taskId} was opened while its run was ${before?.phase}`);
    this.#must(round === book.rounds.length && round === book.merged.length, `round ${round} of ${training?.taskId} was opened after ${book.rounds.length} rounds and ${book.merged.length} merges`);
    this.#must(wish === 'auto' ? replicas >= 1 && replicas <= 64 : replicas === wish, `round ${round} of ${training?.taskId} was opened with ${replicas} replicas, and the recipe has ${wish}`);
    const last = book.rounds.at(-1)?.replicas ?? replicas;
    if (replicas > last) this.#world.count('branch: a shared training grows');
    if (replicas < last) this.#world.count('branch: a shared training shrinks');
    if (replicas === 1) this.#world.count('branch: a round of one replica');
    book.rounds.push({ replicas });
  }

  #closed(runId: string, { training, round, replicas }: RoundClosed, before: RunState | undefined): void {
    const book = this.#book(runId, training as TaskPlace, training?.subject ?? '');
    const opened = book.rounds[round];
    const told = `round ${round} of ${training?.taskId}`;
    this.#must(before?.phase === 'running', `${told} was closed while its run was ${before?.phase}`);
    if (opened === undefined || opened.included !== undefined || round !== book.rounds.length - 1) throw new Violation(`${told} was closed, and is not open`);
    this.#must(replicas.length > 0 && replicas.length / opened.replicas >= (before?.recipe.training.sharing?.quorum ?? 1), `${told} was closed with ${replicas.length} of ${opened.replicas} replicas, fewer than its quorum`);
    this.#must(replicas.every((replica, at) => book.states.has(`${round}.${replica}`) && (at === 0 || replica > (replicas[at - 1] ?? 0))), `${told} was closed with ${replicas.join(', ')}, of which not all were accepted, or not in order`);
    const givenUp = before?.rounds.get(training?.taskId ?? '')?.current?.givenUp.size ?? 0;
    if (replicas.length + givenUp < opened.replicas) this.#world.count('branch: a straggler is left out');
    opened.included = [...replicas];
  }

  /** A replica or a merge was accepted. */
  #part(runId: string, place: TaskPlace, result: TaskResult['result'], before: RunState): void {
    const part = partOf(place);
    if (part === undefined) return;
    const book = this.#book(runId, place, part.training);
    if (result?.$case === 'replica') {
      this.#must(part.round === book.rounds.length - 1 && book.rounds[part.round]?.included === undefined, `${place.taskId} was accepted, and its round is not open`);
      book.states.set(`${part.round}.${part.replica}`, result.value.state?.sha256 ?? '');
    }
    if (result?.$case !== 'merge') return;
    this.#must(part.round === book.merged.length && book.rounds[part.round]?.included !== undefined, `${place.taskId} was accepted after ${book.merged.length} merges, or before its round was closed`);
    book.merged.push(result.value.merged?.sha256 ?? '');
    const { teacher, student, sharing } = before.recipe.training;
    const rounds = Math.ceil((place.iteration === 0 && part.training === 'student' ? teacher : student).steps / (sharing?.local_steps ?? 1));
    this.#must((result.value.trained !== undefined) === (book.merged.length === rounds), `${place.taskId} ${result.value.trained === undefined ? 'leaves' : 'ends'} its training after ${book.merged.length} of ${rounds} merges`);
    if (result.value.trained !== undefined) this.#world.count('branch: a shared training is done');
  }

  /** I15, of what a worker is handed. */
  #sharedInputs(task: Task): void {
    const part = partOf(task);
    const { spec } = task;
    if (part === undefined || (spec?.$case !== 'replica' && spec?.$case !== 'merge')) return;
    const book = this.#book(task.runId, task, part.training);
    const before = book.rounds[part.round - 1];
    this.#must((spec.value.merged?.sha256 ?? '') === (part.round === 0 ? '' : book.merged[part.round - 1] ?? 'missing'), `${task.taskId} begins with other weights than the merge before wrote`);
    if (spec.$case === 'merge') {
      const wanted = (book.rounds[part.round]?.included ?? []).map((replica) => `${replica} ${book.states.get(`${part.round}.${replica}`)}`);
      this.#must(wanted.length > 0 && isDeepStrictEqual(spec.value.inputs.map(({ replica, state }) => `${replica} ${state?.sha256}`), wanted), `${task.taskId} merges other replicas than its round was closed with`);
      return;
    }
    const { replica, firstBatch, steps, optimizer } = spec.value;
    const heir = before?.included?.[replica];
    this.#must((optimizer?.sha256 ?? '') === (heir === undefined ? '' : book.states.get(`${part.round - 1}.${heir}`) ?? 'missing'), `${task.taskId} inherits another optimizer's state than that of a replica that was merged`);
    for (const [from, { taskId, end }] of book.places) this.#must(taskId === task.taskId || end <= firstBatch || from >= firstBatch + steps, `${task.taskId} reads places ${firstBatch} to ${firstBatch + steps} of the data, some of which ${taskId} has`);
    book.places.set(firstBatch, { taskId: task.taskId, end: firstBatch + steps });
  }

  #manifest(event: Event): void {
    const { runId, fact } = event;
    this.#knownRuns.add(runId);
    if (fact?.$case !== 'manifestWritten') {
      this.#pending.set(runId, [...(this.#pending.get(runId) ?? []), event]);
      return;
    }
    const { manifest: ref, number, facts } = fact.value;
    const held = this.#store.objects.get(ref?.key ?? '');
    this.#must(held !== undefined, `manifest ${number} of ${runId} is journalled and not in the store`);
    const manifest = RunManifest.decode(held?.content ?? new Uint8Array());
    const before = this.#manifests.get(runId);
    const pending = this.#pending.get(runId) ?? [];
    this.#must(number === (before?.number ?? -1) + 1 && manifest.number === number && manifest.previous?.sha256 === before?.sha256, `manifest ${number} of ${runId} does not follow ${before?.number ?? 'nothing'}`);
    this.#must(facts === (before?.facts ?? 0) + pending.length && isDeepStrictEqual(manifest.events.map((each) => Event.toJSON(each)), pending.map((each) => Event.toJSON(each))), `manifest ${number} of ${runId} does not hold the facts that are journalled`);
    this.#manifests.set(runId, { sha256: ref?.sha256 ?? '', number, facts });
    this.#pending.delete(runId);
  }

  /** Whether the run was ever journalled, also before a loss. */
  knew(runId: string): boolean {
    return this.#knownRuns.has(runId);
  }

  /** The journal's end is another: the books begin again there, and what workers were told stays. */
  rewound(sequence: number, term: number): void {
    const groups = this.#groups.filter((group) => group.firstSequence + group.events.length - 1 <= sequence);
    for (const book of [this.#accepted, this.#labels, this.#pending, this.#manifests, this.#folds, this.#reached, this.#shared] as Map<unknown, unknown>[]) book.clear();
    this.#ended.clear();
    this.#adopted.clear();
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
      const givenUp = task?.spec?.$case === 'label' ? now?.iterations[task.iteration]?.quarantined.has(task.subject) === true : now?.control.givenUp !== undefined || now?.iterations[task?.iteration ?? 0]?.auditGivenUp !== undefined;
      const { runId = '' } = task ?? {};
      // So may a replica, or its round have been closed without it.
      const part = task === undefined ? undefined : partOf(task);
      const round = task === undefined || part === undefined ? undefined : this.#shared.get(bookKey(runId, task, part.training))?.rounds[part.round];
      if (part?.replica !== undefined && round?.included?.includes(part.replica) === false) continue;
      if (!diverged.includes(runId) && !this.#wentOn.has(runId) && !givenUp) this.#must(this.#accepted.get(taskId)?.sha256 === sha256, `${taskId} was acknowledged, and is not known after reconcile`);
    }
  }

  #labelsOf(runId: string, teacher: string): Map<string, string> {
    const key = `${runId}/${teacher}`;
    const labels = this.#labels.get(key) ?? new Map<string, string>();
    this.#labels.set(key, labels);
    return labels;
  }

  /** A worker is handed a task: what it reads must be what was accepted. */
  handedOut(task: Task, term: number): void {
    this.#tasks.set(task.taskId, task);
    const steps = task.checkpoints.map((each) => each.step);
    this.#must(task.checkpoints.every(({ step, ref }) => this.#checkpoints.get(task.taskId)?.has(`${step} ${ref?.sha256}`) === true), `${task.taskId} is handed a checkpoint that was not journalled as its own: ${steps.join(', ')}`);
    this.#must(steps.length <= 2 && steps.every((step, at) => at === 0 || step < (steps[at - 1] ?? 0)), `${task.taskId} is handed a checkpoint out of order: ${steps.join(', ')}`);
    // A deposed leader may still hand out what the run has left behind; its results are not taken any more.
    if (term !== this.#term()) return;
    if (task.spec?.$case === 'select') this.#inputs(task, task.spec.value.shards);
    const train = task.spec?.$case === 'train' ? task.spec.value : task.spec?.$case === 'replica' || task.spec?.$case === 'merge' ? task.spec.value.train : undefined;
    if (train?.selection !== undefined) this.#inputs(task, train.pseudoLabels);
    this.#sharedInputs(task);
    if (task.spec?.$case === 'train' && isFineTuned(task)) this.#begins(task, task.spec.value.begin?.sha256 ?? '');
  }

  /** A training goes on. @param sha256 of the bytes that it read. */
  resumed(task: Task, step: number, sha256: string): void {
    this.#must(this.#checkpoints.get(task.taskId)?.has(`${step} ${sha256}`) === true, `${task.taskId} goes on from a checkpoint of step ${step} that is not journalled`);
  }

  /** Fine-tuning begins with the model that was accepted of its own training. */
  #begins(task: Task, sha256: string): void {
    const state = this.state(task.runId);
    const trained = isBeside(task) ? state?.control.trained : state?.iterations[task.iteration]?.student;
    this.#must(trained?.result.model?.sha256 === sha256, `${task.taskId} begins with ${sha256}, and ${trained?.result.model?.sha256 ?? 'nothing'} was trained`);
    this.#world.count(`branch: a model is fine-tuned (${isBeside(task) ? 'control' : state?.recipe.training.fine_tune?.teaches === true ? 'teaches' : 'reports'})`);
  }

  #inputs(task: Task, given: readonly LabeledShard[]): void {
    const iteration = this.state(task.runId)?.iterations[task.iteration];
    const teacher = iteration?.teacher?.sha256 ?? '';
    const quarantined = iteration?.quarantined;
    const accepted = [...this.#labelsOf(task.runId, teacher)].filter(([shard]) => quarantined?.has(shard) !== true).sort(([a], [b]) => (a < b ? -1 : 1));
    const told = given.map((each): [string, string] => [each.shard, each.labels?.sha256 ?? '']);
    this.#must(isDeepStrictEqual(told, accepted), `${task.taskId} reads ${told.length} shards, ${accepted.length} were accepted, or their digests differ`);
    const shards = this.#plan.runs.find((run) => run.runId === task.runId)?.shards ?? 0;
    this.#must(told.length + (quarantined?.size ?? 0) === shards, `${task.taskId} leaves out a shard that was not quarantined`);
  }

  /** A worker is told that its result counts: it must be written by then, and be that result. */
  acknowledged(taskId: string, workerId: string, sha256: string): void {
    const accepted = this.#accepted.get(taskId);
    this.#must(accepted !== undefined, `${taskId} was acknowledged before it was written`);
    this.#told.set(taskId, sha256);
    this.#must(accepted?.workerId === workerId && accepted.sha256 === sha256, `${taskId} was acknowledged to ${workerId}, and ${accepted?.workerId} had been accepted`);
  }

  isAccepted(taskId: string): boolean {
    return this.#accepted.has(taskId);
  }

  leases(leader: Leader, runIds: readonly string[]): void {
    for (const runId of runIds) {
      for (const { task, leases } of leader.scheduler.tasksOf(runId)) {
        this.#must(leases.length <= LEASES_PER_TASK_MAX, `${task.taskId} has ${leases.length} leases`);
        this.#must(new Set(leases.map((lease) => lease.workerId)).size === leases.length, `${task.taskId} has two leases of one worker`);
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
    for (const { worker, leases } of leader.scheduler.workers()) this.#must(leases.length <= worker.slots, `${worker.workerId} has ${leases.length} leases in ${worker.slots} slots`);
  }

  /** A leader that never learned of an append's end may know less than what is written, and must know that much exactly. */
  leaderEnds(leader: Leader): void {
    const known = this.#folds.get(leader.sequence);
    this.#must(known !== undefined, `a leader is at sequence ${leader.sequence}, in the middle of a group`);
    this.#same(leader, known ?? new Map());
  }

  leaderBegins(leader: Leader): void {
    this.#same(leader, this.#folds.get(this.#lastSequence) ?? new Map());
    for (const run of leader.runs()) {
      const current = run.iterations[run.iteration];
      for (const [shard, sha256] of this.#labelsOf(run.runId, current?.teacher?.sha256 ?? '')) {
        if (current?.teacher === undefined) continue;
        this.#must(current.labels.get(shard)?.labels?.sha256 === sha256, `the accepted label of ${shard} in ${run.runId} was lost or changed`);
      }
    }
  }

  #same(leader: Leader, folds: ReadonlyMap<string, RunState>): void {
    const runs = leader.runs();
    this.#must(runs.length === folds.size, `the leader of term ${leader.term} knows ${runs.length} runs, ${folds.size} are written`);
    // As text first: equal states nearly always print equally, and sorting costs more than all else here.
    for (const run of runs) this.#must(JSON.stringify(run) === JSON.stringify(folds.get(run.runId)) || isDeepStrictEqual(plain(run), plain(folds.get(run.runId))), `the leader of term ${leader.term} holds a state of ${run.runId} that its journal does not give`);
  }

  #must(condition: boolean, statement: string): void {
    if (!condition) throw new Violation(statement);
  }
}

/** What names a result's content: the digest of its output. */
export function digestOf(result: { result?: Parameters<typeof outputDigest>[0] } | undefined): string {
  return outputDigest(result?.result);
}

function outputDigest(result: NonNullable<NonNullable<Extract<NonNullable<Event['fact']>, { $case: 'taskCompleted' }>['value']['result']>['result']> | undefined): string {
  switch (result?.$case) {
    case 'label': return result.value.labels?.sha256 ?? '';
    case 'select': return result.value.selection?.sha256 ?? '';
    case 'train': return result.value.model?.sha256 ?? '';
    case 'evaluate': return result.value.evaluation?.sha256 ?? '';
    case 'import': return result.value.model?.sha256 ?? '';
    case 'audit': return result.value.audit?.sha256 ?? '';
    case 'replica': return result.value.state?.sha256 ?? '';
    case 'merge': return `${result.value.merged?.sha256 ?? ''}${result.value.trained?.model?.sha256 ?? ''}`;
    case 'index':
    case undefined: return '';
  }
}
