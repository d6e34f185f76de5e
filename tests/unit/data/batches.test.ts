/** What training reads: the right image beside the right target, as often as was selected, and the same for the same step. */
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { importDataset, readLabels, type DatasetPart, type Imported } from '../../../dataset/index.ts';
import type { LabeledShard, ObjectRef, PartRef } from '../../../proto/gen/alumnus/v1/task.ts';
import { openStore, type ObjectStore } from '../../../store/index.ts';
import { batcher, decodedShard, eachImage, encodeTally, labelsOf, loadLabeled, loadSelected, readSelectionPart, select, tallyOf, writeLabelTable, type SelectionPolicy, type TrainingSet } from '../../../worker/data/index.ts';
import { GRAY, memorySource } from '../dataset/fixture.ts';

const classes = 3;
const size = GRAY.height * GRAY.width;
const folder = mkdtempSync(join(tmpdir(), 'alumnus-data-'));
const cacheFolder = join(folder, 'cache');
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let store: ObjectStore;
let imported: Imported;
let pseudoLabels: LabeledShard[];
let selection: ObjectRef;
/** Copies and probabilities by key. */
const copies = new Map<string, number>();
const given = new Map<string, number[]>();
const truth = new Map<string, number>();
/** Pixels of each image, as one string, to its key. */
const keyOf = new Map<string, string>();

const partRef = (name: 'labeled' | 'unlabeled'): PartRef => {
  const part = imported.manifest.parts[name] as DatasetPart;
  return { dataset: 'set', manifestSha256: imported.digest, shards: part.shards, labels: part.labels, samples: part.samples };
};
const source = () => ({ store, shape: GRAY, classes, cacheFolder, signal: new AbortController().signal });
const pixels = (set: { images: Uint8Array }, row: number): string => Buffer.from(set.images.subarray(row * size, (row + 1) * size)).toString('hex');
const target = (set: { targets: Float32Array }, row: number): number[] => Array.from(set.targets.subarray(row * classes, (row + 1) * classes));

beforeAll(async () => {
  store = await openStore(pathToFileURL(join(folder, 'store')).href);
  imported = await importDataset(store, memorySource({ labeled: 120 }), { name: 'set', labeledPerClass: 5, shardSamples: 20 });
  for (const name of ['labeled', 'unlabeled'] as const) {
    const part = imported.manifest.parts[name] as DatasetPart;
    const labels = await readLabels(store, part.labels ?? (part.truth as ObjectRef));
    labels.keys.forEach((key, row) => truth.set(key, labels.classes[row] ?? -1));
    for (const shard of part.shards) {
      const decoded = await decodedShard(store, shard, GRAY, '');
      decoded.keys.forEach((key, row) => keyOf.set(pixels(decoded, row), key));
    }
  }
  pseudoLabels = [];
  for (const shard of partRef('unlabeled').shards) {
    const { keys } = await decodedShard(store, shard, GRAY, '');
    const logProbabilities = new Float32Array(keys.length * classes);
    keys.forEach((key, row) => {
      // Class 0 is rare and class 2 frequent, with all degrees of confidence.
      const value = Number.parseInt(key.slice(0, 6), 16) / 2 ** 24;
      const favorite = value < 0.1 ? 0 : value < 0.4 ? 1 : 2;
      const top = 0.4 + 0.55 * ((value * 37) % 1);
      const probabilities = Array.from({ length: classes }, (_, at) => (at === favorite ? top : (1 - top) / 2));
      given.set(key, probabilities);
      probabilities.forEach((probability, at) => (logProbabilities[row * classes + at] = Math.log(probability)));
    });
    const labels = labelsOf(keys, logProbabilities, classes);
    pseudoLabels.push({ shard: shard.name, labels: await store.putAddressed('runs/r/label', writeLabelTable(labels, { 'alumnus.teacher': 't' })), tally: await store.putAddressed('runs/r/label', encodeTally(tallyOf(labels, classes))) });
  }
  const policy: SelectionPolicy = { threshold: 0.5, balance: 'classes', budgetPerClass: 0, copiesMax: 10, seed: 3 };
  const selected = await select(store, { teacher: 't', shards: pseudoLabels, policy, classes, outputPrefix: 'runs/r/select', metadata: {} });
  selection = selected.ref;
  for (const part of selected.document.parts) for (const [key, times] of await readSelectionPart(store, selection, part)) copies.set(key, times);
});

