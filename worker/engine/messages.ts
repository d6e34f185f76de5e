/** What the worker and its engine say to each other over the channel of the child process. */
import type { ErrorCode } from '../../proto/errors.ts';
import type { Task, TaskResult } from '../../proto/gen/alumnus/v1/task.ts';
import type { Progress } from '../../proto/gen/alumnus/v1/worker.ts';

export type ToEngine =
  | { readonly kind: 'run'; readonly id: number; readonly task: Task; readonly storeUrl: string }
  | { readonly kind: 'cancel'; readonly id: number }
  /** Answered by the engine's event loop, as soon as that is free. */
  | { readonly kind: 'ping' };

export type FromEngine =
  | { readonly kind: 'ready' }
  | { readonly kind: 'pong' }
  | { readonly kind: 'progress'; readonly id: number; readonly progress: Progress }
  | { readonly kind: 'done'; readonly id: number; readonly result: TaskResult }
  | { readonly kind: 'failed'; readonly id: number; readonly code: ErrorCode; readonly message: string; readonly where: string };
