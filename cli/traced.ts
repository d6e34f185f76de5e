/** The root of a run's trace: the command that submitted it. Where no endpoint is set it is not told, and nothing is loaded. Not for: what comes of the run. */
import { toAlumnusError } from '../proto/errors.ts';
import { isTraced, submitSpan } from '../proto/trace.ts';
import { version } from '../proto/version.ts';
import type { Context } from './context.ts';

/** A person waits. */
const SEND_MS_MAX = 1_500;

/** Tells that the run was submitted, and returns when that is sent or its time is over. */
export async function tellSubmitted(context: Context, runId: string, startMs: number): Promise<void> {
  if (!isTraced(context.env)) return;
  const warn = (line: string): void => context.note(`warning: ${line}`);
  try {
    const { openTraces } = await import('../telemetry/index.ts');
    const traces = await openTraces({ service: 'alumnus-cli', version: version(), env: context.env, log: warn, sendMsMax: SEND_MS_MAX });
    traces?.ended({ name: 'run submit', kind: 'client', ids: submitSpan(runId), startMs, endMs: Date.now(), attributes: { 'alumnus.run': runId } });
    await traces?.close();
  } catch (thrown) {
    // The run is submitted all the same.
    warn(toAlumnusError(thrown).sentence);
  }
}
