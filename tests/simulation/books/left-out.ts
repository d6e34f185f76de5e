/** Books of what selections leave out, near-duplicates of images that judge and images that a person gave a label to: I17 and I18 of checker.ts, from the facts and from what workers are handed. */
import { isDeepStrictEqual } from 'node:util';
import type { LabelsReviewed } from '../../../proto/gen/alumnus/v1/events.ts';
import type { ObjectRef, SelectSpec, ShardRef, Task, TaskResult, TrainSpec } from '../../../proto/gen/alumnus/v1/task.ts';
import { besideOf, comparisonSubject, fingerprintSubject, labeledSubject } from '../../../proto/subjects.ts';
import type { RunState } from '../../../coordinator/run/index.ts';
import { must } from '../violation.ts';
import type { World } from '../world.ts';
import { trainingOf } from './training.ts';

interface Book {
  /** Digest of the fingerprints of what judges. */
  judging?: string;
  /** By the task's subject: the table of near-duplicates, undefined where a shard has none. */
  readonly looked: Map<string, ObjectRef | undefined>;
  readonly reviews: LabelsReviewed[];
}

export class LeftOut {
  readonly #world: World;
  readonly #books = new Map<string, Book>();

  constructor(world: World) {
    this.#world = world;
  }

  /** They begin again with an earlier end of the journal. */
  clear(): void {
    this.#books.clear();
  }

  #book(runId: string): Book {
    const book = this.#books.get(runId) ?? { looked: new Map(), reviews: [] };
    this.#books.set(runId, book);
    return book;
  }

  accepted({ runId, taskId, subject, spec }: Task, result: TaskResult['result']): void {
    if (result?.$case !== 'fingerprint' || spec?.$case !== 'fingerprint') return;
    const book = this.#book(runId);
    if (spec.value.shard === undefined) {
      must(book.judging === undefined, `what judges in ${runId} was fingerprinted twice`);
      book.judging = result.value.fingerprints?.sha256 ?? '';
      return;
    }
    must(spec.value.against?.sha256 === book.judging, `${taskId} was compared with other fingerprints than were accepted`);
    must(!book.looked.has(subject), `${subject} was looked through twice in ${runId}`);
    book.looked.set(subject, result.value.near);
    this.#world.count(`branch: a shard is looked through (${result.value.near === undefined ? 'nothing is near' : 'near-duplicates'})`);
  }

  reviewed(runId: string, review: LabelsReviewed, before: RunState | undefined): void {
    const { reviews } = this.#book(runId);
    const { fromIteration, labels, shards, samples } = review;
    must(fromIteration === (before?.iteration ?? 0) + 1 && fromIteration <= (before?.recipe.rounds ?? 0), `labels were taken in iteration ${before?.iteration} of ${runId}, to be learned from ${fromIteration} on`);
    must(!reviews.some((each) => each.labels?.sha256 === labels?.sha256), `the labels of ${shards.map(({ name }) => name).join(', ')} were taken twice in ${runId}`);
    must(shards.reduce((sum, each) => sum + each.samples, 0) === samples, `the labels of ${samples} images were taken in ${runId}, and its shards hold others`);
    reviews.push(review);
    this.#world.count('branch: a person\'s labels are taken');
  }

  /** The operator is told that labels count: they are written by then. */
  acknowledged(runId: string, labels: string): void {
    must(this.#book(runId).reviews.some((each) => each.labels?.sha256 === labels), `a person was told that labels count in ${runId}, and they are not written`);
  }

  handedOut(task: Task, state: RunState): void {
    if (task.spec?.$case === 'select') this.#selects(task, task.spec.value, state);
    const train = trainingOf(task);
    if (train !== undefined) this.#learns(task, train, state);
  }

  /** Those that an iteration learns from. */
  #reviewsOf(runId: string, iteration: number): LabelsReviewed[] {
    return this.#book(runId).reviews.filter(({ fromIteration }) => fromIteration <= iteration);
  }

  #selects({ taskId, runId, iteration }: Task, { shards, leftOut }: SelectSpec, { recipe, data }: RunState): void {
    const { looked } = this.#book(runId);
    if (recipe.data.near_duplicates !== undefined) {
      const subjects = [...shards.map(({ shard }) => shard), ...(data.labeled?.shards ?? []).map(({ name }) => labeledSubject(name))].map(fingerprintSubject);
      must(subjects.every((subject) => looked.has(subject)), `${taskId} selects from ${subjects.filter((subject) => !looked.has(subject)).join(', ')}, which nobody looked through`);
    }
    const near = (data.unlabeled?.shards ?? []).flatMap(({ name }) => looked.get(fingerprintSubject(name))?.sha256 ?? []);
    must(isDeepStrictEqual((leftOut?.nearDuplicates ?? []).map(({ sha256 }) => sha256), near), `${taskId} leaves out ${leftOut?.nearDuplicates.length ?? 0} tables of near-duplicates, ${near.length} were accepted, or their digests differ`);
    if (near.length > 0) this.#world.count('branch: a selection leaves out near-duplicates');
    const last = this.#reviewsOf(runId, iteration).at(-1);
    must(leftOut?.reviewed?.sha256 === last?.reviewed?.sha256, `${taskId} selects with a teacher's labels from images that a person gave a label to`);
    if (last !== undefined) this.#world.count('branch: a selection leaves out images with a person\'s label');
  }

  /** Each reviewed image once, and by its person's label; of who learns from labeled images alone, none: it may have begun before. */
  #learns(task: Task, { labeled }: TrainSpec, { recipe, data }: RunState): void {
    const beside = besideOf(task);
    const alone = beside === 'control' || recipe.comparisons?.some(({ name, labels }) => labels === 'none' && comparisonSubject(name) === beside) === true;
    const reviews = alone ? [] : this.#reviewsOf(task.runId, task.iteration);
    const digests = (shards: readonly ShardRef[]): (string | undefined)[] => shards.map(({ ref }) => ref?.sha256);
    const submitted = data.labeled?.shards ?? [];
    must(isDeepStrictEqual(digests(labeled?.shards ?? []), digests([...submitted, ...reviews.flatMap(({ shards }) => shards)])), `${task.taskId} learns from other labeled shards than were submitted and reviewed until then`);
    must(labeled?.labels?.sha256 === (reviews.at(-1)?.labels ?? data.labeled?.labels)?.sha256, `${task.taskId} learns from other labels than the last that were brought`);
    must(labeled?.samples === labeled?.shards.reduce((sum, { samples }) => sum + samples, 0), `${task.taskId} counts ${labeled?.samples} labeled images, and its shards hold others`);
    if (reviews.length > 0) this.#world.count('branch: a student learns from a person\'s labels');
  }
}
