/**
 * RandAugment (Cubuk et al., arXiv 1909.13719) as one batched tensor program: in each layer every image gets one
 * operation, drawn uniformly. Operations of a kind share their work: geometric ones one projective transform an image,
 * point ones one 256-entry table an image and channel, sharpness and color one blend each; cutout is a mask.
 * Not for: bounding boxes, random crops and flips.
 * Invariants: pixel values are whole numbers from 0 to 255 between operations, as in the 8-bit originals; all draws
 * come from `Draws`.
 *
 * Sources, which differ, and which each list follows:
 *   `paper14`: the list of the paper (figure 2, identity included); ranges of AutoAugment (arXiv 1805.09501, table 6) on
 *     its scale of 10, which the paper adopts; each operation as Pillow computes it, which both papers used.
 *   `tf16`: google-research/noisystudent, randaugment.py (the paper's own TensorFlow code with Cutout switched on), with
 *     its quirks: solarize grows milder with the magnitude, contrast blends with (pixels / 256) instead of the mean gray.
 */
import { invariant } from '../../../proto/errors.ts';
import { operations } from '../../tensorflow/index.ts';
import type { Tensor, Tensor4D, TensorFlow } from '../../tensorflow/index.ts';
import type { Draws } from '../draws.ts';
import type { InputNoise } from '../types.ts';

export type OperationList = Extract<InputNoise, { name: 'randaugment' }>['operations'];

export type OperationName = 'Identity' | 'AutoContrast' | 'Equalize' | 'Invert' | 'Rotate' | 'Posterize' | 'Solarize' | 'SolarizeAdd'
  | 'Color' | 'Contrast' | 'Brightness' | 'Sharpness' | 'ShearX' | 'ShearY' | 'TranslateX' | 'TranslateY' | 'Cutout';

export const operationLists: Readonly<Record<OperationList, readonly OperationName[]>> = {
  paper14: ['Identity', 'AutoContrast', 'Equalize', 'Rotate', 'Solarize', 'Color', 'Posterize', 'Contrast', 'Brightness', 'Sharpness', 'ShearX', 'ShearY', 'TranslateX', 'TranslateY'],
  tf16: ['AutoContrast', 'Equalize', 'Invert', 'Rotate', 'Posterize', 'Solarize', 'Color', 'Contrast', 'Brightness', 'Sharpness', 'ShearX', 'ShearY', 'TranslateX', 'TranslateY', 'SolarizeAdd', 'Cutout'],
};

/** What a magnitude means, in each operation's own unit. Geometric amounts get a random sign. */
export interface Strength {
  rotateDegrees: number;
  shear: number;
  translateX: number;
  translateY: number;
  /** Blend factor of color, contrast, brightness and sharpness: 0 is fully degenerate, 1 the image itself. */
  enhance: number;
  posterizeBits: number;
  /** Values from this on are inverted. */
  solarizeThreshold: number;
  solarizeAddition: number;
  /** Half the side of the square that is cut out, in pixels. */
  cutoutHalf: number;
}

/** The magnitude at which an operation reaches the end of its published range; larger ones go on linearly. */
const magnitudeScale = 10;

/** Below this side the published code takes its constants from the image's (it does so for 32 pixels). */
const smallImageSide = 64;

/** What a geometric operation leaves uncovered, and what cutout fills in. */
const gray = 128;

const clamp = (value: number, low: number, high: number): number => Math.min(high, Math.max(low, value));

export function strengthOf(list: OperationList, magnitude: number, height: number, width: number): Strength {
  const share = magnitude / magnitudeScale;
  const common = { rotateDegrees: 30 * share, shear: 0.3 * share, enhance: 1.8 * share + 0.1, solarizeAddition: Math.trunc(110 * share) };
  if (list === 'paper14') {
    return {
      ...common,
      // 150 pixels of AutoAugment's 331.
      translateX: share * width * 150 / 331,
      translateY: share * height * 150 / 331,
      posterizeBits: clamp(8 - Math.trunc(4 * share), 1, 8),
      solarizeThreshold: 256 - Math.trunc(256 * share),
      cutoutHalf: 0,
    };
  }
  const small = Math.min(height, width) < smallImageSide;
  const translate = small ? Math.floor(Math.min(height, width) / 8) : 100;
  const cutout = small ? Math.floor(Math.min(height, width) / 8) : 40;
  return {
    ...common,
    translateX: share * translate,
    translateY: share * translate,
    // At 0 bits TensorFlow clamps the shift to 7; above 8 bits the source is undefined, and we leave the image as it is.
    posterizeBits: clamp(Math.trunc(4 * share), 1, 8),
    solarizeThreshold: Math.trunc(256 * share),
    cutoutHalf: Math.trunc(share * cutout),
  };
}

