/**
 * Labels that another run's task wrote for the same shard by the same model: found by their inputs' digests and taken over
 * instead of labeled again. So a run over a newer version of a dataset labels only the shards that are new, as long as its
 * teacher has the same weights: an imported teacher, or a first teacher trained by the same recipe on the same labeled data
 * where training repeats itself to the bit. A journalled fact never depends on it: what is taken over is written again as
 * this task's own output, and says so of itself.
 * Invariants:
 *  1. Taken over is only what was read whole and of the right digest, for all of the shard's samples.
 *  2. Whatever is wrong with what is found, the shard is labeled; only a store that is away is an error.
 *  3. A task does not take over from itself: a second attempt is a second witness.
 */
import { z } from 'zod';
import { toAlumnusError } from '../../proto/errors.ts';
import type { ObjectRef, ShardRef } from '../../proto/gen/alumnus/v1/task.ts';
import { canonicalJson, paths, sha256 } from '../../store/index.ts';
import { readLabelTable, type LabelsWithProbabilities } from '../data/index.ts';
import type { TaskContext } from './context.ts';
import { identityOf, signatureOf, type ModelDocument } from './model.ts';

const pointerSchema = z.strictObject({ schemaVersion: z.literal(1), labels: z.strictObject({ key: z.string(), sha256: z.string(), bytes: z.int() }) });

/** A model is what its labels depend on, whichever run made it. A tar of ours that somebody registered has other keys. */
function pointerOf(document: ModelDocument, { ref, location }: ShardRef): string {
  const model = sha256(canonicalJson(identityOf(document)));
  return paths.labels(model, `${ref?.sha256 ?? ''}${location === undefined ? '' : '-registered'}`);
}

/** @throws AlumnusError what is retryable of the store's */
export async function earlierLabels({ store, task }: TaskContext, model: ModelDocument, shard: ShardRef): Promise<LabelsWithProbabilities | undefined> {
  try {
    const found = await store.getNamed(pointerOf(model, shard));
    if (found === undefined) return undefined;
    const { labels } = pointerSchema.parse(JSON.parse(Buffer.from(found.content).toString('utf8')));
    if (labels.key.startsWith(`${task.outputPrefix}/`)) return undefined;
    const table = await readLabelTable(await store.get(labels), labels.key);
    const whole = table.keys.length === shard.samples && table.logProbabilities.length === shard.samples && table.logProbabilities[0]?.length === signatureOf(model).classes;
    return whole ? table : undefined;
  } catch (thrown) {
    const error = toAlumnusError(thrown);
    if (error.retryable) throw error;
    return undefined;
  }
}

/** Says where this task's labels lie, for runs to come. The first that says so stays. @throws the store's errors */
export async function rememberLabels({ store }: TaskContext, model: ModelDocument, shard: ShardRef, labels: ObjectRef): Promise<void> {
  await store.putNamed(pointerOf(model, shard), Buffer.from(canonicalJson({ schemaVersion: 1, labels })));
}
