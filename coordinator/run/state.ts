/**
 * What is known of a run: the fold of its facts, and nothing that those do not hold. Leases, progress and workers live
 * in the scheduler; what a coordinator shows of a run is put together from both in `api`.
 */
import type { Map as ImmutableMap } from 'immutable';
import { invariant } from '../../proto/errors.ts';
import type { Gate, LabelsReviewed, RunData, TaskPlace } from '../../proto/gen/alumnus/v1/events.ts';
import type { AuditResult, Checkpoint, EvaluateResult, FingerprintResult, ImportResult, LabelResult, ObjectRef, ReplicaResult, SelectResult, Stage, TrainResult, MeasureResult } from '../../proto/gen/alumnus/v1/task.ts';
import { stageName } from '../../proto/stages.ts';
import type { Recipe } from '../../recipe/index.ts';

export { besideOf, comparisonSubject, fineTunedSubject, isAudit, isBeside, isFineTuned, measuredOf, measureSubject, subjects } from '../../proto/subjects.ts';

export type Phase = 'running' | 'paused' | 'succeeded' | 'failed' | 'cancelled';

export interface Failure {
  readonly workerId: string;
  readonly code: string;
  readonly message: string;
  readonly atMs: number;
}

export interface Trained {
  readonly result: TrainResult;
  readonly deviceMs: number;
}

/** One try of one iteration. A try that is taken again, refused or gone back before by a person, moves to `refusedTries` of the run. */
export interface IterationState {
  readonly iteration: number;
  readonly try: number;
  /** The teacher that labels this iteration; undefined in iteration 0. */
  readonly teacher: ObjectRef | undefined;
  readonly labels: ImmutableMap<string, LabelResult>;
  readonly quarantined: ImmutableMap<string, string>;
  readonly selection?: SelectResult;
  readonly student?: Trained;
  /** Of iteration 0 where its model came from elsewhere; `student` then tells of no steps, and of 0 parameters where their number is not known. */
  readonly imported?: ImportResult;
  readonly evaluation?: EvaluateResult;
  /** The student after fine-tuning, where the recipe has that. */
  readonly fineTuned?: Trained;
  readonly fineTunedEvaluation?: EvaluateResult;
  readonly audit?: AuditResult;
  readonly auditGivenUp?: string;
  readonly decision?: 'promoted' | 'refused';
  /** A person promoted it, whatever the gate said: why. */
  readonly chosen?: string;
  readonly gate?: Gate;
  /** A person has seen the refusal and resumed the run. */
  readonly acknowledged?: boolean;
  /** A person has seen that classes have few labels and resumed the run. */
  readonly coverageAcknowledged?: boolean;
  /** Rules of guards whose pause a person has resumed the run from. */
  readonly passed?: readonly string[];
}

/** A training beside the stages, and its model's evaluation. */
export interface BesideState {
  readonly trained?: Trained;
  readonly evaluation?: EvaluateResult;
  readonly fineTuned?: Trained;
  readonly fineTunedEvaluation?: EvaluateResult;
  readonly givenUp?: string;
}

/** Of one model: what it costs and keeps. */
export interface MeasurementState {
  readonly result?: MeasureResult;
  readonly givenUp?: string;
}

/** What a run may spend, and what it has spent. Nothing here ever decreases but the limits. */
export interface Budget {
  /** Limits in hours; 0: none. */
  readonly deviceHours: number;
  readonly wallHours: number;
  /** Of accepted results and of failed attempts, handed back or not: the device was held. */
  readonly deviceMsSpent: number;
  /** From submission to `runningSinceMs`, time paused left out. */
  readonly wallMsSpent: number;
  /** When the run last began or went on; undefined while it is paused and once it has ended. */
  readonly runningSinceMs: number | undefined;
}

/** Rules of our own that pause a run and that need to know later that it was they. */
export const pauseRules = { budget: 'budget', coverage: 'coverage', precision: 'precision', skew: 'skew', calibration: 'calibration', cancel: 'cancel', quota: 'quota' } as const;

/** Those that are about a teacher's labels, and so hold as long as the teacher. */
export const labelGuards: readonly string[] = [pauseRules.precision, pauseRules.skew];
/** Those of `guards.ts`: whoever resumes goes on with what was seen. */
export const guardRules: readonly string[] = [...labelGuards, pauseRules.calibration];

export interface Teacher {
  readonly model: ObjectRef;
  readonly iteration: number;
  /** Before fine-tuning, which may add positions: by these a ladder grows. */
  readonly parameters: number;
  readonly evaluation: EvaluateResult;
}

