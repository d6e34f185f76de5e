/** The lease loop against coordinators that change, die, refuse and stand still: no work is lost, none is reported twice in vain. */
import { createServer } from 'node:net';
import { afterEach, expect, test, vi } from 'vitest';
import { AlumnusError } from '../../../proto/errors.ts';
import type { Checkpoint, TaskResult } from '../../../proto/gen/alumnus/v1/task.ts';
import { LeaseLoop, type Engine } from '../../../worker/lease-loop/index.ts';
import { Proxy } from '../../harness/proxy.ts';
import { FakeCoordinator, refuse } from './coordinators.ts';

const endings: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const end of endings.splice(0).reverse()) await end();
});

async function coordinator(term: number): Promise<FakeCoordinator> {
  const made = await new FakeCoordinator(term).start();
  endings.push(() => made.die());
  return made;
}

/** Ends its tasks when the test says so. */
class FakeEngine implements Engine {
  readonly begun: string[] = [];
  readonly stopped: { taskId: string; code: string }[] = [];
  readonly #finish = new Map<string, (result: TaskResult) => void>();
  readonly #crash = new Map<string, () => void>();
  readonly #keep = new Map<string, (step: number) => void>();

  run(task: { taskId: string }, _storeUrl: string, _onProgress: unknown, signal: AbortSignal, onCheckpoint: (checkpoint: Checkpoint) => void): Promise<TaskResult> {
    this.begun.push(task.taskId);
    return new Promise((resolve, reject) => {
      this.#finish.set(task.taskId, resolve);
      this.#crash.set(task.taskId, () => reject(new AlumnusError('ENGINE_CRASHED', 'it died')));
      this.#keep.set(task.taskId, (step) => onCheckpoint({ step, ref: { key: `below/${step}`, sha256: 'a', bytes: 1 } }));
      signal.addEventListener('abort', () => {
        this.stopped.push({ taskId: task.taskId, code: (signal.reason as AlumnusError).code });
        reject(new AlumnusError('CANCELLED', 'the task was cancelled'));
      });
    });
  }

  crash(taskId: string): void {
    this.#crash.get(taskId)?.();
  }

  keep(taskId: string, step: number): void {
    this.#keep.get(taskId)?.(step);
  }

  finish(taskId: string): void {
    this.#finish.get(taskId)?.({ deviceMs: 1, result: undefined });
  }
}

function worker(address: string): { engine: FakeEngine; loop: LeaseLoop; logged: string[]; ended: Promise<void> } {
  const engine = new FakeEngine();
  const logged: string[] = [];
  const loop = new LeaseLoop({ address, workerId: 'w1', device: 'none', version: '0', engine, log: (line) => logged.push(line) });
  const ended = loop.run();
  ended.catch(() => undefined);
  endings.push(async () => {
    await loop.stop();
    await ended.catch(() => undefined);
  });
  return { engine, loop, logged, ended };
}

const until = (check: () => void): Promise<void> => vi.waitFor(check, { timeout: 15_000, interval: 10 });
const idsOf = (requests: readonly { taskId: string }[]): string[] => requests.map(({ taskId }) => taskId);

/** An address that nobody listens on. */
const closedAddress = (): Promise<string> => new Promise((resolve) => {
  const server = createServer().listen(0, '127.0.0.1', () => {
    const bound = server.address();
    server.close(() => resolve(`127.0.0.1:${typeof bound === 'object' && bound !== null ? bound.port : 0}`));
  });
});

test('finds the leader: past one that is not there, and where a standby sends it, though it was not given that address', async () => {
  const [standby, leader] = [await coordinator(0), await coordinator(1)];
  standby.leaderAddress = leader.address;
  worker(`${await closedAddress()},${standby.address}`);
  await until(() => expect(leader.registered).toHaveLength(1));
});

test('waits for a leader where no standby knows one, and for one that names a leader that is gone', async () => {
  const [one, two] = [await coordinator(0), await coordinator(0)];
  one.leaderAddress = await closedAddress();
  const { logged } = worker(`${one.address},${two.address}`);
  await until(() => expect(logged).toContain(`waits for a coordinator that leads, at ${one.address},${two.address}`));
  two.term = 3;
  await until(() => expect(logged.at(-1)).toBe(`registered with term 3 at ${two.address}`));
});

