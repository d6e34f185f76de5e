/** Models saved in TF.js layers format: TF.js itself predicts with them as we do, and our weights come back bit for bit. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parameterSpecs, type Architecture } from '../../../recipe/index.ts';
import { createPredictor, loadLayersFormat, saveLayersFormat } from '../../../worker/learning/index.ts';
import { initialWeights } from '../../../worker/learning/step.ts';
import { loadTensorFlow } from '../../../worker/tensorflow/index.ts';
import type { TensorFlow } from '../../../worker/tensorflow/index.ts';
import { batch, threads } from './setting.ts';

let engine: TensorFlow;
beforeAll(() => { engine = loadTensorFlow({ threads }); });
const folder = mkdtempSync(join(tmpdir(), 'layers-format-'));
afterAll(() => rmSync(folder, { recursive: true }));

const architecture = (name: string, options: Record<string, number>): Architecture => ({ model: { name, options }, input: { height: 12, width: 12, channels: 3 }, classes: 5 });

/** Initial weights, but no bias is 0 and no statistic that of a fresh model: each must be in its own place. */
const weightsOf = (chosen: Architecture): { name: string; shape: number[]; values: Float32Array }[] => {
  const initial = initialWeights(chosen, 5);
  return parameterSpecs(chosen).map(({ name, shape, role }, place) => ({ name, shape: [...shape], values: role === 'weight' ? initial[name]! : initial[name]!.map((value, index) => value + 0.1 * ((index * 7 + place) % 11) / 11) }));
};

describe('TF.js layers format', () => {
  it.each([
    ['cnn', { width: 4, dense: 16 }], ['residual', { width: 4, blocks: 1 }], ['resnet', { depth: 18, width: 4, dropout: 0.2 }], ['resnet', { depth: 50, width: 2, stem: 3 }],
    ['wide-resnet', { depth: 10, width: 1, dropout: 0.3 }], ['efficientnet-b0', { width: 0.1, depth: 0.1 }],
  ] as const)('keeps predictions and weights: %s %j', async (name, options) => {
    const chosen = architecture(name, options);
    const weights = weightsOf(chosen);
    const before = engine.tf.memory().numTensors;
    await saveLayersFormat(chosen, weights, folder);
    const loaded = await loadLayersFormat(folder);
    expect(engine.tf.memory().numTensors).toBe(before);
    expect(loaded.architecture).toEqual(chosen);
    expect(loaded.weights).toEqual(weights);

    const model = await engine.tf.loadLayersModel(`file://${folder}/model.json`);
    const { images } = batch(6);
    const theirs = engine.tf.tidy(() => {
      const pixels = engine.tf.tensor4d(Float32Array.from(images, byte => byte / 255), [6, 12, 12, 3]);
      return engine.tf.logSoftmax(model.predict(pixels) as ReturnType<typeof engine.tf.tensor>).dataSync();
    });
    model.dispose();
    const predictor = await createPredictor(chosen, weights, 6);
    const ours = await predictor.logProbabilities(images, 6);
    predictor.dispose();
    const size = Math.hypot(...ours);
    expect(new Set(ours.map(value => Math.fround(value))).size).toBeGreaterThan(5);
    // TF.js computes batch normalization and biases in other steps, so not to the bit.
    expect(Math.hypot(...ours.map((value, index) => value - theirs[index]!)) / size).toBeLessThan(1e-5);
  });

  it('gives the same files for the same weights', async () => {
    const chosen = architecture('cnn', { width: 4, dense: 16 });
    const files = async (): Promise<Buffer[]> => {
      await saveLayersFormat(chosen, weightsOf(chosen), folder);
      return ['model.json', 'weights.bin'].map(name => readFileSync(join(folder, name)));
    };
    expect(await files()).toEqual(await files());
  });

  it('says plainly that it has no attention', async () => {
    const chosen = architecture('vit-tiny', { patch: 4, width: 24, depth: 1 });
    await expect(saveLayersFormat(chosen, weightsOf(chosen), folder)).rejects.toThrow(expect.objectContaining({ code: 'RECIPE_INVALID', message: expect.stringContaining('vit-tiny cannot be saved in TF.js layers format') as string }) as Error);
  });

  it('takes no weights of another model, no missing folder, no model of others', async () => {
    const chosen = architecture('cnn', { width: 4, dense: 16 });
    const code = (value: string): Error => expect.objectContaining({ code: value }) as Error;
    await expect(saveLayersFormat(chosen, weightsOf(architecture('cnn', { width: 5, dense: 16 })), folder)).rejects.toThrow(code('DIGEST_MISMATCH'));
    await expect(loadLayersFormat(join(folder, 'missing'))).rejects.toThrow(code('OBJECT_NOT_FOUND'));
    await saveLayersFormat(chosen, weightsOf(chosen), folder);
    const path = join(folder, 'model.json');
    writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, 'utf8')) as object, userDefinedMetadata: undefined }));
    await expect(loadLayersFormat(folder)).rejects.toThrow(code('DIGEST_MISMATCH'));
  });
});
