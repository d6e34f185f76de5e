/**
 * What a task that is not about a shard is about: the one table of subjects, and the names of the parts of a training that
 * several workers share. Not for: what follows from them, which is the run's to decide. A shard may have any of these names,
 * so the stage is always asked, too.
 */
import { Stage } from './gen/alumnus/v1/task.ts';

export const subjects = { student: 'student', control: 'control', selection: 'selection', audit: 'audit', teacher: 'teacher', fineTuned: 'student.fine-tuned', judging: 'fingerprint.judging' } as const;

/** Of a task, or of a fact about one. */
interface Place {
  readonly stage: Stage;
  readonly subject: string;
}

/** Of a training beside the stages that the recipe asks for by name. A name has no dots. */
export const comparisonSubject = (name: string): string => `comparison.${name}`;

/** Of the model that a training's model becomes by fine-tuning. @param training the training's own subject */
export const fineTunedSubject = (training: string): string => `${training}.fine-tuned`;

/** One replica of one round of a shared training, or, without `replica`, the merge that ends the round. */
export interface TrainingPart {
  /** The subject of the training as a whole. */
  readonly training: string;
  readonly round: number;
  readonly replica?: number;
}

const PART = /^(student|control|comparison\.[a-z0-9-]+)\.r(\d{4,})\.(?:k(\d+)|merge)$/;
const BESIDE = /^(control|comparison\.[a-z0-9-]+)(?:\.|$)/;

/** Such as `student.r0012.k3`, and `student.r0012.merge`. */
export const partSubject = ({ training, round, replica }: TrainingPart): string => `${training}.r${String(round).padStart(4, '0')}.${replica === undefined ? 'merge' : `k${replica}`}`;

/** Undefined for all that is no part of a shared training, the training as a whole included. */
export function partOf({ stage, subject }: Place): TrainingPart | undefined {
  const [, training, round, replica] = (stage === Stage.TRAIN ? PART.exec(subject) : null) ?? [];
  if (training === undefined) return undefined;
  return { training, round: Number(round), ...(replica === undefined ? {} : { replica: Number(replica) }) };
}

/** The subject of the training beside the stages that it is about (the control's, or a comparison's), or a part or the fine-tuning of; undefined for what is of a stage. */
export const besideOf = ({ stage, subject }: Place): string | undefined => (stage === Stage.LABEL ? undefined : BESIDE.exec(subject)?.[1]);

const MEASURE = 'measure.';

/** Of the measurement of a model. @param model `teacher`, or the subject of its training */
export const measureSubject = (model: string): string => `${MEASURE}${model}`;

/** The model that it measures; undefined for all else. */
export const measuredOf = ({ stage, subject }: Place): string | undefined => (stage === Stage.EVALUATE && subject.startsWith(MEASURE) ? subject.slice(MEASURE.length) : undefined);

/** Whether it runs beside the stages. */
export const isBeside = (place: Place): boolean => besideOf(place) !== undefined || measuredOf(place) !== undefined;

/** Whether it is about a model after fine-tuning. */
export const isFineTuned = ({ stage, subject }: Place): boolean => stage !== Stage.LABEL && subject.endsWith('.fine-tuned');

export const isAudit = ({ stage, subject }: Place): boolean => stage === Stage.EVALUATE && subject === subjects.audit;

/** A shard's own name has no dot (`shardName` in dataset/shards.ts). */
const LABELED = 'labeled.';

/** Of the label task of a shard of the labeled part, which may be called what a shard of the unlabeled part is called. */
export const labeledSubject = (shard: string): string => `${LABELED}${shard}`;

/** Of the task that looks through a shard for near-duplicates of images that judge. @param shard its name, of a labeled one its `labeledSubject` */
export const fingerprintSubject = (shard: string): string => `fingerprint.shard.${shard}`;

/** Whether it is about a teacher's labels of a labeled shard. */
export const isOfLabeled = ({ stage, subject }: Place): boolean => stage === Stage.LABEL && subject.startsWith(LABELED);
