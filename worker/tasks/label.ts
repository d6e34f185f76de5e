/**
 * label: a teacher's soft labels for one shard. Clean input, EMA weights, dropout and stochastic depth off: the predictor has no other way.
 * Only where the task itself brings the noise of the ablation (`labels.noised_teacher` in the recipe) is another predictor taken, which has.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { LabelResult, LabelSpec, ObjectRef, ShardRef } from '../../proto/gen/alumnus/v1/task.ts';
import { decodedPieces, encodeTally, inBatches, labelsOf, tallyOf, writeLabelTable, type LabelsWithProbabilities } from '../data/index.ts';
import { aboutOf, required, shapeOf, type TaskContext } from './context.ts';
import { earlierLabels, rememberLabels } from './earlier-labels.ts';
import { imageNoise } from '../learning/index.ts';
import type { Recipe } from '../../recipe/index.ts';
import { noisedPredictorOf, predictorOf, readModel, resizeOf, signatureOf } from './model.ts';

export async function label(context: TaskContext, spec: LabelSpec): Promise<LabelResult> {
  const { store, cacheFolder, signal } = context;
  const [teacher, shard] = [required(spec.teacher, 'teacher'), required(spec.shard, 'shard')];
  const model = await readModel(store, teacher);
  const { input, classes } = signatureOf(model);
  // Clean labels are a function of model and shard; noised ones are of their task alone.
  const clean = spec.teacherNoiseJson === undefined;
  const earlier = clean ? await earlierLabels(context, model, shard) : undefined;
  if (earlier !== undefined) return write(context, shard, earlier, classes);
  const batches = inBatches(decodedPieces({ store, shape: shapeOf(input), resize: resizeOf(model), cacheFolder, signal }, shard), spec.batchSize);
  const keys: string[] = [];
  const logProbabilities = new Float32Array(shard.samples * classes);
  let startMs = 0;
  try {
    // Before the device is asked for: this shard loads while the one before is labeled, and then stays ahead of its own labeling.
    let next = await batches.next();
    await context.onDevice(async () => {
      const predict = await predictionOf(context, spec, teacher);
      startMs = performance.now();
      for (let at = 0; next.done !== true; at += 1, next = await batches.next()) {
        const batch = next.value;
        logProbabilities.set(await predict(batch.images, batch.keys.length, at), keys.length * classes);
        for (const key of batch.keys) keys.push(key);
        // Between batches the engine hears its worker, and takes in what the decoding threads finished.
        await nextTurn();
      }
    });
  } finally {
    await batches.return();
  }
  const seconds = (performance.now() - startMs) / 1000;
  const labels = labelsOf(keys, logProbabilities, classes);
  const result = await write(context, shard, labels, classes);
  if (clean) await rememberLabels(context, model, shard, required(result.labels, 'labels'));
  context.progress({ done: keys.length, total: keys.length, unit: 'images', rate: keys.length / seconds, loss: 0 });
  return result;
}

async function write(context: TaskContext, shard: ShardRef, labels: LabelsWithProbabilities, classes: number): Promise<LabelResult> {
  const { store, task } = context;
  const about = { ...aboutOf(context), 'alumnus.shard': shard.name };
  // Side by side: a write is many turns of the event loop, each of which waits for a batch of the next shard.
  const [table, tally] = await Promise.all([
    store.putAddressed(task.outputPrefix, writeLabelTable(labels, about), { extension: '.parquet', metadata: about }),
    store.putAddressed(task.outputPrefix, encodeTally(tallyOf(labels, classes)), { extension: '.json', metadata: about }),
  ]);
  return { labels: table, tally, samples: labels.keys.length };
}

/** @returns log-probabilities `[count, classes]` of the images of the shard's batch `at`. */
async function predictionOf({ store, task }: TaskContext, { batchSize, teacherNoiseJson }: LabelSpec, teacher: ObjectRef): Promise<(images: Uint8Array, count: number, at: number) => Promise<Float32Array>> {
  if (teacherNoiseJson === undefined) {
    const clean = await predictorOf(store, teacher, batchSize);
    return (images, count) => clean.logProbabilities(images, count);
  }
  const noised = await noisedPredictorOf(store, teacher, batchSize, imageNoise(JSON.parse(teacherNoiseJson) as Recipe['noise']));
  return (images, count, at) => noised.logProbabilities(images, count, task.seed, at);
}
