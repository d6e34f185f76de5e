/**
 * Garbage collection: what lies in the object store and nobody needs any more. Marks from the journal's runs, their manifests and
 * the datasets' manifests, and sweeps what is not marked. Only a leader may: nobody else knows which tasks are open.
 *
 * Invariants:
 *  1. Nothing younger than GRACE_MS beyond a lease is touched, by the store's clock, nor what the store tells no time of: it may be an output
 *     whose completion is on its way, or a dataset that is being imported.
 *  2. Of a run that is not in the journal nothing is touched: the bucket may be all that is left of it (`alumnus reconcile`).
 *  3. What an accepted task wrote is kept, but by rule: labels of iterations before the last `keepLabels` of runs that ended (default: all are
 *     kept, so that every label can be traced), and checkpoints of trainings that are done. Models, selections, evaluations and records stay.
 *  4. Of a training that is not done its newest CHECKPOINTS_MAX checkpoints are kept.
 *  5. What can't be read stops the sweep before anything is deleted: a manifest that is unread would mark nothing.
 */
import { AlumnusError } from '../proto/errors.ts';
import type { CollectGarbageResponse, GarbageView } from '../proto/gen/alumnus/v1/operator.ts';
import { RunManifest, Snapshot } from '../proto/gen/alumnus/v1/record.ts';
import { Stage } from '../proto/gen/alumnus/v1/task.ts';
import { paths, type ObjectStore } from '../store/index.ts';
import type { Leader } from './leader.ts';
import { isEnded, openTasks, type RunState } from './run/index.ts';

/** Beyond the longest lease: a worker that was cut off has given up its work long before. */
export const GRACE_MS = 24 * 3_600_000;
/** An import of tens of terabytes writes its manifest last. */
export const DATASET_GRACE_MS = 7 * 24 * 3_600_000;
/** Deletions at a time. */
const DELETES_MAX = 16;

/** `runs/RUN/TASK/…`; other folders of a run (its data, manifests, reviews) are no tasks and are kept. */
const OF_TASK = /^runs\/([^/]+)\/(i\d+\.[a-z]+\.[^/]+)\/(.+)$/;
const CHECKPOINT = /^[0-9a-f]{64}\.checkpoint$/;

export interface GarbageWishes {
  /** False: only say what would be done. */
  readonly apply: boolean;
  /** Labels of so many last iterations of ended runs are kept; undefined: of all. At least 1. */
  readonly keepLabels?: number | undefined;
}

type Why = GarbageView['why'];

interface Sweep {
  readonly found: Map<Why, { objects: number; bytes: number }>;
  kept: number;
  keptBytes: number;
  /** Too young to be told garbage by. */
  young: number;
}

/** What of one run is needed. */
interface Marked {
  /** Folders of accepted tasks, and of those that are open. */
  readonly accepted: ReadonlySet<string>;
  readonly open: ReadonlySet<string>;
  /** Of accepted label tasks: those whose labels the rule drops. */
  readonly dropped: ReadonlySet<string>;
  readonly checkpoints: ReadonlySet<string>;
}