describe('labeled images', () => {
  it('come with the class that the dataset says', async () => {
    const set = await loadLabeled(source(), partRef('labeled'));
    expect(set.draws).toHaveLength(15);
    for (let row = 0; row < 15; row += 1) {
      const key = keyOf.get(pixels(set, row)) ?? '';
      expect(target(set, row)).toEqual([0, 1, 2].map((at) => (at === truth.get(key) ? 1 : 0)));
    }
  });

  it('without a label, or of a class that the model has not, are refused', async () => {
    await expect(loadLabeled({ ...source(), classes: 2 }, partRef('labeled'))).rejects.toMatchObject({ code: 'LABEL_OUT_OF_RANGE' });
    const test = { ...partRef('labeled'), shards: partRef('unlabeled').shards.slice(0, 1), samples: 20 };
    await expect(eachImage(source(), test, () => undefined)).rejects.toMatchObject({ code: 'LABEL_OUT_OF_RANGE', message: expect.stringContaining('has no label') as string });
  });
});

describe('a set that is too large', () => {
  it('is refused before memory is taken for it', async () => {
    await expect(loadLabeled(source(), { ...partRef('labeled'), samples: 10 ** 9 })).rejects.toMatchObject({ code: 'DATASET_TOO_LARGE', where: 'set' });
  });
});

describe('pseudo-labeled images', () => {
  const load = (kind: 'soft' | 'hard'): Promise<TrainingSet> => loadSelected(source(), partRef('unlabeled'), selection, pseudoLabels, kind);

  it('are those that were selected, drawn as often as they have copies', async () => {
    const set = await load('soft');
    const drawn = new Map<string, number>();
    for (const row of set.draws) drawn.set(keyOf.get(pixels(set, row)) ?? '', (drawn.get(keyOf.get(pixels(set, row)) ?? '') ?? 0) + 1);
    expect(drawn).toEqual(copies);
    expect(Math.max(...copies.values())).toBeGreaterThan(1);
    expect(copies.size).toBeLessThan(given.size);
  });

  it('have the teacher\'s probabilities when soft, and its class alone when hard', async () => {
    const [soft, hard] = [await load('soft'), await load('hard')];
    for (let row = 0; row < copies.size; row += 1) {
      const probabilities = given.get(keyOf.get(pixels(soft, row)) ?? '') ?? [];
      target(soft, row).forEach((value, at) => expect(value).toBeCloseTo(probabilities[at] ?? NaN, 3));
      expect(target(soft, row).reduce((sum, value) => sum + value, 0)).toBeCloseTo(1, 6);
      const most = probabilities.indexOf(Math.max(...probabilities));
      expect(target(hard, row)).toEqual([0, 1, 2].map((at) => (at === most ? 1 : 0)));
    }
  });

  it('are not taken from other labels than the selection was cut from', async () => {
    await expect(loadSelected(source(), partRef('unlabeled'), selection, [...pseudoLabels.slice(1), { ...(pseudoLabels[1] as LabeledShard), shard: 'unlabeled-000000' }], 'soft')).rejects.toThrow('the selection of unlabeled-000000 was cut from the labels that this training was given');
  });
});

