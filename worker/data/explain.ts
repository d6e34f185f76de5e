/**
 * Why a pseudo-label was kept, repeated or dropped, iteration by iteration: the label table says what the teacher said, the selection how
 * often the student sees it, and the rule of selection.ts, by which both were made, the reason. Reads only. Not for: showing it to a person.
 *
 * Cost: a sample is found by the table of origins beside its dataset, or by its key where its shard was registered; only where neither helps
 * are label tables gone through. Then of each selection the tallies are read, and label tables only of the shards that hold rows of
 * the boundary bin where the label itself lies in that bin.
 * Invariant: what is said of a label gives the number of copies that its selection holds, or nothing is said.
 */
import { AlumnusError, invariant } from '../../proto/errors.ts';
import type { IterationHistory, RunHistory } from '../../proto/gen/alumnus/v1/history.ts';
import type { ObjectRef, PartRef, ShardRef } from '../../proto/gen/alumnus/v1/task.ts';
import { loadManifest, readLabels, readOrigins, readReviewed } from '../../dataset/index.ts';
import type { IterationExplained, NamedClass, Reason, SampleExplained } from '../../proto/told.ts';
import type { ObjectStore, PartName } from '../../store/index.ts';
import { readLabelColumns, readLabelTable, type LabelsWithProbabilities } from './label-table.ts';
import { readNear } from './fingerprints.ts';
import { readLeftOut, withoutLeftOut, type LeftOutKeys } from './left-out.ts';
import { readSelection, readSelectionPart, type SelectionDocument } from './select.ts';
import { confidenceOf, logOddsOf, planSelection, SelectionCutter, standingOf, type ClassPlan } from './selection.ts';
import { addTally, binOf, decodeTally, emptyTally, tallyOf, type Tally } from './tally.ts';

/** Beginning of a registered sample's key: of its tar's digest (dataset/registered.ts). */
const REGISTERED = /^([0-9a-f]{12})_/;
/** Of a key that begins several, so many are told. */
const TOLD_MAX = 5;

export interface Explaining {
  readonly store: ObjectStore;
  readonly history: RunHistory;
  onProgress?(done: number, total: number, label: string): void;
}

/**
 * @param named a sample's key, or the beginning of one alone
 * @throws AlumnusError SAMPLE_NOT_FOUND, USAGE (several begin so), DIGEST_MISMATCH, OBJECT_NOT_FOUND, SHARD_CORRUPT, and the store's
 */
export async function explainSample(explaining: Explaining, named: string): Promise<SampleExplained> {
  const { store, history } = explaining;
  const data = history.data;
  const unlabeled = data?.unlabeled;
  invariant(data !== undefined && unlabeled !== undefined, 'a submitted run has its data');
  const { key, shard, origin } = await locate(explaining, unlabeled, named);
  const truth = data.truth === undefined ? undefined : await truthOf(store, data.truth, key);
  const nameOf = (at: number): NamedClass => ({ class: at, name: data.classNames[at] ?? String(at) });
  const reviewed = await reviewOf(store, history, key);
  const iterations: IterationExplained[] = [];
  for (const each of history.iterations) if (each.teacher !== undefined) iterations.push(await explainIteration(explaining, each, shard.name, key, nameOf));
  return {
    run: history.runId, key, shard: shard.name, dataset: unlabeled.dataset, iterations,
    ...(origin === undefined ? {} : { origin }), ...(truth === undefined ? {} : { truth: nameOf(truth) }),
    ...(reviewed === undefined ? {} : { reviewed: { ...nameOf(reviewed.class), fromIteration: reviewed.fromIteration } }),
  };
}

