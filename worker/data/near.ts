/**
 * Near-duplicates: images that train and look like images that judge. A model that learned from them would be judged, in part, on what made it. Exact copies
 * are told by their keys already (dataset/keys.ts); here are those that were encoded again, made brighter or resized.
 * A pair is one where the hashes differ in at most `distance` of 64 bits and the low-pass versions correlate by at least `correlation` (fingerprint.ts).
 *
 * Found without comparing all with all: of two hashes of 8 bytes that differ in at most 7 bits at least one byte is the same (the pigeonhole principle; Norouzi et
 * al. 2012, arXiv 1307.2982). The images that judge lie in 8 tables of 256 lists, one for each byte; one that trains is compared with the 8 lists that its own bytes name, a 32nd of all.
 * Pure. Not for: reading shards (fingerprints.ts).
 */
import { invariant } from '../../proto/errors.ts';
import { FINGERPRINT_BYTES, HASH_BYTES } from './fingerprint.ts';

/** So many bits at most, or no byte need be the same. */
export const DISTANCE_MAX = HASH_BYTES - 1;

export interface Likeness {
  /** Row of the image that judges. */
  readonly row: number;
  readonly distance: number;
  /** -1 to 1. */
  readonly correlation: number;
}

export interface NearRule {
  readonly distance: number;
  readonly correlation: number;
}

/** Ones in each value of a byte. */
const ones = Uint8Array.from({ length: 256 }, (_, value) => {
  let count = 0;
  for (let left = value; left > 0; left &= left - 1) count += 1;
  return count;
});

/** Bits in which two hashes differ: the first HASH_BYTES of each, from there on. */
export function distanceOf(a: Uint8Array, fromA: number, b: Uint8Array, fromB: number): number {
  let count = 0;
  for (let at = 0; at < HASH_BYTES; at += 1) count += ones[(a[fromA + at] ?? 0) ^ (b[fromB + at] ?? 0)] ?? 0;
  return count;
}

/** 0 where either has nothing but its mean: plain areas are alike, and say nothing. */
export function correlationOf(a: Uint8Array, fromA: number, b: Uint8Array, fromB: number): number {
  let [product, squaresA, squaresB] = [0, 0, 0];
  for (let at = HASH_BYTES; at < FINGERPRINT_BYTES; at += 1) {
    // Signed.
    const [x, y] = [((a[fromA + at] ?? 0) << 24) >> 24, ((b[fromB + at] ?? 0) << 24) >> 24];
    product += x * y;
    squaresA += x * x;
    squaresB += y * y;
  }
  return squaresA === 0 || squaresB === 0 ? 0 : product / Math.sqrt(squaresA * squaresB);
}

export class NearIndex {
  readonly #fingerprints: Uint8Array;
  readonly #rule: NearRule;
  /** By place of the byte and its value: the rows. */
  readonly #rows: Int32Array[];
  /** By row: the last question that saw it, since several bytes may lead to it. */
  readonly #seen: Int32Array;
  #asked = 0;

  /** @param fingerprints one behind the other */
  constructor(fingerprints: Uint8Array, rule: NearRule) {
    invariant(rule.distance >= 0 && rule.distance <= DISTANCE_MAX, `a distance is 0 to ${DISTANCE_MAX} bits`);
    this.#fingerprints = fingerprints;
    this.#rule = rule;
    const count = fingerprints.length / FINGERPRINT_BYTES;
    const lists: number[][] = Array.from({ length: HASH_BYTES * 256 }, () => []);
    for (let row = 0; row < count; row += 1) for (let at = 0; at < HASH_BYTES; at += 1) lists[at * 256 + (fingerprints[row * FINGERPRINT_BYTES + at] ?? 0)]?.push(row);
    this.#rows = lists.map((list) => Int32Array.from(list));
    this.#seen = new Int32Array(count);
  }

  /** All that are near, in no order. */
  near(fingerprint: Uint8Array): Likeness[] {
    this.#asked += 1;
    const found: Likeness[] = [];
    for (let at = 0; at < HASH_BYTES; at += 1) {
      for (const row of this.#rows[at * 256 + (fingerprint[at] ?? 0)] ?? []) {
        if (this.#seen[row] === this.#asked) continue;
        this.#seen[row] = this.#asked;
        const distance = distanceOf(fingerprint, 0, this.#fingerprints, row * FINGERPRINT_BYTES);
        if (distance > this.#rule.distance) continue;
        const correlation = correlationOf(fingerprint, 0, this.#fingerprints, row * FINGERPRINT_BYTES);
        if (correlation >= this.#rule.correlation) found.push({ row, distance, correlation });
      }
    }
    return found;
  }
}
