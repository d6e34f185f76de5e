/**
 * The spans of a run by name: trace and span ids follow from the run's id alone, by digest, so that the command line, every coordinator and every worker know
 * the parent of what they tell without asking, a new leader goes on with the spans of the one before, and nothing of it needs to be journalled.
 * Not for: making and sending spans (telemetry/traces.ts).
 */
import { createHash } from 'node:crypto';
import type { Stage } from './gen/alumnus/v1/task.ts';

/** Of W3C trace context: 16 and 8 bytes in hex. */
export interface SpanIds {
  readonly traceId: string;
  readonly spanId: string;
}

/** Whether anybody wants spans. Without an endpoint nothing of tracing is loaded. */
export const isTraced = (env: Readonly<Record<string, string | undefined>>): boolean =>
  [env.OTEL_EXPORTER_OTLP_ENDPOINT, env.OTEL_EXPORTER_OTLP_TRACES_ENDPOINT].some((each) => each !== undefined && each !== '') && env.OTEL_SDK_DISABLED?.toLowerCase() !== 'true';

const digest = (what: readonly (string | number)[], bytes: number): string => createHash('sha256').update(JSON.stringify(what)).digest('hex').slice(0, 2 * bytes);

const idsOf = (runId: string, ...what: readonly (string | number)[]): SpanIds => ({ traceId: digest(['alumnus trace', runId], 16), spanId: digest(['alumnus span', runId, ...what], 8) });

/** The command that submitted it: the root. */
export const submitSpan = (runId: string): SpanIds => idsOf(runId, 'submit');

/** The coordinator that took it. */
export const acceptSpan = (runId: string): SpanIds => idsOf(runId, 'accept');

export const runSpan = (runId: string): SpanIds => idsOf(runId, 'run');

export const stageSpan = (runId: string, { iteration, stage, try: attempt }: { readonly iteration: number; readonly stage: Stage; readonly try: number }): SpanIds => idsOf(runId, 'stage', iteration, stage, attempt);

/** The metadata of a call that says which span it belongs to. */
export const TRACEPARENT = 'traceparent';

/** Always sampled: what is asked for by an endpoint is whole runs; a collector drops what it does not keep. */
export const traceparentOf = ({ traceId, spanId }: SpanIds): string => `00-${traceId}-${spanId}-01`;

/** Undefined for what is none (w3.org/TR/trace-context, version 00). */
export function spanOfTraceparent(text: string): SpanIds | undefined {
  const [, traceId, spanId] = /^00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}$/.exec(text) ?? [];
  return traceId === undefined || spanId === undefined || /^0+$/.test(traceId) || /^0+$/.test(spanId) ? undefined : { traceId, spanId };
}
