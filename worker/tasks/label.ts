/** label: a teacher's soft labels for one shard. Clean input, EMA weights, dropout and stochastic depth off: the predictor has no other way. */
import type { LabelResult, LabelSpec, ShardRef } from '../../proto/gen/alumnus/v1/task.ts';
import { decodedShard, encodeTally, labelsOf, tallyOf, writeLabelTable, type LabelsWithProbabilities } from '../data/index.ts';
import { aboutOf, required, type TaskContext } from './context.ts';
import { earlierLabels, rememberLabels } from './earlier-labels.ts';
import { predictorOf, readModel } from './model.ts';

export async function label(context: TaskContext, spec: LabelSpec): Promise<LabelResult> {
  const { store, cacheFolder } = context;
  const [teacher, shard] = [required(spec.teacher, 'teacher'), required(spec.shard, 'shard')];
  const model = await readModel(store, teacher);
  const { architecture } = model;
  const earlier = await earlierLabels(context, model, shard);
  if (earlier !== undefined) return write(context, shard, earlier, architecture.classes);
  const { height, width, channels } = architecture.input;
  // Read before the device is asked for: this shard loads while the one before is labeled.
  const { keys, images } = await decodedShard(store, shard, { height, width, channels: channels === 1 ? 1 : 3 }, cacheFolder);
  let startMs = 0;
  const logProbabilities = await context.onDevice(async () => {
    const predictor = await predictorOf(store, teacher, spec.batchSize);
    startMs = performance.now();
    return predictor.logProbabilities(images, keys.length);
  });
  const seconds = (performance.now() - startMs) / 1000;
  const labels = labelsOf(keys, logProbabilities, architecture.classes);
  const result = await write(context, shard, labels, architecture.classes);
  await rememberLabels(context, model, shard, required(result.labels, 'labels'));
  context.progress({ done: keys.length, total: keys.length, unit: 'images', rate: keys.length / seconds, loss: 0 });
  return result;
}

async function write(context: TaskContext, shard: ShardRef, labels: LabelsWithProbabilities, classes: number): Promise<LabelResult> {
  const { store, task } = context;
  const about = { ...aboutOf(context), 'alumnus.shard': shard.name };
  const table = await store.putAddressed(task.outputPrefix, writeLabelTable(labels, about), { extension: '.parquet', metadata: about });
  const tally = await store.putAddressed(task.outputPrefix, encodeTally(tallyOf(labels, classes)), { extension: '.json', metadata: about });
  return { labels: table, tally, samples: labels.keys.length };
}
