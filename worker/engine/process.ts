/**
 * Starts and watches the engine: a child process, so that a crash of native code or of memory fails the attempts in
 * flight and nothing else. The next task starts a fresh one.
 *
 * Invariants:
 *  1. Every task handed in is resolved or rejected, whatever becomes of the process that has it.
 *  2. A process's end rejects its own tasks alone.
 *  3. ENGINE_CRASHED is said only where the engine ended by itself: what we end tells nothing about the tasks in flight.
 */
import { fork, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { AlumnusError } from '../../proto/errors.ts';
import type { Task, TaskResult } from '../../proto/gen/alumnus/v1/task.ts';
import type { Progress } from '../../proto/gen/alumnus/v1/worker.ts';
import type { FromEngine, ToEngine } from './messages.ts';

export interface EngineOptions {
  /** Threads that TensorFlow computes with; fixed, since the order of sums depends on it. */
  readonly threads: number;
  /** Named in the records of tasks. */
  readonly workerId: string;
  /** Where decoded shards are kept between tasks. */
  readonly cacheFolder: string;
  readonly log: (line: string) => void;
  /** The engine's program; default the one beside this file. */
  readonly entry?: string;
  /** A cancelled task that hasn't ended after this long is ended with its process; default CANCEL_MS_MAX. */
  readonly cancelMsMax?: number;
}

interface Pending {
  readonly child: ChildProcess;
  readonly signal: AbortSignal;
  readonly resolve: (result: TaskResult) => void;
  readonly reject: (error: AlumnusError) => void;
  readonly onProgress: (progress: Progress) => void;
}

/** Between two steps of a training and two batches of labeling an engine looks: this is far above either. */
const CANCEL_MS_MAX = 5_000;

export class EngineProcess {
  readonly #options: EngineOptions;
  readonly #pending = new Map<number, Pending>();
  /** Those that we ended, until they are gone. */
  readonly #ending = new Set<ChildProcess>();
  #child: ChildProcess | undefined;
  #lastId = 0;

  constructor(options: EngineOptions) {
    this.#options = options;
  }

  /** Starts the process ahead of its first task. */
  start(): ChildProcess {
    if (this.#child !== undefined) return this.#child;
    const { threads, workerId, cacheFolder, log } = this.#options;
    // Beside this file, in whichever form it runs (built .js).
    const entry = this.#options.entry ?? fileURLToPath(new URL(import.meta.url.endsWith('.ts') ? './main.ts' : './main.js', import.meta.url));
    const child = fork(entry, ['--threads', String(threads), '--cache', cacheFolder, '--worker', workerId], { serialization: 'advanced', stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
    this.#child = child;
    child.on('message', (message: FromEngine) => this.#receive(message));
    const ended = (how: string): void => {
      if (this.#child === child) this.#child = undefined;
      const byUs = this.#ending.delete(child);
      const mine = [...this.#pending].filter(([, pending]) => pending.child === child);
      if (mine.length > 0) log(`engine ${child.pid ?? ''} ended by ${how} with ${mine.length} tasks in flight`);
      for (const [id, pending] of mine) {
        this.#pending.delete(id);
        pending.reject(pending.signal.aborted ? new AlumnusError('CANCELLED', 'the task was cancelled and its engine ended')
          : byUs ? new AlumnusError('ENGINE_STOPPED', 'the engine was ended, not by this task')
          : new AlumnusError('ENGINE_CRASHED', `the engine ended by ${how}`));
      }
    };
    child.on('exit', (code, signal) => ended(signal === null ? `exit code ${code ?? 'unknown'}` : `signal ${signal}`));
    // No process could be made, or it could not be talked to.
    child.on('error', (error) => ended(error.message));
    return child;
  }

  run(task: Task, storeUrl: string, onProgress: (progress: Progress) => void, signal: AbortSignal): Promise<TaskResult> {
    const child = this.start();
    this.#lastId += 1;
    const id = this.#lastId;
    return new Promise<TaskResult>((resolve, reject) => {
      let cancelTimer: NodeJS.Timeout | undefined;
      const cancel = (): void => {
        this.#send(child, { kind: 'cancel', id });
        cancelTimer = setTimeout(() => this.#end(child), this.#options.cancelMsMax ?? CANCEL_MS_MAX);
      };
      const settle = (): void => {
        clearTimeout(cancelTimer);
        signal.removeEventListener('abort', cancel);
      };
      this.#pending.set(id, {
        child, signal,
        resolve: (result) => {
          settle();
          resolve(result);
        },
        reject: (error) => {
          settle();
          reject(error);
        },
        onProgress,
      });
      signal.addEventListener('abort', cancel, { once: true });
      this.#send(child, { kind: 'run', id, task, storeUrl });
      // An abort that came before is no event any more.
      if (signal.aborted) cancel();
    });
  }

  stop(): void {
    if (this.#child !== undefined) this.#end(this.#child);
  }

  /** The next task starts a fresh one at once. */
  #end(child: ChildProcess): void {
    if (this.#child === child) this.#child = undefined;
    this.#ending.add(child);
    child.kill('SIGKILL');
  }

  #send(child: ChildProcess, message: ToEngine): void {
    // A child that is gone has its tasks rejected by its exit.
    if (child.connected) child.send(message, () => undefined);
  }

  #receive(message: FromEngine): void {
    if (message.kind === 'ready') return;
    const pending = this.#pending.get(message.id);
    if (pending === undefined) return;
    if (message.kind === 'progress') {
      pending.onProgress(message.progress);
      return;
    }
    this.#pending.delete(message.id);
    if (message.kind === 'done') pending.resolve(message.result);
    else pending.reject(new AlumnusError(message.code, message.message, { where: message.where }));
  }
}
