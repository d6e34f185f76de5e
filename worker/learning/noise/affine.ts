/** Small random rotation, translation and scaling about the image's center, and mirroring where left and right mean the same. Not for: RandAugment's operations. */
import { operations } from '../../tensorflow/index.ts';
import type { Tensor, TensorFlow } from '../../tensorflow/index.ts';
import type { Draws } from '../draws.ts';
import type { InputNoise } from '../types.ts';

/** What lies outside the image is black. */
const fill = 0;

/**
 * Each image is rotated by up to `degrees`, moved by up to `translatePixels` in x and y, and scaled by a factor
 * in [1 - scale, 1 + scale], all uniform and independent; bilinear. With `flip`, half of them are mirrored first.
 */
export function affine(engine: TensorFlow, images: Tensor, noise: Extract<InputNoise, { name: 'affine' }>, draws: Draws): Tensor {
  const { tf } = engine;
  const [batch, height, width] = images.shape as [number, number, number, number];
  const between = (name: string, extreme: number): Tensor => tf.mul(tf.sub(draws.uniform(`affine/${name}`, [batch, 1]), 0.5), 2 * extreme);
  const angle = between('angle', noise.degrees * Math.PI / 180);
  // The transform maps output to input, so the content grows where the coordinates shrink.
  const size = tf.add(between('scale', noise.scale), 1);
  const cos = tf.div(tf.cos(angle), size), sin = tf.div(tf.sin(angle), size);
  const centerX = (width - 1) / 2, centerY = (height - 1) / 2;
  const moveX = between('x', noise.translatePixels), moveY = between('y', noise.translatePixels);
  // In this order, because TensorFlow's optimizer draws common factors out of sums of products, turns sums of sums into
  // one operation, and rounds otherwise than the eager step that tests compare with.
  const offsetX = tf.sub(tf.add(moveX, tf.sub(centerX, tf.mul(cos, centerX))), tf.mul(sin, -centerY));
  const offsetY = tf.add(moveY, tf.sub(tf.sub(centerY, tf.mul(sin, centerX)), tf.mul(cos, centerY)));
  const none = tf.zeros([batch, 1]);
  const row = [cos, tf.neg(sin), offsetX];
  // A mirrored image is read from the right: x becomes width - 1 - x. Chosen, not computed, for the order's sake above.
  const mirrored = [tf.neg(cos), sin, tf.sub(width - 1, offsetX)];
  const flips = noise.flip ? tf.less(draws.uniform('affine/flip', [batch, 1]), 0.5) : undefined;
  const across = flips === undefined ? row : row.map((straight, at) => tf.where(flips, mirrored[at]!, straight));
  const transforms = tf.concat([...across, sin, cos, offsetY, none, none], 1);
  return operations.projectiveTransform(engine, images, transforms, 'BILINEAR', fill);
}
