/** A span as it is told, and to whom. Not for: sending it. */
import type { SpanIds } from '../proto/trace.ts';
import type { Log } from './log.ts';

export interface EndedSpan {
  readonly name: string;
  /** Default: one that is drawn, in the parent's trace. */
  readonly ids?: SpanIds;
  readonly parent?: SpanIds | undefined;
  /** Spans of other traces that belong to it. */
  readonly links?: readonly SpanIds[];
  /** Default `internal`. */
  readonly kind?: 'client' | 'server' | 'internal';
  /** Unix time. */
  readonly startMs: number;
  readonly endMs: number;
  readonly attributes: Readonly<Record<string, string | number | undefined>>;
  /** Where it failed: what a person reads. */
  readonly error?: string | undefined;
}

export interface Traces {
  ended(span: EndedSpan): void;
  /** Sends what is left, for a bounded time. */
  close(): Promise<void>;
}

export interface TracesOptions {
  /** `alumnus-cli`, `alumnus-coordinator`, `alumnus-worker`; OTEL_SERVICE_NAME goes before it. */
  readonly service: string;
  readonly version: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly log: Log;
  /** How long a collector may take at most; default: what OTEL_EXPORTER_OTLP_TIMEOUT says, 10 s. */
  readonly sendMsMax?: number;
}
