/** Each head of a model that has two, by itself: against the layers as they are, and against what both say together. */
import { beforeAll, expect, test } from 'vitest';
import { buildModel, parameterSpecs, type Architecture } from '../../../recipe/index.ts';
import { createPredictor } from '../../../worker/learning/index.ts';
import { cleanLayers } from '../../../worker/learning/layers.ts';
import { initialWeights } from '../../../worker/learning/step.ts';
import { loadTensorFlow, type TensorFlow } from '../../../worker/tensorflow/index.ts';
import { batch, threads } from './setting.ts';

const COUNT = 6;
const CLASSES = 5;
const deit: Architecture = { model: { name: 'deit-tiny', options: { patch: 4, width: 12, depth: 1, heads: 2, dropout: 0, survival: 1 } }, input: { height: 12, width: 12, channels: 3 }, classes: CLASSES };

let engine: TensorFlow;
beforeAll(() => { engine = loadTensorFlow({ threads }); });

const logSoftmax = (logits: readonly number[]): number[] => {
  const sum = Math.log(logits.reduce((total, each) => total + Math.exp(each), 0));
  return logits.map((each) => each - sum);
};
const rowsOf = (values: ArrayLike<number>): number[][] => Array.from({ length: COUNT }, (_, row) => Array.from({ length: CLASSES }, (_, at) => values[row * CLASSES + at]!));
const close = (found: readonly number[][], wanted: readonly number[][]): void => found.forEach((row, at) => row.forEach((value, column) => expect(value).toBeCloseTo(wanted[at]![column]!, 4)));

test('the class head says what its own logits say, the distillation head what its own do, and both together the mean', async () => {
  const weights = initialWeights(deit, 7);
  // Large enough that the two say different things.
  const tensors = parameterSpecs(deit).map(({ name, shape }) => ({ name, shape: [...shape], values: name.includes('logits') ? weights[name]!.map((_, at) => Math.sin(at * (name.startsWith('distillation') ? 1.7 : 2.3))) : weights[name]! }));
  const { images } = batch(COUNT);
  const { tf } = engine;
  const logits: { class: number[][]; distillation: number[][] } = { class: [], distillation: [] };
  tf.tidy(() => {
    const held = Object.fromEntries(tensors.map(({ name, values, shape }) => [name, tf.tensor(values, shape)]));
    const layers = cleanLayers(engine, held);
    const pixels = tf.tensor4d(Float32Array.from(images, (value) => value / 255), [COUNT, 12, 12, 3]);
    buildModel(deit, { ...layers, distilled: (ofClass, ofDistillation) => {
      logits.class = rowsOf(ofClass.dataSync());
      logits.distillation = rowsOf(ofDistillation.dataSync());
      return ofClass;
    } }, pixels);
  });
  expect(logits.class).not.toEqual(logits.distillation);
  const said: Record<string, number[][]> = {};
  for (const head of ['class', 'distillation', 'both'] as const) {
    const predictor = await createPredictor(deit, tensors, 4, head);
    said[head] = rowsOf(await predictor.logProbabilities(images, COUNT));
    predictor.dispose();
  }
  close(said['class']!, logits.class.map(logSoftmax));
  close(said['distillation']!, logits.distillation.map(logSoftmax));
  close(said['both']!, logits.class.map((row, at) => logSoftmax(row.map((value, column) => (value + logits.distillation[at]![column]!) / 2))));
});
