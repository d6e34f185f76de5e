/**
 * TensorFlow operations that tfjs does not name, or names with a random source of its own: stateless draws, bytes,
 * projective transforms, fused batch normalization. Each is one or few calls of `executeOp`, so it can be traced.
 * Not for: what tfjs offers already.
 */
import { invariant } from '../../proto/errors.ts';
import { normalizationEpsilon } from '../../recipe/index.ts';
import { attributeKind, dataTypeCode } from './graph.ts';
import type { OperationAttribute, Tensor, TensorFlow } from './load.ts';

type NumberType = keyof typeof dataTypeCode;

const typeAttribute = (name: string, type: NumberType): OperationAttribute => ({ name, type: attributeKind.type, value: dataTypeCode[type] });
const boolAttribute = (name: string, value: boolean): OperationAttribute => ({ name, type: attributeKind.bool, value });
const floatAttribute = (name: string, value: number): OperationAttribute => ({ name, type: attributeKind.float, value });
const stringAttribute = (name: string, value: string): OperationAttribute => ({ name, type: attributeKind.string, value });

function one(engine: TensorFlow, name: string, attributes: OperationAttribute[], inputs: Tensor[]): Tensor {
  return engine.backend.executeMultipleOutputs(name, attributes, inputs, 1)[0]!;
}

/** A `uint8` input as float32, values 0 to 255, same shape. */
export const fromBytes = (engine: TensorFlow, bytes: Tensor): Tensor =>
  one(engine, 'Cast', [typeAttribute('SrcT', 'uint8'), typeAttribute('DstT', 'float32'), boolAttribute('Truncate', false)], [bytes]);

/** Uniform float32 in [0, 1) of `shape`, a pure function of the int32 `seed` `[2]`; the same on CPU and GPU. */
export function randomUniform(engine: TensorFlow, shape: readonly number[], seed: Tensor): Tensor {
  const dimensions = engine.tf.tensor1d([...shape], 'int32');
  return one(engine, 'StatelessRandomUniform', [typeAttribute('dtype', 'float32'), typeAttribute('T', 'int32'), typeAttribute('Tseed', 'int32')], [dimensions, seed]);
}

/** Gamma(alpha) of rate 1, float32 of `shape`, alpha > 0, a pure function of the int32 `seed` `[2]`. */
export function randomGamma(engine: TensorFlow, shape: readonly number[], alpha: number, seed: Tensor): Tensor {
  const dimensions = engine.tf.tensor1d([...shape], 'int32');
  return one(engine, 'StatelessRandomGammaV2', [typeAttribute('dtype', 'float32'), typeAttribute('T', 'int32'), typeAttribute('Tseed', 'int32')], [dimensions, seed, engine.tf.scalar(alpha)]);
}

/** `chosen` where the boolean scalar `condition` holds, `otherwise` elsewhere; never mixes the two, so a NaN on the other side is harmless. */
export const selectWhole = (engine: TensorFlow, condition: Tensor, chosen: Tensor, otherwise: Tensor): Tensor =>
  one(engine, 'Select', [{ name: 'T', type: attributeKind.type, value: dataTypeCode[chosen.dtype === 'int32' ? 'int32' : 'float32'] }], [condition, chosen, otherwise]);

/** A scalar boolean: every element of every tensor is finite. */
export function allFinite(engine: TensorFlow, tensors: readonly Tensor[]): Tensor {
  const { tf } = engine;
  return tf.all(tf.stack(tensors.map(tensor => tf.all(tf.isFinite(tensor)))));
}

/**
 * Warps `images` `[batch, height, width, channels]` by `transforms` `[batch, 8]`: output pixel (x, y) is taken from
 * ((a0 x + a1 y + a2) / k, (b0 x + b1 y + b2) / k) with k = c0 x + c1 y + 1 and the transform [a0 a1 a2 b0 b1 b2 c0 c1].
 * Outside the image every channel is `fill`.
 */
export function projectiveTransform(engine: TensorFlow, images: Tensor, transforms: Tensor, interpolation: 'BILINEAR' | 'NEAREST', fill: number): Tensor {
  const size = engine.tf.tensor1d([images.shape[1]!, images.shape[2]!], 'int32');
  return one(engine, 'ImageProjectiveTransformV3',
    [typeAttribute('dtype', 'float32'), stringAttribute('interpolation', interpolation), stringAttribute('fill_mode', 'CONSTANT')],
    [images, transforms, size, engine.tf.scalar(fill)]);
}

/** The entries of a float32 `table` `[entries, ...]` that int32 `indices` of any shape name; tfjs's own `gather` reads the indices back. */
export const gather = (engine: TensorFlow, table: Tensor, indices: Tensor): Tensor =>
  one(engine, 'GatherV2', [typeAttribute('Tparams', 'float32'), typeAttribute('Tindices', 'int32'), typeAttribute('Taxis', 'int32'), { name: 'batch_dims', type: attributeKind.int, value: 0 }],
    [table, indices, engine.tf.scalar(0, 'int32')]);

