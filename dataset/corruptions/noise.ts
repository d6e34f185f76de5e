/** Noise of sensors: shot noise and impulse noise, each pixel by itself. */
import type { Draws } from './draws.ts';
import { clip, PIXELS, plane, scaled, unscaled, type Plane } from './plane.ts';

/** Each pixel is a Poisson count of that many photons at white. Severity 5: 3. */
const PHOTONS = 3;
/** Share of the pixels that become white or black. Severity 4. */
const FLIPPED = 0.17;

export const shotNoise = (pixels: Uint8Array, draws: Draws): Plane =>
  scaled(pixels).map((value) => clip(draws.poisson(value * PHOTONS) / PHOTONS) * 255);

/** As skimage.util.random_noise's `s&p`: first which pixels, then for each whether it would be white. */
export function impulseNoise(pixels: Uint8Array, draws: Draws): Plane {
  const flipped = Array.from({ length: PIXELS }, () => draws.chance(FLIPPED));
  const image = scaled(pixels);
  return unscaled(plane((at) => {
    const white = draws.chance(0.5);
    return flipped[at] === true ? Number(white) : image[at] ?? 0;
  }));
}
