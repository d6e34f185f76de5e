/**
 * Corrupted images from the command that makes them to a run's figures: submission, evaluation by a real (hardly trained) model, and what a
 * wrong set is refused for. Predictions are counted here once more, image by image, from the store's own bytes.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { prepareSubmission } from '../../../coordinator/api/submission.ts';
import { decide, openTasks, type RunState } from '../../../coordinator/run/index.ts';
import { corruptDataset, corruptionNames, decodeImage, importDataset, loadManifest, readLabels, readShard, sequenceNames, type ImageShape, type SourceSample } from '../../../dataset/index.ts';
import type { EvaluateResult, ObjectRef } from '../../../proto/gen/alumnus/v1/task.ts';
import { openStore, type ObjectStore } from '../../../store/index.ts';
import { predictorOf } from '../../../worker/tasks/model.ts';
import { runTask } from '../../../worker/tasks/index.ts';
import { loadTensorFlow } from '../../../worker/tensorflow/index.ts';
import { memorySource } from '../dataset/fixture.ts';

const SHAPE: ImageShape = { height: 28, width: 28, channels: 1 };
let folder: string;
let store: ObjectStore;
let state: RunState;
let evaluation: EvaluateResult;

/** Bars at an angle of their class, of any place and brightness. */
function bar(at: number): Uint8Array {
  const angle = ((at % 3) * Math.PI) / 3;
  const offset = ((at * 7) % 11) - 5;
  return Uint8Array.from({ length: 784 }, (_, pixel) => {
    const distance = Math.abs(Math.sin(angle) * ((pixel % 28) - 13.5) - Math.cos(angle) * (Math.floor(pixel / 28) - 13.5) + offset);
    return Math.round(Math.max(0, 1 - distance / 3) * (120 + ((at * 37) % 120)));
  });
}

const recipe = (data: string): string => `
name: bars
rounds: 0
data: { ${data} }
models: { ladder: [{ model: cnn, width: 4 }] }
training: { teacher: { steps: 25, batch_labeled: 16 }, ema_decay: 0.5 }
noise: { input: { name: none } }
`;

beforeAll(async () => {
  loadTensorFlow({ threads: 1 });
  folder = mkdtempSync(join(tmpdir(), 'alumnus-corrupted-'));
  store = await openStore(`file://${folder}/store`);
  const samples = Array.from({ length: 90 }, (_, at): SourceSample => ({ origin: String(at), pool: at < 70 ? 'train' : 'test', label: at % 3, image: { pixels: bar(at), shape: SHAPE } }));
  await importDataset(store, memorySource({ labeled: 0, samples }), { name: 'bars', validation: 20 });
  await corruptDataset(store, 'bars', { sequenceImages: 5 });
  const { recipe: checked, data } = await prepareSubmission(store, recipe('dataset: bars, corrupted: bars-c'));
  ({ state } = decide(undefined, { kind: 'submit', runId: 'bars', recipe: checked, data }, 0));
  for (let open = openTasks(state); open.length > 0; open = openTasks(state)) {
    const [task] = open as [(typeof open)[number]];
    const progress: number[] = [];
    const result = await runTask({ task, store, cacheFolder: `${folder}/cache`, signal: new AbortController().signal, progress: ({ done }) => progress.push(done), note: () => undefined, onDevice: (body) => body(), checkpoint: () => undefined });
    if (result?.$case === 'evaluate') {
      evaluation = result.value;
      expect(progress.at(-1)).toBe(task.work);
    }
    ({ state } = decide(state, { kind: 'complete', task, workerId: 'w1', result: { result, deviceMs: 5 } }, 0));
  }
}, 240_000);
afterAll(() => rmSync(folder, { recursive: true }));

