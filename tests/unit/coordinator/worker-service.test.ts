/** What the coordinator takes for a living worker, as its calls open, are cut and stay away: over real gRPC calls, by a clock of the test's own. */
import { credentials, Server, ServerCredentials, type ServerUnaryCall } from '@grpc/grpc-js';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { workerService } from '../../../coordinator/api/worker-service.ts';
import type { Journal } from '../../../coordinator/journal/index.ts';
import { Fold } from '../../../coordinator/fold.ts';
import { Leader } from '../../../coordinator/leader.ts';
import { Stage, type Task } from '../../../proto/gen/alumnus/v1/task.ts';
import { WorkerServiceClient, WorkerServiceService, type AcquireRequest, type AcquireResponse } from '../../../proto/gen/alumnus/v1/worker.ts';
import { Proxy } from '../../harness/proxy.ts';
import { MemoryStore } from '../../simulation/store.ts';

const LEASE_MS = 10_000;
const WAIT_MS = 20_000;

/** No run is submitted here: nothing is ever written. */
const journal = { description: 'empty', lastSequence: 0, factBytesMax: 1, read: () => [], snapshot: () => Promise.resolve(undefined) } as unknown as Journal;

const leading = () => ({ leader: () => leader, leaderAddress: '', trouble: '', journal });

let nowMs = 0;
let store: MemoryStore;
let leader: Leader;
let logged: string[] = [];
let server: Server;
let proxy: Proxy;
let client: WorkerServiceClient;

beforeEach(async () => {
  nowMs = 0;
  logged = [];
  store = new MemoryStore();
  leader = new Leader({ journal, fold: await Fold.load(journal, store), store, term: 1, leaseMs: LEASE_MS, clock: { now: () => nowMs, sleep: () => Promise.resolve() }, log: (line) => logged.push(line) });
  server = new Server();
  server.addService(WorkerServiceService, workerService(leading(), 'file:///store'));
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

test('one whose call was cut while what it was granted is being written holds nothing: the next worker gets it', async () => {
  // Of so many shards that its specification does not fit a message.
  const shards = Array.from({ length: 4_000 }, (_, at) => ({ shard: `unlabeled-${at}`, labels: { key: `labels/${at}`, sha256: 'a'.repeat(64), bytes: 1 }, tally: undefined }));
  const task: Task = {
    taskId: 'i1.select.selection.t0-0', runId: 'run', iteration: 1, stage: Stage.SELECT, subject: 'selection', try: 0, seed: 1, affinity: [], outputPrefix: 'runs/run/i1.select.selection.t0-0', work: 1, checkpointSteps: 0, checkpoints: [],
    spec: { $case: 'select', value: { teacherSha256: 'a', shards, threshold: 0.5, balance: 'none', budgetPerClass: 0, copiesMax: 1, classes: 2, drift: undefined } },
  };
  let write: () => void = () => undefined;
  const put = store.putAddressed.bind(store);
  store.putAddressed = async (...given) => {
    await new Promise<void>((resolve) => (write = resolve));
    return put(...given);
  };
  leader.scheduler.setTasks('run', 1, [task]);
  // Said to the service itself: of a call over the network nothing tells when the coordinator has heard that it was cut.
  const call = { request: { workerId: 'w1', max: 1, waitMs: WAIT_MS, holds: [] }, cancelled: false };
  const answered = new Promise<AcquireResponse | null | undefined>((resolve) => {
    workerService(leading(), 'file:///store').acquire(call as unknown as ServerUnaryCall<AcquireRequest, AcquireResponse>, (_, response) => resolve(response));
  });
  const leases = () => leader.scheduler.tasksOf('run')[0]?.leases.map(({ workerId }) => workerId);
  await expect.poll(leases, { timeout: 10_000 }).toEqual(['w1']);
  call.cancelled = true;
  write();
  expect((await answered)?.leases).toEqual([]);
  expect(leases()).toEqual([]);
  expect(leader.scheduler.isLive('w1', nowMs)).toBe(false);
  leader.scheduler.register({ workerId: 'w2', host: 'h', processId: 2, device: 'd', slots: 2, version: 'v' }, [], nowMs);
  expect(leader.grant('w2', 1, [])).toMatchObject([{ task: { taskId: task.taskId }, attempt: 0 }]);
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
