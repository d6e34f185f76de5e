/** What a coordinator's metrics say of a run that is played under a leader, read as Prometheus reads them. Counts and times are worked by hand. */
import { expect, test } from 'vitest';
import { CoordinatorMetrics } from '../../../coordinator/metrics.ts';
import { serveMetrics } from '../../../telemetry/index.ts';
import { AlumnusError } from '../../../proto/errors.ts';
import { Scene } from './scene.ts';
import { answer, makeData, makeRecipe } from './work.ts';

const NAME = /^([a-z_]+)(\{[^}]*\})? (\S+)$/;

/** Each series of ours with its value, as `name{label="value"}`; buckets left out. */
async function read(address: string): Promise<Map<string, number>> {
  const text = await (await fetch(`http://${address}/metrics`)).text();
  const lines = text.split('\n').filter((line) => line.startsWith('alumnus_') && !line.includes('_bucket'));
  return new Map(lines.map((line) => {
    const [, name = '', labels = '', value = ''] = NAME.exec(line) ?? [];
    expect(name, line).not.toBe('');
    return [`${name}${labels}`, Number(value)];
  }));
}

test('says what waits, what runs, what was lost and what came of it', async () => {
  const metrics = new CoordinatorMetrics();
  const server = await serveMetrics(metrics.registry, '127.0.0.1:0');
  try {
    const standby = await read(server.address);
    expect(standby.get('alumnus_leader')).toBe(0);
    expect([...standby.keys()].filter((name) => /^alumnus_(runs|tasks|workers)\{/.test(name))).toEqual([]);

    const scene = new Scene();
    const [journal, store] = [metrics.journal(scene.disk.open()), metrics.store(scene.store)];
    const leader = await scene.lead(10_000, scene.disk, { journal, store, observe: (observation, atMs) => metrics.observe(observation, atMs) });
    metrics.leads(leader);
    await leader.command('run', { kind: 'submit', runId: 'run', recipe: makeRecipe({ rounds: 1, control: false }), data: makeData({ shards: 3 }) });
    scene.register(leader, 3, 'w1');
    const next = async (waitMs: number, ranMs: number): Promise<void> => {
      scene.nowMs += waitMs;
      const [lease] = leader.grant('w1', 1, []);
      const task = lease?.task;
      if (task === undefined) throw new Error('a task is open');
      scene.nowMs += ranMs;
      await leader.command('run', { kind: 'complete', task, workerId: 'w1', result: answer(task) });
    };
    await next(2_000, 60_000);
    await next(0, 4_000);
    // Three shards: one lease is lost after 1 s, and waits 29 s longer than the others.
    const [lost] = leader.grant('w1', 1, []);
    const live = leader.scheduler.workers()[0]?.leases[0];
    if (live === undefined || lost === undefined) throw new Error('a shard is leased');
    scene.nowMs += 1_000;
    await leader.failLease(live, 'ENGINE_CRASHED', 'died', true);
    const waiting = await read(server.address);
    expect([waiting.get('alumnus_tasks{kind="label",stage="label",state="waiting"}'), waiting.get('alumnus_tasks{kind="label",stage="label",state="backing_off"}')]).toEqual([2, 1]);
    leader.grant('w1', 1, []);
    expect((await read(server.address)).get('alumnus_tasks{kind="label",stage="label",state="leased"}')).toBe(1);
    expect((await read(server.address)).get('alumnus_workers{state="live"}')).toBe(1);
    scene.nowMs += 60_000;
    const after = await read(server.address);
    expect(after.get('alumnus_workers{state="silent"}')).toBe(1);
    expect(Object.fromEntries([...after].filter(([name]) => /^alumnus_(leader|term|runs|leases|images|journal_facts|task_|commands)/.test(name)))).toMatchObject({
      alumnus_leader: 1, alumnus_leader_changes_total: 1, alumnus_term: 1, 'alumnus_runs{state="running"}': 1, alumnus_commands_waiting: 0,
      'alumnus_leases_lost_total{kind="label",reason="ENGINE_CRASHED"}': 1,
      // makeRecipe's teacher: 1,000 steps of 32 images.
      alumnus_images_trained_total: 32_000, alumnus_images_labeled_total: 0,
      'alumnus_task_wait_seconds_count{kind="train",stage="train"}': 1, 'alumnus_task_wait_seconds_sum{kind="train",stage="train"}': 2, 'alumnus_task_run_seconds_sum{kind="train",stage="train"}': 60,
      'alumnus_task_run_seconds_sum{kind="evaluate",stage="evaluate"}': 4,
      // At once, and a second after it was open for one of those that were not lost.
      'alumnus_task_wait_seconds_count{kind="label",stage="label"}': 2, 'alumnus_task_wait_seconds_sum{kind="label",stage="label"}': 1,
    });
    // The submission, two results, a failure.
    expect(after.get('alumnus_journal_append_seconds_count')).toBe(4);
    expect(after.get('alumnus_store_operation_seconds_count{operation="putAddressed"}')).toBeGreaterThan(0);

    await store.get({ key: 'nowhere', sha256: 'f'.repeat(64), bytes: 1 }).catch(() => undefined);
    leader.stop(new AlumnusError('NOT_LEADER', 'this coordinator stops'));
    const stopped = await read(server.address);
    expect([stopped.get('alumnus_leader'), stopped.get('alumnus_store_errors_total{operation="get",code="OBJECT_NOT_FOUND"}')]).toEqual([0, 1]);
  } finally {
    await server.close();
  }
});

test('answers nothing else, and says where the port is taken', async () => {
  const { registry } = new CoordinatorMetrics();
  const server = await serveMetrics(registry, '127.0.0.1:0');
  try {
    expect((await fetch(`http://${server.address}/`)).status).toBe(404);
    expect((await fetch(`http://${server.address}/metrics`, { method: 'POST' })).status).toBe(404);
    await expect(serveMetrics(registry, server.address)).rejects.toMatchObject({ code: 'PORT_IN_USE', where: `--metrics ${server.address}` });
    await expect(serveMetrics(registry, 'no-such-host.invalid:1')).rejects.toMatchObject({ code: 'USAGE' });
    for (const listen of ['9464', 'localhost:', 'localhost:x', 'localhost:65536']) await expect(serveMetrics(registry, listen)).rejects.toMatchObject({ code: 'USAGE', where: '--metrics', message: 'must be host:port' });
  } finally {
    await server.close();
  }
});

test('what waits does not wait while its run is paused, while a straggler has it, or while nobody leads; a grant that was taken back has waited again', async () => {
  const metrics = new CoordinatorMetrics();
  const server = await serveMetrics(metrics.registry, '127.0.0.1:0');
  try {
    const scene = new Scene();
    const leader = await scene.lead(10_000_000, scene.disk, { observe: (observation, atMs) => metrics.observe(observation, atMs) });
    metrics.leads(leader);
    scene.register(leader, 3, 'w1');
    await leader.command('run', { kind: 'submit', runId: 'run', recipe: makeRecipe({ rounds: 1, control: false }), data: makeData({ shards: 3 }) });
    const waited = async (): Promise<[number | undefined, number | undefined]> => {
      const series = await read(server.address);
      return [series.get('alumnus_task_wait_seconds_count{kind="train",stage="train"}'), series.get('alumnus_task_wait_seconds_sum{kind="train",stage="train"}')];
    };
    scene.nowMs += 1_000;
    await leader.command('run', { kind: 'pause', reason: 'asked for' });
    scene.nowMs += 100_000;
    expect((await read(server.address)).get('alumnus_tasks{kind="train",stage="train",state="paused"}')).toBe(1);
    await leader.command('run', { kind: 'resume', inFlightMs: 0 });
    scene.nowMs += 2_000;
    const taken = leader.grant('w1', 1, []);
    expect(await waited()).toEqual([1, 2]);
    leader.takeBack(taken);
    scene.nowMs += 3_000;
    expect(leader.grant('w1', 1, [])).toHaveLength(1);
    expect(await waited()).toEqual([2, 5]);
    // It leads again after a while: its leases were granted before.
    metrics.leads(leader);
    expect(await waited()).toEqual([2, 5]);
  } finally {
    await server.close();
  }
});

test('what an earlier leader granted has not waited when a straggler is given to a second worker', async () => {
  const metrics = new CoordinatorMetrics();
  const server = await serveMetrics(metrics.registry, '127.0.0.1:0');
  try {
    const scene = new Scene();
    const shards = 9;
    const before = await scene.lead(10_000_000);
    await before.command('run', { kind: 'submit', runId: 'run', recipe: makeRecipe({ rounds: 1, control: false }), data: makeData({ shards }) });
    scene.register(before, 3, 'w1');
    for (let made = 0; made < 2; made += 1) {
      const [lease] = before.grant('w1', 1, []);
      if (lease?.task === undefined) throw new Error('a task is open');
      await before.command('run', { kind: 'complete', task: lease.task, workerId: 'w1', result: answer(lease.task) });
    }
    const [straggler] = before.grant('w1', 1, []);
    if (straggler?.task === undefined) throw new Error('a shard is open');

    const leader = await scene.lead(10_000_000, scene.disk, { observe: (observation, atMs) => metrics.observe(observation, atMs) });
    metrics.leads(leader);
    leader.scheduler.register({ workerId: 'w1', host: 'h', processId: 1, device: 'd', slots: 3, version: 'v' }, [{ leaseId: straggler.leaseId, taskId: straggler.task.taskId, progress: undefined, checkpoint: undefined }], scene.nowMs);
    scene.register(leader, 3, 'w2');
    scene.nowMs = leader.grantsFromMs;
    // All others are done in a moment, so that the one that was adopted takes long.
    for (let made = 1; made < shards; made += 1) {
      const [lease] = leader.grant('w2', 1, []);
      if (lease?.task === undefined) throw new Error('a shard is open');
      scene.nowMs += 10;
      await leader.command('run', { kind: 'complete', task: lease.task, workerId: 'w2', result: answer(lease.task) });
    }
    const counted = async (): Promise<number | undefined> => (await read(server.address)).get('alumnus_task_wait_seconds_count{kind="label",stage="label"}');
    expect(await counted()).toBe(shards - 1);
    scene.nowMs += 600_000;
    expect(leader.grant('w2', 1, []).map(({ task }) => task?.taskId)).toEqual([straggler.task.taskId]);
    expect(await counted()).toBe(shards - 1);
  } finally {
    await server.close();
  }
});

test('tars that an operator has indexed are open tasks, too', async () => {
  const metrics = new CoordinatorMetrics();
  const server = await serveMetrics(metrics.registry, '127.0.0.1:0');
  try {
    const scene = new Scene();
    const leader = await scene.lead(10_000_000, scene.disk, { observe: (observation, atMs) => metrics.observe(observation, atMs) });
    metrics.leads(leader);
    scene.register(leader, 1, 'w1');
    const tar = (key: string) => ({ key, bytes: 1, writtenMs: 1 });
    const id = leader.indexing.open('x', { location: 's3://tars', labeled: false, tars: [tar('a'), tar('b'), tar('c')] }, { done: () => undefined, failed: () => undefined });
    expect(leader.grant('w1', 1, [])).toHaveLength(1);
    const open = async (): Promise<Record<string, number>> => Object.fromEntries([...(await read(server.address))].filter(([series]) => series.startsWith('alumnus_tasks')));
    expect(await open()).toEqual({ 'alumnus_tasks{kind="index",stage="",state="leased"}': 1, 'alumnus_tasks{kind="index",stage="",state="waiting"}': 2 });
    leader.indexing.close(id);
    expect(await open()).toEqual({});
  } finally {
    await server.close();
  }
});
