/**
 * The engine's process: does the tasks that its worker hands it. Loads and decodes for the next task while the device
 * works on the present one; the device itself is used by one task at a time.
 */
import { parseArgs } from 'node:util';
import { toAlumnusError } from '../../proto/errors.ts';
import type { Checkpoint, TaskResult } from '../../proto/gen/alumnus/v1/task.ts';
import type { Progress } from '../../proto/gen/alumnus/v1/worker.ts';
import { openStore, type ObjectStore } from '../../store/index.ts';
import { machineOf, runTask, withSpecification, writeRecord } from '../tasks/index.ts';
import { loadTensorFlow } from '../tensorflow/index.ts';
import type { FromEngine, ToEngine } from './messages.ts';
import { Turnstile } from './turnstile.ts';

/** Progress more often than this is noise on the channel. */
const PROGRESS_MS = 100;

const { values } = parseArgs({ options: { threads: { type: 'string', default: '1' }, cache: { type: 'string', default: '' }, worker: { type: 'string', default: '' } } });
const threads = Number(values.threads);
const machine = machineOf(threads);

const send = (message: FromEngine): void => void process.send?.(message);
const device = new Turnstile();
const stores = new Map<string, Promise<ObjectStore>>();
const running = new Map<number, AbortController>();

function storeAt(url: string): Promise<ObjectStore> {
  const known = stores.get(url);
  if (known !== undefined) return known;
  // The coordinator made it: a folder that is missing here is not the one that is meant.
  const opened = openStore(url, { create: false });
  stores.set(url, opened);
  opened.catch(() => stores.delete(url));
  return opened;
}

async function run(message: Extract<ToEngine, { kind: 'run' }>): Promise<void> {
  const { id, storeUrl } = message;
  const abort = new AbortController();
  running.set(id, abort);
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
    let deviceMs = 0;
    const onDevice = <Result>(work: () => Promise<Result>): Promise<Result> =>
      device.pass(async () => {
        abort.signal.throwIfAborted();
        const startMs = performance.now();
        try {
          return await work();
        } finally {
          deviceMs += performance.now() - startMs;
        }
      });
    const checkpoint = (each: Checkpoint): void => send({ kind: 'checkpoint', id, checkpoint: each });
    const note = (line: string): void => void process.stderr.write(`${task.taskId}: ${line}\n`);
    const result = await runTask({ task, store, cacheFolder: values.cache, signal: abort.signal, progress, checkpoint, note, onDevice });
    const done: TaskResult = { result, deviceMs: Math.round(deviceMs) };
    // Before anyone is told: whoever takes the result finds it in the bucket.
    await writeRecord(store, task, values.worker, done, machine);
    send({ kind: 'done', id, result: done });
  } catch (thrown) {
    const error = toAlumnusError(thrown, message.task.taskId);
    if (error.code === 'INTERNAL' && !abort.signal.aborted) process.stderr.write(`${thrown instanceof Error ? thrown.stack : String(thrown)}\n`);
    send({ kind: 'failed', id, code: abort.signal.aborted ? 'CANCELLED' : error.code, message: error.message, where: error.where });
  } finally {
    running.delete(id);
  }
}

process.on('message', (message: ToEngine) => {
  if (message.kind === 'run') void run(message);
  else if (message.kind === 'cancel') running.get(message.id)?.abort();
  else send({ kind: 'pong' });
});
// The worker is gone, whether it stopped or was killed: nobody would take the results.
process.on('disconnect', () => process.exit(0));
// A Ctrl-C reaches the whole group; the worker decides what becomes of the engine.
process.on('SIGINT', () => undefined);
process.on('SIGTERM', () => undefined);
send({ kind: 'ready' });
// The library takes a second to load: do it while the first lease is on its way. A task that needs it says what is wrong.
setImmediate(() => {
  try {
    loadTensorFlow({ threads });
  } catch (thrown) {
    process.stderr.write(`${toAlumnusError(thrown).sentence}\n`);
  }
});
