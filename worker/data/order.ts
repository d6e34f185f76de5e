/**
 * The order of training data: a pure function of seed, epoch and the number of samples, and the place in it is one
 * integer. Constant memory: each epoch's order is a keyed permutation computed sample by sample.
 *
 * The permutation is a Feistel network over the least power of four that is not below `count`, walked until it falls
 * inside (Black and Rogaway 2002, "Ciphers with arbitrary finite domains"). Four rounds of a 32-bit mixer: enough that no
 * order is visible, which is all that training asks.
 */
import { invariant } from '../../proto/errors.ts';

const ROUNDS = 4;
/** Two halves of 15 bits keep every step within 32-bit integers. */
export const SAMPLES_MAX = 2 ** 30;

/** A 32-bit mixer: the finaliser of MurmurHash3. */
function mix(value: number): number {
  let hash = value | 0;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/** The sample at place `index` of the epoch, 0 <= index < count, 1 <= count <= SAMPLES_MAX. */
export function permuted(seed: number, epoch: number, count: number, index: number): number {
  invariant(count >= 1 && count <= SAMPLES_MAX && index >= 0 && index < count, 'a place is one of 1 to 2^30 samples');
  let halfBits = 1;
  while (4 ** halfBits < count) halfBits += 1;
  const mask = 2 ** halfBits - 1;
  const epochKey = mix(mix(seed) ^ Math.imul(epoch + 1, 0x9e3779b1));
  let value = index;
  do {
    let left = value >>> halfBits;
    let right = value & mask;
    for (let round = 0; round < ROUNDS; round += 1) [left, right] = [right, left ^ (mix(right ^ mix(epochKey + round)) & mask)];
    value = ((left << halfBits) | right) >>> 0;
  } while (value >= count);
  return value;
}

/** The sample that training sees at `cursor`, over all epochs. */
export const sampleAt = (seed: number, count: number, cursor: number): number => permuted(seed, Math.floor(cursor / count), count, cursor % count);
