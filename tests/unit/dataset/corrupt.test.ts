/** Corrupted datasets of a small set of 28 x 28: what is in them, that they are made once, and what they are refused for. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { corruptDataset, corruptionNames, decodeImage, importDataset, listDatasets, loadManifest, readLabels, readShard, sequenceNames, verifyDataset, type CorruptedSet, type ImageShape, type SourceSample } from '../../../dataset/index.ts';
import { corrupted, frames } from '../../../dataset/corruptions/index.ts';
import { openStore, type ObjectStore } from '../../../store/index.ts';
import { memorySource, picture, temporaryStore } from './fixture.ts';

const SHAPE: ImageShape = { height: 28, width: 28, channels: 1 };

/** 30 labeled images, of which 9 are held out for validation, and 6 of test; five a shard. */
async function digits(store: ObjectStore): Promise<void> {
  const samples = Array.from({ length: 36 }, (_, at): SourceSample => ({ origin: String(at), pool: at < 30 ? 'train' : 'test', label: at % 3, image: { pixels: picture(at, SHAPE), shape: SHAPE } }));
  await importDataset(store, memorySource({ labeled: 0, samples }), { name: 'digits', validation: 9, shardSamples: 5 });
}

const imagesOf = async (store: ObjectStore, name: string, part: 'validation' | 'test'): Promise<Map<string, Uint8Array>> => {
  const images = new Map<string, Uint8Array>();
  for (const { ref } of (await loadManifest(store, name)).manifest.parts[part]?.shards ?? []) for await (const { key, bytes } of readShard(store, ref)) images.set(key, await decodeImage(bytes, SHAPE));
  return images;
};

/** What the tests look at, made once: all corruptions, and sequences of four images of each part. */
let store: ObjectStore;
let folder: string;
let sets: CorruptedSet[];
const progress: [done: number, total: number][] = [];
const WISHES = { seed: 5, sequenceImages: 4 };

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'alumnus-dataset-'));
  store = await openStore(`file://${folder}`);
  await digits(store);
  sets = await corruptDataset(store, 'digits', WISHES, (done, total) => progress.push([done, total]));
}, 240_000);
afterAll(() => rmSync(folder, { recursive: true }));

test('progress counts every image and frame, and never goes back', () => {
  // 15 corruptions of 9 + 6 images; of 4 + 4 images four sequences of 31 frames and one of 16.
  const total = 15 * 15 + 8 * (4 * 31 + 16);
  expect(new Set(progress.map((each) => each[1]))).toEqual(new Set([total]));
  const done = progress.map((each) => each[0]);
  expect(done).toEqual(done.toSorted((a, b) => a - b));
  expect(done.at(-1)).toBe(total);
});

test('each corruption is a dataset of the same samples in the same order, with the very labels of its source', async () => {
  expect(sets.slice(0, 15).map(({ manifest, made }) => [manifest.name, made])).toEqual(corruptionNames.map((name) => [`digits-c.${name}`, true]));
  const source = await loadManifest(store, 'digits');
  for (const part of ['validation', 'test'] as const) {
    const clean = await imagesOf(store, 'digits', part);
    expect(clean.size).toBe(part === 'test' ? 6 : 9);
    const { manifest } = await loadManifest(store, 'digits-c.fog');
    expect(manifest.corruption).toEqual({ name: 'fog', seed: 5, of: { name: 'digits', sha256: source.digest } });
    expect(manifest.parts[part]?.labels).toEqual(source.manifest.parts[part]?.labels);
    expect(manifest.parts[part]?.shards.map(({ samples }) => samples)).toEqual(source.manifest.parts[part]?.shards.map(({ samples }) => samples));
    expect([...(await imagesOf(store, 'digits-c.fog', part))]).toEqual([...clean].map(([key, pixels]) => [key, corrupted('fog', pixels, 5, key)]));
  }
  expect(Object.keys((await loadManifest(store, 'digits-c.fog')).manifest.parts)).toEqual(['validation', 'test']);
  for (const name of ['digits-c.fog', 'digits-c.canny_edges']) expect(await verifyDataset(store, name)).toEqual([]);
});

