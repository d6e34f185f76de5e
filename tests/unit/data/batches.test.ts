/** What training reads: the right image beside the right target, as often as was selected, and the same for the same step. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { encodePng, importDataset, readLabels, type DatasetPart, type Imported } from '../../../dataset/index.ts';
import type { LabeledShard, ObjectRef, PartRef, ShardRef } from '../../../proto/gen/alumnus/v1/task.ts';
import { openStore, sha256, type ObjectStore } from '../../../store/index.ts';
import { decodedPieces, decodedShard, encodeTally, inBatches, labeledPieces, labelsOf, openBatches, readSelectionPart, select, tallyOf, writeLabelTable, type Batches, type BatchPlan, type SelectedPart, type SelectionPolicy } from '../../../worker/data/index.ts';
import { GRAY, memorySource, picture, tarOf } from '../dataset/fixture.ts';

const classes = 3;
const size = GRAY.height * GRAY.width;
const folder = mkdtempSync(join(tmpdir(), 'alumnus-data-'));
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
/** The shard in which a key lies. */
const shardOf = new Map<string, string>();

const partRef = (name: 'labeled' | 'unlabeled'): PartRef => {
  const part = imported.manifest.parts[name] as DatasetPart;
  return { dataset: 'set', manifestSha256: imported.digest, shards: part.shards, labels: part.labels, samples: part.samples };
};
const never = new AbortController().signal;
const uncached = (from: ObjectStore = store) => ({ store: from, shape: GRAY, cacheFolder: '', signal: never });
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
      const decoded = await decodedShard(uncached(), shard);
      decoded.keys.forEach((key, row) => {
        keyOf.set(pixels(decoded, row), key);
        shardOf.set(key, shard.name);
      });
    }
  }
  pseudoLabels = [];
  for (const shard of partRef('unlabeled').shards) {
    const { keys } = await decodedShard(uncached(), shard);
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

type Bounds = Pick<BatchPlan, 'memoryBytes' | 'blockBytes'>;
/** A tar of 20 such images has 22 KB: blocks of one shard each, and of two. */
const oneShardBlocks: Bounds = { memoryBytes: 0, blockBytes: 1 };
const modes: [string, Bounds][] = [['held', {}], ['streamed, one shard a block', oneShardBlocks], ['streamed, two shards a block', { memoryBytes: 0, blockBytes: 45_000 }]];
const selectedPart = (kind: 'soft' | 'hard' = 'soft'): SelectedPart => ({ unlabeled: partRef('unlabeled'), selection, pseudoLabels, kind });

/** What a teacher is made to say of a labeled image: not its class. */
function saidOf(key: string): number[] {
  const top = 0.5 + (0.4 * Number.parseInt(key.slice(0, 4), 16)) / 2 ** 16;
  return [0, 1, 2].map((at) => (at === ((truth.get(key) ?? 0) + 1) % 3 ? top : (1 - top) / 2));
}

/** @param without so many images of each shard */
async function labeledLabels(without = 0): Promise<LabeledShard[]> {
  return Promise.all(partRef('labeled').shards.map(async (shard) => {
    const keys = (await decodedShard(uncached(), shard)).keys.slice(without);
    const labels = labelsOf(keys, Float32Array.from(keys.flatMap((key) => saidOf(key).map(Math.log))), classes);
    return { shard: shard.name, labels: await store.putAddressed('runs/r/label', writeLabelTable(labels, {})), tally: undefined };
  }));
}

interface Opening {
  readonly plan?: Partial<BatchPlan>;
  readonly kind?: 'soft' | 'hard';
  readonly from?: ObjectStore;
  readonly labeled?: PartRef;
  readonly selected?: SelectedPart;
  readonly classes?: number;
  readonly signal?: AbortSignal;
}

async function opened({ plan = {}, kind = 'soft', from = store, labeled = partRef('labeled'), selected = selectedPart(kind), classes: count = classes, signal = never }: Opening): Promise<Batches> {
  const batches = await openBatches({ store: from, shape: GRAY, classes: count, cacheFolder: '', signal }, { batchLabeled: 4, batchUnlabeled: 6, seed: 1, ...plan }, labeled, selected);
  onTestFinished(batches.close);
  return batches;
}

/** Counts reads of shards, and lets a test damage what is read. */
function watched(from: ObjectStore, change: (ref: ObjectRef, bytes: Uint8Array) => Uint8Array = (_, bytes) => bytes): { store: ObjectStore; reads: string[] } {
  const reads: string[] = [];
  const get = async (ref: ObjectRef): Promise<Uint8Array> => {
    if (ref.key.endsWith('.tar')) reads.push(ref.key);
    return change(ref, await from.get(ref));
  };
  return { reads, store: new Proxy(from, { get: (target, name) => (name === 'get' ? get : (Reflect.get(target, name) as unknown)) }) };
}

/** A store that never answers while it is told to hang. */
const hanging = (from: ObjectStore, hangs: () => boolean): ObjectStore =>
  new Proxy(from, { get: (target, name) => (name === 'get' && hangs() ? () => new Promise(() => undefined) : (Reflect.get(target, name) as unknown)) });

/** Breaks an image behind the digest's check: import takes none that is broken. */
function damage(key: string): (ref: ObjectRef, bytes: Uint8Array) => Uint8Array {
  return (ref, bytes) => {
    if (!ref.key.endsWith('.tar')) return bytes;
    const at = Buffer.from(bytes).indexOf(`${key}.png`);
    if (at === -1) return bytes;
    const damaged = Uint8Array.from(bytes);
    damaged[at + 512 + 40] = (damaged[at + 512 + 40] ?? 0) ^ 0xff;
    return damaged;
  };
}

const keyAt = (batch: { images: Uint8Array }, row: number): string => keyOf.get(pixels(batch, row)) ?? '';
const draws = (): number => [...copies.values()].reduce((sum, times) => sum + times, 0);

describe.each(modes)('a batch of sets that are %s', (_, bounds) => {
  it('has what stands in the place of a pseudo-label, beside the very images that it has without', async () => {
    const instead = (key: string): number => truth.get(key) ?? -1;
    const [with_, without] = [await opened({ plan: bounds, selected: { ...selectedPart('hard'), instead } }), await opened({ plan: bounds, kind: 'hard' })];
    let differ = 0;
    for (let step = 0; step < 5; step += 1) {
      const [batch, other] = [await with_.at(step), await without.at(step)];
      expect(Buffer.compare(batch.images, other.images)).toBe(0);
      for (let row = 0; row < 10; row += 1) {
        expect(target(batch, row)).toEqual([0, 1, 2].map((at) => (at === truth.get(keyAt(batch, row)) ? 1 : 0)));
        if (target(batch, row).join() !== target(other, row).join()) differ += 1;
      }
    }
    expect(differ).toBeGreaterThan(0);
  });

  it('has labeled images first, then pseudo-labeled ones, each with its target', async () => {
    const labeled = new Set((await readLabels(store, partRef('labeled').labels as ObjectRef)).keys);
    for (const kind of ['soft', 'hard'] as const) {
      const batch = await (await opened({ plan: bounds, kind })).at(0);
      expect(batch.images).toHaveLength(10 * size);
      for (let row = 0; row < 10; row += 1) {
        const key = keyAt(batch, row);
        const probabilities = given.get(key) ?? [];
        const most = probabilities.indexOf(Math.max(...probabilities));
        expect(labeled.has(key)).toBe(row < 4);
        if (row < 4) expect(target(batch, row)).toEqual([0, 1, 2].map((at) => (at === truth.get(key) ? 1 : 0)));
        else if (kind === 'hard') expect(target(batch, row)).toEqual([0, 1, 2].map((at) => (at === most ? 1 : 0)));
        else target(batch, row).forEach((value, at) => expect(value).toBeCloseTo(probabilities[at] ?? NaN, 3));
        expect(target(batch, row).reduce((sum, value) => sum + value, 0)).toBeCloseTo(1, 6);
      }
    }
  });

  it('of distillation has true labels apart from the teacher\'s word: zeros where nobody knows the class, and where it is stored what it said of either', async () => {
    const plain = await opened({ plan: bounds });
    for (const distilled of [{ teacher: 'online' }, { teacher: 'stored', labels: await labeledLabels() }] as const) {
      const batches = await opened({ plan: { ...bounds, distilled } });
      for (const step of [0, 1, 5, 20]) {
        const batch = await batches.at(step);
        const width = distilled.teacher === 'stored' ? 2 * classes : classes;
        expect(batch.targets).toHaveLength(10 * width);
        // What is learned of an image does not change which is seen.
        expect(batch.images).toEqual((await plain.at(step)).images);
        for (let row = 0; row < 10; row += 1) {
          const key = keyAt(batch, row);
          const found = [...batch.targets.subarray(row * width, (row + 1) * width)];
          expect(found.slice(0, classes)).toEqual([0, 1, 2].map((at) => (row < 4 && at === truth.get(key) ? 1 : 0)));
          const said = row < 4 ? saidOf(key) : given.get(key) ?? [];
          // Float16 of a logarithm: relative error 2^-11.
          found.slice(classes).forEach((value, at) => expect(Math.abs(value / Math.log(said[at] ?? NaN) - 1)).toBeLessThan(6e-4));
        }
      }
    }
  });

  it('of distillation is refused where the stored teacher said nothing of a labeled image: it would be taken for one that is sure of nothing', async () => {
    const labels = await labeledLabels(1);
    const whole = async (): Promise<void> => {
      const batches = await opened({ plan: { ...bounds, distilled: { teacher: 'stored', labels } } });
      for (let step = 0; step < 20; step += 1) await batches.at(step);
    };
    await expect(whole()).rejects.toThrow('a stored teacher said something of every image');
  });

  it('is a function of seed and step alone: any step gives what reading in order gives', async () => {
    const steps = 40;
    const inOrder = await opened({ plan: bounds });
    const all = [];
    for (let step = 0; step < steps; step += 1) all.push(await inOrder.at(step));
    for (const step of [37, 0, 13, 14, 15, 3]) {
      // As a training does that resumes there, and as one that was somewhere else.
      const resumed = await opened({ plan: bounds });
      expect(await resumed.at(step)).toEqual(all[step]);
      expect(await resumed.at(step + 1)).toEqual(all[step + 1]);
      expect(await inOrder.at(step)).toEqual(all[step]);
    }
    expect(all[17]).not.toEqual(all[18]);
    expect(all[17]).not.toEqual(await (await opened({ plan: { ...bounds, seed: 2 } })).at(17));
  });

  it('sees every draw once in an epoch of each set, as often as it has copies, for two epochs and across their ends', async () => {
    const batches = await opened({ plan: bounds });
    const seen: string[][] = [[], []];
    for (let step = 0; step * 6 < 2 * draws(); step += 1) {
      const batch = await batches.at(step);
      for (let row = 0; row < 10; row += 1) seen[row < 4 ? 0 : 1]?.push(keyAt(batch, row));
    }
    const count = (keys: readonly string[]): Map<string, number> => keys.reduce((counts, key) => counts.set(key, (counts.get(key) ?? 0) + 1), new Map<string, number>());
    const sorted = (counts: Map<string, number>): [string, number][] => [...counts].sort(([a], [b]) => (a < b ? -1 : 1));
    expect(copies.size).toBeLessThan(given.size);
    expect(Math.max(...copies.values())).toBeGreaterThan(1);
    for (const epoch of [0, 1]) {
      expect(sorted(count(seen[1]?.slice(epoch * draws(), (epoch + 1) * draws()) ?? []))).toEqual(sorted(copies));
      expect([...count(seen[0]?.slice(epoch * 15, (epoch + 1) * 15) ?? []).values()]).toEqual(Array(15).fill(1));
    }
    expect(seen[1]?.slice(0, draws())).not.toEqual(seen[1]?.slice(draws(), 2 * draws()));
  });

  it('may be of labeled images alone', async () => {
    const batch = await (await opened({ plan: { ...bounds, batchUnlabeled: 0 } })).at(2);
    expect(batch.images).toHaveLength(4 * size);
    expect(batch.images).toEqual((await (await opened({ plan: bounds })).at(2)).images.subarray(0, 4 * size));
  });

  const failure = async (opening: Opening): Promise<unknown> => {
    try {
      const batches = await opened({ ...opening, plan: bounds });
      for (let step = 0; step < 30; step += 1) await batches.at(step);
      return undefined;
    } catch (thrown) {
      return thrown;
    }
  };

  it('is refused where an image has no label, one of a class that the model has not, or other labels than the selection was cut from', async () => {
    expect(await failure({ classes: 2 })).toMatchObject({ code: 'LABEL_OUT_OF_RANGE' });
    expect(await failure({ labeled: { ...partRef('labeled'), shards: partRef('unlabeled').shards.slice(0, 1), samples: 20 } })).toMatchObject({ code: 'LABEL_OUT_OF_RANGE', message: expect.stringContaining('has no label') as string });
    const others = [...pseudoLabels.slice(1), { ...(pseudoLabels[1] as LabeledShard), shard: 'unlabeled-000000' }];
    expect(await failure({ selected: { ...selectedPart(), pseudoLabels: others } })).toMatchObject({ message: expect.stringContaining('the selection of unlabeled-000000 was cut from the labels that this training was given') as string });
  });

  it('names the shard and the image that cannot be decoded, and a shard that is not there', async () => {
    const [bad = ''] = [...copies.keys()].sort();
    const shard = partRef('unlabeled').shards.find(({ name }) => shardOf.get(bad) === name);
    expect(await failure({ from: watched(store, damage(bad)).store })).toMatchObject({ code: 'IMAGE_CORRUPT', where: `${shard?.name ?? ''}/${bad}.png` });
    const gone = { ...partRef('unlabeled'), shards: partRef('unlabeled').shards.map((each) => ({ ...each, ref: { ...each.ref, key: `${each.ref?.key ?? ''}x`, sha256: each.ref?.sha256 ?? '', bytes: each.ref?.bytes ?? 0 } })) };
    expect(await failure({ selected: { ...selectedPart(), unlabeled: gone } })).toMatchObject({ code: 'OBJECT_NOT_FOUND' });
  });
});

describe('a streamed set', () => {
  it('reads each shard once an epoch, and no further ahead than a block', async () => {
    const watch = watched(store);
    const batches = await opened({ plan: { ...oneShardBlocks, batchLabeled: 0, batchUnlabeled: 1 }, from: watch.store });
    const shards = partRef('unlabeled').shards.length;
    expect(shards).toBeGreaterThan(3);
    for (let step = 0; step < draws(); step += 1) await batches.at(step);
    // Batches are made up to 16 steps ahead of the last: these lie in one block of the next epoch, or two.
    const first = watch.reads.slice(0, shards);
    expect(new Set(first).size).toBe(shards);
    expect(watch.reads.length).toBeLessThanOrEqual(shards + 3);
  });

  it('has batches ready before they are asked for', async () => {
    let hangs = false;
    const watch = watched(store);
    const batches = await opened({ plan: oneShardBlocks, from: hanging(watch.store, () => hangs) });
    await batches.at(0);
    // Six draws a step: only a reader that is a dozen steps ahead comes to the last shard.
    await vi.waitFor(() => expect(new Set(watch.reads.filter((key) => key.includes('unlabeled'))).size).toBe(partRef('unlabeled').shards.length));
    hangs = true;
    for (let step = 1; step <= 8; step += 1) expect((await batches.at(step)).images).toHaveLength(10 * size);
  });

  it('makes nothing ahead that is not asked for any more', async () => {
    const watch = watched(store);
    const batches = await opened({ plan: oneShardBlocks, from: watch.store });
    await batches.at(0, 2);
    await batches.at(1, 2);
    // Reads are taken one after another: whatever was begun ahead of this one is done before it.
    await batches.at(0, 1);
    const blocks = new Set(watch.reads.filter((key) => key.includes('unlabeled'))).size;
    // Twelve draws lie in one block or two, and the one behind is read meanwhile.
    expect(blocks).toBeLessThanOrEqual(3);
    expect(partRef('unlabeled').shards.length).toBeGreaterThan(3);
  });

  it('rejects at once when it is stopped, and reads nothing more', async () => {
    for (const stop of ['abort', 'close'] as const) {
      const abort = new AbortController();
      let hangs = false;
      const watch = watched(store);
      const batches = await opened({ plan: { ...oneShardBlocks, batchLabeled: 0 }, from: hanging(watch.store, () => hangs), signal: abort.signal });
      await batches.at(0);
      hangs = true;
      const waiting = batches.at(500);
      if (stop === 'abort') abort.abort(new Error('stopped'));
      else batches.close();
      await expect(waiting).rejects.toThrow(stop === 'abort' ? 'stopped' : 'aborted');
      await expect(batches.at(0)).rejects.toThrow();
      const reads = watch.reads.length;
      hangs = false;
      await new Promise((resolve) => setTimeout(resolve, 50));
      expect(watch.reads.length).toBe(reads);
    }
  });
});

describe('a shard in pieces', () => {
  const shard = (): ShardRef => partRef('unlabeled').shards[0] as ShardRef;
  const collect = async (pieces: AsyncIterable<{ keys: readonly string[]; images: Uint8Array }>) => {
    const [keys, images]: [string[], Uint8Array[]] = [[], []];
    for await (const piece of pieces) {
      keys.push(...piece.keys);
      images.push(piece.images);
    }
    return { keys, images: sha256(Buffer.concat(images)) };
  };

  it('is cut into batches of one size, the last one smaller, across shards too', async () => {
    const whole = await Promise.all(partRef('unlabeled').shards.map((each) => decodedShard(uncached(), each)));
    const expected = { keys: whole.flatMap(({ keys }) => keys), images: sha256(Buffer.concat(whole.map(({ images }) => images))) };
    for (const rows of [1, 7, 20, 33, 1000]) {
      const sizes: number[] = [];
      const pieces = async function* () {
        for (const each of partRef('unlabeled').shards) yield* decodedPieces(uncached(), each);
      };
      const cut = async function* () {
        for await (const batch of inBatches(pieces(), rows)) {
          sizes.push(batch.keys.length);
          expect(batch.images).toHaveLength(batch.keys.length * size);
          yield batch;
        }
      };
      expect(await collect(cut())).toEqual(expected);
      expect(sizes.slice(0, -1).every((each) => each === rows)).toBe(true);
      expect(sizes.at(-1)).toBe(expected.keys.length % rows === 0 ? rows : expected.keys.length % rows);
    }
  });

  it('goes on from the store where its entry in the cache is damaged in the middle', async () => {
    // Half a piece each and a little more, so that each is a piece by itself.
    const shape = { height: 300, width: 300, channels: 3 as const };
    const pictures = Array.from({ length: 7 }, (_, at) => ({ key: `k${at}`, pixels: picture(at, shape) }));
    const tar = await tarOf(Object.fromEntries(pictures.map(({ key, pixels: own }) => [`${key}.png`, encodePng(own, shape)])));
    const ref = { name: 's', ref: await store.putAddressed('datasets/large', tar), samples: 7 };
    const cache = join(folder, 'piece-cache');
    const expected = { keys: pictures.map(({ key }) => key), images: sha256(Buffer.concat(pictures.map(({ pixels: own }) => own))) };
    const read = (from: ObjectStore) => collect(decodedPieces({ store: from, shape, cacheFolder: cache, signal: never }, ref));
    expect(await read(store)).toEqual(expected);
    const [entry = ''] = readdirSync(cache);
    const bytes = readFileSync(join(cache, entry));
    const watch = watched(store);
    expect(await read(watch.store)).toEqual(expected);
    expect(watch.reads).toEqual([]);
    // One image a piece: the fourth is damaged.
    bytes[3 * 270_000 + 5] = (bytes[3 * 270_000 + 5] ?? 0) ^ 1;
    writeFileSync(join(cache, entry), bytes);
    expect(await read(store)).toEqual(expected);
  });

  it('is labeled, and refused without a label', async () => {
    const source = { ...uncached(), classes };
    const keys: string[] = [];
    for await (const piece of labeledPieces(source, partRef('labeled'))) {
      piece.keys.forEach((key, row) => expect(piece.classes[row]).toBe(truth.get(key)));
      keys.push(...piece.keys);
    }
    expect(keys).toHaveLength(15);
    await expect(labeledPieces(source, { ...partRef('labeled'), shards: [shard()], samples: 20 }).next()).rejects.toMatchObject({ code: 'LABEL_OUT_OF_RANGE', where: `set ${shard().name}` });
  });

  it('rejects at once when its reader is stopped while the store hangs', async () => {
    const abort = new AbortController();
    const reading = decodedPieces({ ...uncached(hanging(store, () => true)), signal: abort.signal }, shard()).next();
    abort.abort(new Error('stopped'));
    await expect(reading).rejects.toThrow('stopped');
  });
});

describe('a decoded shard', () => {
  it('is read from the cache, and decoded again when the cache is damaged', async () => {
    const cache = join(folder, 'own-cache');
    const [shard] = partRef('unlabeled').shards;
    if (shard === undefined) throw new Error('no shard');
    const first = await decodedShard({ ...uncached(), cacheFolder: cache }, shard);
    const [entry] = readdirSync(cache);
    expect(readdirSync(cache)).toHaveLength(1);
    // A store without the object shows that the cache answers.
    const empty = await openStore(pathToFileURL(join(folder, 'empty')).href);
    const again = await decodedShard({ ...uncached(empty), cacheFolder: cache }, shard);
    expect(again.keys).toEqual(first.keys);
    expect(Buffer.from(again.images).equals(first.images)).toBe(true);
    writeFileSync(join(cache, entry ?? ''), 'damaged');
    await expect(decodedShard({ ...uncached(empty), cacheFolder: cache }, shard)).rejects.toMatchObject({ code: 'OBJECT_NOT_FOUND' });
    expect(Buffer.from((await decodedShard({ ...uncached(), cacheFolder: cache }, shard)).images).equals(first.images)).toBe(true);
    expect(Buffer.from((await decodedShard({ ...uncached(empty), cacheFolder: cache }, shard)).images).equals(first.images)).toBe(true);
  });

  it('is written by many at once without harm', async () => {
    const cache = join(folder, 'shared-cache');
    const [shard] = partRef('unlabeled').shards;
    if (shard === undefined) throw new Error('no shard');
    const all = await Promise.all(Array.from({ length: 8 }, () => decodedShard({ ...uncached(), cacheFolder: cache }, shard)));
    for (const each of all) expect(each).toEqual(all[0]);
    expect(readdirSync(cache)).toHaveLength(1);
    const empty = await openStore(pathToFileURL(join(folder, 'empty')).href);
    expect((await decodedShard({ ...uncached(empty), cacheFolder: cache }, shard)).keys).toEqual(all[0]?.keys);
  });

  it('with another count than the manifest says is refused', async () => {
    const [shard] = partRef('unlabeled').shards;
    if (shard === undefined) throw new Error('no shard');
    await expect(decodedShard(uncached(), { ...shard, samples: 19 })).rejects.toMatchObject({ code: 'SHARD_CORRUPT', where: shard.name });
    await expect(decodedShard(uncached(), { ...shard, samples: 21 })).rejects.toMatchObject({ code: 'SHARD_CORRUPT', where: shard.name });
  });
});
