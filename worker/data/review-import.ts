/**
 * A person's labels, from the file to labeled images: each is looked for where the file says it lies, what may not be reviewed is refused, all of it at once, and the images are copied behind
 * the labeled part of the run, or of a dataset's new version. Nothing counts before somebody names what is written here. Holds the reviewed images, and one shard.
 */
import { appendReviewed, conformImage, contentKey, loadManifest, readLabels, readReviewed, referenceOf, shardSamples, writeReviewed, type ReviewedSample } from '../../dataset/index.ts';
import { AlumnusError, invariant } from '../../proto/errors.ts';
import type { RunHistory } from '../../proto/gen/alumnus/v1/history.ts';
import type { ObjectRef, ShardRef } from '../../proto/gen/alumnus/v1/task.ts';
import type { ReviewAnswer } from '../../proto/told.ts';
import { paths, type ObjectStore } from '../../store/index.ts';
import { readNear } from './fingerprints.ts';

/** Their images are held. */
const ANSWERS_MAX = 100_000;
/** Digits of a shard's digest in its name. */
const NAME_DIGITS = 12;

/** A dataset's name; undefined: the run itself. */
export type ReviewDestination = string | undefined;

export interface ReviewImport {
  readonly store: ObjectStore;
  readonly history: RunHistory;
  readonly answers: readonly ReviewAnswer[];
  readonly dataset: ReviewDestination;
  onProgress?(done: number, total: number, label: string): void;
}

/** What was written. For the run: what its coordinator is told. */
export type Reviewed =
  | { readonly problems: readonly string[] }
  | { readonly review: { readonly shards: readonly ShardRef[]; readonly labels: ObjectRef; readonly reviewed: ObjectRef; readonly samples: number; readonly behindSha256: string }; readonly images: number; readonly changed: number }
  | { readonly dataset: string; readonly manifest: string; readonly images: number; readonly changed: number };

/** Which lines cannot be taken, a sentence each; or what was written. @throws AlumnusError USAGE, DATASET_NOT_FOUND, and the store's */
export async function importReview(request: ReviewImport): Promise<Reviewed> {
  const { store, history, answers, dataset } = request;
  const { data } = history;
  invariant(data?.labeled?.labels !== undefined && data.image !== undefined, 'a submitted run has its data');
  if (answers.length > ANSWERS_MAX) throw new AlumnusError('USAGE', `the file gives ${answers.length} labels, and at most ${ANSWERS_MAX} are taken at once`);
  const problems = new Map<number, string>();
  const wanted = checkedAnswers(answers, data.classNames, problems);
  await refuseWhatJudges(request, wanted, problems);
  const samples = await findImages(request, [...wanted.values()].filter(({ line }) => !problems.has(line)), problems);
  if (dataset !== undefined) await refuseWhatJudgesIn(store, dataset, samples, wanted, problems);
  if (problems.size > 0) return { problems: [...problems].sort(([a], [b]) => a - b).map(([line, problem]) => `line ${line}: ${problem}`) };
  if (dataset !== undefined) {
    const { channels, ...sides } = data.image;
    invariant(channels === 1 || channels === 3, 'images are gray or RGB');
    const { manifest, digest, added, changed } = await appendReviewed(store, dataset, samples, { classes: data.classNames, image: { ...sides, channels }, origin: ({ key, shard }) => `review of ${history.runId}: ${shard}/${key}` });
    return { dataset: referenceOf(manifest), manifest: digest, images: added, changed };
  }
  const last = history.reviews.at(-1);
  const labels = last?.labels ?? data.labeled.labels;
  const part = await writeReviewed(store, paths.runReviewed(history.runId), { labels, reviewed: last?.reviewed ?? data.labeled.reviewed }, samples, (_, ref) => `reviewed-${ref.sha256.slice(0, NAME_DIGITS)}`);
  return { review: { shards: part.shards, labels: part.labels, reviewed: part.reviewed, samples: part.samples, behindSha256: labels.sha256 }, images: part.samples, changed: part.changed };
}

interface Wanted extends ReviewAnswer {
  readonly class: number;
}

/** By key. The same answer twice is one. */
function checkedAnswers(answers: readonly ReviewAnswer[], classNames: readonly string[], problems: Map<number, string>): Map<string, Wanted> {
  const wanted = new Map<string, Wanted>();
  for (const answer of answers) {
    const label = classNames.indexOf(answer.label);
    const before = wanted.get(answer.key);
    if (label < 0) problems.set(answer.line, `there is no class "${answer.label}"; there are ${classNames.slice(0, 20).join(', ')}${classNames.length > 20 ? ', …' : ''}`);
    else if (before !== undefined && before.class !== label) problems.set(answer.line, `${answer.key} is ${answer.label} here, and ${before.label} in line ${before.line}`);
    else if (before === undefined) wanted.set(answer.key, { ...answer, class: label });
  }
  return wanted;
}

