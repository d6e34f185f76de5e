/**
 * kill -9 of real processes at drawn moments, and the same run undisturbed beside it. Whatever was killed when: the run
 * succeeds, nothing accepted is lost, changed or counted twice, no more than the tasks in flight is done again, and every
 * label, selection, model and score has the bytes of the undisturbed run.
 *
 *   ALUMNUS_CHAOS_KILLS  how many kills in all (default 20)
 *   ALUMNUS_CHAOS_SEED   what is killed when (default: the clock's; printed)
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { stageName } from '../../proto/stages.ts';
import type { RunView } from '../../proto/gen/alumnus/v1/operator.ts';
import { Stage } from '../../proto/gen/alumnus/v1/task.ts';
import { canSeeProcesses } from '../harness/child.ts';
import { Cluster, useClusters } from '../harness/cluster.ts';
import { pause } from '../harness/processes.ts';
import { digestsOf, evidenceOf, problemsOf, type Evidence } from '../harness/evidence.ts';
import { patternsHome, patternsRecipe, SHARDS } from '../harness/patterns.ts';
import { Proxy } from '../harness/proxy.ts';
import { planKills, targets, type Kill, type Target } from './plan.ts';

const RUN = 'patterns-chaos';
const KILLS_PER_RUN = 4;
const WORKERS = ['worker-1', 'worker-2'];
/** Leases that one worker holds at most: a task on the device, the next one loading, and one whose labels are written. */
const SLOTS = 3;
/** Kills count as failed attempts; with this many allowed none of them costs a shard. */
const ATTEMPTS = 20;
const TICK_MS = 20;
/** Shorter than the two seconds after which a worker leaves a coordinator that says nothing, and no longer sends it results. */
const SILENT_MS = 1_500;

const number = (name: string, fallback: number): number => {
  const value = Number(process.env[name] ?? fallback);
  if (!Number.isSafeInteger(value) || value < 0) throw new Error(`${name} is a whole number, not ${process.env[name]}`);
  return value;
};
const KILLS = number('ALUMNUS_CHAOS_KILLS', 20);
const SEED = number('ALUMNUS_CHAOS_SEED', Date.now() % 1_000_000);
const plan = planKills(SEED, KILLS, KILLS_PER_RUN, WORKERS.length, SHARDS);

interface Struck {
  readonly kill: Kill;
  readonly run: number;
  /** Seconds of the disturbed run when it struck. */
  readonly atSeconds: number;
  /** What the run was at: a stage, and `control` where the killed worker was at that. */
  readonly stage: string;
  readonly hit: Hit;
}

/** What a kill struck: what was drawn, or what was there instead. */
interface Hit {
  readonly target: Target;
  readonly worker: string;
  /** Of a coordinator: the last fact that it had shown to anybody. */
  readonly sequence?: number;
}

interface Disturbed {
  readonly run: number;
  readonly seconds: number;
  readonly struck: readonly Struck[];
  readonly missed: number;
  readonly redone: number;
  readonly allowed: number;
}

const recipe = patternsRecipe({ attempts: ATTEMPTS });
const disturbed: Disturbed[] = [];
let template: Awaited<ReturnType<typeof patternsHome>>;
let reference: Record<string, string>;
let referenceMs = 0;
let problems: string[];

useClusters();

beforeAll(async () => {
  console.log(`chaos: ${KILLS} kills in ${plan.length} runs, seed ${SEED}. To play them again: ALUMNUS_CHAOS_SEED=${SEED} ALUMNUS_CHAOS_KILLS=${KILLS} npm run test:chaos`);
  template = await patternsHome();
  const cluster = await Cluster.create({ template: template.home });
  try {
    await cluster.start(WORKERS);
    const startMs = performance.now();
    await cluster.submit(recipe, RUN);
    await cluster.settled(RUN, 'succeeded');
    referenceMs = performance.now() - startMs;
    await cluster.stop();
    const evidence = await evidenceOf(cluster.home, RUN);
    problems = await problemsOf(evidence);
    reference = digestsOf(evidence);
  } finally {
    await cluster.remove();
  }
});

