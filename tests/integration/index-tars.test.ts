/**
 * Tars registered by a fleet of real processes: a worker is killed at it, the coordinator is killed and comes back, and what
 * comes out is what the command line alone makes of the same tars.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { loadManifest, registerDataset } from '../../dataset/index.ts';
import type { ObjectStore } from '../../store/index.ts';
import { canSeeProcesses } from '../harness/child.ts';
import { Cluster, useClusters } from '../harness/cluster.ts';
import { pause } from '../harness/processes.ts';
import { run, type Ran } from '../unit/cli/console.ts';
import { collect, png, tarOf, temporaryStore } from '../unit/dataset/fixture.ts';

/** So many that a fleet is at them for seconds: each is leased, read, kept and reported by itself. */
const TARS = 300;

useClusters();

/** Digests of the tars that the fleet has read so far. */
async function readSoFar(store: ObjectStore): Promise<string[]> {
  const objects = await Promise.all((await collect(store.list('indexed/'))).map(({ key }) => store.getNamed(key)));
  return objects.map((object) => (JSON.parse(Buffer.from(object?.content ?? []).toString()) as { sha256: string }).sha256);
}

async function whenRead(store: ObjectStore, count: number, registering: Promise<Ran>): Promise<string[]> {
  let ended: Ran | undefined;
  registering.then((ran) => (ended = ran), () => undefined);
  for (;;) {
    const read = await readSoFar(store);
    if (read.length >= count) return read;
    if (ended !== undefined) throw new Error(`the registration ended with ${read.length} of ${count} tars: ${ended.err}`);
    await pause(20);
  }
}

describe.skipIf(!canSeeProcesses)('tars that a fleet registers', () => {
  test('are each read once, whatever is killed meanwhile, and make the manifest that the command line alone makes', async () => {
    const cluster = await Cluster.create();
    const place = join(cluster.folder, 'tars');
    mkdirSync(place);
    const tars = new Map<string, string>();
    for (let at = 0; at < TARS; at += 1) {
      const [name, bytes] = [`${String(at).padStart(4, '0')}.tar`, await tarOf({ 'a.png': png(at), 'a.cls': String(at % 3), 'b.png': png(TARS + at), 'b.cls': 'dog' })];
      writeFileSync(join(place, name), bytes);
      utimesSync(join(place, name), 1_700_000_000, 1_700_000_000);
      tars.set(createHash('sha256').update(bytes).digest('hex'), name);
    }
    const { store: alone } = await temporaryStore();
    const expected = await registerDataset(alone, { name: 'web', location: `file://${place}`, part: 'unlabeled' });
    expect(expected.added).toBe(TARS);

    await cluster.startCoordinator();
    const store = await cluster.openStore();
    const registering = run(['dataset', 'register', 'web', place, '--fleet', '--address', cluster.address, '--home', cluster.home]);
    for (const id of ['worker-1', 'worker-2']) cluster.startWorker(id);
    await whenRead(store, 20, registering);
    await cluster.killWorker(cluster.workers.get('worker-1')!);
    await whenRead(store, (await readSoFar(store)).length + 20, registering);
    await cluster.killCoordinator();
    // Whoever reads one of these again finds no tar.
    const read = await readSoFar(store);
    expect(read.length).toBeLessThan(TARS);
    for (const digest of read) {
      const file = join(place, tars.get(digest)!);
      writeFileSync(file, Buffer.alloc(statSync(file).size, 1));
      utimesSync(file, 1_700_000_000, 1_700_000_000);
    }
    await cluster.startCoordinator();
    const { code, err } = await registering;
    expect([code, err]).toEqual([0, expect.stringContaining(`web: ${TARS} shards added`)]);
    expect((await loadManifest(store, 'web')).digest).toBe(expected.digest);
    expect((await readSoFar(store)).sort()).toEqual([...tars.keys()].sort());
  });

  test('are named where none of the workers can read them; what else there is was not read in vain', async () => {
    const cluster = await Cluster.create();
    const place = join(cluster.folder, 'tars');
    mkdirSync(place);
    for (const at of [0, 1, 2]) writeFileSync(join(place, `${at}.tar`), await tarOf({ 'a.png': png(at) }));
    writeFileSync(join(place, '3.tar'), Buffer.alloc(2_048, 1));
    await cluster.start();
    const register = (): Promise<Ran> => run(['dataset', 'register', 'web', place, '--fleet', '--address', cluster.address, '--home', cluster.home]);
    const { code, err } = await register();
    expect([code, err]).toEqual([7, expect.stringMatching(/tars\/3\.tar: the tar has a damaged entry header at byte 0 \(3 attempts, on worker-\d, worker-\d\)\. .*\[SHARD_CORRUPT\]/)]);
    expect(await readSoFar(await cluster.openStore())).toHaveLength(3);
    writeFileSync(join(place, '3.tar'), await tarOf({ 'a.png': png(3) }));
    expect(await register()).toMatchObject({ code: 0, err: expect.stringContaining('web: 4 shards added') });
  });
});
