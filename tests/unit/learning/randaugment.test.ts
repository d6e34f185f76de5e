/**
 * RandAugment's operations against Pillow and numpy (randaugment-expected.py says how) and against the published TensorFlow
 * code itself (randaugment-tf16-expected.py), the magnitudes against their sources, and the draws.
 */
import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { seededDraws, stepSeed } from '../../../worker/learning/draws.ts';
import { augment, operationLists, randAugment, strengthOf } from '../../../worker/learning/noise/randaugment.ts';
import type { OperationList, OperationName, Strength } from '../../../worker/learning/noise/randaugment.ts';
import { loadTensorFlow } from '../../../worker/tensorflow/index.ts';
import type { TensorFlow } from '../../../worker/tensorflow/index.ts';

const standardSide = 10;
/** Equalizing changes nothing below 256 pixels. */
const sideFor = (name: OperationName): number => name === 'Equalize' ? 24 : standardSide;
const expected = JSON.parse(readFileSync(new URL('randaugment-expected.json', import.meta.url), 'utf8')) as Record<OperationList, Record<string, Record<string, string>>>;
const image = (channels: number, side = standardSide): Float32Array => Float32Array.from({ length: side * side * channels }, (_, i) => (i * i * 7 + i * 13) % 200 + 20);
/** The published code's own results, and the arguments that its `level_to_arg` gives each operation at each of `levels`, by the image's side. */
const published = JSON.parse(readFileSync(new URL('randaugment-tf16-expected.json', import.meta.url), 'utf8')) as Record<'1' | '3', Record<string, string>> & { levels: number[]; magnitudes: Record<'224' | '32', Record<OperationName, number[]>> };
const bytes = (hex: string): number[] => [...Buffer.from(hex, 'hex')];

/** The strengths that the fixture was computed with. */
const strength: Strength = {
  rotateDegrees: 30, shear: 0.3, translateX: 2, translateY: 2, enhance: Number.NaN, posterizeBits: 5, solarizeThreshold: 100, solarizeAddition: 55, cutoutHalf: 2,
};
const enhance: Record<string, number> = { low: 0.46, high: 1.72 };

let engine: TensorFlow;
beforeAll(() => { engine = loadTensorFlow({ threads: 2 }); });

/** The operation on the second of three images; the others must stay as they are. */
function apply(list: OperationList, name: OperationName, channels: number, factor: number, sign: 1 | -1, over: Partial<Strength> = {}): { first: number[]; second: number[]; third: number[] } {
  const { tf } = engine;
  const side = sideFor(name);
  const size = side * side * channels;
  const values = tf.tidy(() => {
    const one = image(channels, side);
    const batch = new Float32Array(3 * size);
    for (let index = 0; index < 3; index++) batch.set(one, index * size);
    const column = (...numbers: number[]): ReturnType<typeof tf.tensor> => tf.tensor(numbers, [3, 1], 'float32');
    const masks = Object.fromEntries(operationLists[list].map(other => [other, other === name ? column(0, 1, 0) : column(0, 0, 0)]));
    // The cutout's center: row 2 and column 9 of 10.
    const places = { sign: column(sign, sign, sign), centerY: column(0.2, 0.2, 0.2), centerX: column(0.95, 0.95, 0.95) };
    return augment(engine, tf.tensor4d(batch, [3, side, side, channels]), list, { ...strength, enhance: factor, ...over }, masks, places).dataSync();
  });
  return { first: [...values.slice(0, size)], second: [...values.slice(size, 2 * size)], third: [...values.slice(2 * size)] };
}

const largestDifference = (a: readonly number[], b: readonly number[]): number => Math.max(...a.map((value, index) => Math.abs(value - b[index]!)));

describe.each(['paper14', 'tf16'] as const)('%s', list => {
  for (const channels of [1, 3]) {
    for (const [key, hex] of Object.entries(expected[list][String(channels)]!)) {
      const [name, factor] = key.split(' ') as [OperationName, string | undefined];
      it(`${key} on ${channels} channels equals its source and leaves other images alone`, () => {
        const { first, second, third } = apply(list, name, channels, factor === undefined ? 1 : enhance[factor]!, 1);
        const original = [...image(channels, sideFor(name))];
        expect(first).toEqual(original);
        expect(third).toEqual(original);
        // Pillow's product of two rounded numbers may end just under a whole one, which we hit.
        if (name === 'AutoContrast') expect(largestDifference(second, bytes(hex))).toBeLessThanOrEqual(1);
        else expect(second).toEqual(bytes(hex));
      });
    }
  }

  it('reaches a different image by each operation but identity', () => {
    for (const name of operationLists[list]) {
      const { second } = apply(list, name, 3, 1.72, 1);
      const original = [...image(3, sideFor(name))];
      if (name === 'Identity') expect(second).toEqual(original);
      else expect(largestDifference(second, original), name).toBeGreaterThan(0);
    }
  });
});

