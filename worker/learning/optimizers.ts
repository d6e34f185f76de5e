/**
 * Optimizers as functions over tensors: old weights, gradients, state and the rate in, new weights and state out.
 * Weight decay leaves biases and normalization parameters alone.
 * Not for: schedules, averaging (ema.ts).
 */
import type { Tensor, TensorFlow, Tensors } from '../tensorflow/index.ts';
import type { OptimizerSettings } from './types.ts';

/** The defaults of Kingma and Ba (arXiv 1412.6980, algorithm 1). */
const beta1 = 0.9;
const beta2 = 0.999;
const epsilon = 1e-8;

export interface Optimizer {
  /** Names of the state beside each parameter, all zero at the start. */
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
    slots: ['first_moment', 'second_moment'],
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
    slots: ['momentum'],
    update({ weight, gradient, slots, decays }, rate) {
      const full = decays && weightDecay > 0 ? tf.add(gradient, tf.mul(weight, weightDecay)) : gradient;
      const velocity = tf.add(tf.mul(slots['momentum']!, momentum), full);
      return { weight: tf.sub(weight, tf.mul(tf.add(full, tf.mul(velocity, momentum)), rate)), slots: { momentum: velocity } };
    },
  };
}

export const makeOptimizer = (engine: TensorFlow, settings: OptimizerSettings): Optimizer =>
  settings.name === 'adamw' ? adamw(engine, settings.weightDecay) : sgd(engine, settings.weightDecay, settings.momentum);
