/** A task done again: the same to the bit, different where another result was accepted, and never anything written beside the scratch store. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { prepareSubmission } from '../../../coordinator/api/submission.ts';
import { decide, openTasks } from '../../../coordinator/run/index.ts';
import type { ObjectRef, Task, TaskResult } from '../../../proto/gen/alumnus/v1/task.ts';
import { openStore, type ObjectStore } from '../../../store/index.ts';
import type { Reproduction } from '../../../proto/told.ts';
import { reproduce } from '../../../worker/reproduction.ts';
import { machineOf, readModel, runTask, writeRecord } from '../../../worker/tasks/index.ts';
import { decodeWeights } from '../../../worker/learning/index.ts';
import { loadTensorFlow } from '../../../worker/tensorflow/index.ts';
import { patternsHome, patternsRecipe } from '../../harness/patterns.ts';

let home: Awaited<ReturnType<typeof patternsHome>>;
let scratch: string;
let store: ObjectStore;
let training: Task;
let accepted: TaskResult;

loadTensorFlow({ threads: 1 });

const done = async (task: Task): Promise<TaskResult> => ({
  deviceMs: 1,
  result: await runTask({ task, store, cacheFolder: '', signal: new AbortController().signal, progress: () => undefined, checkpoint: () => undefined, note: () => undefined, onDevice: (work) => work() }),
});

beforeAll(async () => {
  home = await patternsHome();
  scratch = await mkdtemp(join(tmpdir(), 'alumnus-scratch-'));
  store = await openStore(pathToFileURL(join(home.home, 'store')).href);
  const { recipe, data } = await prepareSubmission(store, patternsRecipe({ control: false }).replace('teacher: { steps: 30', 'teacher: { steps: 6'));
  [training] = openTasks(decide(undefined, { kind: 'submit', runId: 'again', recipe, data }, 0).state) as [Task];
  accepted = await done(training);
  await writeRecord(store, training, 'worker-7', accepted, machineOf(1));
});
afterAll(async () => {
  await home.remove();
  await rm(scratch, { recursive: true, force: true });
});

const listed = async (): Promise<string[]> => {
  const keys: string[] = [];
  for await (const { key } of store.list('')) keys.push(key);
  return keys;
};

const again = async (result: TaskResult, workerId = 'worker-7'): Promise<Reproduction> =>
  reproduce({ from: store, into: await openStore(pathToFileURL(join(scratch, 'store')).href), cacheFolder: '', signal: new AbortController().signal, progress: () => undefined }, { task: training, result, workerId });

const modelOf = ({ result }: TaskResult): ObjectRef => {
  if (result?.$case !== 'train' || result.value.model === undefined) throw new Error('a training writes a model');
  return result.value.model;
};

test('a training comes out the same, says on what it was done, and writes nothing to the store of the run', async () => {
  const before = await listed();
  const sha256 = modelOf(accepted).sha256;
  expect(await again(accepted)).toEqual({ taskId: training.taskId, kind: 'train', subject: 'student', verdict: 'same', outputs: [{ name: 'model', accepted: sha256, again: sha256 }], note: '', machine: machineOf(1) });
  expect(await listed()).toEqual(before);
});

test('the machine is that of the worker whose result counted; without its record nothing is said of it', async () => {
  expect((await again(accepted, 'worker-8')).machine).toBeUndefined();
});

test('another result differs, by so many weights and so much', async () => {
  const other = await done({ ...training, seed: training.seed + 1 });
  const reproduced = await again(other);
  expect(reproduced).toMatchObject({ verdict: 'differs', outputs: [{ name: 'model', accepted: modelOf(other).sha256, again: modelOf(accepted).sha256 }] });
  // Counted here once more.
  const weights = await Promise.all([accepted, other].map(async (each) => {
    const document = await readModel(store, modelOf(each));
    if (document.kind === 'foreign') throw new Error('it was trained here');
    return decodeWeights(await store.get(document.weights)).flatMap(({ values }) => [...values]);
  }));
  const [one = [], two = []] = weights;
  const distances = one.map((value, at) => Math.abs(value - (two[at] ?? NaN))).filter((distance) => distance > 0);
  expect(reproduced.note).toMatch(new RegExp(`^${distances.length} of ${one.length} weights differ, by ${Math.max(...distances).toPrecision(3).replace(/[.+]/g, '\\$&')} at most, in \\S+$`));
});

test('inputs that are gone fail it, with the name of what is missing', async () => {
  if (training.spec?.$case !== 'train') throw new Error('it is a training');
  const labels = training.spec.value.labeled?.labels;
  const missing: Task = { ...training, spec: { $case: 'train', value: { ...training.spec.value, labeled: { ...training.spec.value.labeled!, labels: { ...labels!, key: 'datasets/nowhere' } } } } };
  const reproduced = await reproduce({ from: store, into: await openStore(pathToFileURL(join(scratch, 'store')).href), cacheFolder: '', signal: new AbortController().signal, progress: () => undefined }, { task: missing, result: accepted, workerId: '' });
  expect(reproduced).toMatchObject({ verdict: 'failed', outputs: [], note: expect.stringContaining('datasets/nowhere') as string });
});
