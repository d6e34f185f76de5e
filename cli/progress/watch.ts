/** Follows a run to its end, showing it; what `run watch`, `run submit --watch`, `run wait` and `demo` share. */
import { AlumnusError, exitCode } from '../../proto/errors.ts';
import type { RunView } from '../../proto/gen/alumnus/v1/operator.ts';
import { hasEnded, type Operator } from '../client.ts';
import type { Context } from '../context.ts';
import { ProgressReporter } from './reporter.ts';

export interface WatchRun {
  readonly operator: Operator;
  readonly runId: string;
  /** Ends the watch early; the run goes on. */
  readonly signal: AbortSignal;
  readonly quiet?: boolean;
  /** Sees every view; answering true ends the watch. */
  readonly onView?: (view: RunView) => boolean | void;
}

/** @returns the last view, or undefined when interrupted before the first. */
export async function watchRun(context: Context, { operator, runId, signal, quiet = false, onView }: WatchRun): Promise<RunView | undefined> {
  const reporter = new ProgressReporter(context.err);
  const release = context.hold();
  let last: RunView | undefined;
  if (!quiet) context.noteTo = (line) => reporter.note(line);
  try {
    const onAway = (away: boolean): void => context.note(away ? 'the coordinator does not answer: waiting for it' : 'the coordinator is back');
    for await (const view of operator.watch(runId, { signal, ...(quiet ? {} : { onAway }) })) {
      last = view;
      if (!quiet) reporter.update(view);
      if (onView?.(view) === true) break;
    }
  } finally {
    context.noteTo = undefined;
    reporter.end();
    release();
  }
  return last;
}

/** The exit code that a run's end stands for. */
export function codeOf(view: RunView | undefined): number {
  if (view === undefined || !hasEnded(view)) return exitCode.interrupted;
  return view.summary?.state === 'succeeded' ? exitCode.ok : exitCode.runFailed;
}

/** A signal that also fires after `seconds`; TIMED_OUT is for the caller to say, by `timedOut`. */
export function withTimeout(signal: AbortSignal, seconds: number | undefined): { signal: AbortSignal; timedOut: () => boolean; error: (runId: string, what: string) => AlumnusError } {
  const timeout = seconds === undefined ? undefined : AbortSignal.timeout(seconds * 1000);
  return {
    signal: timeout === undefined ? signal : AbortSignal.any([signal, timeout]),
    timedOut: () => timeout?.aborted === true && !signal.aborted,
    error: (runId, what) => new AlumnusError('TIMED_OUT', `run ${runId} has not ${what === 'ended' ? 'ended' : `been ${what}`} within ${seconds} s`),
  };
}
