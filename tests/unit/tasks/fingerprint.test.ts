/** Near-duplicates from a dataset's bytes to the table of those found: copies that were encoded again, made darker or brighter are found, other images are not. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { prepareSubmission } from '../../../coordinator/api/submission.ts';
import { decide, openTasks, type RunState } from '../../../coordinator/run/index.ts';
import { importDataset, loadManifest, readLabels, readOrigins, type ImageShape, type SourceSample } from '../../../dataset/index.ts';
import type { ObjectRef, Task } from '../../../proto/gen/alumnus/v1/task.ts';
import { paths } from '../../../store/index.ts';
import { readNear, type NearDuplicate } from '../../../worker/data/index.ts';
import { runTask } from '../../../worker/tasks/index.ts';
import { MemoryStore } from '../../simulation/store.ts';
import { answer } from '../coordinator/work.ts';
import { memorySource } from '../dataset/fixture.ts';

const SHAPE: ImageShape = { height: 32, width: 40, channels: 3 };
const store = new MemoryStore();
const cache = mkdtempSync(join(tmpdir(), 'alumnus-fingerprint-'));
afterAll(() => rmSync(cache, { recursive: true, force: true }));

/** Smooth, colorful and unlike each other: a few waves of their own each. */
function scene(at: number): Uint8Array {
  const draw = (n: number): number => (((at + 1) * 7919 + n * 104_729) % 1009) / 1009;
  return Uint8Array.from({ length: SHAPE.height * SHAPE.width * 3 }, (_, index) => {
    const [x, y, channel] = [(Math.floor(index / 3) % SHAPE.width) / SHAPE.width, Math.floor(index / 3 / SHAPE.width) / SHAPE.height, index % 3];
    let value = 128;
    for (let wave = 0; wave < 4; wave += 1) value += 28 * Math.sin(2 * Math.PI * ((1 + 5 * draw(wave)) * x + (1 + 5 * draw(wave + 4)) * y + draw(wave + 8)) + channel * draw(wave + 12));
    return Math.min(230, Math.max(20, Math.round(value)));
  });
}

const encodedAgain = async (pixels: Uint8Array, quality: number): Promise<Uint8Array> => sharp(await sharp(pixels, { raw: SHAPE }).jpeg({ quality }).toBuffer()).removeAlpha().raw().toBuffer();

let state: RunState;
let originOf: ReadonlyMap<string, string>;
let keyOf: ReadonlyMap<string, string>;

const none: ObjectRef = { key: '', sha256: '', bytes: 0 };

beforeAll(async () => {
  const samples: SourceSample[] = Array.from({ length: 60 }, (_, at): SourceSample => ({ origin: `scene ${at}`, pool: at < 40 ? 'train' : 'test', label: at % 2, image: { pixels: scene(at), shape: SHAPE } }));
  const copy = (of: number, how: string, pixels: Uint8Array): SourceSample => ({ origin: `${how} of scene ${of}`, pool: 'unlabeled', image: { pixels, shape: SHAPE } });
  samples.push(
    copy(45, 'encoded again', await encodedAgain(scene(45), 60)), copy(46, 'darker', scene(46).map((value) => Math.round(value * 0.7))), copy(47, 'brighter', scene(47).map((value) => Math.min(255, value + 25))),
    ...Array.from({ length: 30 }, (_, at): SourceSample => ({ origin: `other ${at}`, pool: 'unlabeled', image: { pixels: scene(200 + at), shape: SHAPE } })),
  );
  await importDataset(store, memorySource({ classes: ['a', 'b'], labeled: 0, samples }), { name: 'scenes', labeledPerClass: 5, validation: 10, shardSamples: 20 });
  const { manifest } = await loadManifest(store, 'scenes');
  originOf = await readOrigins(store, manifest.parts.unlabeled?.origins ?? none);
  const judging = new Map([...await readOrigins(store, manifest.parts.validation?.origins ?? none), ...await readOrigins(store, manifest.parts.test?.origins ?? none)]);
  keyOf = new Map([...judging].map(([key, origin]) => [origin, key]));
  expect((await readLabels(store, manifest.parts.test?.labels ?? none)).keys).toHaveLength(20);
  const { recipe, data } = await prepareSubmission(store, 'name: scenes\nrounds: 1\ndata: { dataset: scenes, near_duplicates: {} }\nmodels: { ladder: [{ model: cnn, width: 4 }] }\n');
  ({ state } = decide(undefined, { kind: 'submit', runId: 'scenes', recipe, data }, 0));
  // What needs a device is answered by no device; the looking is real.
  while (state.stage !== 2 || state.iteration === 0) await finish((openTasks(state)[0] as Task), (task) => Promise.resolve(answer(task).result));
});

