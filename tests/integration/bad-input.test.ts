/** What people and disks do to a run: each fault has one clear error that names the thing, and nothing stored is lost. Real processes. */
import { execFile } from 'node:child_process';
import { copyFile, mkdtemp, readFile, rm, stat, truncate, unlink, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { ServiceError } from '@grpc/grpc-js';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { openEmbedded } from '../../coordinator/journal/index.ts';
import { loadManifest, readShard } from '../../dataset/index.ts';
import { writeTar } from '../../dataset/tar.ts';
import { errorTable, exitCode, type ErrorCode } from '../../proto/errors.ts';
import type { Event } from '../../proto/gen/alumnus/v1/events.ts';
import { carriedBy } from '../../proto/status.ts';
import { canonicalJson, paths } from '../../store/index.ts';
import { Cluster, removeClusters, useClusters } from '../harness/cluster.ts';
import { digestsOf, evidenceOf, labelsIn, problemsOf, selectionOf, type Evidence } from '../harness/evidence.ts';
import { DATASET, patternsHome, patternsRecipe, SHARDS, UNLABELED } from '../harness/patterns.ts';

const RUN = 'patterns-damaged';
const execute = promisify(execFile);

useClusters();
let template: Awaited<ReturnType<typeof patternsHome>>;
beforeAll(async () => {
  template = await patternsHome();
});
afterAll(() => template.remove());

/** One round without a control: what is looked at is labeling. */
const oneRound = { rounds: 1, control: false, attempts: 2 };

async function unlabeledShards(cluster: Cluster, dataset = DATASET) {
  const { manifest } = await loadManifest(await cluster.openStore(), dataset);
  return manifest.parts.unlabeled?.shards ?? [];
}

/** Turns some bits in the middle of an object, its length unchanged. @returns the way to undo it. */
async function damage(cluster: Cluster, key: string): Promise<() => Promise<void>> {
  const file = cluster.objectFile(key);
  const sound = await readFile(file);
  const bytes = Buffer.from(sound);
  for (let at = bytes.length >> 1; at < (bytes.length >> 1) + 8; at += 1) bytes[at] = (bytes[at] ?? 0) ^ 0xff;
  await writeFile(file, bytes);
  return () => writeFile(file, sound);
}

async function evidenceAfter(cluster: Cluster): Promise<Evidence> {
  await cluster.stop();
  const evidence = await evidenceOf(cluster.home, RUN);
  expect(await problemsOf(evidence)).toEqual([]);
  return evidence;
}

describe('damaged data', () => {
  test('within tolerance: a flipped bit, a truncated image and a missing object each cost their shard, named with its fault', async () => {
    const cluster = await Cluster.create({ template: template.home });
    const store = await cluster.openStore();
    const { manifest } = await loadManifest(store, DATASET);
    const shards = [...(manifest.parts.unlabeled?.shards ?? [])];
    // A tar of foreign tools: its digest is right, an image in it is cut short.
    const cut = shards[5]!;
    const entries: { name: string; bytes: Uint8Array }[] = [];
    for await (const { key, extension, bytes } of readShard(store, cut.ref)) entries.push({ name: `${key}.${extension}`, bytes: entries.length === 3 ? bytes.subarray(0, bytes.length >> 1) : bytes });
    const ref = await store.putAddressed(paths.datasetPart('cut', 'unlabeled'), writeTar(entries), { extension: '.tar' });
    shards[5] = { ...cut, ref };
    await store.putNamed(paths.datasetManifest('cut'), Buffer.from(canonicalJson({ ...manifest, name: 'cut', parts: { ...manifest.parts, unlabeled: { ...manifest.parts.unlabeled, shards } } })));
    await damage(cluster, shards[2]!.ref.key);
    await unlink(cluster.objectFile(shards[9]!.ref.key));

    await cluster.start();
    await cluster.submit(patternsRecipe({ ...oneRound, dataset: 'cut', quarantinedShare: 0.25 }), RUN);
    const view = await cluster.settled(RUN, 'succeeded');
    const warnings = view.warnings.filter((warning) => warning.includes('quarantined')).sort();
    expect(warnings).toHaveLength(3);
    expect(warnings[0]).toMatch(/^shard unlabeled-000002 is quarantined: 2 attempts failed on workers? [^:]+, the last with DIGEST_MISMATCH: .*sha256/);
    expect(warnings[0]).toContain(shards[2]!.ref.key);
    expect(warnings[1]).toMatch(/^shard unlabeled-000005 is quarantined: 2 attempts failed on workers? [^:]+, the last with IMAGE_CORRUPT: /);
    expect(warnings[1]).toContain(`unlabeled-000005/${entries[3]!.name}`);
    expect(warnings[2]).toMatch(/^shard unlabeled-000009 is quarantined: 2 attempts failed on workers? [^:]+, the last with OBJECT_NOT_FOUND: /);
    expect(warnings[2]).toContain(shards[9]!.ref.key);
    expect(view.iterations[1]?.quarantined).toBe(3);

    const evidence = await evidenceOfDamaged(cluster);
    expect([...labelsIn(evidence, 1).keys()].sort()).toEqual(shards.map((shard) => shard.name).filter((_name, at) => ![2, 5, 9].includes(at)));
  });

  test('beyond tolerance: the run pauses and says why; repaired and resumed it ends as if nothing had been', async () => {
    const cluster = await Cluster.create({ template: template.home });
    const shards = await unlabeledShards(cluster);
    const repairs = [await damage(cluster, shards[1]!.ref.key), await damage(cluster, shards[7]!.ref.key)];
    await cluster.start();
    await cluster.submit(patternsRecipe({ ...oneRound, quarantinedShare: 0.1 }), RUN);
    const paused = await cluster.settled(RUN, 'paused');
    expect(paused.summary?.reason).toMatch(new RegExp(`^2 of ${SHARDS} shards are quarantined, more than the tolerated share of 0.1; one is unlabeled-00000[17]: 2 attempts failed on workers? [^:]+, the last with DIGEST_MISMATCH: `));
    for (const repair of repairs) await repair();
    await cluster.resume(RUN);
    await cluster.settled(RUN, 'succeeded');
    const repaired = await evidenceAfter(cluster);
    expect((await selectionOf(repaired, 1))?.document.parts).toHaveLength(SHARDS);

    const sound = await Cluster.create({ template: template.home });
    await sound.start();
    await sound.submit(patternsRecipe({ ...oneRound, quarantinedShare: 0.1 }), RUN);
    await sound.settled(RUN, 'succeeded');
    expect(digestsOf(repaired)).toEqual(digestsOf(await evidenceAfter(sound)));
  });

  test('what a model cannot be trained without: the run pauses with the object and its fault, and goes on once it is back', async () => {
    const cluster = await Cluster.create({ template: template.home });
    const { manifest } = await loadManifest(await cluster.openStore(), DATASET);
    const key = manifest.parts.labeled!.shards[0]!.ref.key;
    const aside = join(cluster.folder, 'aside');
    await copyFile(cluster.objectFile(key), aside);
    await unlink(cluster.objectFile(key));
    await cluster.start();
    await cluster.submit(patternsRecipe(oneRound), RUN);
    const paused = await cluster.settled(RUN, 'paused');
    expect(paused.summary?.reason).toMatch(/^i0\.train\.student\S*: 2 attempts failed on workers? [^:]+, the last with OBJECT_NOT_FOUND: /);
    expect(paused.summary?.reason).toContain(key);
    await copyFile(aside, cluster.objectFile(key));
    await cluster.resume(RUN);
    await cluster.settled(RUN, 'succeeded');
    await evidenceAfter(cluster);
  });

  /** As `evidenceAfter`, where objects of the data itself are known to be damaged: everything that the run made must be sound. */
  async function evidenceOfDamaged(cluster: Cluster): Promise<Evidence> {
    await cluster.stop();
    const evidence = await evidenceOf(cluster.home, RUN);
    expect((await problemsOf(evidence)).filter((problem) => !problem.startsWith('datasets/'))).toEqual([]);
    return evidence;
  }
});

describe('a submission that cannot work is refused before anything starts', () => {
  async function refusal(recipe: string): Promise<{ code: unknown; status: number; details: string; where: string }> {
    const cluster = await Cluster.create({ template: template.home });
    await cluster.start([]);
    const error = await cluster.submit(recipe, RUN).then(() => undefined, (thrown: unknown) => thrown as ServiceError);
    if (error === undefined) throw new Error('the submission was taken');
    const runs = await cluster.call<{ runs: unknown[] }>((client, callback) => client.listRuns({}, callback));
    expect(runs.runs).toEqual([]);
    const carried = carriedBy(error.metadata);
    return { code: carried?.code, status: error.code, details: error.details, where: carried?.where ?? '' };
  }
  const refused = (code: ErrorCode) => ({ code, status: errorTable[code].grpc });

  test('more unlabeled samples asked for than there are', async () => {
    const found = await refusal(patternsRecipe().replace(`dataset: ${DATASET} `, `dataset: ${DATASET}, unlabeled_at_least: 5000 `));
    expect(found).toMatchObject({ ...refused('DATASET_TOO_SMALL'), where: `${DATASET}#unlabeled` });
    expect(found.details).toBe(`${UNLABELED} unlabeled samples are there, data.unlabeled_at_least asks for 5000`);
  });

  test('a ladder that shrinks', async () => {
    const found = await refusal(patternsRecipe().replace('width: 10', 'width: 4'));
    expect(found).toMatchObject(refused('RECIPE_LADDER_SHRINKS'));
    expect(found.details).toMatch(/models\.ladder\[1\]\S* \(line \d+\): shrinks/);
  });

  test('a data set that is not there', async () => {
    const found = await refusal(patternsRecipe({ dataset: 'absent' }));
    expect(found).toMatchObject({ ...refused('DATASET_NOT_FOUND'), where: 'absent' });
  });
});

describe('a coordinator that cannot start says so in one sentence', () => {
  let held: Server | undefined;
  afterEach(async () => {
    const server = held;
    held = undefined;
    if (server !== undefined) await new Promise((resolve) => server.close(resolve));
  });

  const lastLine = (log: string): string => log.trimEnd().split('\n').at(-1) ?? '';

  test('the port is in use', async () => {
    const server = createServer();
    held = server;
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    const cluster = await Cluster.create();
    cluster.address = `127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`;
    const child = cluster.spawnCoordinator();
    expect(await child.ended).toEqual({ code: exitCode.environment, signal: null });
    expect(child.log().trimEnd()).toBe(`${cluster.address}: another program listens there. ${errorTable.PORT_IN_USE.remedy} [PORT_IN_USE]`);
  });

  test('another coordinator leads in the same home, and is not disturbed', async () => {
    const cluster = await Cluster.create();
    await cluster.start([]);
    const first = cluster.address;
    cluster.address = '127.0.0.1:0';
    const child = cluster.spawnCoordinator([], 'second');
    expect(await child.ended).toEqual({ code: exitCode.conflict, signal: null });
    expect(lastLine(child.log())).toContain(`the coordinator of process ${cluster.coordinator!.pid} leads here. ${errorTable.HOME_IN_USE.remedy} [HOME_IN_USE]`);
    cluster.address = first;
    expect((await cluster.status()).term).toBe(cluster.term);
  });
});

/** A file system of its own, small enough to be filled; undefined where mounting is not permitted. */
async function mountSmall(megabytes: number): Promise<{ folder: string; remove: () => Promise<void> } | undefined> {
  const folder = await mkdtemp(join(tmpdir(), 'alumnus-disk-'));
  try {
    await execute('mount', ['-t', 'tmpfs', '-o', `size=${megabytes}m`, 'tmpfs', folder]);
  } catch {
    await rm(folder, { recursive: true });
    return undefined;
  }
  return {
    folder,
    remove: async () => {
      await execute('umount', [folder]);
      await rm(folder, { recursive: true });
    },
  };
}

const probe = await mountSmall(1);
await probe?.remove();

describe(`a full disk${probe === undefined ? ' (SKIPPED: mounting a small file system needs root)' : ''}`, () => {
  let disk: Awaited<ReturnType<typeof mountSmall>>;
  afterEach(async () => {
    await removeClusters();
    await disk?.remove();
    disk = undefined;
  });
  /** Takes what is left of the disk, all but some kilobytes. @returns how to give it back. */
  async function fill(folder: string, leaveKilobytes: number): Promise<() => Promise<void>> {
    const file = join(folder, 'filler');
    await writeFile(file, '');
    // Large pieces first: while the disk fills, the run goes on.
    for (const block of [Buffer.alloc(1024 * 1024), Buffer.alloc(4096)]) {
      for (;;) {
        try {
          await writeFile(file, block, { flag: 'a' });
        } catch {
          break;
        }
      }
    }
    const { size } = await stat(file);
    await truncate(file, Math.max(0, size - leaveKilobytes * 1024));
    return () => unlink(file);
  }

  test.skipIf(probe === undefined)('of the store: the run pauses with STORE_FULL; with space and `resume` it ends with every byte that it would have had', async () => {
    disk = await mountSmall(16);
    const cluster = await Cluster.create({ template: template.home, storeOn: join(disk!.folder, 'store') });
    await cluster.startCoordinator();
    await cluster.submit(patternsRecipe(oneRound), RUN);
    const free = await fill(disk!.folder, 0);
    cluster.startWorker('worker-1');
    cluster.startWorker('worker-2');
    const paused = await cluster.settled(RUN, 'paused');
    expect(paused.summary?.reason).toMatch(/^i0\.train\.student\S*: 2 attempts failed on workers? [^:]+, the last with STORE_FULL: .*no space is left on the device/);
    await free();
    await cluster.resume(RUN);
    await cluster.settled(RUN, 'succeeded');
    await evidenceAfter(cluster);
  });

  test.skipIf(probe === undefined)('of the whole home: the fault is told, by the run or by the last words of its coordinator; with space all goes on from the journal', async () => {
    disk = await mountSmall(16);
    const cluster = await Cluster.create({ template: template.home, home: join(disk!.folder, 'home') });
    await cluster.start();
    await cluster.submit(patternsRecipe({ ...oneRound, quarantinedShare: 0 }), RUN);
    await cluster.waitForRun(RUN, (view) => (view.summary?.iteration ?? 0) === 1, 'in its first round');
    const free = await fill(disk!.folder, 0);
    // Which of the two it is depends on whether the journal has pages to write over: a fact is smaller than a table.
    const paused = cluster.settled(RUN, 'paused').then((view) => view.summary?.reason);
    const ended = cluster.coordinator!.ended.then(({ code }) => {
      expect(code).toBe(exitCode.environment);
      return cluster.log('coordinator');
    });
    paused.catch(() => undefined);
    expect(await Promise.race([paused, ended])).toMatch(/STORE_FULL/);
    await free();
    if (!cluster.coordinator!.alive) await cluster.startCoordinator();
    // What workers say of the time without space may still reach the new leader: then it pauses, and a person resumes it.
    const after = await cluster.waitForRun(RUN, (view) => view.summary?.state !== 'running', 'settled');
    if (after.summary?.state === 'paused') await cluster.resume(RUN);
    await cluster.settled(RUN, 'succeeded');
    await evidenceAfter(cluster);
  });

  test.skipIf(probe === undefined)('of the journal alone: the append fails with STORE_FULL, everything acknowledged is there, and with space it goes on', async () => {
    disk = await mountSmall(2);
    const folder = join(disk!.folder, 'journal');
    const fact = (at: number): Event => ({ runId: RUN, atMs: at, fact: { $case: 'runPaused', value: { reason: 'x'.repeat(4096), by: 'operator', rule: '' } } });
    const first = await openEmbedded(folder);
    const term = await first.begin();
    let free = (): Promise<void> => Promise.resolve();
    let failure: unknown;
    for (let at = 1; failure === undefined && at < 10_000; at += 1) {
      // Room for some facts before the disk is full, so that something is acknowledged.
      if (at === 20) free = await fill(disk!.folder, 64);
      failure = await first.append(first.lastSequence, term, [fact(at)]).then(() => undefined, (thrown: unknown) => thrown);
    }
    expect(failure).toMatchObject({ code: 'STORE_FULL', message: 'the journal cannot grow', where: folder });
    const acknowledged = first.lastSequence;
    expect(acknowledged).toBeGreaterThanOrEqual(19);
    await first.close();
    await free();
    const second = await openEmbedded(folder);
    expect(second.lastSequence).toBe(acknowledged);
    expect(await second.append(acknowledged, await second.begin(), [fact(acknowledged + 1)])).toBe(acknowledged + 1);
    const times: number[] = [];
    for await (const group of second.read(0)) times.push(...group.events.map((event) => event.atMs));
    expect(times).toEqual(Array.from({ length: acknowledged + 1 }, (_, at) => at + 1));
    await second.close();
  });
});
