/** Mixup, CutMix and random erasing against numpy (mixing-expected.py says how) where every draw is given, and their draws against their distributions. */
import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { seededDraws, stepSeed } from '../../../worker/learning/draws.ts';
import { attemptsMax, erase, rectangles } from '../../../worker/learning/noise/erasing.ts';
import { mix, mixWith, partners } from '../../../worker/learning/noise/mixing.ts';
import { recipeSchema } from '../../../recipe/index.ts';
import { trainingNoise, type Erasing, type Mixing } from '../../../worker/learning/index.ts';
import { loadTensorFlow } from '../../../worker/tensorflow/index.ts';
import type { Tensor, TensorFlow } from '../../../worker/tensorflow/index.ts';

interface Expected {
  height: number; width: number; channels: number; meanShareCutOf16: number;
  mixing: { shift: number; partners: number[]; mixup: number[]; cutmix: number[]; centers: [number, number][]; images: number[]; targets: number[] };
  erasing: { chosen: boolean; attempts: [share: number, aspect: number][]; top: number; left: number; rectangle: [top: number, left: number, height: number, width: number] | null }[];
}
const expected = JSON.parse(readFileSync(new URL('mixing-expected.json', import.meta.url), 'utf8')) as Expected;
const { height, width, channels } = expected;

let engine: TensorFlow;
beforeAll(() => { engine = loadTensorFlow({ threads: 2 }); });

const column = (values: readonly number[]): Tensor => engine.tf.tensor([...values], [values.length, 1], 'float32');
const drawsOf = (seed: number, step = 0): ReturnType<typeof seededDraws> => seededDraws(engine, engine.tf.tensor1d(stepSeed(seed, step), 'int32'));
const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
/** Within four standard deviations of the mean of `count` draws. */
const expectMean = (values: readonly number[], expected: number, deviation: number): void => expect(Math.abs(mean(values) - expected)).toBeLessThan(4 * deviation / Math.sqrt(values.length));

describe('mixing with given draws', () => {
  it('equals numpy: a blend, a box, a box cut off at a corner, nothing, nearly everything', () => {
    const { mixup, cutmix, centers, shift } = expected.mixing;
    const { tf } = engine;
    const images = tf.tensor4d(Array.from({ length: 5 * height * width * channels }, (_, i) => (i * i * 7 + i * 13) % 200 + 20), [5, height, width, channels]);
    const targets = tf.tensor2d([[1, 0, 0], [0.25, 0.5, 0.25], [0, 0, 1], [0.125, 0.125, 0.75], [0, 1, 0]]);
    const partnersOf = partners(engine, 5, tf.tensor1d([shift]));
    expect([...partnersOf.dataSync()]).toEqual(expected.mixing.partners);
    const mixed = mixWith(engine, { images, targets }, {
      partners: partnersOf, mixup: column(mixup), cutmix: column(cutmix),
      centerY: column(centers.map(([y]) => (y + 0.5) / height)), centerX: column(centers.map(([, x]) => (x + 0.5) / width)),
    });
    const close = (values: ArrayLike<number>, wanted: readonly number[], most: number): void => expect(Math.max(...wanted.map((value, index) => Math.abs(value - values[index]!)))).toBeLessThan(most);
    expect(mixed.images.size).toBe(expected.mixing.images.length);
    // float32 against float64: some units of the last place of 255, and of 1.
    close(mixed.images.dataSync(), expected.mixing.images, 1e-4);
    close(mixed.targets.dataSync(), expected.mixing.targets, 1e-6);
    // What is not blended is not touched.
    const size = height * width * channels;
    expect([...mixed.images.dataSync().slice(size)]).toEqual(expected.mixing.images.slice(size));
  });

  it('meets each other sample once, whatever the shift', () => {
    for (const shift of [1, 2, 6]) expect([...partners(engine, 7, engine.tf.tensor1d([shift])).dataSync()]).toEqual(Array.from({ length: 7 }, (_, at) => (at + shift) % 7));
    expect([...partners(engine, 1, engine.tf.tensor1d([1])).dataSync()]).toEqual([0]);
  });
});

