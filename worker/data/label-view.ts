/**
 * What the page shows of an iteration's labels: how they spread over confidence and class, and pictures of some. Reads only, and of a large run a part, which it says: tallies of so many shards,
 * label tables and images of few. Not for: figures that a run decides on.
 * Invariant: the same labels give the same pictures.
 */
import { AlumnusError, invariant } from '../../proto/errors.ts';
import type { IterationHistory, RunHistory } from '../../proto/gen/alumnus/v1/history.ts';
import type { ImageSpec, ObjectRef, ShardRef } from '../../proto/gen/alumnus/v1/task.ts';
import type { LabelGallery, LabelHistogram, LabelSample } from '../../proto/page.ts';
import type { NamedClass } from '../../proto/told.ts';
import { encodePng, readLabels, resizedImage, samplePixels, shardSamples, type ImageShape } from '../../dataset/index.ts';
import { sha256, type ObjectStore } from '../../store/index.ts';
import { readLabelColumns } from './label-table.ts';
import { Best } from './review-queue.ts';
import { readSelection, readSelectionPart } from './select.ts';
import { confidenceOf } from './selection.ts';
import { addTally, BIN_FROM, BIN_WIDTH, BINS, decodeTally, emptyTally } from './tally.ts';

/** A tally of ten classes is some kilobytes, and one read. */
const TALLIES_MAX = 2_000;
/** Each is a label table and, where one of its images is shown, a shard that is read whole. */
const SHARDS_MAX = 12;
const PER_KIND = 12;
/** Of bins of a tally one is drawn: a width of a quarter of a logit. */
const BINS_A_BAR = 2;
/** A screen shows no more of a picture this small. */
const PIXELS_MAX = 128;
/** True labels are one table; a larger one is not read for some pictures. */
const TRUTH_BYTES_MAX = 64 * 1024 * 1024;
const READS_AT_ONCE = 16;

export interface LabelViewRequest {
  readonly store: ObjectStore;
  readonly history: RunHistory;
  readonly iteration: number;
}

/** @throws AlumnusError USAGE (an iteration without labels), SHARD_CORRUPT, and the store's */
export async function labelHistogram({ store, history, iteration }: LabelViewRequest): Promise<LabelHistogram> {
  const { labels } = labeledIteration(history, iteration);
  const classes = history.data?.classNames.length ?? 0;
  const merged = emptyTally(classes);
  const chosen = someOf(labels, ({ shard }) => shard, TALLIES_MAX);
  await each(chosen, async ({ tally }) => addTally(merged, decodeTally(await store.get(must(tally)), classes, must(tally).key)));
  const bars = (bins: Uint32Array): number[] => Array.from({ length: BINS / BINS_A_BAR }, (_, bar) => bins.slice(bar * BINS_A_BAR, (bar + 1) * BINS_A_BAR).reduce((sum, count) => sum + count, 0));
  const all = merged.map(bars);
  // Those at both ends that no class has are left away.
  const used = Array.from({ length: BINS / BINS_A_BAR }, (_, bar) => bar).filter((bar) => all.some((own) => (own[bar] ?? 0) > 0));
  const [first, last] = [used[0] ?? 0, used.at(-1) ?? 0];
  return { iteration, from: BIN_FROM + first * BIN_WIDTH * BINS_A_BAR, width: BIN_WIDTH * BINS_A_BAR, classes: all.map((own) => own.slice(first, last + 1)), shards: chosen.length, shardsLabeled: labels.length };
}

interface Candidate {
  readonly key: string;
  readonly score: number;
  readonly shard: string;
  readonly class: number;
  readonly confidence: number;
  readonly copies: number;
}