describe('tf16 as the published code computes it', () => {
  for (const channels of [1, 3] as const) {
    for (const [key, hex] of Object.entries(published[channels])) {
      it(`${key}, ${channels} channels`, () => {
        const [name, variant] = key.split(' ') as [OperationName, string | undefined];
        // TensorFlow shifts a byte by 7 at most, so that its 0 bits are 1.
        const over = variant === 'of' ? { posterizeBits: 1 } : {};
        const { second } = apply('tf16', name, channels, enhance[variant ?? ''] ?? 1, variant === 'minus' ? -1 : 1, over);
        // A gray image has no color to take or add.
        if (name !== 'Color' || channels === 3) expect(second).not.toEqual([...image(channels, sideFor(name))]);
        expect(second).toEqual(bytes(hex));
      });
    }
  }

  it('covers the whole list', () => {
    // Cutout draws its own place in the published code; the numpy fixture above has it.
    const covered = new Set(Object.keys(published[3]).map((key) => key.split(' ')[0]));
    expect(operationLists.tf16.filter((name) => !covered.has(name))).toEqual(['Cutout']);
  });
});

it('turns geometric operations around with the sign', () => {
  for (const name of ['Rotate', 'ShearX', 'ShearY', 'TranslateX', 'TranslateY'] as const) {
    expect(apply('tf16', name, 1, 1, 1).second).not.toEqual(apply('tf16', name, 1, 1, -1).second);
  }
});

it('leaves a flat image as it is by stretching its contrast or equalizing it', () => {
  const { tf } = engine;
  const ones = (): ReturnType<typeof tf.tensor> => tf.ones([1, 1]);
  for (const name of ['AutoContrast', 'Equalize'] as const) {
    const result = tf.tidy(() => augment(engine, tf.fill([1, 24, 24, 1], 77), 'paper14', { ...strength, enhance: 1 }, { [name]: ones() }, { sign: ones(), centerY: ones(), centerX: ones() }).dataSync());
    expect(new Set(result)).toEqual(new Set([77]));
  }
});

