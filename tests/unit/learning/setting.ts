/** A small training setting and made-up images, shared by the tests of learning. */
import type { Architecture } from '../../../recipe/index.ts';
import type { Batch, TrainingSettings } from '../../../worker/learning/index.ts';

export const threads = 2;

export const architecture = (name: 'cnn' | 'residual', options: Record<string, number> = name === 'cnn' ? { width: 4, dense: 16 } : { width: 4, blocks: 1 }): Architecture =>
  ({ model: { name, options }, input: { height: 12, width: 12, channels: 3 }, classes: 5 });

export const settings = (over: Partial<TrainingSettings> = {}): TrainingSettings => ({
  steps: 20, batchLabeled: 5, batchUnlabeled: 7,
  optimizer: { name: 'adamw', learningRate: 0.003, weightDecay: 0.01, momentum: 0.9, decay: 0.9, epsilon: 0.001 },
  schedule: { name: 'cosine', warmupSteps: 2, decayFactor: 0.97, decaySteps: 0 },
  emaDecay: 0.9, labelSmoothing: 0.1, clipNorm: 0, noise: { name: 'affine', degrees: 10, translatePixels: 1, scale: 0.1, flip: false }, seed: 1,
  ...over,
});

/** A batch of `count` images in which the class is a bright corner row; the rest is fixed speckle. */
export function batch(count: number, step = 0): Batch {
  const size = 12 * 12 * 3;
  const images = new Uint8Array(count * size), targets = new Float32Array(count * 5);
  for (let index = 0; index < count; index++) {
    const label = (index + step) % 5;
    for (let pixel = 0; pixel < size; pixel++) images[index * size + pixel] = (Math.imul(pixel + 1, 2654435761) >>> 26) + (Math.floor(pixel / 36) >> 1 === label ? 180 : 0);
    targets[index * 5 + label] = 1;
  }
  return { images, targets };
}
