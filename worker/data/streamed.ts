/**
 * A training set that is too large to be held decoded: a block shuffle over its shards (order.ts). Memory holds the encoded
 * shards of the present block and of the next, which is read meanwhile; what a batch draws is decoded on other threads.
 * Invariants:
 *  1. What is drawn at a cursor does not depend on what was drawn before.
 *  2. Blocks are taken one at a time, in the order of reads: at most two are held, each within `blockBytes` unless one shard is larger.
 *  3. Of pseudo-labels, only those of the held shards are.
 */
import { shardSamples } from '../../dataset/index.ts';
import { AlumnusError, invariant } from '../../proto/errors.ts';
import type { PartRef, ShardRef } from '../../proto/gen/alumnus/v1/task.ts';
import { ahead, orAborted } from './ahead.ts';
import { imageBytes, resizes } from './decoded.ts';
import { decoders } from './decoders.ts';
import { readLabelTable } from './label-table.ts';
import { labelsByKey, teacherByKey } from './labeled.ts';
import { BlockOrder, type ShardSize } from './order.ts';
import { readSelectionPart } from './select.ts';
import { checkedLabel, targetWidth, writeTarget, type Drawn, type Draws, type LabeledTargets, type Selected, type Source } from './source.ts';

interface EncodedImage {
  readonly name: string;
  readonly bytes: Uint8Array;
  /** As in a DecodeJob. */
  readonly anyShape: boolean;
}

/** A shard in memory: the encoded image and the target of each of its draws. */
interface HeldShard {
  image(row: number): EncodedImage;
  writeTarget(row: number, targets: Float32Array, offset: number): void;
}

interface StreamedShard extends ShardSize {
  hold(): Promise<HeldShard>;
}

/** Shards of a block that are downloaded at the same time. */
const DOWNLOADS_AT_ONCE = 4;
/** Images of a batch that one thread decodes: several threads share a batch, and it is still some milliseconds of work. */
const IMAGES_PER_JOB = 32;

interface Block {
  readonly epoch: number;
  readonly block: number;
  /** By the shard's index. */
  readonly shards: ReadonlyMap<number, HeldShard>;
}

export class StreamedDraws implements Draws {
  readonly held = false;
  readonly #source: Source;
  readonly #shards: readonly StreamedShard[];
  readonly #width: number;
  readonly #order: BlockOrder;
  /** Reads under way, one after the other. */
  #gathered: Promise<unknown> = Promise.resolve();
  #present: Block | undefined;
  #next: { readonly epoch: number; readonly block: number; readonly stop: AbortController; readonly loaded: Promise<Block> } | undefined;

  /** @param width of a target */
  constructor(source: Source, seed: number, shards: readonly StreamedShard[], width: number, blockBytes: number) {
    this.#source = source;
    this.#width = width;
    this.#shards = shards;
    this.#order = new BlockOrder(seed, shards, blockBytes);
  }

