/**
 * label: a teacher's soft labels for one shard. Clean input, EMA weights, dropout and stochastic depth off: the predictor has no other way.
 * Only where the task itself brings the noise of the ablation (`labels.noised_teacher` in the recipe) is another predictor taken, which has.
 */
import type { LabelResult, LabelSpec } from '../../proto/gen/alumnus/v1/task.ts';
import { decodedShard, encodeTally, labelsOf, tallyOf, writeLabelTable } from '../data/index.ts';
import { aboutOf, required, type TaskContext } from './context.ts';
import { imageNoise } from '../learning/index.ts';
import type { Recipe } from '../../recipe/index.ts';
import { noisedPredictorOf, predictorOf, readModel } from './model.ts';

export async function label(context: TaskContext, spec: LabelSpec): Promise<LabelResult> {
  const { store, task, cacheFolder } = context;
  const [teacher, shard] = [required(spec.teacher, 'teacher'), required(spec.shard, 'shard')];
  const { architecture } = await readModel(store, teacher);
  const { height, width, channels } = architecture.input;
  // Read before the device is asked for: this shard loads while the one before is labeled.
  const { keys, images } = await decodedShard(store, shard, { height, width, channels: channels === 1 ? 1 : 3 }, cacheFolder);
  let startMs = 0;
  const logProbabilities = await context.onDevice(async () => {
    if (spec.teacherNoiseJson === undefined) {
      const predictor = await predictorOf(store, teacher, spec.batchSize);
      startMs = performance.now();
      return predictor.logProbabilities(images, keys.length);
    }
    const predictor = await noisedPredictorOf(store, teacher, spec.batchSize, imageNoise(JSON.parse(spec.teacherNoiseJson) as Recipe['noise']));
    startMs = performance.now();
    return predictor.logProbabilities(images, keys.length, task.seed);
  });
  const seconds = (performance.now() - startMs) / 1000;
  const labels = labelsOf(keys, logProbabilities, architecture.classes);
  const about = { ...aboutOf(context), 'alumnus.shard': shard.name };
  const table = await store.putAddressed(task.outputPrefix, writeLabelTable(labels, about), { extension: '.parquet', metadata: about });
  const tally = await store.putAddressed(task.outputPrefix, encodeTally(tallyOf(labels, architecture.classes)), { extension: '.json', metadata: about });
  context.progress({ done: keys.length, total: keys.length, unit: 'images', rate: keys.length / seconds, loss: 0 });
  return { labels: table, tally, samples: keys.length };
}