async function explainIteration({ store, history, onProgress }: Explaining, each: IterationHistory, shard: string, key: string, nameOf: (at: number) => NamedClass): Promise<IterationExplained> {
  const teacher = each.teacher?.sha256 ?? '';
  const taught = history.iterations.find(({ student, fineTuned }) => student?.model?.sha256 === teacher || fineTuned?.model?.sha256 === teacher);
  const common = {
    iteration: each.iteration, try: each.try, decision: each.decision, teacher: { sha256: teacher, iteration: taught?.iteration ?? 0 }, copies: 0,
    ...(each.threshold === undefined ? {} : { threshold: { ...each.threshold, logOdds: logOddsOf(each.threshold.confidence) } }),
  };
  const lost = each.lost.find((one) => one.shard === shard);
  if (lost !== undefined) return { ...common, outcome: 'lost', reason: { kind: 'shard-quarantined', why: lost.reason } };
  const tableRef = each.labels.find((one) => one.shard === shard)?.labels;
  if (tableRef === undefined) return { ...common, outcome: 'waiting', reason: { kind: 'not-yet' } };
  const table = await readLabelTable(await store.get(tableRef), tableRef.key);
  const row = table.keys.indexOf(key);
  if (row < 0) throw new AlumnusError('SHARD_CORRUPT', `the label table has no row for ${key}, which its shard holds`, { where: tableRef.key });
  const [at, logOdds] = [table.classes[row] ?? 0, table.logOdds[row] ?? NaN];
  const label = { ...nameOf(at), logOdds, confidence: confidenceOf(logOdds), probabilities: probabilitiesOf(table, row, nameOf), table: tableRef.sha256 };
  const selectionRef = each.selection?.selection;
  if (selectionRef === undefined) return { ...common, label, outcome: 'labeled', reason: { kind: 'not-yet' } };
  const document = await readSelection(store, selectionRef);
  const part = document.parts.find((one) => one.shard === shard);
  if (part?.labels !== tableRef.sha256) throw new AlumnusError('DIGEST_MISMATCH', `the selection was cut from other labels of ${shard}`, { where: selectionRef.key });
  const copies = (await readSelectionPart(store, selectionRef, part)).get(key) ?? 0;
  const selected = { ...common, label, copies, outcome: copies > 0 ? 'kept' : 'dropped', selection: selectionRef.sha256 } as const;
  const { policy } = document;
  const leftOut = await leftOutBy(store, history, document);
  const why = leftOut.get(shard)?.get(key);
  if (why !== undefined) return checked({ ...selected, outcome: 'left-out', reason: why === 'reviewed' ? { kind: 'reviewed' } : await nearOf(store, history, document, key) }, 0);
  // What is below the threshold needs no ranking.
  const told = { ...selected, threshold: { ...each.threshold, confidence: policy.threshold, measured: each.threshold?.measured, logOdds: logOddsOf(policy.threshold) } };
  if (standingOf({ labeled: 0, eligible: 0, budget: 0, copies: 0, remainder: 0, bin: -1, above: 0 }, logOdds, policy) === 'below-threshold') return checked({ ...told, reason: { kind: 'below-threshold' } }, 0);
  const { plans, merged } = await planOf(store, each, document, leftOut, (done, total) => onProgress?.(done, total, `iteration ${each.iteration}: tallies`));
  const plan = plans[at];
  invariant(plan !== undefined, `class ${at} is one of the run's`);
  const bins = merged[at] ?? new Uint32Array();
  const above = bins.reduce((sum, count, bin) => (bin > binOf(logOdds) ? sum + count : sum), 0);
  const ranking = { eligible: plan.eligible, budget: plan.budget, copies: plan.copies, oneMore: plan.remainder, rankFrom: above, rankTo: Math.min(plan.eligible, above + (bins[binOf(logOdds)] ?? 0)) - 1 };
  const standing = standingOf(plan, logOdds, policy);
  switch (standing) {
    case 'below-threshold':
    case 'no-cut':
      return checked({ ...told, ranking, reason: { kind: 'within-budget' } }, plan.copies);
    case 'above-cut':
      return checked({ ...told, ranking, reason: { kind: 'above-cut', by: 'log-odds' } }, plan.copies + 1);
    case 'below-cut':
      return checked({ ...told, ranking, reason: { kind: 'below-cut', by: 'log-odds' } }, plan.copies);
    case 'in-boundary-bin': {
      const cutter = await cutterOf(store, each, document, leftOut, plans, at, (done, total) => onProgress?.(done, total, `iteration ${each.iteration}: labels beside the cut`));
      const { rank, decidedBy, cutLogOdds } = cutter.place(at, logOdds, key);
      const expected = cutter.copies(at, logOdds, key);
      return checked({ ...told, ranking: { ...ranking, rankFrom: rank, rankTo: rank, cutLogOdds }, reason: { kind: expected > plan.copies ? 'above-cut' : 'below-cut', by: decidedBy } }, expected);
    }
  }
}

/** @throws AlumnusError DIGEST_MISMATCH: a reason that gives another number than the selection holds is none */
function checked(explained: IterationExplained, copies: number): IterationExplained {
  if (explained.copies !== copies) throw new AlumnusError('DIGEST_MISMATCH', `by its labels the sample has ${copies} copies, and the selection holds ${explained.copies}`, { where: explained.selection ?? '' });
  return explained;
}

function probabilitiesOf({ logProbabilities }: LabelsWithProbabilities, row: number, nameOf: (at: number) => NamedClass): (NamedClass & { probability: number })[] {
  return Array.from(logProbabilities[row] ?? [], (value, at) => ({ ...nameOf(at), probability: Math.exp(value) })).sort((a, b) => b.probability - a.probability || a.class - b.class);
}

const refOf = (ref: ObjectRef | undefined): ObjectRef => {
  invariant(ref !== undefined, 'an accepted label task has its table and its tally');
  return ref;
};

