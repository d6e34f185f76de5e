/**
 * A model's layers over tensors: clean ones for prediction, noised ones for training. What a layer is, and the models
 * written with them, stand in recipe/models.
 * Invariant: `cleanLayers` has no source of randomness to draw from, so prediction cannot be noised by mistake;
 * `noisedPredictionLayers` is what the ablation asks for by name.
 */
import { invariant } from '../../proto/errors.ts';
import { parameterName, type Layers } from '../../recipe/index.ts';
import { operations } from '../tensorflow/index.ts';
import type { Tensor, Tensor4D, TensorFlow, Tensors } from '../tensorflow/index.ts';
import type { Draws } from './draws.ts';

/** Momentum of the running statistics, as in EfficientNet. */
const statisticsMomentum = 0.99;

/** What training and prediction have in common. */
function sharedLayers(engine: TensorFlow, weights: Tensors): Omit<Layers<Tensor>, 'batchNormalization' | 'dropout' | 'residual'> {
  const { tf } = engine;
  const weight = (name: string): Tensor => {
    const found = weights[name];
    invariant(found !== undefined, `the weights hold ${name}`);
    return found;
  };
  return {
    convolution: (x, name, { stride = 1 }) => tf.conv2d(x as Tensor4D, weight(parameterName.kernel(name)) as Tensor4D, stride, 'same'),
    bias: (x, name) => tf.add(x, weight(parameterName.bias(name))),
    dense: (x, name) => tf.add(tf.matMul(x, weight(parameterName.kernel(name))), weight(parameterName.bias(name))),
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
    batchNormalization: (x, name) => operations.fixedNormalization(engine, x, weights[parameterName.scale(name)]!, weights[parameterName.offset(name)]!, weights[parameterName.mean(name)]!, weights[parameterName.variance(name)]!),
    dropout: x => x,
    residual: (shortcut, branch) => tf.add(shortcut, branch),
  };
}

/** Dropout and stochastic depth, drawn. */
function droppingLayers(engine: TensorFlow, draws: Draws): Pick<Layers<Tensor>, 'dropout' | 'residual'> {
  const { tf } = engine;
  return {
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
}

/** Layers of a teacher that labels noised: dropout and stochastic depth as in training, batch normalization by what training learned, as in prediction. */
export const noisedPredictionLayers = (engine: TensorFlow, weights: Tensors, draws: Draws): Layers<Tensor> => ({ ...cleanLayers(engine, weights), ...droppingLayers(engine, draws) });

/** Layers for training: dropout and stochastic depth drawn from `draws`, batch normalization by the batch. */
export function noisedLayers(engine: TensorFlow, weights: Tensors, draws: Draws): { layers: Layers<Tensor>; takeStatistics(old: Tensors): Tensors } {
  const { tf } = engine;
  const batches: { name: string; mean: Tensor; variance: Tensor }[] = [];
  const layers: Layers<Tensor> = {
    ...sharedLayers(engine, weights),
    ...droppingLayers(engine, draws),
    batchNormalization(x, name) {
      const { y, mean, variance } = operations.batchNormalization(engine, x, weights[parameterName.scale(name)]!, weights[parameterName.offset(name)]!);
      batches.push({ name, mean, variance });
      return y;
    },
  };
  return {
    layers,
    /** The running statistics after this batch; frees what the forward pass kept. */
    takeStatistics(old) {
      const next: Tensors = {};
      for (const { name, mean, variance } of batches) {
        for (const [key, batch] of [[parameterName.mean(name), mean], [parameterName.variance(name), variance]] as const) {
          next[key] = tf.add(tf.mul(old[key]!, statisticsMomentum), tf.mul(batch, 1 - statisticsMomentum));
          batch.dispose();
        }
      }
      return next;
    },
  };
}
