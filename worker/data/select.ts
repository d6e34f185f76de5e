/**
 * Reads tallies and three columns of the label tables, and writes the selection: a document with one Parquet part
 * (key, class, copies) a shard. The document names its parts by digest and lies beside them, so that its own digest
 * depends on the labels alone.
 */
import { AlumnusError, invariant } from '../../proto/errors.ts';
import type { LabeledShard, LeftOut, ObjectRef } from '../../proto/gen/alumnus/v1/task.ts';
import { openParquet, writeParquet } from '../../dataset/index.ts';
import { canonicalJson, type ObjectStore } from '../../store/index.ts';
import { readLabelColumns, type Labels } from './label-table.ts';
import { readLeftOut, withoutLeftOut } from './left-out.ts';
import { isEligible, logOddsOf, planSelection, SelectionCutter, type SelectionPolicy } from './selection.ts';
import { addTally, binOf, decodeTally, emptyTally, sameTally, tallyOf as tallyOfLabels, type Tally } from './tally.ts';

export interface SelectionPart {
  readonly shard: string;
  /** Digest of the label table that it was cut from. */
  readonly labels: string;
  readonly part: { readonly sha256: string; readonly bytes: number };
  readonly kept: number;
  readonly rows: number;
}

export interface SelectionDocument {
  readonly schemaVersion: 1;
  readonly teacher: string;
  readonly policy: SelectionPolicy;
  readonly classes: readonly { readonly class: number; readonly labeled: number; readonly eligible: number; readonly budget: number; readonly kept: number; readonly rows: number }[];
  /** Sorted by shard. */
  readonly parts: readonly SelectionPart[];
  /** Digests of the tables of whose labels were not looked at, and how many of those there were. Absent where there are none. */
  readonly leftOut?: { readonly nearDuplicates: readonly string[]; readonly reviewed?: string | undefined; readonly labels: number };
}

export interface SelectRequest {
  readonly teacher: string;
  readonly shards: readonly LabeledShard[];
  readonly policy: SelectionPolicy;
  readonly classes: number;
  readonly leftOut?: LeftOut | undefined;
  readonly outputPrefix: string;
  readonly metadata: Readonly<Record<string, string>>;
  onProgress?(done: number, total: number): void;
}

const must = (ref: ObjectRef | undefined): ObjectRef => {
  invariant(ref !== undefined, 'an accepted label task has its table and its tally');
  return ref;
};

/**
 * Three passes at most over the label tables, none of which holds more than the boundary bins' rows of all shards and one
 * shard: count what is eligible in the threshold's bin, gather the boundary bins, write.
 * @throws AlumnusError DIGEST_MISMATCH (another teacher's labels), SHARD_CORRUPT (a table or a tally that is damaged, or they disagree)
 */
