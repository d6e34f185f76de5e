/** What a task is given, beside its specification: the store, a cache, the device in turn, and ways to report and to stop. */
import { AlumnusError } from '../../proto/errors.ts';
import { Stage, type ImageSpec, type ObjectRef, type Task } from '../../proto/gen/alumnus/v1/task.ts';
import type { Progress } from '../../proto/gen/alumnus/v1/worker.ts';
import type { ImageShape } from '../../dataset/index.ts';
import type { ObjectStore } from '../../store/index.ts';

/** Of what a task's outputs and its record say about themselves; raised when a field changes its meaning. */
export const RECORD_SCHEMA_VERSION = 1;

export interface TaskContext {
  readonly task: Task;
  /** Of the teacher whose labels or student this is; empty where there is none. */
  readonly teacherSha256: string;
  readonly store: ObjectStore;
  readonly cacheFolder: string;
  readonly signal: AbortSignal;
  progress(progress: Progress): void;
  /** Runs `work` when the device is free; only there may TensorFlow be used. */
  onDevice<Result>(work: () => Promise<Result>): Promise<Result>;
}

const stageWords: Readonly<Record<Stage, string>> = {
  [Stage.UNSPECIFIED]: '', [Stage.LABEL]: 'label', [Stage.SELECT]: 'select', [Stage.TRAIN]: 'train',
  [Stage.EVALUATE]: 'evaluate', [Stage.PROMOTE]: 'promote', [Stage.UNRECOGNIZED]: '',
};

/**
 * What every output says about itself, so that a bucket without a journal can still be read. A function of the task alone:
 * some of it lies in the bytes of label tables, and two attempts at a task must give the same.
 */
export const aboutOf = ({ task, teacherSha256 }: Pick<TaskContext, 'task' | 'teacherSha256'>): Record<string, string> => ({
  'alumnus.schema': String(RECORD_SCHEMA_VERSION), 'alumnus.run': task.runId, 'alumnus.iteration': String(task.iteration), 'alumnus.stage': stageWords[task.stage],
  'alumnus.subject': task.subject, 'alumnus.try': String(task.try), 'alumnus.task': task.taskId, 'alumnus.seed': String(task.seed), 'alumnus.teacher': teacherSha256 || 'none',
});

export function required<Value>(value: Value | undefined, name: string): Value {
  if (value === undefined) throw new AlumnusError('USAGE', `the task's specification lacks ${name}`);
  return value;
}

export function shapeOf(image: ImageSpec | undefined): ImageShape {
  const { height, width, channels } = required(image, 'image');
  if (channels !== 1 && channels !== 3) throw new AlumnusError('USAGE', `images have 1 or 3 channels, not ${channels}`, { where: 'image' });
  return { height, width, channels };
}

export const putJson = async (context: TaskContext, json: string): Promise<ObjectRef> =>
  context.store.putAddressed(context.task.outputPrefix, Buffer.from(json), { extension: '.json', metadata: aboutOf(context) });
