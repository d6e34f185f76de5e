/**
 * Perturbation sequences: the same image in frames that differ little, over which a model should not change its mind (Hendrycks and
 * Dietterich 2019, arXiv 1903.12261, section 4.2). Five of the published ten, natural ones for gray images, with the published
 * constants for small images (github.com/hendrycks/robustness, ImageNet-P/create_p/make_cifar_p.py, of 32 x 32).
 */
import { rotated, shifted, zoomed } from './affine.ts';
import type { Draws } from './draws.ts';
import { scaled, unscaled, type Plane } from './plane.ts';

export interface Sequence {
  readonly frames: number;
  /** Noise has no order: each of its frames is compared with the first, which is the image itself; else with the one before. */
  readonly againstFirst: boolean;
  /** @param index of the frame, from 0 */
  readonly frame: (pixels: Uint8Array, index: number, draws: Draws) => Plane;
}

/** Frames on each side of the image itself. */
const AROUND = 15;
const FRAMES = 2 * AROUND + 1;
const DEGREE = Math.PI / 180;

const brighter = (pixels: Uint8Array, by: number): Plane => unscaled(scaled(pixels).map((value) => value + by));
const noisy = (pixels: Uint8Array, draws: Draws): Plane => unscaled(scaled(pixels).map((value) => value + draws.normal(0, 0.02)));

export const sequences = {
  gaussian_noise_sequence: { frames: FRAMES, againstFirst: true, frame: (pixels, index, draws) => (index === 0 ? Float64Array.from(pixels) : noisy(pixels, draws)) },
  brightness_sequence: { frames: FRAMES, againstFirst: false, frame: (pixels, index) => brighter(pixels, 0.015 * (index - AROUND)) },
  translate_sequence: { frames: 16, againstFirst: false, frame: (pixels, index) => shifted(pixels, index - 7, 0) },
  rotate_sequence: { frames: FRAMES, againstFirst: false, frame: (pixels, index) => rotated(pixels, DEGREE * (index - AROUND)) },
  scale_sequence: { frames: FRAMES, againstFirst: false, frame: (pixels, index) => zoomed(pixels, 0.7 + 0.02 * index) },
} as const satisfies Readonly<Record<string, Sequence>>;

export type SequenceName = keyof typeof sequences;