describe('the draws of mixing', () => {
  const batch = 500;
  /** One-hot targets of a class each tell every sample's lambda and partner; a constant image of its own tells whether it was blended or cut. */
  function run(mixing: Mixing, seed: number): { lambda: number; shift: number; kind: 'mixup' | 'cutmix' | 'none'; others: number }[] {
    const { tf } = engine;
    const side = 16;
    return tf.tidy(() => {
      const images = tf.tile(tf.reshape(tf.range(0, batch, 1, 'float32'), [batch, 1, 1, 1]), [1, side, side, 1]);
      const mixed = mix(engine, { images, targets: tf.oneHot(tf.range(0, batch, 1, 'int32'), batch).toFloat() }, mixing, drawsOf(seed));
      const [pixels, rows] = [tf.reshape(mixed.images, [batch, side * side]).arraySync() as number[][], mixed.targets.arraySync() as number[][]];
      return rows.map((row, own) => {
        expect(row.reduce((sum, share) => sum + share, 0)).toBeCloseTo(1, 5);
        const partner = row.findIndex((share, at) => share > 0 && at !== own);
        const values = new Set(pixels[own]);
        const others = pixels[own]!.filter((value) => value === partner).length;
        const kind = values.has(own) && values.size === 1 ? 'none' : [...values].every((value) => value === own || value === partner) ? 'cutmix' : 'mixup';
        return { lambda: row[own]!, shift: partner === -1 ? 0 : (partner - own + batch) % batch, kind, others };
      });
    });
  }
  const seeds = [1, 2, 3, 4, 5, 6, 7, 8];
  const runs = (mixing: Mixing): ReturnType<typeof run> => seeds.flatMap((seed) => run(mixing, seed));

  it.each([
    // P(lambda < 1/4): 2 / pi asin(sqrt(1/4)); 1/4; 3 x^2 - 2 x^3 at 1/4
    [0.5, 1 / 3], [1, 0.25], [2, 0.15625],
  ])('lambda is Beta(alpha, alpha), a sample at a time: alpha %s', (alpha, below) => {
    const lambdas = runs({ mixupAlpha: alpha, cutmixAlpha: 0, probability: 1, switchProbability: 0.5 }).map(({ lambda }) => lambda);
    const variance = 1 / (4 * (2 * alpha + 1));
    expectMean(lambdas, 0.5, Math.sqrt(variance));
    // The fourth central moment is variance^2 (3 - 6 / (2 alpha + 3)).
    expectMean(lambdas.map((lambda) => (lambda - 0.5) ** 2), variance, variance * Math.sqrt(2 - 6 / (2 * alpha + 3)));
    expectMean(lambdas.map((lambda) => (lambda < 0.25 ? 1 : 0)), below, Math.sqrt(below * (1 - below)));
    expect(new Set(lambdas).size).toBeGreaterThan(0.99 * lambdas.length);
  });

  it('blends pixels by the lambda of the target', () => {
    const { tf } = engine;
    tf.tidy(() => {
      // Sample i is gray i; of any two samples the blend tells lambda.
      const images = tf.reshape(tf.range(0, 8, 1, 'float32'), [8, 1, 1, 1]);
      const mixed = mix(engine, { images, targets: tf.oneHot(tf.range(0, 8, 1, 'int32'), 8).toFloat() }, { mixupAlpha: 1, cutmixAlpha: 0, probability: 1, switchProbability: 0.5 }, drawsOf(1));
      const gray = [...tf.matMul(mixed.targets as ReturnType<typeof tf.tensor2d>, tf.range(0, 8, 1, 'float32').reshape([8, 1])).dataSync()];
      mixed.images.dataSync().forEach((value, at) => expect(value).toBeCloseTo(gray[at]!, 5));
    });
  });

  it('cuts out the share that the target says, and on average what its distribution says', () => {
    const results = runs({ mixupAlpha: 0, cutmixAlpha: 1, probability: 1, switchProbability: 0 });
    for (const { lambda, others } of results) expect(lambda).toBeCloseTo(1 - others / 256, 5);
    // A share lies in [0, 1], so its deviation is at most 1/2.
    expectMean(results.map(({ lambda }) => 1 - lambda), expected.meanShareCutOf16, 0.5);
    expect(results.some(({ kind }) => kind === 'mixup')).toBe(false);
  });

  it('mixes the share of samples that was asked for, and cuts the share of those that was asked for', () => {
    // Mixup with alpha 50 is never all or nothing, so that what is not blended or cut was not chosen, but for boxes of less than two pixels: lambda above 1 - (2/16)^2.
    const results = runs({ mixupAlpha: 50, cutmixAlpha: 50, probability: 0.6, switchProbability: 0.25 });
    const count = results.length;
    const within = (kind: 'mixup' | 'cutmix' | 'none', share: number): void => expect(Math.abs(results.filter((each) => each.kind === kind).length - share * count), kind).toBeLessThan(4 * Math.sqrt(count * share * (1 - share)));
    within('none', 0.4);
    within('mixup', 0.45);
    within('cutmix', 0.15);
    for (const { kind, lambda } of results) if (kind === 'none') expect(lambda).toBe(1);
  });

  it('takes any other sample as partner, the same step for all', () => {
    const { tf } = engine;
    const counts = [0, 0, 0, 0, 0];
    for (let step = 0; step < 400; step += 1) {
      const shifts = tf.tidy(() => {
        const mixed = mix(engine, { images: tf.zeros([5, 2, 2, 1]), targets: tf.oneHot(tf.range(0, 5, 1, 'int32'), 5).toFloat() }, { mixupAlpha: 50, cutmixAlpha: 0, probability: 1, switchProbability: 0.5 }, drawsOf(1, step));
        return (mixed.targets.arraySync() as number[][]).map((row, own) => (row.findIndex((share, at) => share > 0 && at !== own) - own + 5) % 5);
      });
      expect(new Set(shifts).size).toBe(1);
      counts[shifts[0]!]! += 1;
    }
    // 400 draws of four shifts: 100 each, 4 standard deviations are 35.
    for (const shift of [1, 2, 3, 4]) expect(Math.abs(counts[shift]! - 100), String(shift)).toBeLessThan(35);
  });

  it('stays a number where both gammas vanish', () => {
    // Gamma(0.005) lies below the least float32 in two thirds of all draws: exp(0.005 ln 1.4e-45) = 0.6.
    const values = [...engine.tf.tidy(() => drawsOf(1).beta('x', [5000], 0.005).dataSync())];
    expect(values.every((value) => value >= 0 && value <= 1)).toBe(true);
  });

  it('repeats by seed and step', () => {
    const mixing: Mixing = { mixupAlpha: 0.8, cutmixAlpha: 1, probability: 1, switchProbability: 0.5 };
    expect(run(mixing, 1)).toEqual(run(mixing, 1));
    expect(run(mixing, 2)).not.toEqual(run(mixing, 1));
  });
});

