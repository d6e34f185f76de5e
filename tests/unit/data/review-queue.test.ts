/** What is worth a person's look. Scores are worked by hand. */
import fc from 'fast-check';
import { beforeAll, expect, test } from 'vitest';
import { writeParquet } from '../../../dataset/index.ts';
import { RunHistory } from '../../../proto/gen/alumnus/v1/history.ts';
import type { LabeledShard } from '../../../proto/gen/alumnus/v1/task.ts';
import { Best, encodeTally, reasonsOf, reviewQueue, scoreOf, select, tallyOf, writeLabelTable } from '../../../worker/data/index.ts';
import { MemoryStore } from '../../simulation/store.ts';

test.each([
  // (1 - 0.1 + 0 + 1) / 3: on the threshold.
  ['unsure, at the threshold', { margin: 0.1, confidence: 0.5, threshold: 0.5, label: 1, earlier: [] }, 1.9 / 3],
  // 1 - |0.9 - 0.3| / 0.7 = 1/7; half of the teachers before said otherwise.
  ['sure, one of two disagrees', { margin: 0.8, confidence: 0.9, threshold: 0.3, label: 2, earlier: [2, 0] }, (0.2 + 0.5 + 1 / 7) / 3],
  // As far from the threshold as can be: 1 - 0.75 / 0.75 = 0.
  ['certain, all agree', { margin: 1, confidence: 1, threshold: 0.25, label: 0, earlier: [0, 0] }, 0],
  ['all disagree', { margin: 0, confidence: 0.5, threshold: 0.5, label: 0, earlier: [1, 2, 1] }, 1],
  // Everything is kept: only margin, disagreement and the distance from 0 are left.
  ['no threshold', { margin: 0.4, confidence: 0.6, threshold: 0, label: 0, earlier: [] }, (0.6 + 0.4) / 3],
])('the score of a label that is %s', (_, doubt, expected) => {
  expect(scoreOf(doubt)).toBeCloseTo(expected, 12);
});

test('reasons are told from bounds on', () => {
  expect(reasonsOf({ margin: 0.19, confidence: 0.58, threshold: 0.5, label: 1, earlier: [1, 0] })).toEqual(['small margin', 'teachers disagree', 'near the threshold']);
  expect(reasonsOf({ margin: 0.2, confidence: 0.62, threshold: 0.5, label: 1, earlier: [1] })).toEqual([]);
});

test('the best of many are those that sorting gives, whatever comes first', () => {
  fc.assert(fc.property(fc.array(fc.record({ key: fc.nat(10_000).map(String), score: fc.constantFrom(0, 0.25, 0.5, 0.75, 1) }), { maxLength: 60 }), fc.integer({ min: 1, max: 12 }), (rows, most) => {
    const distinct = [...new Map(rows.map((row) => [row.key, row])).values()];
    const best = new Best(most);
    for (const row of distinct) best.add(row);
    const sorted = [...distinct].sort((a, b) => b.score - a.score || (a.key < b.key ? -1 : 1));
    expect(best.rows()).toEqual(sorted.slice(0, most));
  }));
});

const store = new MemoryStore();
const [FIRST, SECOND] = ['a'.repeat(64), 'b'.repeat(64)];
const CLASSES = ['cat', 'dog', 'owl'];

/** Probabilities by key; the most probable one is the label. */
type Told = Readonly<Record<string, readonly [number, number, number]>>;

async function labelsBy(teacher: string, shards: Readonly<Record<string, Told>>): Promise<LabeledShard[]> {
  return Promise.all(Object.entries(shards).map(async ([shard, rows]) => {
    const lists = Object.values(rows);
    const classes = lists.map((each) => each.indexOf(Math.max(...each)));
    const table = { keys: Object.keys(rows), classes: Int32Array.from(classes), logOdds: Float32Array.from(lists, (each, row) => Math.log(each[classes[row] ?? 0] ?? 0) - Math.log1p(-(each[classes[row] ?? 0] ?? 0))) };
    return {
      shard, labels: await store.putAddressed('labels', writeLabelTable({ ...table, logProbabilities: lists.map((each) => each.map(Math.log)) }, { 'alumnus.teacher': teacher })),
      tally: await store.putAddressed('tallies', encodeTally(tallyOf(table, CLASSES.length))),
    };
  }));
}

let history: RunHistory;