const doReally = (task: Task) => runTask({ task, store, cacheFolder: cache, signal: new AbortController().signal, progress: () => undefined, note: () => undefined, onDevice: () => Promise.reject(new Error('no device is needed')), checkpoint: () => undefined });

async function finish(task: Task, how: (task: Task) => Promise<ReturnType<typeof answer>['result']>): Promise<ReturnType<typeof answer>['result']> {
  const result = await how(task);
  ({ state } = decide(state, { kind: 'complete', task, workerId: 'w', result: { result, deviceMs: 0 } }, 0));
  return result;
}

test('copies are found, with what they are copies of, and nothing else is', async () => {
  const found: NearDuplicate[] = [];
  let samples = 0;
  for (let open = openTasks(state); open[0]?.spec?.$case === 'fingerprint'; open = openTasks(state)) {
    const result = await finish(open[0], doReally);
    if (result?.$case !== 'fingerprint') throw new Error('a fingerprint task has its result');
    if (result.value.near !== undefined) found.push(...await readNear(store, result.value.near));
    samples += result.value.samples;
  }
  expect(samples).toBe(10 + 20 + 10 + (state.data.unlabeled?.samples ?? 0));
  expect(found.map(({ key, part, of }) => [originOf.get(key) ?? '', part, of]).sort(([a = ''], [b = '']) => (a < b ? -1 : 1))).toEqual([
    ['brighter of scene 47', 'test', keyOf.get('scene 47')], ['darker of scene 46', 'test', keyOf.get('scene 46')], ['encoded again of scene 45', 'test', keyOf.get('scene 45')],
  ]);
  for (const { distance, correlation } of found) {
    expect(distance).toBeLessThanOrEqual(6);
    expect(correlation).toBeGreaterThanOrEqual(0.99);
  }
  const [select] = openTasks(state);
  expect(select?.spec?.$case === 'select' && select.spec.value.leftOut?.nearDuplicates.length).toBeGreaterThan(0);
});

test('fingerprints are kept for other runs, which read no image for them; damaged ones are computed again, to the same bytes', async () => {
  const [shard] = state.data.unlabeled?.shards ?? [];
  const path = paths.fingerprints(`${shard?.ref?.sha256 ?? ''}-32x40x3`);
  const kept = store.objects.get(path);
  expect(kept).toBeDefined();
  const task: Task = { ...(openTasks(state)[0] as Task), outputPrefix: 'again', work: shard?.samples ?? 0, spec: { $case: 'fingerprint', value: { image: state.data.image, validation: state.data.validation, test: undefined, shard: undefined, against: undefined, distance: 6, correlation: 0.99 } } };
  const whole = await doReally(task);
  const [validation] = state.data.validation?.shards ?? [];
  const own = paths.fingerprints(`${validation?.ref?.sha256 ?? ''}-32x40x3`);
  // Whoever asks again reads no image: there is none.
  const tar = store.objects.get(validation?.ref?.key ?? '');
  store.objects.delete(validation?.ref?.key ?? '');
  expect(await doReally(task)).toEqual(whole);
  store.objects.set(validation?.ref?.key ?? '', tar!);
  store.objects.set(own, { content: Buffer.from('3\nab\nx'), metadata: {} });
  expect(await doReally(task)).toEqual(whole);
});
