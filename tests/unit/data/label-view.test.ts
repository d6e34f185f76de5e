/** What the page is told of labels: counted over all shards, and pictures of those that it names. */
import { beforeAll, expect, test } from 'vitest';
import { decodeImage, encodePng, importDataset, type ImageShape } from '../../../dataset/index.ts';
import { RunHistory } from '../../../proto/gen/alumnus/v1/history.ts';
import type { LabeledShard } from '../../../proto/gen/alumnus/v1/task.ts';
import { confidenceOf, encodeTally, labelGallery, labelHistogram, labelsOf, readSelection, readSelectionPart, select, tallyOf, writeLabelTable } from '../../../worker/data/index.ts';
import { readShard } from '../../../dataset/index.ts';
import { MemoryStore } from '../../simulation/store.ts';
import { memorySource } from '../dataset/fixture.ts';

const SHAPE: ImageShape = { height: 4, width: 6, channels: 1 };
const CLASSES = ['a', 'b'];
const UNLABELED = 60;
const THRESHOLD = 0.6;

const store = new MemoryStore();
let history: RunHistory;
/** By key: class, confidence, and the image's one value. */
const drawn = new Map<string, { label: number; confidence: number; shard: string; value: number }>();
let copies: Map<string, number>;

beforeAll(async () => {
  const image = (value: number): { pixels: Uint8Array; shape: ImageShape } => ({ pixels: new Uint8Array(24).fill(value), shape: SHAPE });
  const samples = [
    ...Array.from({ length: 8 }, (_, at) => ({ origin: `labeled ${at}`, pool: 'train' as const, label: at % 2, image: image(at) })),
    ...Array.from({ length: 4 }, (_, at) => ({ origin: `test ${at}`, pool: 'test' as const, label: at % 2, image: image(100 + at) })),
    ...Array.from({ length: UNLABELED }, (_, at) => ({ origin: `other ${at}`, pool: 'unlabeled' as const, image: image(120 + at) })),
  ];
  const { manifest } = await importDataset(store, memorySource({ samples, classes: CLASSES, labeled: 0 }), { name: 'set', labeled: 4, validation: 2, shardSamples: 20, seed: 1 });
  const unlabeled = manifest.parts.unlabeled!;
  const labels: LabeledShard[] = [];
  let at = 0;
  for (const shard of unlabeled.shards) {
    const keys: string[] = [];
    const logProbabilities: number[] = [];
    for await (const { key, bytes } of readShard(store, shard.ref)) {
      const [label, confidence] = [at % 3 === 0 ? 1 : 0, 0.505 + 0.49 * (at / 80)];
      keys.push(key);
      logProbabilities.push(...[0, 1].map((each) => Math.log(each === label ? confidence : 1 - confidence)));
      drawn.set(key, { label, confidence, shard: shard.name, value: (await decodeImage(bytes, SHAPE))[0]! });
      at += 1;
    }
    const table = labelsOf(keys, Float32Array.from(logProbabilities), CLASSES.length);
    labels.push({ shard: shard.name, labels: await store.putAddressed('labels', writeLabelTable(table, { 'alumnus.teacher': 't' })), tally: await store.putAddressed('tallies', encodeTally(tallyOf(table, CLASSES.length))) });
  }
  const policy = { threshold: THRESHOLD, balance: 'classes', budgetPerClass: 10, copiesMax: 4, seed: 3 } as const;
  const { ref, document } = await select(store, { teacher: 't', shards: labels, policy, classes: 2, outputPrefix: 'selection', metadata: {} });
  copies = new Map();
  for (const part of (await readSelection(store, ref)).parts) for (const [key, times] of await readSelectionPart(store, ref, part)) copies.set(key, times);
  history = RunHistory.fromPartial({
    runId: 'r', data: { classNames: CLASSES, image: SHAPE, unlabeled: { dataset: 'set#unlabeled', shards: unlabeled.shards.map(({ name, ref: own, samples: count }) => ({ name, ref: own, samples: count })) } },
    iterations: [{ iteration: 0 }, { iteration: 1, teacher: { sha256: 't' }, labels, threshold: { confidence: THRESHOLD }, selection: { selection: ref, labeled: UNLABELED, kept: document.classes.reduce((sum, each) => sum + each.kept, 0) } }, { iteration: 2, teacher: { sha256: 'u' }, labels: labels.slice(0, 1), threshold: { confidence: THRESHOLD } }],
  });
});

test('the histogram counts every label once, in the bin of its confidence', async () => {
  const { from, width, classes, shards, shardsLabeled } = await labelHistogram({ store, history, iteration: 1 });
  const labeled = history.iterations[1]!.labels.length;
  expect(labeled).toBeGreaterThan(1);
  expect([shards, shardsLabeled]).toEqual([labeled, labeled]);
  for (const [label, bins] of classes.entries()) {
    const own = [...drawn.values()].filter((each) => each.label === label);
    expect(bins.reduce((sum, count) => sum + count, 0)).toBe(own.length);
    bins.forEach((count, bin) => {
      const [low, high] = [from + bin * width, from + (bin + 1) * width].map(confidenceOf) as [number, number];
      expect(count, `bin ${bin}`).toBe(own.filter(({ confidence }) => confidence >= low && confidence < high).length);
    });
  }
  // Those at both ends that nothing lies in are left away.
  expect(classes.some((bins) => bins[0]! > 0) && classes.some((bins) => bins.at(-1)! > 0)).toBe(true);
  expect((await labelHistogram({ store, history, iteration: 2 })).shardsLabeled).toBe(1);
});

test('the gallery has the most confident, those nearest the threshold and some that were thrown out, each with its own picture', async () => {
  const gallery = await labelGallery({ store, history, iteration: 1 });
  const keys = [...drawn.keys()];
  const by = (of: (key: string) => number): string[] => [...keys].sort((a, b) => of(b) - of(a)).slice(0, 12);
  expect(gallery.confident.map(({ key }) => key)).toEqual(by((key) => drawn.get(key)!.confidence));
  expect(new Set(gallery.near.map(({ key }) => key))).toEqual(new Set(by((key) => -Math.abs(drawn.get(key)!.confidence - THRESHOLD))));
  expect(gallery.thrownOut).toHaveLength(12);
  for (const { key, copies: times } of gallery.thrownOut) expect([times, copies.get(key)]).toEqual([0, undefined]);
  for (const sample of [...gallery.confident, ...gallery.near, ...gallery.thrownOut]) {
    const { label, confidence, shard, value } = drawn.get(sample.key)!;
    expect(sample).toMatchObject({ label: { class: label, name: CLASSES[label] }, shard, copies: copies.get(sample.key) ?? 0, png: Buffer.from(encodePng(new Uint8Array(24).fill(value), SHAPE)).toString('base64') });
    expect(sample.confidence).toBeCloseTo(confidence, 5);
  }
});

test('before anything is selected nothing is thrown out, and without labels there is nothing to see', async () => {
  const gallery = await labelGallery({ store, history, iteration: 2 });
  expect([gallery.thrownOut.length, gallery.confident.length]).toEqual([0, 12]);
  for (const iteration of [0, 7]) {
    await expect(labelGallery({ store, history, iteration })).rejects.toMatchObject({ code: 'USAGE' });
    await expect(labelHistogram({ store, history, iteration })).rejects.toMatchObject({ code: 'USAGE' });
  }
});
