/** A reviewed run by real workers: shards are looked through for near-duplicates, a student trains on what a person labeled, and its model says so and can be made again. Needs dist/. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { parseCsv } from '../../cli/csv.ts';
import type { LineageStep } from '../../cli/lineage.ts';
import { runCommand } from '../harness/command.ts';
import { Cluster, useClusters } from '../harness/cluster.ts';
import { evidenceOf, problemsOf } from '../harness/evidence.ts';
import { DATASET, LABELED, patternsHome, patternsRecipe, SHARDS, TEST, UNLABELED, VALIDATION } from '../harness/patterns.ts';

const RUN = 'patterns-reviewed';
const MOST = 30;
/** A run takes some seconds; on cores that are busy with much else minutes. */
const RUN_MS_MAX = 10 * 60_000;

useClusters();
let template: Awaited<ReturnType<typeof patternsHome>>;
let folder: string;

beforeAll(async () => {
  template = await patternsHome();
  folder = await mkdtemp(join(tmpdir(), 'alumnus-reviewed-'));
});
afterAll(async () => {
  await template.remove();
  await rm(folder, { recursive: true, force: true });
});

test('what a person labeled is in the model\'s lineage, and the model\'s selection comes out again', async () => {
  const cluster = await Cluster.create({ template: template.home });
  // Nothing here is of lost leases.
  const coordinator = cluster.spawnCoordinator(['--lease-ms', '30000']);
  cluster.coordinator = coordinator;
  cluster.address = (JSON.parse(await coordinator.firstLine()) as { address: string }).address;
  cluster.startWorker('worker-1');
  const done = async (...args: string[]): Promise<string> => {
    const { code, out, err } = await runCommand(args, { HOME: folder, ALUMNUS_HOME: cluster.home, ALUMNUS_ADDRESS: cluster.address });
    expect(code, err).toBe(0);
    return out;
  };
  const pausedAfter = (iteration: number) => cluster.waitForRun(RUN, ({ summary }) => summary?.state === 'paused' && summary.iteration === iteration, `a pause after iteration ${iteration}`, RUN_MS_MAX);
  // No student can be so much better: each iteration ends with a pause, in which a person has time to look.
  await cluster.submit(patternsRecipe({ rounds: 2, control: false, dataset: `${DATASET}, near_duplicates: {}` })
    .replace('control: false', 'control: false\npromotion: { require: better, alpha: 0.000000001, on_refusal: wait }')
    .replace('labels: { batch_size: 50 }', 'labels: { batch_size: 50, threshold: 0.4 }\nguards: { class_share_least: 0 }'), RUN);
  expect((await pausedAfter(1)).nearDuplicates).toMatchObject({ complete: true, unlabeled: { samples: UNLABELED }, labeled: { samples: LABELED } });
  const file = join(folder, 'review.csv');
  await done('review', 'export', RUN, '--most', String(MOST), '--out', file);
  // Whoever is asked says what the teacher thought second.
  const [head, ...rows] = parseCsv(await readFile(file, 'utf8'), file);
  const at = (name: string): number => head?.fields.indexOf(name) ?? -1;
  await writeFile(file, ['shard,key,label', ...rows.map(({ fields }) => [fields[at('shard')], fields[at('key')], fields[at('second')]].join(','))].join('\n'));
  expect(JSON.parse(await done('review', 'import', file, '--run', RUN, '-o', 'json'))).toMatchObject({ images: MOST, fromIteration: 2 });
  await cluster.resume(RUN);
  await pausedAfter(2);
  await cluster.resume(RUN);
  await cluster.settled(RUN, 'succeeded');

  const lineage = JSON.parse(await done('model', 'lineage', `${RUN}/2`, '-o', 'json')) as LineageStep;
  expect(lineage.labeled).toMatchObject({ images: LABELED + MOST, reviewed: expect.stringMatching(/^[0-9a-f]{64}$/) as string });
  expect(lineage.teacher?.labeled).toEqual({ dataset: `${DATASET}#labeled`, images: LABELED, manifest: lineage.labeled?.manifest });
  expect(await done('model', 'lineage', `${RUN}/2`)).toContain('some labeled by people in reviews');
  // Ends with an error where a digest differs.
  await done('model', 'reproduce', `${RUN}/2`);
  await cluster.stop();
  const evidence = await evidenceOf(cluster.home, RUN);
  expect(await problemsOf(evidence)).toEqual([]);
  expect(evidence.failures).toEqual([]);
  const looked = evidence.completions.flatMap(({ result }) => (result.$case === 'fingerprint' ? [result.value] : []));
  expect(looked).toHaveLength(1 + SHARDS + 1);
  expect(looked[0]?.samples).toBe(VALIDATION + TEST);
}, 3 * RUN_MS_MAX);
