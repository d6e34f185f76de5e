/**
 * The public door of `worker/lease-loop`: acquires leases, has the engine do their tasks, renews, and reports. It never
 * computes, so it never blocks: an engine that is busy for minutes costs no renewal.
 *
 * Invariants:
 *  1. A lease is held from its grant until its result is acknowledged, refused, or the lease is lost.
 *  2. A finished result is reported until the coordinator answers, across its restarts; it is never thrown away.
 *  3. The work of a lost lease is stopped; a failure of it is not reported, since it was journalled when the lease ended.
 */
import { hostname } from 'node:os';
import { credentials, Metadata, type CallOptions, type ClientUnaryCall, type ServiceError } from '@grpc/grpc-js';
import { AlumnusError, isErrorCode, toAlumnusError, type ErrorCode } from '../../proto/errors.ts';
import type { Task, TaskResult } from '../../proto/gen/alumnus/v1/task.ts';
import { WorkerServiceClient, type HeldLease, type Lease, type LeaseId, type Progress, type RegisterResponse } from '../../proto/gen/alumnus/v1/worker.ts';
import { Backoff, sleep } from './backoff.ts';

/** How long one Acquire is held open by the coordinator. */
const ACQUIRE_WAIT_MS = 20_000;
/** Beyond the wait asked for: the coordinator is gone, not slow. */
const CALL_MS_MAX = 10_000;
/** Workers and coordinator are often started together: one that waits for the other should not sleep past its start. */
const REGISTER_MS_MAX = 500;
/** Digests that a worker remembers to hold; as many shards as its cache keeps warm at most. */
const HOLDS_MAX = 1_000;
/** A task in hand and the next one loading. */
const SLOTS = 2;
/** Ends of an attempt that say nothing about its task. */
const NOT_THE_TASKS_FAULT: ReadonlySet<ErrorCode> = new Set(['WORKER_STOPPED', 'ENGINE_STOPPED', 'CANCELLED']);
const MESSAGE_BYTES_MAX = 64 * 1024 * 1024;

export interface Engine {
  /** Does a task. @throws AlumnusError with the code that the attempt failed with. */
  run(task: Task, storeUrl: string, onProgress: (progress: Progress) => void, signal: AbortSignal): Promise<TaskResult>;
}

export interface LeaseLoopOptions {
  readonly address: string;
  readonly workerId: string;
  readonly device: string;
  readonly version: string;
  readonly engine: Engine;
  readonly log: (line: string) => void;
}

interface Held {
  readonly lease: Lease;
  readonly leaseId: LeaseId;
  readonly task: Task;
  readonly abort: AbortController;
  readonly done: Promise<void>;
  progress: Progress | undefined;
}

const keyOf = (leaseId: LeaseId): string => `${leaseId.term}.${leaseId.counter}`;

export class LeaseLoop {
  readonly #options: LeaseLoopOptions;
  readonly #client: WorkerServiceClient;
  readonly #held = new Map<string, Held>();
  readonly #holds = new Set<string>();
  readonly #stopping = new AbortController();
  #registration: RegisterResponse | undefined;
  #freed: () => void = () => undefined;
  #acquiring: ClientUnaryCall | undefined;

