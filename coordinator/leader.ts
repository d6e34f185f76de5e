/**
 * The leader: takes commands one after another, journals what was decided, and only then lets anyone see it. It owns
 * the scheduler and, while it leads, the fold; `api` speaks for it on the wire.
 *
 * Invariants:
 *  1. A caller is answered only after the journal has the facts (group commit: what arrives during one append is the next group).
 *  2. The states seen from outside are folds of what is journalled, never of drafts.
 *  3. When an append fails, this leader takes no more commands and grants nothing: `onFailure` is called, and another term begins.
 *  4. Nothing is granted before workers had time to announce what they hold, nor at a time when another might lead.
 *  5. A stage's end lies in a manifest before it is journalled (coordinator/manifests).
 */
import { EventEmitter } from 'node:events';
import { AlumnusError, invariant, toAlumnusError } from '../proto/errors.ts';
import { Event } from '../proto/gen/alumnus/v1/events.ts';
import { paths, type ObjectStore } from '../store/index.ts';
import type { Clock } from './clock.ts';
import type { Fold } from './fold.ts';
import { GROUP_BYTES_MAX, schemaVersionOf, type FactSink, type Journal } from './journal/index.ts';
import { needsManifest, wantsManifest, writeManifest } from './manifests.ts';
import { besidesOf, besideState, decide, evolve, isDue, isEnded, journalled, openTasks, type Command, type RunState } from './run/index.ts';
import type { Checkpoint } from '../proto/gen/alumnus/v1/task.ts';
import type { Lease } from '../proto/gen/alumnus/v1/worker.ts';
import { Scheduler, type LiveLease } from './scheduler/index.ts';
import { portable } from './specification.ts';

/** Commands waiting for the journal; beyond it callers are told to come again. */
const QUEUE_MAX = 10_000;
/** Leaves room in a message for the group's own fields, and for a fact about a manifest for each of its runs. */
const GROUP_BYTES_WANTED = GROUP_BYTES_MAX - 64 * 1024;
/** A new leader waits this long for workers to announce what they hold, before it grants new leases. */
export const ADOPTION_MS = 1_000;
/**
 * A store that takes longer for a manifest holds up every run's facts: those of the one run are refused, to be said again.
 * Half of the time after which callers give up (10 s, workers' and the CLI's), so that they hear why, and others' facts in
 * the group are still acknowledged in time.
 */
const MANIFEST_MS_MAX = 5_000;
/** Facts between two snapshots: folding so many takes a second or two. */
const SNAPSHOT_EVENTS = 20_000;
/** After a snapshot that failed, facts until the next try. */
const SNAPSHOT_RETRY_EVENTS = 1_000;

/** An empty journal beside a bucket with runs is a journal that was lost, or the wrong one. */
export const UNKNOWN_RUNS = 'the object store holds runs, and this journal knows none: `alumnus reconcile --dry-run` says what can be restored';

interface Decided {
  readonly events: readonly Event[];
  readonly state: RunState;
}

interface Queued {
  readonly runId: string;
  readonly decide: (state: RunState | undefined, nowMs: number) => Decided;
  /** The task that the command completes. */
  readonly closes?: string;
  /** Facts as they were once journalled: alone in their group, since they have their manifests. */
  readonly restores?: boolean;
  readonly resolve: (state: RunState) => void;
  readonly reject: (error: unknown) => void;
}

/** What one group brings for one run. */
interface Share {
  readonly taken: Queued[];
  readonly events: Event[];
  draft: RunState;
}

export interface LeaderOptions {
  readonly journal: Journal;
  readonly fold: Fold;
  readonly store: ObjectStore;
  readonly term: number;
  readonly leaseMs: number;
  readonly clock: Clock;
  /** Until when nobody else can lead, by the clock. Default: for ever. */
  readonly untilMs?: () => number;
  readonly log?: (line: string) => void;
  /** Told of each group after the journal has it. */
  readonly facts?: FactSink;
  /** Default SNAPSHOT_EVENTS. */
  readonly snapshotEvents?: number;
}

