/** The order of training data: a permutation each epoch, a pure function, and nothing a person would call an order. */
import { describe, expect, it } from 'vitest';
import { permuted, sampleAt } from '../../../worker/data/index.ts';

const epochOf = (seed: number, epoch: number, count: number): number[] => Array.from({ length: count }, (_, at) => permuted(seed, epoch, count, at));

describe('the order of an epoch', () => {
  it('holds every sample once, for every count up to 300 and some beyond', () => {
    for (const count of [...Array.from({ length: 300 }, (_, at) => at + 1), 1023, 1024, 1025, 4096, 54_321]) {
      const seen = new Uint8Array(count);
      for (const sample of epochOf(count, 3, count)) {
        expect(sample).toBeLessThan(count);
        seen[sample] = (seen[sample] ?? 0) + 1;
      }
      expect(seen.every((times) => times === 1), String(count)).toBe(true);
    }
  });

  it('is another for another epoch and another seed, and the same for the same', () => {
    const first = epochOf(1, 0, 1000);
    expect(epochOf(1, 0, 1000)).toEqual(first);
    for (const other of [epochOf(1, 1, 1000), epochOf(2, 0, 1000)]) {
      // Two random orders of 1,000 agree in one place on average; 10 would come once in 10^6.
      expect(other.filter((sample, at) => sample === first[at]).length).toBeLessThan(10);
    }
  });

  it('spreads samples evenly over places, and neighbors apart', () => {
    // Where each of 16 blocks of samples lands, over 16 blocks of places: chi-square with 225 degrees of freedom, 99.99 %: 312.
    const count = 16_384;
    for (const seed of [1, 2, 3, 4, 5]) {
      const cells = new Float64Array(256);
      const order = epochOf(seed, seed, count);
      order.forEach((sample, at) => {
        const cell = Math.floor((at * 16) / count) * 16 + Math.floor((sample * 16) / count);
        cells[cell] = (cells[cell] ?? 0) + 1;
      });
      const expected = count / 256;
      expect(cells.reduce((sum, seen) => sum + (seen - expected) ** 2 / expected, 0)).toBeLessThan(312);
      const neighbors = order.filter((sample, at) => at > 0 && Math.abs(sample - (order[at - 1] ?? 0)) === 1).length;
      expect(neighbors).toBeLessThan(16);
    }
  });

  it('is read on by one integer, over the ends of epochs', () => {
    const read = Array.from({ length: 30 }, (_, cursor) => sampleAt(9, 10, cursor));
    expect(read).toEqual([...epochOf(9, 0, 10), ...epochOf(9, 1, 10), ...epochOf(9, 2, 10)]);
    expect(sampleAt(9, 10, 3_000_000_007)).toBe(permuted(9, 300_000_000, 10, 7));
  });

  it('is not of nothing, and not of more than its arithmetic holds', () => {
    expect(() => sampleAt(1, 0, 0)).toThrow('a place is one of 1 to 2^30 samples');
    expect(() => permuted(1, 0, 2 ** 30 + 1, 0)).toThrow('invariant broken');
    expect(permuted(1, 0, 2 ** 30, 2 ** 30 - 1)).toBeLessThan(2 ** 30);
    expect(permuted(1, 0, 2 ** 30, 2 ** 30 - 1)).toBeGreaterThanOrEqual(0);
  });
});
