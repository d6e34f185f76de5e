/** Why labels were kept, repeated and dropped, on a set small enough to be ranked by hand. Hashes are by Python's hashlib: sha256(b'7/' + key). */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { RunHistory } from '../../../proto/gen/alumnus/v1/history.ts';
import { importDataset, readOrigins } from '../../../dataset/index.ts';
import type { LabeledShard } from '../../../proto/gen/alumnus/v1/task.ts';
import { openStore, type ObjectStore } from '../../../store/index.ts';
import type { SampleExplained } from '../../../proto/told.ts';
import { encodeTally, explainSample, select, tallyOf, writeLabelTable } from '../../../worker/data/index.ts';
import { memorySource } from '../dataset/fixture.ts';

const TEACHER = 'a'.repeat(64);

/** Class 0: five eligible labels for a budget of 3. b, c and d are as sure; their hashes begin with 2388, 1493 and 8c76. Class 1: two eligible labels for a budget of 3. */
const shards: Record<string, [key: string, label: number, logOdds: number][]> = {
  'unlabeled-000000': [['aa00000000000000000a', 0, 5], ['bb00000000000000000b', 0, 2], ['ff00000000000000000f', 1, 1]],
  'unlabeled-000001': [['bb00000000000000000c', 0, 2], ['ee00000000000000000e', 0, 0.25], ['ff00000000000000001f', 1, 0.5]],
  'unlabeled-000002': [['dd00000000000000000d', 0, 2], ['ff00000000000000002f', 1, -1]],
};

let folder: string;
let store: ObjectStore;
let history: RunHistory;
let labels: LabeledShard[];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'alumnus-explain-'));
  store = await openStore(pathToFileURL(folder).href);
  labels = await Promise.all(Object.entries(shards).map(async ([shard, rows]) => {
    const table = { keys: rows.map(([key]) => key), classes: Int32Array.from(rows, ([, label]) => label), logOdds: Float32Array.from(rows, ([, , logOdds]) => logOdds) };
    const logProbabilities = rows.map(([, label, logOdds]) => [0, 1].map((at) => -Math.log1p(Math.exp(at === label ? -logOdds : logOdds))));
    return { shard, labels: await store.putAddressed('runs/r/labels', writeLabelTable({ ...table, logProbabilities }, { 'alumnus.teacher': TEACHER })), tally: await store.putAddressed('runs/r/tallies', encodeTally(tallyOf(table, 2))) };
  }));
  const policy = { threshold: 0.5, balance: 'classes', budgetPerClass: 3, copiesMax: 2, seed: 7 } as const;
  const { ref } = await select(store, { teacher: TEACHER, shards: labels, policy, classes: 2, outputPrefix: 'runs/r/select', metadata: {} });
  history = RunHistory.fromPartial({
    runId: 'r',
    data: { classNames: ['cat', 'dog'], unlabeled: { dataset: 'gone#unlabeled', manifestSha256: 'b'.repeat(64), samples: 8, shards: Object.entries(shards).map(([name, rows]) => ({ name, samples: rows.length })) } },
    iterations: [
      { iteration: 0, student: { model: { key: 'm', sha256: TEACHER, bytes: 1 } } },
      { iteration: 1, teacher: { key: 'm', sha256: TEACHER, bytes: 1 }, labels, selection: { selection: ref }, threshold: { confidence: 0.5 }, decision: 'refused' },
      { iteration: 1, try: 1, teacher: { key: 'm', sha256: TEACHER, bytes: 1 }, labels: labels.slice(0, 1), lost: [{ shard: 'unlabeled-000002', reason: '3 attempts failed' }], threshold: { confidence: 0.5 } },
    ],
  });
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const explained = (named: string): Promise<SampleExplained> => explainSample({ store, history }, named);

test.each([
  // Class 0 by hand: a, then c, b and d by their hashes, then e; three are taken.
  ['aa00000000000000000a', 'kept', 1, { kind: 'above-cut', by: 'log-odds' }, [0, 0]],
  ['bb00000000000000000c', 'kept', 1, { kind: 'above-cut', by: 'hash' }, [1, 1]],
  ['bb00000000000000000b', 'kept', 1, { kind: 'above-cut', by: 'hash' }, [2, 2]],
  ['dd00000000000000000d', 'dropped', 0, { kind: 'below-cut', by: 'hash' }, [3, 3]],
  ['ee00000000000000000e', 'dropped', 0, { kind: 'below-cut', by: 'log-odds' }, [4, 4]],
  // Class 1: each once, and the more confident one of the two once more.
  ['ff00000000000000000f', 'kept', 2, { kind: 'above-cut', by: 'log-odds' }, [0, 0]],
  ['ff00000000000000001f', 'kept', 1, { kind: 'below-cut', by: 'log-odds' }, [1, 1]],
  ['ff00000000000000002f', 'dropped', 0, { kind: 'below-threshold' }, undefined],
])('%s is %s with %i copies, and why', async (key, outcome, copies, reason, ranks) => {
  const [first] = (await explained(key)).iterations;
  expect(first).toMatchObject({ iteration: 1, try: 0, decision: 'refused', outcome, copies, reason, teacher: { sha256: TEACHER, iteration: 0 }, threshold: { confidence: 0.5, logOdds: 0 } });
  expect(first?.ranking === undefined ? undefined : [first.ranking.rankFrom, first.ranking.rankTo]).toEqual(ranks);
  if (ranks !== undefined) expect(first?.ranking).toMatchObject({ budget: 3, eligible: key.startsWith('ff') ? 2 : 5 });
});