test('a task in flight while the leader dies is announced to the next one once, and completed there once', async () => {
  const [first, second] = [await coordinator(1), await coordinator(0)];
  second.leaderAddress = first.address;
  const { engine } = worker(`${first.address},${second.address}`);
  first.grant('t1');
  await until(() => expect(engine.begun).toEqual(['t1']));
  first.die();
  setTimeout(() => (second.term = 2), 300);
  await until(() => expect(second.registered).toHaveLength(1));
  expect(second.registered[0]?.held).toMatchObject([{ leaseId: { term: 1, counter: 1 }, taskId: 't1' }]);
  engine.finish('t1');
  await until(() => expect(idsOf(second.completed)).toEqual(['t1']));
  second.grant('t2');
  await until(() => expect(engine.begun).toEqual(['t1', 't2']));
  expect(second.registered).toHaveLength(1);
  expect(first.completed).toEqual([]);
  expect(engine.stopped).toEqual([]);
});

test('with all slots full, and no call open, it notices at once that the leader is gone', async () => {
  const [first, second] = [await coordinator(1), await coordinator(2)];
  first.renewEveryMs = 600_000;
  const { engine } = worker(`${first.address},${second.address}`);
  first.grant('t1', 't2', 't3');
  await until(() => expect(engine.begun).toEqual(['t1', 't2', 't3']));
  first.die();
  await until(() => expect(second.registered[0]?.held.map(({ taskId }) => taskId)).toEqual(['t1', 't2', 't3']));
});

test('a result that was being reported when the leader died goes to the next one', async () => {
  const [first, second] = [await coordinator(1), await coordinator(0)];
  const { engine } = worker(`${first.address},${second.address}`);
  first.completionHangs = true;
  first.grant('t1');
  await until(() => expect(engine.begun).toEqual(['t1']));
  engine.finish('t1');
  await until(() => expect(idsOf(first.completed)).toEqual(['t1']));
  first.die();
  second.term = 2;
  await until(() => expect(idsOf(second.completed)).toEqual(['t1']));
  // It was still held, since nobody had acknowledged it.
  expect(second.registered[0]?.held.map(({ taskId }) => taskId)).toEqual(['t1']);
});

test('a result that was finished while nobody led goes to the first who does, once', async () => {
  const [first, second] = [await coordinator(1), await coordinator(0)];
  const { engine, logged } = worker(`${first.address},${second.address}`);
  first.grant('t1');
  await until(() => expect(engine.begun).toEqual(['t1']));
  first.standBy('');
  await until(() => expect(logged.some((line) => line.startsWith('waits for a coordinator'))).toBe(true));
  engine.finish('t1');
  second.term = 2;
  await until(() => expect(second.acquires).toBeGreaterThan(0));
  second.grant('t2');
  await until(() => expect(engine.begun).toEqual(['t1', 't2']));
  expect(idsOf(second.completed)).toEqual(['t1']);
  expect(first.completed).toEqual([]);
});

test('a leader that stands by from now on sends its workers to the next: one registration, whatever calls were open', async () => {
  const [first, second] = [await coordinator(1), await coordinator(2)];
  const { engine } = worker(`${first.address}`);
  first.grant('t1');
  await until(() => expect(engine.begun).toEqual(['t1']));
  first.standBy(second.address);
  engine.finish('t1');
  await until(() => expect(idsOf(second.completed)).toEqual(['t1']));
  await until(() => expect(second.acquires).toBe(1));
  expect(second.registered).toHaveLength(1);
});

test('a renewal answered under another term leads to a new registration', async () => {
  const leader = await coordinator(1);
  const { engine } = worker(leader.address);
  leader.grant('t1');
  await until(() => expect(engine.begun).toEqual(['t1']));
  leader.term = 2;
  await until(() => expect(leader.registered).toHaveLength(2));
  await until(() => expect(leader.renewals).toBeGreaterThan(2));
  expect(leader.registered).toHaveLength(2);
  expect(engine.stopped).toEqual([]);
});