export async function select(store: ObjectStore, request: SelectRequest): Promise<{ ref: ObjectRef; document: SelectionDocument }> {
  const { policy, classes, outputPrefix, metadata } = request;
  const shards = [...request.shards].sort((a, b) => (a.shard < b.shard ? -1 : 1));
  const leftOut = await readLeftOut(store, request.leftOut);
  const readAll = async (shard: LabeledShard): Promise<Labels> => {
    const { key } = must(shard.labels);
    const { about, ...labels } = await readLabelColumns(await store.get(must(shard.labels)), key);
    const teacher = about['alumnus.teacher'];
    if (teacher !== request.teacher) throw new AlumnusError('DIGEST_MISMATCH', `the labels are of the teacher ${teacher ?? 'that they don\'t name'} and not of ${request.teacher}`, { where: key });
    return labels;
  };
  const read = async (shard: LabeledShard): Promise<Labels> => withoutLeftOut(await readAll(shard), leftOut.get(shard.shard));
  const stored = async (shard: LabeledShard): Promise<Tally> => decodeTally(await store.get(must(shard.tally)), classes, must(shard.tally).key);
  const tallyOf = async (shard: LabeledShard): Promise<Tally> => (leftOut.has(shard.shard) ? tallyOfLabels(await read(shard), classes) : stored(shard));

  const merged = emptyTally(classes);
  const thresholdBin = binOf(logOddsOf(policy.threshold));
  const inThresholdBin = new Array<number>(classes).fill(0);
  for (const shard of shards) {
    const tally = await tallyOf(shard);
    addTally(merged, tally);
    if (!tally.some((bins) => (bins[thresholdBin] ?? 0) > 0)) continue;
    const labels = await read(shard);
    for (let row = 0; row < labels.keys.length; row += 1) {
      const logOdds = labels.logOdds[row] ?? NaN;
      const at = labels.classes[row] ?? 0;
      if (binOf(logOdds) === thresholdBin && isEligible(logOdds, policy)) inThresholdBin[at] = (inThresholdBin[at] ?? 0) + 1;
    }
  }
  const plans = planSelection(merged, inThresholdBin, policy);
  const cutter = new SelectionCutter(plans, policy);
  for (const shard of shards) if (cutter.needs(await tallyOf(shard))) cutter.add(await read(shard));

  const counts = plans.map((plan, at) => ({ class: at, labeled: plan.labeled, eligible: plan.eligible, budget: plan.budget, kept: 0, rows: 0 }));
  const parts: SelectionPart[] = [];
  let passedOver = 0;
  for (const shard of shards) {
    const all = await readAll(shard);
    // The cut was made by the tally: one that counted other labels would cut elsewhere, unseen.
    if (!sameTally(tallyOfLabels(all, classes), await stored(shard))) throw new AlumnusError('SHARD_CORRUPT', `the tally of ${shard.shard} does not count the labels beside it`, { where: must(shard.tally).key });
    const labels = withoutLeftOut(all, leftOut.get(shard.shard));
    passedOver += all.keys.length - labels.keys.length;
    const keys: string[] = [];
    const keptClasses: number[] = [];
    const copies: number[] = [];
    for (let row = 0; row < labels.keys.length; row += 1) {
      const [key, at] = [labels.keys[row] ?? '', labels.classes[row] ?? 0];
      const times = cutter.copies(at, labels.logOdds[row] ?? NaN, key);
      if (times === 0) continue;
      keys.push(key);
      keptClasses.push(at);
      copies.push(times);
      const count = counts[at];
      invariant(count !== undefined, `class ${at} is one of ${classes}`);
      count.kept += 1;
      count.rows += times;
    }
    const part = await store.putAddressed(outputPrefix, writePart(keys, keptClasses, copies), { extension: PART_EXTENSION, metadata });
    parts.push({ shard: shard.shard, labels: must(shard.labels).sha256, part: { sha256: part.sha256, bytes: part.bytes }, kept: keys.length, rows: copies.reduce((sum, times) => sum + times, 0) });
    request.onProgress?.(parts.length, shards.length);
  }
  const document: SelectionDocument = { schemaVersion: 1, teacher: request.teacher, policy, classes: counts, parts, ...leftOutOf(request.leftOut, passedOver) };
  const ref = await store.putAddressed(outputPrefix, Buffer.from(canonicalJson(document)), { extension: '.json', metadata });
  return { ref, document };
}

/** By their digests alone: where a run keeps them says nothing about the labels. */
const leftOutOf = (leftOut: LeftOut | undefined, labels: number): Pick<SelectionDocument, 'leftOut'> =>
  (leftOut === undefined ? {} : { leftOut: { nearDuplicates: leftOut.nearDuplicates.map(({ sha256 }) => sha256), reviewed: leftOut.reviewed?.sha256, labels } });

const PART_EXTENSION = '.parquet';

function writePart(keys: string[], classes: number[], copies: number[]): Uint8Array {
  return writeParquet([
    { name: 'key', data: keys, type: 'STRING', nullable: false },
    { name: 'class', data: Int32Array.from(classes), type: 'INT32', nullable: false },
    { name: 'copies', data: Int32Array.from(copies), type: 'INT32', nullable: false },
  ]);
}

export async function readSelection(store: ObjectStore, ref: ObjectRef): Promise<SelectionDocument> {
  return JSON.parse(Buffer.from(await store.get(ref)).toString('utf8')) as SelectionDocument;
}

/** Copies by key of one part; keys that are not there were thrown out. */
export async function readSelectionPart(store: ObjectStore, selection: ObjectRef, part: SelectionPart): Promise<Map<string, number>> {
  const key = `${selection.key.slice(0, selection.key.lastIndexOf('/'))}/${part.part.sha256}${PART_EXTENSION}`;
  const bytes = await store.get({ key, sha256: part.part.sha256, bytes: part.part.bytes });
  const table = openParquet(bytes, key);
  const keys = (await table.column('key')) as unknown as string[];
  const copies = (await table.column('copies')) as ArrayLike<number>;
  return new Map(Array.from(keys, (each, row) => [each, copies[row] ?? 0]));
}
