/** The engine's process seen from its worker: what becomes of tasks when it crashes, is cancelled, or is ended for another's sake. */
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { EngineProcess, type EngineEnd } from '../../../worker/engine/index.ts';
import type { Measured } from '../../../worker/measured.ts';
import { WorkerMetrics } from '../../../worker/metrics.ts';
import { Task, type TaskResult } from '../../../proto/gen/alumnus/v1/task.ts';
import type { Progress } from '../../../proto/gen/alumnus/v1/worker.ts';

/** More than twice as many as an engine may leave unanswered. */
const PINGS_TO_OUTLAST = 25;

/**
 * An engine that does what a task's subject says: `answer` ends with its process id for a device time, `crash` dies,
 * `gives-up` ends when it is cancelled, `stubborn` never does; each that goes on says so first. `waits-quietly` and `waits-busily`
 * end at ping PINGS_TO_OUTLAST; until then the one answers pings and tells no progress, the other the reverse.
 */
const fakeEngine = `
let pings = 0;
process.on('message', ({ kind, id, task }) => {
  if (kind === 'ping') {
    pings += 1;
    for (const [id, subject] of subjects) {
      if (!subject.startsWith('waits')) continue;
      if (pings === ${PINGS_TO_OUTLAST}) process.send({ kind: 'done', id, result: { deviceMs: process.pid } });
      if (subject === 'waits-busily') return process.send({ kind: 'progress', id, progress: { done: pings, total: 99, unit: 'steps', rate: 0, loss: 0 } });
    }
    return process.send({ kind: 'pong' });
  }
  if (kind === 'cancel') {
    if (subjects.get(id) === 'gives-up') process.send({ kind: 'failed', id, code: 'CANCELLED', message: 'stopped', where: '' });
    return;
  }
  subjects.set(id, task.subject);
  if (task.subject === 'keeps') process.send({ kind: 'checkpoint', id, checkpoint: { step: 7, ref: { key: 'k', sha256: 's', bytes: 1 } } });
  if (task.subject === 'notes') process.send({ kind: 'note', id, line: 'goes on', stack: 'Error: here' });
  if (task.subject === 'measures') process.send({ kind: 'measured', measured: measured(process.argv.includes('--measure')) });
  if (task.subject === 'answer') process.send({ kind: 'done', id, result: { deviceMs: process.pid } });
  else if (task.subject === 'fails') process.send({ kind: 'failed', id, code: 'SHARD_CORRUPT', message: 'is no shard', where: 'a.tar' });
  else if (task.subject === 'crash') process.kill(process.pid, 'SIGKILL');
  else if (task.subject === 'exit') process.exit(3);
  else process.send({ kind: 'progress', id, progress: { done: 1, total: 2, unit: 'steps', rate: 0, loss: 0 } });
});
process.on('disconnect', () => process.exit(0));
const subjects = new Map();
const measured = (asked) => ({ steps: asked ? [{ kind: 'train', work: 'train', seconds: 0.25, images: 32 }, { kind: 'train', work: 'train', seconds: 2, images: 32 }] : [], operations: [{ operation: 'get', seconds: 0.02, code: undefined }, { operation: 'stream', seconds: undefined, code: 'DIGEST_MISMATCH' }], memoryBytes: 4096 });
process.send({ kind: 'ready' });
`;

const CANCEL_MS = 200;
/** So much that an engine, even on a machine that is busy with other tests, answers within it. */
const SILENT_MS = 3_000;

let folder: string;
let engine: EngineProcess;
let log: string[];
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'alumnus-engine-'));
  await writeFile(join(folder, 'engine.mjs'), fakeEngine);
});
afterAll(() => rm(folder, { recursive: true }));
beforeEach(() => {
  // Of this test alone: the engine of the one before may still have something to say.
  const mine: string[] = [];
  log = mine;
  engine = new EngineProcess({ threads: 1, workerId: 'w1', cacheFolder: folder, log: (line) => mine.push(line), entry: join(folder, 'engine.mjs'), cancelMsMax: CANCEL_MS, silentMsMax: SILENT_MS });
});
afterEach(() => engine.stop());

interface Begun {
  readonly result: Promise<TaskResult>;
  /** Resolves at the first progress. */
  readonly underWay: Promise<Progress>;
  readonly abort: AbortController;
}

