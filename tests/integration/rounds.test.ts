/**
 * A student on several workers, by real processes: a worker that is killed in a round costs that round a lease and nothing
 * else, and who joins or leaves between rounds is counted in or out.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { RunView } from '../../proto/gen/alumnus/v1/operator.ts';
import { partOf } from '../../proto/subjects.ts';
import { canSeeProcesses } from '../harness/child.ts';
import { Cluster, useClusters } from '../harness/cluster.ts';
import { digestsOf, evidenceOf, problemsOf, type Evidence } from '../harness/evidence.ts';
import { patternsHome, patternsRecipe } from '../harness/patterns.ts';
import { pause } from '../harness/processes.ts';

const RUN = 'patterns-rounds';
/** Some tenths of a second: a worker that is seen at it is still at it when it is killed. */
const LOCAL_STEPS = 200;

const recipe = (replicas: number | 'auto', rounds: number): string => patternsRecipe({ rounds: 0, control: false, attempts: 20 })
  .replace(/ladder:\n(.*)\n.*\n/, 'ladder:\n$1\n')
  .replace('teacher: { steps: 30, batch_labeled: 16 }', `replicas: ${replicas}\n  sharing: { local_steps: ${LOCAL_STEPS}, quorum: 1 }\n  teacher: { steps: ${rounds * LOCAL_STEPS}, batch_labeled: 16 }`)
  .replace('ema_decay: 0.8', 'ema_decay: 0.8\n  checkpoint_steps: 50');

useClusters();
let template: Awaited<ReturnType<typeof patternsHome>>;
beforeAll(async () => {
  template = await patternsHome();
});
afterAll(() => template.remove());

async function played(replicas: number | 'auto', rounds: number, workers: readonly string[], disturb: (cluster: Cluster) => Promise<void> = () => Promise.resolve()): Promise<Evidence & { readonly problems: string[] }> {
  const cluster = await Cluster.create({ template: template.home });
  await cluster.start(workers);
  await cluster.submit(recipe(replicas, rounds), RUN);
  await disturb(cluster);
  await cluster.settled(RUN, 'succeeded');
  await cluster.stop();
  const evidence = await evidenceOf(cluster.home, RUN);
  return { ...evidence, problems: await problemsOf(evidence) };
}

const inRound = (cluster: Cluster, round: number, replicas: number, there: (view: RunView) => boolean = () => true): Promise<RunView> =>
  cluster.waitForRun(RUN, (view) => view.sharedTrainings.some((training) => training.round >= round && training.replicas === replicas) && there(view), `in round ${round} with ${replicas} replicas`);
/** A worker that is well into a replica. */
const atWork = (view: RunView): string | undefined => view.tasks.find(({ task, state, progress }) => task !== undefined && partOf(task)?.replica !== undefined && state === 'leased' && Number(progress?.done ?? 0) > 0)?.workerId;

/** Whatever the run's rounds are at, another begins only when this has happened. */
async function betweenRounds(cluster: Cluster, happen: () => Promise<unknown>, workers: number): Promise<void> {
  await cluster.call((client, callback) => client.pauseRun({ runId: RUN, reason: 'the fleet changes' }, callback));
  await happen();
  while ((await cluster.status()).workers !== workers) await pause(50);
  await cluster.resume(RUN);
}

/** Replicas of each round that was opened, and how many of them were merged. */
const roundsOf = ({ events }: Evidence): { opened: number[]; merged: number[] } => ({
  opened: events.flatMap(({ fact }) => (fact?.$case === 'roundOpened' ? [fact.value.replicas] : [])),
  merged: events.flatMap(({ fact }) => (fact?.$case === 'roundClosed' ? [fact.value.replicas.length] : [])),
});

describe.skipIf(!canSeeProcesses)('a training that several workers share', () => {
  test('ends with the same bytes where one of them is killed in a round', async () => {
    const undisturbed = await played(2, 2, ['worker-1', 'worker-2']);
    expect(undisturbed.problems).toEqual([]);
    expect(roundsOf(undisturbed)).toEqual({ opened: [2, 2], merged: [2, 2] });
    const trained = undisturbed.completions.flatMap(({ result }) => (result.$case === 'merge' && result.value.trained !== undefined ? [result.value.trained] : []));
    // Two replicas make all steps each, of 16 images.
    expect(trained).toMatchObject([{ steps: 2 * LOCAL_STEPS, images: 2 * 2 * LOCAL_STEPS * 16 }]);
    const killed = await played(2, 2, ['worker-1', 'worker-2'], async (cluster) => {
      const view = await inRound(cluster, 0, 2, (each) => atWork(each) !== undefined);
      await cluster.killWorker(cluster.workers.get(atWork(view)!)!);
    });
    expect(killed.problems).toEqual([]);
    expect(killed.failures.map(({ code }) => code)).toEqual(['LEASE_EXPIRED']);
    expect(digestsOf(killed)).toEqual(digestsOf(undisturbed));
  });

  test('has as many replicas as there are workers when a round begins: it grows by one who joins and shrinks by one who is killed', async () => {
    const evidence = await played('auto', 3, ['worker-1', 'worker-2'], async (cluster) => {
      await inRound(cluster, 0, 2);
      await betweenRounds(cluster, () => Promise.resolve(cluster.startWorker('worker-3')), 3);
      const view = await inRound(cluster, 1, 3, (each) => atWork(each) !== undefined);
      await betweenRounds(cluster, () => cluster.killWorker(cluster.workers.get(atWork(view)!)!), 2);
    });
    expect(evidence.problems).toEqual([]);
    // With a quorum of all nobody is left out: what the killed worker had was done by another.
    expect(roundsOf(evidence)).toEqual({ opened: [2, 3, 2], merged: [2, 3, 2] });
  });
});
