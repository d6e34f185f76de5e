/**
 * What a run leaves behind, read from its home once every process is gone: the journal's facts and the objects they name.
 * Nothing here is taken from a process's word. `problemsOf` states what must hold of any run that succeeded, disturbed or not.
 */
import { join } from 'node:path';
import { openEmbedded } from '../../coordinator/journal/index.ts';
import { openParquet } from '../../dataset/index.ts';
import type { Event, RunData } from '../../proto/gen/alumnus/v1/events.ts';
import { namedOutputs } from '../../proto/outputs.ts';
import { isOfLabeled } from '../../proto/subjects.ts';
import { Stage, type ObjectRef, type SelectResult, type TaskResult } from '../../proto/gen/alumnus/v1/task.ts';
import { openStore, sha256, type ObjectStore } from '../../store/index.ts';
import { readSelection, readSelectionPart, type SelectionDocument } from '../../worker/data/index.ts';

type Result = NonNullable<TaskResult['result']>;

export interface Completion {
  readonly taskId: string;
  readonly iteration: number;
  readonly stage: Stage;
  readonly subject: string;
  readonly workerId: string;
  readonly result: Result;
}

export interface Failure {
  readonly taskId: string;
  readonly workerId: string;
  readonly code: string;
}

export interface Evidence {
  readonly runId: string;
  readonly events: readonly Event[];
  readonly data: RunData;
  readonly completions: readonly Completion[];
  readonly failures: readonly Failure[];
  readonly store: ObjectStore;
}

/** All facts, in order. The coordinator must be gone: to read is to lead. */
export async function readEvents(home: string): Promise<Event[]> {
  const journal = await openEmbedded(join(home, 'journal'));
  try {
    const events: Event[] = [];
    for await (const group of journal.read(0)) events.push(...group.events);
    return events;
  } finally {
    await journal.close();
  }
}

export const evidenceOf = async (home: string, runId: string): Promise<Evidence> => evidenceIn(await readEvents(home), await openStore(`file://${join(home, 'store')}`), runId);

/** @param all every fact of the journal, in order. */
export function evidenceIn(all: readonly Event[], store: ObjectStore, runId: string): Evidence {
  const events = all.filter((event) => event.runId === runId);
  const [first] = events;
  if (first?.fact?.$case !== 'runSubmitted' || first.fact.value.data === undefined) throw new Error(`the journal does not begin with the submission of ${runId}`);
  const completions: Completion[] = [];
  const failures: Failure[] = [];
  for (const { fact } of events) {
    if (fact?.$case === 'taskCompleted' && fact.value.place !== undefined && fact.value.result?.result !== undefined) {
      const { taskId, iteration, stage, subject } = fact.value.place;
      completions.push({ taskId, iteration, stage, subject, workerId: fact.value.workerId, result: fact.value.result.result });
    }
    if (fact?.$case === 'taskFailed' && fact.value.place !== undefined) failures.push({ taskId: fact.value.place.taskId, workerId: fact.value.workerId, code: fact.value.code });
  }
  return { runId, events, data: first.fact.value.data, completions, failures, store };
}

export function selectResult(evidence: Evidence, iteration: number): SelectResult | undefined {
  const found = evidence.completions.find((each) => each.result.$case === 'select' && each.iteration === iteration)?.result;
  return found?.$case === 'select' ? found.value : undefined;
}

