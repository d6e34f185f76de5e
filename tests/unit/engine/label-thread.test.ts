/**
 * The engine's two ends of labeling, from source on one thread behind a real channel: labels as on the calling thread, the device taken in
 * turns and given back, batches ahead within their bound, and errors by the names that they have without a channel.
 * tests/integration/label-thread.test.ts has them on two threads.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { prepareSubmission } from '../../../coordinator/api/submission.ts';
import { decide, openTasks, type RunState } from '../../../coordinator/run/index.ts';
import { encodePng } from '../../../dataset/index.ts';
import { writeShard } from '../../../dataset/shards.ts';
import { toAlumnusError } from '../../../proto/errors.ts';
import { TaskRecord } from '../../../proto/gen/alumnus/v1/record.ts';
import { Stage, type LabelSpec, type Task } from '../../../proto/gen/alumnus/v1/task.ts';
import { openStore, type ObjectRef, type ObjectStore } from '../../../store/index.ts';
import { readLabelTable } from '../../../worker/data/index.ts';
import { serveLabels } from '../../../worker/engine/label-end.ts';
import { LabelThread } from '../../../worker/engine/label-thread.ts';
import type { FromEngine, FromLabelThread, ToLabelThread } from '../../../worker/engine/messages.ts';
import { Turnstile } from '../../../worker/engine/turnstile.ts';
import { machineOf, runTask } from '../../../worker/tasks/index.ts';
import { loadTensorFlow } from '../../../worker/tensorflow/index.ts';
import { patternsHome, patternsRecipe, SHARDS } from '../../harness/patterns.ts';

/** worker/engine/label-end.ts says so. */
const BATCHES_AHEAD = 64;

let home: Awaited<ReturnType<typeof patternsHome>>;
let store: ObjectStore;
let url: string;
let tasks: Task[];
let turnstile: Turnstile;
let thread: LabelThread;
let said: FromEngine[];
const waiting: (() => void)[] = [];
const heard = (): void => waiting.splice(0).forEach((wake) => wake());

const specOf = (task: Task): LabelSpec => {
  if (task.spec?.$case !== 'label') throw new Error('it is a label task');
  return task.spec.value;
};
/** The same work under a name of its own. */
const fresh = (task: Task, change: Partial<LabelSpec> = {}): Task => ({ ...task, outputPrefix: `${task.outputPrefix}-${randomUUID()}`, spec: { $case: 'label', value: { ...specOf(task), ...change } } });
const onThisThread = (task: Task): ReturnType<typeof runTask> =>
  runTask({ task, store, cacheFolder: '', signal: new AbortController().signal, progress: () => undefined, checkpoint: () => undefined, note: () => undefined, onDevice: (body) => turnstile.pass(body) });

async function until<Value>(look: () => Value | undefined): Promise<Value> {
  for (;;) {
    const found = look();
    if (found !== undefined) return found;
    await new Promise<void>((resolve) => waiting.push(resolve));
  }
}
/** Hands a task in; resolves with its end. */
function run(id: number, task: Task): Promise<Extract<FromEngine, { kind: 'done' | 'failed' }>> {
  thread.run({ kind: 'run', id, task, storeUrl: url });
  return until(() => said.find((each): each is Extract<FromEngine, { kind: 'done' | 'failed' }> => (each.kind === 'done' || each.kind === 'failed') && each.id === id));
}
/** Takes the device for as long as the test likes. */
function takeDevice(): () => void {
  let give: () => void = () => undefined;
  void turnstile.pass(() => new Promise<void>((resolve) => (give = resolve)));
  return () => give();
}
const rowsOf = async (ref: ObjectRef | undefined): Promise<{ keys: string[]; rows: string[] }> => {
  if (ref === undefined) throw new Error('a label task has labels');
  const { keys, logProbabilities } = await readLabelTable(await store.get(ref), ref.key);
  return { keys: [...keys], rows: Array.from(logProbabilities, (row) => Array.from(row).join()) };
};

