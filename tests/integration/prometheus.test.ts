/**
 * What an operator looks at, looked at: a real Prometheus scrapes a real coordinator and real workers through a run that is disturbed, and every query of the dashboard
 * and of the alerts that ship is asked of it. A query that names what there is not, or that no run gives data to, fails here.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { loadManifest } from '../../dataset/index.ts';
import { Cluster } from '../harness/cluster.ts';
import { evidenceOf } from '../harness/evidence.ts';
import { allMetrics, metricsAsked } from '../harness/metrics.ts';
import { dashboard, filledIn } from '../harness/panels.ts';
import { DATASET, patternsHome, patternsRecipe } from '../harness/patterns.ts';
import { pause } from '../harness/processes.ts';
import { Prometheus, promtool, type Sample } from '../harness/prometheus.ts';
import { describeOnServers, freePorts } from '../harness/servers.ts';

const RUN = 'patterns-watched';
const WORKERS = ['worker-1', 'worker-2'];
const LOOK_MS = 500;
/** Far beyond what it takes until the next scrapes are in. */
const LOOKS_MS_MAX = 60_000;
const RUN_MS_MAX = 180_000;

const alertsFile = fileURLToPath(new URL('../../deploy/prometheus/alerts.yaml', import.meta.url));

/** An alert's expression as a quantity: it is looked whether there is something to compare, whatever it is compared with. */
const withoutComparisons = (expression: string): string => expression.replace(/\s*(?:==|!=|<=|>=|<|>)\s*\d+(?:\.\d+)?/g, '');

/** Queries, each until it has once had an answer that is a number. */
class Asked {
  readonly #waiting: Map<string, string>;
  readonly answers = new Map<string, readonly Sample[]>();

  /** @param queries by what they are of */
  constructor(queries: readonly (readonly [string, string])[]) {
    this.#waiting = new Map(queries);
  }

