/** The folded layers where folding could go wrong, on numbers that can be checked by hand; whole models stand in models.test.ts, against published code. And programs whose variables are fixed. */
import { beforeAll, describe, expect, it } from 'vitest';
import { foldedLayers, unfolded, type Folded } from '../../../worker/learning/folded.ts';
import type { Layers } from '../../../recipe/index.ts';
import { batchNormEpsilon } from '../../../worker/tensorflow/operations.ts';
import { compile, fixed, interpret, loadTensorFlow } from '../../../worker/tensorflow/index.ts';
import type { Program, TensorFlow } from '../../../worker/tensorflow/index.ts';
import { threads } from './setting.ts';

let engine: TensorFlow;
beforeAll(() => { engine = loadTensorFlow({ threads }); });

/** `images` `[1, 2, 2, 1]` through layers with a 1x1 convolution `c` of weight 2 and the given parameters. */
function through(images: number[], parameters: Record<string, number>, body: (layers: Layers<Folded>, x: Folded) => Folded): number[] {
  const { tf } = engine;
  return tf.tidy(() => {
    const weights = { 'c/kernel': tf.tensor4d([2], [1, 1, 1, 1]), ...Object.fromEntries(Object.entries(parameters).map(([name, value]) => [name, tf.tensor1d([value])])) };
    return [...body(foldedLayers(engine, weights), unfolded(tf.tensor4d(images, [1, 2, 2, 1]))).tensor().dataSync()];
  });
}
const convolved = (layers: Layers<Folded>, x: Folded): Folded => layers.convolution(x, 'c', { filters: 1, size: 1 });
const close = (values: number[], expected: number[]): void => {
  expect(values.length).toBe(expected.length);
  values.forEach((value, at) => expect(value).toBeCloseTo(expected[at]!, 5));
};
/** Mean 1, and a variance that with epsilon makes 4: (y - 1) / 2 times the scale, plus the offset. */
const norm = (scale: number, offset: number): Record<string, number> => ({ 'n/scale': scale, 'n/offset': offset, 'n/mean': 1, 'n/variance': 4 - batchNormEpsilon });

describe('what follows a convolution', () => {
  it('goes into its weights in order: bias, normalization, bias', () => {
    // 2 x + 3 = 5, 7, 9, 11; then (y - 1) / 2 * 4 + 10 = 18, 22, 26, 30; then - 1.
    close(through([1, 2, 3, 4], { 'b/bias': 3, ...norm(4, 10), 'd/bias': -1 }, (layers, x) => layers.bias(layers.batchNormalization(layers.bias(convolved(layers, x), 'b'), 'n'), 'd')), [17, 21, 25, 29]);
  });

  it('is the same for each of two that read it: one normalized, one not', () => {
    const { tf } = engine;
    close(tf.tidy(() => {
      const layers = foldedLayers(engine, { 'c/kernel': tf.tensor4d([2], [1, 1, 1, 1]), 'n/scale': tf.tensor1d([4]), 'n/offset': tf.tensor1d([10]), 'n/mean': tf.tensor1d([1]), 'n/variance': tf.tensor1d([4 - batchNormEpsilon]) });
      const x = convolved(layers, unfolded(tf.tensor4d([1, 2, 3, 4], [1, 2, 2, 1])));
      // 2 x = 2, 4, 6, 8; normalized 12, 16, 20, 24.
      return [...layers.residual(x, layers.batchNormalization(x, 'n'), 'r', 1).tensor().dataSync()];
    }), [14, 20, 26, 32]);
  });

  it('pools before a normalization that turns the order around, not after', () => {
    // The largest of 2 x is 8; (8 - 1) / 2 * -2 = -7. The other way around the largest would be that of 2: -1.
    close(through([1, 2, 3, 4], norm(-2, 0), (layers, x) => layers.batchNormalization(layers.maxPool(convolved(layers, x)), 'n')), [-7]);
  });

  it('pools before an activation that is not monotone, and in either order with a rectifier', () => {
    // Largest of 2 x: -2. swish(-2) = -0.23840584; the other way around it would be swish(-8) = -0.0026828. gelu(-2) = -0.04550026, of -8 nearly 0.
    close(through([-1, -2, -3, -4], {}, (layers, x) => layers.swish(layers.maxPool(convolved(layers, x)))), [-0.23840584]);
    close(through([-1, -2, -3, -4], {}, (layers, x) => layers.gelu(layers.maxPool(convolved(layers, x)))), [-0.04550026]);
    close(through([-1, 2, -3, 1], { 'b/bias': -1 }, (layers, x) => layers.relu(layers.bias(layers.maxPool(convolved(layers, x)), 'b'))), [3]);
  });

  it('pools twice', () => {
    const { tf } = engine;
    const images = Float32Array.from({ length: 16 }, (_, at) => (at * 7) % 16);
    expect(tf.tidy(() => {
      const layers = foldedLayers(engine, { 'c/kernel': tf.tensor4d([2], [1, 1, 1, 1]) });
      return [...layers.maxPool(layers.maxPool(convolved(layers, unfolded(tf.tensor4d(images, [1, 4, 4, 1]))))).tensor().dataSync()];
    })).toEqual([30]);
  });
});

