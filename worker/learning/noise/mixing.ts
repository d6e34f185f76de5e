/**
 * Mixup (Zhang et al. 2018, arXiv 1710.09412) and CutMix (Yun et al. 2019, arXiv 1905.04899) as one batched tensor
 * program over images and their targets. Boxes and the corrected lambda are those of timm's `Mixup`, which DeiT trains with.
 * Not for: labels that a teacher writes: a mixed image is no sample that a label could be stored for.
 * Invariants: a target row stays the same mixture as its image; a row's targets sum to what they summed to.
 *
 * Whose lambda: each sample has its own, and its own choice of mixup, CutMix or neither (timm's mode `elem`; DeiT's
 * default is one of each for the whole batch). It costs the same here. One lambda a batch would make batches of low contrast
 * (lambda near 1/2) alternate with plain ones, and batch normalization, which both kinds share, would average over what no
 * batch looks like; it also makes the gradient noisier.
 *
 * Whose partner: the sample `shift` places further on, around the end, over the whole batch, with one `shift` drawn a
 * step from 1 to batch - 1. Both papers take the partner independently from the data trained on, which by the method is labeled
 * and pseudo-labeled samples alike: the loss is the mean over both. timm's partner is the reversed batch, which is as good
 * there because its batch is shuffled. Ours holds the labeled first: reversed, each labeled image would meet pseudo-labeled ones only,
 * and where they are the fewer, no two of them ever. Partners within each part alone would keep pseudo-labels from
 * labeled targets, but then the space between the two parts, which the method wants filled, stays empty, and a part of one
 * sample would never be mixed. With the shift each sample's partner is any of the others, equally likely, and each sample is
 * partner to exactly one, so that in expectation the labeled keep their share of the loss.
 */
import { operations } from '../../tensorflow/index.ts';
import type { Tensor, TensorFlow } from '../../tensorflow/index.ts';
import type { Draws } from '../draws.ts';
import type { Mixing } from '../types.ts';

export interface Labeled {
  /** `[batch, height, width, channels]` */
  images: Tensor;
  /** `[batch, classes]`, smoothed already: smoothing tells hard rows from soft ones, and mixed rows are soft. */
  targets: Tensor;
}

export function mix(engine: TensorFlow, samples: Labeled, mixing: Mixing, draws: Draws): Labeled {
  const { tf } = engine;
  const batch = samples.images.shape[0];
  const { mixupAlpha, cutmixAlpha, probability, switchProbability } = mixing;
  const draw = (name: string): Tensor => draws.uniform(`mixing/${name}`, [batch, 1]);
  const beta = (name: string, alpha: number): Tensor => draws.beta(`mixing/${name}`, [batch, 1], alpha);
  const [none, mixed] = [tf.ones([batch, 1]), tf.less(draw('chosen'), probability)];
  const cut = mixupAlpha === 0 ? mixed : tf.logicalAnd(mixed, tf.less(draw('switch'), cutmixAlpha === 0 ? 0 : switchProbability));
  const shift = tf.add(tf.floor(tf.mul(draws.uniform('mixing/partner', [1]), batch - 1)), 1);
  return mixWith(engine, samples, {
    partners: partners(engine, batch, shift),
    mixup: mixupAlpha === 0 ? none : tf.where(tf.logicalAnd(mixed, tf.logicalNot(cut)), beta('mixup', mixupAlpha), none),
    cutmix: cutmixAlpha === 0 ? none : tf.where(cut, beta('cutmix', cutmixAlpha), none),
    centerY: draw('center_y'),
    centerX: draw('center_x'),
  });
}

/** (i + shift) mod batch for each sample i: int32 `[batch]`. `shift`: whole number `[1]`, 1 to batch. */
export function partners(engine: TensorFlow, batch: number, shift: Tensor): Tensor {
  const { tf } = engine;
  const further = tf.add(tf.range(0, batch, 1, 'float32'), shift);
  return tf.cast(tf.where(tf.less(further, batch), further, tf.sub(further, batch)), 'int32');
}

/**
 * With every draw given. `partners` int32 `[batch]`; `mixup` and `cutmix` `[batch, 1]` the lambdas, 1 where a sample is not mixed that way;
 * `centerY` and `centerX` `[batch, 1]` in [0, 1) place the box. A sample gets one of the two at most.
 */
export function mixWith(engine: TensorFlow, { images, targets }: Labeled, { partners, mixup, cutmix, centerY, centerX }: Record<'partners' | 'mixup' | 'cutmix' | 'centerY' | 'centerX', Tensor>): Labeled {
  const { tf } = engine;
  const [batch, height, width] = images.shape as [number, number, number, number];
  const [otherImages, otherTargets] = [operations.gather(engine, images, partners), operations.gather(engine, targets, partners)];
  const blend = (own: Tensor, other: Tensor, ownShare: Tensor, otherShare: Tensor): Tensor => tf.add(tf.mul(own, ownShare), tf.mul(other, otherShare));
  // timm's `rand_bbox`: sides cut down to whole pixels, then to even ones, and the box cut off at the border.
  const side = tf.sqrt(tf.sub(1, cutmix));
  const inside = (center: Tensor, size: number): Tensor => {
    const half = tf.floor(tf.mul(tf.floor(tf.mul(side, size)), 0.5));
    const distance = tf.sub(tf.reshape(tf.range(0, size, 1, 'float32'), [1, size]), tf.floor(tf.mul(center, size)));
    return tf.logicalAnd(tf.greaterEqual(distance, tf.neg(half)), tf.less(distance, half));
  };
  const box = tf.logicalAnd(tf.reshape(inside(centerY, height), [batch, height, 1, 1]), tf.reshape(inside(centerX, width), [batch, 1, width, 1]));
  // Lambda corrected: the share of pixels that the partner gave. Counted, because TensorFlow's optimizer reorders the product of two sides and a
  // constant; and both shares chosen, because it makes z of 1 - (1 - z). Either would round otherwise than the eager step.
  const taken = tf.mul(tf.sum(tf.cast(box, 'float32'), [1, 2]), 1 / (height * width));
  const isCut = tf.greater(taken, 0);
  const blended = tf.sub(1, mixup);
  const whole = (share: Tensor): Tensor => tf.reshape(share, [batch, 1, 1, 1]);
  return {
    images: tf.where(box, otherImages, blend(images, otherImages, whole(mixup), whole(blended))),
    targets: blend(targets, otherTargets, tf.where(isCut, tf.sub(1, taken), mixup), tf.where(isCut, taken, blended)),
  };
}
