/** Books of a teacher's labels: I3 and I4 of checker.ts, from the facts and from what workers are handed; who teaches and what is quarantined is the fold's to say. */
import { isDeepStrictEqual } from 'node:util';
import type { LabeledShard, Task, TaskResult } from '../../../proto/gen/alumnus/v1/task.ts';
import { labeledSubject } from '../../../proto/subjects.ts';
import type { RunState } from '../../../coordinator/run/index.ts';
import { must } from '../violation.ts';
import type { World } from '../world.ts';
import { trainingOf } from './training.ts';

const bookKey = (runId: string, teacher: string): string => `${runId}/${teacher}`;
const byShard = ([a]: readonly [string, string], [b]: readonly [string, string]): number => (a < b ? -1 : 1);
const digests = (shards: readonly LabeledShard[], subjectOf = (shard: string): string => shard): [string, string][] => shards.map(({ shard, labels }) => [subjectOf(shard), labels?.sha256 ?? '']);

export class Labels {
  readonly #world: World;
  /** Digests of those that were accepted, by run, teacher, and the subject of their task: a labeled shard may have the name of an unlabeled one. */
  readonly #books = new Map<string, Map<string, string>>();

  constructor(world: World) {
    this.#world = world;
  }

  /** They begin again with an earlier end of the journal. */
  clear(): void {
    this.#books.clear();
  }

  of(runId: string, teacher: string): ReadonlyMap<string, string> {
    return this.#books.get(bookKey(runId, teacher)) ?? new Map<string, string>();
  }

  accepted({ runId, taskId, subject, outputPrefix, spec }: Task, result: TaskResult['result']): void {
    if (result?.$case !== 'label' || spec?.$case !== 'label') return;
    const key = bookKey(runId, spec.value.teacher?.sha256 ?? '');
    const labels = this.#books.get(key) ?? new Map<string, string>();
    this.#books.set(key, labels);
    must(!labels.has(subject), `shard ${subject} has two accepted labels by one teacher in ${runId}`);
    must(result.value.labels?.key.startsWith(`${outputPrefix}/`) === true, `${taskId} was completed with labels of another task: ${result.value.labels?.key}`);
    labels.set(subject, result.value.labels?.sha256 ?? '');
  }

  handedOut(task: Task, state: RunState): void {
    if (task.spec?.$case === 'select') this.#reads(task, state, task.spec.value.shards);
    const train = trainingOf(task);
    if (train?.selection !== undefined) this.#reads(task, state, train.pseudoLabels);
    if (train?.distill === undefined) return;
    const teacher = state.iterations[task.iteration]?.teacher?.sha256 ?? '';
    must(train.distill.teacher?.sha256 === teacher, `${task.taskId} distills ${train.distill.teacher?.sha256}, and ${teacher} teaches`);
    this.#world.count(`branch: a student is distilled (${train.distill.labels.length > 0 ? 'stored' : 'online'})`);
    if (train.distill.labels.length === 0) return;
    const accepted = this.of(task.runId, teacher);
    const wanted = (train.labeled?.shards ?? []).map(({ name }): [string, string] => [labeledSubject(name), accepted.get(labeledSubject(name)) ?? 'missing']);
    must(isDeepStrictEqual(digests(train.distill.labels, labeledSubject), wanted), `${task.taskId} distills other labels of the labeled shards than were accepted`);
  }

  #reads(task: Task, { iterations, data }: RunState, given: readonly LabeledShard[]): void {
    const { teacher, quarantined } = iterations[task.iteration] ?? {};
    const unlabeled = new Set(data.unlabeled?.shards.map(({ name }) => name));
    const accepted = [...this.of(task.runId, teacher?.sha256 ?? '')].filter(([subject]) => unlabeled.has(subject) && quarantined?.has(subject) !== true).sort(byShard);
    must(isDeepStrictEqual(digests(given), accepted), `${task.taskId} reads ${given.length} shards, ${accepted.length} were accepted, or their digests differ`);
    must(given.length + (quarantined?.size ?? 0) === unlabeled.size, `${task.taskId} leaves out a shard that was not quarantined`);
  }
}
