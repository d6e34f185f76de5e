/** An engine that hangs while its worker lives: it is found, ended and replaced, its attempt fails with a reason of its own, and the run goes on. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Stage } from '../../proto/gen/alumnus/v1/task.ts';
import { lives } from '../harness/child.ts';
import { Cluster, useClusters } from '../harness/cluster.ts';
import { evidenceOf, problemsOf } from '../harness/evidence.ts';
import { patternsHome, patternsRecipe } from '../harness/patterns.ts';

/** One model, trained long enough to be met at work. */
const recipe = patternsRecipe({ rounds: 0, control: false }).replace('steps: 30', 'steps: 1500').replace(/^.*width: 10.*\n/m, '');

const RUN = 'patterns-silent';
const WORKER = 'worker-1';
/** Far above what loading the library keeps an engine on a busy machine. */
const ENGINE_TIMEOUT_SECONDS = 10;

useClusters();
let template: Awaited<ReturnType<typeof patternsHome>>;
beforeAll(async () => {
  template = await patternsHome();
});
afterAll(() => template.remove());

test('a training whose engine stands still fails its attempt, and a new engine of the same worker does it', async () => {
  const cluster = await Cluster.create({ template: template.home });
  await cluster.startCoordinator();
  const worker = cluster.startWorker(WORKER, cluster.address, ['--engine-timeout', String(ENGINE_TIMEOUT_SECONDS)]);
  await cluster.submit(recipe, RUN);
  await cluster.waitForRun(RUN, (view) => view.tasks.some(({ task, progress }) => task?.stage === Stage.TRAIN && (progress?.done ?? 0) > 0), 'at work');
  const engine = cluster.engineOf(worker);
  if (engine === undefined) throw new Error('the worker has an engine');
  process.kill(engine.pid, 'SIGSTOP');
  const failed = await cluster.waitForRun(RUN, (view) => view.tasks.some((each) => each.lastError !== ''), 'told of the failure');
  expect(failed.tasks.map(({ failures, lastError }) => ({ failures, lastError }))).toEqual([{ failures: 1, lastError: `ENGINE_SILENT: nothing came from the engine for ${ENGINE_TIMEOUT_SECONDS} s` }]);
  expect(lives(engine)).toBe(false);
  await cluster.settled(RUN, 'succeeded');
  expect(cluster.engineOf(worker)?.pid).not.toBe(engine.pid);
  await cluster.stop();
  const evidence = await evidenceOf(cluster.home, RUN);
  expect(evidence.failures).toMatchObject([{ workerId: WORKER, code: 'ENGINE_SILENT' }]);
  expect(evidence.completions.map(({ stage, workerId }) => ({ stage, workerId }))).toEqual([{ stage: Stage.TRAIN, workerId: WORKER }, { stage: Stage.EVALUATE, workerId: WORKER }]);
  expect(await problemsOf(evidence)).toEqual([]);
});
