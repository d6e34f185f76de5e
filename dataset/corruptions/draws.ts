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
  // Four numbers and no array: fog draws 65,536 times for one image.
  #s0: number;
  #s1: number;
  #s2: number;
  #s3: number;

  constructor(name: string) {
    const digest = createHash('sha256').update(name).digest();
    this.#s0 = digest.readInt32LE(0);
    this.#s1 = digest.readInt32LE(4);
    this.#s2 = digest.readInt32LE(8);
    this.#s3 = digest.readInt32LE(12);
  }

  /** 32 bits, 0 to 2^32 - 1. */
  bits(): number {
    const s1 = this.#s1;
    const third = this.#s2 ^ this.#s0;
    const fourth = this.#s3 ^ s1;
    this.#s0 ^= fourth;
    this.#s1 ^= third;
    this.#s2 = third ^ (s1 << 9);
    this.#s3 = rotated(fourth, 11);
    return Math.imul(rotated(Math.imul(s1, 5), 7), 9) >>> 0;
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
