/** The page's API over real HTTP: what it tells, whom, and what it refuses. */
import { request } from 'node:http';
import { afterEach, describe, expect, test } from 'vitest';
import { runView, workerView } from '../../../../coordinator/api/index.ts';
import type { Leader } from '../../../../coordinator/leader.ts';
import { openTasks } from '../../../../coordinator/run/index.ts';
import { pageDocument } from '../../../../proto/machine.ts';
import { Scene } from '../scene.ts';
import { answer, makeData, makeRecipe } from '../work.ts';
import { accessOf, Reader, Served, STORE_URL } from './served.ts';

const RUN = 'digits-1';
const LEASE_MS = 60_000;
const endings: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of endings.splice(0).reverse()) await end();
});

interface Begun {
  readonly scene: Scene;
  readonly leader: Leader;
  readonly served: Served;
}

async function begin({ access, shards = 4 }: { access?: ReturnType<typeof accessOf>; shards?: number } = {}): Promise<Begun> {
  const scene = new Scene();
  const leader = await scene.lead(LEASE_MS);
  await leader.command(RUN, { kind: 'submit', runId: RUN, recipe: makeRecipe({ control: false }), data: makeData({ shards, truth: true }) });
  const served = await Served.start(leader, access === undefined ? {} : { access });
  endings.push(() => served.server.close());
  return { scene, leader, served };
}

/** The first teacher is trained and evaluated: shards are to be labeled. */
async function toLabels(leader: Leader): Promise<void> {
  for (let step = 0; step < 2; step += 1) {
    const [task] = openTasks(leader.run(RUN));
    if (task === undefined) throw new Error('a task is open');
    await leader.command(RUN, { kind: 'complete', task, workerId: 'w1', result: answer(task) });
  }
}

function reader(served: Served, path: string, token?: string): Reader {
  const one = new Reader(served, path, token);
  endings.push(() => one.close());
  return one;
}

