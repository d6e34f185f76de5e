/** Weather: fog, and spatter on the lens. */
import type { Draws } from './draws.ts';
import { gaussian, PIXELS, plane, scaled, SIDE, unscaled, type Plane } from './plane.ts';

/** Severity 5: how much fog, and by what its detail falls from scale to scale. */
const [FOG, FOG_DECAY] = [3, 1.4];
/** A power of two. */
const FOG_SIDE = 256;
/** Severity 4: mean, deviation and blur of the liquid, where it begins, and blur of its border. */
const [LIQUID_MEAN, LIQUID_DEVIATION, LIQUID_SIGMA, LIQUID_LEAST, BORDER_SIGMA] = [0.65, 0.3, 1, 0.65, 1.5];
/** Where the blurred liquid covers, and its gray. */
const [COVER_LEAST, MUD] = [0.8, 63 / 255];

/**
 * A height map by diamond and square, wrapped around, scaled to 0..1 over all of it.
 * @returns `[256, 256]`, row by row
 */
function plasma(draws: Draws): Float64Array {
  const map = new Float64Array(FOG_SIDE * FOG_SIDE);
  const at = (row: number, column: number): number => map[(row & (FOG_SIDE - 1)) * FOG_SIDE + (column & (FOG_SIDE - 1))] ?? 0;
  let wibble = 100;
  for (let step = FOG_SIDE; step >= 2; step /= 2, wibble /= FOG_DECAY) {
    const half = step / 2;
    /** The published code multiplies by `wibble` twice. */
    const fill = (firstRow: number, firstColumn: number, sum: (row: number, column: number) => number): void => {
      for (let row = firstRow; row < FOG_SIDE; row += step) {
        for (let column = firstColumn; column < FOG_SIDE; column += step) map[row * FOG_SIDE + column] = sum(row, column) / 4 + wibble * draws.uniform(-wibble, wibble);
      }
    };
    fill(half, half, (row, column) => at(row - half, column - half) + at(row + half, column - half) + (at(row - half, column + half) + at(row + half, column + half)));
    fill(0, half, (row, column) => at(row + half, column) + at(row - half, column) + (at(row, column - half) + at(row, column + half)));
    fill(half, 0, (row, column) => at(row, column + half) + at(row, column - half) + (at(row - half, column) + at(row + half, column)));
  }
  let least = Infinity;
  let most = -Infinity;
  for (const height of map) {
    if (height < least) least = height;
    if (height > most) most = height;
  }
  return map.map((height) => (height - least) / (most - least));
}

export function fog(pixels: Uint8Array, draws: Draws): Plane {
  const image = scaled(pixels);
  const most = Math.max(...image);
  const heights = plasma(draws);
  return unscaled(plane((at) => (((image[at] ?? 0) + FOG * (heights[Math.floor(at / SIDE) * FOG_SIDE + (at % SIDE)] ?? 0)) * most) / (most + FOG)));
}

export function spatter(pixels: Uint8Array, draws: Draws): Plane {
  const image = scaled(pixels);
  const liquid = gaussian(Float64Array.from({ length: PIXELS }, () => draws.normal(LIQUID_MEAN, LIQUID_DEVIATION)), LIQUID_SIGMA, 'nearest');
  const cover = gaussian(liquid.map((value) => (value > LIQUID_LEAST ? 1 : 0)), BORDER_SIGMA, 'nearest').map((value) => (value < COVER_LEAST ? 0 : value));
  return unscaled(plane((at) => (image[at] ?? 0) * (1 - (cover[at] ?? 0)) + MUD * (cover[at] ?? 0)));
}
