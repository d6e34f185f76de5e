/**
 * A review by the command line, of a run under way: near-duplicates are left out, labels are exported, filled in, refused, imported, explained, and kept for another run. The command line and the
 * programs that it starts are processes of dist/; the coordinator's service answers them from here, over a real store. Labels are drawn, not predicted, and trainings
 * are answered without training: what is held here is what becomes of labels, and that needs no TensorFlow.
 */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { parseCsv } from '../../cli/csv.ts';
import { operatorService } from '../../coordinator/api/operator-service.ts';
import { prepareSubmission } from '../../coordinator/api/submission.ts';
import { Fold } from '../../coordinator/fold.ts';
import { Leader } from '../../coordinator/leader.ts';
import { openTasks } from '../../coordinator/run/index.ts';
import { importDataset, loadManifest, readLabels, readOrigins, readShard, type ImageShape, type SourceSample } from '../../dataset/index.ts';
import { OperatorServiceService, type RunView } from '../../proto/gen/alumnus/v1/operator.ts';
import { Stage, type ObjectRef, type Task, type TaskResult } from '../../proto/gen/alumnus/v1/task.ts';
import type { SampleExplained } from '../../proto/told.ts';
import { openStore, sha256, type ObjectStore } from '../../store/index.ts';
import { encodeTally, labelsOf, readSelection, readSelectionPart, tallyOf, writeLabelTable } from '../../worker/data/index.ts';
import type { TaskContext } from '../../worker/tasks/context.ts';
import { fingerprint } from '../../worker/tasks/fingerprint.ts';
import { select } from '../../worker/tasks/select.ts';
import { MemoryDisk } from '../unit/coordinator/memory-journal.ts';
import { answer } from '../unit/coordinator/work.ts';
import { memorySource } from '../unit/dataset/fixture.ts';
import { runCommand, type Ran } from '../harness/command.ts';

const RUN = 'scenes-reviewed';
const CLASSES = ['a', 'b', 'c'];
const SHAPE: ImageShape = { height: 20, width: 24, channels: 1 };
const MOST = 8;
/** Some forty short processes: seconds, and on cores that are busy with much else minutes. */
const PROCESSES_MS_MAX = 30 * 60_000;
const none: ObjectRef = { key: '', sha256: '', bytes: 0 };

let folder: string;
let store: ObjectStore;
let leader: Leader;
let server: Server;
let address: string;

/** A few waves of its own each. */
function scene(at: number, gain = 1): Uint8Array {
  const draw = (n: number): number => (((at + 1) * 7919 + n * 104_729) % 1009) / 1009;
  return Uint8Array.from({ length: SHAPE.height * SHAPE.width }, (_, pixel) => {
    let value = 128;
    for (let wave = 0; wave < 4; wave += 1) value += 28 * Math.sin(2 * Math.PI * ((1 + 5 * draw(wave)) * ((pixel % SHAPE.width) / SHAPE.width) + (1 + 5 * draw(wave + 4)) * (Math.floor(pixel / SHAPE.width) / SHAPE.height) + draw(wave + 8)));
    return Math.round(gain * Math.min(230, Math.max(20, value)));
  });
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'alumnus-review-'));
  store = await openStore(pathToFileURL(join(folder, 'store')).href);
  const samples: SourceSample[] = Array.from({ length: 70 }, (_, at): SourceSample => ({ origin: `scene ${at}`, pool: at < 40 ? 'train' : 'test', label: at % CLASSES.length, image: { pixels: scene(at), shape: SHAPE } }));
  for (let at = 0; at < 40; at += 1) samples.push({ origin: `other ${at}`, pool: 'unlabeled', image: { pixels: scene(200 + at), shape: SHAPE } });
  for (const at of [45, 46]) samples.push({ origin: `darker scene ${at}`, pool: 'unlabeled', image: { pixels: scene(at, 0.7), shape: SHAPE } });
  await importDataset(store, memorySource({ classes: CLASSES, labeled: 0, samples }), { name: 'scenes', labeledPerClass: 5, validation: 10, shardSamples: 20 });
  const journal = new MemoryDisk().open();
  leader = new Leader({ journal, fold: await Fold.load(journal, store), store, term: await journal.begin(), leaseMs: 1_000, clock: { now: () => Date.now(), sleep: () => new Promise<void>(() => undefined) } });
  const { recipe, data } = await prepareSubmission(store, 'name: scenes\nrounds: 2\ndata: { dataset: scenes, near_duplicates: {} }\nmodels: { ladder: [{ model: cnn, width: 4 }] }\nlabels: { balance: none }\nguards: { class_share_least: 0, class_share_most: 1 }\n');
  await leader.command(RUN, { kind: 'submit', runId: RUN, recipe, data });
  server = new Server();
  server.addService(OperatorServiceService, operatorService({ leader: () => leader, leaderAddress: '', trouble: '', journal }, store, 'file:///store', '0'));
  address = `127.0.0.1:${await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) => (error === null ? resolve(bound) : reject(error)));
  })}`;
});
afterAll(async () => {
  server.forceShutdown();
  await rm(folder, { recursive: true, force: true });
});

