/**
 * kill -9 of the leading coordinator, again and again, on real NATS (three servers) and MinIO, with a standby that takes
 * over and workers that go on. Printed: the time from each kill to the next lease that anybody is granted, with median and
 * range. Asserted: every run succeeds, nothing accepted is lost or counted twice, at most one task a worker is done again
 * for each kill, the bucket agrees with the journal, and a run's bytes are those of the undisturbed run.
 *
 *   ALUMNUS_FAILOVER_KILLS  how many kills (default 20)
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Event } from '../../proto/gen/alumnus/v1/events.ts';
import { openStore } from '../../store/index.ts';
import { copyDatasets, disagreements, toldFacts } from '../harness/agreement.ts';
import { Cluster, removeClusters } from '../harness/cluster.ts';
import { digestsOf, evidenceIn, evidenceOf, problemsOf } from '../harness/evidence.ts';
import { patternsHome, patternsRecipe } from '../harness/patterns.ts';
import { pause } from '../harness/processes.ts';
import { RealCluster, type Coordinator } from '../harness/real-cluster.ts';
import { describeOnServers } from '../harness/servers.ts';

const KILLS = Number(process.env.ALUMNUS_FAILOVER_KILLS ?? 20);
const WORKERS = ['worker-1', 'worker-2'];
/** Two at a time, so that there is always work to grant. */
const RUNS_AT_ONCE = 2;
const REFERENCE = 'failover-1';
const GRANT_MS_MAX = 60_000;
/** Kills count as failed attempts at the worst; none of them may cost a shard. */
const recipe = patternsRecipe({ attempts: 20, rounds: 4 });

interface Failover {
  readonly killed: string;
  readonly ms: number;
}

describeOnServers(['nats-server', 'minio'], 'a coordinator with a standby', () => {
  let cluster: RealCluster;
  let template: Awaited<ReturnType<typeof patternsHome>>;
  let reference: Record<string, string>;

  beforeAll(async () => {
    template = await patternsHome();
    const undisturbed = await Cluster.create({ template: template.home });
    await undisturbed.start(WORKERS);
    await undisturbed.submit(recipe, REFERENCE);
    await undisturbed.settled(REFERENCE, 'succeeded');
    await undisturbed.stop();
    reference = digestsOf(await evidenceOf(undisturbed.home, REFERENCE));
    await removeClusters();
    cluster = await RealCluster.start();
    await copyDatasets(await openStore(`file://${template.home}/store`), await cluster.openStore());
    for (const id of WORKERS) cluster.startWorker(id);
  });

  afterAll(async () => {
    await cluster.stop();
    await template.remove();
  });

  test(`${KILLS} kills of whoever leads`, async () => {
    const submitted: string[] = [];
    const running = async (): Promise<number> => {
      const { runs } = await cluster.operator.runs();
      return runs.filter((run) => run.state === 'running').length;
    };
    const refill = async (): Promise<void> => {
      for (let many = await running(); many < RUNS_AT_ONCE; many += 1) {
        const runId = `failover-${submitted.length + 1}`;
        await cluster.operator.submit(recipe, runId);
        submitted.push(runId);
      }
    };
    await refill();
    const failovers: Failover[] = [];
    while (failovers.length < KILLS) {
      const leader = await cluster.leader();
      await grantOf(cluster, leader, 0);
      await pause(200 + Math.random() * 1_300);
      await refill();
      const killMs = Date.now();
      leader.child.kill('SIGKILL');
      await leader.child.ended;
      const grantMs = await Promise.any(cluster.coordinators.filter((each) => each !== leader).map((each) => grantOf(cluster, each, killMs)));
      failovers.push({ killed: leader.name, ms: grantMs - killMs });
      cluster.restart(leader);
    }
    for (const runId of submitted) await cluster.waitForRun(runId, (view) => view.summary?.state === 'succeeded', 'succeeded');

    const { problems, unjournalled } = await disagreements(cluster, submitted);
    expect(problems).toEqual([]);
    const store = await cluster.openStore();
    const all: Event[] = [];
    for (const runId of submitted) {
      const facts = await toldFacts(store, runId);
      all.push(...facts);
      expect(await problemsOf(evidenceIn(facts, store, runId))).toEqual([]);
    }
    expect(digestsOf(evidenceIn(all, store, REFERENCE))).toEqual(reference);

    const redone = WORKERS.flatMap((id) => cluster.log(id).split('\n').filter((line) => /(was not taken|is dropped): /.test(line)));
    const failures = all.flatMap(({ fact }) => (fact?.$case === 'taskFailed' ? [`${fact.value.workerId} ${fact.value.place?.taskId} ${fact.value.code}`] : []));
    const ms = failovers.map((each) => each.ms).sort((a, b) => a - b);
    const median = ((ms[(ms.length - 1) >> 1] ?? 0) + (ms[ms.length >> 1] ?? 0)) / 2;
    console.log([
      `failover: ${KILLS} kills of the leading coordinator, NATS R3 and MinIO, ${WORKERS.length} workers, ${submitted.length} runs`,
      `from kill to the next granted lease: median ${median} ms, ${ms[0]} to ${ms.at(-1)} ms`,
      `each: ${failovers.map((each) => each.ms).join(' ')}`,
      `manifests left unjournalled by a killed leader: ${unjournalled}`,
      `done again: ${redone.length + failures.length} tasks (${redone.length} results or leases not taken, ${failures.length} failed attempts) of at most ${KILLS * WORKERS.length}`,
    ].join('\n'));
    expect(redone.length + failures.length, [...redone, ...failures].join('\n')).toBeLessThanOrEqual(KILLS * WORKERS.length);
  });
});

/** When the coordinator first granted a lease in its newest term, in Unix milliseconds, later than `afterMs`. */
async function grantOf(cluster: RealCluster, coordinator: Coordinator, afterMs: number): Promise<number> {
  const untilMs = Date.now() + GRANT_MS_MAX;
  while (Date.now() < untilMs) {
    const [, at = ''] = [...cluster.log(coordinator.name).matchAll(/^(\S+) coordinator grants the first lease of term \d+$/gm)].at(-1) ?? [];
    const atMs = Date.parse(at);
    if (atMs > afterMs) return atMs;
    await pause(20);
  }
  throw new Error(`${coordinator.name} granted nothing\n${cluster.tails()}`);
}