describe('what is told', () => {
  test('a run is the document that the command line prints, with its project and what may be asked of it', async () => {
    const { leader, served } = await begin();
    await toLabels(leader);
    const { body } = await served.json(`runs/${RUN}`);
    const expected = JSON.parse(JSON.stringify(pageDocument('Run', runView(leader, leader.run(RUN), STORE_URL)))) as { summary: object };
    expect(body).toEqual({ ...expected, tasksUntold: 0 });
    expect(body.summary).toMatchObject({ project: 'default', commands: ['pause', 'rollback', 'cancel', 'kill'] });
    expect((await served.json('runs')).body).toMatchObject({ kind: 'RunList', runs: [body.summary] });
    expect((await served.json('status')).body).toMatchObject({ kind: 'Status', role: 'leader', storeUrl: STORE_URL });
  });

  test('the shard map holds each shard of the stage once, with who has it', async () => {
    const { scene, leader, served } = await begin();
    await toLabels(leader);
    scene.register(leader, 1, 'w1');
    const [lease] = leader.grant('w1', 1, []);
    scene.nowMs += 1;
    leader.scheduler.renew('w1', [{ leaseId: lease?.leaseId, taskId: lease?.task?.taskId ?? '', progress: { done: 25, total: 100, unit: 'images', rate: 5, loss: 0 }, checkpoint: undefined }], scene.nowMs);
    const [, done] = openTasks(leader.run(RUN));
    if (done === undefined) throw new Error('a second shard is open');
    await leader.command(RUN, { kind: 'complete', task: done, workerId: 'w2', result: answer(done) });
    const { body } = await served.json(`runs/${RUN}/shards`);
    expect(body).toMatchObject({ kind: 'ShardMap', iteration: 1, stage: 'label' });
    expect(body.cells).toEqual({ 'shard-00000': ['leased', 'w1', 0.25], 'shard-00001': ['done'], 'shard-00002': ['waiting'], 'shard-00003': ['waiting'] });
    expect((await served.json(`runs/${RUN}/shards/shard-00000`)).body).toMatchObject({ taskId: lease?.task?.taskId, samples: 100 });
    expect((await served.json(`runs/${RUN}/shards/other`)).status).toBe(400);
  });

  test('of thousands of tasks under way those that failed are told, and how many are not; all where that is asked for', async () => {
    const { scene, leader, served } = await begin({ shards: 250 });
    await toLabels(leader);
    const ids = Array.from({ length: 240 }, (_, at) => `w${at}`);
    scene.register(leader, 1, ...ids);
    const leases = ids.flatMap((id) => leader.grant(id, 1, []));
    const failed = leases.at(-1)!;
    await leader.failLease(leader.scheduler.lease(failed.leaseId!)!, 'ENGINE_CRASHED', 'it fell over', true);
    const { body } = await served.json(`runs/${RUN}`);
    expect([body.tasks.length, body.tasksUntold]).toEqual([200, 40]);
    expect(body.tasks[0]).toMatchObject({ failures: 1, lastError: 'ENGINE_CRASHED: it fell over', task: { taskId: failed.task!.taskId } });
    const all = (await served.json(`runs/${RUN}?tasks=all`)).body;
    expect([all.tasks.length, all.tasksUntold]).toEqual([240, 0]);
    const one = reader(served, `stream?run=${RUN}`);
    await one.until('the run', () => one.documents.has('run'));
    expect([one.field('run', 'tasks'), one.field('run', 'tasksUntold')]).toEqual([body.tasks, 40]);
  });

  test('of many workers a part is told, counted and searched', async () => {
    const { scene, leader, served } = await begin({ shards: 30 });
    await toLabels(leader);
    const ids = Array.from({ length: 25 }, (_, at) => `worker-${String(at).padStart(3, '0')}`);
    scene.register(leader, 1, ...ids);
    for (const id of ids.slice(0, 10)) leader.grant(id, 1, [leader.run(RUN).teacher?.model.sha256 ?? '']);
    const part = (await served.json('workers?from=8&count=4')).body;
    expect(part).toMatchObject({ kind: 'WorkerList', counts: { busy: 10, idle: 15, lost: 0 }, matching: 25, from: 8 });
    expect(part.workers.map((each: { workerId: string; state: string }) => [each.workerId, each.state])).toEqual([['worker-008', 'busy'], ['worker-009', 'busy'], ['worker-010', 'idle'], ['worker-011', 'idle']]);
    expect(part.workers[0]).toMatchObject({ task: { runId: RUN, iteration: 1, stage: 'label' }, teacher: { runId: RUN, iteration: 0 } });
    const all = (await served.json('workers')).body;
    for (const { worker, leases } of leader.scheduler.workers()) expect(all.workers.find((each: { workerId: string }) => each.workerId === worker.workerId)).toMatchObject(JSON.parse(JSON.stringify(workerView({ worker, leases }, true))) as object);
    expect((await served.json('workers?state=busy&search=-00')).body).toMatchObject({ matching: 10 });
    expect((await served.json('workers?search=worker-024')).body.workers).toHaveLength(1);
    expect((await served.json('workers/worker-003')).body).toMatchObject({ workerId: 'worker-003', state: 'busy' });
    // It is silent for longer than a lease.
    scene.nowMs += LEASE_MS + 1;
    leader.touch();
    expect((await served.json('workers?count=1')).body.counts).toEqual({ busy: 0, idle: 0, lost: 25 });
  });

  test('events tell the facts that no manifest holds, and tasks why they wait', async () => {
    const { leader, served } = await begin();
    await toLabels(leader);
    for (const task of openTasks(leader.run(RUN)).slice(0, 2)) await leader.command(RUN, { kind: 'complete', task, workerId: 'w1', result: answer(task) });
    const { events } = (await served.json(`runs/${RUN}/events`)).body;
    expect(events.slice(-2)).toMatchObject([0, 1].map((at) => ({ kind: 'taskCompleted', workerId: 'w1', iteration: 1, text: `label shard-0000${at} of iteration 1 is done, by w1` })));
    expect(events.map((each: { number: number }) => each.number)).toEqual(events.map((_: unknown, at: number) => events[0].number + at));
    expect((await served.json(`runs/${RUN}/events?after=${events.at(-1).number - 1}`)).body.events).toHaveLength(1);
    await leader.command(RUN, { kind: 'pause', reason: 'lunch' });
    const task = leader.scheduler.tasksOf(RUN)[0]!.task;
    const { body } = await served.json(`runs/${RUN}/tasks/${task.taskId}/explain`);
    expect(body).toMatchObject({ kind: 'TaskExplanation', state: 'waiting' });
    expect(body.reasons[0]).toMatchObject({ kind: 'run', text: 'the run is paused: lunch' });
  });

  test('an answer is not sent again to who has it', async () => {
    const { served } = await begin();
    const first = await served.fetch('api/v1/runs');
    const etag = first.headers.get('etag') ?? '';
    expect((await served.fetch('api/v1/runs', { headers: { 'if-none-match': etag } })).status).toBe(304);
    expect(Number(first.headers.get('content-length') ?? '0')).toBe(Buffer.byteLength(await first.text()));
  });
});

