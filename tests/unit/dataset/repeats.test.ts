/** What was seen more than once, of things that are few and of things that are written out. */
import { readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { expect, it } from 'vitest';
import { Repeats } from '../../../dataset/repeats.ts';
import { collect } from './fixture.ts';

const folders = (): string[] => readdirSync(tmpdir()).filter((name) => name.startsWith('alumnus-verify-'));

it.each([['in memory', 1024 * 1024], ['in files', 1_000]])('finds what came before, %s', async (_, memoryBytesMax) => {
  const before = folders();
  const repeats = new Repeats(memoryBytesMax);
  for (let at = 0; at < 1_000; at += 1) await repeats.add(`thing ${at % 997}`, `place ${at}`);
  expect((await collect(repeats.found())).sort((a, b) => (a.at < b.at ? -1 : 1))).toEqual([
    { at: 'place 997', first: 'place 0' }, { at: 'place 998', first: 'place 1' }, { at: 'place 999', first: 'place 2' },
  ]);
  await repeats.close();
  expect(folders()).toEqual(before);
});