describe('magnitudes', () => {
  it('lists 14 operations of the paper and 16 of its code', () => {
    expect(new Set(operationLists.paper14).size).toBe(14);
    expect(new Set(operationLists.tf16).size).toBe(16);
    expect([...operationLists.tf16].filter(name => !operationLists.paper14.includes(name)).sort()).toEqual(['Cutout', 'Invert', 'SolarizeAdd']);
  });

  it('of the published code at its default, 27 on ImageNet', () => {
    // randaugment.py `level_to_arg` with _MAX_LEVEL 10, cutout_const 40, translate_const 100: 2.7 times the range, `int` cuts off.
    const { rotateDegrees, shear, translateX, enhance, solarizeThreshold, solarizeAddition, cutoutHalf, posterizeBits } = strengthOf('tf16', 27, 224, 224);
    expect(rotateDegrees).toBeCloseTo(81, 10);
    expect(shear).toBeCloseTo(0.81, 10);
    expect(translateX).toBeCloseTo(270, 10);
    expect(enhance).toBeCloseTo(4.96, 10);
    expect({ solarizeThreshold, solarizeAddition, cutoutHalf, posterizeBits }).toEqual({ solarizeThreshold: 691, solarizeAddition: 297, cutoutHalf: 108, posterizeBits: 8 });
  });

  it.each([224, 32] as const)('of the published code, level by level, on images of %i pixels', (side) => {
    const at = (name: OperationName): number[] => published.magnitudes[side][name];
    const ours = published.levels.map((level) => strengthOf('tf16', level, side, side));
    const close = (values: number[], wanted: number[]): void => values.forEach((value, index) => expect(value).toBeCloseTo(wanted[index]!, 10));
    expect(published.levels).toEqual([0, 1, 2, 5, 7, 9, 10, 17, 27]);
    close(ours.map((each) => each.rotateDegrees), at('Rotate'));
    for (const name of ['ShearX', 'ShearY'] as const) close(ours.map((each) => each.shear), at(name));
    close(ours.map((each) => each.translateX), at('TranslateX'));
    close(ours.map((each) => each.translateY), at('TranslateY'));
    for (const name of ['Color', 'Contrast', 'Brightness', 'Sharpness'] as const) close(ours.map((each) => each.enhance), at(name));
    expect(ours.map((each) => each.solarizeThreshold)).toEqual(at('Solarize'));
    expect(ours.map((each) => each.solarizeAddition)).toEqual(at('SolarizeAdd'));
    expect(ours.map((each) => each.cutoutHalf)).toEqual(at('Cutout'));
    // 0 bits act as 1 there, and what more than 8 do is undefined.
    expect(ours.map((each) => each.posterizeBits)).toEqual(at('Posterize').map((bits) => Math.min(8, Math.max(1, bits))));
  });

  // The ranges of AutoAugment (arXiv 1805.09501, table 6) over its scale of 10, written out; 150 pixels of 331 are 101.51 of 224.
  it.each([
    [0, { rotateDegrees: 0, shear: 0, translateX: 0, enhance: 0.1, posterizeBits: 8, solarizeThreshold: 256 }],
    [2, { rotateDegrees: 6, shear: 0.06, translateX: 20.30211480362538, enhance: 0.46, posterizeBits: 8, solarizeThreshold: 205 }],
    [5, { rotateDegrees: 15, shear: 0.15, translateX: 50.75528700906344, enhance: 1, posterizeBits: 6, solarizeThreshold: 128 }],
    [9, { rotateDegrees: 27, shear: 0.27, translateX: 91.3595166163142, enhance: 1.72, posterizeBits: 5, solarizeThreshold: 26 }],
    [10, { rotateDegrees: 30, shear: 0.3, translateX: 101.51057401812689, enhance: 1.9, posterizeBits: 4, solarizeThreshold: 0 }],
    // Beyond the scale the ranges go on, but for what has an end.
    [27, { rotateDegrees: 81, shear: 0.81, translateX: 274.0785498489426, enhance: 4.96, posterizeBits: 1, solarizeThreshold: -435 }],
  ])('of the paper at %i on images of 224 pixels', (level, wanted) => {
    const strength = strengthOf('paper14', level, 224, 224);
    for (const [name, value] of Object.entries(wanted)) expect(strength[name as keyof typeof wanted], name).toBeCloseTo(value, 10);
  });

  it('of the published code at 5 on SVHN, whose constants are an eighth of the side', () => {
    const { translateX, translateY, cutoutHalf, posterizeBits, solarizeThreshold } = strengthOf('tf16', 5, 32, 32);
    expect({ translateX, translateY, cutoutHalf, posterizeBits, solarizeThreshold }).toEqual({ translateX: 2, translateY: 2, cutoutHalf: 2, posterizeBits: 2, solarizeThreshold: 128 });
  });

  it('of the paper reach the ends of AutoAugment\'s ranges at 10', () => {
    const { rotateDegrees, shear, translateX, enhance, solarizeThreshold, posterizeBits } = strengthOf('paper14', 10, 331, 331);
    expect(enhance).toBeCloseTo(1.9, 10);
    expect({ rotateDegrees, shear, translateX, solarizeThreshold, posterizeBits }).toEqual({ rotateDegrees: 30, shear: 0.3, translateX: 150, solarizeThreshold: 0, posterizeBits: 4 });
  });

  it('of the paper leave everything but the enhancements as it is at 0', () => {
    const { rotateDegrees, shear, translateX, solarizeThreshold, posterizeBits } = strengthOf('paper14', 0, 331, 331);
    expect({ rotateDegrees, shear, translateX, solarizeThreshold, posterizeBits }).toEqual({ rotateDegrees: 0, shear: 0, translateX: 0, solarizeThreshold: 256, posterizeBits: 8 });
  });
});

it('draws by seed and step: the same again, another for another step, whole numbers in range', () => {
  const { tf } = engine;
  const motif = image(1);
  const run = (step: number): number[] => [...tf.tidy(() => {
    const batch = tf.tensor4d(new Float32Array(64 * 100).map((_, i) => motif[i % 100]!), [64, 10, 10, 1]);
    return randAugment(engine, batch, { name: 'randaugment', operations: 'tf16', layers: 2, magnitude: 9 }, seededDraws(engine, tf.tensor1d(stepSeed(3, step), 'int32'))).dataSync();
  })];
  const first = run(0);
  expect(run(0)).toEqual(first);
  expect(run(1)).not.toEqual(first);
  expect(first.every(value => Number.isInteger(value) && value >= 0 && value <= 255)).toBe(true);
  // 64 images of one motif: two layers of 16 operations give far more than a handful of different results.
  const results = new Set(Array.from({ length: 64 }, (_, index) => first.slice(index * 100, (index + 1) * 100).join()));
  expect(results.size).toBeGreaterThan(16);
});
