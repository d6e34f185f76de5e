/**
 * The same run on real engines, on hosts of their own (NATS on three, MinIO, two coordinators, two workers), disturbed at
 * drawn moments: processes killed or stopped, hosts cut off one way or both, lines that stall, reset and lose, full disks.
 * Whatever happened when: the run succeeds, journal, bucket and `reconcile` agree, each shard is labeled once in the
 * accepted set, no more than the faults can have cost is done again, and every label, selection, model and score has the bytes of the
 * undisturbed run.
 *
 *   ALUMNUS_CHAOS_FAULTS  how many faults in all (default: each kind in each direction once)
 *   ALUMNUS_CHAOS_SEED    what happens when (default: the clock's; printed)
 */
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { stageName } from '../../proto/stages.ts';
import { AlumnusError } from '../../proto/errors.ts';
import type { RunView } from '../../proto/gen/alumnus/v1/operator.ts';
import { Stage } from '../../proto/gen/alumnus/v1/task.ts';
import { openStore } from '../../store/index.ts';
import { copyDatasets, disagreements, toldFacts } from '../harness/agreement.ts';
import { pause } from '../harness/processes.ts';
import { digestsOf, evidenceIn, problemsOf, type Evidence } from '../harness/evidence.ts';
import { whyNoHosts } from '../harness/hosts.ts';
import { patternsHome, patternsRecipe, SHARDS } from '../harness/patterns.ts';
import { RealCluster } from '../harness/real-cluster.ts';
import { whyLeftOut } from '../harness/servers.ts';
import { EVERY_FAULT, nameOf, planFaults, type Fault } from './faults.ts';
import { SLOTS, strike } from './strike.ts';

const RUN = 'patterns-chaos';
const WORKERS = ['worker-1', 'worker-2'];
const FAULTS_PER_RUN = 4;
/** What was struck costs attempts; with this many allowed none of it costs a shard. */
const ATTEMPTS = 20;
/** Shorter than a fault lasts, so that some leases end. */
const LEASE_MS = 3_000;
/** The journal keeps every fact, so that all of them can be compared. */
const NO_SNAPSHOT = 1_000_000;
const TICK_MS = 50;
/** An operator who looks for the leader waits longer; faults don't. */
const VIEW_MS = 500;
/** A supervisor starts a coordinator again that ended by itself. */
const SUPERVISE_MS = 1_000;
/** Ends of attempts that the faults bring about. */
const EXPECTED_CODES = ['ENGINE_CRASHED', 'LEASE_EXPIRED', 'WORKER_RESTARTED', 'STORE_UNREACHABLE', 'STORE_FULL', 'TIMED_OUT'];

const number = (name: string, fallback: number): number => {
  const value = Number(process.env[name] ?? fallback);
  if (!Number.isSafeInteger(value) || value < 0) throw new Error(`${name} is a whole number, not ${process.env[name]}`);
  return value;
};
const FAULTS = number('ALUMNUS_CHAOS_FAULTS', EVERY_FAULT);
const SEED = number('ALUMNUS_CHAOS_SEED', Date.now() % 1_000_000);
const plans = planFaults(SEED, FAULTS, FAULTS_PER_RUN);

interface Happened {
  readonly fault: Fault;
  readonly run: number;
  readonly atSeconds: number;
  readonly stage: string;
  readonly what: string;
  readonly cost: number;
}

interface Disturbed {
  readonly run: number;
  readonly seconds: number;
  readonly happened: readonly Happened[];
  readonly missed: number;
  readonly redone: number;
  readonly allowed: number;
  readonly terms: number;
  readonly unjournalled: number;
  readonly supervised: readonly string[];
}

const recipe = patternsRecipe({ attempts: ATTEMPTS });
const leftOut = whyLeftOut('nats-server', 'minio') ?? whyNoHosts();
if (leftOut !== undefined) process.stderr.write(`left out: chaos on real engines: ${leftOut}\n`);

