/**
 * The layers a model is written with. A model is one function over `Layers<T>`, so that the same text gives its
 * parameters (T = shape, here, without TensorFlow), its noised forward pass for training and its clean one for
 * prediction (T = tensor, in worker/learning/layers.ts).
 * Invariant: a layer's name is unique within its model, and names its parameters and its draws.
 */
import { AlumnusError, invariant } from '../../proto/errors.ts';

/** Added to the variance: of a batch as in EfficientNet and the published Noisy Student code, of a token as in the published ViT and DeiT. */
export const normalizationEpsilon = { batch: 1e-3, layer: 1e-6 } as const;

export interface ParameterSpec {
  readonly name: string;
  readonly shape: readonly number[];
  /** `normal`: truncated, with this deviation. */
  readonly initial: { readonly kind: 'normal'; readonly deviation: number } | { readonly kind: 'constant'; readonly value: number };
  /** `weight` decays; `bias` (learned tokens and positions, too) and `norm` do not; `statistic` is not trained by gradient, but averaged over batches. */
  readonly role: 'weight' | 'bias' | 'norm' | 'statistic';
}

export interface Layers<T> {
  /**
   * Square convolution with zero padding to the same size (divided by `stride`, rounded up), without bias.
   * `deviation`: of the initial weights, where it is not He's.
   */
  convolution(x: T, name: string, options: { filters: number; size: number; stride?: number; deviation?: number }): T;
  /** The same, each channel by itself. */
  depthwiseConvolution(x: T, name: string, options: { size: number; stride?: number }): T;
  /** One number a channel, added. */
  bias(x: T, name: string): T;
  /**
   * Fully connected, over the last axis: `[features]` or `[tokens, features]`. `logits` starts it with smaller weights,
   * because no rectifier follows; `deviation` with weights of that deviation.
   */
  dense(x: T, name: string, options: { units: number; logits?: boolean; deviation?: number }): T;
  batchNormalization(x: T, name: string): T;
  /** Each token (the last axis) to mean 0 and variance 1, then scale and offset (Ba et al. 2016, arXiv 1607.06450). */
  layerNormalization(x: T, name: string): T;
  relu(x: T): T;
  /** x sigmoid(x) (Ramachandran et al. 2017, arXiv 1710.05941). */
  swish(x: T): T;
  /** x Phi(x) with the normal distribution itself, not its tanh approximation (Hendrycks and Gimpel 2016, arXiv 1606.08415). */
  gelu(x: T): T;
  /** `x` `[height, width, channels]` times sigmoid(`logits`) `[channels]`: the end of squeeze-and-excite. */
  gate(x: T, logits: T): T;
  /** Stride 2. Windows of 2x2 (the default) drop an odd edge, those of 3x3 pad to half the size, rounded up. */
  maxPool(x: T, size?: 2 | 3): T;
  /** Mean over height and width: `[channels]`. */
  globalAverage(x: T): T;
  flatten(x: T): T;
  /** `[height, width, channels]` as tokens `[height x width, channels]`, row by row. */
  tokens(x: T): T;
  /** A learned token ahead of the others. */
  prepend(x: T, name: string): T;
  /** A learned number for each feature of each token, added. */
  positions(x: T, name: string): T;
  /** The token at `index`, from 0: `[features]`. */
  token(x: T, index: number): T;
  /**
   * Scaled dot-product attention over tokens (Vaswani et al. 2017, arXiv 1706.03762, equation 1):
   * queries, keys and values side by side `[tokens, 3 width]`, each cut into `heads`; gives `[tokens, width]`.
   */
  attention(x: T, heads: number): T;
  /** Zeroes each element with probability `rate`, scales the others by 1 / (1 - rate). */
  dropout(x: T, name: string, rate: number): T;
  /**
   * shortcut + branch, where a sample's branch survives with probability `survival` and is then divided by it
   * (google-research/noisystudent, utils.py `stochastic_depth`); the plain sum in prediction.
   */
  residual(shortcut: T, branch: T, name: string, survival: number): T;
  /**
   * The logits of a model with a class and a distillation head (Touvron et al. 2020, arXiv 2012.12877): their mean in
   * prediction, as in the published code. In training the loss is given both. At most once, and last.
   */
  distilled(classLogits: T, distillationLogits: T): T;
  channels(x: T): number;
  /** Height and width. */
  sides(x: T): readonly [number, number];
}