  constructor(options: LeaseLoopOptions) {
    this.#options = options;
    this.#client = new WorkerServiceClient(options.address, credentials.createInsecure(), {
      'grpc.max_receive_message_length': MESSAGE_BYTES_MAX, 'grpc.max_send_message_length': MESSAGE_BYTES_MAX,
      // A coordinator that restarts should find its workers again within a second or two.
      'grpc.initial_reconnect_backoff_ms': 100, 'grpc.max_reconnect_backoff_ms': 1_000,
    });
  }

  /** Works until `stop`. @throws AlumnusError only where trying again can't help. */
  async run(): Promise<void> {
    await this.#register();
    const renewing = this.#renewLoop();
    try {
      await this.#acquireLoop();
    } finally {
      this.#stopping.abort();
      await renewing;
      this.#client.close();
    }
  }

  /** Takes no more work, hands back what is held (that is nobody's failure), and lets `run` return. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#acquiring?.cancel();
    this.#freed();
    const handedBack = [...this.#held.values()].map(async (held) => {
      held.abort.abort(new AlumnusError('WORKER_STOPPED', 'the worker was asked to stop', { where: held.task.taskId }));
      await held.done;
    });
    await Promise.all(handedBack);
  }

  async #register(): Promise<void> {
    const { workerId, device, version, log } = this.#options;
    const backoff = new Backoff(REGISTER_MS_MAX);
    for (;;) {
      try {
        const response = await this.#call<RegisterResponse>((callback, deadline) => this.#client.register({ workerId, host: hostname(), processId: process.pid, device, slots: SLOTS, held: this.#announce(), version }, new Metadata(), deadline, callback));
        this.#registration = response;
        this.#drop(response.lost, 'the new leader does not know it');
        log(`registered with term ${response.term} at ${this.#options.address}`);
        return;
      } catch (thrown) {
        const error = toAlumnusError(thrown);
        if (!error.retryable) throw error;
        if (this.#stopping.signal.aborted) return;
        if (backoff.attempts === 0) log(`waits for a coordinator at ${this.#options.address}`);
        await sleep(backoff.next(), this.#stopping.signal);
      }
    }
  }

  async #acquireLoop(): Promise<void> {
    const backoff = new Backoff();
    const { workerId, log } = this.#options;
    while (!this.#stopping.signal.aborted) {
      const free = SLOTS - this.#held.size;
      if (free <= 0) {
        await new Promise<void>((resolve) => (this.#freed = resolve));
        continue;
      }
      try {
        const response = await this.#call<{ term: number; leases: Lease[] }>(
          (callback, deadline) => (this.#acquiring = this.#client.acquire({ workerId, max: free, waitMs: ACQUIRE_WAIT_MS, holds: [...this.#holds] }, new Metadata(), deadline, callback)),
          ACQUIRE_WAIT_MS + CALL_MS_MAX,
        );
        backoff.reset();
        for (const lease of response.leases) this.#begin(lease);
      } catch (thrown) {
        const error = toAlumnusError(thrown);
        if (this.#stopping.signal.aborted) return;
        if (error.code === 'NOT_LEADER') {
          await this.#register();
          continue;
        }
        if (!error.retryable) throw error;
        if (backoff.attempts === 0) log(`lost the coordinator: ${error.message}`);
        await sleep(backoff.next(), this.#stopping.signal);
        if (backoff.attempts === 1) continue;
        await this.#register();
      }
    }
  }

  async #renewLoop(): Promise<void> {
    while (!this.#stopping.signal.aborted) {
      await sleep(this.#registration?.renewEveryMs ?? 1_000, this.#stopping.signal);
      if (this.#stopping.signal.aborted) return;
      if (this.#held.size === 0) continue;
      try {
        const response = await this.#call<{ term: number; lost: LeaseId[] }>((callback, deadline) => this.#client.renew({ workerId: this.#options.workerId, held: this.#announce() }, new Metadata(), deadline, callback), this.#registration?.renewEveryMs);
        this.#drop(response.lost, 'the coordinator gave it up');
        if (response.term !== this.#registration?.term) await this.#register();
      } catch (thrown) {
        // The next renewal tries again; whether the lease lives is the coordinator's to say.
        const error = toAlumnusError(thrown);
        if (!error.retryable) this.#options.log(error.sentence);
      }
    }
  }

  #begin(lease: Lease): void {
    const { leaseId, task } = lease;
    if (leaseId === undefined || task === undefined) return;
    const abort = new AbortController();
    const done = this.#work(leaseId, task, abort.signal).finally(() => {
      this.#held.delete(keyOf(leaseId));
      this.#freed();
    });
    this.#held.set(keyOf(leaseId), { lease, leaseId, task, abort, done, progress: undefined });
    // Whatever goes wrong in reporting was logged there; a rejected promise must not end the process.
    done.catch((thrown: unknown) => this.#options.log(toAlumnusError(thrown, task.taskId).sentence));
  }

  async #work(leaseId: LeaseId, task: Task, signal: AbortSignal): Promise<void> {
    const { engine, workerId, log } = this.#options;
    const onProgress = (progress: Progress): void => {
      const held = this.#held.get(keyOf(leaseId));
      if (held !== undefined) held.progress = progress;
    };
    let result: TaskResult;
    try {
      result = await engine.run(task, this.#registration?.storeUrl ?? '', onProgress, signal);
    } catch (thrown) {
      const error = signal.aborted && signal.reason instanceof AlumnusError ? signal.reason : toAlumnusError(thrown, task.taskId);
      if (error.code === 'LEASE_LOST') return;
      log(`${task.taskId} failed: ${error.sentence}`);
      const counts = !NOT_THE_TASKS_FAULT.has(error.code);
      const message = error.where === '' || error.where === task.taskId ? error.message : `${error.where}: ${error.message}`;
      await this.#report((callback, deadline) => this.#client.fail({ workerId, leaseId, taskId: task.taskId, code: error.code, message, counts }, new Metadata(), deadline, callback));
      return;
    }
    for (const digest of task.affinity) {
      this.#holds.delete(digest);
      this.#holds.add(digest);
    }
    for (const oldest of this.#holds) {
      if (this.#holds.size <= HOLDS_MAX) break;
      this.#holds.delete(oldest);
    }
    // Reported even where the lease ran out meanwhile: the work is done, and whether the task is still open is the coordinator's to say.
    const answer = await this.#report<{ accepted: boolean; reason: string }>((callback, deadline) => this.#client.complete({ workerId, leaseId, taskId: task.taskId, result }, new Metadata(), deadline, callback));
    if (answer?.accepted === false) log(`${task.taskId} was not taken: ${answer.reason}`);
  }

  /** Says it until it is answered. Undefined where the worker stops first. */
  async #report<Response>(call: (callback: Callback<Response>, deadline: Deadline) => unknown): Promise<Response | undefined> {
    const backoff = new Backoff();
    for (;;) {
      try {
        return await this.#call(call);
      } catch (thrown) {
        const error = toAlumnusError(thrown);
        if (!error.retryable) throw error;
        // A worker that stops says it once: the lease runs out by itself.
        if (this.#stopping.signal.aborted) return undefined;
        await sleep(backoff.next(), this.#stopping.signal);
      }
    }
  }

  #announce(): HeldLease[] {
    return [...this.#held.values()].map(({ leaseId, task, progress }) => ({ leaseId, taskId: task.taskId, progress }));
  }

  #drop(lost: readonly LeaseId[], why: string): void {
    for (const leaseId of lost) {
      const held = this.#held.get(keyOf(leaseId));
      if (held === undefined || held.abort.signal.aborted) continue;
      this.#options.log(`${held.task.taskId} is dropped: ${why}`);
      held.abort.abort(new AlumnusError('LEASE_LOST', why, { where: held.task.taskId }));
    }
  }

  #call<Response>(call: (callback: Callback<Response>, deadline: Deadline) => unknown, withinMs = CALL_MS_MAX): Promise<Response> {
    return new Promise((resolve, reject) => {
      call((error, response) => {
        if (error === null) resolve(response);
        else reject(fromStatus(error, this.#options.address));
      }, { deadline: new Date(Date.now() + withinMs) });
    });
  }
}

type Callback<Response> = (error: ServiceError | null, response: Response) => void;
type Deadline = Pick<CallOptions, 'deadline'>;

/** The error of our table that a status carries; a status without one is the network's. */
function fromStatus(error: ServiceError, address: string): AlumnusError {
  const [code] = error.metadata.get('alumnus-code');
  if (typeof code === 'string' && isErrorCode(code)) return new AlumnusError(code, error.details, { where: decodeURIComponent(String(error.metadata.get('alumnus-where')[0] ?? '')), cause: error });
  return new AlumnusError('UNREACHABLE', error.details, { where: address, cause: error });
}
