/**
 * Starts and watches the engine: a child process, so that a crash of native code or of memory fails the attempts in
 * flight and nothing else. The next task starts a fresh one.
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
  /** Where decoded shards are kept between tasks. */
  readonly cacheFolder: string;
  readonly log: (line: string) => void;
}

interface Pending {
  readonly resolve: (result: TaskResult) => void;
  readonly reject: (error: AlumnusError) => void;
  readonly onProgress: (progress: Progress) => void;
}

/** A cancelled engine task that hasn't ended after this long is ended with its process. */
const CANCEL_MS_MAX = 5_000;

export class EngineProcess {
  readonly #options: EngineOptions;
  readonly #pending = new Map<number, Pending>();
  #child: ChildProcess | undefined;
  #lastId = 0;

  constructor(options: EngineOptions) {
    this.#options = options;
  }

  /** Starts the process ahead of its first task. */
  start(): ChildProcess {
    if (this.#child !== undefined) return this.#child;
    const { threads, cacheFolder, log } = this.#options;
    // Beside this file, in whichever form it runs (built .js).
    const entry = fileURLToPath(new URL(import.meta.url.endsWith('.ts') ? './main.ts' : './main.js', import.meta.url));
    const child = fork(entry, ['--threads', String(threads), '--cache', cacheFolder], { serialization: 'advanced', stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
    this.#child = child;
    child.on('message', (message: FromEngine) => this.#receive(message));
    const ended = (how: string): void => {
      if (this.#child === child) this.#child = undefined;
      if (this.#pending.size > 0) log(`engine ${child.pid ?? ''} ended by ${how} with ${this.#pending.size} tasks in flight`);
      for (const pending of this.#pending.values()) pending.reject(new AlumnusError('ENGINE_CRASHED', `the engine ended by ${how}`));
      this.#pending.clear();
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
        cancelTimer = setTimeout(() => child.kill('SIGKILL'), CANCEL_MS_MAX);
      };
      const settle = (): void => {
        clearTimeout(cancelTimer);
        signal.removeEventListener('abort', cancel);
      };
      this.#pending.set(id, {
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
    });
  }

  stop(): void {
    this.#child?.kill('SIGKILL');
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
