/**
 * The layers a model is written with. A model is one function over `Layers<T>`, so that the same text gives its
 * parameters (T = shape, without TensorFlow), its noised forward pass for training and its clean one for prediction.
 * Not for: losses, input noise.
 * Invariants:
 *   1. `cleanLayers` has no source of randomness to draw from: prediction cannot be noised by mistake.
 *   2. A layer's name is unique within its model, and names its parameters and its draws.
 */
import { AlumnusError, invariant } from '../../proto/errors.ts';
import { operations } from '../tensorflow/index.ts';
import type { Tensor, Tensor4D, TensorFlow, Tensors } from '../tensorflow/index.ts';
import type { Draws } from './draws.ts';

export interface ParameterSpec {
  readonly name: string;
  readonly shape: readonly number[];
  /** `normal`: truncated, with this deviation. */
  readonly initial: { readonly kind: 'normal'; readonly deviation: number } | { readonly kind: 'constant'; readonly value: number };
  /** `weight` decays; `bias` and `norm` do not; `statistic` is not trained by gradient, but averaged over batches. */
  readonly role: 'weight' | 'bias' | 'norm' | 'statistic';
}

export interface Layers<T> {
  /** Square convolution with zero padding to the same size (divided by `stride`), without bias. */
  convolution(x: T, name: string, options: { filters: number; size: number; stride?: number }): T;
  /** One number a channel, added. */
  bias(x: T, name: string): T;
  /** Fully connected; `logits` starts it with smaller weights, because no rectifier follows. */
  dense(x: T, name: string, options: { units: number; logits?: boolean }): T;
  batchNormalization(x: T, name: string): T;
  relu(x: T): T;
  /** 2x2, stride 2, odd edges dropped. */
  maxPool(x: T): T;
  /** Mean over height and width: `[batch, channels]`. */
  globalAverage(x: T): T;
  flatten(x: T): T;
  /** Zeroes each element with probability `rate`, scales the others by 1 / (1 - rate). */
  dropout(x: T, name: string, rate: number): T;
  /**
   * shortcut + branch, where a sample's branch survives with probability `survival` and is then divided by it
   * (google-research/noisystudent, utils.py `stochastic_depth`); the plain sum in prediction.
   */
  residual(shortcut: T, branch: T, name: string, survival: number): T;
  channels(x: T): number;
}

/** Momentum of the running statistics, as in EfficientNet. */
const statisticsMomentum = 0.99;

const scaleName = (name: string): string => `${name}/scale`;
const offsetName = (name: string): string => `${name}/offset`;
const meanName = (name: string): string => `${name}/mean`;
const varianceName = (name: string): string => `${name}/variance`;
const kernelName = (name: string): string => `${name}/kernel`;
const biasName = (name: string): string => `${name}/bias`;

/** A sample's shape: `[height, width, channels]` or `[features]`. */
export type SampleShape = readonly number[];

/** Walks a model by shapes alone and lists its parameters; needs no TensorFlow. */
export function declaringLayers(): { layers: Layers<SampleShape>; parameters: ParameterSpec[] } {
  const parameters: ParameterSpec[] = [];
  const names = new Set<string>();
  const add = (name: string, shape: readonly number[], initial: ParameterSpec['initial'], role: ParameterSpec['role']): void => {
    invariant(!names.has(name), `parameter ${name} is declared once`);
    names.add(name);
    parameters.push({ name, shape, initial, role });
  };
  // He et al. 2015 (arXiv 1502.01852, equation 10): what a rectifier follows keeps its variance with 2 / fan-in.
  const normal = (fanIn: number, gain: number): ParameterSpec['initial'] => ({ kind: 'normal', deviation: Math.sqrt(gain / fanIn) });
  const constant = (value: number): ParameterSpec['initial'] => ({ kind: 'constant', value });
  const spatial = (x: SampleShape): [number, number, number] => {
    invariant(x.length === 3, 'the layer takes [height, width, channels]');
    return [x[0]!, x[1]!, x[2]!];
  };
  const layers: Layers<SampleShape> = {
    convolution(x, name, { filters, size, stride = 1 }) {
      const [height, width, channels] = spatial(x);
      add(kernelName(name), [size, size, channels, filters], normal(size * size * channels, 2), 'weight');
      return [Math.ceil(height / stride), Math.ceil(width / stride), filters];
    },
    bias(x, name) {
      add(biasName(name), [x.at(-1)!], constant(0), 'bias');
      return x;
    },
    dense(x, name, { units, logits = false }) {
      invariant(x.length === 1, 'a dense layer takes [features]');
      add(kernelName(name), [x[0]!, units], normal(x[0]!, logits ? 1 : 2), 'weight');
      add(biasName(name), [units], constant(0), 'bias');
      return [units];
    },
    batchNormalization(x, name) {
      const channels = [x.at(-1)!];
      add(scaleName(name), channels, constant(1), 'norm');
      add(offsetName(name), channels, constant(0), 'norm');
      add(meanName(name), channels, constant(0), 'statistic');
      add(varianceName(name), channels, constant(1), 'statistic');
      return x;
    },
    relu: x => x,
    maxPool(x) {
      const [height, width, channels] = spatial(x);
      if (Math.min(height, width) < 2) throw new AlumnusError('RECIPE_INVALID', 'the images are too small for the model: nothing is left to pool', { where: 'model' });
      return [Math.floor(height / 2), Math.floor(width / 2), channels];
    },
    globalAverage: x => [spatial(x)[2]],
    flatten: x => [x.reduce((product, size) => product * size, 1)],
    dropout: x => x,
    residual(shortcut, branch, name) {
      invariant(shortcut.join() === branch.join(), `${name}: shortcut and branch have the same shape`);
      return branch;
    },
    channels: x => x.at(-1)!,
  };
  return { layers, parameters };
}

