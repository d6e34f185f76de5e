/**
 * A task's record: its result, written beside its outputs once they are all there and before anyone is told, so that a
 * bucket without a journal knows what was finished. Not for: saying what counts; that is the journal's.
 */
import { TaskRecord } from '../../proto/gen/alumnus/v1/record.ts';
import type { ObjectRef, Task, TaskResult } from '../../proto/gen/alumnus/v1/task.ts';
import type { ObjectStore } from '../../store/index.ts';
import { readSelection } from '../data/index.ts';
import { aboutOf, RECORD_SCHEMA_VERSION } from './context.ts';

/** The digest of the teacher whose labels, or whose student, a task makes; empty where there is none. */
export async function teacherOf({ spec }: Task, store: ObjectStore): Promise<string> {
  switch (spec?.$case) {
    case 'label': return spec.value.teacher?.sha256 ?? '';
    case 'select': return spec.value.teacherSha256;
    // Their specifications name the selection, and that its teacher.
    case 'train':
    case 'audit': return spec.value.selection === undefined ? '' : (await readSelection(store, spec.value.selection)).teacher;
    case 'evaluate':
    case undefined: return '';
  }
}

/** @throws AlumnusError STORE_FULL, STORE_UNWRITABLE and what else a put throws */
export function putRecord(store: ObjectStore, { task, workerId, teacherSha256, result }: { task: Task; workerId: string; teacherSha256: string; result: TaskResult }): Promise<ObjectRef> {
  const { taskId, iteration, stage, subject, try: attempt } = task;
  const record: TaskRecord = { schemaVersion: RECORD_SCHEMA_VERSION, place: { taskId, iteration, stage, subject, try: attempt }, runId: task.runId, workerId, teacherSha256, result };
  return store.putAddressed(task.outputPrefix, TaskRecord.encode(record).finish(), { extension: '.record', metadata: { ...aboutOf({ task, teacherSha256 }), 'alumnus.worker': workerId } });
}
