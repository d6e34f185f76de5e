/**
 * The layers a model is written with. A model is one function over `Layers<T>`, so that the same text gives its
 * parameters (T = shape, here, without TensorFlow), its noised forward pass for training and its clean one for
 * prediction (T = tensor, in worker/learning/layers.ts).
 * Invariant: a layer's name is unique within its model, and names its parameters and its draws.
 */
import { AlumnusError, invariant } from '../../proto/errors.ts';

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

/** What a layer's parameters are called. */
export const parameterName = {
  scale: (layer: string): string => `${layer}/scale`,
  offset: (layer: string): string => `${layer}/offset`,
  mean: (layer: string): string => `${layer}/mean`,
  variance: (layer: string): string => `${layer}/variance`,
  kernel: (layer: string): string => `${layer}/kernel`,
  bias: (layer: string): string => `${layer}/bias`,
};

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
      add(parameterName.kernel(name), [size, size, channels, filters], normal(size * size * channels, 2), 'weight');
      return [Math.ceil(height / stride), Math.ceil(width / stride), filters];
    },
    bias(x, name) {
      add(parameterName.bias(name), [x.at(-1)!], constant(0), 'bias');
      return x;
    },
    dense(x, name, { units, logits = false }) {
      invariant(x.length === 1, 'a dense layer takes [features]');
      add(parameterName.kernel(name), [x[0]!, units], normal(x[0]!, logits ? 1 : 2), 'weight');
      add(parameterName.bias(name), [units], constant(0), 'bias');
      return [units];
    },
    batchNormalization(x, name) {
      const channels = [x.at(-1)!];
      add(parameterName.scale(name), channels, constant(1), 'norm');
      add(parameterName.offset(name), channels, constant(0), 'norm');
      add(parameterName.mean(name), channels, constant(0), 'statistic');
      add(parameterName.variance(name), channels, constant(1), 'statistic');
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