/** @throws AlumnusError USAGE; the store's errors */
export async function collectGarbage(leader: Leader, { apply, keepLabels }: GarbageWishes): Promise<CollectGarbageResponse> {
  if (keepLabels !== undefined && !(Number.isInteger(keepLabels) && keepLabels >= 1)) throw new AlumnusError('USAGE', 'labels of 1 iteration at least are kept: `run retry` and `run rollback` go on from them', { where: 'keep_labels' });
  const { store } = leader;
  const nowMs = Date.now();
  const marks = new Map<string, Marked>();
  // All that is needed is known before anything is looked at, and so before anything is deleted.
  for (const run of leader.runs()) marks.set(run.runId, await markedOf(leader, run, keepLabels));
  const snapshots = await markedSnapshots(leader);
  const datasets = await markedDatasets(store);
  for (const run of leader.runs()) mark(datasets, run.data);

  const sweep: Sweep = { found: new Map(), kept: 0, keptBytes: 0, young: 0 };
  const unknown = new Set<string>();
  const judge = async (prefix: string, graceMs: number, whyOf: (key: string) => Why | undefined): Promise<void> => {
    const doomed: string[] = [];
    for await (const { key, bytes, writtenMs } of store.list(prefix)) {
      const why = whyOf(key);
      if (why === undefined) {
        sweep.kept += 1;
        sweep.keptBytes += bytes;
      } else if (writtenMs === undefined || nowMs - writtenMs < graceMs) sweep.young += 1;
      else {
        const row = sweep.found.get(why) ?? { objects: 0, bytes: 0 };
        sweep.found.set(why, { objects: row.objects + 1, bytes: row.bytes + bytes });
        if (apply) doomed.push(key);
      }
      if (doomed.length >= DELETES_MAX) await deleteAll(leader, doomed.splice(0));
    }
    await deleteAll(leader, doomed);
  };
  const graceMs = GRACE_MS + leader.leaseMs;
  await judge(paths.runs, graceMs, (key) => {
    const [, runId = '', taskId = '', name = ''] = OF_TASK.exec(key) ?? [];
    if (runId === '') return undefined;
    const marked = marks.get(runId);
    if (marked === undefined) {
      unknown.add(runId);
      return undefined;
    }
    if (CHECKPOINT.test(name)) return marked.checkpoints.has(key) ? undefined : 'checkpoint';
    if (marked.open.has(taskId)) return undefined;
    if (!marked.accepted.has(taskId)) return 'attempt';
    return marked.dropped.has(taskId) && !name.endsWith('.record') ? 'labels' : undefined;
  });
  await judge('journal/', graceMs, (key) => (snapshots.has(key) ? undefined : 'snapshot'));
  await judge(paths.datasets, DATASET_GRACE_MS, (key) => (datasets.has(key) || key.endsWith('.json') ? undefined : 'dataset'));
  return {
    garbage: [...sweep.found].map(([why, row]) => ({ why, ...row })), keptObjects: sweep.kept, keptBytes: sweep.keptBytes, youngObjects: sweep.young, unknownRuns: [...unknown].sort((a, b) => (a < b ? -1 : 1)),
  };
}

/** One that leads no more must not delete what the next one's workers write. */
async function deleteAll(leader: Leader, keys: readonly string[]): Promise<void> {
  if (keys.length === 0) return;
  if (leader.failure !== undefined) throw leader.failure;
  await Promise.all(keys.map((key) => leader.store.delete(key)));
}

async function markedOf(leader: Leader, run: RunState, keepLabels: number | undefined): Promise<Marked> {
  const accepted = new Set<string>();
  const dropped = new Set<string>();
  const oldest = isEnded(run.phase) && keepLabels !== undefined ? run.iteration - keepLabels + 1 : 0;
  const take = (events: RunManifest['events']): void => {
    for (const { fact } of events) {
      if (fact?.$case !== 'taskCompleted' || fact.value.place === undefined) continue;
      const { taskId, stage, iteration } = fact.value.place;
      accepted.add(taskId);
      if (stage === Stage.LABEL && iteration < oldest) dropped.add(taskId);
    }
  };
  take([...leader.pending(run.runId)]);
  for (let ref = run.manifest?.ref; ref !== undefined;) {
    const { events, previous } = RunManifest.decode(await leader.store.get(ref));
    take(events);
    ref = previous;
  }
  const open = new Set(isEnded(run.phase) ? [] : openTasks({ ...run, phase: 'running' }).map(({ taskId }) => taskId));
  // A run that ended may be tried again from where it was.
  const checkpoints = new Set([...run.checkpoints.values()].flatMap((each) => each.flatMap(({ ref }) => ref?.key ?? [])));
  return { accepted, open, dropped, checkpoints };
}

async function markedSnapshots({ journal, store }: Leader): Promise<Set<string>> {
  const marked = new Set<string>();
  const newest = (await journal.snapshot())?.snapshot;
  if (newest === undefined) return marked;
  marked.add(newest.key);
  mark(marked, Snapshot.decode(await store.get(newest)));
  return marked;
}

/** Every version's manifest names its objects by key. */
async function markedDatasets(store: ObjectStore): Promise<Set<string>> {
  const marked = new Set<string>();
  for await (const { key } of store.list(paths.datasets)) {
    if (!key.endsWith('.json')) continue;
    const read = await store.getNamed(key);
    if (read === undefined) continue;
    try {
      mark(marked, JSON.parse(Buffer.from(read.content).toString('utf8')));
    } catch (thrown) {
      throw new AlumnusError('SHARD_CORRUPT', 'the manifest is no JSON, and what it names is not known: nothing was deleted', { where: key, cause: thrown });
    }
  }
  return marked;
}

/** Every key that is named anywhere in it. */
function mark(marked: Set<string>, value: unknown): void {
  if (Array.isArray(value)) for (const each of value) mark(marked, each);
  else if (typeof value === 'object' && value !== null) {
    for (const [name, each] of Object.entries(value)) {
      if (name === 'key' && typeof each === 'string') marked.add(each);
      else mark(marked, each);
    }
  }
}
