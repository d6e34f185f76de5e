/** The images of a labeled part beside their classes, in the order of its shards: how training, evaluation and export read them. */
import { readLabels } from '../../dataset/index.ts';
import { invariant } from '../../proto/errors.ts';
import type { LabeledShard, PartRef } from '../../proto/gen/alumnus/v1/task.ts';
import type { ObjectStore } from '../../store/index.ts';
import { ahead } from './ahead.ts';
import { decodedPieces, piecesAhead, READ_AHEAD_BYTES, type DecodedShard } from './decoded.ts';
import { readLabelTable } from './label-table.ts';
import { checkedLabel, type Source } from './source.ts';

/** Class by key. Of the whole part: a labeled set is small. */
export async function labelsByKey(store: ObjectStore, part: PartRef): Promise<ReadonlyMap<string, number>> {
  invariant(part.labels !== undefined, 'a labeled part names its labels');
  invariant(part.shards.reduce((sum, shard) => sum + shard.samples, 0) === part.samples, 'a part has as many samples as its shards');
  const table = await readLabels(store, part.labels);
  return new Map(table.keys.map((key, row) => [key, table.classes[row] ?? -1]));
}

/**
 * What a teacher said of labeled images, its log-probabilities by key.
 * @throws AlumnusError SHARD_CORRUPT, and the store's
 */
export async function teacherByKey({ store }: Pick<Source, 'store'>, labels: readonly LabeledShard[]): Promise<ReadonlyMap<string, ArrayLike<number>>> {
  const rows = new Map<string, ArrayLike<number>>();
  for (const { shard, labels: table } of labels) {
    invariant(table !== undefined, `the teacher's labels of ${shard} are named`);
    const { keys, logProbabilities } = await readLabelTable(await store.get(table), table.key);
    keys.forEach((key, row) => rows.set(key, logProbabilities[row] ?? []));
  }
  return rows;
}

export interface LabeledPiece extends DecodedShard {
  /** `[keys]` */
  readonly classes: Uint16Array;
}

/**
 * The next shard is read while this one is worked on.
 * @throws AlumnusError LABEL_OUT_OF_RANGE, and as `decodedPieces`
 */
export function labeledPieces(source: Source, part: PartRef): AsyncGenerator<LabeledPiece, void, undefined> {
  // Half of what may be ready lies within a shard, half crosses to the next.
  const half = { ...source, readAheadBytes: (source.readAheadBytes ?? READ_AHEAD_BYTES) / 2 };
  return ahead(piecesOf(half, part), piecesAhead(half), source.signal, (piece) => Promise.resolve(piece));
}

async function* piecesOf(source: Source, part: PartRef): AsyncGenerator<LabeledPiece, void, undefined> {
  const labels = await labelsByKey(source.store, part);
  for (const shard of part.shards) {
    for await (const piece of decodedPieces(source, shard)) {
      yield { ...piece, classes: Uint16Array.from(piece.keys, (key) => checkedLabel(labels.get(key), key, source.classes, `${part.dataset} ${shard.name}`)) };
    }
  }
}