  async read(cursor: number, count: number): Promise<Drawn> {
    const gathered = this.#gathered.then(() => this.#gather(cursor, count));
    this.#gathered = gathered.catch(() => undefined);
    const { images, targets } = await gathered;
    return { images: await this.#decode(images), targets };
  }

  /** Takes the draws' encoded bytes out of their blocks, so that these can go. */
  async #gather(cursor: number, count: number): Promise<{ images: EncodedImage[]; targets: Float32Array }> {
    const { signal } = this.#source;
    const targets = new Float32Array(count * this.#width);
    const images: EncodedImage[] = [];
    for (let at = 0; at < count; at += 1) {
      signal.throwIfAborted();
      const { epoch, block, shard, row } = this.#order.at(cursor + at);
      const present = this.#present?.epoch === epoch && this.#present.block === block ? this.#present : await this.#enter(epoch, block);
      const held = present.shards.get(shard);
      invariant(held !== undefined, `shard ${shard} lies in block ${block}`);
      const image = held.image(row);
      images.push({ ...image, bytes: image.bytes.slice() });
      held.writeTarget(row, targets, at * this.#width);
    }
    return { images, targets };
  }

  async #decode(images: readonly EncodedImage[]): Promise<Uint8Array> {
    const { shape, signal } = this.#source;
    const pixels = new Uint8Array(images.length * imageBytes(shape));
    const jobs: Promise<void>[] = [];
    for (let from = 0; from < images.length; from += IMAGES_PER_JOB) {
      const own = images.slice(from, from + IMAGES_PER_JOB);
      const job = { shape, names: own.map(({ name }) => name), images: own.map(({ bytes }) => bytes), anyShape: own.map(({ anyShape }) => anyShape) };
      jobs.push(decoders.decode(job, signal).then((decoded) => pixels.set(decoded, from * imageBytes(shape))));
    }
    await Promise.all(jobs);
    return pixels;
  }

  async #enter(epoch: number, block: number): Promise<Block> {
    if (this.#next?.epoch !== epoch || this.#next.block !== block) {
      this.#next?.stop.abort();
      // Someone turned to another place: the present block makes room first.
      this.#present = undefined;
      this.#begin(epoch, block);
    }
    const next = this.#next;
    invariant(next !== undefined, 'the block is on its way');
    const present = await next.loaded;
    this.#present = present;
    const last = block + 1 === this.#order.blocks(epoch);
    this.#begin(last ? epoch + 1 : epoch, last ? 0 : block + 1);
    return present;
  }

