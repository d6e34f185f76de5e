/** Drift of two small pairs of tables, counted by hand; means of 1 / (1 + exp(-log-odds)) by Python: before 2, 1, 0.5 and 3, after 2.5, -0.5, 1 and 4. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { LabeledShard } from '../../../proto/gen/alumnus/v1/task.ts';
import { openStore, type ObjectStore } from '../../../store/index.ts';
import { drift, writeLabelTable } from '../../../worker/data/index.ts';

type Row = [key: string, label: number, logOdds: number];

let folder: string;
let store: ObjectStore;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'alumnus-drift-'));
  store = await openStore(pathToFileURL(folder).href);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function labeled(shard: string, rows: readonly Row[]): Promise<LabeledShard> {
  const table = { keys: rows.map(([key]) => key), classes: rows.map(([, label]) => label), logOdds: rows.map(([, , logOdds]) => logOdds), logProbabilities: rows.map(() => [-1, -1, -1]) };
  return { shard, labels: await store.putAddressed('tables', writeLabelTable(table, {})), tally: undefined };
}

const compare = (before: LabeledShard[], after: LabeledShard[]) => drift(store, { before: { teacher: 'old', shards: before }, after: { teacher: 'new', shards: after }, outputPrefix: 'drift', metadata: {} });

test('flips are counted by pair of classes and by shard, and confidence before and after, over what both labeled', async () => {
  const before = [await labeled('s-0', [['a', 0, 2], ['b', 1, 1]]), await labeled('s-1', [['c', 2, 0.5], ['d', 2, 3]]), await labeled('s-2', [['e', 0, 9]])];
  const after = [await labeled('s-1', [['d', 2, 4], ['c', 0, 1]]), await labeled('s-0', [['a', 1, 2.5], ['b', 0, -0.5]]), await labeled('s-3', [['f', 0, 9]])];
  const told = await compare(before, after);
  expect(told).toMatchObject({
    samples: 4, flips: 3, confidenceBefore: expect.closeTo(0.7967222786580438, 12) as number, confidenceAfter: expect.closeTo(0.7536887143612039, 12) as number,
    classes: [{ from: 0, to: 1, samples: 1 }, { from: 1, to: 0, samples: 1 }, { from: 2, to: 0, samples: 1 }],
    shards: [{ shard: 's-0', samples: 2, flips: 2 }, { shard: 's-1', samples: 2, flips: 1 }],
  });
  const document = JSON.parse(Buffer.from(await store.get(told.drift!)).toString('utf8')) as object;
  expect(document).toMatchObject({ schemaVersion: 1, before: 'old', after: 'new', samples: 4, flips: 3 });
  // The order of shards says nothing.
  expect((await compare([...before].reverse(), [...after].reverse())).drift?.sha256).toBe(told.drift?.sha256);
});

test('pairs and shards beyond ten are in the document alone, the worst told first', async () => {
  const shards = Array.from({ length: 12 }, (_, at) => `s-${String(at).padStart(2, '0')}`);
  const rows = (at: number, flipped: number): Row[] => Array.from({ length: 12 }, (_, row): Row => [`${at}-${row}`, row < flipped ? 1 : 0, 1]);
  const told = await compare(await Promise.all(shards.map((shard, at) => labeled(shard, rows(at, 0)))), await Promise.all(shards.map((shard, at) => labeled(shard, rows(at, at)))));
  expect(told.flips).toBe(66);
  expect(told.classes).toEqual([{ from: 0, to: 1, samples: 66 }]);
  expect(told.shards.map(({ flips }) => flips)).toEqual([11, 10, 9, 8, 7, 6, 5, 4, 3, 2]);
  expect((JSON.parse(Buffer.from(await store.get(told.drift!)).toString('utf8')) as { shards: unknown[] }).shards).toHaveLength(12);
});

test('tables of one shard with other samples are refused', async () => {
  const one = await labeled('s-0', [['a', 0, 2], ['b', 1, 1]]);
  await expect(compare([one], [await labeled('s-0', [['a', 0, 2], ['x', 1, 1]])])).rejects.toMatchObject({ code: 'SHARD_CORRUPT' });
  await expect(compare([one], [await labeled('s-0', [['a', 0, 2]])])).rejects.toMatchObject({ code: 'SHARD_CORRUPT' });
});