  get unanswered(): string[] {
    return [...this.#waiting].map(([of, query]) => `${of}: ${query}`);
  }

  async ask(prometheus: Prometheus): Promise<void> {
    for (const [of, query] of this.#waiting) {
      const numbers = (await prometheus.query(query)).filter(({ value }) => Number.isFinite(value));
      if (numbers.length === 0) continue;
      this.#waiting.delete(of);
      this.answers.set(of, numbers);
    }
  }
}

describeOnServers(['prometheus', 'promtool'], 'a run that Prometheus watches', () => {
  let template: Awaited<ReturnType<typeof patternsHome>>;
  let cluster: Cluster;
  let prometheus: Prometheus;
  let panels: Asked;
  let alerts: Asked;
  let fired: ReadonlySet<string>;
  let firedHealthy: ReadonlySet<string>;

  const look = async (): Promise<void> => {
    await panels.ask(prometheus);
    await alerts.ask(prometheus);
  };
  const sum = async (expression: string): Promise<number> => (await prometheus.query(expression)).reduce((total, { value }) => total + value, 0);
  const firing = async (): Promise<Set<string>> => new Set((await prometheus.query('ALERTS{alertstate="firing"}')).map(({ metric }) => metric.alertname ?? ''));
  /** Looks until it holds. */
  const lookUntil = async (holds: () => boolean | Promise<boolean>, what: string, withinMs = LOOKS_MS_MAX): Promise<void> => {
    const untilMs = Date.now() + withinMs;
    for (;;) {
      await look();
      if (await holds()) return;
      if (Date.now() > untilMs) throw new Error(`${what}\n${prometheus.log()}\n${cluster.tails()}`);
      await pause(LOOK_MS);
    }
  };

  beforeAll(async () => {
    template = await patternsHome();
    cluster = await Cluster.create({ template: template.home });
    cluster.keep();
    const [coordinatorPort, ...workerPorts] = await freePorts(1 + WORKERS.length);
    const at = (port: number | undefined): string => `127.0.0.1:${port}`;
    prometheus = await Prometheus.start(join(cluster.folder, 'prometheus'), [{ name: 'alumnus-coordinator', targets: [at(coordinatorPort)] }, { name: 'alumnus-worker', targets: workerPorts.map(at) }], [alertsFile]);
    panels = new Asked((await dashboard()).panels.flatMap(({ title, targets = [] }) => targets.map(({ expr }, nth) => [`${title} ${nth + 1}`, filledIn(expr)] as const)));
    alerts = new Asked((await prometheus.alerts()).map(({ name, query }) => [name, withoutComparisons(query)]));
    // Nobody leads, since nobody is there; then nobody is there to work.
    await lookUntil(() => alerts.answers.has('AlumnusNoLeader'), 'without a coordinator there is none that leads');
    await cluster.startCoordinator(['--metrics', at(coordinatorPort)]);
    const store = await cluster.openStore();
    const shard = (await loadManifest(store, DATASET)).manifest.parts.unlabeled?.shards[4];
    const file = cluster.objectFile(shard?.ref.key ?? '');
    const bytes = await readFile(file);
    bytes[600] = bytes[600]! ^ 1;
    await writeFile(file, bytes);
    await cluster.submit(patternsRecipe({ rounds: 1, quarantinedShare: 0.2 }), RUN);
    await lookUntil(() => alerts.answers.has('AlumnusNoWorkers'), 'tasks wait and nobody is there');
    await cluster.call((client, callback) => client.pauseRun({ runId: RUN, reason: 'to see it' }, callback));
    await lookUntil(() => alerts.answers.has('AlumnusRunPaused'), 'the run is paused');
    await cluster.resume(RUN);
    for (const [index, id] of WORKERS.entries()) cluster.startWorker(id, undefined, ['--metrics', at(workerPorts[index])]);
    let isKilled = false;
    await lookUntil(async () => {
      const view = await cluster.run(RUN);
      const busy = cluster.workers.get('worker-1');
      if (!isKilled && busy !== undefined && view.tasks.some(({ workerId }) => workerId === busy.id)) isKilled = await cluster.killEngine(busy);
      return view.summary?.state !== 'running';
    }, 'the run does not end', RUN_MS_MAX);
    await cluster.settled(RUN, 'succeeded');
    await lookUntil(() => panels.unanswered.length === 0 && alerts.unanswered.length === 0, 'some queries have no answer').catch(() => undefined);
    await lookUntil(async () => (await firing()).has('AlumnusShardsQuarantined'), 'nobody is told of the shard').catch(() => undefined);
    fired = await firing();
    firedHealthy = new Set((await prometheus.alerts()).filter(({ health }) => health === 'ok').map(({ name }) => name));
  });
  afterAll(async () => {
    await prometheus?.stop();
    await cluster?.remove();
    await template?.remove();
  });

  test('every query of the dashboard has had an answer that is a number', () => {
    expect(panels.unanswered).toEqual([]);
    expect(panels.answers.size).toBeGreaterThan(30);
  });

  test('every alert has had something to compare, and Prometheus evaluates it', async () => {
    expect(alerts.unanswered).toEqual([]);
    const names = (await prometheus.alerts()).map(({ name }) => name);
    expect(names.length).toBeGreaterThan(10);
    expect([...firedHealthy].sort()).toEqual([...names].sort());
  });

  test('what happened is what is seen: a shard given up, an engine that died, attempts that were lost', async () => {
    expect(await sum('alumnus_shards_quarantined_total')).toBe(1);
    expect(await sum('alumnus_engine_restarts_total{reason="crashed"}')).toBe(1);
    expect(await sum('alumnus_leases_lost_total{reason="ENGINE_CRASHED"}')).toBeGreaterThanOrEqual(1);
    expect(await sum('alumnus_store_errors_total{job="alumnus-worker"}')).toBeGreaterThanOrEqual(2);
    expect(fired).toContain('AlumnusShardsQuarantined');
    for (const well of ['AlumnusNoLeader', 'AlumnusTwoLeaders', 'AlumnusNoWorkers', 'AlumnusRunFailed', 'AlumnusJournalSlow', 'AlumnusEnginesDie']) expect(fired).not.toContain(well);
  });

  test('every metric of ours was scraped', async () => {
    const seen = new Set((await prometheus.names()).filter((name) => name.startsWith('alumnus_')).map((name) => name.replace(/_(bucket|sum|count)$/, '')));
    expect([...seen].sort()).toEqual([...new Set(allMetrics().map(({ name }) => name))].sort());
  });

  test('the alerts fire where they should and nowhere else, by promtool', () => {
    expect(promtool('check', 'rules', alertsFile)).toMatchObject({ code: 0, said: expect.stringContaining('SUCCESS') });
    expect(promtool('test', 'rules', alertsFile.replace(/\.yaml$/, '.test.yaml'))).toMatchObject({ code: 0 });
  });

  test('workers count as done what the journal holds as completed', async () => {
    const done = await sum('alumnus_worker_tasks_total{outcome="done"}');
    await cluster.stop();
    expect(done).toBe((await evidenceOf(cluster.home, RUN)).completions.length);
  });
});

test('each metric of ours is on the dashboard, and every panel says what it shows and in which unit', async () => {
  const { panels, templating, uid } = await dashboard();
  const shown = panels.filter(({ type }) => type !== 'row');
  expect(metricsAsked(shown.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr)).join('\n')).sort()).toEqual([...new Set(allMetrics().map(({ name }) => name))].sort());
  expect([uid, templating.list.find(({ type }) => type === 'datasource')]).toEqual(['alumnus', expect.objectContaining({ name: 'datasource', query: 'prometheus' })]);
  for (const { title, description = '', fieldConfig, targets = [] } of shown) {
    expect(description, title).not.toBe('');
    expect(fieldConfig?.defaults.unit, title).toBeTypeOf('string');
    expect(fieldConfig?.defaults.thresholds?.steps.length, title).toBeGreaterThan(0);
    expect(targets.length, title).toBeGreaterThan(0);
    for (const { legendFormat, datasource } of targets) expect([legendFormat, datasource.uid], title).toEqual([expect.stringMatching(/./), expect.stringMatching(/^\$\{datasource\}$/)]);
  }
});