/** The plan by which the selection was cut: of the same tallies; what of the threshold's own bin was eligible the selection says itself. */
async function planOf(store: ObjectStore, { labels }: IterationHistory, { policy, classes, parts }: SelectionDocument, leftOut: LeftOutKeys, onProgress: (done: number, total: number) => void): Promise<{ plans: ClassPlan[]; merged: Tally }> {
  const used = new Set(parts.map(({ shard }) => shard));
  const merged = emptyTally(classes.length);
  let done = 0;
  for (const { shard, labels: table, tally } of labels) {
    const without = leftOut.get(shard);
    if (used.has(shard)) addTally(merged, without === undefined ? decodeTally(await store.get(refOf(tally)), classes.length, refOf(tally).key) : tallyOf(withoutLeftOut(await readLabelColumns(await store.get(refOf(table)), refOf(table).key), without), classes.length));
    done += 1;
    onProgress(done, labels.length);
  }
  const thresholdBin = binOf(logOddsOf(policy.threshold));
  const inThresholdBin = classes.map(({ eligible }, at) => eligible - (merged[at]?.reduce((sum, count, bin) => (bin > thresholdBin ? sum + count : sum), 0) ?? 0));
  return { plans: planSelection(merged, inThresholdBin, policy), merged };
}

/** Holds the boundary bin's rows of the one class. */
async function cutterOf(store: ObjectStore, { labels }: IterationHistory, { policy, classes, parts }: SelectionDocument, leftOut: LeftOutKeys, plans: readonly ClassPlan[], at: number, onProgress: (done: number, total: number) => void): Promise<SelectionCutter> {
  const cutter = new SelectionCutter(plans.map((plan, other) => (other === at ? plan : { ...plan, remainder: 0, bin: -1 })), policy);
  const used = new Set(parts.map(({ shard }) => shard));
  let done = 0;
  for (const { shard, labels: table, tally } of labels) {
    if (used.has(shard) && cutter.needs(decodeTally(await store.get(refOf(tally)), classes.length, refOf(tally).key))) cutter.add(withoutLeftOut(await readLabelColumns(await store.get(refOf(table)), refOf(table).key), leftOut.get(shard)));
    done += 1;
    onProgress(done, labels.length);
  }
  return cutter;
}

/** What the selection took nothing of: the tables that it names. */
const leftOutBy = (store: ObjectStore, { nearDuplicates, reviews, data }: RunHistory, { leftOut }: SelectionDocument): Promise<LeftOutKeys> =>
  readLeftOut(store, leftOut === undefined ? undefined : {
    nearDuplicates: nearDuplicates.filter(({ sha256 }) => leftOut.nearDuplicates.includes(sha256)),
    reviewed: [data?.labeled?.reviewed, ...reviews.map(({ reviewed }) => reviewed)].find((ref) => ref !== undefined && ref.sha256 === leftOut.reviewed),
  });

async function nearOf(store: ObjectStore, { nearDuplicates }: RunHistory, { leftOut }: SelectionDocument, key: string): Promise<Reason> {
  for (const ref of nearDuplicates) {
    if (leftOut?.nearDuplicates.includes(ref.sha256) !== true) continue;
    const found = (await readNear(store, ref)).find((each) => each.key === key);
    if (found !== undefined) return { kind: 'near-duplicate', part: found.part, of: found.of, distance: found.distance, correlation: found.correlation };
  }
  throw new AlumnusError('SHARD_CORRUPT', 'no table of near-duplicates has the sample that it leaves out', { where: key });
}

/** What a person said last, and since when. */
async function reviewOf(store: ObjectStore, { reviews, data }: RunHistory, key: string): Promise<{ class: number; fromIteration: number } | undefined> {
  let told: { class: number; fromIteration: number } | undefined;
  // Each table has what those before it have.
  for (const { reviewed, fromIteration } of [{ reviewed: data?.labeled?.reviewed, fromIteration: 0 }, ...reviews]) {
    const found = reviewed === undefined ? undefined : (await readReviewed(store, reviewed)).find((each) => each.key === key);
    if (found !== undefined && found.class !== told?.class) told = { class: found.class, fromIteration };
  }
  return told;
}

/** Undefined where the set does not know it: some folders have classes, others none. */
async function truthOf(store: ObjectStore, ref: ObjectRef, key: string): Promise<number | undefined> {
  const { keys, classes } = await readLabels(store, ref);
  const row = keys.indexOf(key);
  return row < 0 ? undefined : classes[row];
}

interface Located {
  readonly key: string;
  readonly shard: ShardRef;
  readonly origin?: string | undefined;
}

