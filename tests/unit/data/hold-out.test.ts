/** Images held out of training: which they are, that they come with their classes, and that no batch has them. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { importDataset, readLabels, type DatasetPart } from '../../../dataset/index.ts';
import type { AlumnusError } from '../../../proto/errors.ts';
import type { ObjectRef, PartRef } from '../../../proto/gen/alumnus/v1/task.ts';
import { openStore, type ObjectStore } from '../../../store/index.ts';
import { decodedShard, drawHeldOut, holdOut, openBatches, type Source } from '../../../worker/data/index.ts';
import { GRAY, memorySource } from '../dataset/fixture.ts';

const folder = mkdtempSync(join(tmpdir(), 'alumnus-hold-out-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const size = GRAY.height * GRAY.width;
const [share, seed] = [0.25, 5];

let store: ObjectStore;
let part: PartRef;
let truth: Map<string, number>;
let keyOf: Map<string, string>;
const source = (resized = false): Source => ({ store, shape: resized ? { ...GRAY, height: 2 * GRAY.height } : GRAY, resize: resized, classes: 3, cacheFolder: '', signal: new AbortController().signal });
const pixels = (images: Uint8Array, row: number): string => Buffer.from(images.subarray(row * size, (row + 1) * size)).toString('hex');

beforeAll(async () => {
  store = await openStore(pathToFileURL(join(folder, 'store')).href);
  const { manifest, digest } = await importDataset(store, memorySource({ labeled: 120 }), { name: 'set', labeledPerClass: 9, shardSamples: 4 });
  const labeled = manifest.parts.labeled as DatasetPart;
  part = { dataset: 'set', manifestSha256: digest, shards: labeled.shards, labels: labeled.labels, samples: labeled.samples };
  const labels = await readLabels(store, labeled.labels as ObjectRef);
  truth = new Map(labels.keys.map((key, row) => [key, labels.classes[row] ?? -1]));
  keyOf = new Map();
  for (const shard of part.shards) {
    const { keys, images } = await decodedShard(source(), shard);
    keys.forEach((key, row) => keyOf.set(pixels(images, row), key));
  }
});

it('are of each class those of the least hashes', () => {
  const labels = new Map(Array.from({ length: 21 }, (_, at) => [`k${String(at).padStart(2, '0')}`, at % 3]));
  // python: per class, sorted(keys, key=lambda k: hashlib.sha256(f'{seed}/{k}'.encode()).hexdigest())[:int(share * len(keys))]
  expect([...drawHeldOut(labels, 0.3, 7)].sort()).toEqual(['k00', 'k02', 'k07', 'k11', 'k13', 'k18']);
  expect([...drawHeldOut(labels, 0.3, 8)].sort()).toEqual(['k00', 'k03', 'k10', 'k11', 'k16', 'k17']);
  expect([...drawHeldOut(labels, 0.5, 7)].sort()).toEqual(['k00', 'k02', 'k07', 'k11', 'k12', 'k13', 'k16', 'k17', 'k18']);
  expect(drawHeldOut(labels, 0.1, 7).size).toBe(0);
});

it('come with their classes, whatever shards they lie in', async () => {
  const held = await holdOut(source(), part, { share, seed });
  // Nine of each of three classes: floor(2.25) each.
  expect([...held.truth].sort((a, b) => a - b)).toEqual([0, 0, 1, 1, 2, 2]);
  held.truth.forEach((label, row) => {
    const key = keyOf.get(pixels(held.images, row)) ?? '';
    expect(held.keys.has(key)).toBe(true);
    expect(truth.get(key)).toBe(label);
  });
  expect(new Set(Array.from(held.truth, (_, row) => pixels(held.images, row))).size).toBe(6);
  expect([...held.ofShard.values()].reduce((a, b) => a + b)).toBe(6);
  // Backwards, they are the same images.
  const turned = await holdOut(source(), { ...part, shards: [...part.shards].reverse() }, { share, seed });
  expect([...turned.keys].sort()).toEqual([...held.keys].sort());
  const larger = await holdOut(source(true), part, { share, seed });
  expect([larger.images.length, larger.truth]).toEqual([2 * held.images.length, held.truth]);
});

it('are refused where a class has none to spare', async () => {
  const error = await holdOut(source(), part, { share: 0.1, seed }).then(() => undefined, (thrown: unknown) => thrown as AlumnusError);
  expect(error).toMatchObject({ code: 'RECIPE_INVALID', where: 'training.early_stop.holdout' });
});

describe.each([['held', {}], ['streamed, a shard a block', { memoryBytes: 0, blockBytes: 1 }], ['streamed, all in a block', { memoryBytes: 0, blockBytes: 1e9 }]])('batches of a set that is %s', (_, bounds) => {
  it('have every other image once an epoch, and none that is held out', async () => {
    const leftOut = await holdOut(source(), part, { share, seed });
    const batches = await openBatches(source(), { batchLabeled: 7, batchUnlabeled: 0, seed: 1, leftOut, ...bounds }, part);
    const seen = new Map<string, number>();
    // Three epochs of 27 - 6 images.
    for (let step = 0; step < 9; step += 1) {
      const { images, targets } = await batches.at(step);
      for (let row = 0; row < 7; row += 1) {
        const key = keyOf.get(pixels(images, row)) ?? '';
        seen.set(key, (seen.get(key) ?? 0) + 1);
        expect(targets[row * 3 + (truth.get(key) ?? -1)]).toBe(1);
      }
    }
    batches.close();
    expect([...seen.keys()].sort()).toEqual([...truth.keys()].filter((key) => !leftOut.keys.has(key)).sort());
    expect(new Set(seen.values())).toEqual(new Set([3]));
  });
});

it('images of another size are an error but where the model takes another', async () => {
  const shape = { ...GRAY, height: 2 * GRAY.height };
  const read = (resize: boolean): Promise<unknown> => openBatches({ ...source(), shape, resize }, { batchLabeled: 7, batchUnlabeled: 0, seed: 1 }, part).then(async (batches) => {
    const { images } = await batches.at(0);
    batches.close();
    return images.length;
  });
  expect(await read(true)).toBe(7 * 2 * size);
  await expect(read(false)).rejects.toMatchObject({ code: 'IMAGE_CORRUPT' });
  const streamed = await openBatches({ ...source(), shape, resize: true }, { batchLabeled: 7, batchUnlabeled: 0, seed: 1, memoryBytes: 0 }, part);
  expect((await streamed.at(0)).images).toHaveLength(7 * 2 * size);
  streamed.close();
});
