/**
 * Does an accepted task again, from the inputs that it had, and compares digests. Outputs go to a store of their own: what a run keeps
 * is only read. Not for: deciding which tasks made a model (the coordinator's), or finding where a difference comes from.
 * Invariants:
 *  1. Nothing is written to the run's store, and nothing that lies there under a name is taken over: labels are written again, not found.
 *  2. A task is done from its beginning: no checkpoint is given to it.
 */
import { AlumnusError, invariant, toAlumnusError } from '../proto/errors.ts';
import type { AcceptedTask } from '../proto/gen/alumnus/v1/history.ts';
import { TaskRecord, type Machine } from '../proto/gen/alumnus/v1/record.ts';
import type { ObjectRef, TaskResult } from '../proto/gen/alumnus/v1/task.ts';
import type { Progress } from '../proto/gen/alumnus/v1/worker.ts';
import { namedOutputs } from '../proto/outputs.ts';
import type { Reproduction } from '../proto/told.ts';
import type { ObjectStore } from '../store/index.ts';
import { decodeWeights } from './learning/index.ts';
import { readModel, runTask } from './tasks/index.ts';

/** Kinds of tasks that make a part of a model. */
const MAKING: ReadonlySet<string> = new Set(['label', 'select', 'train', 'import', 'replica', 'merge']);

export interface Reproducing {
  /** The run's store, read alone. */
  readonly from: ObjectStore;
  /** Where outputs go. */
  readonly into: ObjectStore;
  readonly cacheFolder: string;
  readonly signal: AbortSignal;
  progress(progress: Progress): void;
}

export async function reproduce({ from, into, cacheFolder, signal, progress }: Reproducing, accepted: AcceptedTask): Promise<Reproduction> {
  const { task, result } = accepted;
  invariant(task !== undefined, 'an accepted task is told');
  const machine = await machineThatDid(from, accepted);
  const about = { taskId: task.taskId, kind: (task.spec?.$case ?? 'train') as Reproduction['kind'], subject: task.subject, ...(machine === undefined ? {} : { machine }) };
  const store = readingOnly(from, into);
  try {
    const again = await runTask({
      task: { ...task, checkpointSteps: 0, checkpoints: [] }, store, cacheFolder, signal, progress,
      checkpoint: () => undefined, note: () => undefined, onDevice: (work) => work(),
    });
    const before = new Map(madeBy(result?.result));
    const outputs = madeBy(again).map(([name, ref]) => ({ name, accepted: before.get(name)?.sha256 ?? '', again: ref.sha256 }));
    if (outputs.every((output) => output.accepted === output.again)) return { ...about, verdict: 'same', outputs, note: '' };
    return { ...about, verdict: 'differs', outputs, note: await difference(from, store, before.get('model'), new Map(madeBy(again)).get('model')) };
  } catch (thrown) {
    signal.throwIfAborted();
    const error = toAlumnusError(thrown, task.taskId);
    // Neither a store that is away nor a defect of ours says anything about the model.
    if (error.retryable || error.code === 'INTERNAL' || error.code === 'ENGINE_UNAVAILABLE') throw error;
    return { ...about, verdict: 'failed', outputs: [], note: error.sentence };
  }
}

/** What is written is read from there; all else from the run's store. */
function readingOnly(from: ObjectStore, into: ObjectStore): ObjectStore {
  const written = new Set<string>();
  const holder = (key: string): ObjectStore => (written.has(key) ? into : from);
  return {
    async putAddressed(prefix, content, options) {
      const ref = await into.putAddressed(prefix, content, options);
      written.add(ref.key);
      return ref;
    },
    putNamed: (key, content) => into.putNamed(key, content),
    getNamed: (key) => into.getNamed(key),
    get: (ref) => holder(ref.key).get(ref),
    stream: (ref) => holder(ref.key).stream(ref),
    getRange: (ref, start, end) => holder(ref.key).getRange(ref, start, end),
    metadata: (key) => holder(key).metadata(key),
    list: (prefix) => into.list(prefix),
    delete: (key) => into.delete(key),
  };
}

/** What a task's result names of a model's making. @throws AlumnusError USAGE of a task that makes no part of one */
function madeBy(result: TaskResult['result']): (readonly [name: string, ref: ObjectRef])[] {
  if (result === undefined || !MAKING.has(result.$case)) throw new AlumnusError('USAGE', `a ${result?.$case ?? 'nameless'} task makes no part of a model`);
  return namedOutputs(result).flatMap(([name, ref]) => (ref === undefined ? [] : [[name, ref] as const]));
}

/** Of two models of ours the largest difference of a weight; empty where there is nothing to compare. */
async function difference(from: ObjectStore, store: ObjectStore, accepted: ObjectRef | undefined, again: ObjectRef | undefined): Promise<string> {
  if (accepted === undefined || again === undefined) return '';
  const [one, other] = await Promise.all([readModel(from, accepted), readModel(store, again)]);
  if (one.kind === 'foreign' || other.kind === 'foreign') return '';
  if (one.weights.sha256 === other.weights.sha256) return 'the weights are the same to the bit; what the model document says beside them differs';
  const [before, after] = await Promise.all([from.get(one.weights), store.get(other.weights)]).then((both) => both.map(decodeWeights));
  let [most, at, differing, total] = [0, '', 0, 0];
  for (const { name, values } of before ?? []) {
    const others = after?.find((tensor) => tensor.name === name)?.values;
    invariant(others?.length === values.length, `both models have ${name}`);
    values.forEach((value, place) => {
      const distance = Math.abs(value - (others[place] ?? NaN));
      total += 1;
      if (distance !== 0) differing += 1;
      if (!(distance <= most)) [most, at] = [distance, name];
    });
  }
  return `${differing} of ${total} weights differ, by ${most.toPrecision(3)} at most, in ${at}`;
}

/** What an accepted result was computed on, by the record of the worker that did it; undefined where that is of an earlier release, or gone. */
export async function machineThatDid(from: ObjectStore, { task, workerId }: AcceptedTask): Promise<Machine | undefined> {
  for await (const { key } of from.list(`${task?.outputPrefix ?? ''}/`)) {
    if (!key.endsWith('.record')) continue;
    const found = await from.getNamed(key);
    const record = found === undefined ? undefined : TaskRecord.decode(found.content);
    if (record?.workerId === workerId && record.machine !== undefined) return record.machine;
  }
  return undefined;
}
