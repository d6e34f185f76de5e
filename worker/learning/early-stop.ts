/**
 * Early stop: the loss of the averaged weights on labeled images that no training saw, every so many steps. A training ends where it
 * has not fallen for a while, and hands back the weights that had the least. The rule is that of Keras' `EarlyStopping` with
 * `restore_best_weights`. Not for: which images those are (../data); promotions, which validation decides.
 * Invariant: what was measured is part of a training's state, so that a training that goes on stops where it would have.
 */
import { negativeLogLikelihood } from './calibration.ts';
import { createReloadablePredictor, type ReloadablePredictor } from './predict.ts';
import type { Architecture } from '../../recipe/index.ts';
import type { EarlyStopSettings, EarlyStopState, TensorData } from './types.ts';

/** The images to measure on, as pixels `[count, height, width, channels]`, and their classes `[count]`. */
export interface HeldOut {
  readonly images: Uint8Array;
  readonly truth: Uint16Array;
}

export const nothingMeasured: EarlyStopState = { curve: [], since: 0 };

/** The state after one more measurement. A loss that is no number is no improvement. */
export function measured(state: EarlyStopState, step: number, loss: number, weights: readonly TensorData[], { minDelta }: EarlyStopSettings): EarlyStopState {
  const curve = [...state.curve, { step, loss }];
  const improved = loss < (state.best?.loss ?? Infinity) - minDelta;
  if (!improved) return { ...state, curve, since: state.since + 1 };
  return { curve, since: 0, best: { step, loss, weights: Object.fromEntries(weights.map(({ name, values }) => [name, values])) } };
}

export const isOver = ({ since }: EarlyStopState, { patience }: EarlyStopSettings): boolean => since >= patience;

/** Measures weights of one architecture, one after the other; its program is compiled once. */
export class HeldOutLoss {
  readonly #architecture: Architecture;
  readonly #heldOut: HeldOut;
  readonly #batchSize: number;
  #predictor: ReloadablePredictor | undefined;

  constructor(architecture: Architecture, heldOut: HeldOut, batchSize: number) {
    this.#architecture = architecture;
    this.#heldOut = heldOut;
    this.#batchSize = Math.min(batchSize, heldOut.truth.length);
  }

  /** Mean negative log-likelihood in nats, of clean predictions. The event loop is free between batches. */
  async of(weights: readonly TensorData[]): Promise<number> {
    if (this.#predictor === undefined) this.#predictor = await createReloadablePredictor(this.#architecture, weights, this.#batchSize);
    else this.#predictor.load(weights);
    const { images, truth } = this.#heldOut;
    const logProbabilities = await this.#predictor.logProbabilities(images, truth.length);
    return negativeLogLikelihood({ logProbabilities, truth, classes: this.#architecture.classes });
  }

  dispose(): void {
    this.#predictor?.dispose();
  }
}
