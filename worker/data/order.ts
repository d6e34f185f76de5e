/**
 * The order of training data: a pure function of seed, epoch and manifest, and the place in it is one integer, the
 * number of samples drawn before (`cursor`). Memory does not grow with the samples: orders are keyed permutations, computed place by place.
 *
 * A set that is held decoded is permuted whole (`sampleAt`). A larger one has a block shuffle (`BlockOrder`): each epoch
 * permutes the shards, cuts that row of shards into blocks of a size that fits in memory, and permutes the samples of each
 * block; so every shard is read once an epoch. As mosaicml/streaming's py1s and py1b do, but without their table of all samples.
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

/** What a block shuffle must know of a shard: its draws (with copies), and what it weighs in memory. */
export interface ShardSize {
  readonly samples: number;
  readonly bytes: number;
}

/** A place of the order: sample `row` of shard `shard`, which lies in block `block` of the epoch. */
export interface Place {
  readonly epoch: number;
  readonly block: number;
  readonly shard: number;
  readonly row: number;
}

/** Keeps the order of shards apart from that of samples, which has the seed itself. */
const SHARD_SALT = 0x2545f491;

/**
 * Block shuffle. A block holds as many shards, in the order of the epoch, as weigh `blockBytes` together; one that weighs
 * more by itself is a block by itself. Holds two numbers a shard and one epoch's table of blocks, whatever the shards' sizes.
 */
export class BlockOrder {
  /** Draws of one epoch. */
  readonly samples: number;
  readonly #seed: number;
  readonly #sizes: Float64Array;
  readonly #bytes: Float64Array;
  readonly #blockBytes: number;
  #epoch = -1;
  /** `[blocks + 1]` of `#epoch`: the place of each block's first shard among the epoch's shards, and of its first sample among the epoch's. */
  #firstShard: number[] = [];
  #firstSample: number[] = [];
  /** Of the block last asked for: its shards, and `[shards + 1]` the place of each one's first sample in the block. */
  #block = -1;
  #shards: readonly number[] = [];
  #firstRow: number[] = [];

  constructor(seed: number, shards: Iterable<ShardSize>, blockBytes: number) {
    const sizes: number[] = [];
    const bytes: number[] = [];
    for (const shard of shards) {
      sizes.push(shard.samples);
      bytes.push(shard.bytes);
    }
    this.#sizes = Float64Array.from(sizes);
    this.#bytes = Float64Array.from(bytes);
    this.#seed = seed;
    this.#blockBytes = blockBytes;
    this.samples = this.#sizes.reduce((sum, size) => sum + size, 0);
    invariant(this.samples > 0 && sizes.every((size) => size >= 0 && size <= SAMPLES_MAX), 'an order is of shards that hold 1 sample together, and 2^30 each at most');
  }

  #shardAt(epoch: number, place: number): number {
    return permuted(this.#seed ^ SHARD_SALT, epoch, this.#sizes.length, place);
  }

  #enter(epoch: number): void {
    if (this.#epoch === epoch) return;
    const [firstShard, firstSample] = [[0], [0]];
    let [bytes, samples, inBlock] = [0, 0, 0];
    for (let place = 0; place < this.#sizes.length; place += 1) {
      const shard = this.#shardAt(epoch, place);
      const [more, size] = [this.#bytes[shard] ?? 0, this.#sizes[shard] ?? 0];
      if (inBlock > 0 && (bytes + more > this.#blockBytes || inBlock + size > SAMPLES_MAX)) {
        firstShard.push(place);
        firstSample.push(samples);
        [bytes, inBlock] = [0, 0];
      }
      bytes += more;
      inBlock += size;
      samples += size;
    }
    this.#firstShard = [...firstShard, this.#sizes.length];
    this.#firstSample = [...firstSample, samples];
    this.#epoch = epoch;
    this.#block = -1;
  }

  /** Blocks of an epoch. */
  blocks(epoch: number): number {
    this.#enter(epoch);
    return this.#firstShard.length - 1;
  }

  /** The shards of a block that have draws, in the epoch's order. */
  shardsOf(epoch: number, block: number): readonly number[] {
    this.#enter(epoch);
    if (this.#block === block) return this.#shards;
    const from = this.#firstShard[block] ?? 0;
    const all = Array.from({ length: (this.#firstShard[block + 1] ?? from) - from }, (_, at) => this.#shardAt(epoch, from + at));
    this.#shards = all.filter((shard) => (this.#sizes[shard] ?? 0) > 0);
    this.#firstRow = [0];
    for (const shard of this.#shards) this.#firstRow.push((this.#firstRow.at(-1) ?? 0) + (this.#sizes[shard] ?? 0));
    this.#block = block;
    return this.#shards;
  }

  /** The draw at `cursor`, over all epochs. */
  at(cursor: number): Place {
    const epoch = Math.floor(cursor / this.samples);
    this.#enter(epoch);
    const place = cursor - epoch * this.samples;
    const block = lastAtMost(this.#firstSample, place);
    const first = this.#firstSample[block] ?? 0;
    const count = (this.#firstSample[block + 1] ?? 0) - first;
    // Another key for each block: blocks of one size would be permuted alike.
    const row = permuted(this.#seed ^ mix(block + 1), epoch, count, place - first);
    const shards = this.shardsOf(epoch, block);
    const at = lastAtMost(this.#firstRow, row);
    return { epoch, block, shard: shards[at] ?? -1, row: row - (this.#firstRow[at] ?? 0) };
  }
}

/** The last index whose value is at most `value`; values ascend, and the first is at most `value`. */
function lastAtMost(values: readonly number[], value: number): number {
  let [at, beyond] = [0, values.length];
  while (beyond - at > 1) {
    const middle = (at + beyond) >> 1;
    if ((values[middle] ?? Infinity) <= value) at = middle;
    else beyond = middle;
  }
  return at;
}
