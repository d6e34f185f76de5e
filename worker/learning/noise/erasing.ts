/**
 * Random erasing (Zhong et al. 2017, arXiv 1708.04896, algorithm 1) as one batched tensor program: a rectangle of an
 * image is replaced. Attempts, ranges and rounding are those of timm's `RandomErasing`, which DeiT trains with.
 * Not for: RandAugment's Cutout, a square of fixed size around any pixel, cut off at the border.
 * Invariant: an erased rectangle lies within its image.
 */
import type { Tensor, TensorFlow } from '../../tensorflow/index.ts';
import type { Draws } from '../draws.ts';
import type { Erasing } from '../types.ts';

/** How often a rectangle is drawn until one is smaller than the image in both directions; after that the image stays whole. */
export const attemptsMax = 10;

/** timm fills with 0 behind a normalization, the mean color; our images are not normalized, and this is the middle of their range, as RandAugment fills. */
const gray = 128;

/** Images `[batch, height, width, channels]`, float32 in [0, 255]; the result is the same. */
export function erase(engine: TensorFlow, images: Tensor, erasing: Erasing, draws: Draws): Tensor {
  const { tf } = engine;
  const [batch, height, width] = images.shape as [number, number, number, number];
  const { probability, areaMin, areaMax, aspectMin, mode } = erasing;
  const between = (name: string, low: number, high: number): Tensor => tf.add(tf.mul(draws.uniform(`erasing/${name}`, [batch, attemptsMax]), high - low), low);
  const pixels = height * width;
  const covered = rectangles(engine, height, width, {
    chosen: tf.less(draws.uniform('erasing/chosen', [batch, 1]), probability),
    areas: between('area', areaMin * pixels, areaMax * pixels),
    aspects: tf.exp(between('aspect', Math.log(aspectMin), -Math.log(aspectMin))),
    top: draws.uniform('erasing/top', [batch, 1]),
    left: draws.uniform('erasing/left', [batch, 1]),
  });
  // The paper's best variant, RE-R: every value drawn for itself, from the whole range.
  const fill = mode === 'pixel' ? tf.floor(tf.mul(draws.uniform('erasing/fill', images.shape), 256)) : tf.scalar(gray);
  return tf.where(covered, fill, images);
}

/**
 * Which pixels are covered, boolean `[batch, height, width, 1]`, with every draw given: `chosen` boolean `[batch, 1]`, whether the image is erased at all;
 * `areas` in pixels and `aspects` (height / width) `[batch, attempts]`; `top` and `left` `[batch, 1]` in [0, 1), the place among all where the rectangle fits.
 */
export function rectangles(engine: TensorFlow, height: number, width: number, { chosen, areas, aspects, top, left }: Record<'chosen' | 'areas' | 'aspects' | 'top' | 'left', Tensor>): Tensor {
  const { tf } = engine;
  const heights = tf.round(tf.sqrt(tf.mul(areas, aspects))), widths = tf.round(tf.sqrt(tf.div(areas, aspects)));
  const fits = tf.cast(tf.logicalAnd(tf.logicalAnd(tf.less(heights, height), tf.less(widths, width)), chosen), 'float32');
  // The first attempt that fits; where none does both sides are 0.
  const first = tf.mul(fits, tf.cast(tf.equal(tf.cumsum(fits, 1), 1), 'float32'));
  const side = (sides: Tensor): Tensor => tf.sum(tf.mul(sides, first), 1, true);
  const within = (place: Tensor, length: Tensor, size: number): Tensor => {
    const start = tf.floor(tf.mul(place, tf.sub(size + 1, length)));
    const distance = tf.sub(tf.reshape(tf.range(0, size, 1, 'float32'), [1, size]), start);
    return tf.logicalAnd(tf.greaterEqual(distance, 0), tf.less(distance, length));
  };
  const batch = areas.shape[0];
  const rows = tf.reshape(within(top, side(heights), height), [batch, height, 1, 1]);
  const columns = tf.reshape(within(left, side(widths), width), [batch, 1, width, 1]);
  return tf.logicalAnd(rows, columns);
}
