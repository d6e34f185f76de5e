/**
 * The leader: decides what comes of commands, time and silence, and hands out leases. It owns the scheduler and, while it
 * leads, the fold; `api` speaks for it on the wire. Not for: how decisions become facts (coordinator/group-commit).
 *
 * Invariants:
 *  1. The states seen from outside are folds of what is journalled, never of drafts.
 *  2. When an append fails, this leader takes no more commands and grants nothing: `onFailure` is called, and another term begins.
 *  3. Nothing is granted before workers had time to announce what they hold, nor at a time when another might lead.
 */
import { EventEmitter } from 'node:events';
import { AlumnusError, toAlumnusError } from '../proto/errors.ts';
import type { Event } from '../proto/gen/alumnus/v1/events.ts';
import type { Checkpoint, Task } from '../proto/gen/alumnus/v1/task.ts';
import type { Lease } from '../proto/gen/alumnus/v1/worker.ts';
import { paths, type ObjectStore } from '../store/index.ts';
import type { About, Log } from '../telemetry/index.ts';
import { openAccess, PROJECT_DEFAULT, type Access } from './access.ts';
import type { Clock } from './clock.ts';
import type { Fold } from './fold.ts';
import { GroupCommit, type Change } from './group-commit.ts';
import { Indexing } from './indexing.ts';
import type { FactSink, Journal } from './journal/index.ts';
import { besidesOf, besideState, decide, fingerprintTurn, isDue, isEnded, isTurn, openTasks, tellFact, type Command, type RunState } from './run/index.ts';
import { Scheduler, type LiveLease } from './scheduler/index.ts';
import { overQuota } from './quota.ts';
import { RunLogs } from './run-logs.ts';
import { Snapshots } from './snapshots.ts';
import { portable } from './specification.ts';

/** A new leader waits this long for workers to announce what they hold, before it grants new leases. */
export const ADOPTION_MS = 1_000;

/** An empty journal beside a bucket with runs is a journal that was lost, or the wrong one. */
export const UNKNOWN_RUNS = 'the object store holds runs, and this journal knows none: `alumnus reconcile --dry-run` says what can be restored';

/** What happens under a leader, for who measures it. */
export type Observation =
  /** Those that are open now, of a run, as often as they change; none once it has ended. @property granting whether they are granted: not while it is paused */
  | { readonly kind: 'opened'; readonly runId: string; readonly tasks: readonly Task[]; readonly granting: boolean }
  /** @property isSecond of a task that another worker has already: it did not wait */
  | { readonly kind: 'granted'; readonly task: Task; readonly isSecond: boolean }
  /** A grant that no worker was told of. */
  | { readonly kind: 'taken-back'; readonly task: Task }
  /** @property ranMs since its first lease that lived until then */
  | { readonly kind: 'done'; readonly task: Task; readonly ranMs: number }
  /** @property isLeased whether another worker still has it */
  | { readonly kind: 'lost'; readonly task: Task; readonly code: string; readonly isLeased: boolean }
  /** @property restored of old, and brought back from the bucket */
  | { readonly kind: 'journalled'; readonly events: readonly Event[]; readonly restored: boolean; readonly project: string };

export interface LeaderOptions {
  readonly journal: Journal;
  readonly fold: Fold;
  readonly store: ObjectStore;
  readonly term: number;
  readonly leaseMs: number;
  readonly clock: Clock;
  /** Until when nobody else can lead, by the clock. Default: for ever. */
  readonly untilMs?: () => number;
  readonly log?: Log;
  /** What projects may have. Default: no limits. */
  readonly access?: Access | undefined;
  /** Told of each group after the journal has it. */
  readonly facts?: FactSink;
  /** Facts between two snapshots. Default: as `Snapshots`. */
  readonly snapshotEvents?: number;
  readonly observe?: (observation: Observation, nowMs: number) => void;
}

export class Leader {
  readonly term: number;
  readonly leaseMs: number;
  readonly scheduler: Scheduler;
  readonly indexing: Indexing;
  readonly logs = new RunLogs();
  readonly #options: LeaderOptions;
  readonly #commits: GroupCommit;
  readonly #snapshots: Snapshots;
  readonly #changes = new EventEmitter().setMaxListeners(0);
  readonly #grantsFromMs: number;
  #granted = false;
  /** When the last tick began. */
  #tickedMs: number | undefined;
  #storeHoldsRuns = false;
  /** Workers that lived at the last tick. */
  #living: ReadonlySet<string> = new Set();

