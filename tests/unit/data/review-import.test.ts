/** A person's labels over a real dataset: what may be reviewed, what may not, and what comes of it for the run and for a dataset. */
import { beforeAll, describe, expect, test } from 'vitest';
import { importDataset, loadManifest, readLabels, readReviewed, readShard, verifyDataset, type DatasetManifest } from '../../../dataset/index.ts';
import { RunHistory } from '../../../proto/gen/alumnus/v1/history.ts';
import type { PartRef } from '../../../proto/gen/alumnus/v1/task.ts';
import type { ReviewAnswer } from '../../../proto/told.ts';
import { prepareSubmission } from '../../../coordinator/api/submission.ts';
import { encodeNear, importReview, type Reviewed } from '../../../worker/data/index.ts';
import { MemoryStore } from '../../simulation/store.ts';
import { collect, memorySource } from '../dataset/fixture.ts';

const store = new MemoryStore();
let manifest: DatasetManifest;
let history: RunHistory;
/** Of the unlabeled part, by shard. */
let keys: [shard: string, key: string][];
let validationKey: string;

const recipe = (data: string): string => `
name: r
rounds: 1
data: { ${data} }
models: { ladder: [{ model: cnn, width: 4 }] }
`;

beforeAll(async () => {
  ({ manifest } = await importDataset(store, memorySource({ labeled: 40, unlabeled: 30 }), { name: 'pets', labeledPerClass: 5, validation: 9, shardSamples: 10, seed: 1 }));
  const { data } = await prepareSubmission(store, recipe('dataset: pets'));
  keys = [];
  for (const { name, ref } of data.unlabeled?.shards ?? []) for (const { key } of await collect(readShard(store, ref ?? { key: '', sha256: '', bytes: 0 }))) keys.push([name, key]);
  validationKey = (await readLabels(store, data.validation?.labels ?? { key: '', sha256: '', bytes: 0 })).keys[0] ?? '';
  const [shard = '', key = ''] = keys[9] ?? [];
  const near = await store.putAddressed('runs/r/near', encodeNear([{ key, shard, part: 'validation', of: validationKey, distance: 2, correlation: 0.995 }]));
  history = RunHistory.fromPartial({ runId: 'r', data, nearDuplicates: [near] });
});

const answer = (at: number, label: string, line = at + 2): ReviewAnswer => ({ line, shard: keys[at]?.[0] ?? '', key: keys[at]?.[1] ?? '', label });
const imported = (answers: readonly ReviewAnswer[], wishes: { dataset?: string; history?: RunHistory } = {}): Promise<Reviewed> => importReview({ store, history: wishes.history ?? history, answers, dataset: wishes.dataset });

