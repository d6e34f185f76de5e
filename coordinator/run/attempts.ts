/** When a task that keeps failing is given up: a shard that kills its workers must not hold up a run, nor one broken worker condemn a shard. Pure. */

/** A task that failed this many times as often as it has attempts is given up, on however few workers it failed. */
const ATTEMPTS_FACTOR_MAX = 3;

/**
 * N different workers; on a fleet smaller than N there never will be so many, so N times. Workers that live but take nothing
 * (they drain, they train for hours) may leave too few others: that is not waited for without end.
 * @param workers one for each failed attempt that counts. @param fleet workers that live; Infinity where nobody knows
 */
export const givesUp = (workers: readonly string[], attempts: number, fleet: number): boolean =>
  new Set(workers).size >= attempts || (fleet < attempts && workers.length >= attempts) || workers.length >= ATTEMPTS_FACTOR_MAX * attempts;
