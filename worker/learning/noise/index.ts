/**
 * Noise on the input of a training step, as one batched tensor program over images in [0, 255].
 * Not for: noise within the model (layers.ts), nor prediction, which has no way to call this.
 */
import type { Tensor, TensorFlow } from '../../tensorflow/index.ts';
import type { Draws } from '../draws.ts';
import type { InputNoise } from '../types.ts';
import { affine } from './affine.ts';
import { randAugment } from './randaugment.ts';

/** Images `[batch, height, width, channels]`, float32 in [0, 255]; the result is the same. */
export function noiseImages(engine: TensorFlow, images: Tensor, noise: InputNoise, draws: Draws): Tensor {
  switch (noise.name) {
    case 'none': return images;
    case 'affine': return affine(engine, images, noise, draws);
    case 'randaugment': return randAugment(engine, images, noise, draws);
  }
}
