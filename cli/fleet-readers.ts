/** Tars read by the workers of a fleet, as `dataset register` asks for it; and a word to the person who waits, where there is a reason to. */
import type { TarReaders } from '../dataset/index.ts';
import type { Operator } from './client.ts';

/** @param tell told where nobody reads, and where somebody does again. */
export const fleetReaders = (operator: Operator, tell: (line: string) => void): TarReaders => async function* (tars, signal) {
  const [first] = tars;
  if (first === undefined) return;
  const { location, labeled } = first;
  let read = 0;
  let isWaiting = false;
  const onAway = (away: boolean): void => tell(away ? 'the coordinator is away; what is read is kept' : 'a coordinator leads again');
  for await (const { done, bytesUnderWay, workers } of operator.index({ location, labeled, tars: tars.map(({ key, bytes, writtenMs }) => ({ key, bytes, writtenMs })) }, { signal, onAway })) {
    if (isWaiting !== (workers === 0)) tell(workers === 0 ? 'waits for a worker: none is connected' : 'a worker is there');
    isWaiting = workers === 0;
    const indexed = done.map((at) => tars[at]).filter((tar) => tar !== undefined);
    read += indexed.reduce((sum, { bytes }) => sum + bytes, 0);
    yield { indexed, bytes: read + bytesUnderWay };
  }
};
