/**
 * The labels most worth a person's look: of one iteration, by how unsure its teacher was, how often earlier ones said otherwise, and how near the confidence lies to the
 * threshold. Reads one shard's tables after another and holds the best so far. Not for: what becomes of a person's answer (review-import.ts).
 * Invariant: the same labels give the same queue, in whatever order shards are named.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { AlumnusError, invariant } from '../../proto/errors.ts';
import type { IterationHistory, RunHistory } from '../../proto/gen/alumnus/v1/history.ts';
import type { ObjectRef, ShardRef } from '../../proto/gen/alumnus/v1/task.ts';
import type { NamedClass, ReviewReason, ReviewRow } from '../../proto/told.ts';
import { shardSamples } from '../../dataset/index.ts';
import type { ObjectStore } from '../../store/index.ts';
import { readLabelColumns, readLabelTable } from './label-table.ts';
import { readLeftOut } from './left-out.ts';
import { readSelection, readSelectionPart } from './select.ts';
import { confidenceOf } from './selection.ts';

/** A margin below this, and a confidence as near to the threshold, are told as a reason. The score needs no such bound. */
const SMALL_MARGIN = 0.2;
const NEAR_THRESHOLD = 0.1;

export interface Doubt {
  /** Between the two most probable classes, 0 to 1. */
  readonly margin: number;
  readonly confidence: number;
  readonly threshold: number;
  /** The class, and what earlier teachers said, one each. */
  readonly label: number;
  readonly earlier: readonly number[];
}

/**
 * How much a look is worth, 0 to 1: the mean of three shares. How small the margin is, 1 - (p1 - p2); how many of the earlier teachers named another class; and how near the
 * confidence is to the threshold, 1 - |p1 - t| / max(t, 1 - t), the distance by the largest that there could be.
 */
export function scoreOf({ margin, confidence, threshold, label, earlier }: Doubt): number {
  const disagreement = earlier.length === 0 ? 0 : earlier.filter((each) => each !== label).length / earlier.length;
  const nearness = 1 - Math.abs(confidence - threshold) / Math.max(threshold, 1 - threshold);
  return (1 - margin + disagreement + nearness) / 3;
}

export const reasonsOf = ({ margin, confidence, threshold, label, earlier }: Doubt): ReviewReason[] => [
  ...(margin < SMALL_MARGIN ? ['small margin' as const] : []),
  ...(earlier.some((each) => each !== label) ? ['teachers disagree' as const] : []),
  ...(Math.abs(confidence - threshold) < NEAR_THRESHOLD ? ['near the threshold' as const] : []),
];

interface Ranked {
  readonly key: string;
  readonly score: number;
}

/** By falling score, of equals by key: no two are equal. */
const isBefore = (a: Ranked, b: Ranked): boolean => a.score > b.score || (a.score === b.score && a.key < b.key);

/** The best of many: twice as many as are asked for are held at most, and sorted when there are so many. */
export class Best<Row extends Ranked> {
  readonly #most: number;
  #held: Row[] = [];
  /** The last that stays, once there are so many that one must go. */
  #worst: Row | undefined;

  constructor(most: number) {
    invariant(most >= 1, 'at least one is asked for');
    this.#most = most;
  }

  /** Whether it may stay. */
  takes(row: Ranked): boolean {
    return this.#worst === undefined || isBefore(row, this.#worst);
  }

