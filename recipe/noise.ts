/** The noise that models train with, as a recipe writes it. Not for: what it does to an image (worker/learning/noise). */
import { z } from 'zod';
import { share } from './bounds.ts';

const inputNoise = z.discriminatedUnion('name', [
  z.strictObject({ name: z.literal('none') }),
  z.strictObject({
    name: z.literal('affine'),
    degrees: z.number().min(0).max(180).default(10).describe('Rotation drawn uniformly from -degrees to degrees.'),
    translate_pixels: z.number().min(0).max(64).default(2).describe('Shift along each axis drawn uniformly from minus to plus this, in pixels.'),
    scale: z.number().min(0).max(0.9).default(0.1).describe('Scale drawn uniformly from 1 - scale to 1 + scale.'),
    flip: z.boolean().default(false).describe('Mirror half of the images left to right; not where left and right tell classes apart, as in digits.'),
  }),
  z.strictObject({
    name: z.literal('randaugment'),
    operations: z.enum(['paper14', 'tf16']).default('paper14').describe('paper14: the 14 operations of the RandAugment paper; tf16: the 16 of its published code.'),
    layers: z.int().min(1).max(4).default(2).describe('Operations applied to each image (N).'),
    magnitude: z.number().min(0).max(30).default(10).describe('Strength M: 0 to 30 as in the paper with paper14; 0 to 10 is the published scale of tf16, larger values extrapolate.'),
  }),
]);

const erasing = z
  .strictObject({
    probability: share.default(0.25).describe('Share of the images that lose a rectangle.'),
    area_min: z.number().gt(0).max(1).default(0.02).describe('Least area of the rectangle, as a share of the image.'),
    area_max: z.number().gt(0).max(1).default(1 / 3).describe('Largest area; the area is drawn uniformly.'),
    aspect_min: z.number().gt(0).max(1).default(0.3).describe('Least height / width, and of width / height; the logarithm is drawn uniformly.'),
    mode: z.enum(['pixel', 'const']).default('pixel').describe('What fills it. pixel: every value drawn from 0 to 255; const: gray of 128.'),
  })
  .refine(({ area_min, area_max }) => area_min <= area_max, { path: ['area_max'], message: 'must not be below area_min' });

const mix = z
  .strictObject({
    mixup_alpha: z.number().min(0).max(100).default(0).describe('Mixup: lambda is drawn from Beta(alpha, alpha). 0, the default, is no mixup; DeiT has 0.8.'),
    cutmix_alpha: z.number().min(0).max(100).default(0).describe('The same of CutMix; DeiT has 1.'),
    probability: z.number().gt(0).max(1).default(1).describe('Share of the images that are mixed.'),
    switch_probability: share.default(0.5).describe('Where both are on: the share of mixed images that get CutMix.'),
  })
  .refine(({ mixup_alpha, cutmix_alpha }) => mixup_alpha > 0 || cutmix_alpha > 0, { message: 'give mixup_alpha, cutmix_alpha or both: with neither nothing is mixed' });

export const noiseSchema = z.strictObject({
  input: inputNoise.prefault({ name: 'randaugment' }).describe('What is done to each image first.'),
  // Not there, rather than there and off: what a task hashes of an old recipe must stay as it was.
  erasing: erasing.optional().describe('Random erasing of each image, after the input noise. Absent: off; {}: on, as DeiT.'),
  mix: mix.optional().describe('Mixup and CutMix of images and their targets, last. Absent: off.'),
});
