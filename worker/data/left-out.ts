/** Samples that no selection takes, whatever their labels are: near-duplicates of images that judge, and those that a person gave a label to. A few of many: all of them are held. */
import { openParquet } from '../../dataset/index.ts';
import type { LeftOut, ObjectRef } from '../../proto/gen/alumnus/v1/task.ts';
import type { ObjectStore } from '../../store/index.ts';
import type { Labels } from './label-table.ts';

export type LeftOutWhy = 'near-duplicate' | 'reviewed';

/** By shard, then by key. */
export type LeftOutKeys = ReadonlyMap<string, ReadonlyMap<string, LeftOutWhy>>;

/** @throws AlumnusError SHARD_CORRUPT, and the store's */
export async function readLeftOut(store: ObjectStore, leftOut: LeftOut | undefined): Promise<LeftOutKeys> {
  const shards = new Map<string, Map<string, LeftOutWhy>>();
  const add = async (ref: ObjectRef, why: LeftOutWhy): Promise<void> => {
    const table = openParquet(await store.get(ref), ref.key);
    const [keys, names] = [await table.column('key'), await table.column('shard')];
    for (let row = 0; row < table.rows; row += 1) {
      const name = String(names[row]);
      const shard = shards.get(name) ?? new Map<string, LeftOutWhy>();
      shards.set(name, shard.set(String(keys[row]), why));
    }
  };
  for (const ref of leftOut?.nearDuplicates ?? []) await add(ref, 'near-duplicate');
  // Of one that is both, a person's word is told.
  if (leftOut?.reviewed !== undefined) await add(leftOut.reviewed, 'reviewed');
  return shards;
}

/** The labels without those that are left out. */
export function withoutLeftOut<Own extends Labels>(labels: Own, leftOut: ReadonlyMap<string, LeftOutWhy> | undefined): Labels {
  if (leftOut === undefined) return labels;
  const rows = labels.keys.flatMap((key, row) => (leftOut.has(key) ? [] : [row]));
  return { keys: rows.map((row) => labels.keys[row] ?? ''), classes: Int32Array.from(rows, (row) => labels.classes[row] ?? 0), logOdds: Float32Array.from(rows, (row) => labels.logOdds[row] ?? NaN) };
}
