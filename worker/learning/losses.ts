/**
 * The training loss: the mean over the concatenated [labeled; unlabeled] batch of the cross-entropy with soft targets.
 * Not for: evaluation metrics.
 */
import type { Tensor, TensorFlow } from '../tensorflow/index.ts';

/**
 * Targets `[batch, classes]` with `smoothing` taken from each one-hot row and spread over all classes:
 * (1 - s) t + s / classes (Szegedy et al. 2016, arXiv 1512.00567, section 7). Soft rows stay as they are, as in the
 * published Noisy Student code, which smooths hard labels only.
 */
export function smoothLabels(engine: TensorFlow, targets: Tensor, smoothing: number): Tensor {
  const { tf } = engine;
  if (smoothing === 0) return targets;
  const classes = targets.shape[1]!;
  const oneHot = tf.cast(tf.greaterEqual(tf.max(targets, 1, true), 1), 'float32');
  return tf.add(targets, tf.mul(oneHot, tf.sub(smoothing / classes, tf.mul(targets, smoothing))));
}

/** -mean over rows of sum t log softmax(logits). Scalar. */
export function softCrossEntropy(engine: TensorFlow, targets: Tensor, logits: Tensor): Tensor {
  const { tf } = engine;
  // One product by a constant, not `tf.mean`: eager and compiled round it alike.
  return tf.mul(tf.sum(tf.mul(targets, tf.logSoftmax(logits))), -1 / targets.shape[0]);
}