describe.skipIf(leftOut !== undefined)(leftOut === undefined ? 'on real engines' : `on real engines (left out: ${leftOut})`, () => {
  let cluster: RealCluster;
  let template: Awaited<ReturnType<typeof patternsHome>>;
  let reference: Record<string, string>;
  let referenceMs = 0;
  let referenceProblems: string[];
  const disturbed: Disturbed[] = [];

  const begin = async (name: string, relayed = false): Promise<void> => {
    await cluster.begin({ name, relayed });
    await copyDatasets(await openStore(`file://${template.home}/store`), await cluster.openStore());
    await cluster.leader();
    for (const id of WORKERS) cluster.startWorker(id);
    await cluster.operator.submit(recipe, RUN);
  };

  beforeAll(async () => {
    console.log(`chaos on real engines: ${FAULTS} faults in ${plans.length} runs, seed ${SEED}. To play them again: ALUMNUS_CHAOS_SEED=${SEED} ALUMNUS_CHAOS_FAULTS=${FAULTS} npm run test:chaos -- engines`);
    template = await patternsHome();
    cluster = await RealCluster.engines({ onHosts: { workers: WORKERS }, leaseMs: LEASE_MS, snapshotFacts: NO_SNAPSHOT });
    await begin('undisturbed');
    const startMs = performance.now();
    await settled(cluster);
    referenceMs = performance.now() - startMs;
    const evidence = await evidenceOn(cluster);
    referenceProblems = [...await problemsOf(evidence), ...(await disagreements(cluster, [RUN])).problems];
    reference = digestsOf(evidence);
  });

  afterEach(async () => {
    await cluster.stopProcesses();
  });

  afterAll(async () => {
    await cluster.stop();
    await template.remove();
    if (disturbed.length > 0) console.log(table(disturbed, referenceMs));
  });

  test('the undisturbed run is sound', () => {
    expect(referenceProblems).toEqual([]);
    expect(Object.keys(reference).filter((name) => name.endsWith('/selection')).length).toBeGreaterThan(0);
  });

  test('what happens and when is the same for the same seed, and every kind happens', () => {
    expect(planFaults(SEED, FAULTS, FAULTS_PER_RUN)).toEqual(plans);
    expect(plans.flatMap((plan) => plan.faults)).toHaveLength(FAULTS);
    expect(new Set(planFaults(SEED, 2 * EVERY_FAULT, FAULTS_PER_RUN).flatMap((plan) => plan.faults.map(nameOf))).size).toBeGreaterThan(30);
  });

  for (const [at, { relayed, faults }] of plans.entries()) {
    test(`run ${at + 1} of seed ${SEED}${relayed ? ', through proxies' : ''}: ${faults.map((fault) => `${nameOf(fault)} at ${Math.round(fault.moment * 100)} %`).join('; ')}`, async () => {
      await begin(`run-${at + 1}`, relayed);
      const startMs = performance.now();
      const { happened, missed, shown, supervised } = await disturb(cluster, at + 1, faults, referenceMs, startMs);
      await settled(cluster);
      const seconds = (performance.now() - startMs) / 1000;
      const evidence = await evidenceOn(cluster);
      const { problems, unjournalled } = await disagreements(cluster, [RUN]);
      const redone = redoneIn(cluster, evidence);
      const allowed = happened.reduce((sum, each) => sum + each.cost, 0);
      const terms = cluster.coordinators.reduce((sum, { name }) => sum + [...cluster.log(name).matchAll(/ leads term \d+ from /g)].length, 0);
      disturbed.push({ run: at + 1, seconds, happened, missed, redone: redone.length, allowed, terms, unjournalled, supervised });

      expect(problems).toEqual([]);
      expect(await problemsOf(evidence)).toEqual([]);
      expect(digestsOf(evidence)).toEqual(reference);
      expect(redone.length, `done again: ${redone.join('; ')}`).toBeLessThanOrEqual(allowed);
      expect(evidence.failures.map((each) => each.code).filter((code) => !EXPECTED_CODES.includes(code))).toEqual([]);
      // What was shown once is never taken back.
      expect(evidence.events.length).toBeGreaterThanOrEqual(shown);
      const filled = happened.some(({ fault }) => fault.kind.startsWith('fill'));
      expect(filled ? [] : supervised).toEqual([]);
    });
  }

  test('labeling killed at half way, every coordinator and worker at once, costs the leases in flight and nothing else', async () => {
    await begin('labeling');
    const halfway = await cluster.waitForRun(RUN, (view) => view.summary?.stage === Stage.LABEL && view.stageDone >= SHARDS / 2, 'half through labeling');
    const iteration = halfway.summary?.iteration ?? 0;
    await cluster.killProcesses();
    const before = labeledShards((await cluster.journalled()).events, iteration);
    for (const coordinator of cluster.coordinators) cluster.restart(coordinator);
    for (const id of WORKERS) cluster.startWorker(id);
    await settled(cluster);
    const evidence = await evidenceOn(cluster);
    expect((await disagreements(cluster, [RUN])).problems).toEqual([]);
    expect(await problemsOf(evidence)).toEqual([]);
    expect(digestsOf(evidence)).toEqual(reference);

    // Each finished attempt has left a record: by another worker another one.
    const records = new Map<string, number>();
    const store = await cluster.openStore();
    const labels = new Map(evidence.completions.filter((each) => each.iteration === iteration && each.result.$case === 'label').map((each) => [each.taskId, each.subject]));
    for await (const { key } of store.list(`runs/${RUN}/`)) {
      const [, taskId = ''] = /^runs\/[^/]+\/([^/]+)\/[0-9a-f]{64}\.record$/.exec(key) ?? [];
      const shard = labels.get(taskId);
      if (shard !== undefined) records.set(shard, (records.get(shard) ?? 0) + 1);
    }
    const finished = [...records.values()].reduce((sum, many) => sum + many, 0);
    const failed = evidence.failures.filter((each) => labels.has(each.taskId)).length;
    const inFlight = SLOTS * WORKERS.length;
    console.log(`labeling killed at ${before.size} of ${SHARDS} shards: ${finished} finished attempts, ${failed} failed ones; at most ${SHARDS} and the ${inFlight} in flight`);
    expect(before.size).toBeGreaterThanOrEqual(SHARDS / 2);
    expect(finished + failed).toBeLessThanOrEqual(SHARDS + inFlight);
    // Nothing that was accepted before was labeled again.
    for (const shard of before) expect(records.get(shard)).toBe(1);
  });

  test('a journal that is lost altogether: a new one is restored from the bucket, and the run ends with the same bytes', async () => {
    await begin('lost');
    await cluster.waitForRun(RUN, (view) => view.summary?.iteration === 1 && view.summary.stage === Stage.LABEL && view.stageDone >= SHARDS / 2, 'half through labeling');
    await cluster.killProcesses();
    const before = (await cluster.journalled()).events.filter((event) => event.runId === RUN);
    await cluster.wipeJournal();
    for (const coordinator of cluster.coordinators) cluster.restart(coordinator);
    await cluster.leader();
    expect((await cluster.operator.runs()).runs).toEqual([]);
    const { runs } = await cluster.operator.reconcile(RUN, true);
    expect(runs.map(({ verdict }) => verdict)).toEqual(['restored']);
    const completed = new Set(before.flatMap(({ fact }) => (fact?.$case === 'taskCompleted' ? [fact.value.place?.taskId ?? ''] : [])));
    const restored = new Set((await cluster.journalled()).events.flatMap(({ fact }) => (fact?.$case === 'taskCompleted' ? [fact.value.place?.taskId ?? ''] : [])));
    // Every result that was acknowledged is in the new journal before anybody works again.
    expect([...completed].filter((taskId) => !restored.has(taskId))).toEqual([]);
    for (const id of WORKERS) cluster.startWorker(id);
    await settled(cluster);
    const evidence = await evidenceOn(cluster);
    expect((await disagreements(cluster, [RUN])).problems).toEqual([]);
    expect(await problemsOf(evidence)).toEqual([]);
    expect(digestsOf(evidence)).toEqual(reference);
    const [first] = runs;
    console.log(`journal lost at ${before.length} facts (${completed.size} results): ${first?.factsRestored} facts restored, ${first?.resultsTaken} results taken from records`);
  });
});