afterAll(async () => {
  await template.remove();
  if (disturbed.length > 0) console.log(table());
});

test('the undisturbed run is sound', () => {
  expect(problems).toEqual([]);
  expect(Object.keys(reference).filter((name) => name.endsWith('/selection')).length).toBeGreaterThan(0);
});

test.skipIf(!canSeeProcesses)('what is killed and when is the same for the same seed', () => {
  expect(planKills(SEED, KILLS, KILLS_PER_RUN, WORKERS.length, SHARDS)).toEqual(plan);
  expect(plan.flat()).toHaveLength(KILLS);
});

for (const [at, kills] of plan.entries()) {
  const title = kills.map((kill) => `${kill.target}${kill.target === 'coordinator' ? '' : ` ${kill.worker + 1}`} at ${kill.aim === undefined ? `${Math.round(kill.moment * 100)} %` : `label ${kill.aim.labels} of iteration ${kill.aim.iteration}`}`).join(', ');
  // Without /proc no engine can be found, nor an orphan be told.
  test.skipIf(!canSeeProcesses)(`run ${at + 1} of seed ${SEED}: ${title}`, async () => {
    const cluster = await Cluster.create({ template: template.home });
    await cluster.start(WORKERS);
    const startMs = performance.now();
    await cluster.submit(recipe, RUN);
    const { struck, missed } = await disturb(cluster, at + 1, kills, startMs);
    await cluster.settled(RUN, 'succeeded');
    const seconds = (performance.now() - startMs) / 1000;
    await cluster.stop();
    const evidence = await evidenceOf(cluster.home, RUN);

    const redone = redoneIn(cluster, evidence);
    const allowed = struck.reduce((sum, each) => sum + inFlight(each.hit.target), 0);
    disturbed.push({ run: at + 1, seconds, struck, missed, redone: redone.length, allowed });

    expect(await problemsOf(evidence)).toEqual([]);
    expect(digestsOf(evidence)).toEqual(reference);
    expect(redone.length, `done again: ${redone.join('; ')}`).toBeLessThanOrEqual(allowed);
    expect(evidence.failures.map((each) => each.code).filter((code) => !['ENGINE_CRASHED', 'LEASE_EXPIRED', 'WORKER_RESTARTED'].includes(code))).toEqual([]);
  });
}

test('a coordinator that dies between the journal and its answer: the result counts once, and the worker is told', async () => {
  const cluster = await Cluster.create({ template: template.home });
  await cluster.startCoordinator();
  const proxy = await Proxy.start(() => cluster.address);
  try {
    cluster.startWorker('worker-1', proxy.address);
    await cluster.submit(recipe, RUN);
    // One result of each kind of stage, and two labels in flight at once.
    for (const stage of [Stage.TRAIN, Stage.LABEL]) {
      await untilUntold(cluster, proxy, stage);
      await cluster.killCoordinator();
      proxy.unmute();
      await cluster.startCoordinator();
    }
    await cluster.settled(RUN, 'succeeded');
  } finally {
    proxy.stop();
  }
  await cluster.stop();
  const evidence = await evidenceOf(cluster.home, RUN);
  expect(await problemsOf(evidence)).toEqual([]);
  expect(digestsOf(evidence)).toEqual(reference);
  // It learned that these results were taken care of, whichever of its calls the new leader answered first.
  for (const task of ['train.student', 'label.unlabeled']) expect(cluster.log('worker-1')).toMatch(new RegExp(`i\\d\\.${task}\\S* (was not taken|is dropped): `));
});

/** Until a result of the stage is journalled whose answer is lost; everything later is lost as well. */
async function untilUntold(cluster: Cluster, proxy: Proxy, stage: Stage): Promise<void> {
  for (;;) {
    await cluster.waitForRun(RUN, (view) => view.summary?.stage === stage && view.tasks.some((task) => task.state === 'leased' && task.task?.stage === stage && task.task.subject !== 'control'), `in ${stageName(stage)}`);
    proxy.mute();
    const untilMs = Date.now() + SILENT_MS;
    const before = await cluster.run(RUN);
    while (before.summary?.stage === stage && Date.now() < untilMs) {
      await pause(TICK_MS);
      const view = await cluster.run(RUN);
      if (view.summary?.stage !== stage || view.stageDone > before.stageDone) return;
    }
    // What was lost was part of a conversation: it begins anew.
    proxy.cut();
  }
}

