/**
 * A task's specification on its way to a worker. Most fit a message; one that lists every shard of a large set is an object
 * below the task's own prefix, and the lease names it by digest. A task's id covers the specification either way.
 */
import { invariant } from '../proto/errors.ts';
import { Task } from '../proto/gen/alumnus/v1/task.ts';
import type { Lease } from '../proto/gen/alumnus/v1/worker.ts';
import type { ObjectRef, ObjectStore } from '../store/index.ts';
import { INLINE_BYTES_MAX } from './run-data.ts';

/** By the scheduler's own task, which lives as long as the task is open: a second lease of it writes nothing. */
const written = new WeakMap<Task, ObjectRef>();

/** The lease as it travels. @throws the store's errors. */
export async function portable(store: ObjectStore, lease: Lease): Promise<Lease> {
  const { task } = lease;
  invariant(task?.spec !== undefined, 'a lease says what is to be done');
  let ref = written.get(task);
  if (ref === undefined) {
    const bytes = Task.encode(Task.fromPartial({ spec: task.spec })).finish();
    if (bytes.byteLength <= INLINE_BYTES_MAX) return lease;
    ref = await store.putAddressed(task.outputPrefix, bytes, { extension: '.spec', metadata: { 'alumnus.run': task.runId, 'alumnus.task': task.taskId } });
    written.set(task, ref);
  }
  return { ...lease, task: { ...task, spec: undefined, specRef: ref } };
}