/** How often each value from 0 to `size` - 1 occurs in each row of int32 `values` `[rows, n]`: float32 `[rows, size]`. */
export const histogram = (engine: TensorFlow, values: Tensor, size: number): Tensor =>
  one(engine, 'DenseBincount', [typeAttribute('Tidx', 'int32'), typeAttribute('T', 'float32'), boolAttribute('binary_output', false)],
    [values, engine.tf.scalar(size, 'int32'), engine.tf.tensor1d([], 'float32')]);

/** The sum under the name by which TensorFlow's graph optimizer knows it; tfjs's own is an older operation. */
export const add = (engine: TensorFlow, a: Tensor, b: Tensor): Tensor => one(engine, 'AddV2', [typeAttribute('T', 'float32')], [a, b]);

/** Log-softmax over the last axis of `[rows, columns]`, in one kernel. */
export const logSoftmax = (engine: TensorFlow, x: Tensor): Tensor => one(engine, 'LogSoftmax', [typeAttribute('T', 'float32')], [x]);

type WithGradient = (dy: Tensor, saved: Tensor[]) => Tensor[];

/**
 * An operation with a gradient of its own: `forward` gives the value and what `gradient` needs of it. Within both, tfjs
 * records nothing.
 */
function differentiable(engine: TensorFlow, inputs: readonly Tensor[], forward: (...inputs: Tensor[]) => { value: Tensor; saved: Tensor[] }, gradient: WithGradient): Tensor {
  return engine.tf.customGrad((...given) => {
    const save = given.at(-1);
    invariant(typeof save === 'function', 'tfjs hands over where to save');
    const { value, saved } = forward(...given.slice(0, -1) as Tensor[]);
    save(saved);
    return { value, gradFunc: gradient };
  })(...inputs);
}

/**
 * The gradient of tfjs itself takes three operations for what TensorFlow has one kernel for. It is given x, not y: a
 * normalization whose result only a rectifier reads is fused with it in a graph, and then rounds otherwise than alone.
 */
export const relu = (engine: TensorFlow, x: Tensor): Tensor => differentiable(engine, [x],
  x => ({ value: one(engine, 'Relu', [typeAttribute('T', 'float32')], [x]), saved: [x] }),
  (dy, [x]) => [one(engine, 'ReluGrad', [typeAttribute('T', 'float32')], [dy, x!])]);

/** With TensorFlow's own kernel for the gradient, dy y (1 - y). */
export const sigmoid = (engine: TensorFlow, x: Tensor): Tensor => differentiable(engine, [x],
  x => { const y = one(engine, 'Sigmoid', [typeAttribute('T', 'float32')], [x]); return { value: y, saved: [y] }; },
  (dy, [y]) => [one(engine, 'SigmoidGrad', [typeAttribute('T', 'float32')], [y!, dy])]);

/** x Phi(x), where Phi(x) = (1 + erf(x / sqrt 2)) / 2; its derivative is Phi(x) + x exp(-x^2 / 2) / sqrt(2 pi). */
export function gelu(engine: TensorFlow, x: Tensor): Tensor {
  const { tf } = engine;
  return differentiable(engine, [x],
    x => {
      const phi = tf.add(tf.mul(tf.erf(tf.mul(x, Math.SQRT1_2)), 0.5), 0.5);
      return { value: tf.mul(x, phi), saved: [x, phi] };
    },
    (dy, [x, phi]) => {
      const density = tf.exp(tf.mul(tf.square(x!), -0.5));
      return [tf.mul(dy, tf.add(phi!, tf.mul(tf.mul(x!, 1 / Math.sqrt(2 * Math.PI)), density)))];
    });
}

/** The same, without a gradient: in the operations and the order of the graph optimizer's pattern of a product, its bias and this, which oneDNN has as one kernel. */
export function fixedGelu(engine: TensorFlow, x: Tensor): Tensor {
  const { tf } = engine;
  return tf.mul(tf.mul(add(engine, tf.erf(tf.mul(x, Math.SQRT1_2)), tf.scalar(1)), 0.5), x);
}

/** `bias` `[channels]` added along the last axis. */
export const addBias = (engine: TensorFlow, x: Tensor, bias: Tensor): Tensor => {
  const attributes = [typeAttribute('T', 'float32'), stringAttribute('data_format', 'NHWC')];
  return differentiable(engine, [x, bias],
    (x, bias) => ({ value: one(engine, 'BiasAdd', attributes, [x, bias]), saved: [] }),
    dy => [dy, one(engine, 'BiasAddGrad', attributes, [dy])]);
};

const product = (engine: TensorFlow, a: Tensor, b: Tensor, transposeA: boolean, transposeB: boolean): Tensor =>
  one(engine, 'MatMul', [typeAttribute('T', 'float32'), boolAttribute('transpose_a', transposeA), boolAttribute('transpose_b', transposeB)], [a, b]);