beforeAll(async () => {
  const before = await labelsBy(FIRST, { 'unlabeled-000000': { k1: [0.9, 0.05, 0.05], k2: [0.5, 0.3, 0.2] }, 'unlabeled-000001': { k3: [0.1, 0.8, 0.1], k4: [0.2, 0.2, 0.6], k5: [0.4, 0.3, 0.3], k6: [0.4, 0.35, 0.25] } });
  const now = await labelsBy(SECOND, { 'unlabeled-000000': { k1: [0.875, 0.1, 0.025], k2: [0.25, 0.5, 0.25] }, 'unlabeled-000001': { k3: [0.125, 0.75, 0.125], k4: [0.375, 0.125, 0.5], k5: [0.4, 0.35, 0.25], k6: [0.4, 0.35, 0.25] } });
  const policy = { threshold: 0.5, balance: 'none', budgetPerClass: 0, copiesMax: 1, seed: 7 } as const;
  const { ref } = await select(store, { teacher: SECOND, shards: now, policy, classes: 3, outputPrefix: 'selections', metadata: {} });
  const table = (keys: string[]) => store.putAddressed('tables', writeParquet([{ name: 'key', data: keys, type: 'STRING', nullable: false }, { name: 'shard', data: keys.map(() => 'unlabeled-000001'), type: 'STRING', nullable: false }]));
  history = RunHistory.fromPartial({
    runId: 'r', nearDuplicates: [await table(['k5'])], reviews: [{ fromIteration: 3, reviewed: await table(['k6']) }],
    data: { classNames: CLASSES, unlabeled: { dataset: 'pets#unlabeled', shards: [{ name: 'unlabeled-000000', ref: { key: 'datasets/pets/a.tar' }, samples: 2 }, { name: 'unlabeled-000001', ref: { key: 'tars/b.tar' }, location: 's3://crawl/all?endpoint=http://127.0.0.1:9', samples: 4 }] } },
    iterations: [
      { iteration: 0 },
      { iteration: 1, teacher: { sha256: FIRST }, labels: before, threshold: { confidence: 0.5 } },
      { iteration: 2, teacher: { sha256: SECOND }, labels: now, selection: { selection: ref }, threshold: { confidence: 0.5 } },
      // The teacher stayed: no other word.
      { iteration: 3, teacher: { sha256: SECOND }, labels: now, threshold: { confidence: 0.5 } },
    ],
  });
});

const queue = (wishes: { iteration?: number; most?: number } = {}) => reviewQueue({ store, history, iteration: wishes.iteration, most: wishes.most ?? 10, images: '' });

test('labels come by score, with what a person needs to judge them', async () => {
  const rows = await queue();
  // k2: margin 0.25, the teacher before said cat, on the threshold. k4: margin 0.125, agreed. k3: margin 0.625, 0.25 of 0.5 away. k1: margin 0.775, 0.375 of 0.5 away.
  const expected: [string, number][] = [['k2', (0.75 + 1 + 1) / 3], ['k4', (0.875 + 0 + 1) / 3], ['k3', (0.375 + 0 + 0.5) / 3], ['k1', (0.225 + 0 + 0.25) / 3]];
  expect(rows.map(({ key }) => key)).toEqual(expected.map(([key]) => key));
  // Tables hold float16.
  for (const [at, [, score]] of expected.entries()) expect(rows[at]?.score).toBeCloseTo(score, 3);
  expect(rows[0]).toMatchObject({
    dataset: 'pets#unlabeled', shard: 'unlabeled-000000', image: 'datasets/pets/a.tar#k2', label: { class: 1, name: 'dog' }, earlier: [{ class: 0, name: 'cat' }], outcome: 'kept', copies: 1,
    reasons: ['teachers disagree', 'near the threshold'],
  });
  // The second of equals is the first by its class.
  expect(rows[0]?.second).toEqual({ class: 0, name: 'cat' });
  expect(rows[1]).toMatchObject({ image: 's3://crawl/all/tars/b.tar#k4', second: { name: 'cat' }, reasons: ['small margin', 'near the threshold'] });
  expect(rows[1]?.margin).toBeCloseTo(0.125, 3);
});

test('what is learned from no more is not asked: near-duplicates of images that judge, and what a person has answered', async () => {
  expect((await queue()).map(({ key }) => key)).not.toContain('k5');
  expect((await queue()).map(({ key }) => key)).not.toContain('k6');
});

test('the most that are asked for, and of the iteration that is asked for', async () => {
  expect((await queue({ most: 2 })).map(({ key }) => key)).toEqual(['k2', 'k4']);
  // By the first teacher nobody spoke before, and nothing was selected.
  const [first] = await queue({ iteration: 1, most: 1 });
  expect(first).toMatchObject({ key: 'k2', earlier: [], outcome: 'labeled' });
  await expect(queue({ iteration: 3 }).then((rows) => rows[0]?.earlier.map(({ name }) => name))).resolves.toEqual(['cat']);
  await expect(queue({ iteration: 7 })).rejects.toMatchObject({ code: 'USAGE', message: expect.stringContaining('there are of 1, 2, 3') as string });
});

test('the order of shards changes nothing', async () => {
  const turned = RunHistory.fromPartial({ ...history, iterations: history.iterations.map((each) => ({ ...each, labels: [...each.labels].reverse() })) });
  expect(await reviewQueue({ store, history: turned, iteration: undefined, most: 10, images: '' })).toEqual(await queue());
});
