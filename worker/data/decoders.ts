/**
 * The decoding threads: images to pixels beside the engine's own thread, which TensorFlow holds for the length of a step, and beside its label
 * thread; each of the two has some of its own. They are started as work needs them, shared by all tasks of their thread, and keep the process alive only while they work.
 * Not for: reading shards, choosing what to decode.
 * Invariants:
 *  1. Every job is resolved or rejected, whatever becomes of its thread.
 *  2. Jobs begin in the order in which they were asked for; one whose signal aborts is rejected at once, and dropped where it hasn't begun.
 *  3. A thread has at most JOBS_AT_ONCE jobs, so that what waits stays where an abort can drop it.
 */
import { once, setMaxListeners } from 'node:events';
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { AlumnusError } from '../../proto/errors.ts';
import type { ImageShape } from '../../dataset/index.ts';
import { decodeAll, END, type DecodeReply, type DecodeRequest } from './decoding.ts';

export interface DecodeJob {
  readonly shape: ImageShape;
  /** Of each image, for errors: `<shard>/<key>.<extension>`. */
  readonly names: readonly string[];
  readonly images: readonly Uint8Array[];
  /** Whether each may have any shape, and gets the job's: those of registered shards. Default: none. */
  readonly anyShape?: readonly boolean[];
}

/** One that is decoded and one that waits, so that a thread never does. */
const JOBS_AT_ONCE = 2;
/** Beyond, handing jobs over is the limit. */
const THREADS_MAX = 16;

interface Pending {
  readonly request: DecodeRequest;
  readonly settle: (reply: DecodeReply) => void;
}

interface Thread {
  readonly worker: Worker;
  readonly pending: Map<number, Pending>;
}

export class Decoders {
  readonly #threadsMax: number;
  readonly #threads = new Set<Thread>();
  #waiting: Pending[] = [];
  #lastId = 0;

  /** @param threads 0: decodes on the calling thread. */
  constructor(threads: number) {
    this.#threadsMax = threads;
  }

  /**
   * Pixels `[images, height, width, channels]`.
   * @throws AlumnusError IMAGE_CORRUPT names the first image, in order, that cannot be decoded; the signal's reason
   */
  async decode({ shape, names, images, anyShape = [] }: DecodeJob, signal: AbortSignal): Promise<Uint8Array> {
    signal.throwIfAborted();
    const lengths = Uint32Array.from(images, (image) => image.byteLength);
    const encoded = new ArrayBuffer(lengths.reduce((sum, length) => sum + length, 0));
    const bytes = new Uint8Array(encoded);
    let offset = 0;
    for (const image of images) {
      bytes.set(image, offset);
      offset += image.byteLength;
    }
    this.#lastId += 1;
    const request = { id: this.#lastId, shape, names, encoded, lengths, anyShape };
    const { pixels, failed } = await (this.#threadsMax === 0 ? decodeAll(request) : this.#onThread(request, signal));
    signal.throwIfAborted();
    if (failed !== undefined) throw new AlumnusError(failed.code, failed.message, { where: failed.where });
    return new Uint8Array(pixels ?? new ArrayBuffer(0));
  }

  #onThread(request: DecodeRequest, signal: AbortSignal): Promise<DecodeReply> {
    return new Promise((resolve, reject) => {
      const onAbort = (): void => {
        this.#waiting = this.#waiting.filter((each) => each !== pending);
        reject(signal.reason as Error);
      };
      const pending: Pending = {
        request,
        settle: (reply) => {
          signal.removeEventListener('abort', onAbort);
          resolve(reply);
        },
      };
      // One for each job that waits: many are no leak.
      setMaxListeners(0, signal);
      signal.addEventListener('abort', onAbort, { once: true });
      this.#waiting.push(pending);
      this.#dispatch();
    });
  }

  #dispatch(): void {
    while (this.#waiting.length > 0) {
      const [least] = [...this.#threads].sort((a, b) => a.pending.size - b.pending.size);
      const idle = least !== undefined && least.pending.size === 0 ? least : undefined;
      const thread = idle ?? (this.#threads.size < this.#threadsMax ? this.#start() : least);
      if (thread === undefined || thread.pending.size >= JOBS_AT_ONCE) return;
      const next = this.#waiting.shift();
      if (next === undefined) return;
      thread.pending.set(next.request.id, next);
      thread.worker.ref();
      thread.worker.postMessage(next.request, [next.request.encoded]);
    }
  }

  #start(): Thread {
    // Options of the process, such as one that says how its own program is read, are not for it.
    const thread: Thread = { worker: new Worker(new URL('./decoder-thread.js', import.meta.url), { execArgv: [] }), pending: new Map() };
    const { worker, pending } = thread;
    this.#threads.add(thread);
    worker.on('message', (reply: DecodeReply) => {
      const job = pending.get(reply.id);
      pending.delete(reply.id);
      job?.settle(reply);
      if (pending.size === 0) worker.unref();
      this.#dispatch();
    });
    worker.on('error', (error: Error) => this.#ended(thread, error.message));
    worker.on('exit', (code) => this.#ended(thread, `exit code ${code}`));
    return thread;
  }

  /**
   * Ends the threads; jobs that have begun are rejected at once. A thread ends by itself, when what it has is decoded: Node aborts the whole process
   * where a thread is torn down between two steps of zlib's ("close before init").
   */
  async close(): Promise<void> {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const { request: { id, names }, settle } of waiting) settle({ id, failed: { code: 'ENGINE_CRASHED', message: 'the decoding threads were closed', where: names[0] ?? '' } });
    await Promise.all([...this.#threads].map(async (thread) => {
      const { worker } = thread;
      const exit = once(worker, 'exit');
      this.#ended(thread, 'it was closed');
      worker.ref();
      worker.postMessage(END);
      await exit;
    }));
  }

  #ended(thread: Thread, how: string): void {
    this.#threads.delete(thread);
    const jobs = [...thread.pending];
    thread.pending.clear();
    for (const [id, job] of jobs) job.settle({ id, failed: { code: 'ENGINE_CRASHED', message: `the decoding thread ended: ${how}`, where: job.request.names[0] ?? '' } });
    this.#dispatch();
  }
}

/**
 * As many threads as the machine has cores: they take what TensorFlow leaves. From source, decoding stays on the calling
 * thread, since not every Node that we support starts a thread from TypeScript.
 */
export const decoders = new Decoders(import.meta.url.endsWith('.ts') ? 0 : Math.min(THREADS_MAX, availableParallelism()));
