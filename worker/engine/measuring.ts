/**
 * What an engine measures of itself, sent to its worker once in a while: steps on the device, operations on the store, memory. A thread that is busy is late with it, and loses nothing.
 * Not for: metrics (worker/metrics.ts), which outlive the engine.
 */
import { operations, steps, type Operation, type Step } from '../measured.ts';
import type { FromEngine } from './messages.ts';

/** Prometheus looks every ten seconds or so. */
const SEND_EVERY_MS = 1_000;

/** @param kindOnDevice what the task is that has the device; undefined for a thread without one */
export function measure(send: (message: FromEngine) => void, kindOnDevice: (() => string) | undefined): void {
  let [taken, used]: [(Step & { kind: string })[], Operation[]] = [[], []];
  if (kindOnDevice !== undefined) steps.hear((step) => taken.push({ ...step, kind: kindOnDevice() }));
  operations.hear((operation) => used.push(operation));
  setInterval(() => {
    if (kindOnDevice === undefined && used.length === 0) return;
    send({ kind: 'measured', measured: { steps: taken, operations: used, memoryBytes: kindOnDevice === undefined ? undefined : process.memoryUsage.rss() } });
    [taken, used] = [[], []];
  }, SEND_EVERY_MS).unref();
}