/** Which image gets which operation: `[batch, 1]` of 1 and 0 each. */
type Masks = Partial<Record<OperationName, Tensor>>;

/** `layers` operations on each image. Images `[batch, height, width, channels]`, whole numbers in [0, 255], 1 or 3 channels. */
export function randAugment(engine: TensorFlow, images: Tensor, noise: Extract<InputNoise, { name: 'randaugment' }>, draws: Draws): Tensor {
  const { tf } = engine;
  const [batch, height, width] = images.shape as [number, number, number, number];
  const names = operationLists[noise.operations];
  const strength = strengthOf(noise.operations, noise.magnitude, height, width);
  let x = images;
  for (let layer = 0; layer < noise.layers; layer++) {
    const draw = (name: string): Tensor => draws.uniform(`randaugment/${layer}/${name}`, [batch, 1]);
    const choice = tf.floor(tf.mul(draw('operation'), names.length));
    const masks: Masks = Object.fromEntries(names.map((name, index) => [name, tf.cast(tf.equal(choice, index), 'float32')]));
    const sign = tf.sub(tf.mul(tf.cast(tf.greaterEqual(draw('sign'), 0.5), 'float32'), 2), 1);
    x = augment(engine, x, noise.operations, strength, masks, { sign, centerY: draw('center_y'), centerX: draw('center_x') });
  }
  return x;
}

/**
 * One layer, with every choice given: `masks` say which image gets which operation, `sign` `[batch, 1]` is 1 or -1,
 * the centers `[batch, 1]` in [0, 1) place the cutout.
 */
export function augment(engine: TensorFlow, images: Tensor, list: OperationList, strength: Strength, masks: Masks, places: { sign: Tensor; centerY: Tensor; centerX: Tensor }): Tensor {
  let x = geometric(engine, images, list, strength, masks, places.sign);
  x = pointwise(engine, x, list, strength, masks);
  x = blended(engine, x, masks.Color, strength.enhance, x => grayscale(engine, x, list));
  x = blended(engine, x, masks.Sharpness, strength.enhance, x => smooth(engine, x, list));
  return masks.Cutout === undefined ? x : cutout(engine, x, masks.Cutout, strength.cutoutHalf, places.centerY, places.centerX);
}

/**
 * Rotation about the center, shears from the upper left corner, translations; nearest neighbor. `tf.contrib.image` counts
 * from the middle of the first pixel, Pillow from its corner, which moves a shear by half its amount.
 */
function geometric(engine: TensorFlow, images: Tensor, list: OperationList, strength: Strength, masks: Masks, sign: Tensor): Tensor {
  const { tf } = engine;
  const [batch, height, width] = images.shape as [number, number, number, number];
  const none = tf.zeros([batch, 1]);
  const signed = (mask: Tensor | undefined, amount: number): Tensor => mask === undefined ? none : tf.mul(tf.mul(mask, amount), sign);
  const angle = signed(masks.Rotate, strength.rotateDegrees * Math.PI / 180);
  const cos = tf.cos(angle), sin = tf.sin(angle);
  const centerX = (width - 1) / 2, centerY = (height - 1) / 2;
  // An image is rotated, sheared or moved, never two of them, so the entries may be summed. Differences keep the
  // order of the additions from TensorFlow's optimizer.
  const rotatedX = tf.sub(tf.sub(centerX, tf.mul(cos, centerX)), tf.mul(sin, -centerY));
  const rotatedY = tf.sub(tf.sub(centerY, tf.mul(sin, centerX)), tf.mul(cos, centerY));
  const corner = list === 'paper14' ? -0.5 : 0;
  const shearX = signed(masks.ShearX, strength.shear), shearY = signed(masks.ShearY, strength.shear);
  const a1 = tf.sub(shearX, sin);
  const a2 = tf.sub(tf.sub(rotatedX, signed(masks.TranslateX, -strength.translateX)), tf.mul(shearX, corner));
  const b0 = tf.sub(shearY, tf.neg(sin));
  const b2 = tf.sub(tf.sub(rotatedY, signed(masks.TranslateY, -strength.translateY)), tf.mul(shearY, corner));
  const transforms = tf.concat([cos, a1, a2, b0, cos, b2, none, none], 1);
  return operations.projectiveTransform(engine, images, transforms, 'NEAREST', gray);
}

