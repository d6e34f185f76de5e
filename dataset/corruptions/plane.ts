/**
 * What the corruptions share: an image as one plane `[28, 28]` of doubles, row by row, and filters of it as scipy has them.
 * Sums are in double precision throughout.
 */

/** Of both sides: MNIST's. The published constants (a pivot at 13.5, stripes of 7, lines from column 0 to 27) are of this size. */
export const SIDE = 28;
export const PIXELS = SIDE * SIDE;

export type Plane = Float64Array;

export const plane = (value: (at: number) => number): Plane => Float64Array.from({ length: PIXELS }, (_, at) => value(at));

export const clip = (value: number, low = 0, high = 1): number => Math.min(high, Math.max(low, value));

/** From 0..255 to 0..1. */
export const scaled = (pixels: Uint8Array): Plane => plane((at) => (pixels[at] ?? 0) / 255);

/** From 0..1, clipped to it, to 0..255. */
export const unscaled = (image: Plane): Plane => image.map((value) => clip(value) * 255);

/** What lies outside: the border's own value (scipy's `nearest`), 0 (`constant`), or the image mirrored with the border repeated (`reflect`, by one pixel). */
export type Edge = 'nearest' | 'zero' | 'reflect';

/** Correlation along one axis, as scipy.ndimage.correlate1d; weights of odd length, centered. */
function correlate(image: Plane, weights: readonly number[], axis: 0 | 1, edge: Edge): Plane {
  const radius = (weights.length - 1) / 2;
  const [along, across] = axis === 0 ? [SIDE, 1] : [1, SIDE];
  const out = new Float64Array(PIXELS);
  for (let line = 0; line < SIDE; line += 1) {
    for (let at = 0; at < SIDE; at += 1) {
      let sum = 0;
      for (let tap = -radius; tap <= radius; tap += 1) {
        const place = at + tap;
        if (edge === 'zero' && (place < 0 || place >= SIDE)) continue;
        sum += (weights[tap + radius] ?? 0) * (image[line * across + clip(place, 0, SIDE - 1) * along] ?? 0);
      }
      out[line * across + at * along] = sum;
    }
  }
  return out;
}

/** As scipy.ndimage.gaussian_filter: the kernel is cut at four deviations. @param axes 0 is down, 1 across */
export function gaussian(image: Plane, deviation: number, edge: Edge, axes: readonly (0 | 1)[] = [0, 1]): Plane {
  const radius = Math.floor(4 * deviation + 0.5);
  const raw = Array.from({ length: 2 * radius + 1 }, (_, at) => Math.exp((-0.5 * (at - radius) ** 2) / deviation ** 2));
  const total = raw.reduce((sum, weight) => sum + weight, 0);
  const weights = raw.map((weight) => weight / total);
  return axes.reduce((blurred, axis) => correlate(blurred, weights, axis, edge), image);
}

/** As scipy.ndimage.sobel: the derivative along `axis`, smoothed along the other. */
export const sobel = (image: Plane, axis: 0 | 1): Plane => correlate(correlate(image, [-1, 0, 1], axis, 'reflect'), [1, 2, 1], axis === 0 ? 1 : 0, 'reflect');