describe('the stream', () => {
  test('tells documents whole, and then what changes of them', async () => {
    const { leader, served } = await begin();
    const one = reader(served, `stream?run=${RUN}`);
    await one.until('the run', () => one.documents.has('shards'));
    expect(one.field('run', 'summary').state).toBe('running');
    expect(one.field('runs', RUN)).toMatchObject({ state: 'running', iteration: 0 });
    await toLabels(leader);
    await one.until('the shards', () => one.documents.get('shards')?.size === 5);
    await leader.command(RUN, { kind: 'pause', reason: 'lunch' });
    await one.until('the pause', () => one.field('run', 'summary').reason === 'lunch');
    const full = (await served.json(`runs/${RUN}`)).body;
    const told = Object.fromEntries(one.documents.get('run') ?? []);
    for (const key of ['summary', 'iterations', 'tasks', 'stageDone', 'stageTotal', 'warnings', 'data', 'recipe']) expect(told[key], key).toEqual(full[key]);
    expect(one.documents.get('runs')?.get(RUN)).toEqual({ ...full.summary, teacherValidation: { ...full.summary.teacherValidation, classes: [] } });
    // Each document came whole once; the run changed since.
    for (const name of ['status', 'runs', 'run', 'shards']) expect(one.seen.filter((each) => each.name === name && (each.data as { whole?: true }).whole === true), name).toHaveLength(1);
    expect(one.seen.filter(({ name }) => name === 'run').length).toBeGreaterThan(1);
  });

  test('tells of a run that is not there, and of a leader that is no more', async () => {
    const { leader, served } = await begin();
    expect((await served.json('stream?run=other')).body).toMatchObject({ code: 'RUN_NOT_FOUND' });
    const one = reader(served, 'stream');
    await one.until('runs', () => one.documents.has('runs'));
    const { AlumnusError } = await import('../../../../proto/errors.ts');
    leader.stop(new AlumnusError('NOT_LEADER', 'another one leads', { where: 'b:7700' }));
    await one.until('the end', () => one.seen.at(-1)?.name === 'failed');
    expect(one.seen.at(-1)?.data).toMatchObject({ code: 'NOT_LEADER', leader: 'b:7700' });
  });
});

