/**
 * A task's record: its result as the worker reports it, beside the outputs that it names and after them. What the journal
 * says of a result, the bucket says too: `alumnus reconcile` reads records. Whether one counts is the journal's to say.
 */
import { cpus } from 'node:os';
import { TaskRecord, type Machine } from '../../proto/gen/alumnus/v1/record.ts';
import type { Task, TaskResult } from '../../proto/gen/alumnus/v1/task.ts';
import { RECORD_SCHEMA_VERSION } from '../../proto/record.ts';
import { version } from '../../proto/version.ts';
import type { ObjectRef, ObjectStore } from '../../store/index.ts';
import { describe, teacherOf } from './context.ts';

/** What a result depends on to the bit beside its task. @param threads that TensorFlow computes with */
export const machineOf = (threads: number): Machine => ({ platform: `${process.platform}/${process.arch}`, processor: cpus()[0]?.model ?? '', threads, version: version() });

export function writeRecord(store: ObjectStore, task: Task, workerId: string, result: TaskResult, machine?: Machine): Promise<ObjectRef> {
  const { taskId, runId, iteration, stage, subject } = task;
  const record: TaskRecord = { schemaVersion: RECORD_SCHEMA_VERSION, place: { taskId, iteration, stage, subject, try: task.try }, runId, workerId, teacherSha256: teacherOf(task), result, machine };
  return store.putAddressed(task.outputPrefix, TaskRecord.encode(record).finish(), { extension: '.record', metadata: describe(task) });
}