/** A teacher that is rarely sure, and each time of something else. */
async function labelTask(task: Task): Promise<TaskResult['result']> {
  if (task.spec?.$case !== 'label') throw new Error('the task labels');
  const { shard, teacher } = task.spec.value;
  const keys: string[] = [];
  for await (const { key } of readShard(store, shard?.ref ?? none)) keys.push(key);
  const logProbabilities = Float32Array.from(keys.flatMap((key) => {
    const weights = [...Buffer.from(sha256(`${teacher?.sha256 ?? ''}/${key}`), 'hex').subarray(0, CLASSES.length)].map((byte) => 1 + byte);
    const sum = weights.reduce((total, weight) => total + weight, 0);
    return weights.map((weight) => Math.log(weight / sum));
  }));
  const labels = labelsOf(keys, logProbabilities, CLASSES.length);
  return {
    $case: 'label',
    value: {
      labels: await store.putAddressed(task.outputPrefix, writeLabelTable(labels, { 'alumnus.teacher': teacher?.sha256 ?? '' }), { extension: '.parquet' }),
      tally: await store.putAddressed(task.outputPrefix, encodeTally(tallyOf(labels, CLASSES.length))), samples: keys.length,
    },
  };
}

async function resultOf(task: Task): Promise<TaskResult> {
  const context: TaskContext = {
    task, store, cacheFolder: '', signal: new AbortController().signal, progress: () => undefined, checkpoint: () => undefined, note: () => undefined, onDevice: () => Promise.reject(new Error('no device is needed')),
  };
  const deviceMs = 1;
  switch (task.spec?.$case) {
    case 'label': return { deviceMs, result: await labelTask(task) };
    case 'fingerprint': return { deviceMs, result: { $case: 'fingerprint', value: await fingerprint(context, task.spec.value) } };
    case 'select': return { deviceMs, result: { $case: 'select', value: await select(context, task.spec.value) } };
    default: return answer(task, { studentOnlyRight: 40, teacherOnlyRight: 10 });
  }
}

/** @returns the tasks that were done. */
async function goOn(until: (task: Task) => boolean): Promise<Task[]> {
  const done: Task[] = [];
  for (let [task] = openTasks(leader.run(RUN)); task !== undefined && !until(task); [task] = openTasks(leader.run(RUN))) {
    await leader.command(RUN, { kind: 'complete', task, workerId: 'w', result: await resultOf(task) });
    done.push(task);
  }
  return done;
}

const alumnus = (...args: string[]): Promise<Ran> => runCommand(args, { HOME: folder, ALUMNUS_HOME: folder, ALUMNUS_ADDRESS: address });

async function done(...args: string[]): Promise<string> {
  const { code, out, err } = await alumnus(...args);
  expect(code, err).toBe(0);
  return out;
}

async function selectedIn(iteration: number): Promise<Set<string>> {
  const ref = leader.run(RUN).iterations[iteration]?.selection?.selection ?? none;
  const keys = new Set<string>();
  for (const part of (await readSelection(store, ref)).parts) for (const key of (await readSelectionPart(store, ref, part)).keys()) keys.add(key);
  return keys;
}

