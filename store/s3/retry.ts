/**
 * Trying again. Each call has a bounded number of attempts and a bounded time; all calls of a store share one budget, so that
 * an outage meets a trickle of attempts and not a storm of them.
 *
 * Invariants:
 *  1. Between two attempts of a call lies a pause drawn evenly from zero to a bound that doubles: exponential back-off with full jitter.
 *  2. A store makes at most RETRY_TOKENS_MAX attempts again at once, and in an outage RETRY_TOKENS_PER_SECOND from then on.
 */

/** With the pauses below, some 11 s on average and 22 s at most: a server's restart is survived, an outage is told in time. */
export const ATTEMPTS_MAX = 8;
/** Whoever opens a store waits for the answer: some 0.7 s on average. */
export const OPEN_ATTEMPTS_MAX = 4;
export const BACKOFF_FIRST_MS = 200;
export const BACKOFF_MS_MAX = 10_000;
/** After this no further attempt of a call begins; slow attempts would add up to far more. */
export const CALL_MS_MAX = 120_000;
/** Enough for the attempts of some thirty calls at the same time: what a worker has under way. */
export const RETRY_TOKENS_MAX = 200;
/** Keeps a store that comes back from being met by everybody at once. */
export const RETRY_TOKENS_PER_SECOND = 2;

export interface Surroundings {
  /** Milliseconds; only differences count. */
  readonly now: () => number;
  /** Evenly from [0, 1). */
  readonly random: () => number;
  readonly sleep: (ms: number) => Promise<void>;
}

export class Retries {
  readonly #surroundings: Surroundings;
  readonly #isRetryable: (thrown: unknown) => boolean;
  #tokens = RETRY_TOKENS_MAX;
  #filledAtMs: number;

  constructor(surroundings: Surroundings, isRetryable: (thrown: unknown) => boolean) {
    this.#surroundings = surroundings;
    this.#isRetryable = isRetryable;
    this.#filledAtMs = surroundings.now();
  }

  /** One call's share. For what isn't a plain function: a stream that goes on where it broke off. */
  call(attemptsMax = ATTEMPTS_MAX): RetriedCall {
    const { now, random, sleep } = this.#surroundings;
    let startMs = now();
    let failures = 0;
    return {
      progressed: () => {
        failures = 0;
        startMs = now();
      },
      again: async (thrown) => {
        failures += 1;
        if (!this.#isRetryable(thrown) || failures >= attemptsMax || now() - startMs >= CALL_MS_MAX || !this.#take()) throw thrown;
        await sleep(random() * Math.min(BACKOFF_MS_MAX, BACKOFF_FIRST_MS * 2 ** (failures - 1)));
      },
    };
  }

  /** @returns what the first successful attempt returns. @throws what the last one threw */
  async run<Result>(attempt: () => Promise<Result>, attemptsMax = ATTEMPTS_MAX): Promise<Result> {
    const call = this.call(attemptsMax);
    for (;;) {
      try {
        return await attempt();
      } catch (thrown) {
        await call.again(thrown);
      }
    }
  }

  #take(): boolean {
    const nowMs = this.#surroundings.now();
    this.#tokens = Math.min(RETRY_TOKENS_MAX, this.#tokens + ((nowMs - this.#filledAtMs) / 1000) * RETRY_TOKENS_PER_SECOND);
    this.#filledAtMs = nowMs;
    if (this.#tokens < 1) return false;
    this.#tokens -= 1;
    return true;
  }
}

export interface RetriedCall {
  /** Pauses before the next attempt. @throws `thrown` itself where there is none */
  again(thrown: unknown): Promise<void>;
  /** Something was achieved: attempts and time count from here. */
  progressed(): void;
}
