/**
 * Knowledge distillation: the loss of a student that learns from its teacher's probabilities beside true labels (Hinton et al. 2015,
 * arXiv 1503.02531), on one head or, as DeiT has it (Touvron et al. 2020, arXiv 2012.12877), on a head of its own.
 *
 * The convention, for a row with logits z, a true label y and the teacher's distribution q:
 *   loss = (1 - a) CE(y, softmax(z)) + a T² KL(q ‖ softmax(z / T)), q = softmax(log p / T), and a row without a true label has T² KL alone;
 * the batch's is the mean over its rows. By T² a soft target's gradient by z, T (softmax(z / T) - q), keeps its size: for logits that are small
 * against T it tends to (z - v) / classes, v the teacher's logits, whatever T is (section 2.1). Hard targets are q = the teacher's most probable class, and T is 1.
 * DeiT's code (losses.py) divides its KL by classes, too, as a legacy of PyTorch; the paper's equation 2 does not, nor do we.
 *
 * Mixed rows (mixup, CutMix) are mixtures of what goes in: y then sums to the share m of the row that has a true label, and the row's loss is
 * (1 - a) CE + (1 - (1 - a) m) T² KL. With m = 1 and m = 0 that is the above.
 * Not for: who makes q (step.ts), metrics.
 */
import { invariant } from '../../proto/errors.ts';
import type { Tensor, TensorFlow } from '../tensorflow/index.ts';
import type { DistillationSettings } from './types.ts';

type Targets = Pick<DistillationSettings, 'targets' | 'temperature'>;

/** What the student is to learn: q `[rows, classes]` of the teacher's log-probabilities, or logits, `[rows, classes]`. No gradient goes to them. */
export function teacherTargets(engine: TensorFlow, logProbabilities: Tensor, { targets, temperature }: Targets): Tensor {
  const { tf } = engine;
  if (targets === 'hard') return tf.cast(tf.oneHot(tf.cast(tf.argMax(logProbabilities, 1), 'int32') as ReturnType<typeof tf.tensor1d>, logProbabilities.shape[1]!), 'float32');
  // Not `operations.softmax`: a graph may take another kernel for it, and then rounds otherwise than the eager step.
  return tf.exp(tf.logSoftmax(tf.mul(logProbabilities, 1 / temperature)));
}

/** Least probability whose logarithm float32 can take; what lies below adds nothing to q log q. */
const PROBABILITY_LEAST = 1e-37;

/** T² KL(targets ‖ softmax(logits / T)) by row: `[rows]`, in nats. */
function divergence(engine: TensorFlow, targets: Tensor, logits: Tensor, temperature: number): Tensor {
  const { tf } = engine;
  const known = tf.log(tf.maximum(targets, PROBABILITY_LEAST));
  const learned = tf.logSoftmax(tf.mul(logits, 1 / temperature));
  return tf.mul(tf.sum(tf.mul(targets, tf.sub(known, learned)), 1), temperature * temperature);
}

/** CE(truth, softmax(logits)) by row: `[rows]`, in nats, 0 where the row has no truth. */
const crossEntropy = ({ tf }: TensorFlow, truth: Tensor, logits: Tensor): Tensor => tf.neg(tf.sum(tf.mul(truth, tf.logSoftmax(logits)), 1));

/**
 * The mean over rows, a scalar.
 * @param truth `[rows, classes]`: sums to the share of the row that has a true label. @param teacher `[rows, classes]`: `teacherTargets`, sums to 1
 * @param heads logits `[rows, classes]`; `distillation` of a model that has the token. With `head: token` it learns the teacher and the other the labels;
 *   with `head: class` both learn both, half of the loss each.
 */
export function distillationLoss(engine: TensorFlow, { truth, teacher }: { readonly truth: Tensor; readonly teacher: Tensor }, heads: { readonly class: Tensor; readonly distillation?: Tensor | undefined }, { share, temperature, head }: DistillationSettings): Tensor {
  const { tf } = engine;
  const labeled = tf.mul(tf.sum(truth, 1), 1 - share);
  const loss = (learnsLabels: Tensor, learnsTeacher: Tensor): Tensor => {
    const rows = tf.add(tf.mul(crossEntropy(engine, truth, learnsLabels), 1 - share), tf.mul(divergence(engine, teacher, learnsTeacher, temperature), tf.sub(1, labeled)));
    // One product by a constant, not `tf.mean`: eager and compiled round it alike.
    return tf.mul(tf.sum(rows), 1 / truth.shape[0]);
  };
  if (head === 'token') {
    invariant(heads.distillation !== undefined, 'a model that learns by its token has one');
    return loss(heads.class, heads.distillation);
  }
  return heads.distillation === undefined ? loss(heads.class, heads.class) : tf.mul(tf.add(loss(heads.class, heads.class), loss(heads.distillation, heads.distillation)), 0.5);
}