export class Leader {
  readonly term: number;
  readonly leaseMs: number;
  readonly scheduler: Scheduler;
  readonly #options: LeaderOptions;
  readonly #changes = new EventEmitter().setMaxListeners(0);
  readonly #grantsFromMs: number;
  #queue: Queued[] = [];
  #committing = false;
  #failed: AlumnusError | undefined;
  #granted = false;
  /** Runs whose last manifest could not be written: callers come again and again, and the log says it once. */
  readonly #unwritten = new Set<string>();
  /** When the last tick began. */
  #tickedMs: number | undefined;
  #snapshotAt: number;
  #snapshotting = false;
  #storeHoldsRuns = false;
  /** Workers that lived at the last tick. */
  #living: ReadonlySet<string> = new Set();

  constructor(options: LeaderOptions) {
    this.#options = options;
    this.term = options.term;
    this.leaseMs = options.leaseMs;
    this.scheduler = new Scheduler({ term: options.term, leaseMs: options.leaseMs });
    this.#snapshotAt = options.fold.sequence + (options.snapshotEvents ?? SNAPSHOT_EVENTS);
    const open = this.runs().filter((run) => !isEnded(run.phase));
    for (const run of open) this.#schedule(run, undefined);
    // Where no run is open nobody can hold a lease, and nobody needs to be waited for.
    this.#grantsFromMs = open.length === 0 ? 0 : this.now() + ADOPTION_MS;
  }

  now(): number {
    return this.#options.clock.now();
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
    return this.#failed === undefined && now >= this.#grantsFromMs && now < (this.#options.untilMs?.() ?? Infinity);
  }