/** Tasks in flight that a kill can cost: those of one worker; a coordinator's are adopted by the next, or at worst done again. */
const inFlight = (target: Target): number => (target === 'coordinator' ? SLOTS * WORKERS.length : SLOTS);

/**
 * Attempts beyond the one that counted, as far as anybody is left to tell of them: journalled failures, refused results,
 * dropped leases. Not a straggler that was leased elsewhere, too, and came second: no kill did that, a slow machine did.
 */
function redoneIn(cluster: Cluster, evidence: Evidence): string[] {
  const doneBy = new Map(evidence.completions.map((each) => [each.taskId, each.workerId]));
  const failed = new Set(evidence.failures.map((each) => `${each.workerId} ${each.taskId}`));
  const told = WORKERS.flatMap((worker) => cluster.log(worker).split('\n').flatMap((line) => {
    const [, taskId = '', what = ''] = /\bworker \S+ (\S+) ((?:was not taken|is dropped): .*)$/.exec(line) ?? [];
    const cameSecond = what.startsWith('was not taken') && doneBy.get(taskId) !== worker && !failed.has(`${worker} ${taskId}`);
    return what === '' || cameSecond ? [] : [`${worker}: ${taskId} ${what}`];
  }));
  return [...evidence.failures.map((each) => `${each.workerId}: ${each.taskId} failed with ${each.code}`), ...told];
}

/** Kills as planned while the run goes on. Kills whose moment comes after the end strike nobody and are counted as missed. */
async function disturb(cluster: Cluster, run: number, kills: readonly Kill[], startMs: number): Promise<{ struck: Struck[]; missed: number }> {
  const struck: Struck[] = [];
  const away = new Set<Promise<void>>();
  /** The first failure to bring a process back: it must not pass unseen. */
  const broken: unknown[] = [];
  let clockMs = 0;
  let lastMs = performance.now();
  let still = 0;
  let ended = false;
  const left = [...kills];
  while (left.length > 0 && !ended) {
    await pause(TICK_MS);
    const nowMs = performance.now();
    const [kill] = left;
    // Until an aimed kill has struck, the moments after it do not come nearer.
    if (still === 0 && (kill?.aim === undefined || clockMs < kill.moment * referenceMs)) clockMs += nowMs - lastMs;
    lastMs = nowMs;
    if (kill === undefined) break;
    const view = cluster.coordinator?.alive === true ? await cluster.run(RUN).catch(() => undefined) : undefined;
    ended = view !== undefined && view.summary?.state !== 'running';
    if (ended) break;
    // A run that is faster than the undisturbed one was has its moments by how far it is, not by the clock.
    const due = kill.aim === undefined ? clockMs >= kill.moment * referenceMs || (still === 0 && progressOf(view) >= kill.moment) : reached(view, kill.aim);
    if (!due) continue;
    left.shift();
    const hit = await strike(cluster, kill);
    struck.push({ kill, run, atSeconds: (nowMs - startMs) / 1000, stage: stageOf(view, hit), hit });
    if (!kill.overlaps) still += 1;
    const back = pause(kill.awayMs).then(() => revive(cluster, hit)).catch((thrown: unknown) => void broken.push(thrown)).finally(() => {
      if (!kill.overlaps) still -= 1;
      away.delete(back);
    });
    away.add(back);
  }
  await Promise.all(away);
  if (broken.length > 0) throw broken[0];
  return { struck, missed: left.length };
}

/** 0 to 1: stages passed, those of shards by their share. */
function progressOf(view: RunView | undefined): number {
  if (view?.summary === undefined) return 0;
  const { iteration, rounds, stage } = view.summary;
  return (iteration + (stage - Stage.LABEL + view.stageDone / Math.max(1, view.stageTotal)) / Stage.PROMOTE) / (rounds + 1);
}

