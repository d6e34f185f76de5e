/** Retries in virtual time: how often, how long, and how many in all. */
import { describe, expect, it } from 'vitest';
import { ATTEMPTS_MAX, BACKOFF_FIRST_MS, BACKOFF_MS_MAX, CALL_MS_MAX, RETRY_TOKENS_MAX, RETRY_TOKENS_PER_SECOND, Retries } from '../../../../store/s3/retry.ts';

/** A clock that stands where nobody sleeps; `attemptMs`: what each attempt takes. */
function world(random = 1, attemptMs = 0): { retries: Retries; pauses: number[]; attempts: () => number; fail: () => Promise<never>; pass: (ms: number) => void } {
  let nowMs = 0;
  let attempts = 0;
  const pauses: number[] = [];
  const sleep = (ms: number): Promise<void> => {
    pauses.push(ms);
    nowMs += ms;
    return Promise.resolve();
  };
  const retries = new Retries({ now: () => nowMs, random: () => random, sleep }, (thrown) => thrown instanceof Error && thrown.message === 'passing');
  return {
    retries, pauses, attempts: () => attempts,
    fail: () => {
      attempts += 1;
      nowMs += attemptMs;
      return Promise.reject(new Error('passing'));
    },
    pass: (ms) => {
      nowMs += ms;
    },
  };
}

describe('retries', () => {
  it('end after so many attempts, with pauses whose bound doubles up to a limit', async () => {
    const { retries, pauses, attempts, fail } = world();
    await expect(retries.run(fail)).rejects.toThrow('passing');
    expect(attempts()).toBe(ATTEMPTS_MAX);
    expect(pauses).toEqual([200, 400, 800, 1600, 3200, 6400, 10_000]);
    expect([BACKOFF_FIRST_MS, BACKOFF_MS_MAX]).toEqual([200, 10_000]);
  });

  it('draw the pause from zero on', async () => {
    const { retries, pauses, fail } = world(0);
    await expect(retries.run(fail)).rejects.toThrow('passing');
    expect(pauses).toEqual([0, 0, 0, 0, 0, 0, 0]);
  });

  it('leave alone what does not pass by itself', async () => {
    const { retries, pauses } = world();
    await expect(retries.run(() => Promise.reject(new Error('for good')))).rejects.toThrow('for good');
    expect(pauses).toEqual([]);
  });

  it('begin no attempt of a call that has taken its time', async () => {
    const { retries, attempts, fail } = world(0, CALL_MS_MAX / 2);
    await expect(retries.run(fail)).rejects.toThrow('passing');
    expect(attempts()).toBe(2);
  });

  it('count from the last progress', async () => {
    const { retries, pass } = world(0);
    const call = retries.call(2);
    for (let at = 0; at < 10; at += 1) {
      pass(CALL_MS_MAX - 1);
      await call.again(new Error('passing'));
      call.progressed();
    }
    await call.again(new Error('passing'));
    await expect(call.again(new Error('passing'))).rejects.toThrow('passing');
  });

  it('share one budget: an outage meets a trickle, whatever the number of calls', async () => {
    const { retries, attempts, fail, pauses, pass } = world(0);
    const calls = 1000;
    for (let at = 0; at < calls; at += 1) await expect(retries.run(fail)).rejects.toThrow('passing');
    expect(attempts()).toBe(calls + RETRY_TOKENS_MAX);
    pass(10_000);
    pauses.length = 0;
    for (let at = 0; at < calls; at += 1) await expect(retries.run(fail)).rejects.toThrow('passing');
    expect(pauses).toHaveLength(10 * RETRY_TOKENS_PER_SECOND);
  });
});
