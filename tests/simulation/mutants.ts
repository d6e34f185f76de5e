/**
 * Ways to break what is checked, to see that the checkers notice. Those of the disk are in engines.ts.
 */
import type { Leader } from '../../coordinator/leader.ts';
import type { Task } from '../../proto/gen/alumnus/v1/task.ts';
import type { ObjectRef, ObjectStore, PutOptions } from '../../store/index.ts';
import type { DiskMutant } from './engines.ts';

export type Mutant = DiskMutant | 'skips-shard' | 'mixes-checkpoints' | 'never-expires' | 'stale-snapshot' | 'never-steps-down' | 'merges-too-few' | 'repeats-data' | 'forgets-optimizer' | 'selects-near-duplicates' | 'forgets-reviewed' | 'takes-labels-twice' | 'measures-another';

/** A store whose snapshots are each the one before: changes `store` and returns it. */
export function withStaleSnapshots(store: ObjectStore): ObjectStore {
  const stale = new Map<string, Uint8Array>();
  const put = store.putAddressed.bind(store);
  store.putAddressed = (prefix: string, content: Uint8Array | AsyncIterable<Uint8Array>, options?: PutOptions): Promise<ObjectRef> => {
    if (options?.extension !== '.state' || !(content instanceof Uint8Array)) return put(prefix, content, options);
    const before = stale.get(prefix) ?? content;
    stale.set(prefix, content);
    return put(prefix, before, options);
  };
  return store;
}

/** A leader whose leases last for ever, or that takes labels behind whatever is there. */
export function breakLeader(mutant: Mutant, leader: Leader): void {
  if (mutant === 'never-expires') leader.scheduler.expired = () => [];
  if (mutant !== 'takes-labels-twice') return;
  const command = leader.command.bind(leader);
  leader.command = (runId, said) => {
    const known = leader.runs().find((run) => run.runId === runId);
    const last = (known?.reviews.at(-1) ?? known?.data.labeled)?.labels?.sha256 ?? '';
    return command(runId, said.kind === 'review' ? { ...said, behind: last } : said);
  };
}

/** What a leader with this bug hands out instead: changes tasks as they are granted. */
export function taskBreaker(mutant: Mutant): (task: Task) => void {
  let mixed: Task | undefined;
  let measured: ObjectRef | undefined;
  return (task) => {
    // A leader that mixes trainings up: what one left is handed to another.
    if (mutant === 'mixes-checkpoints' && task.spec?.$case === 'train') {
      if (mixed !== undefined && mixed.taskId !== task.taskId) task.checkpoints = mixed.checkpoints;
      else if (task.checkpoints.length > 0) mixed = { ...task };
    }
    const { spec } = task;
    if (mutant === 'merges-too-few' && spec?.$case === 'merge' && spec.value.inputs.length > 1) task.spec = { $case: 'merge', value: { ...spec.value, inputs: spec.value.inputs.slice(1) } };
    // Every round reads the data from its begin on.
    if (mutant === 'repeats-data' && spec?.$case === 'replica') task.spec = { $case: 'replica', value: { ...spec.value, firstBatch: spec.value.replica * spec.value.steps } };
    if (mutant === 'forgets-optimizer' && spec?.$case === 'replica') task.spec = { $case: 'replica', value: { ...spec.value, optimizer: undefined } };
    if (mutant === 'selects-near-duplicates' && spec?.$case === 'select' && spec.value.leftOut !== undefined) task.spec = { $case: 'select', value: { ...spec.value, leftOut: { ...spec.value.leftOut, nearDuplicates: spec.value.leftOut.nearDuplicates.slice(1) } } };
    // As if nobody had brought labels since the run began.
    if (mutant === 'forgets-reviewed' && spec?.$case === 'select' && spec.value.leftOut?.reviewed !== undefined) task.spec = { $case: 'select', value: { ...spec.value, leftOut: { ...spec.value.leftOut, reviewed: undefined } } };
    if (mutant === 'measures-another' && spec?.$case === 'measure') task.spec = { $case: 'measure', value: { ...spec.value, model: measured ??= spec.value.model } };
    if (mutant === 'skips-shard' && task.spec?.$case === 'select') task.spec = { $case: 'select', value: { ...task.spec.value, shards: task.spec.value.shards.slice(1) } };
  };
}
