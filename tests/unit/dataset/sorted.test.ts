/** The external sort, in memory and in files, against the language's own. */
import { expect, it } from 'vitest';
import { Sorted } from '../../../dataset/sorted.ts';
import { randomFrom } from '../../harness/random.ts';
import { collect } from './fixture.ts';

interface Value {
  readonly order: string;
  readonly at: number;
  readonly text: string;
}

const random = randomFrom(5);
/** Many of one order; texts of any characters and length, the longest longer than what a run is read by at once. */
const values = Array.from({ length: 5_000 }, (_, at): Value => ({ order: String(Math.floor(random() * 500)), at, text: ['\n', 'ü\t𝄞', '"', 'x'.repeat(70_000 * Number(at === 1_234))][at % 4] ?? '' }));
const expected = values.toSorted((a, b) => (a.order < b.order ? -1 : a.order > b.order ? 1 : a.at - b.at));

it.each([['in memory', 64 * 1024 * 1024], ['in files', 20_000], ['one by one', 1]])('%s, values come in order, those of one order as they were added, as often as asked', async (_, heldBytesMax) => {
  const sorted = new Sorted<Value>(heldBytesMax);
  for (const value of values) await sorted.add(value.order, value);
  expect(sorted.size).toBe(5_000);
  expect(await collect(sorted)).toEqual(expected);
  expect(await collect(sorted)).toEqual(expected);
  await sorted.close();
});

it('of nothing is nothing', async () => {
  expect(await collect(new Sorted())).toEqual([]);
});
