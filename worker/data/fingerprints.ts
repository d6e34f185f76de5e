/**
 * Fingerprints of whole shards: computed once for all runs, kept in the store by the shard's digest, and the tables of near-duplicates that come of them.
 * Not for: what a fingerprint is (fingerprint.ts), nor what is near (near.ts).
 */
import { openParquet, writeParquet } from '../../dataset/index.ts';
import { AlumnusError, invariant, toAlumnusError } from '../../proto/errors.ts';
import type { ObjectRef, ShardRef } from '../../proto/gen/alumnus/v1/task.ts';
import { paths, type ObjectStore } from '../../store/index.ts';
import { decodedPieces, imageBytes, type Reading } from './decoded.ts';
import { FINGERPRINT_BYTES, fingerprinter } from './fingerprint.ts';

export type JudgingPart = 'validation' | 'test';

export interface Fingerprints {
  readonly keys: readonly string[];
  /** `[keys, FINGERPRINT_BYTES]` */
  readonly bytes: Uint8Array;
}

/** Of images that judge. */
export interface JudgingFingerprints extends Fingerprints {
  /** Of so many of the keys, the first; the others are of test. */
  readonly validation: number;
}

/** A sample that trains, and the image that judges which it looks like most. */
export interface NearDuplicate {
  readonly key: string;
  readonly shard: string;
  readonly part: JudgingPart;
  readonly of: string;
  readonly distance: number;
  readonly correlation: number;
}

/** Keys are told in a line each, in front of the fingerprints: `<bytes of the lines>\n<lines><fingerprints>`. */
function encode({ keys, bytes }: Fingerprints): Uint8Array {
  const lines = Buffer.from(keys.map((key) => `${key}\n`).join(''));
  return Buffer.concat([Buffer.from(`${lines.byteLength}\n`), lines, bytes]);
}

/** @throws AlumnusError SHARD_CORRUPT */
function decode(content: Uint8Array, where: string): Fingerprints {
  const head = content.indexOf(0x0a);
  const length = Number(Buffer.from(content.subarray(0, Math.max(0, head))).toString('latin1'));
  const keys = Buffer.from(content.subarray(head + 1, head + 1 + length)).toString('utf8').split('\n').slice(0, -1);
  const bytes = content.subarray(head + 1 + length);
  if (head <= 0 || bytes.byteLength !== keys.length * FINGERPRINT_BYTES) throw new AlumnusError('SHARD_CORRUPT', 'the fingerprints are not as many as their keys', { where });
  return { keys, bytes };
}

/** What an earlier task computed, or computed now and kept for others. @throws as `decodedPieces`, and the store's */
export async function fingerprintsOf(reading: Reading, shard: ShardRef): Promise<Fingerprints> {
  const { store, shape } = reading;
  // A registered shard's samples have other keys than the same tar imported.
  const path = paths.fingerprints(`${shard.ref?.sha256 ?? ''}${shard.location === undefined ? '' : '-registered'}-${shape.height}x${shape.width}x${shape.channels}`);
  const found = await store.getNamed(path);
  if (found !== undefined) {
    try {
      const known = decode(found.content, path);
      if (known.keys.length === shard.samples) return known;
    } catch (thrown) {
      // It is a cache: what is wrong with it is computed again.
      if (toAlumnusError(thrown).code !== 'SHARD_CORRUPT') throw thrown;
    }
  }
  const fingerprint = fingerprinter(shape);
  const keys: string[] = [];
  const bytes = new Uint8Array(shard.samples * FINGERPRINT_BYTES);
  for await (const piece of decodedPieces(reading, shard)) {
    for (const [row, key] of piece.keys.entries()) {
      bytes.set(fingerprint(piece.images.subarray(row * imageBytes(shape), (row + 1) * imageBytes(shape))), keys.length * FINGERPRINT_BYTES);
      keys.push(key);
    }
  }
  if (found === undefined) await store.putNamed(path, encode({ keys, bytes }));
  return { keys, bytes };
}

/** Of images that judge, as one object: how many are of validation in its first line. */
export function encodeJudging(validation: readonly Fingerprints[], test: readonly Fingerprints[]): Uint8Array {
  const all = [...validation, ...test];
  const joined: Fingerprints = { keys: all.flatMap(({ keys }) => keys), bytes: Buffer.concat(all.map(({ bytes }) => bytes)) };
  return Buffer.concat([Buffer.from(`${validation.reduce((sum, { keys }) => sum + keys.length, 0)}\n`), encode(joined)]);
}

/** @throws AlumnusError SHARD_CORRUPT, and the store's */
export async function readJudging(store: ObjectStore, ref: ObjectRef): Promise<JudgingFingerprints> {
  const content = await store.get(ref);
  const head = content.indexOf(0x0a);
  return { ...decode(content.subarray(head + 1), ref.key), validation: Number(Buffer.from(content.subarray(0, head)).toString('latin1')) };
}

export function encodeNear(found: readonly NearDuplicate[]): Uint8Array {
  return writeParquet([
    { name: 'key', data: found.map(({ key }) => key), type: 'STRING', nullable: false },
    { name: 'shard', data: found.map(({ shard }) => shard), type: 'STRING', nullable: false },
    { name: 'part', data: found.map(({ part }) => part), type: 'STRING', nullable: false },
    { name: 'of', data: found.map(({ of }) => of), type: 'STRING', nullable: false },
    { name: 'distance', data: Int32Array.from(found, ({ distance }) => distance), type: 'INT32', nullable: false },
    { name: 'correlation', data: Float32Array.from(found, ({ correlation }) => correlation), type: 'FLOAT', nullable: false },
  ]);
}

/** @throws AlumnusError SHARD_CORRUPT, and the store's */
export async function readNear(store: ObjectStore, ref: ObjectRef): Promise<NearDuplicate[]> {
  const table = openParquet(await store.get(ref), ref.key);
  const text = async (name: string): Promise<string[]> => Array.from(await table.column(name), String);
  const [keys, shards, parts, ofs] = [await text('key'), await text('shard'), await text('part'), await text('of')];
  const [distances, correlations] = [Array.from(await table.column('distance'), Number), Array.from(await table.column('correlation'), Number)];
  return keys.map((key, row) => {
    const [shard, of, distance, correlation] = [shards[row], ofs[row], distances[row], correlations[row]];
    invariant(shard !== undefined && of !== undefined && distance !== undefined && correlation !== undefined, 'the columns of a table have one length');
    return { key, shard, part: parts[row] === 'test' ? 'test' : 'validation', of, distance, correlation };
  });
}
