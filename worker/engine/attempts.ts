/**
 * The attempts under way on one thread of the engine: does the tasks that it is handed, tells their progress and their end, and cancels them.
 * The same on the thread that has TensorFlow and on the one that labels (label-end.ts): they differ in how an attempt gets the device.
 * Not for: processes and threads.
 * Invariant: every attempt ends with one `done` or `failed`, and nothing is told of it after that.
 */
import { toAlumnusError } from '../../proto/errors.ts';
import type { Machine } from '../../proto/gen/alumnus/v1/record.ts';
import type { Checkpoint, TaskResult } from '../../proto/gen/alumnus/v1/task.ts';
import type { Progress } from '../../proto/gen/alumnus/v1/worker.ts';
import { observedStore, openStore, type ObjectStore } from '../../store/index.ts';
import { operations } from '../measured.ts';
import { runTask, withSpecification, writeRecord, type TaskContext } from '../tasks/index.ts';
import type { FromEngine, ToEngine } from './messages.ts';
import type { Turnstile } from './turnstile.ts';

/** Progress more often than this is noise on the channel. */
const PROGRESS_MS = 100;

export type RunMessage = Extract<ToEngine, { kind: 'run' }>;

/** The device as one attempt has it. */
export interface Device extends Pick<TaskContext, 'onDevice' | 'predict'> {
  /** Milliseconds for which it was this attempt's. */
  heldMs(): number;
}

export interface AttemptsOptions {
  readonly cacheFolder: string;
  /** Named in the records of tasks. */
  readonly workerId: string;
  /** What results depend on to the bit, named there, too. */
  readonly machine: Machine;
  readonly send: (message: FromEngine) => void;
  readonly deviceOf: (message: RunMessage, signal: AbortSignal) => Device;
}

export class Attempts {
  readonly #options: AttemptsOptions;
  readonly #running = new Map<number, AbortController>();

  constructor(options: AttemptsOptions) {
    this.#options = options;
  }

  async run(message: RunMessage): Promise<void> {
    const { cacheFolder, workerId, machine, send, deviceOf } = this.#options;
    const { id, storeUrl } = message;
    const abort = new AbortController();
    this.#running.set(id, abort);
    let lastMs = 0;
    const progress = (each: Progress): void => {
      const now = Date.now();
      if (now - lastMs < PROGRESS_MS && each.done < each.total) return;
      lastMs = now;
      send({ kind: 'progress', id, progress: each });
    };
    try {
      const store = await storeAt(storeUrl);
      const task = await withSpecification(store, message.task);
      const { heldMs, ...device } = deviceOf(message, abort.signal);
      const checkpoint = (each: Checkpoint): void => send({ kind: 'checkpoint', id, checkpoint: each });
      const note = (line: string): void => send({ kind: 'note', id, line });
      const result = await runTask({ task, store, cacheFolder, signal: abort.signal, progress, checkpoint, note, ...device });
      const done: TaskResult = { result, deviceMs: Math.round(heldMs()) };
      // Before anyone is told: whoever takes the result finds it in the bucket. What is found of a tar is no run's, and lies there already.
      if (result.$case !== 'index') await writeRecord(store, task, workerId, done, machine);
      send({ kind: 'done', id, result: done });
    } catch (thrown) {
      const error = toAlumnusError(thrown, message.task.taskId);
      if (error.code === 'INTERNAL' && !abort.signal.aborted) send({ kind: 'note', id, line: error.message, stack: thrown instanceof Error ? thrown.stack : String(thrown) });
      send({ kind: 'failed', id, code: abort.signal.aborted ? 'CANCELLED' : error.code, message: error.message, where: error.where });
    } finally {
      this.#running.delete(id);
    }
  }

  /** Nothing happens where it is not under way here. */
  cancel(id: number): void {
    this.#running.get(id)?.abort();
  }
}

const stores = new Map<string, Promise<ObjectStore>>();

/** One of each URL on each thread. @throws AlumnusError as `openStore` */
export function storeAt(url: string): Promise<ObjectStore> {
  const known = stores.get(url);
  if (known !== undefined) return known;
  // The coordinator made it: a folder that is missing here is not the one that is meant.
  const opened = openStore(url, { create: false }).then((store) => observedStore(store, (operation, seconds, thrown) => {
    if (operations.isHeard) operations.tell({ operation, seconds, code: thrown === undefined ? undefined : toAlumnusError(thrown).code });
  }));
  stores.set(url, opened);
  opened.catch(() => stores.delete(url));
  return opened;
}

/** The device on the thread that has it, in turns. One who was told to stop takes none. */
export function deviceInTurn(turnstile: Turnstile, kind: string, signal: AbortSignal): Device {
  let ms = 0;
  return {
    heldMs: () => ms,
    onDevice: (work) => turnstile.pass(async () => {
      signal.throwIfAborted();
      const startMs = performance.now();
      try {
        return await work();
      } finally {
        ms += performance.now() - startMs;
      }
    }, kind),
  };
}