/** A training that several workers share (rounds.ts), from its first round until it is done. */
export interface SharedTraining {
  /** The training, as one worker alone would do it. */
  readonly training: TaskPlace;
  /** Rounds whose merge is done. */
  readonly merges: number;
  /** What the last merge wrote; absent before the first. */
  readonly merged?: ObjectRef;
  /** Of the replicas that the last merge took, by rising replica: what each left. */
  readonly optimizers: readonly ObjectRef[];
  /** Places in the order of the data that the merged rounds used, those of replicas that were left out, too. */
  readonly batches: number;
  /** Images that the replicas of the merged rounds saw, without those that were left out. */
  readonly images: number;
  /** Replicas of the merged rounds that were not merged. */
  readonly leftOut: number;
  /** Of all accepted results. */
  readonly deviceMs: number;
  /** The round under way; absent between a merge and the next round's begin. */
  readonly current?: Round;
}

export interface Round {
  /** 0 is the first: as many as were merged before it. */
  readonly round: number;
  readonly replicas: number;
  /** When it was opened and when its quorum was there, in the run's wall time (`wallMsSpent`): time paused keeps no replica waiting. */
  readonly openedWallMs: number;
  readonly quorumWallMs?: number;
  /** By replica. */
  readonly results: ImmutableMap<number, ReplicaResult>;
  /** Why each of these is not waited for. */
  readonly givenUp: ImmutableMap<number, string>;
  /** The replicas that are merged, rising; absent while the round is open. */
  readonly included?: readonly number[];
}

export interface RunState {
  readonly runId: string;
  readonly name: string;
  /** Empty: the default one. */
  readonly project: string;
  readonly recipe: Recipe;
  readonly recipeJson: string;
  readonly data: RunData;
  /** Where `data` lies in the bucket; undefined where the run's first fact holds it. */
  readonly dataRef?: ObjectRef;
  readonly phase: Phase;
  readonly reason: string;
  /** Which of `pauseRules` paused it; empty where it is not paused, or where a person or another cause paused it. */
  readonly pauseRule: string;
  /** `operator` or `alumnus`, as `RunPaused` says; empty where it is not paused. */
  readonly pausedBy: string;
  readonly budget: Budget;
  /** What its accepted results take in the object store, in bytes: what they name, and the weights of models as float32. Nothing here ever decreases. */
  readonly storedBytes: number;
  readonly submittedAtMs: number;
  readonly endedAtMs: number;
  readonly iteration: number;
  readonly stage: Stage;
  readonly try: number;
  readonly stageEnteredAtMs: number;
  readonly iterations: readonly IterationState[];
  readonly refusedTries: readonly IterationState[];
  readonly teacher?: Teacher;
  /** Every promoted model, first to last: the best of them by validation is what the run returns. */
  readonly promoted: readonly Teacher[];
  readonly control: BesideState;
  /** By subject; absent before anything of it is known. */
  readonly comparisons: ImmutableMap<string, BesideState>;
  /** What `compress` measured, by subject; absent before anything of it is known. */
  readonly measurements: ImmutableMap<string, MeasurementState>;
  /** Of the tasks that look for near-duplicates, by subject: what judges, and each shard that was looked through. */
  readonly fingerprints: ImmutableMap<string, FingerprintResult>;
  /** Labels that people gave, in order. */
  readonly reviews: readonly LabelsReviewed[];
  /** Gates decided so far. */
  readonly gates: number;
  /** Device time of the last evaluation, for who asks how long others will take; absent before the first, and in snapshots of earlier releases. */
  readonly evaluationMs?: number;
  /** Failures that count, of tasks still open, by task id. */
  readonly failures: ImmutableMap<string, readonly Failure[]>;
  /** Of trainings still open, by task id: newest first, at most CHECKPOINTS_MAX. */
  readonly checkpoints: ImmutableMap<string, readonly Checkpoint[]>;
  /** Trainings under way that several workers share, by the task id of each as one worker alone would do it. */
  readonly rounds: ImmutableMap<string, SharedTraining>;
  /** The last manifest in the object store, its number, and how many of the run's facts it and those before it hold. */
  readonly manifest?: { readonly ref: ObjectRef; readonly number: number; readonly facts: number };
  readonly best?: { readonly model: ObjectRef; readonly iteration: number };
}

/** The newest and, should its bytes be lost, the one before. */
export const CHECKPOINTS_MAX = 2;

/** What the id of every task of this place begins with; what follows is the digest of all that goes in. */
export const taskIdPrefix = (place: Pick<TaskPlace, 'iteration' | 'stage' | 'subject' | 'try'>): string => `i${place.iteration}.${stageName(place.stage)}.${place.subject}.t${place.try}-`;

export const placeOf = ({ taskId, iteration, stage, subject, try: attempt }: TaskPlace): TaskPlace => ({ taskId, iteration, stage, subject, try: attempt });

/** An operator wants its end, and what is under way is waited for. */
export const isCancelling = ({ phase, pauseRule }: Pick<RunState, 'phase' | 'pauseRule'>): boolean => phase === 'paused' && pauseRule === pauseRules.cancel;

export const isEnded = (phase: Phase): boolean => phase === 'succeeded' || phase === 'failed' || phase === 'cancelled';

export function currentIteration(state: RunState): IterationState {
  const current = state.iterations[state.iteration];
  invariant(current !== undefined, 'a run is in one of its iterations');
  return current;
}
