/**
 * What a task that is not about a shard is about: the one table of subjects, and the names of the parts of a training that
 * several workers share. Not for: what follows from them, which is the run's to decide. A shard may have any of these names,
 * so the stage is always asked, too.
 */
import { Stage } from './gen/alumnus/v1/task.ts';

export const subjects = { student: 'student', control: 'control', selection: 'selection', audit: 'audit', teacher: 'teacher', fineTuned: 'student.fine-tuned', controlFineTuned: 'control.fine-tuned' } as const;

/** Of a task, or of a fact about one. */
interface Place {
  readonly stage: Stage;
  readonly subject: string;
}

/** One replica of one round of a shared training, or, without `replica`, the merge that ends the round. */
export interface TrainingPart {
  readonly training: 'student' | 'control';
  readonly round: number;
  readonly replica?: number;
}

const PART = /^(student|control)\.r(\d{4,})\.(?:k(\d+)|merge)$/;

/** Such as `student.r0012.k3`, and `student.r0012.merge`. */
export const partSubject = ({ training, round, replica }: TrainingPart): string => `${training}.r${String(round).padStart(4, '0')}.${replica === undefined ? 'merge' : `k${replica}`}`;

/** Undefined for all that is no part of a shared training, the training as a whole included. */
export function partOf({ stage, subject }: Place): TrainingPart | undefined {
  const [, training, round, replica] = (stage === Stage.TRAIN ? PART.exec(subject) : null) ?? [];
  if (training === undefined) return undefined;
  return { training: training === subjects.control ? 'control' : 'student', round: Number(round), ...(replica === undefined ? {} : { replica: Number(replica) }) };
}

/** Whether it is about the control, or a part of the control's training or its fine-tuning; all run beside the stages. */
export const isControl = (place: Place): boolean => place.stage !== Stage.LABEL && (place.subject === subjects.control || place.subject === subjects.controlFineTuned || partOf(place)?.training === subjects.control);

/** Whether it is about a model after fine-tuning. */
export const isFineTuned = ({ stage, subject }: Place): boolean => stage !== Stage.LABEL && (subject === subjects.fineTuned || subject === subjects.controlFineTuned);

export const isAudit = ({ stage, subject }: Place): boolean => stage === Stage.EVALUATE && subject === subjects.audit;

/** A shard's own name has no dot (`shardName` in dataset/shards.ts). */
const LABELED = 'labeled.';

/** Of the label task of a shard of the labeled part, which may be called what a shard of the unlabeled part is called. */
export const labeledSubject = (shard: string): string => `${LABELED}${shard}`;

/** Whether it is about a teacher's labels of a labeled shard. */
export const isOfLabeled = ({ stage, subject }: Place): boolean => stage === Stage.LABEL && subject.startsWith(LABELED);
