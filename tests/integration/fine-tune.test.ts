/** Fine-tuning and early stop by real processes: a run with both ends, describes and exports both models, and repeats itself to the byte after a worker's death. */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { summaryText } from '../../cli/summary.ts';
import { exportModel } from '../../cli/export-model.ts';
import type { RunView, TaskView } from '../../proto/gen/alumnus/v1/operator.ts';
import { Stage } from '../../proto/gen/alumnus/v1/task.ts';
import { canSeeProcesses } from '../harness/child.ts';
import { Cluster, useClusters } from '../harness/cluster.ts';
import { digestsOf, evidenceOf, problemsOf } from '../harness/evidence.ts';
import { patternsHome, patternsRecipe } from '../harness/patterns.ts';

const RUN = 'patterns-fine-tuned';
const TUNED_STEPS = 1_500;
const recipe = patternsRecipe({ rounds: 1, control: true, attempts: 20 })
  .replace(/ladder:\n(.*)\n.*\n/, 'ladder:\n    - { model: residual, width: 4, blocks: 1, dropout: 0.2 }\n')
  .replace('ema_decay: 0.8', `ema_decay: 0.8
  checkpoint_steps: 100
  fine_tune: { steps: ${TUNED_STEPS}, batch_labeled: 4, image: { height: 16, width: 16 }, freeze: 0.4, teaches: true }
  early_stop: { every_steps: 10, patience: 100, holdout: 0.2 }`)
  .replace('labels: { batch_size: 50 }', 'labels: { batch_size: 50, threshold: 0, balance: none }\nguards: { class_share_least: 0, class_share_most: 1, calibration_error_most: 1 }');

useClusters();
let template: Awaited<ReturnType<typeof patternsHome>>;
beforeAll(async () => { template = await patternsHome(); });
afterAll(() => template.remove());

test('a run with both succeeds, and both models of an iteration are described and can be exported', async () => {
  const cluster = await Cluster.create({ template: template.home });
  await cluster.start();
  await cluster.submit(recipe, RUN);
  const view = await cluster.settled(RUN, 'succeeded');
  await cluster.stop();
  const evidence = await evidenceOf(cluster.home, RUN);
  expect(await problemsOf(evidence)).toEqual([]);
  expect(evidence.failures).toEqual([]);
  for (const { model, fineTuned } of [...view.iterations, { model: view.control, fineTuned: view.controlFineTuned }]) {
    expect([model?.image, fineTuned?.image]).toEqual([{ height: 12, width: 12, channels: 1 }, { height: 16, width: 16, channels: 1 }]);
    expect([model?.validation?.total, model?.test?.total, fineTuned?.validation?.total, fineTuned?.test?.total]).toEqual([100, 100, 100, 100]);
    expect(fineTuned?.heldOutCurve.some(({ step }) => step === fineTuned.bestStep)).toBe(true);
  }
  const [first, second] = view.iterations;
  expect(second?.teacherSha256).toBe(first?.fineTuned?.model?.sha256);
  const text = summaryText(view, 200);
  for (const title of ['0', '0 fine-tuned', '1', '1 fine-tuned', 'control', 'control fine-tuned']) expect(text).toMatch(new RegExp(`^${title} +residual`, 'm'));
  const folder = await mkdtemp(join(tmpdir(), 'alumnus-tuned-'));
  try {
    const height = async (fineTuned: boolean | undefined): Promise<unknown> => {
      await exportModel(view, { to: folder, storeUrl: view.storeUrl, iteration: 1, ...(fineTuned === undefined ? {} : { fineTuned }) });
      return (JSON.parse(await readFile(join(folder, 'model.json'), 'utf8')) as { input: { height: number } }).input.height;
    };
    expect([await height(undefined), await height(false), await height(true)]).toEqual([16, 12, 16]);
  } finally {
    await rm(folder, { recursive: true });
  }
});

test.skipIf(!canSeeProcesses)('a worker that is killed in the middle of fine-tuning costs steps, and changes no byte', async () => {
  const outcome = async (killed: boolean): Promise<unknown> => {
    const cluster = await Cluster.create({ template: template.home });
    await cluster.start(killed ? ['worker-1', 'worker-2'] : ['worker-1']);
    await cluster.submit(recipe.replace('rounds: 1', 'rounds: 0').replace('control: true', 'control: false'), RUN);
    if (killed) {
      const fineTuning = (view: RunView): TaskView | undefined => view.tasks.find(({ task, state, checkpointStep }) => state === 'leased' && task?.stage === Stage.TRAIN && task.subject === 'student.fine-tuned' && checkpointStep >= 200);
      const view = await cluster.waitForRun(RUN, (each) => fineTuning(each) !== undefined, 'in the middle of fine-tuning');
      await cluster.killWorker(cluster.workers.get(fineTuning(view)!.workerId)!);
    }
    await cluster.settled(RUN, 'succeeded');
    await cluster.stop();
    const evidence = await evidenceOf(cluster.home, RUN);
    expect(evidence.failures.map(({ code }) => code)).toEqual(killed ? ['LEASE_EXPIRED'] : []);
    const begun = ['worker-1', 'worker-2'].flatMap((name) => [...cluster.log(name).matchAll(/goes on from the checkpoint of step (\d+)/g)].map((match) => Number(match[1])));
    expect(begun.map((step) => step >= 200)).toEqual(killed ? [true] : []);
    return { digests: digestsOf(evidence), results: evidence.completions.flatMap(({ result }) => (result.$case === 'train' ? [{ ...result.value, model: undefined }] : [])) };
  };
  expect(await outcome(true)).toEqual(await outcome(false));
});