async function locate(explaining: Explaining, unlabeled: PartRef, named: string): Promise<Located> {
  const { store } = explaining;
  if (named === '') throw new AlumnusError('USAGE', 'a sample is named by its key');
  const [, tar] = REGISTERED.exec(named) ?? [];
  const registered = tar === undefined ? undefined : unlabeled.shards.find(({ location, ref }) => location !== undefined && ref?.sha256.startsWith(tar) === true);
  if (registered !== undefined) {
    const keys = await keysOfShard(explaining, registered.name);
    // Lost in every iteration: nothing tells its keys, and nothing more than that it is lost is told of it.
    return { key: keys === undefined ? named : one(named, keys.filter((key) => key.startsWith(named))) ?? await nowhere(explaining, named), shard: registered };
  }
  const origins = await originsOf(store, unlabeled);
  if (origins !== undefined) {
    const keys = [...origins.keys()];
    const key = one(named, keys.filter((each) => each.startsWith(named)));
    if (key !== undefined) return { key, shard: shardAt(unlabeled, keys.indexOf(key)), origin: origins.get(key) };
    if (keys.length === unlabeled.samples) return nowhere(explaining, named);
  }
  return await search(explaining, unlabeled, named) ?? nowhere(explaining, named);
}

/** @throws AlumnusError USAGE */
function one(named: string, found: readonly string[]): string | undefined {
  if (found.length <= 1 || found.includes(named)) return found.find((key) => key === named) ?? found[0];
  throw new AlumnusError('USAGE', `${found.length} samples begin so: ${found.slice(0, TOLD_MAX).join(', ')}${found.length > TOLD_MAX ? ', …' : ''}`, { where: named });
}

/** The table of origins has the order of the shards. */
function shardAt({ shards }: PartRef, row: number): ShardRef {
  let before = 0;
  for (const shard of shards) {
    before += shard.samples;
    if (row < before) return shard;
  }
  throw new AlumnusError('SHARD_CORRUPT', `the table of origins has a row ${row}, and the shards have ${before} samples`);
}

/** By key, in the order of the shards; undefined where the dataset has none, or is no more what the run was given. */
async function originsOf(store: ObjectStore, { dataset, manifestSha256, samples }: PartRef): Promise<ReadonlyMap<string, string> | undefined> {
  const [reference = '', name] = dataset.split('#');
  const loaded = await loadManifest(store, reference).catch((thrown: unknown) => {
    if (thrown instanceof AlumnusError && !thrown.retryable) return undefined;
    throw thrown;
  });
  // Any part may be taken as a run's unlabeled one.
  const part = loaded?.manifest.parts[name as PartName];
  if (loaded?.digest !== manifestSha256 || part?.origins === undefined || part.samples !== samples) return undefined;
  return readOrigins(store, part.origins);
}

/** Keys of a shard, of any iteration's label table. */
async function keysOfShard({ store, history }: Explaining, shard: string): Promise<readonly string[] | undefined> {
  const ref = history.iterations.flatMap(({ labels }) => labels.find((each) => each.shard === shard)?.labels ?? [])[0];
  return ref === undefined ? undefined : (await readLabelColumns(await store.get(ref), ref.key)).keys;
}

/** Goes through label tables. A whole key ends it where it is found; the beginning of one is looked for in all, since it may begin several. */
async function search(explaining: Explaining, { shards }: PartRef, named: string): Promise<Located | undefined> {
  const found = new Map<string, ShardRef>();
  for (const [at, shard] of shards.entries()) {
    for (const key of (await keysOfShard(explaining, shard.name)) ?? []) {
      if (key === named) return { key, shard };
      if (key.startsWith(named)) found.set(key, shard);
    }
    explaining.onProgress?.(at + 1, shards.length, 'looking for the sample');
  }
  const key = one(named, [...found.keys()]);
  const shard = key === undefined ? undefined : found.get(key);
  return key === undefined || shard === undefined ? undefined : { key, shard };
}

/** @throws AlumnusError SAMPLE_NOT_FOUND, always: it says where the sample is instead, where another part has it */
async function nowhere({ store, history }: Explaining, named: string): Promise<never> {
  const { labeled, validation, test } = history.data ?? {};
  for (const [part, what] of [[labeled, 'labeled: its own label taught every model, and no pseudo-label was written for it'], [validation, 'for validation: no training saw it'], [test, 'for test: no training saw it']] as const) {
    if (part?.labels === undefined) continue;
    const key = (await readLabels(store, part.labels)).keys.find((each) => each.startsWith(named));
    if (key !== undefined) throw new AlumnusError('SAMPLE_NOT_FOUND', `the sample ${key} is ${what}`, { where: history.runId });
  }
  const lost = [...new Set(history.iterations.flatMap((each) => each.lost.map(({ shard }) => shard)))];
  throw new AlumnusError('SAMPLE_NOT_FOUND', `no sample of the run's data has a key that begins with ${named}${lost.length === 0 ? '' : `; it may lie in a shard that was quarantined: ${lost.slice(0, TOLD_MAX).join(', ')}`}`, { where: history.runId });
}
