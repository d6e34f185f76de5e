/** Waiting between tries: exponential, with full jitter, so that a fleet that lost its coordinator doesn't return as one. */

const BACKOFF_MS_MIN = 100;
const BACKOFF_MS_MAX = 5_000;

export class Backoff {
  attempts = 0;
  readonly #msMax: number;

  constructor(msMax = BACKOFF_MS_MAX) {
    this.#msMax = msMax;
  }

  /** Milliseconds to wait before the next try: at least half of a bound that doubles up to `msMax`. */
  next(): number {
    const bound = Math.min(this.#msMax, BACKOFF_MS_MIN * 2 ** this.attempts);
    this.attempts += 1;
    return bound / 2 + Math.random() * (bound / 2);
  }

  reset(): void {
    this.attempts = 0;
  }
}

/** Resolves after `ms`, or at once when the signal is aborted. */
export function sleep(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', done, { once: true });
  });
}