describe('a batch', () => {
  const nextBatch = async (seed: number) =>
    batcher({ batchLabeled: 4, batchUnlabeled: 6, classes, seed }, await loadLabeled(source(), partRef('labeled')), await loadSelected(source(), partRef('unlabeled'), selection, pseudoLabels, 'soft'));

  it('has labeled images first, then pseudo-labeled ones, each with its target', async () => {
    const batch = (await nextBatch(1))(0);
    expect(batch.images).toHaveLength(10 * size);
    const labeled = new Set((await readLabels(store, partRef('labeled').labels as ObjectRef)).keys);
    for (let row = 0; row < 10; row += 1) {
      const key = keyOf.get(pixels(batch, row)) ?? '';
      expect(labeled.has(key)).toBe(row < 4);
      if (row < 4) expect(target(batch, row)[truth.get(key) ?? -1]).toBe(1);
      else target(batch, row).forEach((value, at) => expect(value).toBeCloseTo(given.get(key)?.[at] ?? NaN, 3));
    }
  });

  it('is a function of seed and step alone', async () => {
    const [one, same, other] = [await nextBatch(1), await nextBatch(1), await nextBatch(2)];
    one(0);
    one(5);
    expect(one(17)).toEqual(same(17));
    expect(one(17)).not.toEqual(one(18));
    expect(one(17)).not.toEqual(other(17));
  });

  it('sees every draw once in an epoch of each set', async () => {
    const at = await nextBatch(1);
    const rows = [...copies.values()].reduce((sum, times) => sum + times, 0);
    const seen = new Map<string, number>();
    const places = Array.from({ length: rows }, (_, cursor) => ({ step: Math.floor(cursor / 6), row: 4 + (cursor % 6) }));
    for (const { step, row } of places) {
      const key = keyOf.get(pixels(at(step), row)) ?? '';
      seen.set(key, (seen.get(key) ?? 0) + 1);
    }
    expect(seen).toEqual(copies);
  });
});

describe('a decoded shard', () => {
  it('is read from the cache, and decoded again when the cache is damaged', async () => {
    const cache = join(folder, 'own-cache');
    const [shard] = partRef('unlabeled').shards;
    if (shard === undefined) throw new Error('no shard');
    const first = await decodedShard(store, shard, GRAY, cache);
    const [entry] = readdirSync(cache);
    expect(readdirSync(cache)).toHaveLength(1);
    // A store without the object shows that the cache answers.
    const empty = await openStore(pathToFileURL(join(folder, 'empty')).href);
    const again = await decodedShard(empty, shard, GRAY, cache);
    expect(again.keys).toEqual(first.keys);
    expect(Buffer.from(again.images).equals(first.images)).toBe(true);
    writeFileSync(join(cache, entry ?? ''), 'damaged');
    await expect(decodedShard(empty, shard, GRAY, cache)).rejects.toMatchObject({ code: 'OBJECT_NOT_FOUND' });
    expect(Buffer.from((await decodedShard(store, shard, GRAY, cache)).images).equals(first.images)).toBe(true);
    expect(Buffer.from((await decodedShard(empty, shard, GRAY, cache)).images).equals(first.images)).toBe(true);
  });

  it('is written by many at once without harm', async () => {
    const cache = join(folder, 'shared-cache');
    const [shard] = partRef('unlabeled').shards;
    if (shard === undefined) throw new Error('no shard');
    const all = await Promise.all(Array.from({ length: 8 }, () => decodedShard(store, shard, GRAY, cache)));
    for (const each of all) expect(each).toEqual(all[0]);
    expect(readdirSync(cache)).toHaveLength(1);
    const empty = await openStore(pathToFileURL(join(folder, 'empty')).href);
    expect((await decodedShard(empty, shard, GRAY, cache)).keys).toEqual(all[0]?.keys);
  });

  it('with another count than the manifest says is refused', async () => {
    const [shard] = partRef('unlabeled').shards;
    if (shard === undefined) throw new Error('no shard');
    await expect(decodedShard(store, { ...shard, samples: 19 }, GRAY, '')).rejects.toMatchObject({ code: 'SHARD_CORRUPT', where: shard.name });
    await expect(decodedShard(store, { ...shard, samples: 21 }, GRAY, '')).rejects.toMatchObject({ code: 'SHARD_CORRUPT', where: shard.name });
  });
});