test('the label is told with its probabilities, the most probable class first', async () => {
  const [first] = (await explained('bb00000000000000000b')).iterations;
  // 1 / (1 + exp(-2)); the table holds its logarithm as float16.
  expect(first?.label).toMatchObject({ class: 0, name: 'cat', logOdds: 2, confidence: expect.closeTo(0.8807970779778823, 12) as number });
  expect(first?.label?.probabilities).toEqual([{ class: 0, name: 'cat', probability: expect.closeTo(0.8807970779778823, 4) as number }, { class: 1, name: 'dog', probability: expect.closeTo(0.11920292202211755, 3) as number }]);
});

test('a later try tells what was lost, what is labeled and what waits', async () => {
  const second = async (key: string) => (await explained(key)).iterations[1];
  expect(await second('dd')).toMatchObject({ try: 1, outcome: 'lost', copies: 0, reason: { kind: 'shard-quarantined', why: '3 attempts failed' } });
  expect(await second('aa')).toMatchObject({ try: 1, outcome: 'labeled', reason: { kind: 'not-yet' }, label: { name: 'cat' } });
  expect(await second('ee')).toMatchObject({ try: 1, outcome: 'waiting', reason: { kind: 'not-yet' } });
});

test('the beginning of a key is enough where it begins one alone, and the whole key also where it begins another', async () => {
  expect(await explained('dd')).toMatchObject({ key: 'dd00000000000000000d', shard: 'unlabeled-000002' });
  await expect(explained('bb')).rejects.toMatchObject({ code: 'USAGE', message: '2 samples begin so: bb00000000000000000b, bb00000000000000000c' });
  await expect(explained('zz')).rejects.toMatchObject({ code: 'SAMPLE_NOT_FOUND', message: expect.stringContaining('unlabeled-000002') as string });
});

test('a sample is found where the run takes another part of its dataset for the unlabeled one', async () => {
  // As many images in either part, so that only the name tells them apart.
  const { manifest, digest } = await importDataset(store, memorySource({ labeled: 12 }), { name: 'halves', labeledPerClass: 2 });
  const [labeled, unlabeled] = [manifest.parts.labeled, manifest.parts.unlabeled];
  expect([labeled?.samples, unlabeled?.samples]).toEqual([6, 6]);
  for (const [name, part] of [['labeled', labeled], ['unlabeled', unlabeled]] as const) {
    const [key, origin] = [...await readOrigins(store, part!.origins!)][0]!;
    const of = { ...history, iterations: [], data: { ...history.data!, unlabeled: { dataset: `halves#${name}`, manifestSha256: digest, shards: part!.shards.map((shard) => ({ location: undefined, ...shard })), labels: undefined, samples: 6 } } };
    expect(await explainSample({ store, history: of }, key)).toMatchObject({ key, origin, shard: part!.shards[0]!.name });
  }
});

test('a selection that holds other copies than the rule gives is not explained', async () => {
  const iteration = history.iterations[1]!;
  const other = await select(store, { teacher: TEACHER, shards: labels, policy: { threshold: 0.5, balance: 'classes', budgetPerClass: 3, copiesMax: 2, seed: 8 }, classes: 2, outputPrefix: 'runs/r/other', metadata: {} });
  // Its document by the one seed, its parts by the other.
  const document = JSON.parse(Buffer.from(await store.get(other.ref)).toString('utf8')) as { policy: object };
  const forged = await store.putAddressed('runs/r/other', Buffer.from(JSON.stringify({ ...document, policy: { ...document.policy, seed: 7, threshold: 0.9 } })));
  const changed = { ...history, iterations: [history.iterations[0]!, { ...iteration, selection: { ...iteration.selection!, selection: forged } }] };
  await expect(explainSample({ store, history: changed }, 'bb00000000000000000b')).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' });
});
