/**
 * Drift: what became of labels from one teacher to the next, class by class and shard by shard. Reads three columns of both tables of a shard, one
 * shard after another. Not for: judging it (coordinator/run/drift.ts).
 * Invariant: the same tables give the same bytes, in whatever order their shards are named.
 */
import { AlumnusError, invariant } from '../../proto/errors.ts';
import type { LabelDrift, LabeledShard, ObjectRef } from '../../proto/gen/alumnus/v1/task.ts';
import { canonicalJson, type ObjectStore } from '../../store/index.ts';
import { readLabelColumns, type Labels } from './label-table.ts';
import { confidenceOf } from './selection.ts';

/** Of pairs and of shards, so many travel in the journal; the document has all. */
const TOLD_MAX = 10;

export interface DriftRequest {
  readonly before: { readonly teacher: string; readonly shards: readonly LabeledShard[] };
  readonly after: { readonly teacher: string; readonly shards: readonly LabeledShard[] };
  readonly outputPrefix: string;
  readonly metadata: Readonly<Record<string, string>>;
}

/** Over the shards that both teachers labeled. @throws AlumnusError SHARD_CORRUPT where two tables of a shard hold other samples; the store's */
export async function drift(store: ObjectStore, { before, after, outputPrefix, metadata }: DriftRequest): Promise<LabelDrift> {
  const earlier = new Map(before.shards.map(({ shard, labels }) => [shard, labels]));
  const pairs = new Map<string, { from: number; to: number; samples: number }>();
  const shards: { shard: string; samples: number; flips: number }[] = [];
  let [samples, flips, sumBefore, sumAfter] = [0, 0, 0, 0];
  const read = async (ref: ObjectRef | undefined): Promise<Labels> => {
    invariant(ref !== undefined, 'an accepted label task has its table');
    return readLabelColumns(await store.get(ref), ref.key);
  };
  for (const { shard, labels } of [...after.shards].sort((a, b) => (a.shard < b.shard ? -1 : 1))) {
    if (!earlier.has(shard)) continue;
    const [old, now] = [await read(earlier.get(shard)), await read(labels)];
    const rowOf = new Map(old.keys.map((key, row) => [key, row]));
    if (rowOf.size !== now.keys.length) throw new AlumnusError('SHARD_CORRUPT', `two teachers labeled ${rowOf.size} and ${now.keys.length} samples of ${shard}`, { where: labels?.key ?? '' });
    let own = 0;
    now.keys.forEach((key, row) => {
      const oldRow = rowOf.get(key);
      if (oldRow === undefined) throw new AlumnusError('SHARD_CORRUPT', `the teacher before labeled no ${key} in ${shard}`, { where: labels?.key ?? '' });
      sumBefore += confidenceOf(old.logOdds[oldRow] ?? NaN);
      sumAfter += confidenceOf(now.logOdds[row] ?? NaN);
      const [from, to] = [old.classes[oldRow] ?? 0, now.classes[row] ?? 0];
      if (from === to) return;
      own += 1;
      const pair = pairs.get(`${from}/${to}`) ?? { from, to, samples: 0 };
      pairs.set(`${from}/${to}`, { ...pair, samples: pair.samples + 1 });
    });
    samples += now.keys.length;
    flips += own;
    shards.push({ shard, samples: now.keys.length, flips: own });
  }
  const classes = [...pairs.values()].sort((a, b) => b.samples - a.samples || a.from - b.from || a.to - b.to);
  const [confidenceBefore, confidenceAfter] = samples === 0 ? [0, 0] : [sumBefore / samples, sumAfter / samples];
  const document = { schemaVersion: 1, before: before.teacher, after: after.teacher, samples, flips, confidenceBefore, confidenceAfter, classes, shards };
  const ref = await store.putAddressed(outputPrefix, Buffer.from(canonicalJson(document)), { extension: '.json', metadata });
  const worst = [...shards].sort((a, b) => b.flips * a.samples - a.flips * b.samples || (a.shard < b.shard ? -1 : 1));
  return { drift: ref, samples, flips, confidenceBefore, confidenceAfter, classes: classes.slice(0, TOLD_MAX), shards: worst.slice(0, TOLD_MAX) };
}
