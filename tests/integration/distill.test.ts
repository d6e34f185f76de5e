/** Distillation by real processes: stored with a training that two workers share, and online into a transformer's token, which repeats itself to the byte after a worker's death. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { RunView, TaskView } from '../../proto/gen/alumnus/v1/operator.ts';
import { Stage } from '../../proto/gen/alumnus/v1/task.ts';
import { canSeeProcesses } from '../harness/child.ts';
import { Cluster, useClusters } from '../harness/cluster.ts';
import { digestsOf, evidenceOf, problemsOf, type Evidence } from '../harness/evidence.ts';
import { patternsHome, patternsRecipe, SHARDS } from '../harness/patterns.ts';

const RUN = 'patterns-distilled';
/** Two runs of 700 steps, so that a worker is seen in the middle of them; only on cores that are busy with much else they take minutes. */
const RUNS_MS_MAX = 20 * 60_000;
const recipe = (student: string, training: string): string => patternsRecipe({ rounds: 1, control: false, attempts: 20 })
  .replace(/(ladder:\n.*\n).*\n/, `$1    - ${student}\n`)
  .replace('ema_decay: 0.8', `ema_decay: 0.8\n  ${training}`)
  .replace('labels: { batch_size: 50 }', 'labels: { batch_size: 50, threshold: 0, balance: none }\nguards: { class_share_least: 0, class_share_most: 1, calibration_error_most: 1 }');

useClusters();
let template: Awaited<ReturnType<typeof patternsHome>>;
beforeAll(async () => { template = await patternsHome(); });
afterAll(() => template.remove());

/** What the student's model says of itself. */
async function studentOf({ completions, store }: Evidence): Promise<{ parameters: number; lineage: { training: { distill?: unknown } } }> {
  const trained = completions.flatMap(({ iteration, result }) => (iteration === 1 && result.$case === 'train' ? [result.value] : iteration === 1 && result.$case === 'merge' && result.value.trained !== undefined ? [result.value.trained] : []));
  expect(trained).toHaveLength(1);
  const teacher = completions.flatMap(({ iteration, result }) => (iteration === 0 && result.$case === 'train' ? [result.value.model] : iteration === 0 && result.$case === 'merge' ? [result.value.trained?.model] : [])).at(-1);
  expect(trained[0]!.distilledSha256).toBe(teacher?.sha256);
  return JSON.parse(Buffer.from(await store.get(trained[0]!.model!)).toString('utf8')) as Awaited<ReturnType<typeof studentOf>>;
}

test.each(['stored', 'online'] as const)('a student that two workers share learns a teacher that is larger; only a stored one labels the labeled shards, too: %s', async (teacher) => {
  const cluster = await Cluster.create({ template: template.home });
  await cluster.start();
  await cluster.submit(recipe('{ model: cnn, width: 4, dense: 16 }', `distill: { teacher: ${teacher}, temperature: 4 }\n  replicas: 2\n  sharing: { local_steps: 40, quorum: 1 }`), RUN);
  const view = await cluster.settled(RUN, 'succeeded');
  await cluster.stop();
  const evidence = await evidenceOf(cluster.home, RUN);
  expect(await problemsOf(evidence)).toEqual([]);
  expect(evidence.failures).toEqual([]);
  const labeled = evidence.completions.filter(({ result }) => result.$case === 'label').map(({ subject }) => subject);
  expect(labeled.filter((subject) => subject.startsWith('labeled.'))).toEqual(teacher === 'stored' ? ['labeled.labeled-000000'] : []);
  expect(labeled).toHaveLength(teacher === 'stored' ? SHARDS + 1 : SHARDS);
  const student = await studentOf(evidence);
  expect(student.lineage.training.distill).toEqual({ teacher, targets: 'soft', temperature: 4, share: 0.5, head: 'class' });
  expect(student.parameters).toBeLessThan(Number(view.iterations[0]?.model?.parameters));
});

test.skipIf(!canSeeProcesses)('a worker that is killed while its student learns from an online teacher costs steps, and changes no byte', async () => {
  const online = recipe('{ model: deit-tiny, patch: 4, width: 12, depth: 2, heads: 2, dropout: 0.1 }', 'checkpoint_steps: 50\n  distill: { teacher: online, targets: hard, head: token }').replace('student: { steps: 80,', 'student: { steps: 700,');
  const outcome = async (killed: boolean): Promise<unknown> => {
    const cluster = await Cluster.create({ template: template.home });
    await cluster.start(killed ? ['worker-1', 'worker-2'] : ['worker-1']);
    await cluster.submit(online, RUN);
    if (killed) {
      const training = (view: RunView): TaskView | undefined => view.tasks.find(({ task, state, checkpointStep }) => state === 'leased' && task?.stage === Stage.TRAIN && task.iteration === 1 && checkpointStep >= 100);
      const view = await cluster.waitForRun(RUN, (each) => training(each) !== undefined, 'in the middle of the student');
      await cluster.killWorker(cluster.workers.get(training(view)!.workerId)!);
    }
    await cluster.settled(RUN, 'succeeded');
    await cluster.stop();
    const evidence = await evidenceOf(cluster.home, RUN);
    expect(await problemsOf(evidence)).toEqual([]);
    expect(evidence.failures.map(({ code }) => code)).toEqual(killed ? ['LEASE_EXPIRED'] : []);
    const { lineage } = await studentOf(evidence);
    expect(lineage.training.distill).toEqual({ teacher: 'online', targets: 'hard', temperature: 1, share: 0.5, head: 'token' });
    return digestsOf(evidence);
  };
  expect(await outcome(true)).toEqual(await outcome(false));
}, RUNS_MS_MAX);
