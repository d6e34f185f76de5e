/** Time as the coordinator meets it: an argument, so that a simulation can run years in minutes. */
import { setTimeout as sleepFor } from 'node:timers/promises';

export interface Clock {
  /** Milliseconds; never goes back, whatever is done to the system's clock. */
  now(): number;
  /** Resolves after `ms`, or at once when the signal is aborted. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

/** Wall time at the start, then the monotonic clock: a step of the system's clock must not end every lease at once. */
export function systemClock(): Clock {
  const originMs = Date.now() - performance.now();
  return {
    now: () => Math.round(originMs + performance.now()),
    sleep: async (ms, signal) => {
      try {
        await sleepFor(ms, undefined, signal === undefined ? {} : { signal });
      } catch {
        // Aborted: whoever sleeps looks at the signal.
      }
    },
  };
}