/** Images that judge, those that look like them, and labeled ones, which are not the run's unlabeled part's. */
async function refuseWhatJudges({ store, history }: ReviewImport, wanted: ReadonlyMap<string, Wanted>, problems: Map<number, string>): Promise<void> {
  const refuse = (key: string, why: string): void => {
    const answer = wanted.get(key);
    if (answer !== undefined && !problems.has(answer.line)) problems.set(answer.line, `${key} ${why}`);
  };
  const { validation, test, labeled } = history.data ?? {};
  for (const [part, ref] of [['validation', validation?.labels], ['test', test?.labels]] as const) {
    if (ref === undefined) continue;
    for (const key of (await readLabels(store, ref)).keys) refuse(key, `is an image of ${part}: it judges, and nothing may learn from it`);
  }
  for (const ref of history.nearDuplicates) {
    for (const { key, part, of } of await readNear(store, ref)) refuse(key, `looks like ${of} of ${part}, which judges: nothing may learn from it`);
  }
  if (labeled?.labels === undefined) return;
  const reviewed = new Set(labeled.reviewed === undefined ? [] : (await readReviewed(store, labeled.reviewed)).map(({ key }) => key));
  for (const key of (await readLabels(store, labeled.labels)).keys) if (!reviewed.has(key)) refuse(key, 'is a labeled image of the run, not one of its unlabeled part');
}

/** The dataset may have other parts that judge than the run: images of theirs are told by what they show, whatever they are called in the run. */
async function refuseWhatJudgesIn(store: ObjectStore, dataset: string, samples: readonly FoundSample[], wanted: ReadonlyMap<string, Wanted>, problems: Map<number, string>): Promise<void> {
  const { manifest } = await loadManifest(store, dataset);
  for (const part of ['validation', 'test'] as const) {
    const labels = manifest.parts[part]?.labels;
    if (labels === undefined) continue;
    const judging = new Set((await readLabels(store, labels)).keys);
    for (const { key, content } of samples) {
      const line = wanted.get(key)?.line;
      if (line !== undefined && (judging.has(content) || judging.has(key)) && !problems.has(line)) problems.set(line, `${key} is an image of ${part} of ${referenceOf(manifest)}: it judges, and nothing may learn from it`);
    }
  }
}

interface FoundSample extends ReviewedSample {
  /** The key that import gives it. */
  readonly content: string;
}

/** The images, in the shards that the file names. */
async function findImages({ store, history, onProgress }: ReviewImport, wanted: readonly Wanted[], problems: Map<number, string>): Promise<FoundSample[]> {
  const { data } = history;
  const shape = data?.image;
  invariant(shape !== undefined && (shape.channels === 1 || shape.channels === 3), 'a submitted run has its images\' shape');
  const placed = new Map((data?.unlabeled?.shards ?? []).map((shard) => [shard.name, shard]));
  const byShard = new Map<string, Map<string, Wanted>>();
  for (const each of wanted) {
    const shard = placed.get(each.shard);
    if (shard?.ref === undefined) problems.set(each.line, `the run's unlabeled part has no shard "${each.shard}"`);
    else byShard.set(each.shard, (byShard.get(each.shard) ?? new Map<string, Wanted>()).set(each.key, each));
  }
  const samples: FoundSample[] = [];
  for (const [done, [name, inShard]] of [...byShard].sort(([a], [b]) => (a < b ? -1 : 1)).entries()) {
    const shard = placed.get(name);
    invariant(shard?.ref !== undefined, 'only shards of the run are looked through');
    for await (const { key, extension, bytes } of shardSamples(store, { ref: shard.ref, location: shard.location })) {
      const answer = inShard.get(key);
      if (answer === undefined) continue;
      inShard.delete(key);
      // Registered images have any shape; a shard of ours holds the dataset's.
      const image = await conformImage(bytes, extension, { height: shape.height, width: shape.width, channels: shape.channels }, `${name}/${key}`);
      samples.push({ key, class: answer.class, shard: name, extension: image.extension, bytes: image.bytes, content: contentKey(shape, image.pixels) });
    }
    for (const { key, line } of inShard.values()) problems.set(line, `there is no ${key} in ${name}`);
    onProgress?.(done + 1, byShard.size, 'looking for the images');
  }
  return samples;
}