/** Everything that maps a value to a value: tables `[batch, channels, 256]`, chosen by mask, then one lookup. */
function pointwise(engine: TensorFlow, images: Tensor, list: OperationList, strength: Strength, masks: Masks): Tensor {
  const { tf } = engine;
  const [batch, height, width, channels] = images.shape as [number, number, number, number];
  const values = tf.reshape(tf.range(0, 256, 1, 'float32'), [1, 1, 256]);
  const pixels = height * width;
  // [batch, channels, pixels]
  const planes = tf.reshape(tf.transpose(images, [0, 3, 1, 2]), [batch * channels, pixels]);
  const whole = tf.cast(planes, 'int32');

  const everyImage = (table: Tensor): Tensor => tf.tile(table, [batch, channels, 1]);
  const tables: [Tensor | undefined, () => Tensor][] = [
    [masks.Invert, () => everyImage(tf.sub(255, values))],
    [masks.Posterize, () => everyImage(posterizeTable(engine, values, strength.posterizeBits))],
    [masks.Solarize, () => everyImage(tf.where(tf.less(values, strength.solarizeThreshold), values, tf.sub(255, values)))],
    [masks.SolarizeAdd, () => everyImage(tf.where(tf.less(values, 128), tf.clipByValue(tf.add(values, strength.solarizeAddition), 0, 255), values))],
    [masks.Brightness, () => everyImage(blend(engine, tf.zerosLike(values), values, strength.enhance))],
    [masks.Contrast, () => {
      const level = list === 'tf16'
        ? tf.fill([batch, 1, 1], Math.min(255, Math.floor(pixels / 256)))
        : meanGray(engine, images, list);
      return tf.tile(blend(engine, level, values, strength.enhance), [1, channels, 1]);
    }],
    [masks.AutoContrast, () => {
      const low = tf.reshape(tf.min(planes, 1), [batch, channels, 1]);
      const range = tf.sub(tf.reshape(tf.max(planes, 1), [batch, channels, 1]), low);
      // 255 (v - low) is whole, so the quotient is rounded once and its floor is exact.
      const stretched = tf.floor(tf.div(tf.mul(tf.sub(values, low), 255), tf.maximum(range, 1)));
      return tf.where(tf.greater(range, 0), tf.clipByValue(stretched, 0, 255), values);
    }],
    [masks.Equalize, () => equalizeTable(engine, whole, values, batch, channels)],
  ];

  let table = everyImage(values);
  let any = false;
  for (const [mask, build] of tables) {
    if (mask === undefined) continue;
    any = true;
    table = tf.where(tf.greater(tf.reshape(mask, [batch, 1, 1]), 0), build(), table);
  }
  if (!any) return images;
  const offsets = tf.mul(tf.range(0, batch * channels, 1, 'int32'), tf.scalar(256, 'int32'));
  const looked = operations.gather(engine, tf.reshape(table, [batch * channels * 256]), tf.add(whole, tf.reshape(offsets, [batch * channels, 1])));
  return tf.transpose(tf.reshape(looked, [batch, channels, height, width]), [0, 2, 3, 1]);
}

/** The upper `bits` of each value. */
function posterizeTable(engine: TensorFlow, values: Tensor, bits: number): Tensor {
  const { tf } = engine;
  const size = 2 ** (8 - bits);
  return tf.mul(tf.floor(tf.mul(values, 1 / size)), size);
}

/**
 * Histogram equalization as Pillow's `ImageOps.equalize`: step = (pixels - count of the highest value) // 255;
 * table[v] = (pixels below v + step // 2) // step; unchanged where the step is 0. Exact below 2^24 pixels a plane.
 */
function equalizeTable(engine: TensorFlow, planes: Tensor, values: Tensor, batch: number, channels: number): Tensor {
  const { tf } = engine;
  const counts = operations.histogram(engine, planes, 256);
  const highest = tf.max(planes, 1, true);
  const isHighest = tf.cast(tf.equal(tf.reshape(tf.range(0, 256, 1, 'int32'), [1, 256]), highest), 'float32');
  const others = tf.sub(planes.shape[1]!, tf.sum(tf.mul(counts, isHighest), 1, true));
  // (n + 0.5) / 255 is never whole, so a reciprocal's rounding cannot move its floor; the divisor below is no constant.
  const step = tf.floor(tf.mul(tf.add(others, 0.5), 1 / 255));
  const half = tf.floor(tf.mul(step, 0.5));
  const below = tf.cumsum(counts, 1, true);
  const table = tf.clipByValue(tf.floor(tf.div(tf.add(below, half), tf.maximum(step, 1))), 0, 255);
  return tf.where(tf.greater(tf.reshape(step, [batch, channels, 1]), 0), tf.reshape(table, [batch, channels, 256]), values);
}

