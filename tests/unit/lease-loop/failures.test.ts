/** What a worker reports of an attempt that failed: whether it counts against the task is said by how it ended. */
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { afterEach, expect, test } from 'vitest';
import { AlumnusError, type ErrorCode } from '../../../proto/errors.ts';
import { Task } from '../../../proto/gen/alumnus/v1/task.ts';
import { WorkerServiceService, type FailRequest, type WorkerServiceServer } from '../../../proto/gen/alumnus/v1/worker.ts';
import { LeaseLoop } from '../../../worker/lease-loop/index.ts';

let stop: (() => Promise<void>) | undefined;
afterEach(() => stop?.());

/** A worker is given one task, which ends so. */
async function reportOf(error: Error): Promise<FailRequest> {
  let granted = false;
  let tell: (request: FailRequest) => void = () => undefined;
  const told = new Promise<FailRequest>((resolve) => (tell = resolve));
  const service: WorkerServiceServer = {
    register: (_, callback) => callback(null, { term: 1, leaseMs: 60_000, renewEveryMs: 15_000, lost: [], storeUrl: 'file:///store' }),
    acquire: (_, callback) => {
      if (granted) return;
      granted = true;
      callback(null, { term: 1, leases: [{ leaseId: { term: 1, counter: 1 }, task: Task.fromPartial({ taskId: 't1' }), attempt: 0 }] });
    },
    renew: (_, callback) => callback(null, { term: 1, lost: [], handBack: [] }),
    complete: (_, callback) => callback(null, { accepted: true, reason: '' }),
    fail: (call, callback) => {
      tell(call.request);
      callback(null, {});
    },
  };
  const server = new Server();
  server.addService(WorkerServiceService, service);
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (failed, bound) => (failed === null ? resolve(bound) : reject(failed)));
  });
  const loop = new LeaseLoop({ address: `127.0.0.1:${port}`, workerId: 'w1', device: 'd', version: 'v', engine: { run: () => Promise.reject(error) }, log: () => undefined });
  const running = loop.run();
  stop = async () => {
    await loop.stop();
    await running;
    server.forceShutdown();
  };
  return told;
}

test.each<[ErrorCode, boolean]>([
  ['ENGINE_CRASHED', true], ['SHARD_CORRUPT', true], ['STORE_FULL', true], ['ENGINE_STOPPED', false], ['WORKER_STOPPED', false],
])('%s counts against the task: %s', async (code, counts) => {
  expect(await reportOf(new AlumnusError(code, 'it ended', { where: 'somewhere' }))).toMatchObject({ taskId: 't1', code, counts, message: 'somewhere: it ended' });
});

test('a defect counts as INTERNAL', async () => {
  expect(await reportOf(new Error('oops'))).toMatchObject({ code: 'INTERNAL', counts: true, message: 'oops' });
});

/** A worker that tries its store so; it is stopped by the test's end, if it has not ended. */
async function joined(tryStore: (storeUrl: string) => Promise<void>): Promise<{ asked: () => number; ended: Promise<unknown>; logged: string[] }> {
  let asked = 0;
  const server = new Server();
  const service: WorkerServiceServer = {
    register: (_, callback) => callback(null, { term: 1, leaseMs: 60_000, renewEveryMs: 15_000, lost: [], storeUrl: 's3://bucket' }),
    acquire: () => void (asked += 1),
    renew: (_, callback) => callback(null, { term: 1, lost: [], handBack: [] }),
    complete: (_, callback) => callback(null, { accepted: true, reason: '' }),
    fail: (_, callback) => callback(null, {}),
  };
  server.addService(WorkerServiceService, service);
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (failed, bound) => (failed === null ? resolve(bound) : reject(failed)));
  });
  const logged: string[] = [];
  const loop = new LeaseLoop({ address: `127.0.0.1:${port}`, workerId: 'w1', device: 'd', version: 'v', engine: { run: () => Promise.reject(new Error('no work')) }, log: (line) => logged.push(line), tryStore });
  const ended = loop.run().then(() => undefined, (thrown: unknown) => thrown);
  stop = async () => {
    await loop.stop();
    await ended;
    server.forceShutdown();
  };
  return { asked: () => asked, ended, logged };
}

test.each<ErrorCode>(['STORE_DENIED', 'BUCKET_NOT_FOUND', 'STORE_NOT_FOUND'])('a worker whose store says %s ends with that, naming itself, and asks for no work', async (code) => {
  const { asked, ended } = await joined((storeUrl) => Promise.reject(new AlumnusError(code, 'no', { where: storeUrl })));
  expect(await ended).toMatchObject({ code, where: 's3://bucket', message: 'worker w1 cannot use the store: no' });
  expect(asked()).toBe(0);
});

test('a worker whose store is away asks for no work until it is back', async () => {
  let tries = 0;
  const { asked, logged } = await joined(async (storeUrl) => {
    expect(asked()).toBe(0);
    if ((tries += 1) < 3) throw new AlumnusError('STORE_UNREACHABLE', 'away', { where: storeUrl });
  });
  await expect.poll(asked, { timeout: 20_000 }).toBe(1);
  expect(tries).toBe(3);
  expect(logged.filter((line) => line.includes('takes no work yet'))).toHaveLength(1);
});