test('from near-duplicates to a student that learns what a person said', async () => {
  await goOn(({ stage, iteration }) => stage === Stage.TRAIN && iteration === 1);
  const { manifest } = await loadManifest(store, 'scenes');
  const originOf = await readOrigins(store, manifest.parts.unlabeled?.origins ?? none);
  const near = new Set([...originOf].flatMap(([key, origin]) => (origin.startsWith('darker') ? [key] : [])));
  expect(JSON.parse(await done('run', 'describe', RUN, '-o', 'json')) as RunView).toMatchObject({ nearDuplicates: { complete: true, unlabeled: { samples: 42 + 15, nearValidation: 0, nearTest: 2, nearAny: 2 } } });
  expect(await done('run', 'describe', RUN)).toContain('2 of 57 unlabeled images look like one of validation (0) or test (2), and are left out');

  // What is worth a look: as a file, with the images.
  const file = join(folder, 'review.csv');
  expect(await done('review', 'export', RUN, '--most', String(MOST), '--out', file, '--images', join(folder, 'images'))).toBe(`${file}\n`);
  const [head, ...rows] = parseCsv(await readFile(file, 'utf8'), file);
  const value = (fields: readonly string[], name: string): string => fields[head?.fields.indexOf(name) ?? -1] ?? '';
  const scores = rows.map(({ fields }) => Number(value(fields, 'score')));
  expect(scores).toHaveLength(MOST);
  expect(scores).toEqual([...scores].sort((a, b) => b - a));
  expect(rows.filter(({ fields }) => near.has(value(fields, 'key')))).toEqual([]);
  for (const { fields } of rows) expect((await readFile(value(fields, 'image'))).subarray(1, 4).toString('latin1')).toBe('PNG');
  // The same again, to standard output; without files images are told by tar and key.
  const again = parseCsv(await done('review', 'export', RUN, '--most', String(MOST)), 'again');
  expect(again.slice(1).map(({ fields }) => value(fields, 'key'))).toEqual(rows.map(({ fields }) => value(fields, 'key')));
  expect(value(again[1]?.fields ?? [], 'image')).toMatch(new RegExp(`^datasets/scenes/unlabeled/[0-9a-f]{64}\\.tar#${value(rows[0]?.fields ?? [], 'key')}$`));

  // Two lines cannot be taken, and so none is.
  const filled = rows.map(({ fields }, at): [string, string, string] => [value(fields, 'shard'), value(fields, 'key'), CLASSES[at % CLASSES.length] ?? '']);
  const csv = (lines: [string, string, string][]): string => ['shard,key,label', ...lines.map((each) => each.join(','))].join('\n');
  const [judge = ''] = (await readLabels(store, manifest.parts.validation?.labels ?? none)).keys;
  const bad = join(folder, 'bad.csv');
  await writeFile(bad, csv([...filled, ['unlabeled-000000', judge, 'a'], ['unlabeled-000000', 'k', 'sideways']]));
  const refused = await alumnus('review', 'import', bad, '--run', RUN);
  expect(refused).toMatchObject({ code: 7, out: '' });
  expect(refused.err).toContain(`line ${MOST + 2}: ${judge} is an image of validation`);
  expect(refused.err).toContain(`line ${MOST + 3}: there is no class "sideways"`);
  expect(leader.run(RUN).reviews).toEqual([]);

  const good = join(folder, 'good.csv');
  await writeFile(good, csv(filled));
  expect(JSON.parse(await done('review', 'import', good, '--run', RUN, '-o', 'json'))).toMatchObject({ kind: 'ReviewImported', images: MOST, changed: 0, fromIteration: 2 });
  // Once more brings nothing, and is no fact.
  expect(JSON.parse(await done('review', 'import', good, '--run', RUN, '-o', 'json'))).toMatchObject({ images: 0, changed: 0 });
  expect(leader.run(RUN).reviews).toHaveLength(1);
  expect(await done('run', 'describe', RUN)).toMatch(new RegExp(`${MOST} images from iteration 2 on$`, 'm'));

  const tasks = await goOn(() => false);
  expect(leader.run(RUN).phase).toBe('succeeded');
  const students = tasks.flatMap(({ iteration, spec }) => (spec?.$case === 'train' ? [[iteration, spec.value.labeled?.samples]] : []));
  expect(students).toEqual([[1, 15], [2, 15 + MOST]]);
  const [before, after] = [await selectedIn(1), await selectedIn(2)];
  for (const keys of [before, after]) expect([...keys].filter((each) => near.has(each))).toEqual([]);
  expect(filled.filter(([, key]) => before.has(key)).length).toBeGreaterThan(0);
  expect(filled.filter(([, key]) => after.has(key))).toEqual([]);

  // Too late for the run, and not for others.
  const late = join(folder, 'late.csv');
  await writeFile(late, csv(filled.slice(0, 1).map(([shard, key]) => [shard, key, CLASSES[1] ?? ''])));
  expect(await alumnus('review', 'import', late, '--run', RUN)).toMatchObject({ code: 4, err: expect.stringContaining('it has succeeded and cannot be given labels') as string });
  expect(JSON.parse(await done('review', 'import', good, '--run', RUN, '--dataset', 'scenes', '-o', 'json'))).toMatchObject({ dataset: 'scenes@2', images: MOST });
  await done('dataset', 'verify', 'scenes');

  const [, key = '', label] = filled[0] ?? [];
  const told = JSON.parse(await done('explain', 'sample', key, '--run', RUN, '-o', 'json')) as SampleExplained;
  expect(told.reviewed).toMatchObject({ name: label, fromIteration: 2 });
  expect(told.iterations.map(({ iteration, outcome }) => [iteration, outcome === 'left-out'])).toEqual([[1, false], [2, true]]);
  const [copy = ''] = near;
  const explained = JSON.parse(await done('explain', 'sample', copy, '--run', RUN, '-o', 'json')) as SampleExplained;
  expect(explained.iterations.map(({ outcome, reason }) => [outcome, reason.kind])).toEqual([['left-out', 'near-duplicate'], ['left-out', 'near-duplicate']]);
  // Of what stayed, the rule is told as the selection was cut, without those that were left out.
  const other = [...originOf.keys()].find((each) => !near.has(each) && !filled.some(([, reviewed]) => reviewed === each)) ?? '';
  expect((JSON.parse(await done('explain', 'sample', other, '--run', RUN, '-o', 'json')) as SampleExplained).iterations.map(({ outcome }) => outcome)).not.toContain('left-out');
}, PROCESSES_MS_MAX);