describe('who may do what', () => {
  const access = accessOf({ op: { 'default': 'operator', '*': 'operator' }, viewer: { 'default': 'viewer', '*': 'viewer' }, stranger: { birds: 'operator' } });

  test('without a token, or with nobody\'s, nothing is told', async () => {
    const { served } = await begin({ access });
    for (const token of [undefined, 'forged']) {
      for (const path of ['status', 'whoami', 'runs', `runs/${RUN}`, 'workers', 'stream', `stream?run=${RUN}`, `runs/${RUN}/shards`, `runs/${RUN}/events`, `runs/${RUN}/iterations/1/gallery`]) {
        const { status, body } = await served.json(path, token);
        expect([path, status, body.code]).toEqual([path, 401, 'ACCESS_UNAUTHENTICATED']);
      }
      expect((await served.post(`runs/${RUN}/pause`, token === undefined ? {} : { token })).status).toBe(401);
    }
    // The page itself is no secret: it asks for the token.
    expect((await served.fetch('')).status).toBe(200);
  });

  test('a viewer reads all and steers nothing', async () => {
    const { leader, served } = await begin({ access });
    expect((await served.json('whoami', 'viewer')).body).toMatchObject({ name: 'viewer', roles: { 'default': 'viewer', '*': 'viewer' } });
    expect((await served.json(`runs/${RUN}`, 'viewer')).status).toBe(200);
    expect((await served.json('workers', 'viewer')).status).toBe(200);
    for (const command of ['pause', 'resume', 'cancel']) {
      const refused = await served.post(`runs/${RUN}/${command}`, { token: 'viewer' });
      expect([command, refused.status, ((await refused.json()) as { code: string }).code]).toEqual([command, 403, 'ACCESS_REFUSED']);
    }
    expect(leader.run(RUN).phase).toBe('running');
  });

  test('who has no role in a run\'s project is told neither the run nor the fleet', async () => {
    const { served } = await begin({ access });
    expect((await served.json('runs', 'stranger')).body.runs).toEqual([]);
    expect((await served.json('whoami', 'stranger')).body.roles).toEqual({});
    for (const path of [`runs/${RUN}`, `runs/${RUN}/shards`, `runs/${RUN}/curves`, `runs/${RUN}/events`, `runs/${RUN}/tasks/t/explain`, `runs/${RUN}/iterations/1/histogram`, `stream?run=${RUN}`, 'workers', 'workers/w1']) expect([path, (await served.json(path, 'stranger')).status]).toEqual([path, 403]);
    const [theirs, ours] = [reader(served, 'stream', 'stranger'), reader(served, 'stream', 'op')];
    await ours.until('runs and fleet', () => ours.documents.has('fleet'));
    await theirs.until('runs', () => theirs.documents.has('runs'));
    expect([theirs.documents.get('runs')?.size, ours.documents.get('runs')?.size]).toEqual([0, 1]);
    expect(theirs.documents.has('fleet')).toBe(false);
  });

  test('a token that is taken back ends its stream', async () => {
    const tokens: Record<string, Record<string, 'viewer'>> = { guest: { 'default': 'viewer' } };
    const { served } = await begin({ access: accessOf(tokens) });
    const one = reader(served, `stream?run=${RUN}`, 'guest');
    await one.until('the run', () => one.documents.has('run'));
    delete tokens['guest'];
    await one.until('the end', () => one.seen.at(-1)?.name === 'failed', 20_000);
    expect(one.seen.at(-1)?.data).toMatchObject({ code: 'ACCESS_UNAUTHENTICATED' });
  });
});