/** `a` `[rows, inner]` times `b` `[inner, columns]`. */
export const matMul = (engine: TensorFlow, a: Tensor, b: Tensor): Tensor => differentiable(engine, [a, b],
  (a, b) => ({ value: product(engine, a, b, false, false), saved: [a, b] }),
  (dy, [a, b]) => [product(engine, dy, b!, false, true), product(engine, a!, dy, true, false)]);

/** Softmax over the last axis; dx = (dy - sum(dy y)) y. */
export function softmax(engine: TensorFlow, x: Tensor): Tensor {
  const { tf } = engine;
  return differentiable(engine, [x],
    x => { const y = one(engine, 'Softmax', [typeAttribute('T', 'float32')], [x]); return { value: y, saved: [y] }; },
    (dy, [y]) => [tf.mul(tf.sub(dy, tf.sum(tf.mul(dy, y!), -1, true)), y!)]);
}

const layerNormEpsilon = normalizationEpsilon.layer;

/**
 * Layer normalization over the last axis (Ba et al. 2016, arXiv 1607.06450) of `x` `[..., features]`, with `scale` and
 * `offset` `[features]`. With n the normalized x and g = dy scale, dx = (g - mean(g) - n mean(g n)) / deviation.
 */
export function layerNormalization(engine: TensorFlow, x: Tensor, scale: Tensor, offset: Tensor): Tensor {
  const { tf } = engine;
  const features = x.shape.at(-1)!;
  const mean = (values: Tensor): Tensor => tf.mul(tf.sum(values, -1, true), 1 / features);
  return differentiable(engine, [x, scale, offset],
    (x, scale, offset) => {
      const centered = tf.sub(x, mean(x));
      const inverse = tf.rsqrt(tf.add(mean(tf.square(centered)), layerNormEpsilon));
      const normalized = tf.mul(centered, inverse);
      return { value: tf.add(tf.mul(normalized, scale), offset), saved: [normalized, inverse, scale] };
    },
    (dy, [normalized, inverse, scale]) => {
      const product = tf.mul(dy, normalized!);
      const leading = dy.shape.slice(0, -1).map((_, axis) => axis);
      const g = tf.mul(dy, scale!);
      const dx = tf.mul(tf.sub(tf.sub(g, mean(g)), tf.mul(normalized!, mean(tf.mul(product, scale!)))), inverse!);
      return [dx, tf.sum(product, leading), tf.sum(dy, leading)];
    });
}

export const batchNormEpsilon = normalizationEpsilon.batch;

/**
 * Batch normalization of `x` `[batch, height, width, channels]` by the batch's own mean and variance.
 * Returns the normalized tensor, differentiable in x, scale and offset, and the batch's mean and (unbiased) variance
 * `[channels]`, which are not, and which the caller disposes: they must outlive the gradient's own scope.
 */
export function batchNormalization(engine: TensorFlow, x: Tensor, scale: Tensor, offset: Tensor): { y: Tensor; mean: Tensor; variance: Tensor } {
  const { tf, backend } = engine;
  const common = [typeAttribute('T', 'float32'), typeAttribute('U', 'float32'), floatAttribute('epsilon', batchNormEpsilon), stringAttribute('data_format', 'NHWC'), boolAttribute('is_training', true)];
  let statistics: Tensor[] = [];
  const normalize = tf.customGrad((...inputs) => {
    const [x, scale, offset, save] = inputs as unknown as [Tensor, Tensor, Tensor, (tensors: Tensor[]) => void];
    const none = tf.tensor1d([], 'float32');
    const [y, mean, variance, ...reserved] = backend.executeMultipleOutputs('FusedBatchNormV3', [...common, floatAttribute('exponential_avg_factor', 1)], [x, scale, offset, none, none], 6) as [Tensor, Tensor, Tensor, Tensor, Tensor, Tensor];
    statistics = [tf.keep(mean), tf.keep(variance)];
    save([x, scale, ...reserved]);
    return {
      value: y,
      gradFunc: (dy, saved) => {
        const [dx, dScale, dOffset] = backend.executeMultipleOutputs('FusedBatchNormGradV3', common, [dy, ...saved], 5);
        return [dx!, dScale!, dOffset!];
      },
    };
  });
  const y = normalize(x, scale, offset);
  return { y, mean: statistics[0]!, variance: statistics[1]! };
}

/** The same with given mean and variance `[channels]`: what a model that predicts uses. */
export function fixedNormalization(engine: TensorFlow, x: Tensor, scale: Tensor, offset: Tensor, mean: Tensor, variance: Tensor): Tensor {
  const attributes = [typeAttribute('T', 'float32'), typeAttribute('U', 'float32'), floatAttribute('epsilon', batchNormEpsilon), stringAttribute('data_format', 'NHWC'), boolAttribute('is_training', false)];
  return engine.backend.executeMultipleOutputs('FusedBatchNormV3', attributes, [x, scale, offset, mean, variance], 6)[0]!;
}
