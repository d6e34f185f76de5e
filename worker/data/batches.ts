/**
 * What training reads: labeled images, and the selected pseudo-labeled ones with their copies. Each batch is a pure
 * function of seed and step. The true labels of the unlabeled part cannot be reached from here, unless a caller brings them (truth.ts).
 *
 * A set that fits in `memoryBytes` decoded, one byte a value, with its targets, is held so (held.ts); a larger one is streamed block
 * by block (streamed.ts), and batches are made some steps ahead. Which of the two depends on manifest and selection alone.
 */
import { invariant } from '../../proto/errors.ts';
import type { LabeledShard, ObjectRef, PartRef } from '../../proto/gen/alumnus/v1/task.ts';
import { orAborted } from './ahead.ts';
import { imageBytes } from './decoded.ts';
import { heldLabeled, heldSelected } from './held.ts';
import { readSelection } from './select.ts';
import { bytesOfSample, targetWidth, type Draws, type LabeledTargets, type LeftOut, type Source, type TargetKind } from './source.ts';
import { StreamedDraws, streamedLabeled, streamedSelected } from './streamed.ts';
import type { LabelOf } from './truth.ts';

export interface TrainingBatch {
  /** `[labeled then pseudo-labeled, height, width, channels]` */
  readonly images: Uint8Array;
  /** `[labeled then pseudo-labeled, targetWidth]`: `[…, classes]` that sum to 1, or, of distillation, what `TargetKind` says. */
  readonly targets: Float32Array;
}

export interface BatchPlan {
  readonly batchLabeled: number;
  readonly batchUnlabeled: number;
  readonly seed: number;
  /**
   * What a set may take in memory, default MEMORY_BYTES: the whole of it decoded where it fits, else two blocks of encoded shards. Part of
   * the order: a set that is held in one and streamed in the other of two trainings is drawn in another order.
   */
  readonly memoryBytes?: number;
  /** What a block of shards may take, default half of `memoryBytes`. Part of the order, too. */
  readonly blockBytes?: number;
  /** Of distillation. Absent: targets are labels, true or a teacher's. */
  readonly distilled?: Distilled | undefined;
  /** Labeled images that no batch has. */
  readonly leftOut?: LeftOut | undefined;
}

/** That true labels stand apart from the teacher's word, and where that is: in the label tables, or not here. */
export type Distilled = { readonly teacher: 'online' } | {
  readonly teacher: 'stored';
  /** What it said of each labeled shard. */
  readonly labels: readonly LabeledShard[];
};

export interface SelectedPart {
  readonly unlabeled: PartRef;
  readonly selection: ObjectRef;
  readonly pseudoLabels: readonly LabeledShard[];
  readonly kind: Extract<TargetKind, 'soft' | 'hard'>;
  /** What stands in the place of a pseudo-label, as a hard label; default: nothing, the teacher's are learned from. */
  readonly instead?: LabelOf | undefined;
}

/** Of each of the two sets, well within the memory of a machine that has a device. */
export const MEMORY_BYTES = 1024 ** 3;
/** Batches made ahead of a training, where a set is streamed. */
const PREFETCH_BYTES = 256 * 1024 ** 2;
const PREFETCH_BATCHES_MAX = 16;
/** Keeps the order of the pseudo-labeled set apart from that of the labeled one. */
const SELECTED_SALT = 0x5bd1e995;

export interface Batches {
  /**
   * The batch of a step, whatever was asked for before; soonest where steps are asked for one after another.
   * @param end the step that nothing is made ahead from on; default: none
   * @throws as `openBatches`
   */
  at(step: number, end?: number): Promise<TrainingBatch>;
  /** Stops reading and lets go of everything. */
  close(): void;
}

