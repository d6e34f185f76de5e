/** Lines drawn over the image: dotted, and zigzag. */
import type { Draws } from './draws.ts';
import { clip, plane, scaled, SIDE, unscaled, type Plane } from './plane.ts';

/** Pixels from the line's center to where it is gone. */
const REACH = 2.3;
/** Of the zigzag: the columns that it goes from and to, and length and width of its teeth. */
const [FROM, TO, LENGTH, WIDTH] = [2, 25, 2, 2];
/** Rows at which a line may begin: below this. */
const ROWS = 27;

interface Point {
  readonly column: number;
  readonly row: number;
}

/** A line from left to right, fading as log(1 - distance / 2.3) + 1, where the distance is taken down the column. */
function line(from: Point, to: Point): Plane {
  if (from.column === to.column) return plane(() => 0);
  const slope = (to.row - from.row) / (to.column - from.column);
  const [left, right] = [Math.floor(from.column), Math.ceil(to.column)];
  return plane((at) => {
    const [row, column] = [Math.floor(at / SIDE), at % SIDE];
    if (column < left || column >= right) return 0;
    const distance = clip(Math.abs(row - (slope * (column - from.column) + from.row)), 0, REACH - 1e-10);
    return clip(Math.log(1 - distance / REACH) + 1);
  });
}

/** From the left border to the right; two columns drawn, two left out, these first. */
export function dottedLine(pixels: Uint8Array, draws: Draws): Plane {
  const image = scaled(pixels);
  const from = { column: 0, row: draws.integer(0, ROWS) };
  const drawn = line(from, { column: SIDE - 1, row: draws.integer(0, ROWS) });
  return unscaled(plane((at) => (image[at] ?? 0) + ((at % SIDE) % 4 < 2 ? 0 : drawn[at] ?? 0)));
}

/** Teeth along a line that rises or falls by at most 5 rows; each piece is added, and the sum clipped, before the next. */
export function zigzag(pixels: Uint8Array, draws: Draws): Plane {
  const row = draws.integer(0, ROWS);
  const rise = draws.integer(-5, 5);
  const angle = Math.atan(rise / (TO - FROM));
  const length = (TO - FROM) / Math.cos(angle);
  const flat: Point[] = [{ column: 0, row: 0 }];
  for (let tooth = 0; tooth < Math.floor((length - LENGTH) / (2 * LENGTH)) + 1; tooth += 1) flat.push({ column: (2 * tooth + 1) * LENGTH, row: tooth % 2 === 0 ? WIDTH : -WIDTH });
  const whole = 2 * LENGTH * Math.floor(length / (2 * LENGTH));
  if (length !== whole) flat.push({ column: length, row: (flat.at(-1)?.row ?? 0) / (2 * (length - whole)) });
  const points = flat.map((point): Point => ({
    column: Math.cos(angle) * point.column - Math.sin(angle) * point.row + FROM, row: Math.sin(angle) * point.column + Math.cos(angle) * point.row + row,
  }));
  let image = scaled(pixels);
  points.slice(1).forEach((to, at) => {
    const drawn = line(points[at] ?? to, to);
    image = image.map((value, place) => clip(value + (drawn[place] ?? 0)));
  });
  return unscaled(image);
}
