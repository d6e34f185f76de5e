/** index: one tar at somebody's place, read from end to end without the device. What is found lies in the store under the tar's name; a tar that was found out before is not read again. */
import { indexTar } from '../../dataset/index.ts';
import type { IndexResult, IndexSpec } from '../../proto/gen/alumnus/v1/task.ts';
import type { TaskContext } from './context.ts';

export async function indexOne({ store, signal, progress }: TaskContext, { location, key, bytes, writtenMs, labeled }: IndexSpec): Promise<IndexResult> {
  let done = 0;
  const { sha256, samples } = await indexTar(store, { location, key, bytes, labeled, ...(writtenMs === undefined ? {} : { writtenMs }) }, (more) => {
    signal.throwIfAborted();
    done += more;
    progress({ done, total: bytes, unit: 'bytes', rate: 0, loss: 0 });
  });
  return { sha256, samples };
}