describe('random erasing', () => {
  it('covers the rectangles that numpy does: the first attempt that fits, whole, at its place', () => {
    const { tf } = engine;
    const rows = expected.erasing;
    expect(rows.every((row) => row.attempts.length === attemptsMax)).toBe(true);
    const covered = rectangles(engine, height, width, {
      chosen: tf.tensor(rows.map((row) => row.chosen), [rows.length, 1], 'bool'),
      areas: tf.tensor2d(rows.map((row) => row.attempts.map(([share]) => share * height * width))),
      aspects: tf.tensor2d(rows.map((row) => row.attempts.map(([, aspect]) => aspect))),
      top: column(rows.map((row) => row.top)), left: column(rows.map((row) => row.left)),
    });
    expect(covered.shape).toEqual([rows.length, height, width, 1]);
    const values = [...covered.dataSync()];
    rows.forEach(({ rectangle }, at) => {
      const mask = Array.from({ length: height * width }, (_, pixel) => {
        if (rectangle === null) return 0;
        const [y, x] = [Math.floor(pixel / width) - rectangle[0], pixel % width - rectangle[1]];
        return y >= 0 && y < rectangle[2] && x >= 0 && x < rectangle[3] ? 1 : 0;
      });
      expect(values.slice(at * height * width, (at + 1) * height * width), `row ${at}`).toEqual(mask);
    });
  });

  const side = 48;
  const erasing: Erasing = { probability: 0.4, areaMin: 0.02, areaMax: 0.2, aspectMin: 0.3, mode: 'const' };
  /** Images of -1, which nothing is erased to. */
  const erased = (over: Partial<Erasing>, count: number, channels = 1): number[][] => engine.tf.tidy(() =>
    engine.tf.reshape(erase(engine, engine.tf.fill([count, side, side, channels], -1), { ...erasing, ...over }, drawsOf(5)), [count, side * side * channels]).arraySync() as number[][]);

  it('erases the share of images that was asked for, of each a share of the range', () => {
    const shares = erased({}, 4000).map((pixels) => pixels.filter((value) => value !== -1).length / (side * side));
    expectMean(shares.map((share) => (share > 0 ? 1 : 0)), 0.4, Math.sqrt(0.4 * 0.6));
    // Of these limits every rectangle fits at the first attempt (0.2 / 0.3 < 1), so that the area is uniform; sides rounded by up to 1/2 average out.
    expectMean(shares.filter((share) => share > 0), 0.11, 0.18 / Math.sqrt(12));
    expect(Math.max(...shares)).toBeLessThan(0.2 + 1 / side);
  });

  it('with const is gray; with pixel every value is drawn from 0 to 255', () => {
    const filled = (mode: Erasing['mode']): number[] => erased({ mode, probability: 1 }, 20, 3).flat().filter((value) => value !== -1);
    expect(new Set(filled('const'))).toEqual(new Set([128]));
    const values = filled('pixel');
    expect(values.every((value) => Number.isInteger(value) && value >= 0 && value <= 255)).toBe(true);
    // Some 15,000 draws of 256 values: a certain one is missing with a chance of e^-58.
    expect(new Set(values).size).toBe(256);
    expectMean(values, 127.5, Math.sqrt((256 ** 2 - 1) / 12));
  });

  it('leaves everything at a chance of 0', () => {
    expect(new Set(erased({ probability: 0 }, 50).flat())).toEqual(new Set([-1]));
  });
});

it('takes the recipe\'s noise under our names, and what is absent as off', () => {
  const { shape } = recipeSchema;
  expect(trainingNoise(shape.noise.parse({ input: { name: 'affine', translate_pixels: 3 }, erasing: { area_min: 0.1 }, mix: { cutmix_alpha: 2 } }))).toEqual({
    noise: { name: 'affine', degrees: 10, translatePixels: 3, scale: 0.1, flip: false },
    erasing: { probability: 0.25, areaMin: 0.1, areaMax: 1 / 3, aspectMin: 0.3, mode: 'pixel' },
    mixing: { mixupAlpha: 0, cutmixAlpha: 2, probability: 1, switchProbability: 0.5 },
  });
  expect(trainingNoise(shape.noise.parse({ input: { name: 'none' } }))).toEqual({ noise: { name: 'none' }, erasing: undefined, mixing: undefined });
});
