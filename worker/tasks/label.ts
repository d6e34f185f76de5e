/**
 * label: a teacher's soft labels for one shard. Clean input, EMA weights, dropout and stochastic depth off: the predictor has no other way.
 * Only where the task itself brings the noise of the ablation (`labels.noised_teacher` in the recipe) is another predictor taken, which has.
 */
import { invariant } from '../../proto/errors.ts';
import type { LabelResult, LabelSpec, ShardRef } from '../../proto/gen/alumnus/v1/task.ts';
import { decodedPieces, encodeTally, inBatches, labelsOf, tallyOf, writeLabelTable, type LabelsWithProbabilities } from '../data/index.ts';
import { aboutOf, required, shapeOf, type ImageBatch, type TaskContext } from './context.ts';
import { earlierLabels, rememberLabels } from './earlier-labels.ts';
import { readModel, resizeOf, signatureOf } from './model.ts';
import { predictHere } from './predictions.ts';

export async function label(context: TaskContext, spec: LabelSpec): Promise<LabelResult> {
  const { store, task, cacheFolder, signal, predict = predictHere(context) } = context;
  const [teacher, shard] = [required(spec.teacher, 'teacher'), required(spec.shard, 'shard')];
  const { batchSize, teacherNoiseJson } = spec;
  const model = await readModel(store, teacher);
  const { input, classes } = signatureOf(model);
  // Clean labels are a function of model and shard; noised ones are of their task alone.
  const clean = teacherNoiseJson === undefined;
  const earlier = clean ? await earlierLabels(context, model, shard) : undefined;
  if (earlier !== undefined) return write(context, shard, earlier, classes);
  const keys: string[] = [];
  const logProbabilities = new Float32Array(shard.samples * classes);
  let values = 0;
  const batches = async function* (): AsyncGenerator<ImageBatch, void, undefined> {
    for await (const batch of inBatches(decodedPieces({ store, shape: shapeOf(input), resize: resizeOf(model), cacheFolder, signal }, shard), batchSize)) {
      for (const key of batch.keys) keys.push(key);
      yield { images: batch.images, count: batch.keys.length };
    }
  };
  const predictMs = await predict({ teacher, batchSize, teacherNoiseJson, seed: task.seed }, batches(), (each) => {
    logProbabilities.set(each, values);
    values += each.length;
  });
  invariant(values === keys.length * classes, `${keys.length} images have log-probabilities of ${classes} classes, not ${values} in all`);
  const labels = labelsOf(keys, logProbabilities, classes);
  const result = await write(context, shard, labels, classes);
  if (clean) await rememberLabels(context, model, shard, required(result.labels, 'labels'));
  context.progress({ done: keys.length, total: keys.length, unit: 'images', rate: keys.length / (predictMs / 1000), loss: 0 });
  return result;
}

async function write(context: TaskContext, shard: ShardRef, labels: LabelsWithProbabilities, classes: number): Promise<LabelResult> {
  const { store, task } = context;
  const about = { ...aboutOf(context), 'alumnus.shard': shard.name };
  const [table, tally] = await Promise.all([
    store.putAddressed(task.outputPrefix, writeLabelTable(labels, about), { extension: '.parquet', metadata: about }),
    store.putAddressed(task.outputPrefix, encodeTally(tallyOf(labels, classes)), { extension: '.json', metadata: about }),
  ]);
  return { labels: table, tally, samples: labels.keys.length };
}