test('the work of a lease that the new leader refuses is stopped, and not reported; what is asked next is new work', async () => {
  const [first, second] = [await coordinator(1), await coordinator(2)];
  second.adopts = ({ taskId }) => taskId === 't2';
  const { engine } = worker(`${first.address},${second.address}`);
  first.grant('t1', 't2');
  await until(() => expect(engine.begun).toEqual(['t1', 't2']));
  first.die();
  await until(() => expect(engine.stopped).toEqual([{ taskId: 't1', code: 'LEASE_LOST' }]));
  second.grant('t3');
  await until(() => expect(engine.begun).toContain('t3'));
  engine.finish('t2');
  engine.finish('t3');
  await until(() => expect(idsOf(second.completed).sort()).toEqual(['t2', 't3']));
  expect(second.failed).toEqual([]);
});

test('the work of a lease that a renewal gives up is stopped and not reported', async () => {
  const leader = await coordinator(1);
  const { engine } = worker(leader.address);
  leader.grant('t1');
  await until(() => expect(engine.begun).toEqual(['t1']));
  leader.lost.push({ term: 1, counter: 1 });
  await until(() => expect(engine.stopped).toEqual([{ taskId: 't1', code: 'LEASE_LOST' }]));
  leader.grant('t2');
  await until(() => expect(engine.begun).toEqual(['t1', 't2']));
  expect(leader.failed).toEqual([]);
});

test('a coordinator that stands still, its connections open, is left for the next', async () => {
  const [first, second] = [await coordinator(1), await coordinator(0)];
  const proxy = await Proxy.start(() => first.address);
  endings.push(() => proxy.stop());
  // Its standby names it for a while, as its entry does.
  second.leaderAddress = proxy.address;
  const { engine } = worker(`${proxy.address},${second.address}`);
  first.grant('t1');
  await until(() => expect(engine.begun).toEqual(['t1']));
  proxy.disturb({ requests: () => 'stall', answers: () => 'stall' });
  engine.finish('t1');
  setTimeout(() => (second.term = 2), 500);
  await until(() => expect(idsOf(second.completed)).toEqual(['t1']));
  expect(second.registered[0]?.held.map(({ taskId }) => taskId)).toEqual(['t1']);
});

test('one that takes connections and never speaks holds nobody up', async () => {
  const silent = createServer(() => undefined);
  const port = await new Promise<number>((resolve) => {
    silent.listen(0, '127.0.0.1', () => {
      const bound = silent.address();
      resolve(typeof bound === 'object' && bound !== null ? bound.port : 0);
    });
  });
  endings.push(() => void silent.close());
  const leader = await coordinator(1);
  worker(`127.0.0.1:${port},${leader.address}`);
  await until(() => expect(leader.registered).toHaveLength(1));
});

test('a result is said again where the leader\'s journal is away; where it is refused for good, that is reported as the attempt\'s failure', async () => {
  const leader = await coordinator(1);
  const { engine, logged } = worker(leader.address);
  let tries = 0;
  leader.completionFails = () => ((tries += 1) <= 2 ? refuse('JOURNAL_UNREACHABLE', 'the journal does not answer') : tries === 4 ? refuse('FACT_TOO_LARGE', 'its facts take 900000 bytes', 'run') : undefined);
  leader.grant('t1');
  await until(() => expect(engine.begun).toEqual(['t1']));
  engine.finish('t1');
  await until(() => expect(idsOf(leader.completed)).toEqual(['t1', 't1', 't1']));
  leader.grant('t2');
  await until(() => expect(engine.begun).toEqual(['t1', 't2']));
  engine.finish('t2');
  await until(() => expect(leader.failed).toMatchObject([{ taskId: 't2', leaseId: { term: 1, counter: 2 }, workerId: 'w1', code: 'FACT_TOO_LARGE', message: 'run: its facts take 900000 bytes', counts: true }]));
  expect(logged.some((line) => line.includes('its result was refused'))).toBe(true);
  leader.grant('t3');
  await until(() => expect(engine.begun).toContain('t3'));
  expect(idsOf(leader.completed)).toEqual(['t1', 't1', 't1', 't2']);
  expect(idsOf(leader.failed)).toEqual(['t2']);
});

