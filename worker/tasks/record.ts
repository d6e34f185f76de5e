/**
 * A task's record: its result as the worker reports it, beside the outputs that it names and after them. What the journal
 * says of a result, the bucket says too: `alumnus reconcile` reads records. Whether one counts is the journal's to say.
 */
import { TaskRecord } from '../../proto/gen/alumnus/v1/record.ts';
import type { Task, TaskResult } from '../../proto/gen/alumnus/v1/task.ts';
import { RECORD_SCHEMA_VERSION } from '../../proto/record.ts';
import type { ObjectRef, ObjectStore } from '../../store/index.ts';
import { describe, teacherOf } from './context.ts';

export function writeRecord(store: ObjectStore, task: Task, workerId: string, result: TaskResult): Promise<ObjectRef> {
  const { taskId, runId, iteration, stage, subject } = task;
  const record: TaskRecord = { schemaVersion: RECORD_SCHEMA_VERSION, place: { taskId, iteration, stage, subject, try: task.try }, runId, workerId, teacherSha256: teacherOf(task), result };
  return store.putAddressed(task.outputPrefix, TaskRecord.encode(record).finish(), { extension: '.record', metadata: describe(task) });
}