describe('commands', () => {
  test('pause, resume and cancel do what they say, and answer with the run', async () => {
    const { leader, served } = await begin();
    const paused = await served.post(`runs/${RUN}/pause`, { body: { reason: 'lunch' } });
    expect(paused.status).toBe(200);
    expect(((await paused.json()) as { summary: object }).summary).toMatchObject({ state: 'paused', reason: 'lunch', commands: ['resume', 'cancel', 'kill'] });
    expect((await served.json(`runs/${RUN}`)).body.summary.state).toBe('paused');
    expect((await served.post(`runs/${RUN}/resume`)).status).toBe(200);
    expect(leader.run(RUN).phase).toBe('running');
    expect((await served.post(`runs/${RUN}/cancel`, { body: { reason: 'enough' } })).status).toBe(200);
    expect(leader.run(RUN)).toMatchObject({ phase: 'cancelled', reason: 'enough' });
    const late = await served.post(`runs/${RUN}/pause`);
    expect([late.status, ((await late.json()) as { code: string }).code]).toEqual([409, 'RUN_CONFLICT']);
    expect((await served.json(`runs/${RUN}`)).body.summary.commands).toEqual(['retry']);
    expect((await served.post(`runs/${RUN}/retry`)).status).toBe(200);
    expect(leader.run(RUN).phase).toBe('running');
    expect((await served.post(`runs/${RUN}/promote`, { body: { iteration: 7 } })).status).toBe(409);
    expect((await served.post(`runs/${RUN}/rollback`, { body: { iteration: 'one' } })).status).toBe(400);
    expect((await served.post(`runs/${RUN}/kill`, { body: { reason: 'now' } })).status).toBe(200);
    expect(leader.run(RUN)).toMatchObject({ phase: 'cancelled', reason: 'now' });
  });

  test('none is taken from a page of another site, or in a form that a page could send unasked', async () => {
    const { leader, served } = await begin();
    const { host } = new URL(served.server.url);
    expect((await served.post(`runs/${RUN}/pause`, { headers: { origin: 'https://elsewhere.example' } })).status).toBe(403);
    expect((await served.post(`runs/${RUN}/pause`, { headers: { origin: 'null' } })).status).toBe(403);
    expect((await served.post(`runs/${RUN}/pause`, { headers: { 'content-type': 'text/plain' } })).status).toBe(403);
    expect(leader.run(RUN).phase).toBe('running');
    expect((await served.post(`runs/${RUN}/pause`, { body: 'lunch' })).status).toBe(400);
    expect((await served.post(`runs/${RUN}/pause`, { body: { reason: 'x'.repeat(20_000) } })).status).toBe(400);
    expect((await served.post(`runs/${RUN}/explode`)).status).toBe(400);
    expect(leader.run(RUN).phase).toBe('running');
    expect((await served.post(`runs/${RUN}/pause`, { headers: { origin: `http://${host}` } })).status).toBe(200);
  });

  test('a name that is none of this machine\'s is not answered where nobody needs a token', async () => {
    const { served } = await begin();
    const asked = (host: string): Promise<number> => new Promise((resolve, reject) => {
      request(new URL('api/v1/runs', served.server.url), { headers: { host } }, (response) => {
        response.resume();
        resolve(response.statusCode ?? 0);
      }).on('error', reject).end();
    });
    expect(await asked('evil.example:7800')).toBe(403);
    for (const own of ['127.0.0.1:1', 'localhost:7800', '[::1]:7800', 'a.localhost']) expect([own, await asked(own)]).toEqual([own, 200]);
  });
});

describe('files', () => {
  test('only what was built is served, with headers that forbid everything else', async () => {
    const { served } = await begin();
    const index = await served.fetch('');
    expect(await index.text()).toContain('<title>Alumnus</title>');
    const policy = index.headers.get('content-security-policy') ?? '';
    expect(policy).toContain("default-src 'none'");
    expect(policy).not.toContain('unsafe');
    expect(index.headers.get('x-content-type-options')).toBe('nosniff');
    expect(index.headers.get('access-control-allow-origin')).toBeNull();
    const raw = (path: string): Promise<number> => new Promise((resolve, reject) => {
      const { hostname, port } = new URL(served.server.url);
      request({ hostname, port, path }, (response) => {
        response.resume();
        resolve(response.statusCode ?? 0);
      }).on('error', reject).end();
    });
    for (const path of ['/../package.json', '/..%2fpackage.json', '/%2e%2e/package.json', '/assets/../../package.json', '/index.html/../../x', '/etc/passwd']) expect([path, await raw(path)]).toEqual([path, 404]);
    expect(await raw('//')).toBe(400);
    expect(await raw('/api/v1/runs/%E0%A4%A')).toBe(400);
  });

  test('a page that is not built says so', async () => {
    const served = await Served.start(undefined, { folder: '/nowhere' });
    endings.push(() => served.server.close());
    expect(await (await served.fetch('')).text()).toContain('npm run build');
  });
});

test('a coordinator that stands by names the one that leads', async () => {
  const served = await Served.start(undefined);
  endings.push(() => served.server.close());
  for (const path of ['runs', 'whoami', 'workers', 'stream']) expect(await served.json(path)).toMatchObject({ status: 503, body: { code: 'NOT_LEADER', leader: 'elsewhere:7700' } });
  expect((await served.json('status')).body).toMatchObject({ role: 'standby' });
  expect((await served.fetch('')).status).toBe(200);
});