it('attention scales the queries alone', () => {
  const { tf } = engine;
  // One head of size 4, two tokens. A dense layer of the identity gives queries 2 e1 and 0, keys e1 and 0, values e1 and e2. The first token's scores are 2 / sqrt(4) = 1 and 0:
  // shares e / (e + 1) = 0.73105858 and 0.26894142. The second's are 0 and 0.
  const sides = [[2, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0]];
  close(tf.tidy(() => {
    const layers = foldedLayers(engine, { 'd/kernel': tf.eye(12), 'd/bias': tf.zeros([12]) });
    const x: Folded = { shape: [1, 2, 12], tensor: () => tf.tensor2d(sides) };
    return [...layers.attention(layers.dense(x, 'd', { units: 12 }), 1).tensor().dataSync()];
  }), [0.73105858, 0.26894142, 0, 0, 0.5, 0.5, 0, 0]);
});

describe('a program whose variables are fixed', () => {
  const program = (): Program => ({
    name: 'affine', variables: { factor: { shape: [2], dataType: 'float32' }, offset: { shape: [], dataType: 'float32' } }, inputs: { x: { shape: [2], dataType: 'float32' } },
    run: ({ factor, offset }, { x }) => ({ outputs: { y: engine.tf.add(engine.tf.mul(x!, factor!), offset!) }, updates: {} }),
  });

  it.each([['compiled', compile], ['eager', interpret]] as const)('has none left, and gives what it gave with them: %s', (_, way) => {
    const before = [engine.tf.memory().numTensors, engine.binding.getNumOfTensors(), engine.binding.getNumOfSavedModels()];
    const values = { factor: Float32Array.of(2, -3), offset: Float32Array.of(0.5) };
    const executable = way(engine, fixed(engine, program(), values));
    expect([...executable.run({ x: Float32Array.of(10, 20) })['y']!]).toEqual([20.5, -59.5]);
    expect(executable.read()).toEqual({});
    expect([...executable.run({ x: Float32Array.of(1, 0) })['y']!]).toEqual([2.5, 0.5]);
    executable.dispose();
    expect([engine.tf.memory().numTensors, engine.binding.getNumOfTensors(), engine.binding.getNumOfSavedModels()]).toEqual(before);
  });

  it('is refused where a value is missing or it would change one', () => {
    expect(() => compile(engine, fixed(engine, program(), { factor: Float32Array.of(2, -3) }))).toThrow('a value for offset is given');
    const changes: Program = { ...program(), run: ({ factor, offset }, { x }) => ({ outputs: { y: x! }, updates: { factor: engine.tf.mul(factor!, offset!) } }) };
    expect(() => compile(engine, fixed(engine, changes, { factor: new Float32Array(2), offset: new Float32Array(1) }))).toThrow('changes no variable');
  });
});
