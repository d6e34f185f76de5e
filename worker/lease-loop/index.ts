/**
 * The public door of `worker/lease-loop`: acquires leases, has the engine do their tasks, renews, and reports. It never
 * computes, so it never blocks: an engine that is busy for minutes costs no renewal.
 *
 * Invariants:
 *  1. A lease is held from its grant until its result is acknowledged, refused, or the lease is lost.
 *  2. A finished result is reported until whoever leads answers, across restarts and failovers; it is never thrown away.
 *  3. The work of a lost lease is stopped; a failure of it is not reported, since it was journalled when the lease ended.
 */
import { hostname } from 'node:os';
import { credentials, Metadata, type CallOptions, type ClientUnaryCall, type ServiceError } from '@grpc/grpc-js';
import { AlumnusError, toAlumnusError, type ErrorCode } from '../../proto/errors.ts';
import { Addresses, fromStatus } from '../../proto/call.ts';
import type { Task, TaskResult } from '../../proto/gen/alumnus/v1/task.ts';
import { WorkerServiceClient, type HeldLease, type Lease, type LeaseId, type Progress, type RegisterResponse } from '../../proto/gen/alumnus/v1/worker.ts';
import { Backoff, sleep } from './backoff.ts';

/** How long one Acquire is held open by the coordinator. */
const ACQUIRE_WAIT_MS = 20_000;
/** Beyond the wait asked for: the coordinator is gone, not slow. */
const CALL_MS_MAX = 10_000;
/** Between two looks for who leads: a new leader waits a second for workers to announce what they hold. */
const LOOK_MS_MAX = 500;
/** One look; a coordinator that stands still must not cost a new leader's second. */
const LOOK_CALL_MS = 1_000;
/** A connection on which nothing came for so long is asked for a sign, and is given up after as long again: a coordinator that stands still closes nothing. */
const SILENT_MS_MAX = 2_000;
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
  /** `host:port` of each coordinator, with commas between them. */
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

/** What the loops know of the coordinator that took them in. */
interface Registered {
  readonly address: string;
  readonly response: RegisterResponse;
}

type Call<Response> = (client: WorkerServiceClient, callback: Callback<Response>, deadline: Deadline) => ClientUnaryCall;

export class LeaseLoop {
  readonly #options: LeaseLoopOptions;
  readonly #addresses: Addresses;
  /** One for each address that was asked; there are few. */
  readonly #clients = new Map<string, WorkerServiceClient>();
  readonly #held = new Map<string, Held>();
  readonly #holds = new Set<string>();
  readonly #stopping = new AbortController();
  #registered: Registered | undefined;
  #registering: Promise<void> | undefined;
  #freed: () => void = () => undefined;
  #acquiring: ClientUnaryCall | undefined;

  /** @throws AlumnusError USAGE for addresses that are none. */
  constructor(options: LeaseLoopOptions) {
    this.#options = options;
    this.#addresses = new Addresses(options.address);
  }

  /** Works until `stop`. @throws AlumnusError only where trying again can't help. */
  async run(): Promise<void> {
    await this.#register();
    const renewing = this.#renewLoop();
    try {
      await this.#acquireLoop();
    } finally {
      // What is handed back needs its connection until then.
      await this.stop();
      await renewing;
      for (const client of this.#clients.values()) client.close();
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

  /** Finds who leads and announces what is held. Whoever notices a new leader first does it for all loops. */
  #register(): Promise<void> {
    this.#registering ??= this.#registerOnce().finally(() => {
      this.#registering = undefined;
    });
    return this.#registering;
  }

