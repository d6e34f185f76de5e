/** What a task is given, beside its specification: the store, a cache, the device in turn, and ways to report and to stop. */
import { AlumnusError } from '../../proto/errors.ts';
import type { Checkpoint, ImageSpec, ObjectRef, Task } from '../../proto/gen/alumnus/v1/task.ts';
import type { Progress } from '../../proto/gen/alumnus/v1/worker.ts';
import { RECORD_SCHEMA_VERSION } from '../../proto/record.ts';
import { stageName } from '../../proto/stages.ts';
import type { ImageShape } from '../../dataset/index.ts';
import type { ObjectStore } from '../../store/index.ts';

export interface TaskContext {
  readonly task: Task;
  readonly store: ObjectStore;
  readonly cacheFolder: string;
  readonly signal: AbortSignal;
  progress(progress: Progress): void;
  /** Of a training: it lies in the store, verified. */
  checkpoint(checkpoint: Checkpoint): void;
  /** For the worker's log: what a person may want to know of an attempt that goes on. */
  note(line: string): void;
  /** Runs `work` when the device is free; only there may TensorFlow be used. */
  onDevice<Result>(work: () => Promise<Result>): Promise<Result>;
  /** Of a task on a thread that has no TensorFlow, whose `onDevice` serves nobody; default: `predictHere` within `onDevice`. */
  readonly predict?: Predict;
}

/** Which predictions: a label task's, without the images. */
export interface PredictionSpec {
  readonly teacher: ObjectRef;
  readonly batchSize: number;
  /** Of the ablation of a noised teacher; absent: clean. */
  readonly teacherNoiseJson: string | undefined;
  /** Of the noise. */
  readonly seed: number;
}

export interface ImageBatch {
  /** `[count, height, width, channels]`, in a buffer of its own: it may be given to another thread. */
  readonly images: Uint8Array;
  /** At most the batch size; less in the last batch alone. */
  readonly count: number;
}

/**
 * Asks for the device once the first batch is there, and holds it until the last one is predicted. The batches are closed whatever the end.
 * @param take gets the log-probabilities `[count, classes]` of each batch, in order
 * @returns milliseconds from the first batch's prediction to the last one's end, compiling left out
 */
export type Predict = (spec: PredictionSpec, batches: AsyncIterable<ImageBatch>, take: (logProbabilities: Float32Array) => void) => Promise<number>;

/** In a checkpoint's metadata beside what every output says: steps done. */
export const CHECKPOINT_STEP = 'alumnus.step';

/** Digest of the teacher whose labels a task writes or selects; empty where it has none, or where its specification names none (a training's names its selection, which knows who wrote the labels). */
export function teacherOf({ spec }: Task): string {
  switch (spec?.$case) {
    case 'label': return spec.value.teacher?.sha256 ?? '';
    case 'select': return spec.value.teacherSha256;
    default: return '';
  }
}

/**
 * What every output says about itself, so that a bucket without a journal can still be read. A function of the task
 * alone: whichever worker does it, and however often, the bytes that hold this are the same.
 */
export function describe(task: Task, teacher = teacherOf(task)): Record<string, string> {
  return {
    'alumnus.schema': String(RECORD_SCHEMA_VERSION), 'alumnus.run': task.runId, 'alumnus.iteration': String(task.iteration), 'alumnus.stage': stageName(task.stage),
    'alumnus.subject': task.subject, 'alumnus.try': String(task.try), 'alumnus.seed': String(task.seed), 'alumnus.task': task.taskId, ...(teacher === '' ? {} : { 'alumnus.teacher': teacher }),
  };
}

/** @param teacher of a training, whose selection knows it and whose specification does not. */
export const aboutOf = ({ task }: TaskContext, teacher?: string): Record<string, string> => describe(task, teacher);

export function required<Value>(value: Value | undefined, name: string): Value {
  if (value === undefined) throw new AlumnusError('USAGE', `the task's specification lacks ${name}`);
  return value;
}

export function shapeOf(image: ImageSpec | undefined): ImageShape {
  const { height, width, channels } = required(image, 'image');
  if (channels !== 1 && channels !== 3) throw new AlumnusError('USAGE', `images have 1 or 3 channels, not ${channels}`, { where: 'image' });
  return { height, width, channels };
}

export const putJson = async (context: TaskContext, json: string, teacher?: string): Promise<ObjectRef> =>
  context.store.putAddressed(context.task.outputPrefix, Buffer.from(json), { extension: '.json', metadata: aboutOf(context, teacher) });
