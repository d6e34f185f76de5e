/**
 * Spans for OpenTelemetry, told when what they are of has ended. Where nobody asks for them (`isTraced`) there are none, and none of its packages is loaded.
 * Their ids are given (proto/trace.ts) or drawn; nothing is kept open meanwhile, so a process that dies costs the spans of what it had under way and no other.
 * Not for: which spans there are. Invariant: telling a span never waits and never throws.
 */
import { isTraced } from '../proto/trace.ts';
import type { Traces, TracesOptions } from './span.ts';

/** By the variables of the OpenTelemetry specification. @throws AlumnusError USAGE for a protocol that there is none of */
export async function openTraces(options: TracesOptions): Promise<Traces | undefined> {
  if (!isTraced(options.env)) return undefined;
  const { exportTraces } = await import('./otlp.ts');
  return exportTraces(options);
}
