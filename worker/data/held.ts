/** A training set that is held decoded: any draw costs a copy. Its order is one permutation of all draws each epoch. */
import { invariant } from '../../proto/errors.ts';
import type { PartRef } from '../../proto/gen/alumnus/v1/task.ts';
import { decodedShard, imageBytes } from './decoded.ts';
import { readLabelTable } from './label-table.ts';
import { labeledPieces, teacherByKey } from './labeled.ts';
import { sampleAt } from './order.ts';
import { readSelectionPart } from './select.ts';
import { targetWidth, writeTarget, type Drawn, type Draws, type LabeledTargets, type Selected, type Source } from './source.ts';

class HeldDraws implements Draws {
  readonly held = true;
  readonly #seed: number;
  readonly #images: Uint8Array;
  readonly #targets: Float32Array;
  /** The sample of each draw: one that is repeated stands here as often. */
  readonly #draws: Uint32Array;
  readonly #imageSize: number;
  readonly #width: number;

  constructor({ shape }: Source, seed: number, images: Uint8Array, targets: Float32Array, width: number, draws: Uint32Array) {
    this.#seed = seed;
    this.#images = images;
    this.#targets = targets;
    this.#draws = draws;
    this.#imageSize = imageBytes(shape);
    this.#width = width;
  }

  read(cursor: number, count: number): Promise<Drawn> {
    const [size, width] = [this.#imageSize, this.#width];
    const images = new Uint8Array(count * size);
    const targets = new Float32Array(count * width);
    for (let at = 0; at < count; at += 1) {
      const sample = this.#draws[sampleAt(this.#seed, this.#draws.length, cursor + at)] ?? 0;
      images.set(this.#images.subarray(sample * size, (sample + 1) * size), at * size);
      targets.set(this.#targets.subarray(sample * width, (sample + 1) * width), at * width);
    }
    return Promise.resolve({ images, targets });
  }
}

/** @throws AlumnusError LABEL_OUT_OF_RANGE, SHARD_CORRUPT, IMAGE_CORRUPT, DIGEST_MISMATCH */
export async function heldLabeled(source: Source, seed: number, part: PartRef, { kind, teacherLabels, leftOut }: LabeledTargets): Promise<Draws> {
  const size = imageBytes(source.shape);
  const width = targetWidth(source, kind);
  const teacher = await teacherByKey(source, teacherLabels);
  const images = new Uint8Array(part.samples * size);
  const targets = new Float32Array(part.samples * width);
  const draws: number[] = [];
  let row = 0;
  for await (const piece of labeledPieces(source, part)) {
    images.set(piece.images, row * size);
    piece.keys.forEach((key, at) => leftOut?.keys.has(key) !== true && draws.push(row + at));
    piece.classes.forEach((truth, at) => writeTarget(targets, row++ * width, { truth, logProbabilities: teacher.get(piece.keys[at] ?? '') }, kind));
  }
  return new HeldDraws(source, seed, images, targets, width, Uint32Array.from(draws));
}

/** The images that a selection keeps, with the teacher's soft labels or the hard ones made of them. */
export async function heldSelected(source: Source, seed: number, { document, unlabeled, selection, pseudoLabels, kind, instead }: Selected): Promise<Draws> {
  const { store, shape, signal } = source;
  const width = targetWidth(source, kind);
  const kept = document.parts.reduce((sum, part) => sum + part.kept, 0);
  const size = imageBytes(shape);
  const images = new Uint8Array(kept * size);
  const targets = new Float32Array(kept * width);
  const draws = new Uint32Array(document.parts.reduce((sum, part) => sum + part.rows, 0));
  const shards = new Map(unlabeled.shards.map((shard) => [shard.name, shard]));
  const tables = new Map(pseudoLabels.map((each) => [each.shard, each.labels]));
  let sample = 0;
  let drawn = 0;
  for (const part of document.parts) {
    signal.throwIfAborted();
    const [shard, table] = [shards.get(part.shard), tables.get(part.shard)];
    invariant(shard !== undefined && table !== undefined && table.sha256 === part.labels, `the selection of ${part.shard} was cut from the labels that this training was given`);
    const [decoded, labels, copies] = await Promise.all([
      decodedShard(source, shard),
      store.get(table).then((bytes) => readLabelTable(bytes, table.key)),
      readSelectionPart(store, selection, part),
    ]);
    const rowOf = new Map(decoded.keys.map((key, row) => [key, row]));
    labels.keys.forEach((key, at) => {
      const times = copies.get(key);
      if (times === undefined) return;
      const row = rowOf.get(key);
      invariant(row !== undefined, `the labeled key ${key} lies in its shard`);
      images.set(decoded.images.subarray(row * size, (row + 1) * size), sample * size);
      writeTarget(targets, sample * width, { label: instead?.(key) ?? labels.classes[at] ?? 0, logProbabilities: labels.logProbabilities[at] }, kind);
      for (let copy = 0; copy < times; copy += 1) draws[drawn++] = sample;
      sample += 1;
    });
  }
  invariant(sample === kept && drawn === draws.length, 'every selected label is used, as often as was selected');
  return new HeldDraws(source, seed, images, targets, width, draws);
}
