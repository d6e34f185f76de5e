/** The order of training data: a permutation each epoch, a pure function, and nothing a person would call an order. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import { BlockOrder, permuted, sampleAt, type ShardSize } from '../../../worker/data/index.ts';
import { randomFrom } from '../../harness/random.ts';

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

  it('is that of every release', () => {
    // From a restatement of the network in Python, with integers of any size.
    expect(epochOf(7, 0, 10)).toEqual([4, 0, 3, 5, 6, 9, 1, 2, 7, 8]);
    expect(epochOf(7, 1, 10)).toEqual([7, 5, 3, 9, 2, 0, 6, 8, 4, 1]);
    expect(epochOf(1234, 5, 1000).slice(0, 8)).toEqual([567, 803, 336, 337, 187, 703, 210, 360]);
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

describe('the order of shards in blocks', () => {
  const places = (order: BlockOrder, from: number, count: number) => Array.from({ length: count }, (_, at) => order.at(from + at));

  it('is that of every release', () => {
    // From a restatement in Python that lists each epoch's blocks and permutes them.
    const sizes = [{ samples: 3, bytes: 30 }, { samples: 1, bytes: 10 }, { samples: 4, bytes: 40 }, { samples: 0, bytes: 5 }, { samples: 2, bytes: 20 }];
    const order = new BlockOrder(7, sizes, 60);
    const rows = places(order, 0, 20).map(({ shard, row }) => [shard, row]);
    expect(rows.slice(0, 10)).toEqual([[0, 1], [0, 0], [4, 1], [4, 0], [0, 2], [2, 0], [2, 3], [2, 2], [1, 0], [2, 1]]);
    expect(rows.slice(10)).toEqual([[0, 0], [0, 2], [0, 1], [1, 0], [2, 2], [2, 1], [2, 0], [2, 3], [4, 0], [4, 1]]);
    expect([order.blocks(0), order.blocks(1)]).toEqual([2, 3]);
    expect([order.shardsOf(0, 0), order.shardsOf(1, 0), order.shardsOf(1, 1)]).toEqual([[0, 4], [0], [2, 1]]);
  });

  it('draws every sample once an epoch, each shard in one block, and no block beyond its bound that holds more than one shard', () => {
    const uniform = randomFrom(11);
    const random = (below: number): number => Math.floor(uniform() * below);
    for (let round = 0; round < 60; round += 1) {
      const shards: ShardSize[] = Array.from({ length: 1 + random(40) }, () => ({ samples: random(30), bytes: 1 + random(100) }));
      shards.push({ samples: 1, bytes: 3 });
      const blockBytes = 1 + random(300);
      const order = new BlockOrder(round, shards, blockBytes);
      expect(order.samples).toBe(shards.reduce((sum, { samples }) => sum + samples, 0));
      for (const epoch of [0, 1, 7]) {
        const drawn = places(order, epoch * order.samples, order.samples);
        expect(new Set(drawn.map(({ shard, row }) => `${shard}/${row}`)).size).toBe(order.samples);
        expect(drawn.every((place) => place.epoch === epoch && place.row < (shards[place.shard]?.samples ?? 0))).toBe(true);
        // Blocks one after the other, each with its own shards.
        expect(drawn.map(({ block }) => block)).toEqual(drawn.map(({ block }) => block).sort((a, b) => a - b));
        const blockOf = new Map(drawn.map(({ shard, block }) => [shard, block]));
        expect(drawn.every(({ shard, block }) => blockOf.get(shard) === block)).toBe(true);
        for (let block = 0; block < order.blocks(epoch); block += 1) {
          const held = order.shardsOf(epoch, block);
          expect(held.every((shard) => blockOf.get(shard) === block)).toBe(true);
          if (held.length > 1) expect(held.reduce((sum, shard) => sum + (shards[shard]?.bytes ?? 0), 0)).toBeLessThanOrEqual(blockBytes);
        }
      }
    }
  });

  it('gives the same place whatever was asked before', () => {
    const shards = Array.from({ length: 50 }, (_, at) => ({ samples: (at * 7) % 13, bytes: 10 }));
    const [read, jumped] = [new BlockOrder(5, shards, 100), new BlockOrder(5, shards, 100)];
    const uniform = randomFrom(3);
    const random = (below: number): number => Math.floor(uniform() * below);
    const all = places(read, 0, 3 * read.samples);
    for (let jump = 0; jump < 500; jump += 1) {
      const cursor = random(all.length);
      expect(jumped.at(cursor)).toEqual(all[cursor]);
    }
  });

  it('mixes: another order of shards each epoch, and neighbors in a shard come apart', () => {
    const order = new BlockOrder(1, Array.from({ length: 64 }, () => ({ samples: 100, bytes: 1 })), 8);
    expect(order.blocks(0)).toBe(8);
    const [first, second] = [0, 1].map((epoch) => Array.from({ length: 8 }, (_, block) => order.shardsOf(epoch, block)).flat());
    expect(first?.filter((shard, at) => shard === second?.[at]).length).toBeLessThan(8);
    const drawn = places(order, 0, order.samples);
    // 800 places of a block: a sample's neighbor follows it with a chance of 1 in 800, so 8 of 6,400 times.
    expect(drawn.filter(({ shard, row }, at) => at > 0 && drawn[at - 1]?.shard === shard && Math.abs((drawn[at - 1]?.row ?? 0) - row) === 1).length).toBeLessThan(40);
    // Blocks of one size are not permuted alike.
    const inBlock = (block: number): number[] => drawn.filter((place) => place.block === block).map(({ shard, row }) => order.shardsOf(0, block).indexOf(shard) * 100 + row);
    expect(inBlock(0).filter((place, at) => place === inBlock(1)[at]).length).toBeLessThan(10);
  });

  it('takes the same memory for ten million samples as for ten thousand', () => {
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    const used = (): number => {
      collect();
      const { heapUsed, arrayBuffers } = process.memoryUsage();
      return heapUsed + arrayBuffers;
    };
    /** Bytes that an order holds after it was read at places of several epochs. */
    const bytesOf = (shards: number, samples: number): number => {
      const before = used();
      const order = new BlockOrder(1, (function* () {
        for (let at = 0; at < shards; at += 1) yield { samples, bytes: 1_500 * samples };
      })(), 512 * 1024 ** 2);
      for (let at = 0; at < 200; at += 1) order.at(Math.floor((at * order.samples) / 100));
      const bytes = used() - before;
      expect(order.samples).toBe(shards * samples);
      return bytes;
    };
    bytesOf(5, 2_000);
    const few = bytesOf(5, 2_000);
    // A thousand times the samples in as many shards, and in shards as import makes them: 5,000 of them, at some 30 bytes each. One byte a
    // sample would be ten million; the heap's own movements are some hundred thousand.
    expect(bytesOf(5, 2_000_000) - few).toBeLessThan(1024 ** 2);
    expect(bytesOf(5_000, 2_000) - few).toBeLessThan(1024 ** 2);
  });
});