/** @throws AlumnusError USAGE (an iteration without labels), SHARD_CORRUPT, IMAGE_CORRUPT, DIGEST_MISMATCH, and the store's */
export async function labelGallery({ store, history, iteration }: LabelViewRequest): Promise<LabelGallery> {
  const { data } = history;
  const { labels, selection, threshold } = labeledIteration(history, iteration);
  invariant(data?.image !== undefined && data.unlabeled !== undefined, 'a run with labels has its data');
  const placed = new Map(data.unlabeled.shards.map((shard) => [shard.name, shard]));
  // Labels of the labeled part are nobody's to select.
  const chosen = someOf(labels.filter(({ shard }) => placed.has(shard)), ({ shard }) => shard, SHARDS_MAX);
  const least = threshold?.confidence ?? 0;
  const document = selection?.selection === undefined ? undefined : await readSelection(store, selection.selection);
  const parts = new Map(document?.parts.map((part) => [part.shard, part]));
  const best = { confident: new Best<Candidate>(PER_KIND), near: new Best<Candidate>(PER_KIND), thrownOut: new Best<Candidate>(PER_KIND) };
  for (const { shard, labels: table } of chosen) {
    const columns = await readLabelColumns(await store.get(must(table)), must(table).key);
    const part = parts.get(shard);
    const copies = part === undefined ? undefined : await readSelectionPart(store, must(selection?.selection), part);
    columns.keys.forEach((key, row) => {
      const logOdds = columns.logOdds[row] ?? NaN;
      const confidence = confidenceOf(logOdds);
      const times = copies?.get(key) ?? 0;
      const candidate = { key, shard, class: columns.classes[row] ?? 0, confidence, copies: times };
      best.confident.add({ ...candidate, score: logOdds });
      best.near.add({ ...candidate, score: -Math.abs(confidence - least) });
      // Before anything is selected nothing is thrown out; after it a fair draw of what was.
      if (copies !== undefined && times === 0) best.thrownOut.add({ ...candidate, score: Number.parseInt(sha256(`gallery/${key}`).slice(0, 12), 16) });
    });
  }
  const rows = { confident: best.confident.rows(), near: best.near.rows(), thrownOut: best.thrownOut.rows() };
  const [images, truthOf] = await Promise.all([picturesOf(store, Object.values(rows).flat(), placed, data.image), trueClasses(store, data.truth)]);
  const nameOf = (at: number): NamedClass => ({ class: at, name: data.classNames[at] ?? String(at) });
  const sampleOf = ({ key, shard, class: label, confidence, copies }: Candidate): LabelSample => {
    const truth = truthOf.get(key);
    return { key, shard, label: nameOf(label), confidence, copies, ...(truth === undefined ? {} : { truth: nameOf(truth) }), png: images.get(key) ?? '' };
  };
  return { iteration, confident: rows.confident.map(sampleOf), near: rows.near.map(sampleOf), thrownOut: rows.thrownOut.map(sampleOf), shards: chosen.length, shardsLabeled: labels.length };
}

function labeledIteration({ iterations, runId }: RunHistory, wanted: number): IterationHistory {
  const found = iterations.findLast(({ iteration, labels }) => iteration === wanted && labels.length > 0);
  if (found === undefined) throw new AlumnusError('USAGE', `there are no labels of iteration ${wanted}`, { where: runId });
  return found;
}

/** The same whenever they are asked for, and spread over all. */
function someOf<Item>(items: readonly Item[], nameOf: (item: Item) => string, most: number): Item[] {
  if (items.length <= most) return [...items];
  return items.map((item) => ({ item, hash: sha256(`page/${nameOf(item)}`) })).sort((a, b) => (a.hash < b.hash ? -1 : 1)).slice(0, most).map(({ item }) => item);
}

async function each<Item>(items: readonly Item[], work: (item: Item) => Promise<void>): Promise<void> {
  const left = items.values();
  await Promise.all(Array.from({ length: READS_AT_ONCE }, async () => {
    for (const item of left) await work(item);
  }));
}

const must = (ref: ObjectRef | undefined): ObjectRef => {
  invariant(ref !== undefined, 'an accepted task has its outputs');
  return ref;
};

/** By key, as PNG in base64. One shard is held at a time. */
async function picturesOf(store: ObjectStore, wanted: readonly Candidate[], placed: ReadonlyMap<string, ShardRef>, { height, width, channels }: ImageSpec): Promise<Map<string, string>> {
  const shape = { height, width, channels } as ImageShape;
  const scale = Math.min(1, PIXELS_MAX / Math.max(height, width));
  const small = { ...shape, height: Math.max(1, Math.round(height * scale)), width: Math.max(1, Math.round(width * scale)) };
  const byShard = new Map<string, Set<string>>();
  for (const { shard, key } of wanted) byShard.set(shard, (byShard.get(shard) ?? new Set()).add(key));
  const pictures = new Map<string, string>();
  for (const [name, keys] of byShard) {
    const shard = placed.get(name);
    invariant(shard?.ref !== undefined, `the shard ${name} is one of the run's`);
    for await (const { key, bytes } of shardSamples(store, { ref: shard.ref, location: shard.location })) {
      if (!keys.has(key)) continue;
      const pixels = scale === 1 ? await samplePixels({ location: shard.location }, bytes, shape, key) : await resizedImage(bytes, small, key);
      pictures.set(key, Buffer.from(encodePng(pixels, small)).toString('base64'));
    }
  }
  return pictures;
}

async function trueClasses(store: ObjectStore, truth: ObjectRef | undefined): Promise<ReadonlyMap<string, number>> {
  if (truth === undefined || truth.bytes > TRUTH_BYTES_MAX) return new Map();
  const { keys, classes } = await readLabels(store, truth);
  return new Map(keys.map((key, row) => [key, classes[row] ?? -1]));
}
