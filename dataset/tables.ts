/**
 * The tables beside a part's shards, as Parquet: labels (key, class) and origins (key, origin). Rows lie in the order
 * of the shards. Any tool that reads Parquet can query them; equal rows have equal bytes.
 */
import type { ObjectRef, ObjectStore } from '../store/index.ts';
import { openParquet, writeParquet } from './parquet.ts';

export interface Labels {
  readonly keys: readonly string[];
  /** One class for each key, from 0. */
  readonly classes: Int32Array;
}

export const encodeLabels = ({ keys, classes }: Labels): Uint8Array =>
  writeParquet([{ name: 'key', data: [...keys], type: 'STRING', nullable: false }, { name: 'class', data: classes, type: 'INT32', nullable: false }]);

export const encodeOrigins = (keys: readonly string[], origins: readonly string[]): Uint8Array =>
  writeParquet([{ name: 'key', data: [...keys], type: 'STRING', nullable: false }, { name: 'origin', data: [...origins], type: 'STRING', nullable: false }]);

/** Labels of a part, or the truth of an unlabeled one. @throws AlumnusError OBJECT_NOT_FOUND, DIGEST_MISMATCH, SHARD_CORRUPT */
export async function readLabels(store: ObjectStore, ref: ObjectRef): Promise<Labels> {
  const table = openParquet(await store.get(ref), ref.key);
  return { keys: Array.from(await table.column('key'), String), classes: Int32Array.from(await table.column('class'), Number) };
}

/** Where each image came from. @throws AlumnusError OBJECT_NOT_FOUND, DIGEST_MISMATCH, SHARD_CORRUPT */
export async function readOrigins(store: ObjectStore, ref: ObjectRef): Promise<Map<string, string>> {
  const table = openParquet(await store.get(ref), ref.key);
  const origins = await table.column('origin');
  return new Map(Array.from(await table.column('key'), (key, at) => [String(key), String(origins[at])]));
}
