/** Noise as a recipe asks for it: what reaches a training, and who labels clean and who doesn't, by the programs that TensorFlow is given. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { prepareSubmission } from '../../../coordinator/api/submission.ts';
import { decide, openTasks, type RunState } from '../../../coordinator/run/index.ts';
import type { LabelSpec, Task } from '../../../proto/gen/alumnus/v1/task.ts';
import { stageName } from '../../../proto/stages.ts';
import { canonicalJson, recipeSchema, type Recipe } from '../../../recipe/index.ts';
import { openStore, type ObjectStore } from '../../../store/index.ts';
import { readLabelTable } from '../../../worker/data/index.ts';
import { runTask } from '../../../worker/tasks/index.ts';
import { loadTensorFlow } from '../../../worker/tensorflow/index.ts';
import { patternsHome, patternsRecipe } from '../../harness/patterns.ts';

const RUN = 'patterns-ablation';

let home: Awaited<ReturnType<typeof patternsHome>>;
let store: ObjectStore;
/** The first training of the run, and the run where its first teacher has to label. */
let training: Task;
let state: RunState;

const run = (task: Task): ReturnType<typeof runTask> =>
  runTask({ task, store, cacheFolder: `${home.home}/cache`, signal: new AbortController().signal, progress: () => undefined, checkpoint: () => undefined, note: () => undefined, onDevice: (body) => body() });

beforeAll(async () => {
  loadTensorFlow({ threads: 1 });
  home = await patternsHome();
  store = await openStore(`file://${home.home}/store`);
  const { recipe, data } = await prepareSubmission(store, patternsRecipe({ rounds: 1, control: false }).replace('steps: 30', 'steps: 20').replace('steps: 80', 'steps: 10'));
  ({ state } = decide(undefined, { kind: 'submit', runId: RUN, recipe, data }, 0));
  [training] = openTasks(state) as [Task];
  while (stageName(state.stage) !== 'label') {
    for (const task of openTasks(state)) ({ state } = decide(state, { kind: 'complete', task, workerId: 'w1', result: { result: await run(task), deviceMs: 5 } }, 0));
  }
});
afterAll(() => home.remove());

const labelTasks = (noisedTeacher: boolean): Task[] => openTasks({ ...state, recipe: { ...state.recipe, labels: { ...state.recipe.labels, noised_teacher: noisedTeacher } } });
const specOf = (task: Task): LabelSpec => {
  if (task.spec?.$case !== 'label') throw new Error('the run waits for labels');
  return task.spec.value;
};
/** In batches of a size that no task before had, so that its program is made here and not kept from before. */
const inBatchesOf = (batchSize: number, task: Task): Task => ({ ...task, spec: { $case: 'label', value: { ...specOf(task), batchSize } } });

/** The graphs that TensorFlow is given while a task runs, and the labels that it writes. */
async function watched(task: Task): Promise<{ graphs: string[]; labels: string[] }> {
  const { binding } = loadTensorFlow();
  const graphs: string[] = [];
  const open = binding.loadSavedModel.bind(binding);
  Object.defineProperty(binding, 'loadSavedModel', {
    configurable: true,
    value: (folder: string, tags: string) => {
      graphs.push(readFileSync(join(folder, 'saved_model.pb'), 'latin1'));
      return open(folder, tags);
    },
  });
  try {
    const result = await run(task);
    if (result.$case !== 'label') throw new Error('a label task writes labels');
    const ref = result.value.labels;
    if (ref === undefined) throw new Error('a label task writes labels');
    const table = await readLabelTable(await store.get(ref), ref.key);
    return { graphs, labels: Array.from(table.logProbabilities, (row) => Array.from(row).join()) };
  } finally {
    // What lies below it is TensorFlow's own.
    Reflect.deleteProperty(binding, 'loadSavedModel');
  }
}
const random = /random|stateless|multinomial|poisson|shuffle/i;

