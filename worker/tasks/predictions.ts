/**
 * A teacher's predictions where TensorFlow is: batches in, log-probabilities out, while the device is the task's.
 * Not for: where batches come from and what becomes of the labels (label.ts), or the way between two threads (worker/engine).
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { imageNoise } from '../learning/index.ts';
import type { Recipe } from '../../recipe/index.ts';
import type { ObjectStore } from '../../store/index.ts';
import type { PredictionSpec, Predict, TaskContext } from './context.ts';
import { noisedPredictorOf, predictorOf } from './model.ts';

/** `Predict` on this thread. @throws as `predictorOf`; what `onDevice` and the batches throw */
export function predictHere({ store, onDevice }: Pick<TaskContext, 'store' | 'onDevice'>): Predict {
  return async (spec, batches, take) => {
    const reading = batches[Symbol.asyncIterator]();
    try {
      // Before the device is asked for: this shard loads while the one before is labeled, and then stays ahead of its own labeling.
      let next = await reading.next();
      return await onDevice(async () => {
        const predict = await predictionOf(store, spec);
        const startMs = performance.now();
        for (let at = 0; next.done !== true; at += 1, next = await reading.next()) {
          take(await predict(next.value.images, next.value.count, at));
          // Between batches the engine hears its worker and its other threads.
          await nextTurn();
        }
        return performance.now() - startMs;
      });
    } finally {
      await reading.return?.();
    }
  };
}

/** @returns log-probabilities `[count, classes]` of the images of the shard's batch `at`. */
async function predictionOf(store: ObjectStore, { teacher, batchSize, teacherNoiseJson, seed }: PredictionSpec): Promise<(images: Uint8Array, count: number, at: number) => Promise<Float32Array>> {
  if (teacherNoiseJson === undefined) {
    const clean = await predictorOf(store, teacher, batchSize);
    return (images, count) => clean.logProbabilities(images, count);
  }
  const noised = await noisedPredictorOf(store, teacher, batchSize, imageNoise(JSON.parse(teacherNoiseJson) as Recipe['noise']));
  return (images, count, at) => noised.logProbabilities(images, count, seed, at);
}
