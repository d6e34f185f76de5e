/**
 * The layers of a prediction, written for speed. What is linear and follows a convolution or a dense layer (a bias, normalization by given
 * statistics, the scale of attention) goes into its weights. And what TensorFlow's graph optimizer knows as one kernel of oneDNN (a product or
 * convolution with its bias, its rectifier or GELU and the sum of a residual) is written in the operations that it looks for
 * (tensorflow/core/grappler/optimizers/remapper.cc); where it does not look, on a GPU or another processor, they are the same sums.
 * Its pattern of layer normalization is avoided: TensorFlow 2.21 gives the kernel an epsilon of 0.001 whatever the graph says.
 * Not for: training, draws. The layers as they are, which tests hold these against, stand in layers.ts.
 * Invariants:
 *  1. In exact numbers they equal `cleanLayers`; in float32 they differ by rounding alone, because the weights are scaled before the sum and not the sum after.
 *  2. There is no source of randomness to draw from.
 */
import { invariant } from '../../proto/errors.ts';
import { parameterName, type Layers } from '../../recipe/index.ts';
import { operations } from '../tensorflow/index.ts';
import type { Tensor, Tensor4D, TensorFlow, Tensors } from '../tensorflow/index.ts';

/** A convolution or dense layer that is not computed yet, so that what follows can still change its weights. */
interface Linear {
  readonly kernel: Tensor;
  /** `[channels]` */
  readonly bias?: Tensor;
  /** Shape of a factor for each channel of the output, as the kernel takes it. */
  readonly factorShape: readonly number[];
  /** Pooling to come, which bias and rectifier may change places with: neither turns larger into smaller. */
  readonly poolSize?: 2 | 3;
  apply(kernel: Tensor): Tensor;
}

/** What layers hand on. Tokens lie one below the other, `[batch x tokens, features]`: the shape in which products are fused. */
export interface Folded {
  /** `[batch, height, width, channels]`, `[batch, tokens, features]` or `[batch, features]` */
  readonly shape: readonly number[];
  readonly linear?: Linear;
  /** The values, computed once. */
  tensor(): Tensor;
}

const flat = (shape: readonly number[]): number[] => (shape.length === 3 ? [shape[0]! * shape[1]!, shape[2]!] : [...shape]);

/** Values of `shape`, computed when they are first asked for. */
function value(shape: readonly number[], compute: () => Tensor): Folded {
  let known: Tensor | undefined;
  return { shape, tensor: () => (known ??= compute()) };
}

/** @param tensor `[batch, height, width, channels]` or `[batch, features]` */
export const unfolded = (tensor: Tensor): Folded => ({ shape: tensor.shape, tensor: () => tensor });

