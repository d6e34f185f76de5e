/**
 * The leader: takes commands one after another, journals what was decided, and only then lets anyone see it. It owns
 * the run states and the scheduler; `api` speaks for it on the wire.
 *
 * Invariants:
 *  1. A caller is answered only after the journal has the facts (group commit: what arrives during one append is the next group).
 *  2. The states seen from outside are folds of what is journalled, never of drafts.
 *  3. When an append fails, this leader takes no more commands: `onFailure` is called and the process ends.
 */
import { EventEmitter } from 'node:events';
import { AlumnusError, invariant, toAlumnusError } from '../proto/errors.ts';
import { Event } from '../proto/gen/alumnus/v1/events.ts';
import { decide, evolve, isEnded, openTasks, type Command, type RunState } from './run/index.ts';
import { Scheduler, type LiveLease } from './scheduler/index.ts';
import { GROUP_BYTES_MAX, type Journal } from './journal/index.ts';

/** Commands waiting for the journal; beyond it callers are told to come again. */
const QUEUE_MAX = 10_000;
/** Leaves room in a message for the group's own fields. */
const GROUP_BYTES_WANTED = GROUP_BYTES_MAX - 64 * 1024;
/** A new leader waits this long for workers to announce what they hold, before it grants new leases. */
export const ADOPTION_MS = 1_000;

interface Queued {
  readonly runId: string;
  readonly command: Command;
  readonly resolve: (state: RunState) => void;
  readonly reject: (error: unknown) => void;
}

export interface LeaderOptions {
  readonly journal: Journal;
  readonly term: number;
  readonly leaseMs: number;
  readonly now: () => number;
}

export class Leader {
  readonly term: number;
  readonly leaseMs: number;
  readonly scheduler: Scheduler;
  readonly now: () => number;
  readonly #journal: Journal;
  readonly #runs = new Map<string, RunState>();
  readonly #changes = new EventEmitter().setMaxListeners(0);
  #queue: Queued[] = [];
  #committing = false;
  #failed: AlumnusError | undefined;
  #grantsFromMs = 0;

  private constructor(options: LeaderOptions) {
    this.term = options.term;
    this.leaseMs = options.leaseMs;
    this.now = options.now;
    this.#journal = options.journal;
    this.scheduler = new Scheduler({ term: options.term, leaseMs: options.leaseMs });
  }

  /** Folds the journal and begins to lead. */
  static async start(options: LeaderOptions): Promise<Leader> {
    const leader = new Leader(options);
    for await (const group of options.journal.read(0)) {
      for (const event of group.events) leader.#runs.set(event.runId, evolve(leader.#runs.get(event.runId), event));
    }
    const open = [...leader.#runs.values()].filter((run) => !isEnded(run.phase));
    for (const run of open) leader.#schedule(run, undefined);
    // Where no run is open nobody can hold a lease, and nobody needs to be waited for.
    leader.#grantsFromMs = open.length === 0 ? 0 : options.now() + ADOPTION_MS;
    return leader;
  }

  get journal(): Journal {
    return this.#journal;
  }

  /** When grants may begin, in the leader's clock. */
  get grantsFromMs(): number {
    return this.#grantsFromMs;
  }

  run(runId: string): RunState {
    const run = this.#runs.get(runId);
    if (run === undefined) throw new AlumnusError('RUN_NOT_FOUND', 'there is no such run', { where: runId });
    return run;
  }

  runs(): RunState[] {
    return [...this.#runs.values()];
  }

  /** Calls back after each change of facts or leases. Returns the way to stop. */
  onChange(listener: () => void): () => void {
    this.#changes.on('change', listener);
    return () => void this.#changes.off('change', listener);
  }

  onFailure(listener: (error: AlumnusError) => void): void {
    this.#changes.on('failure', listener);
  }

  /** Leases or progress changed. */
  touch(): void {
    this.#changes.emit('change');
  }

  /** Takes a command; resolves with the run's state once its facts are journalled. @throws what `decide` throws. */
  command(runId: string, command: Command): Promise<RunState> {
    if (this.#failed !== undefined) return Promise.reject(this.#failed);
    if (this.#queue.length >= QUEUE_MAX) return Promise.reject(new AlumnusError('TIMED_OUT', 'the journal is behind', { where: this.#journal.description }));
    return new Promise<RunState>((resolve, reject) => {
      this.#queue.push({ runId, command, resolve, reject });
      if (!this.#committing) void this.#commit();
    });
  }

  async #commit(): Promise<void> {
    this.#committing = true;
    // Let everything that arrived in this turn of the event loop join the group.
    await new Promise((resolve) => setImmediate(resolve));
    while (this.#queue.length > 0 && this.#failed === undefined) {
      const drafts = new Map<string, RunState>();
      const events: Event[] = [];
      const taken: { queued: Queued; events: number }[] = [];
      let bytes = 0;
      let at = 0;
      for (; at < this.#queue.length; at += 1) {
        const queued = this.#queue[at];
        invariant(queued !== undefined, 'the queue has no holes');
        try {
          const decided = decide(drafts.get(queued.runId) ?? this.#runs.get(queued.runId), queued.command, this.now());
          const more = decided.events.reduce((sum, event) => sum + Event.encode(event).finish().length, 0);
          // What would outgrow the message opens the next one; a fact that is larger by itself goes alone.
          if (events.length > 0 && bytes + more > GROUP_BYTES_WANTED) break;
          bytes += more;
          drafts.set(queued.runId, decided.state);
          events.push(...decided.events);
          taken.push({ queued, events: decided.events.length });
        } catch (thrown) {
          queued.reject(toAlumnusError(thrown, queued.runId));
        }
      }
      this.#queue = this.#queue.slice(at);
      if (events.length === 0) continue;
      try {
        await this.#journal.append(this.#journal.lastSequence, this.term, events);
      } catch (thrown) {
        this.#stepDown(toAlumnusError(thrown), taken.map((each) => each.queued));
        return;
      }
      for (const [runId, draft] of drafts) {
        const before = this.#runs.get(runId);
        this.#runs.set(runId, draft);
        for (const { queued } of taken) if (queued.runId === runId && (queued.command.kind === 'complete')) this.scheduler.close(runId, queued.command.task.taskId, this.now());
        this.#schedule(draft, before);
      }
      for (const { queued } of taken) queued.resolve(drafts.get(queued.runId) ?? this.run(queued.runId));
      this.touch();
    }
    this.#committing = false;
  }

  #stepDown(error: AlumnusError, taken: readonly Queued[]): void {
    this.#failed = error;
    for (const queued of [...taken, ...this.#queue]) queued.reject(error);
    this.#queue = [];
    this.#changes.emit('failure', error);
  }

  /** Brings the scheduler in line with a run. Label completions were closed one by one; only changes of what is wanted rebuild the queue. */
  #schedule(run: RunState, before: RunState | undefined): void {
    const key = (state: RunState): string => {
      const current = state.iterations[state.iteration];
      return [state.phase, state.iteration, state.stage, state.try, current?.evaluation !== undefined, current?.auditGivenUp, state.control.trained !== undefined, state.control.evaluation !== undefined, state.control.givenUp].join('/');
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

  /** To be called a few times in each lease's time: ends leases that were not renewed. */
  async tick(): Promise<void> {
    const late = this.scheduler.expired(this.now());
    await Promise.all(late.map((lease) => this.failLease(lease, 'LEASE_EXPIRED', `worker ${lease.workerId} did not renew its lease within ${this.leaseMs} ms`, true)));
  }
}
