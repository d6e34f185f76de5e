/** A worker's side of the bucket: what a task produced lies there, whole, before its record does, and both before anyone is told. */
import { TaskRecord } from '../../../proto/gen/alumnus/v1/record.ts';
import type { ObjectRef, Task, TaskResult } from '../../../proto/gen/alumnus/v1/task.ts';
import { RECORD_SCHEMA_VERSION } from '../../../proto/record.ts';
import { placeOf } from '../../../coordinator/run/index.ts';
import { sha256, type ObjectStore } from '../../../store/index.ts';
import { answer } from './work.ts';

type Result = NonNullable<TaskResult['result']>;

export interface Finished {
  readonly result: TaskResult;
  readonly contents: readonly Uint8Array[];
}

/** A task's result with outputs that can be stored: a pure function of the task, as `answer` is. */
export function finished(task: Task, salt?: string): Finished {
  const digest = sha256(Buffer.from(task.taskId));
  // What guards ask: a third of validation is of each class, and confidence is off by up to a tenth.
  const calibrationError = Number.parseInt(digest.slice(0, 4), 16) / 0x10000 / 10;
  const drawn = (at: number, below: number): number => Number.parseInt(digest.slice(at, at + 2), 16) % below;
  // Half of all shards have near-duplicates; models are of three sizes, and lose something by fewer bytes.
  const told = { near: Math.max(0, drawn(4, 4) - 1), bytes: 4_000 * (1 + drawn(6, 3)), wrongBy: { float16: drawn(8, 3), int8: drawn(10, 60) } };
  const { result, deviceMs } = answer(task, { truth: [333, 333, 334], calibrationError, ...told, ...(salt === undefined ? {} : { salt }) });
  if (result === undefined) throw new Error('every task has a result');
  const contents: Uint8Array[] = [];
  const make = (ref: ObjectRef | undefined): ObjectRef => {
    const content = Buffer.from(ref?.sha256 ?? '');
    contents.push(content);
    const digest = sha256(content);
    return { key: `${task.outputPrefix}/${digest}`, sha256: digest, bytes: content.byteLength };
  };
  const named = ((): Result => {
    switch (result.$case) {
      case 'label': return { $case: 'label', value: { ...result.value, labels: make(result.value.labels), tally: make(result.value.tally) } };
      case 'select': return { $case: 'select', value: { ...result.value, selection: make(result.value.selection) } };
      case 'train': return { $case: 'train', value: { ...result.value, model: make(result.value.model) } };
      case 'evaluate': return { $case: 'evaluate', value: { ...result.value, evaluation: make(result.value.evaluation) } };
      case 'replica': return { $case: 'replica', value: { ...result.value, state: make(result.value.state) } };
      case 'merge': {
        const { merged, trained } = result.value;
        return { $case: 'merge', value: { merged: make(merged), trained: trained === undefined ? undefined : { ...trained, model: make(trained.model) } } };
      }
      case 'import': return { $case: 'import', value: { ...result.value, model: make(result.value.model) } };
      case 'fingerprint': return { $case: 'fingerprint', value: { ...result.value, fingerprints: result.value.fingerprints && make(result.value.fingerprints), near: result.value.near && make(result.value.near) } };
      case 'index': return result;
      case 'measure': return result;
      case 'audit': return { $case: 'audit', value: { ...result.value, audit: make(result.value.audit) } };
    }
  })();
  return { result: { deviceMs, result: named }, contents };
}

/** Outputs, then the record. */
export async function store(into: ObjectStore, task: Task, workerId: string, { result, contents }: Finished, schemaVersion = RECORD_SCHEMA_VERSION): Promise<void> {
  for (const content of contents) await into.putAddressed(task.outputPrefix, content);
  const record: TaskRecord = { schemaVersion, place: placeOf(task), runId: task.runId, workerId, teacherSha256: '', result };
  await into.putAddressed(task.outputPrefix, TaskRecord.encode(record).finish(), { extension: '.record' });
}

/** Does a task: outputs and record in the store. Resolves to the result that the worker would report. */
export async function work(into: ObjectStore, task: Task, workerId = 'w1', salt?: string): Promise<TaskResult> {
  const done = finished(task, salt);
  await store(into, task, workerId, done);
  return done.result;
}