function begin(subject: string): Begun {
  const abort = new AbortController();
  let tell: (progress: Progress) => void = () => undefined;
  const underWay = new Promise<Progress>((resolve) => (tell = resolve));
  const result = engine.run(Task.fromPartial({ taskId: subject, subject }), 'file:///store', tell, abort.signal);
  result.catch(() => undefined);
  return { result, underWay, abort };
}
const answer = async (): Promise<number> => (await begin('answer').result).deviceMs;

describe('the engine', () => {
  test('does its tasks in one process, and tells progress and failures with their place', async () => {
    const first = await answer();
    expect(await answer()).toBe(first);
    expect(await begin('stubborn').underWay).toMatchObject({ done: 1, total: 2, unit: 'steps' });
    await expect(begin('fails').result).rejects.toMatchObject({ code: 'SHARD_CORRUPT', message: 'is no shard', where: 'a.tar' });
    expect(await answer()).toBe(first);
  });

  test.each([['crash', 'signal SIGKILL'], ['exit', 'exit code 3']])('that dies by itself (%s) fails all in flight with ENGINE_CRASHED, and the next task gets a fresh one', async (subject, how) => {
    const first = await answer();
    const others = [begin('stubborn'), begin('gives-up')];
    await Promise.all(others.map((each) => each.underWay));
    const last = begin(subject);
    for (const { result } of [...others, last]) await expect(result).rejects.toMatchObject({ code: 'ENGINE_CRASHED', message: `the engine ended by ${how}` });
    expect(log).toEqual([`engine ${first} ended by ${how} with 3 tasks in flight`]);
    expect(await answer()).not.toBe(first);
  });

  test('that stands still is ended; all in flight fail with ENGINE_SILENT, and the next task gets a fresh one', async () => {
    const first = await answer();
    const tasks = [begin('stubborn'), begin('gives-up')];
    await Promise.all(tasks.map((each) => each.underWay));
    process.kill(first, 'SIGSTOP');
    for (const { result } of tasks) await expect(result).rejects.toMatchObject({ code: 'ENGINE_SILENT', message: 'nothing came from the engine for 3 s', retryable: true });
    expect(() => process.kill(first, 0)).toThrow('ESRCH');
    expect(log).toEqual([`nothing came from the engine for 3 s: process ${first} is ended and a new one started`, `engine ${first} ended by signal SIGKILL with 2 tasks in flight`]);
    expect(await answer()).not.toBe(first);
  });

  test.each(['waits-quietly', 'waits-busily'])('keeps its process for as long as anything comes from it, be it progress or only an answer (%s)', async (subject) => {
    const first = await answer();
    expect((await begin(subject).result).deviceMs).toBe(first);
    expect(log).toEqual([]);
  });

  test('that tells of a checkpoint is heard, and its task goes on', async () => {
    const abort = new AbortController();
    const checkpoint = await new Promise((resolve) => {
      engine.run(Task.fromPartial({ taskId: 'keeps', subject: 'keeps' }), 'file:///store', () => undefined, abort.signal, resolve).catch(() => undefined);
    });
    expect(checkpoint).toEqual({ step: 7, ref: { key: 'k', sha256: 's', bytes: 1 } });
    expect(await answer()).toBeGreaterThan(0);
  });

  test('keeps its process when a cancelled task ends in time', async () => {
    const first = await answer();
    const cancelled = begin('gives-up');
    await cancelled.underWay;
    cancelled.abort.abort();
    await expect(cancelled.result).rejects.toMatchObject({ code: 'CANCELLED' });
    await new Promise((resolve) => setTimeout(resolve, 2 * CANCEL_MS));
    expect(await answer()).toBe(first);
  });

  test('is ended for a cancelled task that does not end; another task in flight is handed back without blame, and the next gets a fresh one', async () => {
    const first = await answer();
    const [cancelled, other] = [begin('stubborn'), begin('gives-up')];
    await Promise.all([cancelled.underWay, other.underWay]);
    cancelled.abort.abort();
    await expect(cancelled.result).rejects.toMatchObject({ code: 'CANCELLED' });
    await expect(other.result).rejects.toMatchObject({ code: 'ENGINE_STOPPED', retryable: true });
    expect(await answer()).not.toBe(first);
  });

  test('cancels a task that was cancelled before it was handed in', async () => {
    const abort = new AbortController();
    abort.abort();
    await expect(engine.run(Task.fromPartial({ subject: 'stubborn' }), '', () => undefined, abort.signal)).rejects.toMatchObject({ code: 'CANCELLED' });
  });

  test('that was stopped blames no task, and the end of an older one does not touch a newer one\'s tasks', async () => {
    await answer();
    const old = begin('stubborn');
    await old.underWay;
    engine.stop();
    const fresh = begin('gives-up');
    await expect(old.result).rejects.toMatchObject({ code: 'ENGINE_STOPPED' });
    await fresh.underWay;
    fresh.abort.abort();
    await expect(fresh.result).rejects.toMatchObject({ code: 'CANCELLED', message: 'stopped' });
  });
});

