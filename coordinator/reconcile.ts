/**
 * reconcile: holds the object store's testimony (manifests by leaders, records by workers) against the journal, and takes
 * in what the journal lacks. A run that is missing, or was rewound, is brought to its last manifest; beyond that the run
 * is decided anew, task by task, wherever a finished task's record and its outputs are there and whole. A task's id covers
 * the digests of all that goes in, so a record can't answer for a task with other inputs. Trainings that are still open
 * then go on from the checkpoints that lie below them.
 *
 * Invariants:
 *  1. What the journal has stands: facts are only added behind it.
 *  2. Nothing is taken that was not read whole and of the right digest.
 *  3. Without `apply` nothing is written, and the answer is what would have been done.
 */
import { AlumnusError, toAlumnusError } from '../proto/errors.ts';
import { Event } from '../proto/gen/alumnus/v1/events.ts';
import type { ReconciledRun, ReconcileRequest, ReconcileResponse } from '../proto/gen/alumnus/v1/operator.ts';
import { TaskRecord } from '../proto/gen/alumnus/v1/record.ts';
import type { Checkpoint, ObjectRef, Task, TaskResult } from '../proto/gen/alumnus/v1/task.ts';
import { outputsOf } from '../proto/outputs.ts';
import { RECORD_SCHEMA_VERSION } from '../proto/record.ts';
import { canonicalJson, paths, type ObjectStore } from '../store/index.ts';
import { GROUP_BYTES_MAX } from './journal/index.ts';
import type { Leader } from './leader.ts';
import { factsOf, readManifests, type FoundManifest } from './manifests.ts';
import { hydrate } from './run-data.ts';
import { decide, evolve, isEnded, journalled, openTasks, type RunState } from './run/index.ts';

/** Facts are restored in pieces that leave room in a message. */
const PIECE_BYTES_MAX = GROUP_BYTES_MAX / 2;
/** Of what was found and not used, so much is told. */
const NOTES_MAX = 20;
const RECORD = /^runs\/[^/]+\/([^/]+)\/[0-9a-f]{64}\.record$/;
const CHECKPOINT = /^runs\/[^/]+\/([^/]+)\/([0-9a-f]{64})\.checkpoint$/;
/** What a checkpoint's metadata calls the steps that were done. */
const STEP = 'alumnus.step';

export async function reconcile(leader: Leader, { runId, apply }: ReconcileRequest): Promise<ReconcileResponse> {
  const runIds = runId === '' ? await runsInBucket(leader.store) : [runId];
  const runs: ReconciledRun[] = [];
  let objectsSeen = 0;
  for (const each of runIds) {
    const survey = await surveyOf(leader.store, each, leader.runs().find((run) => run.runId === each)?.manifest?.ref.sha256);
    objectsSeen += survey.objects;
    runs.push(await reconcileRun(leader, each, survey, apply));
  }
  return { runs, objectsSeen };
}

async function runsInBucket(store: ObjectStore): Promise<string[]> {
  const found = new Set<string>();
  for await (const { key } of store.list(paths.runs)) {
    const runId = key.split('/')[1] ?? '';
    // Data alone is of a submission that was refused, or whose manifest was never written: no run.
    if (!key.startsWith(`${paths.runData(runId)}/`)) found.add(runId);
  }
  return [...found].sort();
}

interface Survey {
  readonly chain: readonly FoundManifest[];
  /**
   * Keys of records by task id, the oldest first where the store tells times, else in the order of their digests. Nothing
   * in the bucket says which of several counted: mostly it is the one that was written first.
   */
  readonly records: ReadonlyMap<string, string[]>;
  /** By task id. */
  readonly checkpoints: ReadonlyMap<string, ObjectRef[]>;
  readonly notes: string[];
  readonly objects: number;
}

async function surveyOf(store: ObjectStore, runId: string, journalled: string | undefined): Promise<Survey> {
  const found = new Map<string, { key: string; writtenMs: number }[]>();
  const checkpoints = new Map<string, ObjectRef[]>();
  let objects = 0;
  for await (const { key, bytes, writtenMs = 0 } of store.list(paths.run(runId))) {
    objects += 1;
    const [, taskId] = RECORD.exec(key) ?? [];
    if (taskId !== undefined) found.set(taskId, [...(found.get(taskId) ?? []), { key, writtenMs }]);
    const [, trained, sha256] = CHECKPOINT.exec(key) ?? [];
    if (trained !== undefined && sha256 !== undefined) checkpoints.set(trained, [...(checkpoints.get(trained) ?? []), { key, sha256, bytes }]);
  }
  const records = new Map([...found].map(([taskId, each]) => [taskId, each.sort((a, b) => a.writtenMs - b.writtenMs).map(({ key }) => key)]));
  const { chain, notes } = await readManifests(store, runId, journalled);
  return { chain, records, checkpoints, notes: [...notes], objects };
}

