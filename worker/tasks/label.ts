/** label: a teacher's soft labels for one shard. Clean input, EMA weights, dropout and stochastic depth off: the predictor has no other way. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { LabelResult, LabelSpec } from '../../proto/gen/alumnus/v1/task.ts';
import { decodedPieces, encodeTally, inBatches, labelsOf, tallyOf, writeLabelTable } from '../data/index.ts';
import { aboutOf, required, shapeOf, type TaskContext } from './context.ts';
import { predictorOf, readModel } from './model.ts';

export async function label(context: TaskContext, spec: LabelSpec): Promise<LabelResult> {
  const { store, task, cacheFolder, signal } = context;
  const [teacher, shard] = [required(spec.teacher, 'teacher'), required(spec.shard, 'shard')];
  const { architecture } = await readModel(store, teacher);
  const batches = inBatches(decodedPieces({ store, shape: shapeOf(architecture.input), cacheFolder, signal }, shard), spec.batchSize);
  const keys: string[] = [];
  const logProbabilities = new Float32Array(shard.samples * architecture.classes);
  let startMs = 0;
  try {
    // Before the device is asked for: this shard loads while the one before is labeled, and then stays ahead of its own labeling.
    let next = await batches.next();
    await context.onDevice(async () => {
      const predictor = await predictorOf(store, teacher, spec.batchSize);
      startMs = performance.now();
      for (; next.done !== true; next = await batches.next()) {
        const batch = next.value;
        logProbabilities.set(await predictor.logProbabilities(batch.images, batch.keys.length), keys.length * architecture.classes);
        for (const key of batch.keys) keys.push(key);
        // Between batches the engine hears its worker, and takes in what the decoding threads finished.
        await nextTurn();
      }
    });
  } finally {
    await batches.return();
  }
  const seconds = (performance.now() - startMs) / 1000;
  const labels = labelsOf(keys, logProbabilities, architecture.classes);
  const about = { ...aboutOf(context), 'alumnus.shard': shard.name };
  const table = await store.putAddressed(task.outputPrefix, writeLabelTable(labels, about), { extension: '.parquet', metadata: about });
  const tally = await store.putAddressed(task.outputPrefix, encodeTally(tallyOf(labels, architecture.classes)), { extension: '.json', metadata: about });
  context.progress({ done: keys.length, total: keys.length, unit: 'images', rate: keys.length / seconds, loss: 0 });
  return { labels: table, tally, samples: keys.length };
}
