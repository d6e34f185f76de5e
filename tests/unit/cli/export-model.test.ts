/** What `run export` writes: the stored bytes, and which model's. */
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { chooseModel, exportModel } from '../../../cli/export-model.ts';
import type { RunView } from '../../../proto/gen/alumnus/v1/operator.ts';
import { canonicalJson, openStore, sha256, type ObjectRef } from '../../../store/index.ts';
import { finishedRun, runningRun } from './fixture.ts';

let folder: string;
let storeUrl: string;
let weights: ObjectRef;
let model: ObjectRef;
let view: RunView;
const bytes = Buffer.from('weights as bytes');
const document = canonicalJson({
  schemaVersion: 1, architecture: { model: { name: 'cnn', options: { width: 4, dense: 16 } }, input: { height: 28, width: 28, channels: 1 }, classes: 10 },
  classNames: Array.from({ length: 10 }, (_, index) => String(index)), parameters: 1234, lineage: { run: 'mnist-4f2a91' },
  weights: { key: `runs/r/t/${sha256(bytes)}.weights`, sha256: sha256(bytes), bytes: bytes.length },
});

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'alumnus-export-'));
  storeUrl = pathToFileURL(join(folder, 'store')).href;
  const store = await openStore(storeUrl);
  weights = await store.putAddressed('runs/r/t', bytes, { extension: '.weights' });
  model = await store.putAddressed('runs/r/t', Buffer.from(document), { extension: '.json' });
  const run = finishedRun();
  view = { ...run, storeUrl, bestModel: model, iterations: run.iterations.map((each) => (each.iteration === 3 ? { ...each, model: { ...each.model!, model } } : each)) };
});
afterEach(() => rm(folder, { recursive: true }));

test('the best model and its weights as they are stored, with a description that names both by digest', async () => {
  const to = join(folder, 'deep', 'model');
  const exported = await exportModel(view, { to, storeUrl });
  expect(exported).toEqual({ runId: 'mnist-4f2a91', iteration: 3, folder: to, files: ['model.json', 'document.json', 'weights.safetensors'].map((name) => join(to, name)) });
  expect((await readdir(to)).sort()).toEqual(['document.json', 'model.json', 'weights.safetensors']);
  expect(await readFile(join(to, 'document.json'), 'utf8')).toBe(document);
  expect(await readFile(join(to, 'weights.safetensors'))).toEqual(bytes);
  expect(JSON.parse(await readFile(join(to, 'model.json'), 'utf8'))).toMatchObject({
    run: 'mnist-4f2a91', iteration: 3, label: 'cnn width=32', model: { name: 'cnn', options: { width: 4, dense: 16 } }, parameters: 1234,
    document: { sha256: model.sha256 }, weights: { sha256: weights.sha256, bytes: bytes.length }, validation: { correct: 4822, total: 5000 },
    // Keras' and TensorFlow's own names for layouts and padding; epsilons of EfficientNet (efficientnet_builder.py) and of ViT.
    conventions: { kernels: { convolution: '[height, width, in, out]', dense: '[in, out]' }, padding: expect.stringMatching(/^SAME/) as string, batchNormalization: { epsilon: 0.001 }, layerNormalization: { epsilon: 0.000001 } },
    input: { height: 28, width: 28, channels: 1 }, output: { classNames: ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9'] },
  });
});

test('weights that were damaged in the store are not exported, and nothing of the model is', async () => {
  await writeFile(join(folder, 'store/objects', weights.key), 'weights as bytez');
  await expect(exportModel(view, { to: join(folder, 'model'), storeUrl })).rejects.toMatchObject({ code: 'DIGEST_MISMATCH', where: weights.key });
  await expect(readdir(join(folder, 'model'))).rejects.toMatchObject({ code: 'ENOENT' });
});

test('an iteration\'s model is its promoted try, else its last', () => {
  const tries = (decisions: readonly string[]) => ({ ...view, iterations: decisions.map((decision, at) => ({ ...view.iterations[1]!, try: at, decision, model: { ...view.iterations[1]!.model!, model: { ...model, key: String(at) } } })) });
  expect(chooseModel(tries(['refused', 'promoted']), 1).ref.key).toBe('1');
  expect(chooseModel(tries(['promoted', '']), 1).ref.key).toBe('0');
  expect(chooseModel(tries(['refused', 'refused']), 1).ref.key).toBe('1');
});

test('a model that is not there is refused, naming those that are', () => {
  expect(() => chooseModel(view, 7)).toThrow(expect.objectContaining({ code: 'RUN_CONFLICT', message: 'iteration 7 has no trained model; there are those of 0, 1, 2, 3' }) as Error);
  // The fixture's run is in iteration 2, and its iterations 0 and 1 are promoted.
  expect(() => chooseModel(runningRun(), undefined)).toThrow(expect.objectContaining({ code: 'RUN_CONFLICT', message: 'the best model is known when the run has ended; the newest promoted so far is that of iteration 1: take it with --iteration 1' }) as Error);
  expect(() => chooseModel({ ...runningRun(), iterations: [] }, undefined)).toThrow(expect.objectContaining({ code: 'RUN_CONFLICT', message: 'it has no best model: none was promoted yet' }) as Error);
});

test('of a fine-tuned model and the one before it, the one that was gated is exported unless the other is asked for', () => {
  const tuned = { key: 'tuned', sha256: 'f'.repeat(64), bytes: 10 };
  const both = (fineTunedTeaches: boolean): RunView => ({
    ...view, fineTunedTeaches, bestModel: fineTunedTeaches ? tuned : model,
    iterations: view.iterations.map((each) => ({ ...each, fineTuned: { ...each.model!, model: each.iteration === 3 ? tuned : { ...tuned, sha256: String(each.iteration).repeat(64) } } })),
  });
  expect([undefined, false, true].map((fineTuned) => chooseModel(both(false), undefined, fineTuned).ref)).toEqual([model, model, tuned]);
  expect([undefined, false, true].map((fineTuned) => chooseModel(both(true), undefined, fineTuned).ref)).toEqual([tuned, model, tuned]);
  expect([undefined, false, true].map((fineTuned) => chooseModel(both(true), 3, fineTuned).ref)).toEqual([tuned, model, tuned]);
  expect(chooseModel(both(false), 1, true).ref.sha256).toBe('1'.repeat(64));
  expect(() => chooseModel(view, undefined, true)).toThrow(expect.objectContaining({ code: 'RUN_CONFLICT', message: 'iteration 3 has no fine-tuned model: its recipe has no training.fine_tune' }) as Error);
});
