/** What clusters of both kinds share (cluster.ts, real-cluster.ts): how a worker is started, what its processes said, and waiting for a run. Not for: which processes there are. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { RunView } from '../../proto/gen/alumnus/v1/operator.ts';

const LOG_TAIL_LINES = 30;

export const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** One thread: the order of sums depends on their number, and so do the last bits of every weight. */
export const workerFlags = (coordinators: string, id: string, folder: string): string[] => ['--coordinator', coordinators, '--id', id, '--threads', '1', '--cache', join(folder, 'cache')];

/** Empty where nothing was said yet. */
export function logText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}

/** What each process said last, for the message of a test that failed. */
export const tailsOf = (names: Iterable<string>, logOf: (name: string) => string): string =>
  [...names].map((name) => `--- ${name}\n${logOf(name).split('\n').slice(-LOG_TAIL_LINES).join('\n')}`).join('\n');

export interface Waiting {
  readonly until: (view: RunView) => boolean;
  /** For the message: what the run was waited to be. */
  readonly what: string;
  readonly withinMs: number;
  readonly pollMs: number;
  /** Whether a failure is only that of a coordinator that is away: it is asked again. */
  readonly isAway: (thrown: unknown) => boolean;
  readonly tails: () => string;
}

/** The first view that satisfies `until`. @throws with the logs when it takes too long. */
export async function waitForRun(runId: string, ask: () => Promise<RunView>, { until, what, withinMs, pollMs, isAway, tails }: Waiting): Promise<RunView> {
  const untilMs = Date.now() + withinMs;
  let last: RunView | undefined;
  while (Date.now() < untilMs) {
    try {
      last = await ask();
      if (until(last)) return last;
    } catch (thrown) {
      if (!isAway(thrown)) throw thrown;
    }
    await pause(pollMs);
  }
  throw new Error(`run ${runId} is ${last?.summary?.state ?? 'unseen'} (${last?.summary?.reason ?? ''}) and not ${what} after ${withinMs} ms\n${tails()}`);
}
