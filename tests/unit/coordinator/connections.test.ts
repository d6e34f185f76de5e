/** Connections that the server ends for their age, over real ones: nobody who calls, watches or waits for work notices. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, expect, test } from 'vitest';
import { connect } from '../../../cli/client.ts';
import { serve } from '../../../coordinator/api/index.ts';
import { Addresses } from '../../../proto/call.ts';
import { Line } from '../../../worker/lease-loop/line.ts';
import { Scene } from './scene.ts';
import { makeData, makeRecipe } from './work.ts';

const AGE_MS = 150;
const ended: (() => void | Promise<void>)[] = [];
afterEach(async () => {
  for (const end of ended.splice(0).toReversed()) await end();
});

async function served() {
  const scene = new Scene();
  const leader = await scene.lead(600_000);
  await leader.command('run', { kind: 'submit', runId: 'run', recipe: makeRecipe(), data: makeData() });
  const server = await serve({ leading: { leader: () => leader, leaderAddress: '', journal: leader.journal, trouble: '' }, store: scene.store, storeUrl: 'file:///nowhere', listen: '127.0.0.1:0', version: 'test', connectionAgeMs: AGE_MS });
  ended.push(() => server.close());
  return { leader, address: server.address };
}

test('who watches sees what becomes of a run, over one connection after another', async () => {
  const { leader, address } = await served();
  const operator = connect({ address });
  ended.push(() => operator.close());
  const stop = new AbortController();
  let away = 0;
  const states: string[] = [];
  const watching = (async () => {
    for await (const view of operator.watch('run', { signal: stop.signal, onAway: () => { away += 1; } })) {
      const state = view.summary?.state ?? '';
      if (states.at(-1) !== state) states.push(state);
    }
  })();
  // What is told are views, not steps: two between connections are seen as one.
  const seen = (state: string): Promise<void> => expect.poll(() => states.at(-1)).toBe(state);
  for (const [kind, state] of [['pause', 'running'], ['resume', 'paused'], ['pause', 'running'], ['resume', 'paused'], ['cancel', 'running']] as const) {
    await seen(state);
    await sleep(2 * AGE_MS);
    await leader.command('run', kind === 'resume' ? { kind, inFlightMs: 0 } : { kind, reason: 'asked for' });
  }
  // A cancelled run is ended, and with it the watching.
  await watching;
  expect(states).toEqual(['running', 'paused', 'running', 'paused', 'running', 'cancelled']);
  expect(away).toBe(0);
});

test('a worker goes on where its connection ended, with what it holds', async () => {
  const { leader, address } = await served();
  let lost = 0;
  const line = new Line(new Addresses(address), () => { lost += 1; });
  ended.push(() => line.close());
  const register = () => line.call((client) => client.register, { workerId: 'w', host: 'h', processId: 1, device: 'd', slots: 2, held: [], version: 'test' }, 1_000);
  await register();
  const { leases: [lease] } = await line.call((client) => client.acquire, { workerId: 'w', max: 1, waitMs: 0, holds: [] }, 1_000);
  const held = [{ leaseId: lease?.leaseId, taskId: lease?.task?.taskId ?? '', progress: undefined, checkpoint: undefined }];
  const untilMs = Date.now() + 6 * AGE_MS;
  while (Date.now() < untilMs) {
    expect((await line.call((client) => client.renew, { workerId: 'w', held, lines: [] }, 1_000)).lost).toEqual([]);
    await sleep(10);
  }
  expect(lost).toBeLessThanOrEqual(1);
  expect(leader.scheduler.workers().map(({ leases }) => leases.length)).toEqual([1]);
});