/** What a layer's parameters are called. */
export const parameterName = {
  scale: (layer: string): string => `${layer}/scale`,
  offset: (layer: string): string => `${layer}/offset`,
  mean: (layer: string): string => `${layer}/mean`,
  variance: (layer: string): string => `${layer}/variance`,
  kernel: (layer: string): string => `${layer}/kernel`,
  bias: (layer: string): string => `${layer}/bias`,
  token: (layer: string): string => `${layer}/token`,
  positions: (layer: string): string => `${layer}/positions`,
};

/** Of learned tokens and positions, as in the published ViT and DeiT. */
const tokenDeviation = 0.02;

/** A sample's shape: `[height, width, channels]`, `[tokens, features]` or `[features]`. */
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
  const sequence = (x: SampleShape): [number, number] => {
    invariant(x.length === 2, 'the layer takes [tokens, features]');
    return [x[0]!, x[1]!];
  };
  const layers: Layers<SampleShape> = {
    convolution(x, name, { filters, size, stride = 1, deviation }) {
      const [height, width, channels] = spatial(x);
      add(parameterName.kernel(name), [size, size, channels, filters], deviation === undefined ? normal(size * size * channels, 2) : { kind: 'normal', deviation }, 'weight');
      return [Math.ceil(height / stride), Math.ceil(width / stride), filters];
    },
    depthwiseConvolution(x, name, { size, stride = 1 }) {
      const [height, width, channels] = spatial(x);
      add(parameterName.kernel(name), [size, size, channels, 1], normal(size * size, 2), 'weight');
      return [Math.ceil(height / stride), Math.ceil(width / stride), channels];
    },
    bias(x, name) {
      add(parameterName.bias(name), [x.at(-1)!], constant(0), 'bias');
      return x;
    },
    dense(x, name, { units, logits = false, deviation }) {
      invariant(x.length <= 2, 'a dense layer takes [features] or [tokens, features]');
      const features = x.at(-1)!;
      add(parameterName.kernel(name), [features, units], deviation === undefined ? normal(features, logits ? 1 : 2) : { kind: 'normal', deviation }, 'weight');
      add(parameterName.bias(name), [units], constant(0), 'bias');
      return [...x.slice(0, -1), units];
    },
    batchNormalization(x, name) {
      const channels = [x.at(-1)!];
      add(parameterName.scale(name), channels, constant(1), 'norm');
      add(parameterName.offset(name), channels, constant(0), 'norm');
      add(parameterName.mean(name), channels, constant(0), 'statistic');
      add(parameterName.variance(name), channels, constant(1), 'statistic');
      return x;
    },
    layerNormalization(x, name) {
      add(parameterName.scale(name), [x.at(-1)!], constant(1), 'norm');
      add(parameterName.offset(name), [x.at(-1)!], constant(0), 'norm');
      return x;
    },
    relu: x => x,
    swish: x => x,
    gelu: x => x,
    gate(x, logits) {
      invariant(spatial(x)[2] === logits[0] && logits.length === 1, 'a gate has one logit a channel');
      return x;
    },
    maxPool(x, size = 2) {
      const [height, width, channels] = spatial(x);
      if (Math.min(height, width) < 2) throw new AlumnusError('RECIPE_INVALID', 'the images are too small for the model: nothing is left to pool', { where: 'model' });
      const half = size === 2 ? Math.floor : Math.ceil;
      return [half(height / 2), half(width / 2), channels];
    },
    globalAverage: x => [spatial(x)[2]],
    flatten: x => [x.reduce((product, size) => product * size, 1)],
    tokens(x) {
      const [height, width, channels] = spatial(x);
      return [height * width, channels];
    },
    prepend(x, name) {
      const [tokens, features] = sequence(x);
      add(parameterName.token(name), [1, features], { kind: 'normal', deviation: tokenDeviation }, 'bias');
      return [tokens + 1, features];
    },
    positions(x, name) {
      add(parameterName.positions(name), sequence(x), { kind: 'normal', deviation: tokenDeviation }, 'bias');
      return x;
    },
    token(x, index) {
      const [tokens, features] = sequence(x);
      invariant(index < tokens, 'the token is there');
      return [features];
    },
    attention(x, heads) {
      const [tokens, features] = sequence(x);
      invariant(features % (3 * heads) === 0, 'attention takes queries, keys and values that its heads divide');
      return [tokens, features / 3];
    },
    dropout: x => x,
    residual(shortcut, branch, name) {
      invariant(shortcut.join() === branch.join(), `${name}: shortcut and branch have the same shape`);
      return branch;
    },
    distilled(classLogits, distillationLogits) {
      invariant(classLogits.join() === distillationLogits.join(), 'both heads know the same classes');
      return classLogits;
    },
    channels: x => x.at(-1)!,
    sides: x => [spatial(x)[0], spatial(x)[1]],
  };
  return { layers, parameters };
}