/** What two runs of one id must agree on: digests of every selection, model and table, by their place in the run. */
export function digestsOf(evidence: Evidence): Record<string, string> {
  const digests: Record<string, string> = {};
  for (const { iteration, subject, result } of evidence.completions) {
    for (const [name, ref] of namedOutputs(result)) digests[`${iteration}/${subject}/${name}`] = ref?.sha256 ?? '';
  }
  return Object.fromEntries(Object.entries(digests).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** The label tables of the unlabeled part that count in an iteration; one that keeps its teacher keeps its labels. */
export function labelsIn(evidence: Evidence, iteration: number): Map<string, ObjectRef> {
  for (let at = iteration; at > 0; at -= 1) {
    const tables = evidence.completions.flatMap((each): [string, ObjectRef][] => (each.iteration === at && each.result.$case === 'label' && !isOfLabeled(each) && each.result.value.labels !== undefined ? [[each.subject, each.result.value.labels]] : []));
    if (tables.length > 0) return new Map(tables);
  }
  return new Map();
}

export const iterationsWithSelection = (evidence: Evidence): number[] => evidence.completions.flatMap((each) => (each.result.$case === 'select' ? [each.iteration] : []));

/** Every reference anywhere in a value. */
export function refsIn(value: unknown): ObjectRef[] {
  if (typeof value !== 'object' || value === null) return [];
  if ('key' in value && 'sha256' in value && 'bytes' in value) return [value as ObjectRef];
  return Object.values(value).flatMap(refsIn);
}

/** What the table says about itself. */
export const tableMetadata = async (store: ObjectStore, ref: ObjectRef): Promise<Readonly<Record<string, string>>> => openParquet(await store.get(ref), ref.key).metadata;

export async function selectionOf(evidence: Evidence, iteration: number): Promise<{ ref: ObjectRef; document: SelectionDocument } | undefined> {
  const ref = selectResult(evidence, iteration)?.selection;
  return ref === undefined ? undefined : { ref, document: await readSelection(evidence.store, ref) };
}

/**
 * What is wrong with what a finished run left; nothing in a good one.
 *  1. No task is completed twice, and a label's shard no more than once in an iteration.
 *  2. Each shard of an iteration that labeled is completed or quarantined.
 *  3. Each object that a fact names is in the store and has its digest; so have the weights, files and parts that those name.
 *  4. A selection names the accepted tables, each once, and no key twice.
 */
export async function problemsOf(evidence: Evidence): Promise<string[]> {
  const { events, data, completions, store } = evidence;
  const problems: string[] = [];

  const times = new Map<string, number>();
  const count = (what: string): void => void times.set(what, (times.get(what) ?? 0) + 1);
  for (const each of completions) {
    count(`task ${each.taskId}`);
    if (each.result.$case === 'label') count(`label of ${each.iteration}/${each.subject}`);
  }
  for (const [what, many] of times) if (many > 1) problems.push(`${what} was completed ${many} times`);

  const shards = (data.unlabeled?.shards ?? []).map((shard) => shard.name);
  const quarantined = new Set(events.flatMap(({ fact }) => (fact?.$case === 'taskQuarantined' && fact.value.place?.stage === Stage.LABEL ? [fact.value.place.subject] : [])));
  const refs = new Map<string, ObjectRef>();
  for (const ref of refsIn(events)) refs.set(`${ref.key} ${ref.sha256}`, ref);
  for (const { result, iteration } of completions) {
    const trained = result.$case === 'train' ? result.value : result.$case === 'merge' ? result.value.trained : undefined;
    if (trained?.model !== undefined) {
      const model = JSON.parse(Buffer.from(await store.get(trained.model)).toString('utf8')) as { weights: ObjectRef };
      refs.set(model.weights.key, model.weights);
    }
    if (result.$case === 'import' && result.value.model !== undefined) {
      const { files } = JSON.parse(Buffer.from(await store.get(result.value.model)).toString('utf8')) as { files: { ref: ObjectRef }[] };
      for (const { ref } of files) refs.set(ref.key, ref);
    }
    if (result.$case !== 'select' || result.value.selection === undefined) continue;
    const accepted = labelsIn(evidence, iteration);
    for (const shard of shards) if (!accepted.has(shard) && !quarantined.has(shard)) problems.push(`iteration ${iteration}: ${shard} was neither labeled nor quarantined`);
    const document = await readSelection(store, result.value.selection);
    const wanted = [...accepted].map(([shard, ref]) => `${shard} ${ref.sha256}`).sort();
    const named = document.parts.map((part) => `${part.shard} ${part.labels}`).sort();
    if (wanted.join('\n') !== named.join('\n')) problems.push(`iteration ${iteration}: the selection names ${named.join(', ')} where ${wanted.join(', ')} were accepted`);
    const keys = new Set<string>();
    for (const part of document.parts) {
      for (const key of (await readSelectionPart(store, result.value.selection, part)).keys()) {
        if (keys.has(key)) problems.push(`iteration ${iteration}: the selection uses ${key} twice`);
        keys.add(key);
      }
    }
    if (keys.size !== result.value.kept) problems.push(`iteration ${iteration}: the selection holds ${keys.size} labels, its result says ${result.value.kept}`);
  }
  for (const ref of refs.values()) {
    try {
      const bytes = await store.get(ref);
      if (sha256(bytes) !== ref.sha256) problems.push(`${ref.key} has other bytes than its digest says`);
    } catch (thrown) {
      problems.push(`${ref.key}: ${thrown instanceof Error ? thrown.message : String(thrown)}`);
    }
  }
  return problems;
}
