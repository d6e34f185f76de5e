/**
 * Prediction: clean input, dropout and stochastic depth off, compiled once for one batch size.
 * Not for: evaluating, writing labels.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { AlumnusError, invariant } from '../../proto/errors.ts';
import { compile, loadTensorFlow } from '../tensorflow/index.ts';
import { parameterSpecs } from '../../recipe/index.ts';
import { prediction } from './step.ts';
import type { Architecture } from '../../recipe/index.ts';
import type { TensorData } from './types.ts';

export interface Predictor {
  /**
   * Log-probabilities `[count, classes]` of `images` `[count, height, width, channels]`. Any count: batches are cut to
   * size here and the last one is padded. The event loop is free between batches.
   */
  logProbabilities(images: Uint8Array, count: number): Promise<Float32Array>;
  dispose(): void;
}

/** @throws AlumnusError DIGEST_MISMATCH where the weights are not the architecture's; ENGINE_UNAVAILABLE */
export async function createPredictor(architecture: Architecture, weights: readonly TensorData[], batchSize: number): Promise<Predictor> {
  invariant(Number.isInteger(batchSize) && batchSize >= 1, 'a batch holds at least one image');
  const given = new Map(weights.map(tensor => [tensor.name, tensor]));
  const values = Object.fromEntries(parameterSpecs(architecture).map(({ name, shape }) => {
    const tensor = given.get(name);
    if (tensor?.shape.join() !== shape.join()) {
      throw new AlumnusError('DIGEST_MISMATCH', `the weights hold ${tensor === undefined ? 'no' : `[${tensor.shape.join()}] for`} ${name}, and the model ${architecture.model.name} needs [${shape.join()}]`, { where: 'weights' });
    }
    return [name, tensor.values];
  }));
  const executable = compile(loadTensorFlow(), prediction(loadTensorFlow(), architecture, batchSize));
  executable.write(values);
  const { input: { height, width, channels }, classes } = architecture;
  const imageSize = height * width * channels;
  return {
    async logProbabilities(images, count) {
      invariant(images.length === count * imageSize, `${count} images have ${count * imageSize} bytes, not ${images.length}`);
      const result = new Float32Array(count * classes);
      for (let start = 0; start < count; start += batchSize) {
        if (start > 0) await nextTurn();
        const rows = Math.min(batchSize, count - start);
        const batch = new Uint8Array(batchSize * imageSize);
        batch.set(images.subarray(start * imageSize, (start + rows) * imageSize));
        result.set((executable.run({ images: batch })['logProbabilities'] as Float32Array).subarray(0, rows * classes), start * classes);
      }
      return result;
    },
    dispose: () => executable.dispose(),
  };
}
