/**
 * The task that measures, on a real model: its accuracy with quantized kernels against ONNX Runtime, which runs the exported file of the same kernels on the same images, and its
 * bytes against the exported files. Latency and memory are only there: nothing asserts a time.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { measureSpec } from '../../../coordinator/run/compress.ts';
import { decide, openTasks, type RunState } from '../../../coordinator/run/index.ts';
import { prepareSubmission } from '../../../coordinator/api/submission.ts';
import { decodeImage, importDataset, loadManifest, readLabels, readShard, type ImageShape, type SourceSample } from '../../../dataset/index.ts';
import type { MeasureResult, ObjectRef, Task } from '../../../proto/gen/alumnus/v1/task.ts';
import { weightSchemes } from '../../../recipe/index.ts';
import { openStore, type ObjectStore } from '../../../store/index.ts';
import { decodeWeights } from '../../../worker/learning/index.ts';
import { portableFiles, portableFormats } from '../../../worker/portable/index.ts';
import { runTask, type TaskContext } from '../../../worker/tasks/index.ts';
import { readTrained, writeModel } from '../../../worker/tasks/model.ts';
import { loadTensorFlow } from '../../../worker/tensorflow/index.ts';
import { memorySource } from '../dataset/fixture.ts';

const SHAPE: ImageShape = { height: 12, width: 12, channels: 1 };
let folder: string;
let store: ObjectStore;
let state: RunState;
let model: ObjectRef;
let measured: MeasureResult;
const progress: number[] = [];

/** Bars at an angle of their class, of any place and brightness, in noise: classes that a small model half learns. */
const bar = (at: number): Uint8Array => {
  const angle = ((at % 3) * Math.PI) / 3;
  const offset = ((at * 7) % 7) - 3;
  return Uint8Array.from({ length: 144 }, (_, pixel) => {
    const distance = Math.abs(Math.sin(angle) * ((pixel % 12) - 5.5) - Math.cos(angle) * (Math.floor(pixel / 12) - 5.5) + offset);
    return Math.min(255, Math.round(Math.max(0, 1 - distance / 2) * (40 + ((at * 37) % 80)) + ((Math.imul(at * 144 + pixel + 1, 2654435761) >>> 24) % 90)));
  });
};

const contextOf = (task: Task): TaskContext => ({
  task, store, cacheFolder: `${folder}/cache`, signal: new AbortController().signal, progress: ({ done }) => progress.push(done), note: () => undefined, onDevice: (body) => body(), checkpoint: () => undefined,
});

/**
 * The same model to float32, and another one to int8: a constant that all classes are given for one hidden unit is nothing to a softmax, and makes the steps of each class's kernel so
 * large that its other weights are hardly told apart.
 */
async function coarsened(context: TaskContext, ref: ObjectRef): Promise<ObjectRef> {
  const { weights, schemaVersion: _, kind: __, ...document } = await readTrained(store, ref);
  const tensors = decodeWeights(await store.get(weights));
  const kernel = tensors.find(({ name, shape }) => name.startsWith('logits') && shape.length === 2)!;
  kernel.values = kernel.values.map((value, at) => (at < kernel.shape[1]! ? value + 60 : value));
  return writeModel(context, document, tensors, '');
}

beforeAll(async () => {
  loadTensorFlow({ threads: 1 });
  folder = mkdtempSync(join(tmpdir(), 'alumnus-measured-'));
  store = await openStore(`file://${folder}/store`);
  const samples = Array.from({ length: 360 }, (_, at): SourceSample => ({ origin: String(at), pool: at < 240 ? 'train' : 'test', label: at % 3, image: { pixels: bar(at), shape: SHAPE } }));
  await importDataset(store, memorySource({ labeled: 0, samples }), { name: 'bars', validation: 120 });
  const { recipe, data } = await prepareSubmission(store, 'name: bars\nrounds: 0\ndata: { dataset: bars }\nmodels: { ladder: [{ model: cnn, width: 2, dense: 6 }] }\ntraining: { teacher: { steps: 40, batch_labeled: 16 }, optimizer: { learning_rate: 0.01 }, ema_decay: 0.5 }\nnoise: { input: { name: none } }\n');
  ({ state } = decide(undefined, { kind: 'submit', runId: 'bars', recipe, data }, 0));
  const [training] = openTasks(state) as [Task];
  const trained = await runTask(contextOf(training));
  if (trained.$case !== 'train' || trained.value.model === undefined) throw new Error('it is a training');
  model = await coarsened(contextOf(training), trained.value.model);
  const spec = { ...measureSpec(state, model), weights: [...weightSchemes], predictions: 5 };
  progress.length = 0;
  const result = await runTask(contextOf({ ...training, work: 3 * 240, spec: { $case: 'measure', value: spec } }));
  if (result.$case !== 'measure') throw new Error('it is a measurement');
  measured = result.value;
}, 240_000);
afterAll(() => rmSync(folder, { recursive: true }));

