/**
 * The label table: what a teacher said of one shard. Parquet, one row a sample: key, class, the confidence's log-odds
 * (float32), log-probabilities (list of float16). Logarithms, because float16 probabilities lose what a distillation at a
 * high temperature needs, and confidences near 1 could not be ordered.
 */
import { AlumnusError, invariant } from '../../proto/errors.ts';
import { openParquet, writeParquet } from '../../dataset/index.ts';

export interface Labels {
  readonly keys: readonly string[];
  /** `[rows]` the most probable class. */
  readonly classes: ArrayLike<number>;
  /** `[rows]` log(p / (1 - p)) of that class, float32. */
  readonly logOdds: ArrayLike<number>;
}

export interface LabelsWithProbabilities extends Labels {
  /** `[rows][classes]`, float16 precision: relative error of a probability p at most |ln p| / 2048. */
  readonly logProbabilities: ArrayLike<ArrayLike<number>>;
}

export const LABEL_SCHEMA_VERSION = '1';

/** Log-probabilities below this are as good as zero, and float16 holds nothing below -65504. */
const LOG_PROBABILITY_MIN = -60_000;

/**
 * The label of each row of `logProbabilities` `[rows, classes]`.
 * The log-odds are log p - log of the other classes' sum, added up by themselves, so that they keep their order where p rounds to 1.
 */
export function labelsOf(keys: readonly string[], logProbabilities: Float32Array, classes: number): LabelsWithProbabilities {
  const rows = keys.length;
  invariant(logProbabilities.length === rows * classes, `${rows} rows of ${classes} classes are ${rows * classes} values, not ${logProbabilities.length}`);
  const best = new Int32Array(rows);
  const logOdds = new Float32Array(rows);
  const lists: Float32Array[] = [];
  for (let row = 0; row < rows; row += 1) {
    const list = logProbabilities.slice(row * classes, (row + 1) * classes);
    let [top, finite] = [0, true];
    for (let each = 0; each < classes; each += 1) {
      const value = Math.max(LOG_PROBABILITY_MIN, list[each] ?? NaN);
      list[each] = value;
      if (!Number.isFinite(value)) finite = false;
      if (value > (list[top] ?? 0)) top = each;
    }
    const topValue = list[top] ?? NaN;
    if (!finite) throw new AlumnusError('TRAINING_DIVERGED', `the teacher gives no finite probability for ${keys[row] ?? row}`, { where: 'labels' });
    // log-sum-exp over the others, shifted by the largest of them.
    let second = -Infinity;
    for (let each = 0; each < classes; each += 1) if (each !== top) second = Math.max(second, list[each] ?? -Infinity);
    let sum = 0;
    for (let each = 0; each < classes; each += 1) if (each !== top) sum += Math.exp((list[each] ?? -Infinity) - second);
    best[row] = top;
    logOdds[row] = classes === 1 ? Infinity : topValue - (second + Math.log(sum));
    lists.push(list);
  }
  return { keys, classes: best, logOdds, logProbabilities: lists };
}

/** @param about run, iteration, task, teacher: the table says itself where it comes from. */
export function writeLabelTable(labels: LabelsWithProbabilities, about: Readonly<Record<string, string>>): Uint8Array {
  return writeParquet(
    [
      { name: 'key', data: [...labels.keys] },
      { name: 'class', data: Int32Array.from(labels.classes) },
      { name: 'log_odds', data: Float32Array.from(labels.logOdds) },
    ],
    {
      float16Lists: { name: 'log_probabilities', rows: labels.logProbabilities, length: labels.logProbabilities[0]?.length ?? 0 },
      schema: [
        { name: 'root', num_children: 4 },
        { name: 'key', type: 'BYTE_ARRAY', converted_type: 'UTF8', repetition_type: 'REQUIRED' },
        { name: 'class', type: 'INT32', repetition_type: 'REQUIRED' },
        { name: 'log_odds', type: 'FLOAT', repetition_type: 'REQUIRED' },
        { name: 'log_probabilities', repetition_type: 'REQUIRED', num_children: 1, converted_type: 'LIST' },
        { name: 'list', repetition_type: 'REPEATED', num_children: 1 },
        { name: 'element', type: 'FIXED_LEN_BYTE_ARRAY', type_length: 2, logical_type: { type: 'FLOAT16' }, repetition_type: 'REQUIRED' },
      ],
      metadata: { ...about, 'alumnus.schema': LABEL_SCHEMA_VERSION },
    },
  );
}

/** The three columns that selection reads, and what the table says about itself. @throws AlumnusError SHARD_CORRUPT */
export async function readLabelColumns(bytes: Uint8Array, where: string): Promise<Labels & { readonly about: Readonly<Record<string, string>> }> {
  const table = openParquet(bytes, where);
  return { about: table.metadata, keys: (await table.column('key')) as unknown as string[], classes: (await table.column('class')) as ArrayLike<number>, logOdds: (await table.column('log_odds')) as ArrayLike<number> };
}

/** @throws AlumnusError SHARD_CORRUPT */
export async function readLabelTable(bytes: Uint8Array, where: string): Promise<LabelsWithProbabilities> {
  const table = openParquet(bytes, where);
  return { ...(await readLabelColumns(bytes, where)), logProbabilities: await table.float16Lists('log_probabilities') };
}
