/** A worker's side of the bucket: what a task produced lies there, whole, before its record does, and both before anyone is told. */
import { TaskRecord } from '../../../proto/gen/alumnus/v1/record.ts';
import type { ObjectRef, Task, TaskResult } from '../../../proto/gen/alumnus/v1/task.ts';
import { placeOf } from '../../../coordinator/run/index.ts';
import type { ObjectStore } from '../../../store/index.ts';
import { answer } from './work.ts';

type Result = NonNullable<TaskResult['result']>;

/** Puts each output that a result names into the store, and names it there. */
async function stored(store: ObjectStore, task: Task, result: Result): Promise<Result> {
  const put = (ref: ObjectRef | undefined): Promise<ObjectRef> => store.putAddressed(task.outputPrefix, Buffer.from(ref?.sha256 ?? ''));
  switch (result.$case) {
    case 'label': return { $case: 'label', value: { ...result.value, labels: await put(result.value.labels), tally: await put(result.value.tally) } };
    case 'select': return { $case: 'select', value: { ...result.value, selection: await put(result.value.selection) } };
    case 'train': return { $case: 'train', value: { ...result.value, model: await put(result.value.model) } };
    case 'evaluate': return { $case: 'evaluate', value: { ...result.value, evaluation: await put(result.value.evaluation) } };
    case 'audit': return { $case: 'audit', value: { ...result.value, audit: await put(result.value.audit) } };
  }
}

/** Does a task: outputs and record in the store. Resolves to the result that the worker would report. */
export async function work(store: ObjectStore, task: Task, workerId = 'w1', salt?: string): Promise<TaskResult> {
  const { result, deviceMs } = answer(task, salt === undefined ? {} : { salt });
  if (result === undefined) throw new Error('every task has a result');
  const done: TaskResult = { deviceMs, result: await stored(store, task, result) };
  const record: TaskRecord = { schemaVersion: 1, place: placeOf(task), runId: task.runId, workerId, teacherSha256: '', result: done };
  await store.putAddressed(task.outputPrefix, TaskRecord.encode(record).finish(), { extension: '.record' });
  return done;
}
