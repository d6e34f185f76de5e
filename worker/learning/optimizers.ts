/**
 * Optimizers as functions over tensors: old weights, gradients, state and the rate in, new weights and state out.
 * Weight decay leaves biases and normalization parameters alone.
 * A new one is its name in recipe/schema.ts, its state in `slotsOf`, a function, and a line in `optimizers`.
 * Not for: schedules, averaging (ema.ts).
 */
import type { Tensor, TensorFlow, Tensors } from '../tensorflow/index.ts';
import { named } from './named.ts';
import type { OptimizerSettings } from './types.ts';

/** The defaults of Kingma and Ba (arXiv 1412.6980, algorithm 1). */
const beta1 = 0.9;
const beta2 = 0.999;
const epsilon = 1e-8;

/** The state beside each parameter by name, and the value that all of it has at the start. */
const slotsOf: Readonly<Record<OptimizerSettings['name'], Readonly<Record<string, number>>>> = {
  adamw: { first_moment: 0, second_moment: 0 },
  sgd: { momentum: 0 },
  // TensorFlow begins the mean square at one: the first steps are small, where zero would make them 1 / sqrt(1 - decay) times a full one.
  rmsprop: { mean_square: 1, momentum: 0 },
};

/** @throws AlumnusError CODE_OUTDATED */
export const initialSlots = ({ name }: OptimizerSettings): Readonly<Record<string, number>> => named(slotsOf, 'optimizer', name);

export interface Optimizer {
  /** Names of the state beside each parameter. */
  readonly slots: readonly string[];
  /**
   * One parameter's next weight and slots. `count` is the number of updates made, this one included;
   * `rate` and `count` are scalar tensors; `decays`: weight decay applies to it.
   */
  update(parameter: { weight: Tensor; gradient: Tensor; slots: Tensors; decays: boolean }, rate: Tensor, count: Tensor): { weight: Tensor; slots: Tensors };
}

/** Adam with decoupled weight decay: w - rate (m' / (sqrt(v') + epsilon) + decay w) (Loshchilov and Hutter, arXiv 1711.05101, algorithm 2). */
function adamw(engine: TensorFlow, weightDecay: number): Optimizer {
  const { tf } = engine;
  return {
    slots: Object.keys(slotsOf.adamw),
    update({ weight, gradient, slots, decays }, rate, count) {
      const first = tf.add(tf.mul(slots['first_moment']!, beta1), tf.mul(gradient, 1 - beta1));
      const second = tf.add(tf.mul(slots['second_moment']!, beta2), tf.mul(tf.square(gradient), 1 - beta2));
      // Both bias corrections as scalars, so that the large tensors are passed over once less.
      const firstCorrection = tf.sub(1, tf.pow(tf.scalar(beta1), count));
      const secondCorrection = tf.sqrt(tf.sub(1, tf.pow(tf.scalar(beta2), count)));
      const size = tf.div(tf.mul(rate, secondCorrection), firstCorrection);
      const step = tf.div(tf.mul(first, size), tf.add(tf.sqrt(second), tf.mul(secondCorrection, epsilon)));
      const kept = decays && weightDecay > 0 ? tf.mul(weight, tf.sub(1, tf.mul(rate, weightDecay))) : weight;
      return { weight: tf.sub(kept, step), slots: { first_moment: first, second_moment: second } };
    },
  };
}

/**
 * SGD with Nesterov momentum, as PyTorch's (`nesterov=True`, `weight_decay` added to the gradient):
 * b' = momentum b + g, w' = w - rate (g + momentum b').
 */
function sgd(engine: TensorFlow, weightDecay: number, momentum: number): Optimizer {
  const { tf } = engine;
  return {
    slots: Object.keys(slotsOf.sgd),
    update({ weight, gradient, slots, decays }, rate) {
      const full = decays && weightDecay > 0 ? tf.add(gradient, tf.mul(weight, weightDecay)) : gradient;
      const velocity = tf.add(tf.mul(slots['momentum']!, momentum), full);
      return { weight: tf.sub(weight, tf.mul(tf.add(full, tf.mul(velocity, momentum)), rate)), slots: { momentum: velocity } };
    },
  };
}

/**
 * RMSProp as TensorFlow's `RMSPropOptimizer`, which EfficientNet and the published Noisy Student code train with (decay 0.9,
 * momentum 0.9, epsilon 0.001): s' = s + (1 - decay) (g^2 - s), m' = momentum m + rate g / sqrt(s' + epsilon), w' = w - m'.
 * The rate goes into the momentum, so that a change of it reaches what is under way, too. Their weight decay is a loss,
 * half the decay times the square of each weight, whose gradient is added to g.
 */
function rmsprop(engine: TensorFlow, weightDecay: number, momentum: number, decay: number, epsilon: number): Optimizer {
  const { tf } = engine;
  return {
    slots: Object.keys(slotsOf.rmsprop),
    update({ weight, gradient, slots, decays }, rate) {
      const full = decays && weightDecay > 0 ? tf.add(gradient, tf.mul(weight, weightDecay)) : gradient;
      const before = slots['mean_square']!;
      const square = tf.add(before, tf.mul(tf.sub(tf.square(full), before), 1 - decay));
      // As a product: TensorFlow rewrites a quotient by a root so, which rounds otherwise, and eager and compiled shall be alike.
      const step = tf.add(tf.mul(slots['momentum']!, momentum), tf.mul(tf.mul(full, rate), tf.rsqrt(tf.add(square, epsilon))));
      return { weight: tf.sub(weight, step), slots: { mean_square: square, momentum: step } };
    },
  };
}

const optimizers: Readonly<Record<OptimizerSettings['name'], (engine: TensorFlow, settings: OptimizerSettings) => Optimizer>> = {
  adamw: (engine, { weightDecay }) => adamw(engine, weightDecay),
  sgd: (engine, { weightDecay, momentum }) => sgd(engine, weightDecay, momentum),
  rmsprop: (engine, { weightDecay, momentum, decay, epsilon }) => rmsprop(engine, weightDecay, momentum, decay, epsilon),
};

/** @throws AlumnusError CODE_OUTDATED */
export const makeOptimizer = (engine: TensorFlow, settings: OptimizerSettings): Optimizer => named(optimizers, 'optimizer', settings.name)(engine, settings);

/**
 * Gradients whose norm taken together, sqrt(sum |g|^2), is at most `normMax`: g min(1, normMax / norm), as
 * `tf.clip_by_global_norm` (Pascanu et al., arXiv 1211.5063, algorithm 1). `norm` is the one before. Where that is not
 * finite the gradients that come back mean nothing.
 */
export function clipByGlobalNorm(engine: TensorFlow, gradients: readonly Tensor[], normMax: number): { gradients: Tensor[]; norm: Tensor } {
  const { tf } = engine;
  const norm = tf.sqrt(tf.sum(tf.stack(gradients.map(gradient => tf.sum(tf.square(gradient))))));
  const factor = tf.div(normMax, tf.maximum(norm, normMax));
  return { gradients: gradients.map(gradient => tf.mul(gradient, factor)), norm };
}
