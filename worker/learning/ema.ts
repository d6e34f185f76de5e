/**
 * Exponential moving average of the weights: what training hands back.
 * Not for: running statistics of batch normalization, which average themselves.
 */
import type { Tensor, TensorFlow } from '../tensorflow/index.ts';

/**
 * The decay of the `count`-th update: min(decay, (1 + count) / (10 + count)), as `tf.train.ExponentialMovingAverage`
 * with `num_updates`, which the published code uses; without it a short training would hand back its first weights.
 */
export function effectiveDecay(engine: TensorFlow, decay: number, count: Tensor): Tensor {
  const { tf } = engine;
  return tf.minimum(tf.scalar(decay), tf.div(tf.add(count, 1), tf.add(count, 10)));
}

/** average - (1 - decay)(average - weight) */
export function movingAverage(engine: TensorFlow, average: Tensor, weight: Tensor, decay: Tensor): Tensor {
  const { tf } = engine;
  return tf.sub(average, tf.mul(tf.sub(average, weight), tf.sub(1, decay)));
}

/**
 * What is left of an average after the updates `first` + 1 to `first` + `updates`, if the weights had been the same in all of them: the product of
 * their decays. Outside a graph, for a step that stands for many.
 */
export function decayOver(decay: number, first: number, updates: number): number {
  let product = 1;
  for (let count = first + 1; count <= first + updates; count++) product *= Math.min(decay, (1 + count) / (10 + count));
  return product;
}
