/** Blur: through frosted glass, and of a camera that moves. */
import type { Draws } from './draws.ts';
import { clip, gaussian, plane, scaled, SIDE, type Plane } from './plane.ts';

/** Severity 1: deviation of the blur, farthest swap, passes. */
const [GLASS_SIGMA, GLASS_FARTHEST, GLASS_PASSES] = [0.7, 1, 2];
/** Severity 1, of ImageMagick's motion blur. */
const [MOTION_RADIUS, MOTION_SIGMA, MOTION_DEGREES] = [10, 3, 45];

/**
 * Pixels are swapped with neighbors between two blurs. The published code asks skimage for a blur of several channels, and its
 * image has none: skimage then takes the last axis for the channels and blurs down the columns alone. So does this.
 */
export function glassBlur(pixels: Uint8Array, draws: Draws): Plane {
  const blurred = (image: Plane): Plane => gaussian(image, GLASS_SIGMA, 'nearest', [0]);
  const image = blurred(scaled(pixels)).map((value) => Math.floor(value * 255));
  for (let pass = 0; pass < GLASS_PASSES; pass += 1) {
    for (let row = SIDE - GLASS_FARTHEST; row > GLASS_FARTHEST; row -= 1) {
      for (let column = SIDE - GLASS_FARTHEST; column > GLASS_FARTHEST; column -= 1) {
        if (!draws.chance(0.5)) continue;
        const across = draws.integer(-GLASS_FARTHEST, GLASS_FARTHEST);
        const down = draws.integer(-GLASS_FARTHEST, GLASS_FARTHEST);
        const [here, there] = [row * SIDE + column, (row + down) * SIDE + column + across];
        [image[here], image[there]] = [image[there] ?? 0, image[here] ?? 0];
      }
    }
  }
  return blurred(image.map((value) => value / 255)).map((value) => clip(value) * 255);
}

/**
 * As ImageMagick's MotionBlurImage (magick/effect.c): half a Gaussian along one direction, at whole pixels, the border's values
 * beyond the border. Its result has 8 bits.
 */
export function motionBlur(pixels: Uint8Array, draws: Draws): Plane {
  return motionBlurred(pixels, draws.uniform(-MOTION_DEGREES, MOTION_DEGREES));
}

/** @param degrees clockwise from the right */
export function motionBlurred(pixels: Uint8Array, degrees: number): Plane {
  const width = 2 * Math.ceil(MOTION_RADIUS) + 1;
  const raw = Array.from({ length: width }, (_, at) => Math.exp(-(at ** 2) / (2 * MOTION_SIGMA ** 2)));
  const total = raw.reduce((sum, weight) => sum + weight, 0);
  const radians = (degrees * Math.PI) / 180;
  const taps = raw.map((weight, at) => ({ weight: weight / total, across: Math.ceil(at * Math.cos(radians) - 0.5), down: Math.ceil(at * Math.sin(radians) - 0.5) }));
  return plane((at) => {
    const [row, column] = [Math.floor(at / SIDE), at % SIDE];
    return Math.round(taps.reduce((sum, { weight, across, down }) => sum + weight * (pixels[clip(row + down, 0, SIDE - 1) * SIDE + clip(column + across, 0, SIDE - 1)] ?? 0), 0));
  });
}
