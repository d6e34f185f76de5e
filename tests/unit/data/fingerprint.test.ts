/** What images look like, against Python: hashes by imagehash 4.3.2 (`phash` of the gray image), correlations by SciPy 1.17 (`dctn(norm='ortho')[:16, :16]` without the first, their cosine). */
import fc from 'fast-check';
import sharp from 'sharp';
import { describe, expect, test } from 'vitest';
import { correlationOf, DISTANCE_MAX, distanceOf, FINGERPRINT_BYTES, fingerprinter, NearIndex } from '../../../worker/data/index.ts';

interface Image {
  readonly pixels: Uint8Array;
  readonly shape: { readonly height: number; readonly width: number; readonly channels: 1 | 3 };
}

function image(height: number, width: number, channels: 1 | 3, value: (x: number, y: number, channel: number) => number): Image {
  const pixels = new Uint8Array(height * width * channels);
  for (let y = 0; y < height; y += 1) for (let x = 0; x < width; x += 1) for (let channel = 0; channel < channels; channel += 1) pixels[(y * width + x) * channels + channel] = value(x, y, channel);
  return { pixels, shape: { height, width, channels } };
}

const woven = (a: number, b: number, c: number): Image => image(32, 32, 1, (x, y) => (x * x * a + y * b * 3 + x * y * c) % 256);
const waves = (height: number, width: number, channels: 1 | 3, across: number, down: number, gain = 1, shift = 0): Image => image(height, width, channels, (x, y, channel) =>
  Math.floor(Math.min(255, Math.max(0, (128 + 60 * Math.sin(((x + 0.5) / width) * Math.PI * across + channel) + 50 * Math.cos(((y + 0.5) / height) * Math.PI * down)) * gain + shift))));

const fingerprint = ({ pixels, shape }: Image): Uint8Array => fingerprinter(shape)(pixels);
const hash = (of: Image): string => Buffer.from(fingerprint(of).subarray(0, 8)).toString('hex');
const correlation = (a: Image, b: Image): number => correlationOf(fingerprint(a), 0, fingerprint(b), 0);

test.each([[woven(3, 7, 5), 'a32d83372906773b'], [woven(1, 2, 1), '82000f3e5c7cfc7e'], [woven(5, 11, 2), 'f323fa1256632b16']])('the hash is pHash', (of, expected) => {
  expect(hash(of)).toBe(expected);
});

describe('the correlation of low-pass versions', () => {
  const a = waves(24, 40, 3, 3, 2);
  // Coefficients are kept as signed bytes: a thousandth.
  test.each([
    ['an image with itself', a, a, 1], ['darker, and a little lighter again', a, waves(24, 40, 3, 3, 2, 0.8, 10), 0.999996], ['twice the size', a, waves(48, 80, 3, 3, 2), 0.999998],
    ['other waves', a, waves(24, 40, 3, 2, 3), 0.064028], ['smaller than there are frequencies', waves(12, 12, 1, 3, 2), waves(12, 12, 1, 3, 3), 0.566558],
  ])('%s', (_, one, other, expected) => {
    expect(Math.abs(correlation(one, other) - expected)).toBeLessThan(0.001);
  });

  test('a plain area is like nothing', () => {
    const plain = image(28, 28, 1, () => 90);
    expect(correlation(plain, plain)).toBe(0);
    expect(correlation(plain, a)).toBe(0);
  });
});

/** Waves with some disks before them and a little grain: of a photograph's size, and drawn. */
function scene(at: number): Image {
  const draw = (n: number): number => (((at + 1) * 7919 + n * 104_729) % 1009) / 1009;
  return image(224, 224, 3, (column, row, channel) => {
    const [x, y] = [column / 224, row / 224];
    let value = 110;
    for (let wave = 0; wave < 6; wave += 1) value += 22 * Math.sin(2 * Math.PI * ((0.3 + 4 * draw(wave)) * x + (0.3 + 4 * draw(wave + 6)) * y + draw(wave + 12)) + channel * draw(wave + 18));
    for (let disk = 0; disk < 5; disk += 1) if (Math.hypot(x - draw(disk + 30), y - draw(disk + 36)) < 0.05 + 0.15 * draw(disk + 42)) value = 255 * draw(disk + 50 + channel);
    return Math.max(0, Math.min(255, value + ((column * 31 + row * 17 + at) % 23) - 11));
  });
}

test.each([112, 160, 448])('an image of 224 x 224 is near itself after it was %i wide, and near no other', async (side) => {
  const scenes = [0, 1, 2, 3, 4].map(scene);
  const index = new NearIndex(Buffer.concat(scenes.map(fingerprint)), { distance: 6, correlation: 0.99 });
  for (const [row, { pixels, shape }] of scenes.entries()) {
    const resized = await sharp(await sharp(pixels, { raw: shape }).resize(side, side).png().toBuffer()).resize(224, 224).removeAlpha().raw().toBuffer();
    expect(index.near(fingerprint({ pixels: resized, shape })).map((each) => each.row)).toEqual([row]);
  }
});

test('a distance counts bits', () => {
  expect(distanceOf(Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0), 0, Uint8Array.of(255, 1, 0, 0, 0, 0, 0, 0x81), 0)).toBe(8 + 1 + 2);
});

test('an index finds what comparing with each would, for every distance', () => {
  const random = (bytes: number): fc.Arbitrary<Uint8Array> => fc.uint8Array({ minLength: bytes, maxLength: bytes });
  fc.assert(fc.property(fc.array(random(FINGERPRINT_BYTES), { minLength: 1, maxLength: 12 }), fc.array(fc.nat(63), { maxLength: 10 }), fc.nat(DISTANCE_MAX), fc.constantFrom(-1, 0, 0.9), (many, flips, distance, least) => {
    // One that is a few bits away from the first, which random ones never are.
    const asked = Uint8Array.from(many[0] ?? []);
    for (const bit of flips) asked[bit >> 3] = (asked[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    const expected = many.flatMap((each, row) => (distanceOf(asked, 0, each, 0) <= distance && correlationOf(asked, 0, each, 0) >= least ? [row] : []));
    const index = new NearIndex(Buffer.concat(many), { distance, correlation: least });
    for (let again = 0; again < 2; again += 1) expect(index.near(asked).map(({ row }) => row).sort((a, b) => a - b)).toEqual(expected);
  }), { numRuns: 300 });
});

test('more bits than bytes can promise are refused', () => {
  expect(() => new NearIndex(new Uint8Array(), { distance: 8, correlation: 0.9 })).toThrow('0 to 7');
});