/** Wrong predictions of an exported file on a part, image by image. */
async function wrongOf(file: Uint8Array, part: 'validation' | 'test'): Promise<number> {
  const session = await InferenceSession.create(file);
  const { manifest } = await loadManifest(store, 'bars');
  const { keys, classes } = await readLabels(store, manifest.parts[part]?.labels as ObjectRef);
  const truth = new Map(keys.map((key, at) => [key, classes[at]]));
  let wrong = 0;
  for (const { ref } of manifest.parts[part]?.shards ?? []) {
    for await (const { key, bytes } of readShard(store, ref)) {
      const { probabilities } = await session.run({ images: new Tensor('uint8', await decodeImage(bytes, SHAPE), [1, 12, 12, 1]) });
      const values = [...probabilities!.data as Float32Array];
      if (values.indexOf(Math.max(...values)) !== truth.get(key)) wrong += 1;
    }
  }
  await session.release();
  return wrong;
}

test.each(weightSchemes)('of %s kernels it counts what ONNX Runtime gets wrong with the exported file, and the bytes are the files\'', async (scheme) => {
  const of = measured.weights.find(({ weights }) => weights === scheme)!;
  const document = await readTrained(store, model);
  const [stored, tensors] = [await store.get(model), decodeWeights(await store.get(document.weights))];
  for (const format of portableFormats) {
    const files = (await portableFiles(stored, tensors, { format, scheme })).filter(({ name }) => name !== 'document.json' && name !== 'README.md');
    expect(of.bytes[format]).toBe(files.reduce((sum, { content }) => sum + Buffer.byteLength(content), 0));
    if (format !== 'onnx') continue;
    const content = files[0]?.content as Uint8Array;
    for (const part of ['validation', 'test'] as const) expect(of[part]).toEqual({ wrong: await wrongOf(content, part), total: 120 });
  }
});

test('the model is one that quantization could change, and has learned something', () => {
  const [float32, float16, int8] = measured.weights;
  expect(float32!.validation!.wrong).toBeGreaterThan(0);
  expect(float32!.validation!.wrong).toBeLessThan(80);
  expect(int8!.bytes['onnx']).toBeLessThan(float32!.bytes['onnx']!);
  // As the kernels were coarsened for: what ignores how they are stored does not get by.
  expect(int8!.validation!.wrong).toBeGreaterThan(float32!.validation!.wrong + 5);
  expect(float16!.validation!.total).toBe(120);
});

test('it tells what the model costs, on which device, and how far it is', () => {
  // 9 * 2 + 2 + 9 * 2 * 4 + 4 + 36 * 6 + 6 + 6 * 3 + 3, the kernels and biases of two convolutions and two dense layers, 3 x 3 x 4 values between them.
  expect(measured.parameters).toBe(339);
  // 144 * 9 * 2 + 36 * 18 * 4 + 36 * 6 + 6 * 3
  expect(measured.multiplyAdds).toBe(5418);
  expect(measured).toMatchObject({ threads: 1, predictions: 5, device: expect.stringMatching(/./) as string });
  expect(measured.latencyP95Ms).toBeGreaterThanOrEqual(measured.latencyP50Ms);
  expect(measured.memoryPeak).toBeGreaterThanOrEqual(measured.memoryWithoutModel);
  expect(progress.at(-1)).toBe(3 * 240);
});

test('a model from elsewhere, and weights that this release does not know, are refused', async () => {
  const foreign = await store.putAddressed('runs/bars', Buffer.from(JSON.stringify({ schemaVersion: 2, kind: 'foreign' })), { extension: '.json' });
  const [task] = openTasks(state) as [Task];
  const spec = measureSpec(state, model);
  await expect(runTask(contextOf({ ...task, spec: { $case: 'measure', value: { ...spec, model: foreign } } }))).rejects.toMatchObject({ code: 'USAGE' });
  await expect(runTask(contextOf({ ...task, spec: { $case: 'measure', value: { ...spec, weights: ['int2'] } } }))).rejects.toMatchObject({ code: 'USAGE', message: expect.stringContaining('int2') as string });
});