  add(row: Row): void {
    if (!this.takes(row)) return;
    if (this.#held.push(row) < 2 * this.#most) return;
    this.#held = this.rows();
    this.#worst = this.#held.at(-1);
  }

  /** Best first. */
  rows(): Row[] {
    return [...this.#held].sort((a, b) => (isBefore(a, b) ? -1 : 1)).slice(0, this.#most);
  }
}

export interface ReviewRequest {
  readonly store: ObjectStore;
  readonly history: RunHistory;
  /** Undefined: the newest that has a selection, else the newest with labels. */
  readonly iteration: number | undefined;
  readonly most: number;
  /** Where image files are written to; empty: none are. */
  readonly images: string;
  onProgress?(done: number, total: number, label: string): void;
}

type Candidate = Omit<ReviewRow, 'image'>;

/** @throws AlumnusError USAGE (an iteration without labels), DIGEST_MISMATCH, SHARD_CORRUPT, and the store's */
export async function reviewQueue(request: ReviewRequest): Promise<ReviewRow[]> {
  const { store, history, most, onProgress } = request;
  const { data } = history;
  const unlabeled = data?.unlabeled;
  invariant(data !== undefined && unlabeled !== undefined, 'a run with labels has its data');
  const iteration = iterationOf(history, request.iteration);
  const threshold = iteration.threshold?.confidence ?? 0;
  const earlier = earlierTeachers(history, iteration);
  const nameOf = (at: number): NamedClass => ({ class: at, name: data.classNames[at] ?? String(at) });
  const leftOut = await readLeftOut(store, { nearDuplicates: history.nearDuplicates, reviewed: history.reviews.at(-1)?.reviewed ?? data.labeled?.reviewed });
  const selection = iteration.selection?.selection;
  const document = selection === undefined ? undefined : await readSelection(store, selection);
  const partOf = new Map(document?.parts.map((each) => [each.shard, each]));
  const earlierLabels = earlier.map(({ labels }) => new Map(labels.map((each) => [each.shard, each.labels])));
  const best = new Best<Candidate>(most);
  const shards = [...iteration.labels].sort((a, b) => (a.shard < b.shard ? -1 : 1));
  for (const [done, { shard, labels }] of shards.entries()) {
    const table = await readLabelTable(await store.get(refOf(labels)), refOf(labels).key);
    const said: ReadonlyMap<string, number>[] = [];
    for (const tables of earlierLabels) {
      const old = tables.get(shard);
      if (old === undefined) continue;
      const columns = await readLabelColumns(await store.get(old), old.key);
      said.push(new Map(columns.keys.map((key, row) => [key, columns.classes[row] ?? -1])));
    }
    const part = partOf.get(shard);
    const copies = part === undefined || selection === undefined ? undefined : await readSelectionPart(store, selection, part);
    const passedOver = leftOut.get(shard);
    for (const [row, key] of table.keys.entries()) {
      // Nobody need look at what is learned from no more.
      if (passedOver?.has(key) === true) continue;
      const [label, logOdds] = [table.classes[row] ?? 0, table.logOdds[row] ?? NaN];
      const confidence = confidenceOf(logOdds);
      const second = secondOf(table.logProbabilities[row] ?? [], label);
      const doubt: Doubt = { margin: Math.max(0, confidence - second.probability), confidence, threshold, label, earlier: said.flatMap((classes) => classes.get(key) ?? []) };
      const score = scoreOf(doubt);
      if (!best.takes({ key, score })) continue;
      const times = copies?.get(key) ?? 0;
      best.add({
        key, dataset: unlabeled.dataset, shard, label: nameOf(label), confidence, second: nameOf(second.class), margin: doubt.margin, earlier: doubt.earlier.map(nameOf),
        outcome: copies === undefined ? 'labeled' : times === 0 ? 'dropped' : times === 1 ? 'kept' : 'repeated', copies: times, reasons: reasonsOf(doubt), score,
      });
    }
    onProgress?.(done + 1, shards.length, `iteration ${iteration.iteration}: labels`);
  }
  const rows = best.rows();
  const placed = new Map(unlabeled.shards.map((each) => [each.name, each]));
  const files = request.images === '' ? new Map<string, string>() : await writeImages(request, rows, placed);
  return rows.map((each) => ({ ...each, image: files.get(each.key) ?? imageIn(placed.get(each.shard), each.key) }));
}

function iterationOf({ iterations, runId }: RunHistory, wanted: number | undefined): IterationHistory {
  const labeled = iterations.filter(({ labels }) => labels.length > 0);
  // Tries of an iteration have the same labels; the last tells what became of them.
  const found = wanted === undefined ? labeled.findLast(({ selection }) => selection !== undefined) ?? labeled.at(-1) : labeled.findLast(({ iteration }) => iteration === wanted);
  if (found !== undefined) return found;
  const known = [...new Set(labeled.map(({ iteration }) => iteration))];
  throw new AlumnusError('USAGE', `there are no labels of ${wanted === undefined ? 'any iteration' : `iteration ${wanted}`}${known.length === 0 ? '' : `; there are of ${known.join(', ')}`}, as of the run's last manifest`, { where: runId });
}

/** The iterations before, one for each other teacher: who stays has one word. */
function earlierTeachers({ iterations }: RunHistory, { iteration, teacher }: IterationHistory): IterationHistory[] {
  const seen = new Set([teacher?.sha256]);
  return iterations.filter((each) => {
    if (each.iteration >= iteration || each.teacher === undefined || each.labels.length === 0 || seen.has(each.teacher.sha256)) return false;
    seen.add(each.teacher.sha256);
    return true;
  });
}

function secondOf(logProbabilities: ArrayLike<number>, label: number): { class: number; probability: number } {
  let second = -1;
  for (let at = 0; at < logProbabilities.length; at += 1) if (at !== label && (second < 0 || (logProbabilities[at] ?? -Infinity) > (logProbabilities[second] ?? -Infinity))) second = at;
  return { class: second, probability: Math.exp(logProbabilities[second] ?? -Infinity) };
}

const refOf = (ref: ObjectRef | undefined): ObjectRef => {
  invariant(ref !== undefined, 'an accepted label task has its table');
  return ref;
};

/** The tar, and the sample in it. */
const imageIn = (shard: ShardRef | undefined, key: string): string => `${shard?.location === undefined ? '' : `${shard.location.replace(/\?.*$/s, '')}/`}${shard?.ref?.key ?? ''}#${key}`;

/** By key, the files. One shard is held at a time. */
async function writeImages({ store, images, onProgress }: ReviewRequest, rows: readonly Candidate[], placed: ReadonlyMap<string, ShardRef>): Promise<Map<string, string>> {
  await mkdir(images, { recursive: true });
  const files = new Map<string, string>();
  const byShard = new Map<string, Set<string>>();
  for (const { shard, key } of rows) byShard.set(shard, (byShard.get(shard) ?? new Set()).add(key));
  for (const [done, [name, wanted]] of [...byShard].entries()) {
    const shard = placed.get(name);
    invariant(shard?.ref !== undefined, `the shard ${name} is one of the run's`);
    for await (const { key, extension, bytes } of shardSamples(store, { ref: shard.ref, location: shard.location })) {
      if (!wanted.has(key)) continue;
      const file = join(images, `${key}.${extension}`);
      await writeFile(file, bytes);
      files.set(key, file);
    }
    onProgress?.(done + 1, byShard.size, 'images');
  }
  return files;
}