async function settled(cluster: RealCluster): Promise<void> {
  const view = await cluster.waitForRun(RUN, (each) => each.summary?.state !== 'running', 'settled', 300_000);
  if (view.summary?.state !== 'succeeded') throw new Error(`run ${RUN} is ${view.summary?.state}: ${view.summary?.reason}\n${cluster.tails()}`);
}

async function evidenceOn(cluster: RealCluster): Promise<Evidence> {
  const store = await cluster.openStore();
  return evidenceIn(await toldFacts(store, RUN), store, RUN);
}

function labeledShards(events: Evidence['events'], iteration: number): Set<string> {
  return new Set(events.flatMap(({ fact }) => (fact?.$case === 'taskCompleted' && fact.value.place?.stage === Stage.LABEL && fact.value.place.iteration === iteration ? [fact.value.place.subject] : [])));
}

/** Attempts beyond the one that counted, as far as anybody is left to tell of them: journalled failures, refused results, dropped leases. */
function redoneIn(cluster: RealCluster, evidence: Evidence): string[] {
  const told = WORKERS.flatMap((worker) => cluster.log(worker).split('\n').flatMap((line) => {
    const [, what] = /\bworker \S+ (\S+ (?:was not taken|is dropped): .*)$/.exec(line) ?? [];
    return what === undefined ? [] : [`${worker}: ${what}`];
  }));
  return [...evidence.failures.map((each) => `${each.workerId}: ${each.taskId} failed with ${each.code}`), ...told];
}