/** degenerate + factor (image - degenerate), cut to [0, 255] and down to whole numbers, as Pillow and the TensorFlow code. */
function blend(engine: TensorFlow, degenerate: Tensor, image: Tensor, factor: number): Tensor {
  const { tf } = engine;
  return tf.floor(tf.clipByValue(tf.add(degenerate, tf.mul(tf.sub(image, degenerate), factor)), 0, 255));
}

function blended(engine: TensorFlow, images: Tensor, mask: Tensor | undefined, factor: number, degenerate: (x: Tensor) => Tensor): Tensor {
  if (mask === undefined) return images;
  const { tf } = engine;
  const chosen = tf.greater(tf.reshape(mask, [images.shape[0], 1, 1, 1]), 0);
  return tf.where(chosen, blend(engine, degenerate(images), images, factor), images);
}

/** Luma, `[batch, height, width, 1]`, whole numbers; the image itself where it has one channel. */
function grayscale(engine: TensorFlow, images: Tensor, list: OperationList): Tensor {
  const { tf } = engine;
  const channels = images.shape[3];
  if (channels === 1) return images;
  invariant(channels === 3, 'RandAugment takes images of 1 or 3 channels');
  const weighted = (weights: readonly [number, number, number]): Tensor => tf.sum(tf.mul(images, tf.tensor4d([...weights], [1, 1, 1, 3])), 3, true);
  // Pillow: (19595 R + 38470 G + 7471 B + 2^15) >> 16, whole and below 2^24. TensorFlow: `rgb_to_grayscale` by way of
  // [0, 1] and back with `saturate`, that is times 255.5 / 255.
  return list === 'paper14'
    ? tf.floor(tf.mul(tf.add(weighted([19595, 38470, 7471]), 32768), 1 / 65536))
    : tf.floor(weighted([0.2989 * 255.5 / 255, 0.587 * 255.5 / 255, 0.114 * 255.5 / 255]));
}

/** Pillow's degenerate of contrast: the mean gray, rounded. `[batch, 1, 1]` */
function meanGray(engine: TensorFlow, images: Tensor, list: OperationList): Tensor {
  const { tf } = engine;
  const luma = grayscale(engine, images, list);
  const pixels = images.shape[1]! * images.shape[2]!;
  return tf.reshape(tf.floor(tf.add(tf.mul(tf.sum(luma, [1, 2, 3]), 1 / pixels), 0.5)), [-1, 1, 1]);
}

/** 3x3 smoothing with weights 1 and 5 in the middle, over 13; the border stays. Pillow rounds, TensorFlow cuts off. */
function smooth(engine: TensorFlow, images: Tensor, list: OperationList): Tensor {
  const { tf } = engine;
  const [, height, width, channels] = images.shape as [number, number, number, number];
  const kernel = tf.tile(tf.tensor4d([1, 1, 1, 1, 5, 1, 1, 1, 1], [3, 3, 1, 1]), [1, 1, channels, 1]);
  const sums = tf.depthwiseConv2d(images as Tensor4D, kernel, 1, 'same');
  // Sums are whole, so (sum + 0.5) / 13 and (sum + 6.5) / 13 are not, and the reciprocal's rounding is harmless.
  const smoothed = tf.floor(tf.mul(tf.add(sums, list === 'paper14' ? 6.5 : 0.5), 1 / 13));
  const inside = tf.pad(tf.ones([1, height - 2, width - 2, 1]), [[0, 0], [1, 1], [1, 1], [0, 0]]);
  return tf.where(tf.greater(inside, 0), smoothed, images);
}

/** A gray square of side 2 `half` around a random pixel, cut off at the border. */
function cutout(engine: TensorFlow, images: Tensor, mask: Tensor, half: number, centerY: Tensor, centerX: Tensor): Tensor {
  const { tf } = engine;
  const [batch, height, width] = images.shape as [number, number, number, number];
  // Pixel p is covered where center - half <= p < center + half.
  const covered = (draw: Tensor, size: number): Tensor => {
    const center = tf.floor(tf.mul(draw, size));
    const distance = tf.sub(tf.reshape(tf.range(0, size, 1, 'float32'), [1, size]), center);
    return tf.logicalAnd(tf.greaterEqual(distance, -half), tf.less(distance, half));
  };
  const rows = tf.reshape(tf.logicalAnd(covered(centerY, height), tf.greater(mask, 0)), [batch, height, 1, 1]);
  const columns = tf.reshape(covered(centerX, width), [batch, 1, width, 1]);
  return tf.where(tf.logicalAnd(rows, columns), tf.scalar(gray), images);
}
