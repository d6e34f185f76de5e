/**
 * The keys of a part as one sorted list. A key is the beginning of its image's digest (shape and pixels), whichever dataset
 * it was imported into, so two lists tell how many images two parts share: no image and no label is looked at.
 * Invariants: (1) a list is sorted and holds no key twice; (2) comparing takes the memory of the shorter list, whatever the longer one holds.
 */
import { AlumnusError } from '../proto/errors.ts';
import { sha256, type ObjectRef, type ObjectStore } from '../store/index.ts';

/** Hex digits of the content's digest: 80 bits, so that no two of 10^9 images share a key. */
export const KEY_DIGITS = 20;
const KEY_BYTES = KEY_DIGITS / 2;
/** Of a list that is written piece by piece. */
const PIECE_KEYS = 65_536;
/** As many as a number holds exactly: nearly every comparison ends with them. */
const HEAD_BYTES = 6;

/** What an image's key is the beginning of. @param pixels [height, width, channels] */
export const contentDigest = ({ height, width, channels }: { readonly height: number; readonly width: number; readonly channels: number }, pixels: Uint8Array): string => sha256(Buffer.concat([Buffer.from(`${height} ${width} ${channels}\n`), pixels]));

/** The key that import gives an image, whatever it is called elsewhere. @param pixels as `contentDigest` */
export const contentKey = (shape: Parameters<typeof contentDigest>[0], pixels: Uint8Array): string => contentDigest(shape, pixels).slice(0, KEY_DIGITS);

/** @param keys each KEY_DIGITS hex digits, in any order. @returns [keys.length x KEY_BYTES] */
export function encodeKeys(keys: Iterable<string>): Uint8Array {
  const sorted = [...keys].sort();
  const list = Buffer.alloc(sorted.length * KEY_BYTES);
  sorted.forEach((key, at) => list.write(key, at * KEY_BYTES, 'hex'));
  return list;
}

/** As `encodeKeys`, of keys that come in their order. */
export async function* streamKeys(keys: AsyncIterable<string>): AsyncGenerator<Uint8Array> {
  let piece = Buffer.alloc(PIECE_KEYS * KEY_BYTES);
  let at = 0;
  for await (const key of keys) {
    piece.write(key, at, 'hex');
    at += KEY_BYTES;
    if (at < piece.byteLength) continue;
    yield piece;
    piece = Buffer.alloc(piece.byteLength);
    at = 0;
  }
  yield piece.subarray(0, at);
}

/** How many keys are in both lists. @throws AlumnusError OBJECT_NOT_FOUND, DIGEST_MISMATCH, SHARD_CORRUPT */
export async function sharedKeys(store: ObjectStore, one: ObjectRef, other: ObjectRef): Promise<number> {
  for (const { key, bytes } of [one, other]) if (bytes % KEY_BYTES !== 0) throw new AlumnusError('SHARD_CORRUPT', `the list of keys has ${bytes} bytes, which is no whole number of keys`, { where: key });
  const [shorter, longer] = one.bytes <= other.bytes ? [one, other] : [other, one];
  const held = Buffer.from(await store.get(shorter));
  let shared = 0;
  let at = 0;
  const headAt = (): number => (at < held.byteLength ? held.readUIntBE(at, HEAD_BYTES) : Infinity);
  let head = headAt();
  let begun = Buffer.alloc(0);
  for await (const chunk of store.stream(longer)) {
    const keys = Buffer.concat([begun, chunk]);
    const whole = keys.byteLength - (keys.byteLength % KEY_BYTES);
    for (let key = 0; key < whole; key += KEY_BYTES) {
      const wanted = keys.readUIntBE(key, HEAD_BYTES);
      let order = -1;
      while (head < wanted || (head === wanted && (order = held.compare(keys, key, key + KEY_BYTES, at, at + KEY_BYTES)) < 0)) {
        at += KEY_BYTES;
        head = headAt();
      }
      if (head === wanted && order === 0) shared += 1;
    }
    begun = Buffer.from(keys.subarray(whole));
  }
  return shared;
}