/** Faults as planned while the run goes on. Those whose moment comes after the end, or that find nothing to strike, are counted as missed. */
async function disturb(cluster: RealCluster, run: number, faults: readonly Fault[], referenceMs: number, startMs: number): Promise<{ happened: Happened[]; missed: number; shown: number; supervised: string[] }> {
  const happened: Happened[] = [];
  const supervised: string[] = [];
  const under = new Set<Promise<void>>();
  const busy = new Set<string>();
  /** The first failure to undo a fault: it must not pass unseen. */
  const broken: unknown[] = [];
  const left = [...faults];
  let clockMs = 0;
  let lastMs = performance.now();
  let still = 0;
  let missed = 0;
  let shown = 0;
  const supervise = (): void => {
    for (const coordinator of cluster.coordinators) {
      if (coordinator.child.alive || busy.has(coordinator.name)) continue;
      supervised.push(`${coordinator.name}: ${cluster.log(coordinator.name).trimEnd().split('\n').at(-1)}`);
      cluster.restart(coordinator);
    }
  };
  const supervisor = setInterval(supervise, SUPERVISE_MS);
  try {
    while (left.length > 0 || under.size > 0) {
      await pause(TICK_MS);
      const nowMs = performance.now();
      if (still === 0) clockMs += nowMs - lastMs;
      lastMs = nowMs;
      const view = await viewNow(cluster);
      shown = Math.max(shown, await sequenceNow(cluster));
      if (view !== undefined && view.summary?.state !== 'running') break;
      const [fault] = left;
      if (fault === undefined || !(clockMs >= fault.moment * referenceMs || (still === 0 && progressOf(view) >= fault.moment))) continue;
      left.shift();
      const struck = await strike(cluster, fault, busy);
      if (struck.what === '') {
        missed += 1;
        continue;
      }
      happened.push({ fault, run, atSeconds: (nowMs - startMs) / 1000, stage: view?.summary === undefined ? 'nobody leads' : stageName(view.summary.stage), what: struck.what, cost: struck.cost });
      if (!fault.overlaps) still += 1;
      const undone = pause(fault.lastsMs).then(() => struck.undo()).catch((thrown: unknown) => void broken.push(thrown)).finally(() => {
        if (!fault.overlaps) still -= 1;
        under.delete(undone);
      });
      under.add(undone);
    }
    await Promise.all(under);
  } finally {
    clearInterval(supervisor);
  }
  supervise();
  if (broken.length > 0) throw broken[0];
  return { happened, missed: missed + left.length, shown, supervised };
}

async function viewNow(cluster: RealCluster): Promise<RunView | undefined> {
  try {
    const asked = cluster.operator.run(RUN);
    // Its failure may come after we have gone on.
    asked.catch(() => undefined);
    return await Promise.race([asked, pause(VIEW_MS).then(() => undefined)]);
  } catch (thrown) {
    if (thrown instanceof AlumnusError && thrown.retryable) return undefined;
    throw thrown;
  }
}

const sequenceNow = (cluster: RealCluster): Promise<number> => Promise.race([cluster.operator.status(VIEW_MS).then((status) => status.sequence, () => 0), pause(VIEW_MS).then(() => 0)]);

/** 0 to 1: stages passed, those of shards by their share. */
function progressOf(view: RunView | undefined): number {
  if (view?.summary === undefined) return 0;
  const { iteration, rounds, stage } = view.summary;
  return (iteration + (stage - Stage.LABEL + view.stageDone / Math.max(1, view.stageTotal)) / Stage.PROMOTE) / (rounds + 1);
}

function table(disturbed: readonly Disturbed[], referenceMs: number): string {
  const lines = [`chaos on real engines: seed ${SEED}; undisturbed run ${(referenceMs / 1000).toFixed(1)} s`];
  const row = (...cells: readonly (string | number)[]): void => void lines.push(cells.map((cell, at) => String(cell).padEnd([4, 6, 7, 14, 36, 32, 8][at] ?? 8)).join(' ').trimEnd());
  row('run', 'fault', 'at s', 'stage', 'drawn', 'struck', 'for ms');
  for (const { happened } of disturbed) for (const { fault, run, atSeconds, stage, what } of happened) row(run, fault.number, atSeconds.toFixed(1), stage, nameOf(fault), what, `${fault.lastsMs}${fault.overlaps ? ' +' : ''}`);
  lines.push('');
  for (const { run, seconds, happened, missed, redone, allowed, terms, unjournalled, supervised } of disturbed) {
    lines.push(`run ${run}: ${seconds.toFixed(1)} s, ${happened.length} faults${missed === 0 ? '' : ` (${missed} more found nothing to strike or came after its end)`}, ${terms} terms, ${redone} tasks done again of at most ${allowed}, ${unjournalled} manifests left unjournalled${supervised.length === 0 ? '' : `, ${supervised.length} coordinators ended by themselves and were started again`}`);
  }
  return lines.join('\n');
}
