/**
 * Starts and watches the engine: a child process, so that a crash of native code or of memory fails the attempts in
 * flight and nothing else. The next task starts a fresh one.
 *
 * Invariants:
 *  1. Every task handed in is resolved or rejected, whatever becomes of the process that has it.
 *  2. A process's end rejects its own tasks alone.
 *  3. ENGINE_CRASHED is said only where the engine ended by itself, ENGINE_SILENT where it was ended because it hung with tasks in flight;
 *     any other end of ours tells nothing about them.
 *  4. An engine with tasks in flight that says nothing at all for `silentMsMax` is ended, and a fresh one is started. The worker's own
 *     standing still is not taken for the engine's: silence is counted in pings that were sent.
 */
import { fork, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { AlumnusError } from '../../proto/errors.ts';
import type { Checkpoint, Task, TaskResult } from '../../proto/gen/alumnus/v1/task.ts';
import type { Progress } from '../../proto/gen/alumnus/v1/worker.ts';
import type { Log } from '../../telemetry/index.ts';
import type { Measured } from '../measured.ts';
import type { FromEngine, ToEngine } from './messages.ts';

export interface EngineOptions {
  /** Threads that TensorFlow computes with; fixed, since the order of sums depends on it. */
  readonly threads: number;
  /** Named in the records of tasks. */
  readonly workerId: string;
  /** Where decoded shards are kept between tasks. */
  readonly cacheFolder: string;
  readonly log: Log;
  /** Told what engines take; default: they do not measure. */
  readonly onMeasured?: ((measured: Measured) => void) | undefined;
  /** Told that an engine is gone and that another takes its place. */
  readonly onEnd?: ((why: EngineEnd) => void) | undefined;
  /** The engine's program; default the one beside this file. */
  readonly entry?: string;
  /** A cancelled task that hasn't ended after this long is ended with its process; default CANCEL_MS_MAX. */
  readonly cancelMsMax?: number;
  /** An engine with tasks in flight from which neither progress nor an answer came for this long is ended; default SILENT_MS_MAX. */
  readonly silentMsMax?: number;
}

/** Of an engine whose worker goes on. */
export type EngineEnd = 'crashed' | 'silent' | 'stopped';

interface Pending {
  readonly task: Task;
  readonly child: ChildProcess;
  readonly signal: AbortSignal;
  readonly resolve: (result: TaskResult) => void;
  readonly reject: (error: AlumnusError) => void;
  readonly onProgress: (progress: Progress) => void;
  readonly onCheckpoint: (checkpoint: Checkpoint) => void;
}

/** Between two steps of a training and two batches of labeling an engine looks: this is far above either. */
const CANCEL_MS_MAX = 5_000;
/** A single call of TensorFlow keeps the engine's event loop for as long as it takes: this is far above one training step or batch. */
export const SILENT_MS_MAX = 5 * 60_000;
/** Pings in a row without a word after which an engine is taken to hang. */
const PINGS_UNANSWERED_MAX = 10;

export class EngineProcess {
  readonly #options: EngineOptions;
  readonly #pending = new Map<number, Pending>();
  /** Those that we ended, and what that means for their tasks, until they are gone. */
  readonly #ending = new Map<ChildProcess, AlumnusError>();
  #child: ChildProcess | undefined;
  /** Pings to `#child` since it last said anything. */
  #unanswered = 0;
  #pinging: NodeJS.Timeout | undefined;
  #lastId = 0;
  #stopped = false;

  constructor(options: EngineOptions) {
    this.#options = options;
  }

  /** Starts the process ahead of its first task. */
  start(): ChildProcess {
    if (this.#child !== undefined) return this.#child;
    const { threads, workerId, cacheFolder, log } = this.#options;
    // Beside this file, in whichever form it runs (built .js).
    const entry = this.#options.entry ?? fileURLToPath(new URL(import.meta.url.endsWith('.ts') ? './main.ts' : './main.js', import.meta.url));
    const child = fork(entry, ['--threads', String(threads), '--cache', cacheFolder, '--worker', workerId, ...(this.#options.onMeasured === undefined ? [] : ['--measure'])], { serialization: 'advanced', stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
    this.#child = child;
    this.#unanswered = 0;
    child.on('message', (message: FromEngine) => this.#receive(child, message));
    const ended = (how: string): void => {
      if (this.#child === child) this.#child = undefined;
      const byUs = this.#ending.get(child);
      this.#ending.delete(child);
      const mine = [...this.#pending].filter(([, pending]) => pending.child === child);
      if (mine.length > 0) log(`engine ${child.pid ?? ''} ended by ${how} with ${mine.length} tasks in flight`, { level: 'warn' });
      if (!this.#stopped) this.#options.onEnd?.(byUs === undefined ? 'crashed' : byUs.code === 'ENGINE_SILENT' ? 'silent' : 'stopped');
      for (const [id, pending] of mine) {
        this.#pending.delete(id);
        pending.reject(pending.signal.aborted ? new AlumnusError('CANCELLED', 'the task was cancelled and its engine ended')
          : byUs ?? new AlumnusError('ENGINE_CRASHED', `the engine ended by ${how}`));
      }
    };
    child.on('exit', (code, signal) => ended(signal === null ? `exit code ${code ?? 'unknown'}` : `signal ${signal}`));
    // No process could be made, or it could not be talked to.
    child.on('error', (error) => ended(error.message));
    return child;
  }

  run(task: Task, storeUrl: string, onProgress: (progress: Progress) => void, signal: AbortSignal, onCheckpoint: (checkpoint: Checkpoint) => void = () => undefined): Promise<TaskResult> {
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
        child, signal, task,
        resolve: (result) => {
          settle();
          resolve(result);
        },
        reject: (error) => {
          settle();
          reject(error);
        },
        onProgress, onCheckpoint,
      });
      this.#watch();
      signal.addEventListener('abort', cancel, { once: true });
      this.#send(child, { kind: 'run', id, task, storeUrl });
      // An abort that came before is no event any more.
      if (signal.aborted) cancel();
    });
  }

  stop(): void {
    this.#stopped = true;
    if (this.#child !== undefined) this.#end(this.#child);
  }

  /** The next task starts a fresh one at once. */
  #end(child: ChildProcess, why = new AlumnusError('ENGINE_STOPPED', 'the engine was ended, not by this task')): void {
    if (this.#child === child) this.#child = undefined;
    this.#ending.set(child, why);
    child.kill('SIGKILL');
  }

  /** Pings the engine for as long as it has tasks in flight. */
  #watch(): void {
    if (this.#pinging !== undefined) return;
    const { silentMsMax = SILENT_MS_MAX, log } = this.#options;
    this.#unanswered = 0;
    this.#pinging = setInterval(() => {
      const child = this.#child;
      if (child === undefined || ![...this.#pending.values()].some((pending) => pending.child === child)) {
        clearInterval(this.#pinging);
        this.#pinging = undefined;
        return;
      }
      if (this.#unanswered < PINGS_UNANSWERED_MAX) {
        this.#unanswered += 1;
        this.#send(child, { kind: 'ping' });
        return;
      }
      const what = `nothing came from the engine for ${silentMsMax / 1000} s`;
      log(`${what}: process ${child.pid ?? ''} is ended and a new one started`, { level: 'warn' });
      this.#end(child, new AlumnusError('ENGINE_SILENT', what));
      this.start();
    }, silentMsMax / PINGS_UNANSWERED_MAX).unref();
  }

  #send(child: ChildProcess, message: ToEngine): void {
    // A child that is gone has its tasks rejected by its exit.
    if (child.connected) child.send(message, () => undefined);
  }

  /** Of a task that ended meanwhile as well. */
  #note({ id, line, stack }: Extract<FromEngine, { kind: 'note' }>): void {
    const task = id === undefined ? undefined : this.#pending.get(id)?.task;
    const about = task === undefined ? {} : { task: task.taskId, run: task.runId };
    this.#options.log(task === undefined ? line : `${task.taskId}: ${line}`, { ...about, ...(stack === undefined ? {} : { stack, level: 'error' }) });
  }

  #receive(child: ChildProcess, message: FromEngine): void {
    if (child === this.#child) this.#unanswered = 0;
    if (message.kind === 'ready' || message.kind === 'pong') return;
    if (message.kind === 'measured') return this.#options.onMeasured?.(message.measured);
    if (message.kind === 'note') return this.#note(message);
    const pending = this.#pending.get(message.id);
    if (pending === undefined) return;
    if (message.kind === 'progress') {
      pending.onProgress(message.progress);
      return;
    }
    if (message.kind === 'checkpoint') {
      pending.onCheckpoint(message.checkpoint);
      return;
    }
    this.#pending.delete(message.id);
    if (message.kind === 'done') pending.resolve(message.result);
    else pending.reject(new AlumnusError(message.code, message.message, { where: message.where }));
  }
}
