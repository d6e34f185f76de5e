/** What the coordinator takes for a living worker, as its calls open, are cut and stay away: over real gRPC calls, by a clock of the test's own. */
import { credentials, Server, ServerCredentials } from '@grpc/grpc-js';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { workerService } from '../../../coordinator/api/worker-service.ts';
import type { Journal } from '../../../coordinator/journal/index.ts';
import { Fold } from '../../../coordinator/fold.ts';
import { Leader } from '../../../coordinator/leader.ts';
import { WorkerServiceClient, WorkerServiceService } from '../../../proto/gen/alumnus/v1/worker.ts';
import { Proxy } from '../../harness/proxy.ts';
import { MemoryStore } from '../../simulation/store.ts';

const LEASE_MS = 10_000;
const WAIT_MS = 20_000;

/** No run is submitted here: nothing is ever written. */
const journal = { description: 'empty', lastSequence: 0, factBytesMax: 1, read: () => [], snapshot: () => Promise.resolve(undefined) } as unknown as Journal;

let nowMs = 0;
let leader: Leader;
let logged: string[] = [];
let server: Server;
let proxy: Proxy;
let client: WorkerServiceClient;

beforeEach(async () => {
  nowMs = 0;
  logged = [];
  const store = new MemoryStore();
  leader = new Leader({ journal, fold: await Fold.load(journal, store), store, term: 1, leaseMs: LEASE_MS, clock: { now: () => nowMs, sleep: () => Promise.resolve() }, log: (line) => logged.push(line) });
  server = new Server();
  server.addService(WorkerServiceService, workerService({ leader: () => leader, leaderAddress: '', trouble: '', journal }, 'file:///store'));
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) => (error === null ? resolve(bound) : reject(error)));
  });
  proxy = await Proxy.start(() => `127.0.0.1:${port}`);
  client = new WorkerServiceClient(proxy.address, credentials.createInsecure());
  await new Promise<void>((resolve, reject) => {
    client.register({ workerId: 'w1', host: 'h', processId: 1, device: 'd', slots: 2, held: [], version: 'v' }, (error) => (error === null ? resolve() : reject(error)));
  });
});
afterEach(() => {
  client.close();
  proxy.stop();
  server.forceShutdown();
});

/** Resolves when the coordinator's opinion of the worker is this. */
async function becomes(live: boolean): Promise<void> {
  while (leader.scheduler.isLive('w1', nowMs) !== live) await new Promise((resolve) => setTimeout(resolve, 10));
}

const openAcquire = () => client.acquire({ workerId: 'w1', max: 1, waitMs: WAIT_MS, holds: [] }, () => undefined);
const seenAt = (ms: number) => expect.poll(() => leader.scheduler.workers()[0]?.worker.lastSeenMs, { timeout: 10_000 }).toBe(ms);

test('a worker that waits for work is there for as long as its call is open, however long it says nothing', async () => {
  openAcquire();
  for (nowMs = LEASE_MS / 2; nowMs < WAIT_MS; nowMs += LEASE_MS / 2) await seenAt(nowMs);
  expect(leader.scheduler.liveWorkers(nowMs)).toBe(1);
});

test('one whose call was cut is lost at once, and back with its next word', async () => {
  const call = openAcquire();
  nowMs = 1;
  await seenAt(1);
  call.cancel();
  await becomes(false);
  expect(leader.scheduler.liveWorkers(nowMs)).toBe(0);
  openAcquire();
  await becomes(true);
});

test('one whose connection was cut is lost at once', async () => {
  openAcquire();
  nowMs = 1;
  await seenAt(1);
  proxy.stop();
  await becomes(false);
});

test('one that never asks is lost after a lease', () => {
  expect(leader.scheduler.isLive('w1', LEASE_MS)).toBe(true);
  expect(leader.scheduler.isLive('w1', LEASE_MS + 1)).toBe(false);
});

test('a worker that registers again is no news; another process of its id is, and both are named', async () => {
  const register = (processId: number, host: string): Promise<void> => new Promise((resolve, reject) => {
    client.register({ workerId: 'w1', host, processId, device: 'd', slots: 2, held: [], version: 'v' }, (error) => (error === null ? resolve() : reject(error)));
  });
  await register(1, 'h');
  await register(2, 'other');
  expect(logged).toEqual(['worker w1 registered: process 1 on h', 'worker w1 registered: process 2 on other; it was here as process 1 on h a moment ago: it was restarted, or two workers have one --id']);
});