test('a result is kept and said again whatever ails the coordinator; the log tells what it is', async () => {
  const leader = await coordinator(1);
  const { engine, logged } = worker(leader.address);
  const ails = ['STORE_CLOCK_SKEWED', 'STORE_DENIED', 'INTERNAL', 'MANIFEST_REFUSED', 'STORE_FULL', 'JOURNAL_UNREADABLE'] as const;
  let tries = 0;
  leader.completionFails = () => {
    const code = ails[tries];
    tries += 1;
    return code === undefined ? undefined : refuse(code, 'not now');
  };
  leader.grant('t1');
  await until(() => expect(engine.begun).toEqual(['t1']));
  engine.finish('t1');
  await until(() => expect(leader.completed).toHaveLength(ails.length + 1));
  leader.grant('t2');
  await until(() => expect(engine.begun).toEqual(['t1', 't2']));
  expect(leader.failed).toEqual([]);
  expect(logged.filter((line) => line.startsWith('not now'))).toEqual([expect.stringContaining('[STORE_CLOCK_SKEWED]')]);
});

test('stop hands back what is held, as nobody\'s failure, to whoever leads by then', async () => {
  const [first, second] = [await coordinator(1), await coordinator(2)];
  first.renewEveryMs = 600_000;
  const { engine, loop, ended } = worker(first.address);
  first.grant('t1', 't2');
  await until(() => expect(engine.begun).toEqual(['t1', 't2']));
  first.standBy(second.address);
  await loop.stop();
  await ended;
  expect(second.failed.map(({ taskId, code, counts }) => ({ taskId, code, counts })).sort((a, b) => (a.taskId < b.taskId ? -1 : 1))).toEqual([
    { taskId: 't1', code: 'WORKER_STOPPED', counts: false }, { taskId: 't2', code: 'WORKER_STOPPED', counts: false },
  ]);
});

test('stop ends a worker that finds no coordinator, with or without work', async () => {
  const leader = await coordinator(1);
  const [idle, busy] = [worker(await closedAddress()), worker(leader.address)];
  leader.grant('t1');
  await until(() => expect(busy.engine.begun).toEqual(['t1']));
  leader.die();
  for (const { loop, ended } of [idle, busy]) {
    await loop.stop();
    await ended;
  }
});

test('what is no address is refused before anything is tried', () => {
  expect(() => new LeaseLoop({ address: 'localhost', workerId: 'w1', device: 'none', version: '0', engine: new FakeEngine(), log: () => undefined })).toThrow(expect.objectContaining({ code: 'USAGE' }) as Error);
});

test('the newest checkpoint is told with every renewal, to the next leader too, and with the failure of its attempt alone', async () => {
  const [first, second] = [await coordinator(1), await coordinator(0)];
  const { engine } = worker(`${first.address},${second.address}`);
  first.grant('t1', 't2');
  await until(() => expect(engine.begun).toEqual(['t1', 't2']));
  const steps = (held: readonly { checkpoint?: Checkpoint | undefined }[] | undefined): (number | undefined)[] => (held ?? []).map(({ checkpoint }) => checkpoint?.step);
  await until(() => expect(steps(first.renewed.at(-1))).toEqual([undefined, undefined]));
  engine.keep('t1', 100);
  await until(() => expect(first.renewed.filter((held) => steps(held)[0] === 100).length).toBeGreaterThan(2));
  engine.keep('t1', 200);
  await until(() => expect(steps(first.renewed.at(-1))).toEqual([200, undefined]));
  first.die();
  second.term = 2;
  await until(() => expect(steps(second.registered[0]?.held)).toEqual([200, undefined]));
  engine.crash('t2');
  await until(() => expect(second.failed).toMatchObject([{ taskId: 't2', code: 'ENGINE_CRASHED', checkpoint: undefined }]));
  // Told before any renewal could tell it.
  engine.keep('t1', 300);
  engine.crash('t1');
  await until(() => expect(second.failed[1]).toMatchObject({ taskId: 't1', code: 'ENGINE_CRASHED', checkpoint: { step: 300, ref: { key: 'below/300' } } }));
});

test('a worker that stops hands back what its attempt kept', async () => {
  const only = await coordinator(1);
  const { engine, loop } = worker(only.address);
  only.grant('t1');
  await until(() => expect(engine.begun).toEqual(['t1']));
  engine.keep('t1', 100);
  await loop.stop();
  expect(only.failed[0]).toMatchObject({ taskId: 't1', code: 'WORKER_STOPPED', counts: false, checkpoint: { step: 100 } });
});