/** What training and prediction have in common. */
function sharedLayers(engine: TensorFlow, weights: Tensors): Omit<Layers<Tensor>, 'batchNormalization' | 'dropout' | 'residual'> {
  const { tf } = engine;
  const weight = (name: string): Tensor => {
    const found = weights[name];
    invariant(found !== undefined, `the weights hold ${name}`);
    return found;
  };
  return {
    convolution: (x, name, { stride = 1 }) => tf.conv2d(x as Tensor4D, weight(kernelName(name)) as Tensor4D, stride, 'same'),
    bias: (x, name) => tf.add(x, weight(biasName(name))),
    dense: (x, name) => tf.add(tf.matMul(x, weight(kernelName(name))), weight(biasName(name))),
    relu: x => tf.relu(x),
    maxPool: x => tf.maxPool(x as Tensor4D, 2, 2, 'valid'),
    // Not `tf.mean`: its gradient divides by a constant, which the graph's optimizer turns into a product that rounds otherwise.
    globalAverage: x => tf.mul(tf.sum(x, [1, 2]), 1 / (x.shape[1]! * x.shape[2]!)),
    flatten: x => tf.reshape(x, [x.shape[0], -1]),
    channels: x => x.shape.at(-1)!,
  };
}

/** Layers for prediction: a pure function of the weights. */
export function cleanLayers(engine: TensorFlow, weights: Tensors): Layers<Tensor> {
  const { tf } = engine;
  return {
    ...sharedLayers(engine, weights),
    batchNormalization: (x, name) => operations.fixedNormalization(engine, x, weights[scaleName(name)]!, weights[offsetName(name)]!, weights[meanName(name)]!, weights[varianceName(name)]!),
    dropout: x => x,
    residual: (shortcut, branch) => tf.add(shortcut, branch),
  };
}

/** Layers for training: dropout and stochastic depth drawn from `draws`, batch normalization by the batch. */
export function noisedLayers(engine: TensorFlow, weights: Tensors, draws: Draws): { layers: Layers<Tensor>; takeStatistics(old: Tensors): Tensors } {
  const { tf } = engine;
  const batches: { name: string; mean: Tensor; variance: Tensor }[] = [];
  const layers: Layers<Tensor> = {
    ...sharedLayers(engine, weights),
    batchNormalization(x, name) {
      const { y, mean, variance } = operations.batchNormalization(engine, x, weights[scaleName(name)]!, weights[offsetName(name)]!);
      batches.push({ name, mean, variance });
      return y;
    },
    dropout(x, name, rate) {
      if (rate === 0) return x;
      const keep = tf.cast(tf.greaterEqual(draws.uniform(`dropout/${name}`, x.shape), rate), 'float32');
      return tf.mul(x, tf.mul(keep, 1 / (1 - rate)));
    },
    residual(shortcut, branch, name, survival) {
      if (survival === 1) return tf.add(shortcut, branch);
      const shape = [branch.shape[0], ...branch.shape.slice(1).map(() => 1)];
      const survives = tf.cast(tf.less(draws.uniform(`depth/${name}`, shape), survival), 'float32');
      return tf.add(shortcut, tf.mul(branch, tf.mul(survives, 1 / survival)));
    },
  };
  return {
    layers,
    /** The running statistics after this batch; frees what the forward pass kept. */
    takeStatistics(old) {
      const next: Tensors = {};
      for (const { name, mean, variance } of batches) {
        for (const [key, batch] of [[meanName(name), mean], [varianceName(name), variance]] as const) {
          next[key] = tf.add(tf.mul(old[key]!, statisticsMomentum), tf.mul(batch, 1 - statisticsMomentum));
          batch.dispose();
        }
      }
      return next;
    },
  };
}
