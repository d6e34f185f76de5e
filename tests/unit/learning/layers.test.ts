/**
 * Layers with a gradient of their own against torch 2.15.0 in double precision: values, and gradients of the sum of the
 * values times given weights. torch.nn.functional's relu, silu, gelu, softmax, layer_norm (eps 1e-6) and
 * scaled_dot_product_attention, the last on queries, keys and values cut as timm's `Attention` does.
 */
import { beforeAll, describe, expect, it } from 'vitest';
import { declaringLayers } from '../../../recipe/models/layers.ts';
import { cleanLayers, noisedLayers } from '../../../worker/learning/layers.ts';
import { seededDraws } from '../../../worker/learning/draws.ts';
import { loadTensorFlow, operations } from '../../../worker/tensorflow/index.ts';
import type { Tensor, TensorFlow } from '../../../worker/tensorflow/index.ts';
import { threads } from './setting.ts';

let engine: TensorFlow;
beforeAll(() => { engine = loadTensorFlow({ threads }); });

/** The value of `body`, and the gradients of sum(value x weights) by each input. */
function valueAndGradients(body: (...inputs: Tensor[]) => Tensor, inputs: Tensor[], weights: Tensor): number[][] {
  const { tf } = engine;
  const { grads } = tf.valueAndGrads((...each: Tensor[]) => tf.sum(tf.mul(body(...each), weights)))(inputs);
  return [body(...inputs), ...grads].map(tensor => [...tensor.dataSync()]);
}

function expectClose(results: number[][], expected: number[][]): void {
  expect(results.map(each => each.length)).toEqual(expected.map(each => each.length));
  results.forEach((each, part) => each.forEach((value, index) => expect(value).toBeCloseTo(expected[part]![index]!, 5)));
}

describe('activations', () => {
  it.each<[string, (x: Tensor) => Tensor, number[], number[]]>([
    ['relu', x => cleanLayers(engine, {}).relu(x), [0, 0, 0, 0.25, 0.7, 2.5], [0, 0, 0, 0.5, -1, 2]],
    ['swish', x => cleanLayers(engine, {}).swish(x), [-0.14227762, -0.268941421, -0.188770334, 0.140544125, 0.467731441, 2.31035455], [-0.088104106, -0.144658976, 0.780116438, 0.311855011, -0.823386783, 2.19880222]],
    ['gelu', x => cleanLayers(engine, {}).gelu(x), [-0.00404969409, -0.158655254, -0.154268769, 0.149676581, 0.530625443, 2.48447584], [-0.0119456472, 0.166630941, 0.397514626, 0.347686677, -0.976614101, 2.07522217]],
    ['softmax', x => operations.softmax(engine, x), [0.048610824, 0.359188106, 0.59220107, 0.0829459204, 0.130085098, 0.786968982], [-0.00519347461, -1.11593919, 1.12113267, -0.0817287576, -0.323303853, 0.405032611]],
  ])('and their gradients: %s', (_, body, value, gradient) => {
    const { tf } = engine;
    tf.tidy(() => expectClose(valueAndGradients(body, [tf.tensor2d([-3, -1, -0.5, 0.25, 0.7, 2.5], [2, 3])], tf.tensor2d([1, -2, 3, 0.5, -1, 2], [2, 3])), [value, gradient]));
  });
});

it('layer normalization and its gradients by input, scale and offset', () => {
  const { tf } = engine;
  tf.tidy(() => {
    const body = (x: Tensor, scale: Tensor, offset: Tensor): Tensor => cleanLayers(engine, { 'norm/scale': scale, 'norm/offset': offset }).layerNormalization(x, 'norm');
    expectClose(valueAndGradients(body, [tf.tensor2d([-3, -1, -0.5, 0.25, 0.7, 2.5], [2, 3]), tf.tensor1d([1.5, -0.5, 2]), tf.tensor1d([0.1, 0.2, 0.3])], tf.tensor2d([1, -2, 3, 0.5, -1, 2], [2, 3])), [
      [-1.98309433, -0.0314549257, 2.15163941, -1.28872941, 0.431454902, 3.07745883],
      [0.451886743, -2.25944046, 1.80755372, 0.440864926, -0.551083879, 0.110218953], [-1.85163936, -0.462909898, 5.55491794], [1.5, -3, 5],
    ]);
  });
});