/** Or passed, where labeling was over before anybody looked. */
function reached(view: RunView | undefined, aim: { iteration: number; labels: number }): boolean {
  if (view?.summary === undefined) return false;
  const { iteration, stage } = view.summary;
  if (iteration !== aim.iteration) return iteration > aim.iteration;
  return stage === Stage.LABEL ? view.stageDone >= aim.labels : stage > Stage.LABEL;
}

function stageOf(view: RunView | undefined, hit: Hit): string {
  if (view?.summary === undefined) return 'coordinator away';
  const own = view.tasks.filter((task) => hit.target === 'coordinator' || task.workerId === hit.worker).flatMap(({ task, state }) => (task === undefined || state !== 'leased' ? [] : [task]));
  const control = own.length > 0 && own.every((task) => task.subject === 'control');
  return control ? 'control' : stageName(view.summary.stage);
}

/** Kills what was drawn or, where that is away already, the next thing that lives. */
async function strike(cluster: Cluster, kill: Kill): Promise<Hit> {
  const others = WORKERS.map((_, at) => WORKERS[(kill.worker + at) % WORKERS.length] ?? '');
  const tries: Hit[] = [...others.map((worker) => ({ target: kill.target, worker })), { target: 'coordinator', worker: '' }, ...others.map((worker): Hit => ({ target: 'worker', worker }))];
  for (const { target, worker: id } of tries) {
    const worker = cluster.workers.get(id);
    if (target === 'coordinator') {
      if (cluster.coordinator?.alive !== true) continue;
      const sequence = await cluster.status().then((status) => status.sequence, () => 0);
      await cluster.killCoordinator();
      return { target, worker: '', sequence };
    }
    if (worker?.child.alive !== true) continue;
    if (target === 'worker') await cluster.killWorker(worker);
    else if (!(await cluster.killEngine(worker))) continue;
    return { target, worker: id };
  }
  throw new Error('nothing lives that could be killed');
}

/** An engine is started by its worker; the others are as they were, under the same name and port. */
async function revive(cluster: Cluster, { target, worker, sequence = 0 }: Hit): Promise<void> {
  if (target === 'coordinator') {
    await cluster.startCoordinator();
    // What was shown once is never taken back.
    expect(Number([...cluster.log('coordinator').matchAll(/leads term \d+ from sequence (\d+)\n/g)].at(-1)?.[1])).toBeGreaterThanOrEqual(sequence);
  }
  if (target === 'worker') cluster.startWorker(worker);
}

function table(): string {
  const lines = [`chaos: seed ${SEED}; undisturbed run ${(referenceMs / 1000).toFixed(1)} s`];
  const row = (...cells: readonly (string | number)[]): void => void lines.push(cells.map((cell, at) => String(cell).padEnd([5, 5, 8, 18, 24, 9][at] ?? 8)).join(' ').trimEnd());
  row('run', 'kill', 'at s', 'stage', 'what', 'away ms');
  for (const { struck } of disturbed) for (const { kill, run, atSeconds, stage, hit } of struck) row(run, kill.number, atSeconds.toFixed(1), stage, hit.target === 'coordinator' ? hit.target : `${hit.target} (${hit.worker})`, `${kill.awayMs}${kill.overlaps ? ' +' : ''}`);
  lines.push('');
  const all = disturbed.flatMap((each) => each.struck);
  const stages = [...new Set(all.map((each) => each.stage))].sort();
  lines.push(`${'kills by stage'.padEnd(18)} ${targets.map((target) => target.padStart(12)).join('')}`);
  for (const stage of stages) lines.push(`${stage.padEnd(18)} ${targets.map((target) => String(all.filter((each) => each.stage === stage && each.hit.target === target).length).padStart(12)).join('')}`);
  lines.push(`${'all'.padEnd(18)} ${targets.map((target) => String(all.filter((each) => each.hit.target === target).length).padStart(12)).join('')}`);
  lines.push('');
  for (const { run, seconds, struck, missed, redone, allowed } of disturbed) lines.push(`run ${run}: ${seconds.toFixed(1)} s, ${struck.length} kills${missed === 0 ? '' : ` (${missed} more came after its end)`}, ${redone} tasks done again of at most ${allowed}`);
  return lines.join('\n');
}
