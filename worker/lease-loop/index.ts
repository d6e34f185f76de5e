/**
 * The public door of `worker/lease-loop`: acquires leases, has the engine do their tasks, renews, and reports, to whichever
 * coordinator leads. It never computes, so it never blocks: an engine that is busy for minutes costs no renewal.
 *
 * Invariants:
 *  1. A lease is held from its grant until its result is acknowledged, refused, or the lease is lost.
 *  2. A finished result is reported until a coordinator answers, across restarts and changes of the leader; it is never thrown away.
 *     One that is refused for good is reported as a failure, with the refusal's reason.
 *  3. The work of a lost lease is stopped; a failure of it is not reported, since it was journalled when the lease ended.
 *  4. What an attempt kept for the next one (its newest checkpoint) is told with each renewal, and with its failure.
 *  5. No work is asked for before the store has answered this worker: whoever can't read it would fail every task.
 *  6. A new leader is told what is held before it is asked for work; all loops share that one registration.
 */
import { hostname } from 'node:os';
import { Addresses, isAway } from '../../proto/call.ts';
import type { ClientAccess } from '../../proto/credentials.ts';
import { AlumnusError, toAlumnusError, type ErrorCode } from '../../proto/errors.ts';
import type { Checkpoint, Task, TaskResult } from '../../proto/gen/alumnus/v1/task.ts';
import type { About, Log } from '../../telemetry/index.ts';
import type { WorkerServiceClient, AcquireRequest, AcquireResponse, CompleteRequest, CompleteResponse, FailRequest, FailResponse, HeldLease, Lease, LeaseId, LogLine, Progress, RegisterRequest, RegisterResponse, RenewRequest, RenewResponse } from '../../proto/gen/alumnus/v1/worker.ts';
import { Backoff, sleep } from './backoff.ts';
import { Line, type Method } from './line.ts';

/** How long one Acquire is held open by the coordinator. */
const ACQUIRE_WAIT_MS = 20_000;
/** Beyond the wait asked for: the coordinator is gone, not slow. */
const CALL_MS_MAX = 10_000;
/** Half of the second that a new leader waits for us; and a worker that was started before its coordinator should not sleep past its start. */
const RETRY_MS_MAX = 500;
/** Renewals in a row without an answer after which the coordinator is taken to hang. After one it may be we who stood still. */
const LATE_RENEWALS_MAX = 2;
/** A worker that stops follows a redirect or two and asks the rest of a usual fleet, and then lets leases run out. */
const STOP_TRIES_MAX = 4;
/** Digests that a worker remembers to hold; as many shards as its cache keeps warm at most. */
const HOLDS_MAX = 1_000;
/** Lines of the log that wait to be told, and that one renewal tells: what a coordinator that is away for a while misses is in the worker's own log. */
const LINES_MAX = 1_000;
const LINES_TOLD_MAX = 200;
/** Of label tasks, which share a worker: one on the device, the next one loading, and one whose labels are written. Tars to index share one, too. */
const SLOTS = 3;
/** Refusals that are about the result itself: it would be refused again. Any other is the coordinator's trouble, and may pass. */
const OF_THE_RESULT: ReadonlySet<ErrorCode> = new Set(['USAGE', 'LEASE_LOST', 'FACT_TOO_LARGE']);
/** Ends of an attempt that say nothing about its task. */
const NOT_THE_TASKS_FAULT: ReadonlySet<ErrorCode> = new Set(['WORKER_STOPPED', 'ENGINE_STOPPED', 'CANCELLED']);
/** Ends of an attempt that the next task would meet as well: without a wait a full store, or one that isn't mounted, spends all tasks' attempts in seconds. */
const STORE_TROUBLE: ReadonlySet<ErrorCode> = new Set([
  'STORE_FULL', 'STORE_UNREACHABLE', 'STORE_NOT_FOUND', 'STORE_DENIED', 'STORE_UNTRUSTED', 'STORE_CLOCK_SKEWED', 'BUCKET_NOT_FOUND', 'DISK_FAILED', 'ENGINE_UNAVAILABLE', 'CODE_OUTDATED',
]);

export interface Engine {
  /** Does a task. @throws AlumnusError with the code that the attempt failed with. */
  run(task: Task, storeUrl: string, onProgress: (progress: Progress) => void, signal: AbortSignal, onCheckpoint: (checkpoint: Checkpoint) => void): Promise<TaskResult>;
}