export function foldedLayers(engine: TensorFlow, weights: Tensors): Layers<Folded> {
  const { tf } = engine;
  const weight = (name: string): Tensor => {
    const found = weights[name];
    invariant(found !== undefined, `the weights hold ${name}`);
    return found;
  };
  const add = (a: Tensor, b: Tensor): Tensor => operations.add(engine, a, b);
  const pool = (x: Tensor, size: 2 | 3): Tensor => tf.maxPool(x as Tensor4D, size, 2, size === 2 ? 'valid' : 'same');

  /** What is before an activation is also what it is computed from, so that the optimizer sees one after the other; then the pooling that was put off. */
  const withActivation = (x: Folded, activation: (tensor: Tensor) => Tensor): Tensor => {
    const { linear } = x;
    if (linear === undefined) return activation(x.tensor());
    const sum = linear.apply(linear.kernel);
    const y = activation(linear.bias === undefined ? sum : operations.addBias(engine, sum, linear.bias));
    return linear.poolSize === undefined ? y : pool(y, linear.poolSize);
  };
  const linearValue = (shape: readonly number[], linear: Linear): Folded => {
    const whole: Folded = { ...value(shape, () => withActivation(whole, sum => sum)), linear };
    return whole;
  };
  /** `x` times `factor` plus `offset`, both `[channels]`. */
  const scaled = (linear: Linear, factor: Tensor, offset?: Tensor): Linear => {
    const scaledBias = linear.bias === undefined ? undefined : tf.mul(linear.bias, factor);
    const bias = scaledBias === undefined ? offset : offset === undefined ? scaledBias : tf.add(scaledBias, offset);
    return { ...linear, kernel: tf.mul(linear.kernel, tf.reshape(factor, [...linear.factorShape])), ...bias === undefined ? {} : { bias } };
  };
  const convolved = (x: Folded, channels: number, stride: number, linear: Linear): Folded =>
    linearValue([x.shape[0]!, Math.ceil(x.shape[1]! / stride), Math.ceil(x.shape[2]! / stride), channels], linear);
  const elementwise = (x: Folded, activation: (tensor: Tensor) => Tensor): Folded => value(x.shape, () => withActivation(x, activation));
  /** An activation that pooling does not change places with. */
  const onlyElementwise = (x: Folded, activation: (tensor: Tensor) => Tensor): Folded => (x.linear?.poolSize === undefined ? elementwise(x, activation) : value(x.shape, () => activation(x.tensor())));
  const tokensOf = (x: Folded): Tensor => tf.reshape(x.tensor(), [...x.shape]);
  const flattened = (shape: readonly number[], compute: () => Tensor): Folded => value(shape, () => tf.reshape(compute(), flat(shape)));

  return {
    convolution(x, name, { filters, stride = 1 }) {
      const kernel = weight(parameterName.kernel(name));
      return convolved(x, filters, stride, { kernel, factorShape: [filters], apply: scaledKernel => tf.conv2d(x.tensor() as Tensor4D, scaledKernel as Tensor4D, stride, 'same') });
    },
    depthwiseConvolution(x, name, { stride = 1 }) {
      const [kernel, channels] = [weight(parameterName.kernel(name)), x.shape[3]!];
      return convolved(x, channels, stride, { kernel, factorShape: [channels, 1], apply: scaledKernel => tf.depthwiseConv2d(x.tensor() as Tensor4D, scaledKernel as Tensor4D, stride, 'same') });
    },
    bias(x, name) {
      const bias = weight(parameterName.bias(name));
      if (x.linear === undefined) return value(x.shape, () => operations.addBias(engine, x.tensor(), bias));
      return linearValue(x.shape, { ...x.linear, bias: x.linear.bias === undefined ? bias : tf.add(x.linear.bias, bias) });
    },
    dense(x, name, { units }) {
      return linearValue([...x.shape.slice(0, -1), units], {
        kernel: weight(parameterName.kernel(name)), bias: weight(parameterName.bias(name)), factorShape: [units], apply: kernel => operations.matMul(engine, x.tensor(), kernel),
      });
    },
    batchNormalization(x, name) {
      const [scale, offset, mean, variance] = [parameterName.scale(name), parameterName.offset(name), parameterName.mean(name), parameterName.variance(name)].map(weight) as [Tensor, Tensor, Tensor, Tensor];
      // A factor may be negative, and then the largest is the smallest.
      if (x.linear === undefined || x.linear.poolSize !== undefined) return value(x.shape, () => operations.fixedNormalization(engine, x.tensor(), scale, offset, mean, variance));
      const factor = tf.mul(scale, tf.rsqrt(tf.add(variance, operations.batchNormEpsilon)));
      return linearValue(x.shape, scaled(x.linear, factor, tf.sub(offset, tf.mul(mean, factor))));
    },
    layerNormalization: (x, name) => value(x.shape, () => operations.layerNormalization(engine, x.tensor(), weight(parameterName.scale(name)), weight(parameterName.offset(name)))),
    relu: x => elementwise(x, y => operations.relu(engine, y)),
    swish: x => onlyElementwise(x, y => tf.mul(y, operations.sigmoid(engine, y))),
    gelu: x => onlyElementwise(x, y => operations.fixedGelu(engine, y)),
    gate: (x, logits) => value(x.shape, () => tf.mul(x.tensor(), tf.reshape(operations.sigmoid(engine, logits.tensor()), [x.shape[0]!, 1, 1, x.shape[3]!]))),
    maxPool(x, size = 2) {
      const half = size === 2 ? Math.floor : Math.ceil;
      const shape = [x.shape[0]!, half(x.shape[1]! / 2), half(x.shape[2]! / 2), x.shape[3]!];
      return x.linear === undefined || x.linear.poolSize !== undefined ? value(shape, () => pool(x.tensor(), size)) : linearValue(shape, { ...x.linear, poolSize: size });
    },
    globalAverage: x => value([x.shape[0]!, x.shape[3]!], () => tf.mul(tf.sum(x.tensor(), [1, 2]), 1 / (x.shape[1]! * x.shape[2]!))),
    flatten(x) {
      const shape = [x.shape[0]!, x.shape.slice(1).reduce((product, size) => product * size, 1)];
      return value(shape, () => tf.reshape(x.tensor(), shape));
    },
    tokens: x => flattened([x.shape[0]!, x.shape[1]! * x.shape[2]!, x.shape[3]!], () => x.tensor()),
    prepend: (x, name) => flattened([x.shape[0]!, x.shape[1]! + 1, x.shape[2]!], () => tf.concat([tf.tile(tf.reshape(weight(parameterName.token(name)), [1, 1, -1]), [x.shape[0]!, 1, 1]), tokensOf(x)], 1)),
    positions: (x, name) => flattened(x.shape, () => tf.add(tokensOf(x), weight(parameterName.positions(name)))),
    token: (x, index) => value([x.shape[0]!, x.shape[2]!], () => tf.reshape(tf.slice(tokensOf(x), [0, index, 0], [-1, 1, -1]), [x.shape[0]!, x.shape[2]!])),
    attention(x, heads) {
      const [batch, tokens, features] = x.shape as [number, number, number];
      const size = features / (3 * heads);
      return flattened([batch, tokens, heads * size], () => {
        // Queries come first.
        const factor = tf.tensor1d(Float32Array.from({ length: features }, (_, at) => (at < heads * size ? 1 / Math.sqrt(size) : 1)));
        const side = x.linear === undefined ? tf.mul(x.tensor(), factor) : linearValue(x.shape, scaled(x.linear, factor)).tensor();
        const [queries, keys, values] = tf.unstack(tf.transpose(tf.reshape(side, [batch, tokens, 3, heads, size]), [2, 0, 3, 1, 4])) as [Tensor, Tensor, Tensor];
        const shares = operations.softmax(engine, tf.matMul(queries, keys, false, true));
        return tf.transpose(tf.matMul(shares, values), [0, 2, 1, 3]);
      });
    },
    dropout: x => x,
    residual: (shortcut, branch) => value(branch.shape, () => add(shortcut.tensor(), branch.tensor())),
    distilled: (classLogits, distillationLogits) => value(classLogits.shape, () => tf.mul(tf.add(classLogits.tensor(), distillationLogits.tensor()), 0.5)),
    channels: x => x.shape.at(-1)!,
    sides: x => [x.shape[1]!, x.shape[2]!],
  };
}
