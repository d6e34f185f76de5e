/**
 * What is drawn for one corrupted image: a stream of its own, a function of (seed, corruption, sample key), so that neither
 * the order of samples nor the number of shards matters. Not for training noise, which TensorFlow draws.
 */
import { createHash } from 'node:crypto';

/** One over 2^32. */
const UNIT = 2 ** -32;

const rotated = (value: number, bits: number): number => (value << bits) | (value >>> (32 - bits));

/** xoshiro128** 1.1 (Blackman and Vigna, prng.di.unimi.it/xoshiro128starstar.c); its 128 bits of state are the beginning of SHA-256 of the stream's name. */
export class Draws {
  readonly #state: Int32Array;

  constructor(name: string) {
    const digest = createHash('sha256').update(name).digest();
    this.#state = Int32Array.from({ length: 4 }, (_, at) => digest.readInt32LE(4 * at));
  }

  /** 32 bits, 0 to 2^32 - 1. */
  bits(): number {
    const state = this.#state;
    const [s0 = 0, s1 = 0, s2 = 0, s3 = 0] = state;
    const result = Math.imul(rotated(Math.imul(s1, 5), 7), 9) >>> 0;
    const third = s2 ^ s0;
    const fourth = s3 ^ s1;
    state[0] = s0 ^ fourth;
    state[1] = s1 ^ third;
    state[2] = third ^ (s1 << 9);
    state[3] = rotated(fourth, 11);
    return result;
  }

  /** From `low` to below `high`. */
  uniform(low = 0, high = 1): number {
    return low + (high - low) * (this.bits() * UNIT);
  }

  /** A whole number from `low` to below `high`. */
  integer(low: number, high: number): number {
    return low + Math.floor(this.uniform() * (high - low));
  }

  chance(probability: number): boolean {
    return this.uniform() < probability;
  }

  sign(): -1 | 1 {
    return this.chance(0.5) ? -1 : 1;
  }

  /** Box and Muller's cosine, two draws each. */
  normal(mean: number, deviation: number): number {
    const radius = Math.sqrt(-2 * Math.log((this.bits() + 1) * UNIT));
    return mean + deviation * radius * Math.cos(2 * Math.PI * this.uniform());
  }

  /** Knuth's product of uniforms: for means of a few, of which it takes one draw more than it counts. */
  poisson(mean: number): number {
    const limit = Math.exp(-mean);
    let count = 0;
    for (let product = this.uniform(); product > limit; product *= this.uniform()) count += 1;
    return count;
  }
}
