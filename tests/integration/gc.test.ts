/** Garbage collection on a real store behind a real coordinator: what is planted goes, what anybody needs stays, and what may still be needed is not touched. */
import { readdirSync, statSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Cluster, useClusters } from '../harness/cluster.ts';
import { runCommand, type Ran } from '../harness/command.ts';
import { evidenceOf, problemsOf } from '../harness/evidence.ts';
import { DATASET, patternsHome, patternsRecipe, SHARDS } from '../harness/patterns.ts';

useClusters();
let template: Awaited<ReturnType<typeof patternsHome>>;
const RUN = 'kept';

beforeAll(async () => {
  template = await patternsHome();
});
afterAll(() => template.remove());

const objects = (cluster: Cluster): string[] => readdirSync(join(cluster.home, 'store/objects'), { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));

/** As if everything that lies there had been written so many days ago. */
function age(cluster: Cluster, days: number): void {
  const then = new Date(Date.now() - days * 24 * 3_600_000);
  for (const path of objects(cluster)) utimesSync(path, then, then);
}

interface Collected {
  readonly applied: boolean;
  readonly garbage: readonly { readonly why: string; readonly objects: number; readonly bytes: number }[];
  readonly youngObjects: number;
  readonly unknownRuns: readonly string[];
}

const collected = (ran: Ran): Collected => {
  expect(ran.code, ran.err).toBe(0);
  return JSON.parse(ran.out) as Collected;
};

test('what nobody needs goes once it is old, the run stays whole, and labels go only where that is asked for', async () => {
  const cluster = await Cluster.create({ template: template.home });
  await cluster.start();
  const gc = async (...args: string[]): Promise<Collected> => collected(await runCommand(['gc', ...args, '-o', 'json', '--address', cluster.address]));
  await cluster.submit(patternsRecipe({ rounds: 2, control: false }), RUN);
  await cluster.settled(RUN, 'succeeded');
  age(cluster, 30);
  const store = await cluster.openStore();
  const attempt = await store.putAddressed(`runs/${RUN}/i1.label.unlabeled-000000.t7-00000000deadbeef`, Buffer.from('of an attempt that never counted'), { extension: '.parquet' });
  const orphan = await store.putAddressed(`datasets/${DATASET}/unlabeled`, Buffer.from('of an import that never ended'), { extension: '.tar' });
  const foreign = await store.putAddressed('runs/unknown/i0.train.student.t0-0000000000000001', Buffer.from('of a run that another journal knows'), { extension: '.json' });
  const before = objects(cluster).length;

  // Young: whoever wrote it may be about to say so.
  expect(await gc()).toMatchObject({ garbage: [], youngObjects: 2, unknownRuns: ['unknown'] });
  age(cluster, 2);
  expect((await gc()).garbage).toEqual([{ why: 'attempt', objects: 1, bytes: attempt.bytes }]);
  age(cluster, 30);
  expect(await gc('--dry-run')).toMatchObject({ applied: false, garbage: [{ why: 'dataset', objects: 1, bytes: orphan.bytes }] });
  expect(objects(cluster)).toHaveLength(before - 1);
  expect((await gc()).garbage).toHaveLength(1);
  expect(await gc()).toMatchObject({ garbage: [], youngObjects: 0 });
  expect(objects(cluster)).toHaveLength(before - 2);
  expect(statSync(cluster.objectFile(foreign.key)).size).toBe(foreign.bytes);

  const labels = await gc('--keep-labels', '1');
  expect(labels.garbage).toMatchObject([{ why: 'labels' }]);
  // Labels and tally of each shard of iteration 1.
  expect(labels.garbage[0]?.objects).toBe(2 * SHARDS);
  expect(await runCommand(['gc', '--keep-labels', '0', '--address', cluster.address])).toMatchObject({ code: 2 });
  const exported = await runCommand(['run', 'export', RUN, '--to', join(cluster.folder, 'model'), '--address', cluster.address]);
  expect(exported.code, exported.err).toBe(0);
  expect(await runCommand(['dataset', 'verify', DATASET, '--home', cluster.home])).toMatchObject({ code: 0 });
});

test('a run that goes on while it is swept loses nothing', async () => {
  const cluster = await Cluster.create({ template: template.home });
  await cluster.start();
  await cluster.submit(patternsRecipe({ rounds: 2, control: true }), RUN);
  let sweeps = 0;
  const sweeping = (async () => {
    for (;;) {
      const view = await cluster.run(RUN);
      if (view.summary?.state !== 'running') return;
      // As old as can be: only what is needed keeps it.
      age(cluster, 30);
      collected(await runCommand(['gc', '-o', 'json', '--address', cluster.address]));
      sweeps += 1;
    }
  })();
  await cluster.settled(RUN, 'succeeded');
  await sweeping;
  expect(sweeps).toBeGreaterThan(1);
  await cluster.stop();
  expect(await problemsOf(await evidenceOf(cluster.home, RUN))).toEqual([]);
});