/** @throws AlumnusError LABEL_OUT_OF_RANGE, OBJECT_NOT_FOUND, DIGEST_MISMATCH, SHARD_CORRUPT, IMAGE_CORRUPT; the signal's reason */
export async function openBatches(source: Source, plan: BatchPlan, labeled: PartRef, selected?: SelectedPart): Promise<Batches> {
  const closed = new AbortController();
  const within = { ...source, signal: AbortSignal.any([source.signal, closed.signal]) };
  const close = (): void => closed.abort();
  try {
    const parts: Part[] = [];
    if (plan.batchLabeled > 0) parts.push({ size: plan.batchLabeled, draws: await openLabeled(within, plan, labeled) });
    if (plan.batchUnlabeled > 0) {
      invariant(selected !== undefined, 'a training with pseudo-labeled batches has a selection');
      parts.push({ size: plan.batchUnlabeled, draws: await openSelected(within, { ...plan, seed: plan.seed ^ SELECTED_SALT }, selected) });
    }
    const make = (step: number): Promise<TrainingBatch> => batchOf(within, parts, step);
    if (parts.every(({ draws }) => draws.held)) return { at: make, close };
    const batchBytes = (plan.batchLabeled + plan.batchUnlabeled) * bytesOfSample(source, kindOf(plan, 'soft'));
    const prefetch = new Prefetch(make, Math.max(2, Math.min(PREFETCH_BATCHES_MAX, Math.floor(PREFETCH_BYTES / batchBytes))));
    return { at: (step, end = Infinity) => orAborted(prefetch.at(step, end), within.signal), close };
  } catch (thrown) {
    close();
    throw thrown;
  }
}

const kindOf = ({ distilled }: BatchPlan, otherwise: TargetKind): TargetKind => (distilled === undefined ? otherwise : distilled.teacher === 'online' ? 'truth' : 'stored');

async function openLabeled(source: Source, plan: BatchPlan, part: PartRef): Promise<Draws> {
  const memoryBytes = plan.memoryBytes ?? MEMORY_BYTES;
  const kind = kindOf(plan, 'hard');
  const targets: LabeledTargets = { kind, teacherLabels: plan.distilled?.teacher === 'stored' ? plan.distilled.labels : [], leftOut: plan.leftOut };
  if (part.samples * bytesOfSample(source, kind) <= memoryBytes) return heldLabeled(source, plan.seed, part, targets);
  return new StreamedDraws(source, plan.seed, await streamedLabeled(source, part, targets), targetWidth(source, kind), plan.blockBytes ?? memoryBytes / 2);
}

async function openSelected(source: Source, plan: BatchPlan, part: SelectedPart): Promise<Draws> {
  const kind = kindOf(plan, part.kind);
  const memoryBytes = plan.memoryBytes ?? MEMORY_BYTES;
  const document = await readSelection(source.store, part.selection);
  const kept = document.parts.reduce((sum, { kept: own }) => sum + own, 0);
  invariant(kept > 0, 'a training with pseudo-labeled batches has a selection that is not empty');
  const selected = { ...part, document, kind };
  if (kept * bytesOfSample(source, kind) <= memoryBytes) return heldSelected(source, plan.seed, selected);
  return new StreamedDraws(source, plan.seed, streamedSelected(source, selected), targetWidth(source, kind), plan.blockBytes ?? memoryBytes / 2);
}

interface Part {
  /** Samples of a batch. */
  readonly size: number;
  readonly draws: Draws;
}

/** The cursor of each part follows from the step alone. */
async function batchOf({ shape }: Source, parts: readonly Part[], step: number): Promise<TrainingBatch> {
  const drawn = await Promise.all(parts.map(({ draws, size }) => draws.read(step * size, size)));
  const [only] = drawn;
  if (only !== undefined && drawn.length === 1) return only;
  const total = parts.reduce((sum, { size }) => sum + size, 0);
  const images = new Uint8Array(total * imageBytes(shape));
  const targets = new Float32Array(drawn.reduce((sum, each) => sum + each.targets.length, 0));
  let [row, written] = [0, 0];
  drawn.forEach((each, at) => {
    images.set(each.images, row * imageBytes(shape));
    targets.set(each.targets, written);
    row += parts[at]?.size ?? 0;
    written += each.targets.length;
  });
  return { images, targets };
}

/** Makes the batches of the next steps while the present one is trained on. */
class Prefetch {
  readonly #make: (step: number) => Promise<TrainingBatch>;
  readonly #depth: number;
  readonly #ready = new Map<number, Promise<TrainingBatch>>();

  constructor(make: (step: number) => Promise<TrainingBatch>, depth: number) {
    this.#make = make;
    this.#depth = depth;
  }

  at(step: number, end: number): Promise<TrainingBatch> {
    for (const other of this.#ready.keys()) if (other < step || other > step + this.#depth) this.#ready.delete(other);
    // In the order of steps: a block is read on from, not turned back to.
    for (let next = step; next === step || (next <= step + this.#depth && next < end); next += 1) {
      if (this.#ready.has(next)) continue;
      const batch = this.#make(next);
      batch.catch(() => undefined);
      this.#ready.set(next, batch);
    }
    const batch = this.#ready.get(step);
    invariant(batch !== undefined, 'the step asked for is made');
    this.#ready.delete(step);
    return batch;
  }
}