beforeAll(async () => {
  loadTensorFlow({ threads: 1 });
  home = await patternsHome();
  url = `file://${home.home}/store`;
  store = await openStore(url);
  const { recipe, data } = await prepareSubmission(store, patternsRecipe({ rounds: 1, control: false }).replace('steps: 30', 'steps: 5'));
  let state: RunState = decide(undefined, { kind: 'submit', runId: 'labels', recipe, data }, 0).state;
  turnstile = new Turnstile();
  while (state.stage !== Stage.LABEL) {
    for (const task of openTasks(state)) ({ state } = decide(state, { kind: 'complete', task, workerId: 'w', result: { result: await onThisThread(task), deviceMs: 1 } }, 0));
  }
  tasks = openTasks(state);
  expect(tasks).toHaveLength(SHARDS);
});
afterAll(() => home.remove());
beforeEach(async () => {
  said = [];
  turnstile = new Turnstile();
  thread = new LabelThread({ cacheFolder: '', workerId: 'w1', machine: machineOf(1), turnstile, send: (message) => {
    said.push(message);
    heard();
  } });
  // Else labels that a test before made are taken over.
  for await (const { key } of store.list('labels/')) await store.delete(key);
});
afterEach(() => thread.close());

describe('a label task', () => {
  test('gives the bytes that it gives without a channel, however batches are cut, and leaves a record of what it tells', async () => {
    const [first, second] = tasks as [Task, Task];
    // 50 images in batches of 7: the last is not full.
    const [one, two] = [fresh(first, { batchSize: 7 }), fresh(second, { batchSize: 7 })];
    const ends = await Promise.all([run(1, one), run(2, two)]);
    for await (const { key } of store.list('labels/')) await store.delete(key);
    for (const [at, task] of [one, two].entries()) {
      const end = ends[at]!;
      if (end.kind !== 'done' || end.result.result?.$case !== 'label') throw new Error(JSON.stringify(end));
      // The same prefix, so that equal bytes are the same object.
      expect({ $case: 'label', value: end.result.result.value }).toEqual(await onThisThread(task));
      const records: string[] = [];
      for await (const { key } of store.list(`${task.outputPrefix}/`)) if (key.endsWith('.record')) records.push(key);
      expect(records).toHaveLength(1);
      const record = TaskRecord.decode((await store.getNamed(records[0]!))!.content);
      expect(record).toMatchObject({ workerId: 'w1', result: end.result });
      expect(record.result?.deviceMs).toBe(end.result.deviceMs);
    }
    expect(said.filter(({ kind }) => kind === 'progress').length).toBeGreaterThan(0);
  });

  test('of the ablation is noised by its seed and the number of each batch, as without a channel', async () => {
    const teacherNoiseJson = '{"input":{"degrees":5,"flip":false,"name":"affine","scale":0.05,"translate_pixels":1}}';
    const [clean, noised] = [fresh(tasks[0]!, { batchSize: 7 }), fresh(tasks[0]!, { batchSize: 7, teacherNoiseJson })];
    const [first, second] = [await run(1, clean), await run(2, noised)];
    const labelsOf = (end: typeof first): ObjectRef | undefined => (end.kind === 'done' && end.result.result?.$case === 'label' ? end.result.result.value.labels : undefined);
    expect(await rowsOf(labelsOf(second))).not.toEqual(await rowsOf(labelsOf(first)));
    expect(await onThisThread(noised)).toMatchObject({ value: { labels: labelsOf(second) } });
  });

  test('takes over what was labeled before without asking for the device', async () => {
    expect(await run(1, fresh(tasks[0]!))).toMatchObject({ kind: 'done' });
    const give = takeDevice();
    expect(await run(2, fresh(tasks[0]!))).toMatchObject({ kind: 'done', result: { deviceMs: 0 } });
    give();
  });

  test('that is cancelled ends at once where another holds the device, and does not take it afterwards', async () => {
    const give = takeDevice();
    const [cancelled, next] = [run(1, fresh(tasks[0]!)), run(2, fresh(tasks[1]!))];
    // Its batches wait for the device by then; where they don't yet, it is cancelled sooner.
    await delay(200);
    thread.cancel(1);
    expect(await cancelled).toMatchObject({ kind: 'failed', code: 'CANCELLED' });
    expect(said.filter(({ kind }) => kind === 'done')).toEqual([]);
    give();
    expect(await next).toMatchObject({ kind: 'done' });
    expect(said.filter((each) => 'id' in each && each.id === 1 && each.kind !== 'progress')).toHaveLength(1);
  });

  test('fails as it does without a channel: a shard that is gone, weights that are gone, a teacher that is none', async () => {
    const { shard, teacher } = specOf(tasks[0]!);
    const gone = { key: 'datasets/gone', sha256: 'a'.repeat(64), bytes: 1 };
    const document = JSON.parse(Buffer.from(await store.get(teacher!)).toString('utf8')) as object;
    const unweighted = await store.putAddressed('models', Buffer.from(JSON.stringify({ ...document, weights: gone })));
    const stray = await store.putAddressed('models', Buffer.from('no document'));
    for (const [id, change] of [{ shard: { ...shard!, ref: gone } }, { teacher: unweighted, batchSize: 3 }, { teacher: stray }].entries()) {
      const task = fresh(tasks[0]!, change);
      const { code, message, where } = await onThisThread(task).then(() => { throw new Error('it failed'); }, (thrown: unknown) => toAlumnusError(thrown, task.taskId));
      expect(await run(id, task)).toEqual({ kind: 'failed', id, code, message, where });
    }
    expect(said.map((each) => (each.kind === 'failed' ? each.code : each.kind))).toEqual(['OBJECT_NOT_FOUND', 'OBJECT_NOT_FOUND', 'note', 'INTERNAL']);
    // And the device is free again.
    expect(await run(9, fresh(tasks[1]!))).toMatchObject({ kind: 'done' });
  });

  test('fails when its thread is closed, and the device is free', async () => {
    const give = takeDevice();
    const end = run(1, fresh(tasks[0]!));
    await delay(100);
    await thread.close();
    expect(await end).toMatchObject({ kind: 'failed', code: 'ENGINE_CRASHED' });
    give();
    expect(await run(2, fresh(tasks[1]!))).toMatchObject({ kind: 'done' });
  });
});

