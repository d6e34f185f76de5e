/**
 * Read-ahead: results in order, of which a bounded number is under way or ready before it is asked for.
 * Invariants:
 *  1. Results come in the order of their items, and an error at the place of its item.
 *  2. At most `countMax` results are under way or ready at any time.
 *  3. Once the consumer stops, by whatever way, or `signal` aborts, no item is taken any more and the work under way is told by its signal.
 */

/** The promise's end, or the signal's reason if that comes first. */
export function orAborted<Value>(promise: Promise<Value>, signal: AbortSignal): Promise<Value> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason as Error);
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
    void promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}

export async function* ahead<Item, Result>(
  items: Iterable<Item> | AsyncIterable<Item>, countMax: number, signal: AbortSignal, work: (item: Item, signal: AbortSignal) => Promise<Result>,
): AsyncGenerator<Result, void, undefined> {
  signal.throwIfAborted();
  const stop = new AbortController();
  const within = AbortSignal.any([signal, stop.signal]);
  /** Each resolves to its result or, at the end, to undefined. */
  const queue: Promise<{ readonly result: Result } | undefined>[] = [];
  let wakeTaker: () => void = () => undefined;
  let wakePump: () => void = () => undefined;
  const push = (result: Promise<{ readonly result: Result } | undefined>): void => {
    result.catch(() => undefined);
    queue.push(result);
    wakeTaker();
  };
  const pump = async (): Promise<void> => {
    for await (const item of items) {
      if (within.aborted) return;
      push(work(item, within).then((result) => ({ result })));
      while (queue.length >= countMax) {
        await orAborted(new Promise<void>((resolve) => (wakePump = resolve)), within);
      }
    }
    push(Promise.resolve(undefined));
  };
  pump().catch((thrown: unknown) => push(Promise.reject(thrown as Error)));
  try {
    for (;;) {
      const next = queue[0];
      if (next === undefined) {
        await orAborted(new Promise<void>((resolve) => (wakeTaker = resolve)), within);
        continue;
      }
      const found = await orAborted(next, within);
      void queue.shift();
      wakePump();
      if (found === undefined) return;
      yield found.result;
    }
  } finally {
    stop.abort();
  }
}