  async #registerOnce(): Promise<void> {
    const { workerId, device, version, log } = this.#options;
    const backoff = new Backoff(LOOK_MS_MAX);
    for (;;) {
      try {
        const { address, response } = await this.#ask<RegisterResponse>((client, callback, deadline) => client.register({ workerId, host: hostname(), processId: process.pid, device, slots: SLOTS, held: this.#announce(), version }, new Metadata(), deadline, callback), LOOK_CALL_MS);
        this.#registered = { address, response };
        this.#drop(response.lost, 'the new leader does not know it');
        log(`registered with term ${response.term} at ${address}`);
        return;
      } catch (thrown) {
        const error = toAlumnusError(thrown);
        if (!error.retryable) throw error;
        if (this.#stopping.signal.aborted) return;
        if (backoff.attempts === 0) log(`waits for a coordinator at ${this.#addresses.text}: ${error.message}`);
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
        const { response } = await this.#ask<{ term: number; leases: Lease[] }>(
          (client, callback, deadline) => (this.#acquiring = client.acquire({ workerId, max: free, waitMs: ACQUIRE_WAIT_MS, holds: [...this.#holds] }, new Metadata(), deadline, callback)),
          ACQUIRE_WAIT_MS + CALL_MS_MAX,
        );
        backoff.reset();
        for (const lease of response.leases) this.#begin(lease);
      } catch (thrown) {
        const error = toAlumnusError(thrown);
        if (this.#stopping.signal.aborted) return;
        if (!error.retryable) throw error;
        if (isElsewhere(error)) {
          if (error.code !== 'NOT_LEADER') log(`lost the coordinator: ${error.message}`);
          await this.#register();
        } else await sleep(backoff.next(), this.#stopping.signal);
      }
    }
  }

  async #renewLoop(): Promise<void> {
    while (!this.#stopping.signal.aborted) {
      await sleep(this.#registered?.response.renewEveryMs ?? 1_000, this.#stopping.signal);
      if (this.#stopping.signal.aborted) return;
      if (this.#held.size === 0) continue;
      try {
        const { response } = await this.#ask<{ term: number; lost: LeaseId[] }>((client, callback, deadline) => client.renew({ workerId: this.#options.workerId, held: this.#announce() }, new Metadata(), deadline, callback), this.#registered?.response.renewEveryMs);
        this.#drop(response.lost, 'the coordinator gave it up');
        if (response.term !== this.#registered?.response.term) await this.#register();
      } catch (thrown) {
        // Whether the lease lives is the coordinator's to say: whoever leads now is to hear of it at once.
        const error = toAlumnusError(thrown);
        if (!error.retryable) this.#options.log(error.sentence);
        else if (isElsewhere(error)) await this.#register().catch((failed: unknown) => this.#options.log(toAlumnusError(failed).sentence));
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
      result = await engine.run(task, this.#registered?.response.storeUrl ?? '', onProgress, signal);
    } catch (thrown) {
      const error = signal.aborted && signal.reason instanceof AlumnusError ? signal.reason : toAlumnusError(thrown, task.taskId);
      if (error.code === 'LEASE_LOST') return;
      log(`${task.taskId} failed: ${error.sentence}`);
      const counts = !NOT_THE_TASKS_FAULT.has(error.code);
      const message = error.where === '' || error.where === task.taskId ? error.message : `${error.where}: ${error.message}`;
      await this.#report((client, callback, deadline) => client.fail({ workerId, leaseId, taskId: task.taskId, code: error.code, message, counts }, new Metadata(), deadline, callback));
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
    const answer = await this.#report<{ accepted: boolean; reason: string }>((client, callback, deadline) => client.complete({ workerId, leaseId, taskId: task.taskId, result }, new Metadata(), deadline, callback));
    if (answer?.accepted === false) log(`${task.taskId} was not taken: ${answer.reason}`);
  }

  /** Says it until whoever leads has answered. Undefined where the worker stops first. */
  async #report<Response>(call: Call<Response>): Promise<Response | undefined> {
    const backoff = new Backoff(LOOK_MS_MAX);
    for (;;) {
      try {
        return (await this.#ask(call)).response;
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

  /** Asks the coordinator of the moment; where that isn't the leader, the next call goes to another. */
  #ask<Response>(call: Call<Response>, withinMs = CALL_MS_MAX): Promise<{ address: string; response: Response }> {
    const address = this.#addresses.current;
    return new Promise((resolve, reject) => {
      call(this.#clientOf(address), (error, response) => {
        if (error === null) return resolve({ address, response });
        const failure = toAlumnusError(fromStatus(error, address));
        // Several calls may fail with one leader: the first that tells moves on.
        if (isElsewhere(failure) && this.#addresses.current === address) {
          if (failure.code === 'NOT_LEADER') this.#addresses.redirect(failure.where);
          else this.#addresses.next();
        }
        reject(failure);
      }, { deadline: new Date(Date.now() + withinMs) });
    });
  }

  #clientOf(address: string): WorkerServiceClient {
    const known = this.#clients.get(address);
    if (known !== undefined) return known;
    const client = new WorkerServiceClient(address, credentials.createInsecure(), {
      'grpc.max_receive_message_length': MESSAGE_BYTES_MAX, 'grpc.max_send_message_length': MESSAGE_BYTES_MAX,
      // A coordinator that restarts should find its workers again within a second or two.
      'grpc.initial_reconnect_backoff_ms': 100, 'grpc.max_reconnect_backoff_ms': 500,
      'grpc.keepalive_time_ms': SILENT_MS_MAX, 'grpc.keepalive_timeout_ms': SILENT_MS_MAX,
    });
    this.#clients.set(address, client);
    return client;
  }
}

type Callback<Response> = (error: ServiceError | null, response: Response) => void;
type Deadline = Pick<CallOptions, 'deadline'>;

/** Whether another coordinator may answer where this one doesn't. */
const isElsewhere = ({ code }: AlumnusError): boolean => code === 'NOT_LEADER' || code === 'UNREACHABLE' || code === 'TIMED_OUT' || code === 'JOURNAL_UNREACHABLE';
