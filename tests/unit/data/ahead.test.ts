/** Read-ahead: results in order, no more of them than was allowed, and nothing after the end. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { ahead } from '../../../worker/data/index.ts';

const never = new AbortController().signal;
async function turns(count: number): Promise<void> {
  for (let at = 0; at < count; at += 1) await nextTurn();
}

describe('reading ahead', () => {
  it('gives results in the order of their items, whichever is done first', async () => {
    const results: number[] = [];
    for await (const result of ahead([5, 1, 4, 0, 3], 3, never, async (item) => {
      await turns(item);
      return item * 10;
    })) results.push(result);
    expect(results).toEqual([50, 10, 40, 0, 30]);
  });

  it('has no more under way or ready than it may, and has that many before they are asked for', async () => {
    let [begun, taken] = [0, 0];
    for await (const item of ahead(Array(20).keys(), 4, never, (each) => Promise.resolve((begun += 1, each)))) {
      await turns(5);
      taken += 1;
      expect(item).toBe(taken - 1);
      expect(begun).toBe(Math.min(20, taken + 4));
    }
    expect(taken).toBe(20);
  });

  it('gives an error at the place of its item, of the work as of the items', async () => {
    const seen: number[] = [];
    const read = async (items: Iterable<number> | AsyncIterable<number>): Promise<void> => {
      for await (const result of ahead(items, 8, never, (item) => (item === 3 ? Promise.reject(new Error('three')) : Promise.resolve(item)))) seen.push(result);
    };
    await expect(read([0, 1, 2, 3, 4])).rejects.toThrow('three');
    expect(seen.splice(0)).toEqual([0, 1, 2]);
    await expect(read((async function* () {
      yield await Promise.resolve(7);
      throw new Error('items');
    })())).rejects.toThrow('items');
    expect(seen).toEqual([7]);
  });

  it('takes nothing more, tells the work, and closes the items once its reader stops', async () => {
    let [taken, begun, closed, told] = [0, 0, false, 0];
    const items = async function* (): AsyncGenerator<number> {
      try {
        for (;;) yield await Promise.resolve((taken += 1));
      } finally {
        closed = true;
      }
    };
    for await (const item of ahead(items(), 3, never, (each, signal) => {
      begun += 1;
      signal.addEventListener('abort', () => (told += 1));
      return Promise.resolve(each);
    })) if (item === 5) break;
    const then = taken;
    await turns(10);
    expect([taken, closed, told]).toEqual([then, true, begun]);
    expect(begun).toBeLessThanOrEqual(5 + 3);
  });

  it('rejects with the reason of an abort while work hangs, and takes nothing more', async () => {
    const abort = new AbortController();
    let taken = 0;
    const reading = ahead((function* () { for (;;) yield (taken += 1); })(), 2, abort.signal, () => new Promise<never>(() => undefined)).next();
    await turns(3);
    abort.abort(new Error('stop'));
    await expect(reading).rejects.toThrow('stop');
    await turns(3);
    expect(taken).toBe(2);
    await expect(ahead([1], 1, abort.signal, (item) => Promise.resolve(item)).next()).rejects.toThrow('stop');
  });
});
