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
export const statisticsMomentum = 0.99;

/** What training and prediction have in common. */
function sharedLayers(engine: TensorFlow, weights: Tensors): Omit<Layers<Tensor>, 'batchNormalization' | 'dropout' | 'residual' | 'distilled'> {
  const { tf } = engine;
  const weight = (name: string): Tensor => {
    const found = weights[name];
    invariant(found !== undefined, `the weights hold ${name}`);
    return found;
  };
  return {
    convolution: (x, name, { stride = 1 }) => tf.conv2d(x as Tensor4D, weight(parameterName.kernel(name)) as Tensor4D, stride, 'same'),
    depthwiseConvolution: (x, name, { stride = 1 }) => tf.depthwiseConv2d(x as Tensor4D, weight(parameterName.kernel(name)) as Tensor4D, stride, 'same'),
    bias: (x, name) => operations.addBias(engine, x, weight(parameterName.bias(name))),
    dense(x, name) {
      const kernel = weight(parameterName.kernel(name));
      // All tokens of the batch in one product: with the batch as an axis of its own, the kernel's gradient would come a sample at a time.
      const y = operations.addBias(engine, operations.matMul(engine, x.rank === 2 ? x : tf.reshape(x, [-1, kernel.shape[0]]), kernel), weight(parameterName.bias(name)));
      return x.rank === 2 ? y : tf.reshape(y, [...x.shape.slice(0, -1), kernel.shape[1]!]);
    },
    layerNormalization: (x, name) => operations.layerNormalization(engine, x, weight(parameterName.scale(name)), weight(parameterName.offset(name))),
    relu: x => operations.relu(engine, x),
    swish: x => tf.mul(x, operations.sigmoid(engine, x)),
    gelu: x => operations.gelu(engine, x),
    gate: (x, logits) => tf.mul(x, tf.reshape(operations.sigmoid(engine, logits), [x.shape[0], 1, 1, x.shape[3]!])),
    maxPool: (x, size = 2) => tf.maxPool(x as Tensor4D, size, 2, size === 2 ? 'valid' : 'same'),
    // Not `tf.mean`: its gradient divides by a constant, which the graph's optimizer turns into a product that rounds otherwise.
    globalAverage: x => tf.mul(tf.sum(x, [1, 2]), 1 / (x.shape[1]! * x.shape[2]!)),
    flatten: x => tf.reshape(x, [x.shape[0], -1]),
    tokens: x => tf.reshape(x, [x.shape[0], -1, x.shape[3]!]),
    prepend: (x, name) => tf.concat([tf.tile(tf.reshape(weight(parameterName.token(name)), [1, 1, -1]), [x.shape[0], 1, 1]), x], 1),
    positions: (x, name) => tf.add(x, weight(parameterName.positions(name))),
    token: (x, index) => tf.reshape(tf.slice(x, [0, index, 0], [-1, 1, -1]), [x.shape[0], x.shape[2]!]),
    attention(x, heads) {
      const [batch, tokens, features] = x.shape as [number, number, number];
      const size = features / (3 * heads);
      const [queries, keys, values] = tf.unstack(tf.transpose(tf.reshape(x, [batch, tokens, 3, heads, size]), [2, 0, 3, 1, 4])) as [Tensor, Tensor, Tensor];
      const shares = operations.softmax(engine, tf.matMul(tf.mul(queries, 1 / Math.sqrt(size)), keys, false, true));
      return tf.reshape(tf.transpose(tf.matMul(shares, values), [0, 2, 1, 3]), [batch, tokens, heads * size]);
    },
    channels: x => x.shape.at(-1)!,
    sides: x => [x.shape[1]!, x.shape[2]!],
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
    distilled: (classLogits, distillationLogits) => tf.mul(tf.add(classLogits, distillationLogits), 0.5),
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

/**
 * Layers for training: dropout and stochastic depth drawn from `draws`, batch normalization by the batch.
 * A model with a distillation head returns the logits of its class head; `distillationLogits` then gives those of the other.
 */
export function noisedLayers(engine: TensorFlow, weights: Tensors, draws: Draws): { layers: Layers<Tensor>; distillationLogits(): Tensor | undefined; takeStatistics(old: Tensors): Tensors } {
  const { tf } = engine;
  let distillation: Tensor | undefined;
  const batches: { name: string; mean: Tensor; variance: Tensor }[] = [];
  const layers: Layers<Tensor> = {
    ...sharedLayers(engine, weights),
    ...droppingLayers(engine, draws),
    batchNormalization(x, name) {
      const { y, mean, variance } = operations.batchNormalization(engine, x, weights[parameterName.scale(name)]!, weights[parameterName.offset(name)]!);
      batches.push({ name, mean, variance });
      return y;
    },
    distilled(classLogits, distillationLogits) {
      invariant(distillation === undefined, 'a model has one distillation head');
      distillation = distillationLogits;
      return classLogits;
    },
  };
  return {
    layers,
    distillationLogits: () => distillation,
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

/**
 * Layers for fine-tuning: as for training, without dropout and stochastic depth. A batch normalization whose scale is in `frozen`
 * normalizes by what training learned; the others by the batch. So do the published codes: google-research/noisystudent
 * (efficientnet_model.py, `training and self.trainable`) and facebookresearch/FixRes (imnet_finetune/train.py, `eval()` but for the last).
 * @param weights the running statistics of frozen layers among them
 */
export function fineTuningLayers(engine: TensorFlow, weights: Tensors, draws: Draws, frozen: ReadonlySet<string>): ReturnType<typeof noisedLayers> {
  const training = noisedLayers(engine, weights, draws);
  const clean = cleanLayers(engine, weights);
  return {
    ...training,
    layers: {
      ...training.layers, dropout: clean.dropout, residual: clean.residual,
      batchNormalization: (x, name) => (frozen.has(parameterName.scale(name)) ? clean : training.layers).batchNormalization(x, name),
    },
  };
}
