/**
 * The corruptions against the published code: corruptions-expected.py says how the expected images were made (by numpy, scipy and
 * scikit-image; motion blur by ImageMagick, motion-expected.mjs), from the same draws.
 */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { corrupted, corruptionNames, frames, isCorruptible, sequenceNames, sequenceOf } from '../../../dataset/corruptions/index.ts';
import { Draws } from '../../../dataset/corruptions/draws.ts';

const expected = JSON.parse(readFileSync(new URL('corruptions-expected.json', import.meta.url), 'utf8')) as {
  readonly seed: number; readonly keys: readonly string[]; readonly bits: readonly number[]; readonly images: readonly string[]; readonly expected: Readonly<Record<string, readonly string[]>>;
  readonly sequences: Readonly<Record<string, Readonly<Record<string, string>>>>;
};
const pixels = (text: string | undefined): Uint8Array => Uint8Array.from(Buffer.from(text ?? '', 'base64'));
const images = expected.images.map(pixels);

describe('corruptions', () => {
  test('are the 15 of the published set, in its order', () => {
    expect(corruptionNames).toEqual([
      'shot_noise', 'impulse_noise', 'glass_blur', 'motion_blur', 'shear', 'scale', 'rotate', 'brightness', 'translate', 'stripe', 'fog', 'spatter', 'dotted_line', 'zigzag', 'canny_edges',
    ]);
    expect([...corruptionNames].sort()).toEqual(Object.keys(expected.expected).sort());
  });

  // One step of 255 where a sum's last digit decides the rounding, and no more than a handful of those.
  test.each(corruptionNames)('%s makes what the published code makes', (name) => {
    images.forEach((image, at) => {
      const made = corrupted(name, image, expected.seed, expected.keys[at] ?? '');
      const wanted = pixels(expected.expected[name]?.[at]);
      const apart = made.map((value, place) => Math.abs(value - (wanted[place] ?? 255)));
      expect({ at, most: Math.max(...apart) <= 1, few: apart.filter((each) => each > 0).length <= 4 }).toEqual({ at, most: true, few: true });
      expect(made).not.toEqual(image);
    });
  });

  test.each(corruptionNames)('%s is a function of seed and key, and leaves its input alone', (name) => {
    const image = Uint8Array.from(images[0] ?? []);
    const once = corrupted(name, image, 1, 'a');
    corrupted(name, image, 1, 'b');
    expect(corrupted(name, image, 1, 'a')).toEqual(once);
    expect(image).toEqual(images[0]);
  });

  test('those that draw draw otherwise for another key and for another seed', () => {
    const fixed = ['scale', 'brightness', 'stripe', 'canny_edges'];
    const made = (name: (typeof corruptionNames)[number], seed: number, key: string): string => Buffer.from(corrupted(name, images[1] ?? new Uint8Array(0), seed, key)).toString('hex');
    const drawn = corruptionNames.filter((name) => new Set(Array.from({ length: 8 }, (_, at) => made(name, 1, String(at)))).size > 1);
    expect(drawn).toEqual(corruptionNames.filter((name) => !fixed.includes(name)));
    expect(drawn.filter((name) => new Set(Array.from({ length: 8 }, (_, seed) => made(name, seed, 'a'))).size > 1)).toEqual(drawn);
  });

  test('are defined for gray images of 28 x 28 alone', () => {
    expect([[28, 28, 1], [28, 28, 3], [32, 32, 1], [28, 27, 1]].map(([height = 0, width = 0, channels]) => isCorruptible({ height, width, channels: channels as 1 | 3 }))).toEqual([true, false, false, false]);
    expect(() => corrupted('scale', new Uint8Array(1024), 1, 'a')).toThrow('28 x 28');
  });
});

describe('perturbation sequences', () => {
  const image = images[1] ?? new Uint8Array(0);

  test.each(Object.entries(expected.sequences))('%s has the frames that scipy makes', (name, wanted) => {
    const made = frames(name as (typeof sequenceNames)[number], image, 1, 'a');
    for (const [index, text] of Object.entries(wanted)) {
      const apart = pixels(text).map((value, place) => Math.abs(value - (made[Number(index)]?.[place] ?? 255)));
      expect({ index, most: Math.max(...apart) <= 1, few: apart.filter((each) => each > 0).length <= 4 }).toEqual({ index, most: true, few: true });
    }
  });

  test('have 31 frames, translation 16; noise begins with the image and is drawn by seed and key', () => {
    expect(sequenceNames.map((name) => [name, frames(name, image, 1, 'a').length, sequenceOf(name)?.againstFirst])).toEqual([
      ['gaussian_noise_sequence', 31, true], ['brightness_sequence', 31, false], ['translate_sequence', 16, false], ['rotate_sequence', 31, false], ['scale_sequence', 31, false],
    ]);
    const noise = frames('gaussian_noise_sequence', image, 1, 'a');
    expect(noise[0]).toEqual(image);
    expect(new Set(noise.map((frame) => Buffer.from(frame).toString('hex'))).size).toBe(31);
    expect(frames('gaussian_noise_sequence', image, 1, 'a')).toEqual(noise);
    expect(frames('gaussian_noise_sequence', image, 1, 'b')[1]).not.toEqual(noise[1]);
    // Where the gray lies in the middle nothing is clipped: deviation 0.02 x 255 = 5.1, to five standard errors of 23,520 draws.
    const gray = frames('gaussian_noise_sequence', new Uint8Array(784).fill(128), 1, 'a').slice(1).flatMap((frame) => [...frame]);
    const deviation = Math.sqrt(gray.reduce((sum, value) => sum + (value - 128) ** 2, 0) / gray.length);
    expect(Math.abs(deviation - 5.1)).toBeLessThan((5 * 5.1) / Math.sqrt(2 * gray.length));
  });
});

describe('draws', () => {
  test('are xoshiro128**, its state the beginning of SHA-256 of the name', () => {
    const draws = new Draws('alumnus');
    expect(Array.from({ length: 5 }, () => draws.bits())).toEqual(expected.bits);
  });

  // Of 100,000: five standard errors of each mean and, for a normal, of its second moment.
  test('have the moments of their distributions', () => {
    const draws = new Draws('moments');
    const count = 100_000;
    const mean = (one: () => number): number => Array.from({ length: count }, one).reduce((sum, value) => sum + value, 0) / count;
    const near = (value: number, wanted: number, deviation: number): void => expect(Math.abs(value - wanted)).toBeLessThan((5 * deviation) / Math.sqrt(count));
    near(mean(() => draws.uniform(-45, 45)), 0, 90 / Math.sqrt(12));
    near(mean(() => draws.normal(0.65, 0.3)), 0.65, 0.3);
    near(mean(() => draws.normal(0, 1) ** 2), 1, Math.SQRT2);
    near(mean(() => draws.poisson(3)), 3, Math.sqrt(3));
    near(mean(() => (draws.poisson(0.4) === 0 ? 1 : 0)), Math.exp(-0.4), 0.5);
    near(mean(() => Number(draws.chance(0.17))), 0.17, Math.sqrt(0.17 * 0.83));
    near(mean(() => draws.sign()), 0, 1);
    near(mean(() => draws.integer(-5, 5)), -0.5, Math.sqrt(99 / 12));
  });
});
