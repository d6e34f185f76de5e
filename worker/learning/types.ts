/**
 * The words of learning: what a model is, what training it needs, what comes out.
 * Not for: anything that runs.
 */
import type { Architecture, Distill, Noise, Recipe } from '../../recipe/index.ts';

export interface TensorData { name: string; shape: number[]; values: Float32Array }

type Camel<Name> = Name extends `${infer First}_${infer Rest}` ? `${First}${Capitalize<Camel<Rest>>}` : Name;
/** The recipe's options under our names, each member of a union by itself: `translate_pixels` becomes `translatePixels`. */
export type CamelKeys<Options> = Options extends object ? { [Name in keyof Options as Camel<Name & string>]: Options[Name] } : Options;

/** The recipe's noise (recipe/schema.ts says what each option means). What is absent is off. */
export type InputNoise = CamelKeys<Noise['input']>;
export type Erasing = CamelKeys<NonNullable<Noise['erasing']>>;
export type Mixing = CamelKeys<NonNullable<Noise['mix']>>;

/** Noise on each image by itself. */
export interface ImageNoise {
  noise: InputNoise;
  erasing?: Erasing | undefined;
}

/** `momentum` is of sgd and rmsprop, `decay` (of the mean square) and `epsilon` of rmsprop. */
export interface OptimizerSettings { name: Recipe['training']['optimizer']['name']; learningRate: number; weightDecay: number; momentum: number; decay: number; epsilon: number }
/** `decaySteps`, of exponential: the rate is multiplied by `decayFactor` every so many steps; 0: 146 times over the training, evenly. */
export interface ScheduleSettings { name: Recipe['training']['schedule']['name']; warmupSteps: number; decayFactor: number; decaySteps: number }

/**
 * Dropout and stochastic depth are off. `freeze`: share of the model's parts, from the input on, that stay as they are, their running
 * statistics, too, by which they normalize (recipe/models/fine-tuning.ts).
 */
export interface FineTuningSettings { freeze: number }

/** training.distill of the recipe: distillation.ts says what is made of it. */
export type DistillationSettings = Distill;

/** A teacher that labels within the step. `weights` in no particular order. */
export interface OnlineTeacher { readonly architecture: Architecture; readonly weights: readonly TensorData[] }

/** Measured every `everySteps` steps and at the end; over after `patience` measurements that were not lower than the least by more than `minDelta`, in nats. */
export interface EarlyStopSettings { everySteps: number; patience: number; minDelta: number }

/** What was measured of a training so far. */
export interface EarlyStopState {
  readonly curve: readonly LossPoint[];
  /** Measurements since the best. */
  readonly since: number;
  /** `weights` by name, as training hands them back. Absent while no loss was finite. */
  readonly best?: { readonly step: number; readonly loss: number; readonly weights: Readonly<Record<string, Float32Array>> };
}

export interface TrainingSettings extends ImageNoise {
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
  /** Of images and their targets with one another. */
  mixing?: Mixing | undefined;
  /** Present: no training from scratch, but fine-tuning of weights that are given. Absent: from scratch. */
  fineTuning?: FineTuningSettings | undefined;
  earlyStop?: EarlyStopSettings | undefined;
  /** Of a student that its teacher is distilled into. */
  distillation?: DistillationSettings | undefined;
  seed: number;
}

export interface Batch {
  /** `[batchLabeled + batchUnlabeled, height, width, channels]` */
  images: Uint8Array;
  /**
   * `[batchLabeled + batchUnlabeled, classes]`, each row sums to 1. Of distillation a row is the true label, or zeros where nobody knows it; with a stored
   * teacher `[…, 2 classes]`, behind it the teacher's log-probabilities.
   */
  targets: Float32Array;
}

/** `loss` and `imagesPerSecond` are of the steps since the last report. */
export interface TrainingProgress { step: number; steps: number; loss: number; imagesPerSecond: number; learningRate: number }

/** Mean loss over the steps since the point before. */
export interface LossPoint { step: number; loss: number }

/** A round of a training that replicas share, as its merge saw it. */
export interface MergedRound {
  /** Steps of the training that are done after it. */
  readonly step: number;
  /** By rising replica: the digest of the state that it left. Who was left out is not here. */
  readonly replicas: readonly { readonly replica: number; readonly state: string }[];
}

/** A training that replicas share, between two rounds. */
export interface Merged {
  /** Steps of the training that are done. */
  readonly step: number;
  /** `mergedVariables` by name. */
  readonly variables: Readonly<Record<string, Float32Array>>;
  /** A point a round: the mean of its replicas'. */
  readonly lossCurve: readonly LossPoint[];
  /** The step that a replica first went back to: from the round after on all go on at the lower rate. Absent where none ever did. */
  readonly wentBackTo?: number;
  readonly rounds: readonly MergedRound[];
}

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
  /** Of a training with early stop. */
  readonly earlyStop?: EarlyStopState;
}

/** Which head of a model with a distillation token predicts. Others have one, whatever is asked for. */
export type PredictingHead = 'both' | 'class' | 'distillation';