async function reconcileRun(leader: Leader, runId: string, survey: Survey, apply: boolean): Promise<ReconciledRun> {
  const notes = [...survey.notes];
  const known = leader.runs().find((run) => run.runId === runId);
  const answer = (verdict: string, state: RunState | undefined, factsRestored: number, resultsTaken: number, checkpointsTaken = 0): ReconciledRun => ({
    runId, verdict, factsRestored, resultsTaken, checkpointsTaken, notes: notes.slice(0, NOTES_MAX),
    tasksOpen: state === undefined ? 0 : unfinished(state).length, state: state?.phase ?? '', iteration: state?.iteration ?? 0, stage: state?.stage ?? 0,
  });
  if (known === undefined && survey.chain.length === 0) return answer('unreadable', undefined, 0, 0);

  let state = known;
  // Counted in one turn with `missing`: a result that is on its way to the journal is one fact more by the time they are restored.
  const expected = (known?.manifest?.facts ?? 0) + leader.pending(runId).length;
  const missing = missingFacts(leader, runId, known, survey.chain);
  const diverged = missing === 'diverged';
  if (diverged) notes.push('the journal went on otherwise than the manifests say: the journal stands');
  let facts: Event[] = [];
  try {
    if (!diverged) facts = await Promise.all(missing.map((fact) => hydrate(leader.store, fact)));
  } catch (thrown) {
    const error = toAlumnusError(thrown);
    if (error.retryable) throw error;
    notes.push(`the run's data cannot be read: ${error.where}: ${error.message}`);
    return answer('unreadable', known, 0, 0, 0);
  }
  if (!apply) for (const fact of facts) state = evolve(state, fact);
  else if (facts.length > 0) {
    await leader.restore(runId, piecesOf(facts), expected);
    state = leader.run(runId);
  }
  const { state: advanced, taken } = await takeResults(leader, runId, state, survey, apply, notes);
  const { state: resumable, taken: kept } = await takeCheckpoints(leader, runId, advanced, survey, apply, notes);
  const verdict = diverged ? 'diverged' : known === undefined ? 'restored' : facts.length > 0 || taken > 0 || kept > 0 ? 'advanced' : 'agrees';
  return answer(verdict, resumable, facts.length, taken, kept);
}

/** What the manifests tell beyond the journal; facts that only the journal has are no divergence. */
function missingFacts(leader: Leader, runId: string, known: RunState | undefined, chain: readonly FoundManifest[]): Event[] | 'diverged' {
  if (known === undefined) return factsOf(chain);
  const { manifest } = known;
  const beyond = chain.slice(manifest === undefined ? 0 : manifest.number + 1);
  if (manifest !== undefined && chain[manifest.number]?.ref.sha256 !== manifest.ref.sha256) return chain.length === 0 || chain.length <= manifest.number ? [] : 'diverged';
  if (beyond.length === 0) return [];
  // The journal may hold the beginning of the next manifest's facts: those that it has must be those.
  const told = factsOf(beyond);
  const pending = leader.pending(runId);
  const same = pending.every((event, at) => told[at] !== undefined && canonicalJson(Event.toJSON(event)) === canonicalJson(Event.toJSON(told[at])));
  return same ? told.slice(pending.length) : 'diverged';
}

/** As few as fit. One may end in the midst of a manifest's facts: should the others never come, these are pending, and the rest is missing. */
function piecesOf(facts: readonly Event[]): Event[][] {
  const pieces: Event[][] = [];
  let bytes = Infinity;
  for (const fact of facts) {
    const more = Event.encode(journalled(fact)).finish().length;
    if (bytes + more > PIECE_BYTES_MAX) {
      pieces.push([]);
      bytes = 0;
    }
    pieces.at(-1)?.push(fact);
    bytes += more;
  }
  return pieces;
}

/** A paused run takes finished work, too. */
const unfinished = (state: RunState): Task[] => (isEnded(state.phase) ? [] : openTasks({ ...state, phase: 'running' }));

