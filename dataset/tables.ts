/**
 * The tables beside a part's shards, as Parquet: labels (key, class) and origins (key, origin). Rows lie in the order
 * of the shards. Any tool that reads Parquet can query them; equal rows have equal bytes.
 */
import type { ObjectRef, ObjectStore } from '../store/index.ts';
import { openParquet, streamParquet, writeParquet } from './parquet.ts';

export interface Labels {
  readonly keys: readonly string[];
  /** One class for each key, from 0. */
  readonly classes: Int32Array;
}

export const encodeLabels = ({ keys, classes }: Labels): Uint8Array =>
  writeParquet([{ name: 'key', data: [...keys], type: 'STRING', nullable: false }, { name: 'class', data: classes, type: 'INT32', nullable: false }]);

/** As `encodeLabels`, of rows (key, class) that come one after another. */
export const streamLabels = (rows: AsyncIterable<readonly [string, number]>): AsyncIterable<Uint8Array> => streamParquet({ key: 'STRING', class: 'INT32' }, rows);

/** Rows (key, origin). */
export const streamOrigins = (rows: AsyncIterable<readonly [string, string]>): AsyncIterable<Uint8Array> => streamParquet({ key: 'STRING', origin: 'STRING' }, rows);

/** Labels of a part, or the truth of an unlabeled one. @throws AlumnusError OBJECT_NOT_FOUND, DIGEST_MISMATCH, SHARD_CORRUPT */
export async function readLabels(store: ObjectStore, ref: ObjectRef): Promise<Labels> {
  const table = openParquet(await store.get(ref), ref.key);
  return { keys: Array.from(await table.column('key'), String), classes: Int32Array.from(await table.column('class'), Number) };
}

/** The end of a table that says how many rows it has: a few hundred bytes, and as many more for each of its row groups. */
const FOOTER_BYTES_MAX = 1024 * 1024;

/** How many labels a table holds. Reads its end alone, which no digest covers. @throws AlumnusError OBJECT_NOT_FOUND, SHARD_CORRUPT */
export async function countLabels(store: ObjectStore, ref: ObjectRef): Promise<number> {
  return openParquet(await store.getRange(ref, Math.max(0, ref.bytes - FOOTER_BYTES_MAX), ref.bytes), ref.key).rows;
}

/** An image of an unlabeled shard that a person gave a label to. */
export interface ReviewedImage {
  readonly key: string;
  readonly class: number;
  readonly shard: string;
}

export const encodeReviewed = (rows: readonly ReviewedImage[]): Uint8Array => writeParquet([
  { name: 'key', data: rows.map(({ key }) => key), type: 'STRING', nullable: false },
  { name: 'class', data: Int32Array.from(rows, (row) => row.class), type: 'INT32', nullable: false },
  { name: 'shard', data: rows.map(({ shard }) => shard), type: 'STRING', nullable: false },
]);

/** @throws AlumnusError OBJECT_NOT_FOUND, DIGEST_MISMATCH, SHARD_CORRUPT */
export async function readReviewed(store: ObjectStore, ref: ObjectRef): Promise<ReviewedImage[]> {
  const table = openParquet(await store.get(ref), ref.key);
  const [classes, shards] = [await table.column('class'), await table.column('shard')];
  return Array.from(await table.column('key'), (key, row) => ({ key: String(key), class: Number(classes[row]), shard: String(shards[row]) }));
}

/** Where each image came from. @throws AlumnusError OBJECT_NOT_FOUND, DIGEST_MISMATCH, SHARD_CORRUPT */
export async function readOrigins(store: ObjectStore, ref: ObjectRef): Promise<Map<string, string>> {
  const table = openParquet(await store.get(ref), ref.key);
  const origins = await table.column('origin');
  return new Map(Array.from(await table.column('key'), (key, at) => [String(key), String(origins[at])]));
}
