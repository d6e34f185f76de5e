/** A task with its specification, which the lease only names where it is too large for a message. */
import { AlumnusError } from '../../proto/errors.ts';
import { Task } from '../../proto/gen/alumnus/v1/task.ts';
import type { ObjectStore } from '../../store/index.ts';

/** @throws AlumnusError OBJECT_NOT_FOUND, DIGEST_MISMATCH, and the store's others; USAGE where the object is no specification */
export async function withSpecification(store: ObjectStore, task: Task): Promise<Task> {
  if (task.specRef === undefined) return task;
  const { spec } = Task.decode(await store.get(task.specRef));
  if (spec === undefined) throw new AlumnusError('USAGE', 'the object that the lease names holds no specification', { where: task.specRef.key });
  return { ...task, spec };
}
