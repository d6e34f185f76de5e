/** An evaluation of a model with a distillation token: each head's score beside that of both, each counted once more from the predictions themselves. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { prepareSubmission } from '../../../coordinator/api/submission.ts';
import { decide, openTasks, type RunState } from '../../../coordinator/run/index.ts';
import { decodeImage, importDataset, loadManifest, readLabels, readShard, type ImageShape, type SourceSample } from '../../../dataset/index.ts';
import type { EvaluateResult } from '../../../proto/gen/alumnus/v1/task.ts';
import { openStore, type ObjectStore } from '../../../store/index.ts';
import { runTask } from '../../../worker/tasks/index.ts';
import { predictorOf } from '../../../worker/tasks/model.ts';
import { loadTensorFlow } from '../../../worker/tensorflow/index.ts';
import { memorySource } from '../dataset/fixture.ts';

const SHAPE: ImageShape = { height: 8, width: 8, channels: 1 };
const recipe = (model: string): string => `
name: stripes
rounds: 0
data: { dataset: stripes }
models: { ladder: [${model}] }
training: { teacher: { steps: 8, batch_labeled: 16 }, ema_decay: 0.5 }
noise: { input: { name: none } }
`;
let folder: string;
let store: ObjectStore;

beforeAll(async () => {
  loadTensorFlow({ threads: 1 });
  folder = mkdtempSync(join(tmpdir(), 'alumnus-heads-'));
  store = await openStore(`file://${folder}/store`);
  // Stripes of a width that is the class's, at any place.
  const stripes = (at: number): Uint8Array => Uint8Array.from({ length: 64 }, (_, pixel) => ((pixel % 8) + at * 3) % ((at % 3) + 2) === 0 ? 90 + ((at * 29) % 160) : (at * 7 + pixel * 5) % 40);
  const samples = Array.from({ length: 110 }, (_, at): SourceSample => ({ origin: String(at), pool: at < 80 ? 'train' : 'test', label: at % 3, image: { pixels: stripes(at), shape: SHAPE } }));
  await importDataset(store, memorySource({ labeled: 0, samples }), { name: 'stripes', validation: 30 });
}, 120_000);
afterAll(() => rmSync(folder, { recursive: true }));

async function evaluated(model: string): Promise<{ state: RunState; evaluation: EvaluateResult; progress: number[]; work: number }> {
  const { recipe: checked, data } = await prepareSubmission(store, recipe(model));
  let { state } = decide(undefined, { kind: 'submit', runId: 'stripes', recipe: checked, data }, 0);
  let found: { evaluation: EvaluateResult; progress: number[]; work: number } | undefined;
  for (let open = openTasks(state); open.length > 0; open = openTasks(state)) {
    const [task] = open as [(typeof open)[number]];
    const progress: number[] = [];
    const result = await runTask({ task, store, cacheFolder: `${folder}/cache`, signal: new AbortController().signal, progress: ({ done }) => progress.push(done), note: () => undefined, onDevice: (body) => body(), checkpoint: () => undefined });
    if (result?.$case === 'evaluate') found = { evaluation: result.value, progress, work: task.work };
    ({ state } = decide(state, { kind: 'complete', task, workerId: 'w1', result: { result, deviceMs: 5 } }, 0));
  }
  return { state, ...found! };
}

test('each head has a score on both splits', async () => {
  const { state, evaluation, progress, work } = await evaluated('{ model: deit-tiny, patch: 4, width: 12, depth: 1, heads: 2 }');
  expect(state.phase).toBe('succeeded');
  expect(evaluation.heads?.scores.map(({ head }) => head)).toEqual(['class', 'distillation']);
  const { manifest } = await loadManifest(store, 'stripes');
  for (const part of ['validation', 'test'] as const) {
    const { keys, classes } = await readLabels(store, manifest.parts[part]!.labels!);
    const truth = new Map(keys.map((key, at) => [key, classes[at]]));
    for (const [head, score] of [['both', evaluation[part]], ...evaluation.heads!.scores.map((each) => [each.head, each[part]] as const)] as const) {
      const predictor = await predictorOf(store, state.teacher!.model, 1, head as 'both' | 'class' | 'distillation');
      let correct = 0;
      for (const { ref } of manifest.parts[part]!.shards) {
        for await (const { key, bytes } of readShard(store, ref)) {
          const values = [...await predictor.logProbabilities(await decodeImage(bytes, SHAPE), 1)];
          if (values.indexOf(Math.max(...values)) === truth.get(key)) correct += 1;
        }
      }
      expect([part, head, score?.correct, score?.total]).toEqual([part, head, correct, 30]);
    }
  }
  expect([progress.at(-1), Math.max(...progress)]).toEqual([work, work]);
}, 120_000);

test('a model with one head has no such scores, and its result is as it was', async () => {
  const { evaluation } = await evaluated('{ model: vit-tiny, patch: 4, width: 12, depth: 1, heads: 2 }');
  expect(evaluation).not.toHaveProperty('heads');
}, 120_000);
