/** The digit's edges alone, as Canny's detector finds them. */
import { gaussian, PIXELS, plane, scaled, SIDE, sobel, type Plane } from './plane.ts';

/** Magnitude of the gradient from which an edge is one, and from which it is kept where it touches one of those. */
const [HIGH, LOW] = [0.2, 0.1];
/** Deviation of the blur before. */
const SIGMA = 1;

/** As skimage.feature.canny with its defaults: black outside, made up for by the blur's own share; the outermost pixels are no edges. */
export function cannyEdges(pixels: Uint8Array): Plane {
  const inside = gaussian(plane(() => 1), SIGMA, 'zero');
  const smoothed = gaussian(scaled(pixels), SIGMA, 'zero').map((value, at) => value / ((inside[at] ?? 0) + Number.EPSILON));
  const [down, across] = [sobel(smoothed, 0), sobel(smoothed, 1)];
  const magnitude = plane((at) => Math.sqrt((down[at] ?? 0) ** 2 + (across[at] ?? 0) ** 2));
  const thin = magnitude.map((value, at) => {
    const [row, column] = [Math.floor(at / SIDE), at % SIDE];
    const border = row === 0 || column === 0 || row === SIDE - 1 || column === SIDE - 1;
    return !border && value >= LOW && isRidge(magnitude, at, down[at] ?? 0, across[at] ?? 0) ? value : 0;
  });
  return connected(thin);
}

/** Whether no neighbor along the gradient, interpolated between the two nearest, is larger. */
function isRidge(magnitude: Plane, at: number, down: number, across: number): boolean {
  const [steep, flat] = [Math.abs(down), Math.abs(across)];
  const sameSign = (down >= 0 && across >= 0) || (down <= 0 && across <= 0);
  // skimage takes the two halves of equal gradients differently by sign.
  const vertical = sameSign ? steep > flat : steep >= flat;
  const weight = vertical ? flat / steep : steep / flat;
  const diagonal = sameSign ? SIDE + 1 : 1 - SIDE;
  const straight = vertical ? (sameSign ? SIDE : -SIDE) : 1;
  const beyond = (way: 1 | -1): number => (magnitude[at + way * diagonal] ?? 0) * weight + (magnitude[at + way * straight] ?? 0) * (1 - weight);
  const here = magnitude[at] ?? 0;
  return beyond(1) <= here && beyond(-1) <= here;
}

/** 255 where a pixel touches, over others that are not 0, one that is at least `HIGH`. */
function connected(thin: Plane): Plane {
  const out = new Float64Array(PIXELS);
  const open: number[] = [];
  const take = (at: number): void => {
    if (out[at] !== 0 || (thin[at] ?? 0) === 0) return;
    out[at] = 255;
    open.push(at);
  };
  thin.forEach((value, at) => {
    if (value >= HIGH) take(at);
  });
  // Nothing lies on the border, so no neighbor lies beyond it.
  for (let at = open.pop(); at !== undefined; at = open.pop()) for (const row of [-SIDE, 0, SIDE]) for (const column of [-1, 0, 1]) take(at + row + column);
  return out;
}
