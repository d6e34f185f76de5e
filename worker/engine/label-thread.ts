/**
 * The label thread seen from the engine's own: hands it label tasks, passes on what it tells the worker, and predicts its batches when the
 * device is the task's. It is started with the first task. From source, as tests run, its end lies on this thread, behind the same channel.
 * Not for: what a label task is (worker/tasks/label.ts).
 * Invariants:
 *  1. Every task handed in is told to be done or failed, whatever becomes of the thread.
 *  2. Between two batches the event loop turns once: the engine hears its worker, however many batches lie ready.
 *  3. A task that ended, or whose thread did, holds no device beyond the batch under way.
 */
import { once } from 'node:events';
import { MessageChannel, Worker } from 'node:worker_threads';
import { toAlumnusError } from '../../proto/errors.ts';
import { letGo, predictHere, type ImageBatch } from '../tasks/index.ts';
import { deviceInTurn, storeAt, type RunMessage } from './attempts.ts';
import { serveLabels, type LabelEndOptions } from './label-end.ts';
import type { FromEngine, FromLabelThread, Port, ToLabelThread } from './messages.ts';
import type { Turnstile } from './turnstile.ts';

export interface LabelThreadOptions extends LabelEndOptions {
  readonly send: (message: FromEngine) => void;
  readonly turnstile: Turnstile;
}

interface Thread {
  readonly port: Port<ToLabelThread, FromLabelThread>;
  close(): Promise<unknown>;
}

export class LabelThread {
  readonly #options: LabelThreadOptions;
  /** Under way. */
  readonly #tasks = new Map<number, { readonly taskId: string; cancelled: boolean }>();
  readonly #batches = new Map<number, BatchQueue>();
  #thread: Thread | undefined;

  constructor(options: LabelThreadOptions) {
    this.#options = options;
  }

  run(message: RunMessage): void {
    // As before any task but a training's parts; there, `runTask` only frees what its own thread holds.
    letGo();
    this.#thread ??= this.#start();
    this.#tasks.set(message.id, { taskId: message.task.taskId, cancelled: false });
    this.#post(message);
  }

  /** Nothing happens where it is not under way here. */
  cancel(id: number): void {
    const task = this.#tasks.get(id);
    if (task === undefined) return;
    task.cancelled = true;
    this.#post({ kind: 'cancel', id });
  }

  /** Answered once both threads' event loops turn; a thread without work has nothing to hang in. */
  ping(): void {
    if (this.#tasks.size === 0) this.#options.send({ kind: 'pong' });
    else this.#post({ kind: 'ping' });
  }

  /** Ends the thread; its tasks fail. */
  async close(): Promise<void> {
    await this.#thread?.close();
    this.#ended('it was closed');
  }

  #post(message: ToLabelThread, transferred: readonly ArrayBuffer[] = []): void {
    this.#thread?.port.postMessage(message, transferred);
  }

  #start(): Thread {
    const { cacheFolder, workerId, machine, measures } = this.#options;
    const hear = (message: FromLabelThread): void => this.#hear(message);
    if (import.meta.url.endsWith('.ts')) {
      // Not every Node that we support starts a thread from TypeScript.
      const { port1, port2 } = new MessageChannel();
      serveLabels(port2, { cacheFolder, workerId, machine });
      port1.on('message', hear);
      return { port: port1, close: () => Promise.resolve(port1.close()) };
    }
    // Options of the process, such as one that says how its own program is read, are not for it.
    const worker = new Worker(new URL('./label-main.js', import.meta.url), { execArgv: [], workerData: { cacheFolder, workerId, machine, measures } satisfies LabelEndOptions });
    worker.on('message', hear);
    const ended = (how: string): void => {
      if (this.#thread?.port === worker) this.#ended(how);
    };
    worker.on('error', (error: Error) => ended(error.message));
    worker.on('exit', (code) => ended(`exit code ${code}`));
    return {
      port: worker,
      close: async () => {
        const exit = once(worker, 'exit');
        worker.postMessage({ kind: 'end' } satisfies ToLabelThread);
        await exit;
      },
    };
  }

  #ended(how: string): void {
    this.#thread = undefined;
    for (const queue of this.#batches.values()) queue.giveUp();
    const tasks = [...this.#tasks];
    this.#tasks.clear();
    for (const [id, { cancelled }] of tasks) this.#options.send({ kind: 'failed', id, code: cancelled ? 'CANCELLED' : 'ENGINE_CRASHED', message: `the label thread ended: ${how}`, where: '' });
  }

  #hear(message: FromLabelThread): void {
    switch (message.kind) {
      case 'predict':
        void this.#predict(message);
        return;
      case 'batch':
        this.#batches.get(message.id)?.push(message.batch);
        return;
      case 'last-batch':
        this.#batches.get(message.id)?.end();
        return;
      case 'give-up':
        this.#batches.get(message.id)?.giveUp();
        return;
      case 'done':
      case 'failed':
        if (!this.#tasks.delete(message.id)) return;
        this.#options.send(message);
        return;
      default:
        this.#options.send(message);
    }
  }

  async #predict({ id, storeUrl, spec }: Extract<FromLabelThread, { kind: 'predict' }>): Promise<void> {
    const queue = new BatchQueue();
    this.#batches.set(id, queue);
    const device = deviceInTurn(this.#options.turnstile, 'label', queue.signal);
    try {
      const predict = predictHere({ store: await storeAt(storeUrl), onDevice: device.onDevice });
      const predictMs = await predict(spec, queue.batches(), (logProbabilities) => this.#post({ kind: 'predicted', id, logProbabilities }, [logProbabilities.buffer as ArrayBuffer]));
      this.#post({ kind: 'prediction-done', id, predictMs, heldMs: device.heldMs() });
    } catch (thrown) {
      const { code, message, where, stack } = toAlumnusError(thrown, this.#tasks.get(id)?.taskId);
      this.#post({ kind: 'prediction-failed', id, code, message, where, stack });
    } finally {
      this.#batches.delete(id);
    }
  }
}

/** The batches of one task that wait for the device; how many, the other end bounds. */
class BatchQueue {
  readonly #given: ImageBatch[] = [];
  readonly #abort = new AbortController();
  #ended = false;
  #wake: () => void = () => undefined;

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  push(batch: ImageBatch): void {
    this.#given.push(batch);
    this.#wake();
  }

  end(): void {
    this.#ended = true;
    this.#wake();
  }

  giveUp(): void {
    this.#abort.abort();
    this.#wake();
  }

  async *batches(): AsyncGenerator<ImageBatch, void, undefined> {
    for (;;) {
      this.signal.throwIfAborted();
      const batch = this.#given.shift();
      if (batch !== undefined) yield batch;
      else if (this.#ended) return;
      else await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }
}
