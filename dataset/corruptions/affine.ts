/** Affine maps about the image's center (13.5, 13.5): shear, scale, rotate, translate; bilinear, black outside. */
import type { Draws } from './draws.ts';
import { plane, scaled, SIDE, unscaled, type Plane } from './plane.ts';

/** Severity 2, in radians. */
const SHEAR = 0.4;
const ROTATION = 0.4;
/** Severity 3: the digit shrinks to 0.7 of its size. */
const SCALE = 0.7;
/** Severity 3, in pixels. */
const SHIFT = 3;

/** Where a pixel of the result is taken from: x = a x' + b y' + c, and y = d x' + e y' + f. */
type Affine = readonly [a: number, b: number, c: number, d: number, e: number, f: number];

const CENTER = 13.5;
const aboutCenter = (a: number, b: number, d: number, e: number): Affine => [a, b, CENTER * (1 - a - b), d, e, CENTER * (1 - d - e)];

/** As skimage.transform.warp of order 1 with that inverse map; what lies outside is black. */
function warp(image: Plane, [a, b, c, d, e, f]: Affine): Plane {
  const at = (row: number, column: number): number => (row < 0 || row >= SIDE || column < 0 || column >= SIDE ? 0 : image[row * SIDE + column] ?? 0);
  return plane((place) => {
    const [y, x] = [Math.floor(place / SIDE), place % SIDE];
    const [row, column] = [d * x + e * y + f, a * x + b * y + c];
    const [top, left] = [Math.floor(row), Math.floor(column)];
    const [down, across] = [row - top, column - left];
    const [bottom, right] = [Math.ceil(row), Math.ceil(column)];
    return (1 - down) * ((1 - across) * at(top, left) + across * at(top, right)) + down * ((1 - across) * at(bottom, left) + across * at(bottom, right));
  });
}

const mapped = (pixels: Uint8Array, affine: Affine): Plane => unscaled(warp(scaled(pixels), affine));

/** By skimage's AffineTransform of that time (0.15), whose sheared y axis keeps its length: (-sin, cos). */
export function shear(pixels: Uint8Array, draws: Draws): Plane {
  const radians = SHEAR * draws.sign();
  return mapped(pixels, aboutCenter(1, -Math.sin(radians), 0, Math.cos(radians)));
}

/** The digit `factor` times as large. */
export const zoomed = (pixels: Uint8Array, factor: number): Plane => mapped(pixels, aboutCenter(1 / factor, 0, 0, 1 / factor));
export const scale = (pixels: Uint8Array): Plane => zoomed(pixels, SCALE);

export const rotated = (pixels: Uint8Array, radians: number): Plane => mapped(pixels, aboutCenter(Math.cos(radians), -Math.sin(radians), Math.sin(radians), Math.cos(radians)));
export const rotate = (pixels: Uint8Array, draws: Draws): Plane => rotated(pixels, ROTATION * draws.sign());

/** To the right and down by so many pixels. */
export const shifted = (pixels: Uint8Array, right: number, down: number): Plane => mapped(pixels, [1, 0, -right, 0, 1, -down]);

export function translate(pixels: Uint8Array, draws: Draws): Plane {
  const [left, up] = [SHIFT * draws.sign(), SHIFT * draws.sign()];
  return shifted(pixels, -left, -up);
}