export interface LeaseLoopOptions {
  /** `host:port` of the coordinators, with commas between them. */
  readonly address: string;
  readonly workerId: string;
  readonly device: string;
  readonly version: string;
  /** How it shows who it is. Default: no TLS, no token. */
  readonly access?: ClientAccess;
  readonly engine: Engine;
  /** Reads a little from the store. Tried once for each store that a leader names, before work is asked for. @throws AlumnusError where it can't be read */
  readonly tryStore?: (storeUrl: string) => Promise<void>;
  readonly log: Log;
  /** Told of each attempt when nothing of it is left here. */
  readonly onEnded?: (attempt: EndedAttempt) => void;
}

/** How an attempt ended for its worker: `not_taken` where another was first, `handed_back` where it says nothing about its task, `unheard` where the worker stopped before anybody answered. */
export type Outcome = 'done' | 'not_taken' | 'refused' | 'failed' | 'lost' | 'handed_back' | 'unheard';

export interface EndedAttempt {
  readonly task: Task;
  readonly leaseId: LeaseId;
  /** As the lease numbers it. */
  readonly attempt: number;
  readonly outcome: Outcome;
  /** What it failed with. */
  readonly error: AlumnusError | undefined;
  /** Unix time. */
  readonly beganMs: number;
  readonly endedMs: number;
}

interface Held {
  readonly lease: Lease;
  readonly leaseId: LeaseId;
  readonly task: Task;
  readonly abort: AbortController;
  readonly done: Promise<void>;
  progress: Progress | undefined;
  /** The newest. */
  checkpoint: Checkpoint | undefined;
}

const aboutOf = ({ runId, taskId }: Task): { run: string; task: string } => ({ run: runId, task: taskId });

const keyOf = (leaseId: LeaseId): string => `${leaseId.term}.${leaseId.counter}`;

const isLost = ({ abort }: Held): boolean => abort.signal.reason instanceof AlumnusError && abort.signal.reason.code === 'LEASE_LOST';

export class LeaseLoop {
  readonly #options: LeaseLoopOptions;
  readonly #addresses: Addresses;
  readonly #line: Line;
  readonly #held = new Map<string, Held>();
  readonly #holds = new Set<string>();
  readonly #stopping = new AbortController();
  #registration: RegisterResponse | undefined;
  /** What the last leader said of us: the next one is told. */
  #cordon = '';
  /** Of the log, about runs, not told yet: the oldest first. */
  #lines: LogLine[] = [];
  /** Registrations so far: says whether a call failed before or after the last. */
  #joined = 0;
  #joining: Promise<void> | undefined;
  /** Since a call failed, until a coordinator that leads has taken this worker in. */
  #isAway = true;
  /** URL of the store that has answered. */
  #storeTried: string | undefined;
  #freed: () => void = () => undefined;
  readonly #trouble = new Backoff();
  /** Until then no work is asked for. */
  #troubled: Promise<void> = Promise.resolve();

