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

export interface OptimizerSettings { name: 'adamw' | 'sgd'; learningRate: number; weightDecay: number; momentum: number }
export interface ScheduleSettings { name: 'cosine' | 'constant' | 'exponential'; warmupSteps: number }

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
