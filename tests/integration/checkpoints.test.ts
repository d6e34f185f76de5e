/**
 * kill -9 in the middle of a training, by real processes: the next attempt goes on from the last checkpoint, ends with the
 * bytes of the undisturbed training, and does less again than one that begins anew. A checkpoint that is damaged or gone
 * costs steps, never the run.
 */
import { readdir, rm, stat, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { RunView, TaskView } from '../../proto/gen/alumnus/v1/operator.ts';
import { Stage } from '../../proto/gen/alumnus/v1/task.ts';
import { canSeeProcesses } from '../harness/child.ts';
import { Cluster, LEASE_MS, useClusters } from '../harness/cluster.ts';
import { digestsOf, evidenceOf, problemsOf, type Evidence } from '../harness/evidence.ts';
import { patternsHome, patternsRecipe } from '../harness/patterns.ts';
import { pause } from '../harness/processes.ts';

const RUN = 'patterns-checkpoints';
/** Long enough that a kill is in its middle, however fast the machine. */
const STEPS = 2_000;
const CHECKPOINT_STEPS = 100;
/** Checkpoints that are journalled before the kill. */
const BEFORE_KILL = 3;

const recipe = (checkpointSteps: number): string => patternsRecipe({ rounds: 0, control: false, attempts: 20 })
  .replace(/ladder:\n(.*)\n.*\n/, 'ladder:\n$1\n')
  .replace('teacher: { steps: 30, batch_labeled: 16 }', `teacher: { steps: ${STEPS}, batch_labeled: 16 }`)
  .replace('ema_decay: 0.8', `ema_decay: 0.8\n  clip_norm: 5\n  checkpoint_steps: ${checkpointSteps}`)
  .replace('optimizer: { learning_rate: 0.01 }', 'optimizer: { name: rmsprop, learning_rate: 0.002 }');

useClusters();
let template: Awaited<ReturnType<typeof patternsHome>>;
let undisturbed: Evidence;
let problems: readonly string[];

beforeAll(async () => {
  template = await patternsHome();
  const { evidence } = await played(CHECKPOINT_STEPS, ['worker-1'], () => Promise.resolve());
  undisturbed = evidence;
  // Its home is gone after the first test.
  problems = await problemsOf(evidence);
});
afterAll(() => template.remove());

/** One run, disturbed once, and what it left. */
async function played(checkpointSteps: number, workers: readonly string[], disturb: (cluster: Cluster) => Promise<void>): Promise<{ evidence: Evidence; logs: string; cluster: Cluster }> {
  const cluster = await Cluster.create({ template: template.home });
  await cluster.start(workers);
  await cluster.submit(recipe(checkpointSteps), RUN);
  await disturb(cluster);
  await cluster.settled(RUN, 'succeeded');
  await cluster.stop();
  const evidence = await evidenceOf(cluster.home, RUN);
  return { evidence, logs: [...cluster.workers.keys()].map((name) => cluster.log(name)).join('\n'), cluster };
}

test('a training that diverges goes back once, at half the rate, and then ends the run with a remedy; each attempt the same', async () => {
  const cluster = await Cluster.create({ template: template.home });
  await cluster.start(['worker-1']);
  // Weights decay beyond zero and grow ninefold and more with each step, fourfold and more at half the rate.
  const wild = recipe(CHECKPOINT_STEPS).replace('name: rmsprop, learning_rate: 0.002', 'name: sgd, learning_rate: 10, weight_decay: 1').replace('\n  clip_norm: 5', '').replace('attempts: 20', 'attempts: 2');
  await cluster.submit(wild, RUN);
  const view = await cluster.settled(RUN, 'failed');
  expect(view.summary?.reason).toMatch(/TRAINING_DIVERGED.*also after the training had gone back to step 0 and on at 0\.5 of the learning rate/s);
  await cluster.stop();
  const went = [...cluster.log('worker-1').matchAll(/no finite loss up to step (\d+): goes back to step (\d+)/g)].map(([, from, to]) => `${from} ${to}`);
  expect(went).toHaveLength(2);
  expect(went[1]).toBe(went[0]);
  expect((await evidenceOf(cluster.home, RUN)).failures.map(({ code }) => code)).toEqual(['TRAINING_DIVERGED', 'TRAINING_DIVERGED']);
});

const training = (view: RunView): TaskView | undefined => view.tasks.find(({ task, state }) => task?.stage === Stage.TRAIN && state === 'leased');

/** Until the training has come so far. */
async function until(cluster: Cluster, there: (task: TaskView) => boolean): Promise<TaskView> {
  const view = await cluster.waitForRun(RUN, (each) => { const task = training(each); return task !== undefined && there(task); }, 'in the middle of its training');
  return training(view)!;
}
const wellOnItsWay = (task: TaskView): boolean => task.checkpointStep >= BEFORE_KILL * CHECKPOINT_STEPS;

/** Steps of the journalled checkpoints, in order. */
const reached = ({ events }: Evidence): number[] => events.flatMap(({ fact }) => (fact?.$case === 'checkpointReached' ? [fact.value.checkpoint?.step ?? 0] : []));
const startedAt = (logs: string): number[] => [...logs.matchAll(/goes on from the checkpoint of step (\d+)/g)].map((match) => Number(match[1]));
const curveOf = ({ completions }: Evidence): unknown => completions.flatMap(({ result }) => (result.$case === 'train' ? [result.value.curve, result.value.finalLoss] : []));

/** The files of the run's checkpoints, by time. */
async function files(cluster: Cluster): Promise<string[]> {
  const names = (await readdir(join(cluster.home, 'store'), { recursive: true })).filter((name) => name.endsWith('.checkpoint'));
  const dated = await Promise.all(names.map(async (name) => ({ name, atMs: (await stat(join(cluster.home, 'store', name))).mtimeMs })));
  return dated.sort((a, b) => a.atMs - b.atMs).map(({ name }) => join(cluster.home, 'store', name));
}

/** Stops the engine at a moment when the newest checkpoint in the store is the newest that the journal names. */
async function stoppedWhereAllIsTold(cluster: Cluster): Promise<{ engine: number; kept: string[] }> {
  // A renewal tells the newest alone, and a fast training writes several between two: the one before must have been told, too.
  const { checkpointStep: first } = await until(cluster, (task) => task.checkpointStep > 0);
  for (;;) {
    const task = await until(cluster, (each) => wellOnItsWay(each) && each.checkpointStep > first);
    const engine = cluster.engineOf(cluster.workers.get(task.workerId)!)!.pid;
    process.kill(engine, 'SIGSTOP');
    // What it said is told with the next renewal.
    await pause(LEASE_MS);
    const kept = await files(cluster);
    const told = training(await cluster.run(RUN))?.checkpointStep ?? 0;
    if (kept.length * CHECKPOINT_STEPS === told) return { engine, kept };
    process.kill(engine, 'SIGCONT');
  }
}

test('undisturbed: each checkpoint is journalled once and in order, lies in the store, and is no part of what comes out', async () => {
  expect(problems).toEqual([]);
  const steps = reached(undisturbed);
  expect(steps.length).toBeGreaterThan(BEFORE_KILL);
  expect(steps.every((step, at) => step % CHECKPOINT_STEPS === 0 && step > (steps[at - 1] ?? 0) && step < STEPS)).toBe(true);
  const { evidence } = await played(0, ['worker-1'], () => Promise.resolve());
  expect(reached(evidence)).toEqual([]);
  expect(digestsOf(evidence)).toEqual(digestsOf(undisturbed));
});

describe.skipIf(!canSeeProcesses)('killed in mid-training', () => {
  test.each(['engine', 'worker'] as const)('the %s: goes on from a journalled checkpoint, and ends with the same bytes', async (what) => {
    let killedAt = 0;
    const { evidence, logs } = await played(CHECKPOINT_STEPS, ['worker-1', 'worker-2'], async (cluster) => {
      const task = await until(cluster, wellOnItsWay);
      killedAt = Number(task.progress?.done ?? 0);
      const worker = cluster.workers.get(task.workerId)!;
      if (what === 'engine') await cluster.killEngine(worker);
      else await cluster.killWorker(worker);
    });
    expect(await problemsOf(evidence)).toEqual([]);
    expect(evidence.failures.map(({ code }) => code)).toEqual([what === 'engine' ? 'ENGINE_CRASHED' : 'LEASE_EXPIRED']);
    const [from = 0, ...more] = startedAt(logs);
    expect(more).toEqual([]);
    expect(reached(evidence)).toContain(from);
    expect(from).toBeGreaterThanOrEqual(BEFORE_KILL * CHECKPOINT_STEPS);
    // Without checkpoints all of it would be done again.
    expect(killedAt - from).toBeLessThan(killedAt);
    console.log(`killed the ${what} at step ${killedAt} or later: goes on from step ${from} of ${STEPS}`);
    expect(digestsOf(evidence)).toEqual(digestsOf(undisturbed));
    expect(curveOf(evidence)).toEqual(curveOf(undisturbed));
  });

  test.each(['damaged', 'gone', 'all gone'] as const)('with checkpoints %s: the one before is taken, or none, and the run ends with the same bytes', async (how) => {
    const { evidence, logs } = await played(CHECKPOINT_STEPS, ['worker-1'], async (cluster) => {
      const { engine, kept } = await stoppedWhereAllIsTold(cluster);
      if (how === 'damaged') await truncate(kept.at(-1)!, 100);
      else for (const file of how === 'gone' ? kept.slice(-1) : kept) await rm(file);
      process.kill(engine, 'SIGKILL');
    });
    expect(logs).toMatch(/the checkpoint of step \d+ can't be used/);
    expect(startedAt(logs)).toHaveLength(how === 'all gone' ? 0 : 1);
    expect(digestsOf(evidence)).toEqual(digestsOf(undisturbed));
    // What was lost was written again: every checkpoint that the journal names is there.
    expect(await problemsOf(evidence)).toEqual([]);
  });
});
