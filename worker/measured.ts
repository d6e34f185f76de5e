/**
 * Where the engine tells of each step on the device and of each operation on the store, for whoever measures. Channels of Node's own (diagnostics_channel), one of each a thread:
 * without a subscriber nothing is made up and nothing is sent. Not for: what becomes of it (engine/measuring.ts, metrics.ts).
 */
import { channel } from 'node:diagnostics_channel';

export interface Step {
  /** A training step, or a batch of predictions. */
  readonly work: 'train' | 'predict';
  readonly seconds: number;
  readonly images: number;
}

export interface Operation {
  readonly operation: string;
  /** Undefined where its time was told before. */
  readonly seconds: number | undefined;
  /** Of the table of errors; undefined where it did well. */
  readonly code: string | undefined;
}

/** What an engine measured since it last said so. */
export interface Measured {
  readonly steps: readonly (Step & { readonly kind: string })[];
  readonly operations: readonly Operation[];
  /** Of the process, resident; undefined where the thread is not the engine's own. */
  readonly memoryBytes: number | undefined;
}

/** One kind of what is told. */
function told<Message extends object>(name: string): { readonly isHeard: boolean; tell(message: Message): void; hear(heard: (message: Message) => void): void } {
  const on = channel(name);
  return {
    get isHeard() { return on.hasSubscribers; },
    tell: (message) => on.publish(message),
    hear: (heard) => on.subscribe((message) => heard(message as Message)),
  };
}

export const steps = told<Step>('alumnus:step');
export const operations = told<Operation>('alumnus:store');

/** Calls the device, and tells what the call took where anybody hears. @param images that go in */
export function step<Result>(work: Step['work'], images: number, run: () => Result): Result {
  const beganMs = performance.now();
  const result = run();
  if (steps.isHeard) steps.tell({ work, images, seconds: (performance.now() - beganMs) / 1000 });
  return result;
}

/** The same of a library that answers later. */
export async function laterStep<Result>(work: Step['work'], images: number, run: () => Promise<Result>): Promise<Result> {
  const beganMs = performance.now();
  const result = await run();
  if (steps.isHeard) steps.tell({ work, images, seconds: (performance.now() - beganMs) / 1000 });
  return result;
}