  /** Why this leader leads no more; undefined while it does. */
  get failure(): AlumnusError | undefined {
    return this.#failed;
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
    if (this.notice !== '') this.#options.log?.(this.notice);
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
    if (leases.length > 0 && !this.#granted) {
      // How long nobody granted is what an operator wants to know of a failover.
      this.#granted = true;
      this.#options.log?.(`grants the first lease of term ${this.term}`);
    }
    return leases.map((lease) => (lease.task === undefined ? lease : { ...lease, task: { ...lease.task, checkpoints: [...this.run(lease.task.runId).checkpoints.get(lease.task.taskId) ?? []] } }));
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
      for (const { leaseId } of leases) if (leaseId !== undefined) this.scheduler.release(leaseId, this.now(), false);
      throw toAlumnusError(thrown);
    }
  }

  log(line: string): void {
    this.#options.log?.(line);
  }

  /** Leases or progress changed. */
  touch(): void {
    this.#changes.emit('change');
  }

  /** Takes a command; resolves with the run's state once its facts are journalled. @throws what `decide` throws; NOT_LEADER, where the facts may be journalled or not. */
  command(runId: string, command: Command): Promise<RunState> {
    const closes = command.kind === 'complete' ? { closes: command.task.taskId } : {};
    return this.#enqueue({ runId, decide: (state, nowMs) => decide(state, { fleet: this.#fleet(nowMs), ...command }, nowMs), ...closes });
  }

  /** Workers that live; undefined while they may not have had time to say that they do. */
  #fleet(nowMs: number): number | undefined {
    return nowMs < this.#grantsFromMs ? undefined : this.scheduler.liveWorkers(nowMs);
  }

  /**
   * Takes facts as they were once journalled, with their data: `reconcile` has them from the bucket. Nothing that comes meanwhile gets
   * between two pieces. @param expected how many facts of the run are known, those about manifests aside. @throws RUN_CONFLICT where the run went on, and what `command` does.
   */
  async restore(runId: string, pieces: readonly (readonly Event[])[], expected: number): Promise<void> {
    let known = expected;
    await Promise.all(pieces.map((facts) => {
      const before = known;
      known += facts.filter(({ fact }) => fact?.$case !== 'manifestWritten').length;
      return this.#enqueue({
        runId, restores: true,
        decide: (state) => {
          // Alone in its group: the draft is what is journalled, and so is what is pending.
          if ((state?.manifest?.facts ?? 0) + this.pending(runId).length !== before) throw new AlumnusError('RUN_CONFLICT', 'the run went on meanwhile: say reconcile again', { where: runId });
          let restored = state;
          for (const fact of facts) restored = evolve(restored, fact);
          invariant(restored !== undefined, 'facts that are restored leave a run');
          return { events: facts, state: restored };
        },
      });
    }));
  }

  #enqueue(command: Omit<Queued, 'resolve' | 'reject'>): Promise<RunState> {
    if (this.#failed !== undefined) return Promise.reject(this.#failed);
    if (this.#queue.length >= QUEUE_MAX) return Promise.reject(new AlumnusError('TIMED_OUT', 'the journal is behind', { where: this.journal.description }));
    return new Promise<RunState>((resolve, reject) => {
      this.#queue.push({ ...command, resolve, reject });
      if (!this.#committing) void this.#commit();
    });
  }

  async #commit(): Promise<void> {
    this.#committing = true;
    // Let everything that arrived in this turn of the event loop join the group.
    await new Promise((resolve) => setImmediate(resolve));
    while (this.#queue.length > 0 && this.#failed === undefined) {
      const shares = this.#gather();
      await this.#writeManifests(shares);
      const events = [...shares.values()].flatMap((share) => share.events);
      if (events.length === 0) continue;
      if (this.#stopped()) {
        this.#refuse(shares);
        break;
      }
      const { journal, fold } = this.#options;
      const group = { schemaVersion: schemaVersionOf(events), term: this.term, firstSequence: fold.sequence + 1, events };
      const facts = events.map(journalled);
      try {
        await journal.append(fold.sequence, this.term, facts);
      } catch (thrown) {
        this.#fail(toAlumnusError(thrown), [...shares.values()].flatMap((share) => share.taken));
        break;
      }
      if (this.#stopped()) {
        // It ended during the append: the fold belongs to the node again, which reads these facts from the journal.
        this.#refuse(shares);
        break;
      }
      const before = new Map([...shares.keys()].map((runId) => [runId, fold.runs.get(runId)]));
      fold.take(group);
      this.#options.facts?.publish({ ...group, events: facts });
      for (const event of events) this.#tell(event);
      for (const [runId, { taken }] of shares) {
        for (const { closes } of taken) if (closes !== undefined) this.scheduler.close(runId, closes, this.now());
        this.#schedule(this.run(runId), taken.some((queued) => queued.restores) ? undefined : before.get(runId));
      }
      for (const [runId, { taken }] of shares) for (const queued of taken) queued.resolve(this.run(runId));
      this.touch();
      this.#snapshotWhenDue();
    }
    this.#committing = false;
  }

  /** What an operator looks for in the log: a line for each turn of a run. */
  #tell({ runId, fact }: Event): void {
    const line = ((): string => {
      switch (fact?.$case) {
        case 'runSubmitted': return 'is submitted';
        case 'runPaused': return `is paused by ${fact.value.by}: ${fact.value.reason}`;
        case 'runResumed': return 'goes on';
        case 'runCancelled': return `is cancelled: ${fact.value.reason}`;
        case 'runFailed': return `failed: ${fact.value.reason} [${fact.value.code}]`;
        case 'runSucceeded': return `succeeded with the model of iteration ${fact.value.bestIteration}`;
        default: return '';
      }
    })();
    if (line !== '') this.log(`run ${runId} ${line}`);
  }

  /** Who ended during an await says so to those whose group it was; `#fail` could not know of them. */
  #refuse(shares: ReadonlyMap<string, Share>): void {
    for (const { taken } of shares.values()) for (const queued of taken) queued.reject(this.#failed);
  }

  /** Asked after each await: the world goes on meanwhile. */
  #stopped(): boolean {
    return this.#failed !== undefined;
  }

  /** As many commands as one group holds, decided one after another. */
  #gather(): Map<string, Share> {
    const shares = new Map<string, Share>();
    let bytes = 0;
    let at = 0;
    for (; at < this.#queue.length; at += 1) {
      const queued = this.#queue[at];
      invariant(queued !== undefined, 'the queue has no holes');
      const { runId } = queued;
      if (queued.restores && shares.size > 0) break;
      try {
        const share = shares.get(runId);
        const { events, state } = queued.decide(share?.draft ?? this.#options.fold.runs.get(runId), this.now());
        const more = events.reduce((sum, event) => sum + Event.encode(journalled(event)).finish().length, 0);
        const { factBytesMax } = this.journal;
        if (more > factBytesMax) throw new AlumnusError('FACT_TOO_LARGE', `its facts take ${more} bytes, and the journal takes ${factBytesMax} at once`, { where: runId });
        // What would outgrow the message opens the next one; a fact that is larger by itself goes alone.
        if (bytes > 0 && bytes + more > GROUP_BYTES_WANTED) break;
        bytes += more;
        if (share === undefined) shares.set(runId, { taken: [queued], events: [...events], draft: state });
        else {
          share.taken.push(queued);
          share.events.push(...events);
          share.draft = state;
        }
        if (queued.restores) {
          at += 1;
          break;
        }
      } catch (thrown) {
        queued.reject(toAlumnusError(thrown, runId));
      }
    }
    this.#queue = this.#queue.slice(at);
    return shares;
  }

  /** Ahead of the journal; where the store can't, what needs one is refused and all others go on. */
  async #writeManifests(shares: Map<string, Share>): Promise<void> {
    const { store, clock } = this.#options;
    await Promise.all([...shares].map(async ([runId, share]) => {
      if (!wantsManifest(share.events) || share.taken.some((queued) => queued.restores)) return;
      const late = new AbortController();
      try {
        const fact = await Promise.race([
          writeManifest(store, runId, share.draft.manifest, [...this.pending(runId), ...share.events], this.term),
          clock.sleep(MANIFEST_MS_MAX, late.signal).then((): never => {
            throw new AlumnusError('TIMED_OUT', `the object store took longer than ${MANIFEST_MS_MAX / 1000} s for a manifest`, { where: runId });
          }),
        ]);
        share.events.push({ runId, atMs: this.now(), fact });
        if (this.#unwritten.delete(runId)) this.log(`run ${runId} goes on: its manifest is written`);
      } catch (thrown) {
        // What needs none is told by the next one.
        if (!needsManifest(share.events)) return;
        shares.delete(runId);
        const error = toAlumnusError(thrown, runId);
        if (!this.#unwritten.has(runId)) this.#options.log?.(`run ${runId} does not go on while its manifest can't be written: ${error.sentence}`);
        this.#unwritten.add(runId);
        // What the store holds against the leader says nothing about what its callers brought: they are to come again with it.
        const refusal = error.retryable ? error : new AlumnusError('MANIFEST_REFUSED', `the coordinator's manifest was refused: ${error.sentence}`, { where: runId, cause: error });
        for (const queued of share.taken) queued.reject(refusal);
      } finally {
        late.abort();
      }
    }));
  }

  /** Leads no more, and says so to everyone who waits. */
  stop(why: AlumnusError): void {
    if (this.#failed === undefined) this.#fail(why, []);
  }

  #fail(error: AlumnusError, taken: readonly Queued[]): void {
    // Callers are to come again, to whoever leads then: their facts may be journalled or not, and either is found there.
    this.#failed = error.retryable ? error : new AlumnusError('NOT_LEADER', error.message, { cause: error });
    for (const queued of [...taken, ...this.#queue]) queued.reject(this.#failed);
    this.#queue = [];
    this.#changes.emit('failure', error);
    this.touch();
  }

  #snapshotWhenDue(): void {
    const { fold, store, journal, log, snapshotEvents = SNAPSHOT_EVENTS } = this.#options;
    if (this.#snapshotting || fold.sequence < this.#snapshotAt) return;
    this.#snapshotting = true;
    fold.write(store, this.term).then(async (snapshot) => {
      await journal.truncate(snapshot);
      this.#snapshotAt = snapshot.sequence + snapshotEvents;
    }).catch((thrown: unknown) => {
      // The journal keeps everything until one succeeds: a longer start, no loss.
      this.#snapshotAt = fold.sequence + SNAPSHOT_RETRY_EVENTS;
      log?.(`no snapshot could be kept: ${toAlumnusError(thrown).sentence}`);
    }).finally(() => {
      this.#snapshotting = false;
    });
  }

  /** Brings the scheduler in line with a run. Label completions were closed one by one; only changes of what is wanted rebuild the queue. */
  #schedule(run: RunState, before: RunState | undefined): void {
    const key = (state: RunState): string => {
      const current = state.iterations[state.iteration];
      const rounds = [...state.rounds.values()].map(({ merges, current: round }) => [merges, round?.round, round?.replicas, round?.included?.length, ...(round?.givenUp.keys() ?? [])].join(','));
      return [state.phase, state.iteration, state.stage, state.try, current?.student !== undefined, current?.evaluation !== undefined, current?.fineTunedEvaluation !== undefined, current?.auditGivenUp, ...besidesOf(state.recipe).map(({ subject }) => Object.keys(besideState(state, subject)).join()), ...rounds].join('/');
    };
    // The set itself, not its size: a resume and a new quarantine in one group leave another set of the same size.
    const sameQuarantined = before?.iterations[before.iteration]?.quarantined === run.iterations[run.iteration]?.quarantined;
    if (before !== undefined && sameQuarantined && key(before) === key(run)) return;
    if (isEnded(run.phase)) this.scheduler.setTasks(run.runId, run.recipe.weight, []);
    // Of a paused run what is under way may finish, also under a new leader; nothing new is granted.
    else this.scheduler.setTasks(run.runId, run.recipe.weight, openTasks({ ...run, phase: 'running' }), run.phase === 'running');
  }

  /** Journals a lease's end as a failed attempt; returns when it is a fact. A task closed meanwhile is left alone. */
  async failLease(lease: LiveLease, code: string, message: string, counts: boolean): Promise<void> {
    const task = this.scheduler.task(lease.taskId);
    if (task === undefined || !this.scheduler.release(lease.leaseId, this.now(), counts)) return;
    try {
      await this.command(lease.runId, { kind: 'fail', task, workerId: lease.workerId, code, message, counts, fleet: this.scheduler.liveWorkers(this.now()), heldMs: this.now() - lease.grantedAtMs });
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
      return isDue(run, { nowMs, inFlightMs, fleet }) ? [this.#sayTime(run.runId, inFlightMs)] : [];
    });
    // Once another may lead, whether a lease was renewed is for that one to say.
    const late = nowMs < (this.#options.untilMs?.() ?? Infinity) ? this.scheduler.expired(nowMs) : [];
    for (const { taskId, workerId } of late) this.log(`the lease of ${taskId} expired: worker ${workerId} did not renew it`);
    await Promise.all([...due, ...late.map((lease) => this.failLease(lease, 'LEASE_EXPIRED', `worker ${lease.workerId} did not renew its lease within ${this.leaseMs} ms`, true))]);
  }

  /** Who registers says so itself (coordinator/api); who is lost can't. */
  #tellOfWorkers(nowMs: number): void {
    const living = new Set(this.scheduler.workers().flatMap(({ worker }) => (this.scheduler.isLive(worker.workerId, nowMs) ? [worker.workerId] : [])));
    for (const workerId of this.#living) if (!living.has(workerId)) this.log(`worker ${workerId} is lost`);
    this.#living = living;
  }

  async #sayTime(runId: string, inFlightMs: number): Promise<void> {
    try {
      await this.command(runId, { kind: 'clock', inFlightMs });
    } catch (thrown) {
      // Raised, paused, ended or opened since the tick looked; or the store takes no manifest just now, which the log says: the next tick comes.
      if (!(thrown instanceof AlumnusError && (thrown.code === 'RUN_CONFLICT' || this.#unwritten.has(runId)))) throw thrown;
    }
  }
}
