/**
 * What an image looks like, in 264 bytes: a perceptual hash that finds candidates, and low frequencies that say how alike two of them are. Both bear another
 * encoding and another brightness, and, of images that are not tiny, another size. Pure. Not for: exact copies, which share a key (dataset/keys.ts), nor for finding pairs (near.ts).
 *
 * The image in gray (ITU-R 601) is taken to its two-dimensional DCT-II, of which the 16 x 16 lowest frequencies are computed, from an image of any size at once.
 * The hash has a bit for each of the lowest 8 x 8, whether it is above their median: pHash, to the bit that of `imagehash.phash` in Python on a gray image of 32 x 32
 * (Zauner 2010, "Implementation and Benchmarking of Perceptual Image Hash Functions"). How alike two images are is the correlation of their low-pass versions:
 * the cosine between their orthonormal coefficients without the first, which is the mean. (By Parseval that is the correlation of the pixels.)
 */
import type { ImageShape } from '../../dataset/index.ts';

const SIDE = 16;
const HASH_SIDE = 8;
export const HASH_BYTES = (HASH_SIDE * HASH_SIDE) / 8;
/** Hash, then a signed byte for each frequency; that of the first is 0. */
export const FINGERPRINT_BYTES = HASH_BYTES + SIDE * SIDE;
/** The largest coefficient as a signed byte: a cosine does not depend on the scale, and rounding changes it by less than 0.001. */
const SCALE = 127;
/** Of a sum of a whole image's pixels: below it there is no image, and what is left is rounding. */
const PLAIN = 1e-6;

export type Fingerprinter = (pixels: Uint8Array) => Uint8Array;

/** cos(pi (2 at + 1) frequency / (2 length)), `[SIDE, length]`; zeros where the image has no such frequency. */
function cosines(length: number): Float64Array {
  const table = new Float64Array(SIDE * length);
  for (let frequency = 0; frequency < Math.min(SIDE, length); frequency += 1) {
    for (let at = 0; at < length; at += 1) table[frequency * length + at] = Math.cos((Math.PI * (2 * at + 1) * frequency) / (2 * length));
  }
  return table;
}

/** Of images of one shape, `[height, width, channels]`. The tables are made once. */
export function fingerprinter({ height, width, channels }: ImageShape): Fingerprinter {
  const [down, across] = [cosines(height), cosines(width)];
  const gray = new Float64Array(width);
  const rows = new Float64Array(SIDE * height);
  const low = new Float64Array(SIDE * SIDE);
  return (pixels) => {
    for (let y = 0; y < height; y += 1) {
      for (let x = 0, at = y * width * channels; x < width; x += 1, at += channels) {
        gray[x] = channels === 1 ? pixels[at] ?? 0 : 0.299 * (pixels[at] ?? 0) + 0.587 * (pixels[at + 1] ?? 0) + 0.114 * (pixels[at + 2] ?? 0);
      }
      for (let u = 0; u < SIDE; u += 1) rows[u * height + y] = dot(gray, 0, across, u * width, width);
    }
    for (let v = 0; v < SIDE; v += 1) for (let u = 0; u < SIDE; u += 1) low[v * SIDE + u] = dot(rows, u * height, down, v * height, height);
    return encode(low);
  };
}

function dot(a: Float64Array, fromA: number, b: Float64Array, fromB: number, length: number): number {
  let sum = 0;
  for (let at = 0; at < length; at += 1) sum += (a[fromA + at] ?? 0) * (b[fromB + at] ?? 0);
  return sum;
}

/** @param low `[SIDE, SIDE]`, not normalized, the frequency down the image first */
function encode(low: Float64Array): Uint8Array {
  const fingerprint = new Uint8Array(FINGERPRINT_BYTES);
  const lowest = Float64Array.from({ length: HASH_SIDE * HASH_SIDE }, (_, at) => low[Math.floor(at / HASH_SIDE) * SIDE + (at % HASH_SIDE)] ?? 0);
  const sorted = Float64Array.from(lowest).sort();
  const median = ((sorted[sorted.length / 2 - 1] ?? 0) + (sorted[sorted.length / 2] ?? 0)) / 2;
  lowest.forEach((value, at) => {
    if (value > median) fingerprint[at >> 3] = (fingerprint[at >> 3] ?? 0) | (0x80 >> (at & 7));
  });
  // Orthonormal but for a factor that all have: those along an axis are shorter by the root of 2. The first is the mean, which tells brightness.
  const vector = low.map((value, at) => (at === 0 ? 0 : value * (at < SIDE || at % SIDE === 0 ? Math.SQRT1_2 : 1)));
  const largest = vector.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  // A plain area has nothing but rounding.
  if (largest > PLAIN) new Int8Array(fingerprint.buffer, HASH_BYTES).set(vector.map((value) => Math.round((value / largest) * SCALE)));
  return fingerprint;
}