/** Completes open tasks from their records until none is left that has one. */
async function takeResults(leader: Leader, runId: string, from: RunState | undefined, survey: Survey, apply: boolean, notes: string[]): Promise<{ state: RunState | undefined; taken: number }> {
  let state = from;
  let taken = 0;
  for (let more = true; more && state !== undefined && !isEnded(state.phase);) {
    more = false;
    for (const task of unfinished(state)) {
      const record = await recordOf(leader.store, task, survey.records.get(task.taskId) ?? [], notes);
      if (record === undefined) continue;
      const command = { kind: 'complete', task, workerId: record.workerId, result: record.result } as const;
      try {
        state = apply ? await leader.command(runId, command) : decide(state, command, leader.now()).state;
      } catch (thrown) {
        const error = toAlumnusError(thrown);
        if (error.code !== 'LEASE_LOST' && error.code !== 'USAGE') throw error;
        notes.push(`${task.taskId}: its record was not taken: ${error.message}`);
        continue;
      }
      taken += 1;
      more = true;
    }
  }
  return { state, taken };
}

/** Of each training that is still open the newest checkpoint that is whole, where the journal knows none as new. */
async function takeCheckpoints(leader: Leader, runId: string, from: RunState | undefined, survey: Survey, apply: boolean, notes: string[]): Promise<{ state: RunState | undefined; taken: number }> {
  let state = from;
  let taken = 0;
  for (const task of state === undefined ? [] : unfinished(state)) {
    const checkpoint = await checkpointOf(leader.store, survey.checkpoints.get(task.taskId) ?? [], state?.checkpoints.get(task.taskId)?.[0]?.step ?? 0, notes);
    if (checkpoint === undefined || state === undefined) continue;
    const command = { kind: 'checkpoint', task, workerId: '', checkpoint } as const;
    try {
      state = apply ? await leader.command(runId, command) : decide(state, command, leader.now()).state;
      taken += 1;
    } catch (thrown) {
      const error = toAlumnusError(thrown);
      // Meanwhile a worker may have ended the task, or told of a newer one.
      if (error.code !== 'LEASE_LOST' && error.code !== 'USAGE' && error.code !== 'RUN_CONFLICT') throw error;
    }
  }
  return { state, taken };
}

async function checkpointOf(store: ObjectStore, refs: readonly ObjectRef[], knownStep: number, notes: string[]): Promise<Checkpoint | undefined> {
  const told: Checkpoint[] = [];
  for (const ref of refs) told.push({ step: Number((await store.metadata(ref.key))[STEP] ?? Number.NaN), ref });
  for (const { step, ref } of told.filter((each) => each.step > knownStep).sort((a, b) => b.step - a.step)) {
    if (ref === undefined) continue;
    try {
      for await (const _ of store.stream(ref)) void _;
      return { step, ref };
    } catch (thrown) {
      const error = toAlumnusError(thrown, ref.key);
      if (error.retryable) throw error;
      notes.push(`${ref.key} is not used: ${error.message}`);
    }
  }
  return undefined;
}

/** The first record of the task that is whole and whose outputs are all there, whole too. */
async function recordOf(store: ObjectStore, task: Task, keys: readonly string[], notes: string[]): Promise<{ workerId: string; result: TaskResult } | undefined> {
  for (const key of keys) {
    try {
      const read = await store.getNamed(key);
      if (read === undefined) continue;
      if (!key.includes(read.ref.sha256)) throw new AlumnusError('DIGEST_MISMATCH', `its sha256 is ${read.ref.sha256}`, { where: key });
      const { place, workerId, result, schemaVersion } = TaskRecord.decode(read.content);
      if (schemaVersion > RECORD_SCHEMA_VERSION) throw new AlumnusError('JOURNAL_UNREADABLE', `it is of schema ${schemaVersion}, this release reads up to ${RECORD_SCHEMA_VERSION}`, { where: key });
      if (place?.taskId !== task.taskId || result?.result === undefined) throw new AlumnusError('SHARD_CORRUPT', 'it is of another task', { where: key });
      for (const output of outputsOf(result.result)) for await (const _ of store.stream(output)) void _;
      return { workerId, result };
    } catch (thrown) {
      const error = toAlumnusError(thrown, key);
      if (error.retryable) throw error;
      const note = `${key} is not used: ${error.where === key || error.where === '' ? '' : `${error.where}: `}${error.message}`;
      // The task stays open, and is looked at again whenever another one was taken.
      if (!notes.includes(note)) notes.push(note);
    }
  }
  return undefined;
}
