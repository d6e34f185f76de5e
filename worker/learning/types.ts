/**
 * The words of learning: what a model is, what training it needs, what comes out.
 * Not for: anything that runs.
 */

export interface TensorData { name: string; shape: number[]; values: Float32Array }

/**
 * Noise on the input.
 * `affine`: rotation by up to `degrees` either way, translation by up to `translatePixels` in x and y, scaling by a
 * factor in [1 - scale, 1 + scale]; all uniform; with `flip`, half of the images mirrored left to right.
 * `randaugment`: `layers` operations in a row, each drawn uniformly from the list, at one magnitude (0 to 30).
 */
export type InputNoise =
  | { name: 'none' }
  | { name: 'affine'; degrees: number; translatePixels: number; scale: number; flip: boolean }
  | { name: 'randaugment'; operations: 'paper14' | 'tf16'; layers: number; magnitude: number };

/** `momentum` is of sgd and rmsprop, `decay` (of the mean square) and `epsilon` of rmsprop. */
export interface OptimizerSettings { name: 'adamw' | 'sgd' | 'rmsprop'; learningRate: number; weightDecay: number; momentum: number; decay: number; epsilon: number }
/** `decaySteps`, of exponential: the rate is multiplied by `decayFactor` every so many steps; 0: 146 times over the training, evenly. */
export interface ScheduleSettings { name: 'cosine' | 'constant' | 'exponential'; warmupSteps: number; decayFactor: number; decaySteps: number }

export interface TrainingSettings {
  steps: number;
  /** Samples a step from each source; a batch holds the labeled first. */
  batchLabeled: number;
  batchUnlabeled: number;
  optimizer: OptimizerSettings;
  schedule: ScheduleSettings;
  /** Of the weights that training hands back; 0 keeps the last weights. */
  emaDecay: number;
  /** Taken from a one-hot target and spread over all classes. Soft targets stay as they are, as in the published code. */
  labelSmoothing: number;
  /** Upper bound of the gradients' norm, all taken together; 0: none. */
  clipNorm: number;
  noise: InputNoise;
  seed: number;
}

export interface Batch {
  /** `[batchLabeled + batchUnlabeled, height, width, channels]` */
  images: Uint8Array;
  /** `[batchLabeled + batchUnlabeled, classes]`, each row sums to 1. */
  targets: Float32Array;
}

/** `loss` and `imagesPerSecond` are of the steps since the last report. */
export interface TrainingProgress { step: number; steps: number; loss: number; imagesPerSecond: number; learningRate: number }

/** Mean loss over the steps since the point before. */
export interface LossPoint { step: number; loss: number }

/** A training between two steps: with its architecture, settings and batches, all that the next steps depend on. */
export interface TrainingState {
  /** Steps done. */
  readonly step: number;
  /** Every variable of the step, by name: weights, their averages, the optimizer's slots and count, running statistics. */
  readonly variables: Readonly<Record<string, Float32Array>>;
  readonly lossCurve: readonly LossPoint[];
  /** Of finite losses since the curve's last point. */
  readonly lossSum: number;
  readonly lossCount: number;
  /** The step that this training went back to, to go on at a lower rate; absent where it never did. */
  readonly wentBackTo?: number;
}
