/**
 * The door to noise on the input of a step, as batched tensor programs over images in [0, 255]. The order is DeiT's: the input
 * noise, then erasing, each on every image by itself; then mixing, of images and targets.
 * A new input noise is its options in recipe/schema.ts, a file here and a line in `inputNoises`.
 * Not for: noise within the model (layers.ts), nor clean prediction, which has no way to call this.
 */
import type { Tensor, TensorFlow } from '../../tensorflow/index.ts';
import type { Draws } from '../draws.ts';
import { named } from '../named.ts';
import type { ImageNoise, InputNoise } from '../types.ts';
import { affine } from './affine.ts';
import { erase } from './erasing.ts';
import { randAugment } from './randaugment.ts';

export { mix } from './mixing.ts';
export { imageNoise, trainingNoise } from './settings.ts';

type Apply<Noise> = (engine: TensorFlow, images: Tensor, noise: Noise, draws: Draws) => Tensor;

const inputNoises: { readonly [Name in InputNoise['name']]: Apply<Extract<InputNoise, { name: Name }>> } = {
  none: (_, images) => images,
  affine,
  randaugment: randAugment,
};

/** Images `[batch, height, width, channels]`, float32 in [0, 255]; the result is the same. @throws AlumnusError CODE_OUTDATED */
export function noiseImages(engine: TensorFlow, images: Tensor, { noise, erasing }: ImageNoise, draws: Draws): Tensor {
  // The table's type says that a name's entry takes that name's options; TypeScript cannot follow it through a union.
  const noised = (named(inputNoises, 'input noise', noise.name) as Apply<InputNoise>)(engine, images, noise, draws);
  return erasing === undefined ? noised : erase(engine, noised, erasing, draws);
}
