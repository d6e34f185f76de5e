/**
 * The public door of `corruptions`: the 15 corruptions of MNIST-C (Mu and Gilmer 2019, arXiv 1906.02337), after the published
 * code (github.com/google-research/mnist-c, corruptions.py), each at the one severity that is its default there, which is that of the
 * published set; and five perturbation sequences (sequences.ts). For measuring how a model bears images that it was not made for; never for training.
 * Invariants:
 *  1. A corrupted image is a function of (seed, corruption, sample key) and its pixels: no order, no count, no machine goes in.
 *  2. Defined for gray images of 28 x 28 alone, as published: their constants are pixels of that size.
 */
import { invariant } from '../../proto/errors.ts';
import type { ImageShape } from '../manifest.ts';
import { rotate, scale, shear, translate } from './affine.ts';
import { glassBlur, motionBlur } from './blur.ts';
import { Draws } from './draws.ts';
import { cannyEdges } from './edges.ts';
import { dottedLine, zigzag } from './lines.ts';
import { impulseNoise, shotNoise } from './noise.ts';
import { PIXELS, SIDE, type Plane } from './plane.ts';
import { sequences, type Sequence, type SequenceName } from './sequences.ts';
import { brightness, stripe } from './tone.ts';
import { fog, spatter } from './weather.ts';

type Corruption = (pixels: Uint8Array, draws: Draws) => Plane;

/** By the published names, in the published order. */
const corruptions = {
  shot_noise: shotNoise, impulse_noise: impulseNoise, glass_blur: glassBlur, motion_blur: motionBlur, shear, scale, rotate, brightness, translate, stripe, fog, spatter,
  dotted_line: dottedLine, zigzag, canny_edges: cannyEdges,
} as const satisfies Readonly<Record<string, Corruption>>;

export type CorruptionName = keyof typeof corruptions;
export const corruptionNames = Object.keys(corruptions) as readonly CorruptionName[];

/** Names of sequences end in `_sequence`. */
export const sequenceNames = Object.keys(sequences) as readonly SequenceName[];
export type { SequenceName };

export const isCorruptible = ({ height, width, channels }: ImageShape): boolean => height === SIDE && width === SIDE && channels === 1;

/** 0.5 to the even neighbor, as numpy rounds; of a float32, as the published code hands it out. */
function rounded(value: number): number {
  const single = Math.fround(value);
  const below = Math.floor(single);
  return single - below === 0.5 ? below + (below % 2) : Math.round(single);
}

/**
 * One image, corrupted.
 * @param pixels `[28, 28, 1]`, 0 to 255
 * @param key the sample's, in every dataset that holds it
 */
export function corrupted(name: CorruptionName, pixels: Uint8Array, seed: number, key: string): Uint8Array {
  invariant(pixels.length === PIXELS, 'corruptions are defined for gray images of 28 x 28');
  const corruption: Corruption = corruptions[name];
  return Uint8Array.from(corruption(pixels, new Draws(`${seed}/${name}/${key}`)), rounded);
}

export const sequenceOf = (name: string): Sequence | undefined => (sequences as Readonly<Record<string, Sequence>>)[name];

/** The frames of one image, in their order. @param pixels, key as of `corrupted` */
export function frames(name: SequenceName, pixels: Uint8Array, seed: number, key: string): Uint8Array[] {
  invariant(pixels.length === PIXELS, 'perturbation sequences are defined for gray images of 28 x 28');
  const sequence: Sequence = sequences[name];
  const draws = new Draws(`${seed}/${name}/${key}`);
  return Array.from({ length: sequence.frames }, (_, index) => Uint8Array.from(sequence.frame(pixels, index, draws), rounded));
}
