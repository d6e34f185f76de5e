/** A review by the command line, of a run under way: near-duplicates are left out, a person's labels are exported, filled in, refused, imported, learned from, explained and kept for another run. Needs dist/. */
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { LineageStep } from '../../cli/lineage.ts';
import { parseCsv } from '../../cli/csv.ts';
import type { SampleExplained } from '../../proto/told.ts';
import { decodeImage, loadManifest, readLabels, readShard, type DatasetPart } from '../../dataset/index.ts';
import type { RunView } from '../../proto/gen/alumnus/v1/operator.ts';
import type { ObjectStore } from '../../store/index.ts';
import { correlationOf, distanceOf, fingerprinter, readSelectionPart } from '../../worker/data/index.ts';
import { Cluster, useClusters } from '../harness/cluster.ts';
import { evidenceOf, problemsOf, selectionOf, type Evidence } from '../harness/evidence.ts';
import { DATASET, LABELED, patternsHome, patternsRecipe, SHARDS, TEST, UNLABELED, VALIDATION } from '../harness/patterns.ts';

const main = join(import.meta.dirname, '../../dist/cli/main.js');
const RUN = 'patterns-reviewed';
/** So that some of the noisy strokes are found: they are no copies. */
const NEAR = { distance: 7, correlation: 0.8 };
const MOST = 30;
/** Some seconds each; on cores that are busy with much else, minutes. */
const RUN_MS_MAX = 10 * 60_000;

useClusters();
let template: Awaited<ReturnType<typeof patternsHome>>;
let cluster: Cluster;
let folder: string;

beforeAll(async () => {
  template = await patternsHome();
  folder = await mkdtemp(join(tmpdir(), 'alumnus-reviewed-'));
  cluster = await Cluster.create({ template: template.home });
  // Nothing here is of lost leases: a busy machine may take its time.
  const coordinator = cluster.spawnCoordinator(['--lease-ms', '30000']);
  cluster.coordinator = coordinator;
  cluster.address = (JSON.parse(await coordinator.firstLine()) as { address: string }).address;
  cluster.startWorker('worker-1');
  // No student can be so much better: each iteration ends with a pause, in which a person has time to look.
  await cluster.submit(patternsRecipe({ rounds: 2, control: false, dataset: `${DATASET}, near_duplicates: { distance: ${NEAR.distance}, correlation: ${NEAR.correlation} }` })
    .replace('control: false', 'control: false\npromotion: { require: better, alpha: 0.000000001, on_refusal: wait }')
    .replace('labels: { batch_size: 50 }', 'labels: { batch_size: 50, threshold: 0.4 }\nguards: { class_share_least: 0 }'), RUN);
  cluster.keep();
});
afterAll(async () => {
  await cluster.remove();
  await template.remove();
  await rm(folder, { recursive: true, force: true });
});

interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

const alumnus = (...args: string[]): Promise<Ran> =>
  new Promise((resolve) => {
    execFile(process.execPath, [main, ...args], { env: { ...process.env, HOME: folder, ALUMNUS_HOME: cluster.home, ALUMNUS_ADDRESS: cluster.address }, maxBuffer: 64 * 1024 * 1024 }, (error, out, err) => {
      resolve({ code: typeof error?.code === 'number' ? error.code : error === null ? 0 : -1, out, err });
    });
  });

async function done(...args: string[]): Promise<string> {
  const { code, out, err } = await alumnus(...args);
  expect(code, err).toBe(0);
  return out;
}

async function pausedAfter(iteration: number): Promise<RunView> {
  return cluster.waitForRun(RUN, ({ summary }) => summary?.state === 'paused' && summary.iteration === iteration, `a pause after iteration ${iteration}`, RUN_MS_MAX);
}

const partOf = (parts: Readonly<Record<string, DatasetPart | undefined>>, name: string): DatasetPart => {
  const part = parts[name];
  if (part === undefined) throw new Error(`the patterns have a part ${name}`);
  return part;
};

async function fingerprintsIn(store: ObjectStore, part: DatasetPart): Promise<[string, Uint8Array][]> {
  const shape = { height: 12, width: 12, channels: 1 } as const;
  const fingerprint = fingerprinter(shape);
  const all: [string, Uint8Array][] = [];
  for (const { ref } of part.shards) for await (const { key, bytes } of readShard(store, ref)) all.push([key, fingerprint(await decodeImage(bytes, shape))]);
  return all;
}