test('sequences have the frames of an image one after another, of the first images of each part, with their classes', async () => {
  expect(sets.slice(15).map(({ manifest }) => [manifest.name, manifest.parts.validation?.samples, manifest.parts.test?.samples, manifest.corruption?.images])).toEqual(
    sequenceNames.map((name) => [`digits-c.${name}`, ...(name === 'translate_sequence' ? [64, 64] : [124, 124]), 4]));
  const clean = [...(await imagesOf(store, 'digits', 'validation'))].slice(0, 4);
  const made = [...(await imagesOf(store, 'digits-c.rotate_sequence', 'validation'))];
  expect(made).toEqual(clean.flatMap(([key, pixels]) => frames('rotate_sequence', pixels, 5, key).map((frame, index) => [`${key}_${String(index).padStart(2, '0')}`, frame])));
  const labelsOf = async (name: string) => {
    const ref = (await loadManifest(store, name)).manifest.parts.validation?.labels;
    const { keys, classes } = await readLabels(store, ref ?? { key: '', sha256: '', bytes: 0 });
    return new Map(keys.map((key, at) => [key, classes[at]]));
  };
  const [own, before] = [await labelsOf('digits-c.rotate_sequence'), await labelsOf('digits')];
  expect([...own].every(([key, label]) => before.get(key.slice(0, -3)) === label)).toBe(true);
  expect(await verifyDataset(store, 'digits-c.rotate_sequence')).toEqual([]);
});

test('of some of the images: the first of each part, under the very labels of all of them, with their own counts; whole by what verify looks at', async () => {
  const some = await corruptDataset(store, 'digits', { ...WISHES, as: 'some', images: 7, sequenceImages: 0 });
  expect(some).toHaveLength(corruptionNames.length);
  const source = await loadManifest(store, 'digits');
  const { manifest } = await loadManifest(store, 'some.fog');
  expect(manifest.corruption).toEqual({ name: 'fog', seed: 5, of: { name: 'digits', sha256: source.digest }, images: 7 });
  for (const [part, taken] of [['validation', 7], ['test', 6]] as const) {
    const [all, own] = [await imagesOf(store, 'digits-c.fog', part), await imagesOf(store, 'some.fog', part)];
    // Nine of validation lie in shards of five and four, so the seventh is in the middle of the second.
    expect([...own]).toEqual([...all].slice(0, taken));
    expect(manifest.parts[part]).toMatchObject({ samples: taken, labels: source.manifest.parts[part]?.labels });
    const { keys, classes } = await readLabels(store, source.manifest.parts[part]!.labels!);
    const counts = [0, 0, 0];
    for (const key of own.keys()) counts[classes[keys.indexOf(key)]!]! += 1;
    expect(manifest.parts[part]?.classCounts).toEqual(counts);
  }
  expect(await verifyDataset(store, 'some.fog')).toEqual([]);
  expect((await corruptDataset(store, 'digits', { ...WISHES, as: 'some', images: 7, sequenceImages: 0 })).every(({ made }) => !made)).toBe(true);
  await expect(corruptDataset(store, 'digits', { ...WISHES, as: 'some', images: 8, sequenceImages: 0 })).rejects.toMatchObject({ code: 'DATASET_EXISTS' });
}, 240_000);

test('made once: an interrupted command goes on and comes to the same bytes, again it makes nothing, another seed under the same name is refused', async () => {
  const { store: other } = await temporaryStore();
  await digits(other);
  const stop = new AbortController();
  const interrupted = corruptDataset(other, 'digits', { ...WISHES, signal: stop.signal }, (_, __, label) => { if (label === 'shear') stop.abort(); });
  await expect(interrupted).rejects.toMatchObject({ code: 'CANCELLED', message: 'stopped after 4 of 20 datasets; the same command makes the others' });
  expect((await listDatasets(other)).length).toBe(1 + 4);
  const whole = await corruptDataset(other, 'digits', WISHES);
  expect(whole.map(({ digest, made }, at) => [digest, made, at])).toEqual(sets.map(({ digest }, at) => [digest, at >= 4, at]));
  expect((await corruptDataset(store, 'digits', WISHES)).map(({ digest, made }) => [digest, made])).toEqual(sets.map(({ digest }) => [digest, false]));
  await expect(corruptDataset(store, 'digits', { ...WISHES, seed: 2 })).rejects.toMatchObject({ code: 'DATASET_EXISTS' });
}, 240_000);

test('images of another shape, a set without parts that judge, and a corrupted set itself are refused with the reason', async () => {
  await expect(corruptDataset(store, 'digits-c.fog')).rejects.toMatchObject({ code: 'USAGE', message: 'it was made of digits itself: name that one' });
  await importDataset(store, memorySource({ labeled: 9, test: 3 }), { name: 'small' });
  await expect(corruptDataset(store, 'small')).rejects.toMatchObject({ code: 'USAGE', where: 'small', message: 'its images are 6x5x1, and the corruptions are defined for gray images of 28x28 (28x28x1)' });
  const samples = Array.from({ length: 6 }, (_, at): SourceSample => ({ origin: String(at), pool: 'train', label: at % 3, image: { pixels: picture(at, SHAPE), shape: SHAPE } }));
  await importDataset(store, memorySource({ labeled: 0, samples }), { name: 'training' });
  await expect(corruptDataset(store, 'training')).rejects.toMatchObject({ code: 'USAGE', message: 'it has neither a validation nor a test part: these are what is corrupted' });
});
