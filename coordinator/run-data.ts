/**
 * A run's data in the bucket: written before its submission is journalled, read again wherever facts are folded. What is
 * small stays in the fact, so that journals can be read alone, also by the release before.
 * Invariant: a fact that names data by digest is folded with bytes of that digest, or not at all.
 */
import { RunData, type Event } from '../proto/gen/alumnus/v1/events.ts';
import { paths, type ObjectRef, type ObjectStore } from '../store/index.ts';
import { dataRefOf, hydrated } from './run/index.ts';

/**
 * What a fact or a lease holds at most of lists that grow with the data: some 240 shards. A group of facts has 512 KiB
 * (journal/journal.ts), a message of gRPC 4 MiB by default, and both hold several.
 */
export const INLINE_BYTES_MAX = 64 * 1024;

/** Writes data that is too large for a fact. Undefined: it is not, and the fact is to hold it. @throws the store's errors. */
export async function putRunData(store: ObjectStore, runId: string, data: RunData): Promise<ObjectRef | undefined> {
  const bytes = RunData.encode(data).finish();
  if (bytes.byteLength <= INLINE_BYTES_MAX) return undefined;
  return store.putAddressed(paths.runData(runId), bytes, { extension: '.data', metadata: { 'alumnus.run': runId } });
}

/** @throws AlumnusError OBJECT_NOT_FOUND, DIGEST_MISMATCH, and the store's others. */
export const readRunData = async (store: ObjectStore, ref: ObjectRef): Promise<RunData> => RunData.decode(await store.get(ref));

/** The fact with its data, as `evolve` takes it. @throws as `readRunData` */
export async function hydrate(store: ObjectStore, event: Event): Promise<Event> {
  const ref = dataRefOf(event);
  return ref === undefined ? event : hydrated(event, await readRunData(store, ref));
}