it('attention of two heads over three tokens and its gradient', () => {
  const { tf } = engine;
  tf.tidy(() => {
    const rows = [(i: number) => i * 7 % 11 / 5 - 1, (i: number) => i * 5 % 13 / 6 - 1, (i: number) => i * 3 % 7 / 3 - 1];
    const x = tf.tensor3d(rows.flatMap(row => Array.from({ length: 12 }, (_, index) => row(index))), [1, 3, 12]);
    expectClose(valueAndGradients(x => cleanLayers(engine, {}).attention(x, 2), [x], tf.reshape(tf.range(0, 12), [1, 3, 4])), [
      [-0.645944085, 0.393779886, 0.353961877, -0.455626133, -0.585648081, 0.514908749, -0.0883108178, -0.136159634, -0.602747891, 0.48087449, -0.0740586479, -0.256719416],
      [0.0470762006, -0.222407325, -0.473264832, -0.062365492, 0.205167984, 0.0373818912, -3.8216673, 1.56527838, 4.47164547, 5.52659404, 7.08125991, 8.1618552,
        0.470875767, -1.39280897, -1.04319492, -1.19490665, 2.59541486, 0.0844078635, 0.88831732, -0.172352277, 4.30471089, 5.49316834, 3.85140376, 4.74927208,
        0.875500522, -2.724153, -1.86949894, -1.71753309, -2.80058285, -0.121789755, 2.93334998, -1.39292611, 3.22364363, 3.98023762, 7.06733633, 8.08887273],
    ]);
  });
});

describe('two heads', () => {
  it('are averaged in prediction, and both there for the loss in training', () => {
    const { tf } = engine;
    tf.tidy(() => {
      const [first, second] = [tf.tensor2d([1, 2], [1, 2]), tf.tensor2d([5, -4], [1, 2])];
      expect([...cleanLayers(engine, {}).distilled(first, second).dataSync()]).toEqual([3, -1]);
      const { layers, distillationLogits } = noisedLayers(engine, {}, seededDraws(engine, tf.tensor1d([1, 2], 'int32')));
      expect(distillationLogits()).toBeUndefined();
      expect([...layers.distilled(first, second).dataSync()]).toEqual([1, 2]);
      expect([...distillationLogits()!.dataSync()]).toEqual([5, -4]);
      expect(() => layers.distilled(first, second)).toThrow('one distillation head');
    });
  });
});

describe('declared shapes', () => {
  it('are those of the tensors', () => {
    const { tf } = engine;
    const { layers: shapes } = declaringLayers();
    tf.tidy(() => {
      const clean = cleanLayers(engine, { 'd/kernel': tf.ones([3, 3, 2, 1]), 'c/kernel': tf.ones([5, 5, 2, 4]), 't/token': tf.ones([1, 2]), 'p/positions': tf.ones([36, 2]) });
      const [images, declared] = [tf.ones([1, 5, 7, 2]), [5, 7, 2]];
      const pairs: [Tensor, readonly number[]][] = [
        [clean.maxPool(images), shapes.maxPool(declared)], [clean.maxPool(images, 3), shapes.maxPool(declared, 3)],
        [clean.depthwiseConvolution(images, 'd', { size: 3, stride: 2 }), shapes.depthwiseConvolution(declared, 'd', { size: 3, stride: 2 })],
        [clean.convolution(images, 'c', { filters: 4, size: 5, stride: 2 }), shapes.convolution(declared, 'c', { filters: 4, size: 5, stride: 2 })],
        [clean.positions(clean.prepend(clean.tokens(images), 't'), 'p'), shapes.positions(shapes.prepend(shapes.tokens(declared), 't'), 'p')],
        [clean.token(clean.tokens(images), 3), shapes.token(shapes.tokens(declared), 3)],
        [clean.gate(images, tf.ones([1, 2])), shapes.gate(declared, [2])],
      ];
      for (const [tensor, shape] of pairs) expect(tensor.shape.slice(1)).toEqual(shape);
      // Rows one after another: the token at row 1, column 2 of 7 is the tenth.
      const counted = tf.reshape(tf.range(0, 70), [1, 5, 7, 2]);
      expect([...clean.token(clean.tokens(counted), 9).dataSync()]).toEqual([18, 19]);
    });
  });
});