test('a label task has no random operation in its graph; only that of the ablation has', async () => {
  const [task] = labelTasks(false);
  const [ablation] = labelTasks(true);
  if (task === undefined || ablation === undefined) throw new Error('there is a shard to label');
  const clean = await watched(inBatchesOf(9, task));
  expect(clean.graphs).toHaveLength(1);
  expect(clean.graphs[0]).toContain('Conv2D');
  expect(clean.graphs.filter((graph) => random.test(graph))).toEqual([]);

  const noised = await watched(inBatchesOf(9, ablation));
  expect(noised.graphs[0]).toContain('StatelessRandomUniform');
  expect(noised.labels).not.toEqual(clean.labels);

  // Back to the clean one: what was kept from the ablation does not serve it. And the ablation repeats itself.
  expect((await watched(inBatchesOf(9, task))).labels).toEqual(clean.labels);
  expect((await watched(inBatchesOf(9, ablation))).labels).toEqual(noised.labels);
  expect((await watched(inBatchesOf(9, { ...ablation, seed: ablation.seed + 1 }))).labels).not.toEqual(noised.labels);
});

test('a task says whether its teacher is noised, and so does its id', () => {
  const [clean, ablation] = [labelTasks(false), labelTasks(true)];
  expect(clean.length).toBeGreaterThan(1);
  expect(clean.map((task) => specOf(task).teacherNoiseJson)).toEqual(clean.map(() => undefined));
  // The noise of images, without mixing; one seed a shard.
  expect(new Set(ablation.map((task) => specOf(task).teacherNoiseJson))).toEqual(new Set(['{"input":{"degrees":5,"flip":false,"name":"affine","scale":0.05,"translate_pixels":1}}']));
  expect(new Set(ablation.map((task) => task.seed)).size).toBe(ablation.length);
  const ids = new Set(clean.map((task) => task.taskId));
  expect(ablation.filter((task) => ids.has(task.taskId))).toEqual([]);
  // Another noise, another task.
  const stronger = openTasks({ ...state, recipe: { ...state.recipe, labels: { ...state.recipe.labels, noised_teacher: true }, noise: { ...state.recipe.noise, erasing: { probability: 0.25, area_min: 0.02, area_max: 0.3, aspect_min: 0.3, mode: 'pixel' }, mix: { mixup_alpha: 1, cutmix_alpha: 0, probability: 1, switch_probability: 0.5 } } } });
  expect(stronger[0]?.taskId).not.toBe(ablation[0]?.taskId);
  expect(Object.keys(JSON.parse(specOf(stronger[0]!).teacherNoiseJson ?? '') as object)).toEqual(['erasing', 'input']);
});

test('erasing and mixing that a recipe names reach the training', async () => {
  if (training.spec?.$case !== 'train') throw new Error('a run begins with a training');
  const spec = training.spec.value;
  /** The digest of what was learned. */
  const learned = async (extra: Partial<Recipe['noise']>): Promise<string> => {
    const given = JSON.parse(spec.trainingJson) as { noise: Recipe['noise'] };
    const result = await run({ ...training, spec: { $case: 'train', value: { ...spec, trainingJson: canonicalJson({ ...given, noise: { ...given.noise, ...extra } }) } } });
    if (result.$case !== 'train' || result.value.model === undefined) throw new Error('a training makes a model');
    return (JSON.parse(Buffer.from(await store.get(result.value.model)).toString('utf8')) as { weights: { sha256: string } }).weights.sha256;
  };
  const noise = recipeSchema.shape.noise;
  const { erasing, mix } = noise.parse({ erasing: { probability: 1 }, mix: { mixup_alpha: 1, cutmix_alpha: 1 } });
  const results = [await learned({}), await learned({ erasing }), await learned({ mix }), await learned({ erasing, mix })];
  expect(new Set(results).size).toBe(4);
  expect(await learned({ erasing, mix })).toBe(results[3]);
});