async function selectedIn(evidence: Evidence, iteration: number): Promise<Set<string>> {
  const found = await selectionOf(evidence, iteration);
  if (found === undefined) throw new Error(`iteration ${iteration} has its selection`);
  const keys = new Set<string>();
  for (const part of found.document.parts) for (const key of (await readSelectionPart(evidence.store, found.ref, part)).keys()) keys.add(key);
  return keys;
}

test('from near-duplicates to a student that learned what a person said', async () => {
  const waiting = await pausedAfter(1);
  const store = await cluster.openStore();
  const { manifest } = await loadManifest(store, DATASET);
  const [unlabeled, validation, tested] = await Promise.all(['unlabeled', 'validation', 'test'].map((name) => fingerprintsIn(store, partOf(manifest.parts, name))));
  // All with all.
  const isNear = (one: Uint8Array, others: [string, Uint8Array][] = []): boolean => others.some(([, other]) => distanceOf(one, 0, other, 0) <= NEAR.distance && correlationOf(one, 0, other, 0) >= NEAR.correlation);
  const nearValidation = (unlabeled ?? []).flatMap(([key, each]) => (isNear(each, validation) ? [key] : []));
  const nearTest = (unlabeled ?? []).flatMap(([key, each]) => (isNear(each, tested) ? [key] : []));
  const near = new Set([...nearValidation, ...nearTest]);
  expect(near.size).toBeGreaterThan(0);
  expect(near.size).toBeLessThan(UNLABELED / 2);
  expect(waiting.nearDuplicates).toMatchObject({ complete: true, unlabeled: { samples: UNLABELED, nearValidation: nearValidation.length, nearTest: nearTest.length, nearAny: near.size }, labeled: { samples: LABELED } });
  expect(await done('run', 'describe', RUN)).toContain(`${near.size} of ${UNLABELED} unlabeled images look like one of validation (${nearValidation.length}) or test (${nearTest.length}), and are left out`);

  // What is worth a look: as a file, with the images.
  const file = join(folder, 'review.csv');
  expect(await done('review', 'export', RUN, '--most', String(MOST), '--out', file, '--images', join(folder, 'images'))).toBe(`${file}\n`);
  const [head, ...rows] = parseCsv(await readFile(file, 'utf8'), file);
  const columns = head?.fields ?? [];
  const value = (fields: readonly string[], name: string): string => fields[columns.indexOf(name)] ?? '';
  expect(rows).toHaveLength(MOST);
  const scores = rows.map(({ fields }) => Number(value(fields, 'score')));
  expect(scores).toEqual([...scores].sort((a, b) => b - a));
  expect(rows.filter(({ fields }) => near.has(value(fields, 'key')))).toEqual([]);
  for (const { fields } of rows) expect((await readFile(value(fields, 'image'))).subarray(1, 4).toString('latin1')).toBe('PNG');
  // The same again, to standard output; without files images are told by tar and key.
  const again = parseCsv(await done('review', 'export', RUN, '--most', String(MOST)), 'again');
  expect(again.slice(1).map(({ fields }) => value(fields, 'key'))).toEqual(rows.map(({ fields }) => value(fields, 'key')));
  expect(value(again[1]?.fields ?? [], 'image')).toMatch(new RegExp(`^datasets/${DATASET}/unlabeled/[0-9a-f]{64}\\.tar#${value(rows[0]?.fields ?? [], 'key')}$`));

  // A person knows them all. One line names an image that judges: nothing is taken.
  const truth = await readLabels(store, partOf(manifest.parts, 'unlabeled').truth ?? { key: '', sha256: '', bytes: 0 });
  const classOf = new Map(truth.keys.map((key, row) => [key, manifest.classes[truth.classes[row] ?? -1] ?? '']));
  const filled = rows.map(({ fields }): [string, string, string] => [value(fields, 'shard'), value(fields, 'key'), classOf.get(value(fields, 'key')) ?? '']);
  const csv = (lines: [string, string, string][]): string => ['shard,key,label', ...lines.map((each) => each.join(','))].join('\n');
  const bad = join(folder, 'bad.csv');
  const [judge] = (await readLabels(store, partOf(manifest.parts, 'validation').labels ?? { key: '', sha256: '', bytes: 0 })).keys;
  await writeFile(bad, csv([...filled, ['unlabeled-000000', judge ?? '', 'across'], ['unlabeled-000000', 'k', 'sideways']]));
  const refused = await alumnus('review', 'import', bad, '--run', RUN);
  expect(refused).toMatchObject({ code: 7, out: '' });
  expect(refused.err).toContain(`line ${MOST + 2}: ${judge ?? ''} is an image of validation`);
  expect(refused.err).toContain(`line ${MOST + 3}: there is no class "sideways"`);
  expect((await cluster.run(RUN)).reviews).toEqual([]);
  const good = join(folder, 'good.csv');
  await writeFile(good, csv(filled));
  expect(JSON.parse(await done('review', 'import', good, '--run', RUN, '-o', 'json'))).toMatchObject({ kind: 'ReviewImported', images: MOST, changed: 0, fromIteration: 2 });
  // Once more changes nothing but to say it again.
  expect(JSON.parse(await done('review', 'import', good, '--run', RUN, '-o', 'json'))).toMatchObject({ images: 0, changed: MOST });

  await cluster.resume(RUN);
  await pausedAfter(2);
  await cluster.resume(RUN);
  await cluster.settled(RUN, 'succeeded');
  const late = await alumnus('review', 'import', good, '--run', RUN);
  expect(late).toMatchObject({ code: 4, err: expect.stringContaining('it has succeeded and cannot be given labels') as string });
  // For runs to come.
  expect(JSON.parse(await done('review', 'import', good, '--run', RUN, '--dataset', DATASET, '-o', 'json'))).toMatchObject({ dataset: `${DATASET}@2`, images: MOST });
  expect(await done('dataset', 'verify', DATASET)).not.toContain('problem');

  const [, key = ''] = filled[0] ?? [];
  const told = JSON.parse(await done('explain', 'sample', key, '--run', RUN, '-o', 'json')) as SampleExplained;
  expect(told.reviewed).toMatchObject({ name: classOf.get(key), fromIteration: 2 });
  expect(told.iterations.map(({ iteration, outcome }) => [iteration, outcome === 'left-out'])).toEqual([[1, false], [2, true]]);
  expect(await done('explain', 'sample', key, '--run', RUN)).toContain('a person gave it a label, and it is learned from by that');
  const [copy = ''] = [...near];
  const explained = JSON.parse(await done('explain', 'sample', copy, '--run', RUN, '-o', 'json')) as SampleExplained;
  expect(explained.iterations.map(({ outcome, reason }) => [outcome, reason.kind])).toEqual([['left-out', 'near-duplicate'], ['left-out', 'near-duplicate']]);
  // Of what stayed, the rule is told as the selection was cut, without those that were left out.
  const other = (unlabeled ?? []).map(([each]) => each).find((each) => !near.has(each) && !filled.some(([, reviewed]) => reviewed === each)) ?? '';
  expect((JSON.parse(await done('explain', 'sample', other, '--run', RUN, '-o', 'json')) as SampleExplained).iterations.map(({ outcome }) => outcome)).not.toContain('left-out');

  const lineage = JSON.parse(await done('model', 'lineage', `${RUN}/2`, '-o', 'json')) as LineageStep;
  expect(lineage.labeled).toMatchObject({ images: LABELED + MOST, reviewed: expect.stringMatching(/^[0-9a-f]{64}$/) as string });
  expect(lineage.teacher?.labeled).toEqual({ dataset: `${DATASET}#labeled`, images: LABELED, manifest: lineage.labeled?.manifest });
  expect(await done('model', 'reproduce', `${RUN}/2`)).toContain('the same digest');

  await cluster.stop();
  const evidence = await evidenceOf(cluster.home, RUN);
  expect(await problemsOf(evidence)).toEqual([]);
  expect(evidence.failures).toEqual([]);
  const [before, after] = [await selectedIn(evidence, 1), await selectedIn(evidence, 2)];
  for (const keys of [before, after]) expect([...keys].filter((each) => near.has(each))).toEqual([]);
  expect(filled.filter(([, reviewed]) => before.has(reviewed)).length).toBeGreaterThan(0);
  expect(filled.filter(([, reviewed]) => after.has(reviewed))).toEqual([]);
  expect(evidence.completions.filter(({ result }) => result.$case === 'fingerprint')).toHaveLength(1 + SHARDS + 1);
  expect(VALIDATION + TEST).toBe(evidence.completions.flatMap(({ result }) => (result.$case === 'fingerprint' && result.value.fingerprints !== undefined ? [result.value.samples] : []))[0]);
}, 2 * RUN_MS_MAX);