  #begin(epoch: number, block: number): void {
    const stop = new AbortController();
    const loaded = this.#load(epoch, block, AbortSignal.any([this.#source.signal, stop.signal]));
    loaded.catch(() => undefined);
    this.#next = { epoch, block, stop, loaded };
  }

  async #load(epoch: number, block: number, signal: AbortSignal): Promise<Block> {
    // Where an epoch is few blocks, the next may hold shards that are here.
    const present = this.#present?.shards;
    const shards = new Map<number, HeldShard>();
    const wanted = [...this.#order.shardsOf(epoch, block)];
    for await (const [shard, held] of ahead(wanted, DOWNLOADS_AT_ONCE, signal, async (index) => [index, present?.get(index) ?? (await this.#hold(index))] as const)) shards.set(shard, held);
    return { epoch, block, shards };
  }

  #hold(index: number): Promise<HeldShard> {
    const shard = this.#shards[index];
    invariant(shard !== undefined, `${index} is one of ${this.#shards.length} shards`);
    return orAborted(shard.hold(), this.#source.signal);
  }
}

/** Where each image lies in its tar, and what it is called. */
interface Index {
  readonly keys: readonly string[];
  image(row: number): EncodedImage;
}

/** @throws AlumnusError OBJECT_NOT_FOUND, DIGEST_MISMATCH, SHARD_CORRUPT */
async function indexOf(source: Source, shard: ShardRef): Promise<Index> {
  invariant(shard.ref !== undefined, 'a manifest\'s shard has its object');
  const keys: string[] = [];
  const extensions: string[] = [];
  const starts = new Float64Array(shard.samples);
  const lengths = new Uint32Array(shard.samples);
  let tar: ArrayBufferLike | undefined;
  for await (const { key, extension, bytes } of shardSamples(source.store, { ref: shard.ref, location: shard.location })) {
    if (keys.length >= shard.samples) throw new AlumnusError('SHARD_CORRUPT', `the manifest counts ${shard.samples} samples and there are more`, { where: shard.name });
    // Samples are windows on the one buffer that the shard was read into; two numbers each are a tenth of such a window.
    if (bytes.byteLength > 0) {
      tar ??= bytes.buffer;
      invariant(tar === bytes.buffer, 'the samples of a shard lie in one buffer');
    }
    starts[keys.length] = bytes.byteOffset;
    lengths[keys.length] = bytes.byteLength;
    keys.push(key);
    extensions.push(extension);
  }
  if (keys.length !== shard.samples) throw new AlumnusError('SHARD_CORRUPT', `the manifest counts ${shard.samples} samples and there are ${keys.length}`, { where: shard.name });
  const buffer = tar ?? new ArrayBuffer(0);
  return {
    keys,
    image: (row) => ({ name: `${shard.name}/${keys[row] ?? ''}.${extensions[row] ?? ''}`, bytes: new Uint8Array(buffer, lengths[row] === 0 ? 0 : starts[row], lengths[row]), anyShape: resizes(source, shard) }),
  };
}

export async function streamedLabeled(source: Source, part: PartRef, { kind, teacherLabels, leftOut }: LabeledTargets): Promise<StreamedShard[]> {
  const labels = await labelsByKey(source.store, part);
  return part.shards.map((shard) => ({
    samples: shard.samples - (leftOut?.ofShard.get(shard.name) ?? 0),
    bytes: shard.ref?.bytes ?? 0,
    async hold() {
      const { keys, image } = await indexOf(source, shard);
      const classes = Uint16Array.from(keys, (key) => checkedLabel(labels.get(key), key, source.classes, `${part.dataset} ${shard.name}`));
      const rows = Uint32Array.from(keys.keys()).filter((row) => leftOut?.keys.has(keys[row] ?? '') !== true);
      const teacher = await teacherByKey(source, teacherLabels.filter((each) => each.shard === shard.name));
      return {
        image: (draw) => image(rows[draw] ?? 0),
        writeTarget(draw, targets, offset) {
          const row = rows[draw] ?? 0;
          writeTarget(targets, offset, { truth: classes[row] ?? 0, logProbabilities: teacher.get(keys[row] ?? '') }, kind);
        },
      };
    },
  }));
}

/** The images that a selection keeps, each as often as it has copies. */
export function streamedSelected(source: Source, { document, unlabeled, selection, pseudoLabels, kind, instead }: Selected): StreamedShard[] {
  const shards = new Map(unlabeled.shards.map((shard) => [shard.name, shard]));
  const tables = new Map(pseudoLabels.map((each) => [each.shard, each.labels]));
  const { store } = source;
  const width = targetWidth(source, kind);
  /** A class is as good as its row. */
  const byClass = kind === 'hard';
  return document.parts.map((part) => {
    const [shard, table] = [shards.get(part.shard), tables.get(part.shard)];
    invariant(shard?.ref !== undefined && table !== undefined && table.sha256 === part.labels, `the selection of ${part.shard} was cut from the labels that this training was given`);
    return {
      samples: part.rows,
      bytes: shard.ref.bytes + part.kept * (byClass ? Uint16Array.BYTES_PER_ELEMENT : width * Float32Array.BYTES_PER_ELEMENT),
      async hold() {
        const [index, labels, copies] = await Promise.all([indexOf(source, shard), store.get(table).then((bytes) => readLabelTable(bytes, table.key)), readSelectionPart(store, selection, part)]);
        const rowOf = new Map(index.keys.map((key, row) => [key, row]));
        /** By draw, which of the kept samples it is; by kept sample, its row in the shard and its target. */
        const draws = new Uint32Array(part.rows);
        const rows = new Uint32Array(part.kept);
        const kept = new Uint16Array(part.kept);
        const written = new Float32Array(byClass ? 0 : part.kept * width);
        let [sample, drawn] = [0, 0];
        labels.keys.forEach((key, at) => {
          const times = copies.get(key);
          if (times === undefined) return;
          const row = rowOf.get(key);
          invariant(row !== undefined, `the labeled key ${key} lies in its shard`);
          rows[sample] = row;
          kept[sample] = instead?.(key) ?? labels.classes[at] ?? 0;
          if (!byClass) writeTarget(written, sample * width, { logProbabilities: labels.logProbabilities[at] }, kind);
          draws.fill(sample, drawn, drawn + times);
          drawn += times;
          sample += 1;
        });
        invariant(sample === part.kept && drawn === part.rows, 'every selected label is used, as often as was selected');
        return {
          image: (draw) => index.image(rows[draws[draw] ?? 0] ?? 0),
          writeTarget(draw, targets, offset) {
            const at = draws[draw] ?? 0;
            if (byClass) writeTarget(targets, offset, { label: kept[at] ?? 0 }, kind);
            else targets.set(written.subarray(at * width, (at + 1) * width), offset);
          },
        };
      },
    };
  });
}