  /** @throws AlumnusError USAGE where `address` is none. */
  constructor(options: LeaseLoopOptions) {
    this.#options = options;
    this.#addresses = new Addresses(options.address);
    this.#line = new Line(this.#addresses, (error) => {
      // Whoever calls next meets what went wrong.
      if (!this.#stopping.signal.aborted) this.#rejoin(error, this.#joined, this.#line.moves).catch(() => undefined);
    }, options.access);
  }

  /** Whether whoever leads has taken it in, as far as is known here. */
  get isRegistered(): boolean {
    return !this.#isAway;
  }

  /** What the tasks are whose leases are held, one each. */
  kindsHeld(): string[] {
    return [...this.#held.values()].filter((held) => !isLost(held)).map(({ task }) => task.spec?.$case ?? 'none');
  }

  /** Works until `stop`. @throws AlumnusError only where trying again can't help. */
  async run(): Promise<void> {
    await this.#rejoin(undefined, 0, 0);
    const renewing = this.#renewLoop();
    try {
      await this.#acquireLoop();
    } finally {
      // What is handed back needs its connection until then.
      await this.stop().catch(() => undefined);
      await renewing;
      this.#line.close();
    }
  }

  /** Takes no more work, hands back what is held (that is nobody's failure), and lets `run` return. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#freed();
    const handedBack = [...this.#held.values()].map(async (held) => {
      held.abort.abort(new AlumnusError('WORKER_STOPPED', 'the worker was asked to stop', { where: held.task.taskId }));
      await held.done;
    });
    await Promise.all(handedBack);
  }

  /** Registers with whoever leads, unless that was done since the call that failed with `error`. */
  #rejoin(error: AlumnusError | undefined, joined: number, moves: number): Promise<void> {
    if (joined !== this.#joined) return Promise.resolve();
    // One that knows no other leader may have begun to lead itself: it is asked again before it is left.
    const reason = error?.code === 'NOT_LEADER' && error.where === '' && !this.#stopping.signal.aborted ? undefined : error;
    this.#joining ??= this.#join(reason, moves).finally(() => {
      this.#joining = undefined;
    });
    return this.#joining;
  }

  async #join(reason: AlumnusError | undefined, movesThen: number): Promise<void> {
    this.#isAway = true;
    const { workerId, device, version, log } = this.#options;
    const backoff = new Backoff(RETRY_MS_MAX);
    let [error, moves] = [reason, movesThen];
    while (!this.#stopping.signal.aborted) {
      if (error !== undefined && this.#line.leave(error, moves)) {
        if (backoff.attempts === 0) log(`waits for a coordinator that leads, at ${this.#addresses.text}`, { level: 'warn' });
        await sleep(backoff.next(), this.#stopping.signal);
        if (this.#stopping.signal.aborted) return;
      }
      moves = this.#line.moves;
      try {
        const request = { workerId, host: hostname(), processId: process.pid, device, slots: SLOTS, held: this.#announce(), version, cordon: this.#cordon };
        const response = await this.#line.call<RegisterRequest, RegisterResponse>((client) => client.register, request, CALL_MS_MAX, this.#stopping.signal);
        this.#registration = response;
        this.#joined += 1;
        this.#drop(response.lost, 'the leader does not know it');
        this.#isAway = false;
        log(`registered with term ${response.term} at ${this.#line.address}`, { term: response.term });
        return;
      } catch (thrown) {
        error = toAlumnusError(thrown);
        if (!error.retryable && !this.#stopping.signal.aborted) throw error;
        if (isAway(error)) continue;
        error = undefined;
        await sleep(backoff.next(), this.#stopping.signal);
      }
    }
    // What is handed back now is told to the next one, too.
    if (error !== undefined) this.#line.leave(error, moves);
  }

  /** One try. Where it fails because the coordinator is away, a registration with whoever leads has followed. */
  async #ask<Request, Response>(method: (client: WorkerServiceClient) => Method<Request, Response>, request: Request, withinMs: number, signal?: AbortSignal): Promise<Response> {
    await this.#joining;
    const [joined, moves] = [this.#joined, this.#line.moves];
    try {
      return await this.#line.call(method, request, withinMs, signal);
    } catch (thrown) {
      const error = toAlumnusError(thrown);
      if (isAway(error)) await this.#rejoin(error, joined, moves);
      throw error;
    }
  }

  async #acquireLoop(): Promise<void> {
    const backoff = new Backoff(RETRY_MS_MAX);
    const { workerId } = this.#options;
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      const free = SLOTS - this.#held.size;
      if (free <= 0) {
        await new Promise<void>((resolve) => (this.#freed = resolve));
        continue;
      }
      await this.#troubled;
      if (signal.aborted) return;
      try {
        await this.#tryStore();
        if (this.#stopping.signal.aborted) return;
        const request = { workerId, max: free, waitMs: ACQUIRE_WAIT_MS, holds: [...this.#holds] };
        const response = await this.#ask<AcquireRequest, AcquireResponse>((client) => client.acquire, request, ACQUIRE_WAIT_MS + CALL_MS_MAX, signal);
        backoff.reset();
        this.#isTold(response.cordon);
        for (const lease of response.leases) this.#begin(lease);
      } catch (thrown) {
        if (signal.aborted) return;
        const error = toAlumnusError(thrown);
        if (!error.retryable) throw error;
        await this.#beforeNextTry(error, backoff);
      }
    }
  }

  async #tryStore(): Promise<void> {
    const { tryStore, workerId, log } = this.#options;
    if (tryStore === undefined) return;
    const backoff = new Backoff();
    while (!this.#stopping.signal.aborted) {
      const storeUrl = this.#registration?.storeUrl ?? '';
      if (storeUrl === this.#storeTried) return;
      try {
        await tryStore(storeUrl);
        if (backoff.attempts > 0) log('reaches the store');
        this.#storeTried = storeUrl;
      } catch (thrown) {
        const error = toAlumnusError(thrown, storeUrl);
        if (!error.retryable) throw new AlumnusError(error.code, `worker ${workerId} cannot use the store: ${error.message}`, { where: error.where, cause: error });
        if (backoff.attempts === 0) log(`takes no work yet: ${error.sentence}`, { code: error.code, level: 'warn' });
        await sleep(backoff.next(), this.#stopping.signal);
      }
    }
  }

  async #beforeNextTry(error: AlumnusError, backoff: Backoff): Promise<void> {
    const ms = backoff.next();
    // The first failure was of the leader that is gone: its successor is asked at once.
    if (!isAway(error) || backoff.attempts > 1) await sleep(ms, this.#stopping.signal);
  }

  async #renewLoop(): Promise<void> {
    let late = 0;
    for (;;) {
      await sleep(this.#registration?.renewEveryMs ?? 1_000, this.#stopping.signal);
      if (this.#stopping.signal.aborted) return;
      if (this.#held.size === 0 && this.#lines.length === 0) continue;
      const lines = this.#lines.splice(0, LINES_TOLD_MAX);
      const [joined, moves] = [this.#joined, this.#line.moves];
      try {
        const response = await this.#line.call<RenewRequest, RenewResponse>((client) => client.renew, { workerId: this.#options.workerId, held: this.#announce(), lines }, this.#registration?.renewEveryMs ?? CALL_MS_MAX);
        late = 0;
        this.#drop(response.lost, 'the coordinator gave it up');
        this.#isTold(response.cordon);
        this.#handBack(response.handBack);
        if (response.term !== this.#registration?.term) await this.#rejoin(undefined, joined, moves);
      } catch (thrown) {
        this.#lines = [...lines, ...this.#lines].slice(-LINES_MAX);
        // The next renewal tries again; whether the lease lives is the coordinator's to say.
        const error = toAlumnusError(thrown);
        late = error.code === 'TIMED_OUT' ? late + 1 : 0;
        if (!error.retryable) this.#options.log(error.sentence);
        else if (isAway(error) && (late === 0 || late >= LATE_RENEWALS_MAX) && !this.#stopping.signal.aborted) {
          await this.#rejoin(error, joined, moves).catch(() => undefined);
        }
      }
    }
  }

  #begin(lease: Lease): void {
    const { leaseId, task } = lease;
    if (leaseId === undefined || task === undefined) return;
    const abort = new AbortController();
    const beganMs = Date.now();
    const ended = (outcome: Outcome, error?: AlumnusError): void => this.#options.onEnded?.({ task, leaseId, attempt: lease.attempt, outcome, error, beganMs, endedMs: Date.now() });
    const done = this.#work(leaseId, task, abort.signal, ended).finally(() => {
      this.#held.delete(keyOf(leaseId));
      this.#freed();
    });
    this.#held.set(keyOf(leaseId), { lease, leaseId, task, abort, done, progress: undefined, checkpoint: undefined });
    // Whatever goes wrong in reporting was logged there; a rejected promise must not end the process.
    done.catch((thrown: unknown) => this.#options.log(toAlumnusError(thrown, task.taskId).sentence, { ...aboutOf(task), level: 'error' }));
  }

  async #work(leaseId: LeaseId, task: Task, signal: AbortSignal, ended: (outcome: Outcome, error?: AlumnusError) => void): Promise<void> {
    const { engine, workerId, log } = this.#options;
    log(`begins ${task.taskId}`, { ...aboutOf(task), level: 'debug' });
    const onProgress = (progress: Progress): void => {
      const held = this.#held.get(keyOf(leaseId));
      if (held !== undefined) held.progress = progress;
    };
    const onCheckpoint = (checkpoint: Checkpoint): void => {
      const held = this.#held.get(keyOf(leaseId));
      if (held !== undefined) held.checkpoint = checkpoint;
    };
    let result: TaskResult;
    try {
      result = await engine.run(task, this.#registration?.storeUrl ?? '', onProgress, signal, onCheckpoint);
    } catch (thrown) {
      const error = signal.aborted && signal.reason instanceof AlumnusError ? signal.reason : toAlumnusError(thrown, task.taskId);
      if (error.code === 'LEASE_LOST') return ended('lost', error);
      log(`${task.taskId} failed: ${error.sentence}`, { ...aboutOf(task), code: error.code, level: 'warn' });
      if (STORE_TROUBLE.has(error.code)) this.#troubled = sleep(this.#trouble.next(), this.#stopping.signal);
      await this.#reportFailure(leaseId, task, error);
      return ended(NOT_THE_TASKS_FAULT.has(error.code) ? 'handed_back' : 'failed', error);
    }
    this.#trouble.reset();
    for (const digest of task.affinity) {
      this.#holds.delete(digest);
      this.#holds.add(digest);
    }
    for (const oldest of this.#holds) {
      if (this.#holds.size <= HOLDS_MAX) break;
      this.#holds.delete(oldest);
    }
    // Reported even where the lease ran out meanwhile: the work is done, and whether the task is still open is the coordinator's to say.
    try {
      const answer = await this.#report<CompleteRequest, CompleteResponse>((client) => client.complete, { workerId, leaseId, taskId: task.taskId, result });
      if (answer?.accepted === false) log(`${task.taskId} was not taken: ${answer.reason}`, aboutOf(task));
      if (answer?.accepted === true) log(`did ${task.taskId}`, { ...aboutOf(task), level: 'debug' });
      ended(answer === undefined ? 'unheard' : answer.accepted ? 'done' : 'not_taken');
    } catch (thrown) {
      // Refused for good: said as a failure, it ends the lease with its reason instead of by its time.
      const error = toAlumnusError(thrown, task.taskId);
      log(`${task.taskId} is done, and its result was refused: ${error.sentence}`, { ...aboutOf(task), code: error.code, level: 'error' });
      await this.#reportFailure(leaseId, task, error);
      ended('refused', error);
    }
  }

  async #reportFailure(leaseId: LeaseId, { taskId }: Task, { code, where, message: what }: AlumnusError): Promise<void> {
    const message = where === '' || where === taskId ? what : `${where}: ${what}`;
    await this.#report<FailRequest, FailResponse>((client) => client.fail, { workerId: this.#options.workerId, leaseId, taskId, code, message, counts: !NOT_THE_TASKS_FAULT.has(code), checkpoint: this.#held.get(keyOf(leaseId))?.checkpoint });
  }

  /** Says it until it is answered. Undefined where the worker stops first. @throws AlumnusError where it is refused for what it says. */
  async #report<Request, Response>(method: (client: WorkerServiceClient) => Method<Request, Response>, request: Request): Promise<Response | undefined> {
    const backoff = new Backoff(RETRY_MS_MAX);
    for (let triesStopping = 0; triesStopping < STOP_TRIES_MAX;) {
      try {
        return await this.#ask(method, request, CALL_MS_MAX);
      } catch (thrown) {
        const error = toAlumnusError(thrown);
        if (OF_THE_RESULT.has(error.code)) throw error;
        if (!error.retryable && backoff.attempts === 0) this.#options.log(error.sentence);
        if (this.#stopping.signal.aborted) triesStopping += 1;
        else await this.#beforeNextTry(error, backoff);
      }
    }
    return undefined;
  }

  /** What is dropped is no longer held, though its engine may still be stopping: nobody would renew it. */
  #announce(): HeldLease[] {
    return [...this.#held.values()].filter((held) => !isLost(held)).map(({ leaseId, task, progress, checkpoint }) => ({ leaseId, taskId: task.taskId, progress, checkpoint }));
  }

  /** A line of the worker's log, to be told to the coordinator where it is about a run. */
  keep(text: string, { run, task = '', level = 'info' }: About = {}): void {
    if (run === undefined) return;
    this.#lines.push({ atMs: Date.now(), level, runId: run, taskId: task, text });
    if (this.#lines.length > LINES_MAX) this.#lines.shift();
  }

  #isTold(cordon = ''): void {
    if (cordon !== this.#cordon) this.#options.log(cordon === '' ? 'is given work again' : `is ${cordon} by an operator: it is given no work`);
    this.#cordon = cordon;
  }

  /** Nobody's failure: whoever goes on has the newest checkpoint. */
  #handBack(leaseIds: readonly LeaseId[]): void {
    for (const leaseId of leaseIds) {
      const held = this.#held.get(keyOf(leaseId));
      if (held === undefined || held.abort.signal.aborted) continue;
      held.abort.abort(new AlumnusError('WORKER_STOPPED', 'the coordinator asked for it back', { where: held.task.taskId }));
    }
  }

  #drop(lost: readonly LeaseId[], why: string): void {
    for (const leaseId of lost) {
      const held = this.#held.get(keyOf(leaseId));
      if (held === undefined || held.abort.signal.aborted) continue;
      this.#options.log(`${held.task.taskId} is dropped: ${why}`, { ...aboutOf(held.task), level: 'warn' });
      held.abort.abort(new AlumnusError('LEASE_LOST', why, { where: held.task.taskId }));
    }
  }
}