/** Predictions of a part, by its own shards, with the true class. */
async function predictions(name: string, part: 'validation' | 'test'): Promise<{ key: string; predicted: number; label: number }[]> {
  const { manifest } = await loadManifest(store, name);
  const predictor = await predictorOf(store, state.teacher?.model as ObjectRef, 1);
  const { keys, classes } = await readLabels(store, manifest.parts[part]?.labels as ObjectRef);
  const label = new Map(keys.map((key, at) => [key, classes[at] ?? -1]));
  const rows: { key: string; predicted: number; label: number }[] = [];
  for (const { ref } of manifest.parts[part]?.shards ?? []) {
    for await (const { key, bytes } of readShard(store, ref)) {
      const values = [...await predictor.logProbabilities(await decodeImage(bytes, SHAPE), 1)];
      rows.push({ key, predicted: values.indexOf(Math.max(...values)), label: label.get(key) ?? -1 });
    }
  }
  return rows;
}

test('an evaluation holds each corruption\'s wrong predictions on both splits, and the flips of each sequence', async () => {
  expect(state.phase).toBe('succeeded');
  expect(evaluation.corruption?.scores.map(({ name }) => name)).toEqual([...corruptionNames, ...sequenceNames]);
  const of = (name: string) => evaluation.corruption?.scores.find((score) => score.name === name);
  for (const part of ['validation', 'test'] as const) {
    for (const name of ['shear', 'stripe', 'fog']) {
      const rows = await predictions(`bars-c.${name}`, part);
      expect(of(name)?.[part]).toEqual({ wrong: rows.filter(({ predicted, label }) => predicted !== label).length, total: 20 });
    }
    const translated = await predictions('bars-c.translate_sequence', part);
    const changed = translated.filter(({ predicted, key }, at) => !key.endsWith('_00') && predicted !== translated[at - 1]?.predicted).length;
    expect(of('translate_sequence')).toMatchObject({ frames: 16, [part]: { wrong: changed, total: 5 * 15 } });
  }
  // Neither all nor nothing, or the counts would tell little.
  const wrong = corruptionNames.map((name) => of(name)?.validation?.wrong ?? 0);
  expect(wrong.some((each) => each > 0 && each < 20)).toBe(true);
});

test('a recipe gets what it names by digest, with the images that judge it', async () => {
  const { data } = await prepareSubmission(store, recipe('dataset: bars, corrupted: bars-c'));
  const fog = await loadManifest(store, 'bars-c.fog');
  expect(data.corrupted?.parts.find(({ name }) => name === 'fog')).toMatchObject({ frames: 0, validation: { dataset: 'bars-c.fog#validation', manifestSha256: fog.digest, samples: 20 }, test: { samples: 20 } });
  expect((await prepareSubmission(store, recipe('dataset: bars'))).data).not.toHaveProperty('corrupted');
});

test('a set that is not there, of other images, or put together of two is refused', async () => {
  await expect(prepareSubmission(store, recipe('dataset: bars, corrupted: bars-d'))).rejects.toMatchObject({ code: 'DATASET_NOT_FOUND', where: 'data.corrupted' });
  const samples = Array.from({ length: 60 }, (_, at): SourceSample => ({ origin: String(at), pool: at < 50 ? 'train' : 'test', label: at % 3, image: { pixels: bar(at + 1000), shape: SHAPE } }));
  await importDataset(store, memorySource({ labeled: 0, samples }), { name: 'others', validation: 20 });
  await corruptDataset(store, 'others', { sequenceImages: 0 });
  await expect(prepareSubmission(store, recipe('dataset: bars, corrupted: others-c'))).rejects.toMatchObject({ code: 'RECIPE_INVALID', where: 'data.corrupted', message: 'others-c was made of others, whose validation images are not those of data.validation' });
  // Other test images are told, not refused: they decide nothing.
  const { data } = await prepareSubmission(store, recipe('dataset: bars, test: "others#test", corrupted: bars-c'));
  expect(data.warnings).toEqual(['data.corrupted: bars-c was made of other test images than data.test: its test figures are not reported']);
  expect(data.corrupted?.parts.map((part) => part.test)).toEqual(new Array(20).fill(undefined));
});

test('corrupted images of what judges cannot train', async () => {
  await expect(prepareSubmission(store, recipe('dataset: bars, labeled: "bars-c.fog#validation"'))).rejects.toMatchObject({ code: 'RECIPE_INVALID', where: 'data.labeled' });
});