test('pings are answered, with work and without', async () => {
  thread.ping();
  expect(said).toEqual([{ kind: 'pong' }]);
  const end = run(1, fresh(tasks[0]!));
  thread.ping();
  await end;
  expect(said.filter(({ kind }) => kind === 'pong')).toHaveLength(2);
});

// One image of 12 x 12 a batch.
test.each([[BATCHES_AHEAD, {}], [5, { aheadBytes: 5 * 144 }], [2, { aheadBytes: 1 }]])('at most %i batches that are not predicted yet are sent where the bound is %j', async (ahead, bound) => {
  const shape = { height: 12, width: 12, channels: 1 } as const;
  const samples = Array.from({ length: 100 }, (_, at) => ({ key: `image-${at}`, extension: 'png' as const, bytes: encodePng(new Uint8Array(144).fill(at), shape) }));
  const shard = await writeShard(store, 'hundred', 'unlabeled', 0, samples);
  const sent: FromLabelThread[] = [];
  let tell: (message: ToLabelThread) => void = () => undefined;
  // The engine's end is this test, which predicts when it likes.
  serveLabels({
    postMessage: (message) => {
      sent.push(message);
      heard();
    },
    on: (_, listener) => (tell = listener),
  }, { cacheFolder: '', workerId: 'w1', machine: machineOf(1), ...bound });
  const batches = (): number[] => sent.flatMap((each) => (each.kind === 'batch' ? [each.batch.images[0]!] : []));
  const predicted = (): void => tell({ kind: 'predicted', id: 1, logProbabilities: Float32Array.of(0, -9, -9, -9) });
  const firsts = (count: number): number[] => Array.from({ length: count }, (_, at) => at);
  tell({ kind: 'run', id: 1, task: fresh({ ...tasks[0]! }, { shard: { name: 'hundred', ref: shard.ref, samples: 100, location: undefined }, batchSize: 1 }), storeUrl: url });
  await until(() => (batches().length >= ahead ? true : undefined));
  await delay(100);
  expect(batches()).toEqual(firsts(ahead));
  predicted();
  predicted();
  await until(() => (batches().length >= ahead + 2 ? true : undefined));
  await delay(100);
  expect(batches()).toEqual(firsts(ahead + 2));
  tell({ kind: 'cancel', id: 1 });
  await until(() => sent.find(({ kind }) => kind === 'failed'));
  expect(sent.slice(-2)).toMatchObject([{ kind: 'give-up', id: 1 }, { kind: 'failed', id: 1, code: 'CANCELLED' }]);
});