describe('one line that cannot be taken, and nothing is', () => {
  const cases: [string, () => ReviewAnswer[], RegExp][] = [
    ['an unknown class', () => [answer(0, 'a'), answer(1, 'zebra')], /^line 3: there is no class "zebra"; there are a, b, c$/],
    ['two labels of one image', () => [answer(0, 'a'), { ...answer(0, 'b'), line: 7 }], /^line 7: [0-9a-f]{20} is b here, and a in line 2$/],
    ['an image that judges', () => [{ ...answer(0, 'a'), key: validationKey }], /^line 2: [0-9a-f]{20} is an image of validation: it judges, and nothing may learn from it$/],
    ['one that looks like it', () => [answer(9, 'a')], /^line 11: [0-9a-f]{20} looks like [0-9a-f]{20} of validation, which judges/],
    ['a key that is not there', () => [{ ...answer(0, 'a'), key: 'f'.repeat(20) }], /^line 2: there is no f{20} in unlabeled-000000$/],
    ['a key of another shard', () => [{ ...answer(0, 'a'), shard: 'unlabeled-000001' }], /^line 2: there is no [0-9a-f]{20} in unlabeled-000001$/],
    ['a shard that is not there', () => [{ ...answer(0, 'a'), shard: 'unlabeled-000099' }], /^line 2: the run's unlabeled part has no shard "unlabeled-000099"$/],
  ];
  test.each(cases)('%s', async (_, answers, expected) => {
    const before = store.objects.size;
    const told = await imported(answers());
    expect(told).toEqual({ problems: [expect.stringMatching(expected) as string] });
    expect(store.objects.size).toBe(before);
  });

  test('a labeled image', async () => {
    const [key = ''] = (await readLabels(store, history.data?.labeled?.labels ?? { key: '', sha256: '', bytes: 0 })).keys;
    expect(await imported([{ ...answer(0, 'a'), key }])).toEqual({ problems: [`line 2: ${key} is a labeled image of the run, not one of its unlabeled part`] });
  });

  test('all problems are told, by line', async () => {
    expect(await imported([answer(1, 'zebra', 9), { ...answer(0, 'a'), shard: 'nowhere', line: 4 }])).toEqual({ problems: [expect.stringMatching(/^line 4: /) as string, expect.stringMatching(/^line 9: /) as string] });
  });
});

const tablesOf = async (part: Pick<PartRef, 'labels' | 'reviewed'>): Promise<{ classOf: Map<string, number>; reviewed: [string, number, string][] }> => {
  const { keys: all, classes } = await readLabels(store, part.labels ?? { key: '', sha256: '', bytes: 0 });
  const reviewed = part.reviewed === undefined ? [] : await readReviewed(store, part.reviewed);
  return { classOf: new Map(all.map((key, row) => [key, classes[row] ?? -1])), reviewed: reviewed.map((each) => [each.key, each.class, each.shard]) };
};

test('an image that judges in the dataset, though not in the run', async () => {
  const { manifest: shuffled } = await importDataset(store, memorySource({ labeled: 40, unlabeled: 30 }), { name: 'shuffled', labeledPerClass: 3, validation: 20, shardSamples: 10, seed: 5 });
  const judging = new Set((await readLabels(store, shuffled.parts.validation?.labels ?? { key: '', sha256: '', bytes: 0 })).keys);
  const at = keys.findIndex(([, key], row) => judging.has(key) && row !== 9);
  const before = store.objects.size;
  expect(await imported([answer(at, 'a')], { dataset: 'shuffled' })).toEqual({ problems: [expect.stringMatching(/^line \d+: [0-9a-f]{20} is an image of validation of shuffled: it judges, and nothing may learn from it$/) as string] });
  expect(store.objects.size).toBe(before);
  expect(await imported([answer(at, 'a')])).toHaveProperty('review');
});

test('for a run: copies of the images, the labels behind its own, and which they are', async () => {
  const told = await imported([answer(0, 'b'), answer(12, 'c'), answer(0, 'b', 30)]);
  if (!('review' in told)) throw new Error('nothing was taken');
  expect(told).toMatchObject({ images: 2, changed: 0 });
  const { review } = told;
  expect(review).toMatchObject({ samples: 2, behindSha256: history.data?.labeled?.labels?.sha256 });
  const [shard] = review.shards;
  expect(shard?.name).toMatch(/^reviewed-[0-9a-f]{12}$/);
  expect((await collect(readShard(store, shard?.ref ?? { key: '', sha256: '', bytes: 0 }))).map(({ key }) => key)).toEqual([keys[0]?.[1] ?? '', keys[12]?.[1] ?? ''].sort((a, b) => (a < b ? -1 : 1)));
  const { classOf, reviewed } = await tablesOf(review);
  expect(classOf.size).toBe(15 + 2);
  expect([classOf.get(keys[0]?.[1] ?? ''), classOf.get(keys[12]?.[1] ?? '')]).toEqual([1, 2]);
  expect(reviewed).toEqual([[keys[0]?.[1], 1, 'unlabeled-000000'], [keys[12]?.[1], 2, 'unlabeled-000001']].sort(([a], [b]) => ((a ?? '') < (b ?? '') ? -1 : 1)));

  // A correction of one, and another image: what was reviewed before stays.
  const next = await imported([answer(0, 'c'), answer(3, 'a')], { history: { ...history, reviews: [{ fromIteration: 2, ...review, shards: [...review.shards] }] } });
  if (!('review' in next)) throw new Error('nothing was taken');
  expect(next).toMatchObject({ images: 1, changed: 1, review: { samples: 1, behindSha256: review.labels.sha256 } });
  const after = await tablesOf(next.review);
  expect([0, 3, 12].map((at) => after.classOf.get(keys[at]?.[1] ?? ''))).toEqual([2, 0, 2]);
  expect(after.reviewed).toHaveLength(3);
});

test('for a dataset: a new version that is whole, that runs can name, and whose selections leave the images out', async () => {
  const told = await imported([answer(0, 'b'), answer(12, 'c')], { dataset: 'pets' });
  expect(told).toMatchObject({ dataset: 'pets@2', images: 2, changed: 0 });
  const { manifest: next } = await loadManifest(store, 'pets@2');
  expect(next).toMatchObject({ version: 2, classes: manifest.classes, parts: { labeled: { samples: 17 }, unlabeled: manifest.parts.unlabeled } });
  expect(next.parts.labeled?.classCounts?.reduce((sum, count) => sum + count, 0)).toBe(17);
  expect(next.parts.labeled?.shards.at(-1)?.name).toBe(`labeled-${String((manifest.parts.labeled?.shards.length ?? 0)).padStart(6, '0')}`);
  // Digests, keys, tables and origins agree; that the images lie in the unlabeled part, too, is known.
  expect(await verifyDataset(store, 'pets')).toEqual([]);
  const { data } = await prepareSubmission(store, recipe('dataset: pets'));
  expect(data.labeled).toMatchObject({ samples: 17, reviewed: next.parts.labeled?.reviewed });

  // The same again is no new version; another class is.
  expect(await imported([answer(0, 'b'), answer(12, 'c')], { dataset: 'pets' })).toMatchObject({ dataset: 'pets@2', images: 0, changed: 0 });
  expect(await imported([answer(0, 'c'), answer(12, 'c')], { dataset: 'pets' })).toMatchObject({ dataset: 'pets@3', images: 0, changed: 1 });

  await expect(imported([answer(1, 'a')], { dataset: 'none' })).rejects.toMatchObject({ code: 'DATASET_NOT_FOUND' });
  await importDataset(store, memorySource({ classes: ['x', 'y'], labeled: 20 }), { name: 'others', labeledPerClass: 2, validation: 4 });
  await expect(imported([answer(1, 'a')], { dataset: 'others' })).rejects.toMatchObject({ code: 'USAGE', message: expect.stringContaining('other classes') as string });
});
