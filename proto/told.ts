/**
 * What programs of the worker's, which the command line asks once each, tell it as JSON: one description for who writes it and who reads it.
 * Not for: what goes over the network or is kept (proto/alumnus).
 */
import type { LabelThreshold } from './gen/alumnus/v1/operator.ts';
import type { Machine } from './gen/alumnus/v1/record.ts';

/** What a model costs where it runs, as `worker/measure` says. */
export interface Measured {
  readonly model: string;
  readonly parameters: number;
  /** Of one image. */
  readonly multiplyAdds: number;
  /** Of the model's own files, by format, then by what kernels are stored in. */
  readonly bytes: Readonly<Record<string, Readonly<Record<string, number>>>>;
  readonly latencyMs: { readonly p50: number; readonly p95: number; readonly predictions: number };
  readonly memoryBytes: { readonly peak: number; readonly withoutModel: number };
  readonly device: string;
  readonly threads: number;
}

export interface NamedClass {
  readonly class: number;
  readonly name: string;
}

/** What became of the label. `left-out`: no selection takes it, whatever it is; `labeled` and `waiting`: there is a label and no selection yet, or neither; `lost`: its shard was quarantined. */
export type Outcome = 'kept' | 'dropped' | 'left-out' | 'labeled' | 'waiting' | 'lost';

export type Reason =
  /** Kept, or dropped because the whole class has no copies. */
  | { readonly kind: 'within-budget' }
  /** More eligible than the class's budget: the most confident are kept. `by`: whether log-odds or, of equals, the seeded hash decided. */
  | { readonly kind: 'above-cut' | 'below-cut'; readonly by: 'log-odds' | 'hash' }
  | { readonly kind: 'below-threshold' }
  /** It looks like an image that judges. */
  | { readonly kind: 'near-duplicate'; readonly part: 'validation' | 'test'; readonly of: string; readonly distance: number; readonly correlation: number }
  /** A person gave it a label, by which it is learned from. */
  | { readonly kind: 'reviewed' }
  | { readonly kind: 'shard-quarantined'; readonly why: string }
  | { readonly kind: 'not-yet' };

export interface IterationExplained {
  readonly iteration: number;
  readonly try: number;
  /** What became of the student that learned from it: promoted, refused, or empty. */
  readonly decision: string;
  readonly teacher: { readonly sha256: string; readonly iteration: number };
  readonly outcome: Outcome;
  readonly reason: Reason;
  /** How often an epoch of the student's pseudo-labels has it. */
  readonly copies: number;
  readonly label?: NamedClass & {
    /** log(p / (1 - p)), float32, as ranked. */
    readonly logOdds: number;
    /** 0 to 1, of `logOdds`. */
    readonly confidence: number;
    /** By falling probability; from float16 logarithms, so with an error of |ln p| / 2048 at most. */
    readonly probabilities: readonly (NamedClass & { readonly probability: number })[];
    readonly table: string;
  };
  /** Without log-odds where the confidence is 0 or 1, whose are no number that JSON has. */
  readonly threshold?: LabelThreshold & { readonly logOdds: number | null };
  /** Of the label's class, where there is a selection and the label is eligible. */
  readonly ranking?: {
    readonly eligible: number;
    readonly budget: number;
    /** Copies of every eligible label, and how many of the most confident have one more. */
    readonly copies: number;
    readonly oneMore: number;
    /** From 0, the most confident; a range where its bin was not gone through. */
    readonly rankFrom: number;
    readonly rankTo: number;
    /** Of the last label before the cut; absent where there is no cut, or the label is far from it. */
    readonly cutLogOdds?: number;
  };
  readonly selection?: string;
}

export interface SampleExplained {
  readonly run: string;
  readonly key: string;
  /** Where it was imported from, where the dataset tells. */
  readonly origin?: string;
  readonly shard: string;
  readonly dataset: string;
  /** For audits and comparisons: no teacher, student or selection was given it. */
  readonly truth?: NamedClass;
  /** What a person gave it in a review, and from which iteration on the students learn that; 0: from before the run. */
  readonly reviewed?: NamedClass & { readonly fromIteration: number };
  readonly iterations: readonly IterationExplained[];
}

/** Why a label is worth a look. */
export type ReviewReason = 'small margin' | 'teachers disagree' | 'near the threshold';

/** A label that is worth a person's look, as `worker/review` says. */
export interface ReviewRow {
  readonly key: string;
  readonly dataset: string;
  readonly shard: string;
  /** A file, where image files were asked for; else the tar and, behind a #, the key. */
  readonly image: string;
  readonly label: NamedClass;
  readonly confidence: number;
  readonly second: NamedClass;
  /** Between the two, 0 to 1. */
  readonly margin: number;
  /** What earlier teachers said, one each, first to last. */
  readonly earlier: readonly NamedClass[];
  /** `labeled`: nothing is selected yet. */
  readonly outcome: 'kept' | 'repeated' | 'dropped' | 'labeled';
  readonly copies: number;
  readonly reasons: readonly ReviewReason[];
  /** 0 to 1; worker/data/review-queue.ts has the formula. */
  readonly score: number;
}

/** A person's answer to one, as the command line gives it to `worker/review`. */
export interface ReviewAnswer {
  /** Of the file, from 1. */
  readonly line: number;
  readonly key: string;
  readonly shard: string;
  readonly label: string;
}

/** A task that was done again, as `worker/reproduce` says. */
export interface Reproduction {
  readonly taskId: string;
  readonly kind: 'label' | 'select' | 'train' | 'replica' | 'merge' | 'import';
  readonly subject: string;
  /** `failed`: it could not be done again, and `note` says why. */
  readonly verdict: 'same' | 'differs' | 'failed';
  readonly outputs: readonly { readonly name: string; readonly accepted: string; readonly again: string }[];
  /** The error's sentence; of weights that differ, by how much. */
  readonly note: string;
  /** What the accepted result was computed on; absent in records of earlier releases. */
  readonly machine?: Machine;
}
