/** What the worker and its engine say to each other over the channel of the child process, and the engine's thread and its label thread over theirs. */
import type { ErrorCode } from '../../proto/errors.ts';
import type { Checkpoint, Task, TaskResult } from '../../proto/gen/alumnus/v1/task.ts';
import type { Progress } from '../../proto/gen/alumnus/v1/worker.ts';
import type { ImageBatch, PredictionSpec } from '../tasks/index.ts';
import type { Measured } from '../measured.ts';

export type ToEngine =
  | { readonly kind: 'run'; readonly id: number; readonly task: Task; readonly storeUrl: string }
  | { readonly kind: 'cancel'; readonly id: number }
  /** Answered by the engine's event loop, as soon as that is free, and that of its label thread where that has work. */
  | { readonly kind: 'ping' };

export type FromEngine =
  | { readonly kind: 'ready' }
  | { readonly kind: 'pong' }
  | { readonly kind: 'progress'; readonly id: number; readonly progress: Progress }
  | { readonly kind: 'checkpoint'; readonly id: number; readonly checkpoint: Checkpoint }
  /** For the worker's log: what a person may want to know of an attempt that goes on, or of a defect; of no attempt where there is none. */
  | { readonly kind: 'note'; readonly id: number | undefined; readonly line: string; readonly stack?: string | undefined }
  /** Where it was started to measure. */
  | { readonly kind: 'measured'; readonly measured: Measured }
  | { readonly kind: 'done'; readonly id: number; readonly result: TaskResult }
  | { readonly kind: 'failed'; readonly id: number; readonly code: ErrorCode; readonly message: string; readonly where: string };

/** The worker's messages as they came, and what became of predictions. `id` is the attempt's, which has at most one prediction under way. */
export type ToLabelThread =
  | ToEngine
  /** Its decoding threads end, then the thread itself, whatever it does. */
  | { readonly kind: 'end' }
  /** Of the next batch, in order. */
  | { readonly kind: 'predicted'; readonly id: number; readonly logProbabilities: Float32Array }
  | { readonly kind: 'prediction-done'; readonly id: number; readonly predictMs: number; readonly heldMs: number }
  | { readonly kind: 'prediction-failed'; readonly id: number; readonly code: ErrorCode; readonly message: string; readonly where: string; readonly stack: string | undefined };

/** What goes to the worker, and predictions that are asked for: `predict`, then batches, then `last-batch` or, where nobody waits any more, `give-up`. */
export type FromLabelThread =
  | FromEngine
  | { readonly kind: 'predict'; readonly id: number; readonly storeUrl: string; readonly spec: PredictionSpec }
  | { readonly kind: 'batch'; readonly id: number; readonly batch: ImageBatch }
  | { readonly kind: 'last-batch'; readonly id: number }
  | { readonly kind: 'give-up'; readonly id: number };

/** An end of a channel between threads. */
export interface Port<Out, In> {
  postMessage(message: Out, transferred: readonly ArrayBuffer[]): void;
  on(event: 'message', heard: (message: In) => void): unknown;
}