  constructor(options: LeaderOptions) {
    this.#options = options;
    this.term = options.term;
    this.leaseMs = options.leaseMs;
    const { access = openAccess } = options;
    this.scheduler = new Scheduler({ term: options.term, leaseMs: options.leaseMs, devicesOf: (project) => access.quotaOf(project === '' ? PROJECT_DEFAULT : project).devices });
    this.indexing = new Indexing(this.scheduler);
    const { journal, fold, store, term, clock, facts, snapshotEvents } = options;
    const log: Log = (line, about) => this.log(line, about);
    this.#snapshots = new Snapshots({ journal, fold, store, term, log, snapshotEvents });
    this.#commits = new GroupCommit({
      journal, fold, store, term, clock, log, facts,
      onCommitted: (events, changes) => this.#follow(events, changes),
      onAnswered: () => {
        this.touch();
        this.#snapshots.writeWhenDue();
      },
      onFailure: (error) => {
        this.#changes.emit('failure', error);
        this.touch();
      },
    });
    const open = this.runs().filter((run) => !isEnded(run.phase));
    for (const run of open) this.#schedule(run, undefined);
    // Where no run is open nobody can hold a lease, and nobody needs to be waited for.
    this.#grantsFromMs = open.length === 0 ? 0 : this.now() + ADOPTION_MS;
  }

  now(): number {
    return this.#options.clock.now();
  }

  #observe(observation: Observation): void {
    this.#options.observe?.(observation, this.now());
  }

  get journal(): Journal {
    return this.#options.journal;
  }

  /** Sequence of the last fact that is seen here. */
  get sequence(): number {
    return this.#options.fold.sequence;
  }

  get store(): ObjectStore {
    return this.#options.store;
  }

  /** When grants may begin, in the leader's clock. */
  get grantsFromMs(): number {
    return this.#grantsFromMs;
  }

  /** Whether a lease granted now is surely this leader's to grant. */
  get mayGrant(): boolean {
    const now = this.now();
    return this.failure === undefined && now >= this.#grantsFromMs && now < (this.#options.untilMs?.() ?? Infinity);
  }

  /** Why this leader leads no more; undefined while it does. */
  get failure(): AlumnusError | undefined {
    return this.#commits.failure;
  }

  run(runId: string): RunState {
    const run = this.#options.fold.runs.get(runId);
    if (run === undefined) throw new AlumnusError('RUN_NOT_FOUND', `there is no such run${this.notice === '' ? '' : `; ${this.notice}`}`, { where: runId });
    return run;
  }

  /** UNKNOWN_RUNS where that is so and `lookForRuns` saw it; else empty. */
  get notice(): string {
    return this.#storeHoldsRuns && this.#options.fold.runs.size === 0 ? UNKNOWN_RUNS : '';
  }

  /** Once a term: what lies in the store beside a journal without runs. @throws the store's errors. */
  async lookForRuns(): Promise<void> {
    if (this.#options.fold.runs.size > 0) return;
    const { done } = await this.store.list(paths.runs)[Symbol.asyncIterator]().next();
    this.#storeHoldsRuns = done !== true;
    if (this.notice !== '') this.log(this.notice, { level: 'warn' });
  }

  /** Commands that wait for the journal. */
  get waiting(): number {
    return this.#commits.waiting;
  }

  /** The run's facts that no manifest holds yet. */
  pending(runId: string): readonly Event[] {
    return this.#options.fold.pending(runId);
  }

  runs(): RunState[] {
    return [...this.#options.fold.runs.values()];
  }

  /** Calls back after each change of facts or leases. Returns the way to stop. */
  onChange(listener: () => void): () => void {
    this.#changes.on('change', listener);
    return () => void this.#changes.off('change', listener);
  }

  onFailure(listener: (error: AlumnusError) => void): void {
    this.#changes.on('failure', listener);
  }

  /** Leases for this worker now, as many as it may have; none where it isn't this leader's to grant. */
  grant(workerId: string, max: number, holds: readonly string[]): Lease[] {
    if (!this.mayGrant) return [];
    const leases = this.scheduler.grant(workerId, max, holds, this.now());
    for (const { task } of leases) if (task !== undefined) this.log(`grants ${task.taskId} to worker ${workerId}`, { run: task.runId, task: task.taskId, worker: workerId, level: 'debug' });
    if (leases.length > 0 && !this.#granted) {
      // How long nobody granted is what an operator wants to know of a failover.
      this.#granted = true;
      this.log(`grants the first lease of term ${this.term}`);
    }
    for (const { task } of leases) if (task !== undefined) this.#observe({ kind: 'granted', task, isSecond: this.scheduler.leasesOf(task.runId, task.taskId) > 1 });
    return leases.map((lease) => (lease.task === undefined ? lease : { ...lease, task: { ...lease.task, checkpoints: [...this.#options.fold.runs.get(lease.task.runId)?.checkpoints.get(lease.task.taskId) ?? []] } }));
  }

  /** Journals how far a training came, where that is news; returns when it is a fact. What is no news, or of a task closed meanwhile, is left alone. */
  async checkpoint(taskId: string, workerId: string, checkpoint: Checkpoint): Promise<void> {
    const task = this.scheduler.task(taskId);
    const known = task === undefined ? undefined : this.#options.fold.runs.get(task.runId)?.checkpoints.get(taskId)?.[0];
    if (task === undefined || checkpoint.step <= (known?.step ?? 0)) return;
    try {
      await this.command(task.runId, { kind: 'checkpoint', task, workerId, checkpoint });
    } catch (thrown) {
      if (!(thrown instanceof AlumnusError && (thrown.code === 'LEASE_LOST' || thrown.code === 'RUN_CONFLICT'))) throw thrown;
    }
  }

  /** Leases as they travel. Where the store cannot take what they name, they are taken back. @throws the store's errors. */
  async portable(leases: readonly Lease[]): Promise<Lease[]> {
    try {
      return await Promise.all(leases.map((lease) => portable(this.store, lease)));
    } catch (thrown) {
      this.takeBack(leases);
      throw toAlumnusError(thrown);
    }
  }

  /** Of leases that no worker was told of: their tasks wait again, and nothing has failed. */
  takeBack(leases: readonly Lease[]): void {
    for (const { leaseId, task } of leases) {
      if (leaseId !== undefined && this.scheduler.release(leaseId, this.now(), false) && task !== undefined) this.#observe({ kind: 'taken-back', task });
    }
  }

  log(line: string, about: About = {}): void {
    if (about.run !== undefined) this.logs.add({ atMs: this.now(), level: about.level ?? 'info', runId: about.run, taskId: about.task ?? '', text: line }, '');
    this.#options.log?.(line, { term: this.term, ...about });
  }

  /** Leases or progress changed. */
  touch(): void {
    this.#changes.emit('change');
  }

  /** Takes a command; resolves with the run's state once its facts are journalled. @throws what `decide` throws; NOT_LEADER, where the facts may be journalled or not. */
  command(runId: string, command: Command): Promise<RunState> {
    const closes = command.kind === 'complete' ? { closes: command.task.taskId } : {};
    return this.#commits.take({ runId, decide: (state, nowMs) => decide(state, { fleet: this.#fleet(nowMs), leases: this.#leases(runId, nowMs), ...command }, nowMs), ...closes });
  }

  /** @see GroupCommit.restore */
  restore(runId: string, pieces: readonly (readonly Event[])[], expected: number): Promise<void> {
    return this.#commits.restore(runId, pieces, expected);
  }

  /** Leads no more, and says so to everyone who waits. */
  stop(why: AlumnusError): void {
    this.#commits.stop(why);
  }

  /** Workers that live; undefined while they may not have had time to say that they do. */
  #fleet(nowMs: number): number | undefined {
    return nowMs < this.#grantsFromMs ? undefined : this.scheduler.liveWorkers(nowMs);
  }

  /** Attempts of a run that are under way; undefined while workers may not have had time to announce them. */
  #leases(runId: string, nowMs: number): number | undefined {
    return nowMs < this.#grantsFromMs ? undefined : this.scheduler.leasesOf(runId);
  }

  /** What is journalled becomes what is wanted of workers. */
  #follow(events: readonly Event[], changes: readonly Change[]): void {
    for (const event of events) this.#tell(event);
    for (const { runId, before, closed, restored } of changes) {
      this.#observe({ kind: 'journalled', events: events.filter((event) => event.runId === runId), restored, project: this.run(runId).project });
      for (const taskId of closed) {
        const done = this.scheduler.close(runId, taskId, this.now());
        if (done !== undefined) this.#observe({ kind: 'done', ...done });
      }
      this.#schedule(this.run(runId), before);
    }
  }

  /** What an operator looks for in the log: a line for each turn of a run. */
  #tell(event: Event): void {
    if (!isTurn(event)) return;
    const { runId, fact } = event;
    this.log(`run ${runId} ${tellFact(event).text}`, { run: runId, ...(fact?.$case === 'runFailed' ? { code: fact.value.code, level: 'error' } : fact?.$case === 'runPaused' ? { level: 'warn' } : {}) });
  }

  /** Brings the scheduler in line with a run. Label completions were closed one by one; only changes of what is wanted rebuild the queue. */
  #schedule(run: RunState, before: RunState | undefined): void {
    const key = (state: RunState): string => {
      const current = state.iterations[state.iteration];
      const rounds = [...state.rounds.values()].map(({ merges, current: round }) => [merges, round?.round, round?.replicas, round?.included?.length, ...(round?.givenUp.keys() ?? [])].join(','));
      return [state.phase, state.iteration, state.stage, state.try, current?.student !== undefined, current?.evaluation !== undefined, current?.fineTunedEvaluation !== undefined, current?.auditGivenUp, fingerprintTurn(state), ...besidesOf(state.recipe).map(({ subject }) => Object.keys(besideState(state, subject)).join()), ...state.measurements.map((each) => Object.keys(each).join()).values(), ...rounds].join('/');
    };
    // The set itself, not its size: a resume and a new quarantine in one group leave another set of the same size.
    const sameQuarantined = before?.iterations[before.iteration]?.quarantined === run.iterations[run.iteration]?.quarantined;
    if (before !== undefined && sameQuarantined && key(before) === key(run)) return;
    const tasks = isEnded(run.phase) ? [] : openTasks({ ...run, phase: 'running' });
    // Of a paused run what is under way may finish, also under a new leader; nothing new is granted.
    const granting = run.phase === 'running';
    this.scheduler.setTasks(run.runId, run.recipe.weight, tasks, granting, this.now(), run.project);
    this.#observe({ kind: 'opened', runId: run.runId, tasks, granting });
  }

  /** Journals a lease's end as a failed attempt; returns when it is a fact. A task closed meanwhile is left alone; one that is no run's has no facts. */
  async failLease(lease: LiveLease, code: string, message: string, counts: boolean): Promise<void> {
    const task = this.scheduler.task(lease.taskId);
    const heldMs = this.scheduler.heldMs(lease, this.now());
    if (task === undefined || !this.scheduler.release(lease.leaseId, this.now(), counts)) return;
    this.#observe({ kind: 'lost', task, code, isLeased: this.scheduler.isLeased(lease.runId, lease.taskId) });
    if (task.spec?.$case === 'index') return this.indexing.failed(task, { workerId: lease.workerId, code, message, counts, fleet: this.scheduler.liveWorkers(this.now()) });
    try {
      await this.command(lease.runId, { kind: 'fail', task, workerId: lease.workerId, code, message, counts, heldMs });
    } catch (thrown) {
      if (!(thrown instanceof AlumnusError && thrown.code === 'LEASE_LOST')) throw thrown;
    }
    this.touch();
  }

  /**
   * To be called a few times in each lease's time: ends leases that were not renewed, says to runs that time went on where that
   * matters to them (a budget is spent, a round waits for workers or for stragglers no longer), and forgets workers that are gone. A process that stood still (stopped, swapped out, its machine paused) wakes with renewals
   * in its sockets that it has not read: then all leases have their whole time again instead.
   */
  async tick(): Promise<void> {
    const nowMs = this.now();
    const stoodStill = nowMs - (this.#tickedMs ?? nowMs) > this.leaseMs / 2;
    this.#tickedMs = nowMs;
    if (stoodStill) this.scheduler.extendAll(nowMs);
    this.#tellOfWorkers(nowMs);
    this.scheduler.forgetSilent(nowMs);
    const fleet = this.#fleet(nowMs);
    const due = this.runs().flatMap((run) => {
      const inFlightMs = this.scheduler.inFlightMs(run.runId, nowMs);
      const over = run.phase === 'running' ? overQuota(this.runs(), this.#options.access ?? openAccess, run.project) : undefined;
      if (over !== undefined) return [this.#command(run.runId, { kind: 'quota', reason: `${over}; it goes on with \`alumnus run resume\` once there is room` })];
      return isDue(run, { nowMs, inFlightMs, fleet, leases: this.#leases(run.runId, nowMs) }) ? [this.#command(run.runId, { kind: 'clock', inFlightMs })] : [];
    });
    // Once another may lead, whether a lease was renewed is for that one to say.
    const late = nowMs < (this.#options.untilMs?.() ?? Infinity) ? this.scheduler.expired(nowMs) : [];
    for (const { runId, taskId, workerId } of late) this.log(`the lease of ${taskId} expired: worker ${workerId} did not renew it`, { run: runId, task: taskId, worker: workerId, level: 'warn' });
    await Promise.all([...due, ...late.map((lease) => this.failLease(lease, 'LEASE_EXPIRED', `worker ${lease.workerId} did not renew its lease within ${this.leaseMs} ms`, true))]);
  }

  /** Who registers says so itself (coordinator/api); who is lost can't. */
  #tellOfWorkers(nowMs: number): void {
    const living = new Set(this.scheduler.workers().flatMap(({ worker }) => (this.scheduler.isLive(worker.workerId, nowMs) ? [worker.workerId] : [])));
    for (const workerId of this.#living) if (!living.has(workerId)) this.log(`worker ${workerId} is lost`, { worker: workerId, level: 'warn' });
    this.#living = living;
  }

  /** What a tick has to say; nobody waits for it. */
  async #command(runId: string, command: Command): Promise<void> {
    try {
      await this.command(runId, command);
    } catch (thrown) {
      // Raised, paused, ended or opened since the tick looked; or the store takes no manifest just now, which the log says: the next tick comes.
      if (!(thrown instanceof AlumnusError && (thrown.code === 'RUN_CONFLICT' || this.#commits.isHeldUp(runId)))) throw thrown;
    }
  }
}