test('what it notes goes to the worker\'s log, with the task that it is about', async () => {
  const told: unknown[][] = [];
  const noting = new EngineProcess({ threads: 1, workerId: 'w1', cacheFolder: folder, log: (...line) => told.push(line), entry: join(folder, 'engine.mjs') });
  try {
    await new Promise<void>((resolve) => {
      noting.run(Task.fromPartial({ taskId: 't1', runId: 'r', subject: 'notes' }), 'file:///store', () => resolve(), new AbortController().signal).catch(() => undefined);
    });
    expect(told).toEqual([['t1: goes on', { run: 'r', task: 't1', stack: 'Error: here', level: 'error' }]]);
  } finally {
    noting.stop();
  }
});

test('what it measures outlives it in the worker\'s metrics, and its end is counted but where the worker stops', async () => {
  const metrics = new WorkerMetrics(() => undefined);
  const ends: EngineEnd[] = [];
  let tell: () => void = () => undefined;
  const measuring = new EngineProcess({
    threads: 1, workerId: 'w1', cacheFolder: folder, log: () => undefined, entry: join(folder, 'engine.mjs'), cancelMsMax: CANCEL_MS,
    onMeasured: (each: Measured) => {
      metrics.measured(each);
      tell();
    },
    onEnd: (why) => {
      ends.push(why);
      metrics.engineEnded(why);
    },
  });
  const ours = async (): Promise<string[]> => (await metrics.registry.metrics()).split('\n').filter((line) => /^alumnus_(engine|store)/.test(line) && !line.includes('_bucket'));
  const measure = async (abort = new AbortController()): Promise<AbortController> => {
    await new Promise<void>((resolve) => {
      tell = resolve;
      measuring.run(Task.fromPartial({ taskId: 't1', subject: 'measures' }), 'file:///store', () => undefined, abort.signal).catch(() => undefined);
    });
    return abort;
  };
  try {
    const abort = await measure();
    expect(await ours()).toContain('alumnus_engine_memory_bytes 4096');
    // It does not heed that: it is ended for it.
    abort.abort();
    await expect.poll(() => ends).toEqual(['stopped']);
    await expect(measuring.run(Task.fromPartial({ subject: 'crash' }), 'file:///store', () => undefined, new AbortController().signal)).rejects.toMatchObject({ code: 'ENGINE_CRASHED' });
    expect(ends).toEqual(['stopped', 'crashed']);
    expect((await ours()).filter((line) => line.startsWith('alumnus_engine_memory'))).toEqual([]);
    await measure();
    expect(await ours()).toEqual(expect.arrayContaining([
      'alumnus_engine_step_seconds_sum{kind="train",work="train"} 4.5', 'alumnus_engine_step_seconds_count{kind="train",work="train"} 4', 'alumnus_engine_images_total{kind="train",work="train"} 128',
      'alumnus_store_operation_seconds_count{operation="get"} 2', 'alumnus_store_errors_total{operation="stream",code="DIGEST_MISMATCH"} 2',
      'alumnus_engine_restarts_total{reason="crashed"} 1', 'alumnus_engine_restarts_total{reason="silent"} 0', 'alumnus_engine_restarts_total{reason="stopped"} 1',
    ]));
    const gone = once(measuring.start(), 'exit');
    measuring.stop();
    await gone;
    expect(ends).toEqual(['stopped', 'crashed']);
  } finally {
    measuring.stop();
  }
});
