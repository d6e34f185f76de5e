/** Tars that an operator has workers read: queues beside the runs' in the scheduler, and the call over real gRPC, by a clock of the test's own. */
import { credentials, Server, ServerCredentials, type ServiceError } from '@grpc/grpc-js';
import { afterEach, describe, expect, it, onTestFinished } from 'vitest';
import { connect } from '../../../cli/client.ts';
import { fleetReaders } from '../../../cli/fleet-readers.ts';
import { operatorService } from '../../../coordinator/api/operator-service.ts';
import { workerService } from '../../../coordinator/api/worker-service.ts';
import { Fold } from '../../../coordinator/fold.ts';
import { Indexing } from '../../../coordinator/indexing.ts';
import type { Journal } from '../../../coordinator/journal/index.ts';
import { Leader } from '../../../coordinator/leader.ts';
import { Scheduler } from '../../../coordinator/scheduler/index.ts';
import { AlumnusError } from '../../../proto/errors.ts';
import { OperatorServiceService } from '../../../proto/gen/alumnus/v1/operator.ts';
import { Stage, type Task } from '../../../proto/gen/alumnus/v1/task.ts';
import { WorkerServiceClient, WorkerServiceService, type Lease } from '../../../proto/gen/alumnus/v1/worker.ts';
import { MemoryStore } from '../../simulation/store.ts';

const LEASE_MS = 10_000;
const LOCATION = 's3://crawl/tars?endpoint=https://minio.example.org:9000';
const requestOf = (count: number) => ({ location: LOCATION, labeled: false, tars: Array.from({ length: count }, (_, at) => ({ key: `${at}.tar`, bytes: 1_000, writtenMs: 5 })) });
const worker = (workerId: string, slots = 2) => ({ workerId, host: 'h', processId: 1, device: 'd', slots, version: 'v' });
const labelTask = (at: number): Task => ({ taskId: `run.s${at}`, runId: 'run', iteration: 1, stage: Stage.LABEL, subject: `s${at}`, try: 0, seed: 1, affinity: [], outputPrefix: '', work: 1, checkpointSteps: 0, checkpoints: [], spec: { $case: 'label', value: { teacher: undefined, shard: undefined, batchSize: 1 } } });
const taskOf = (lease: Lease | undefined): Task => {
  if (lease?.task === undefined) throw new Error('a lease was granted');
  return lease.task;
};

describe('registrations in the scheduler', () => {
  const scheduler = (...workers: string[]): Scheduler => {
    const made = new Scheduler({ term: 1, leaseMs: LEASE_MS });
    for (const id of workers) made.register(worker(id), [], 0);
    return made;
  };
  function opened(on: Scheduler, tars: number, name = 'a') {
    const indexing = new Indexing(on);
    const done: number[] = [];
    const errors: AlumnusError[] = [];
    const id = indexing.open(name, requestOf(tars), { done: (at) => void done.push(at), failed: (error) => void errors.push(error) });
    /** One attempt on this worker that ends so. */
    const fail = (workerId: string, nowMs: number, counts = true, fleet = 9): void => {
      const [lease] = on.grant(workerId, 1, [], nowMs);
      if (lease?.leaseId === undefined) throw new Error(`${workerId} is granted a tar`);
      on.release(lease.leaseId, nowMs, counts);
      indexing.failed(taskOf(lease), { workerId, code: 'SHARD_CORRUPT', message: 's3://crawl/tars/0.tar: the tar ends in the middle', counts, fleet });
    };
    return { indexing, id, done, errors, fail };
  }

  it('share the fleet with runs, by turns, two at a time on one worker', () => {
    const on = scheduler('w1', 'w2');
    on.setTasks('run', 1, [labelTask(0), labelTask(1), labelTask(2)]);
    opened(on, 3);
    expect(['w1', 'w2'].map((id) => on.grant(id, 2, [], 1).map(({ task }) => task?.spec?.$case))).toEqual([['label', 'index'], ['label', 'index']]);
  });

  it('tell of each tar once, by its place in the list', () => {
    const on = scheduler('w1');
    const { indexing, done } = opened(on, 3);
    const [first, second] = on.grant('w1', 2, [], 1).map(taskOf);
    expect(first?.spec).toEqual({ $case: 'index', value: { location: LOCATION, key: '0.tar', bytes: 1_000, writtenMs: 5, labeled: false } });
    if (first === undefined || second === undefined) throw new Error('two were granted');
    expect([indexing.complete(second, 2), indexing.complete(first, 2)]).toEqual([true, true]);
    expect(done).toEqual([1, 0]);
    expect(on.grant('w1', 2, [], 3).map((lease) => taskOf(lease).subject)).toEqual(['2.tar']);
  });

  it('end where a tar failed on three workers, naming it; on fewer workers after three attempts', () => {
    const on = scheduler('w1', 'w2', 'w3');
    const { fail, errors, id } = opened(on, 1);
    fail('w1', 1_000);
    fail('w2', 100_000);
    expect(errors).toEqual([]);
    on.register(worker('w3'), [], 200_000);
    fail('w3', 200_000);
    expect(errors).toMatchObject([{ code: 'SHARD_CORRUPT', where: 's3://crawl/tars/0.tar', message: 'the tar ends in the middle (3 attempts, on w1, w2, w3)' }]);
    expect(on.tasksOf(id)).toEqual([]);
    const alone = scheduler('w1');
    const other = opened(alone, 1);
    for (const nowMs of [1_000, 100_000]) other.fail('w1', nowMs, true, 1);
    expect(other.errors).toEqual([]);
    other.fail('w1', 200_000, true, 1);
    expect(other.errors).toMatchObject([{ message: 'the tar ends in the middle (3 attempts, on w1)' }]);
  });

  it('do not count what was nobody\'s failure', () => {
    const on = scheduler('w1');
    const { fail, errors } = opened(on, 1);
    for (let at = 1; at <= 20; at += 1) fail('w1', at * 100_000, false, 1);
    expect(errors).toEqual([]);
  });

  it('closed, leave no lease, and no other registration of the same tars is touched', () => {
    const on = scheduler('w1', 'w2');
    const indexing = new Indexing(on);
    const nothing = { done: () => undefined, failed: () => undefined };
    const [one, two] = ['a', 'b'].map((name) => indexing.open(name, requestOf(1), nothing));
    const leases = on.grant('w1', 2, [], 1);
    expect(leases.map((lease) => taskOf(lease).runId)).toEqual([one, two]);
    indexing.close(one ?? '');
    const held = leases.map(({ leaseId, task }) => ({ leaseId, taskId: task?.taskId ?? '', progress: undefined, checkpoint: undefined }));
    expect(on.renew('w1', held, 2)).toEqual([leases[0]?.leaseId]);
    expect(indexing.complete(taskOf(leases[0]), 3)).toBe(false);
    expect(indexing.complete(taskOf(leases[1]), 3)).toBe(true);
  });
});

describe('the call', () => {
  /** No run is submitted here: nothing is ever written. */
  const journal = { description: 'empty', lastSequence: 0, factBytesMax: 1, read: () => [], snapshot: () => Promise.resolve(undefined), append: () => Promise.reject(new Error('nothing is journalled')) } as unknown as Journal;
  const servers: Server[] = [];
  afterEach(() => {
    for (const server of servers.splice(0)) server.forceShutdown();
  });

  /** A coordinator that leads, with one worker that the test speaks for. */
  async function coordinator(term = 1) {
    const store = new MemoryStore();
    const leader = new Leader({ journal, fold: await Fold.load(journal, store), store, term, leaseMs: LEASE_MS, clock: { now: () => 1_000, sleep: () => Promise.resolve() } });
    const leading = { leader: () => leader, leaderAddress: '', trouble: '', journal };
    const server = new Server();
    servers.push(server);
    server.addService(OperatorServiceService, operatorService(leading, store, 'file:///store', 'v'));
    server.addService(WorkerServiceService, workerService(leading, 'file:///store'));
    const port = await new Promise<number>((resolve, reject) => {
      server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) => (error === null ? resolve(bound) : reject(error)));
    });
    const client = new WorkerServiceClient(`127.0.0.1:${port}`, credentials.createInsecure());
    onTestFinished(() => client.close());
    const said = <Response>(call: (callback: (error: ServiceError | null, response: Response) => void) => unknown): Promise<Response> =>
      new Promise((resolve, reject) => void call((error, response) => (error === null ? resolve(response) : reject(error))));
    const register = (): Promise<unknown> => said((callback) => client.register({ ...worker('w1'), held: [] }, callback));
    const acquire = async (): Promise<Lease[]> => (await said<{ leases: Lease[] }>((callback) => client.acquire({ workerId: 'w1', max: 2, waitMs: 20_000, holds: [] }, callback))).leases;
    const complete = (lease: Lease): Promise<{ accepted: boolean }> => said((callback) => client.complete({ workerId: 'w1', leaseId: lease.leaseId, taskId: taskOf(lease).taskId, result: { result: { $case: 'index', value: { sha256: '', samples: 1 } }, deviceMs: 0 } }, callback));
    const fail = (lease: Lease): Promise<unknown> => said((callback) => client.fail({ workerId: 'w1', leaseId: lease.leaseId, taskId: taskOf(lease).taskId, code: 'OBJECT_NOT_FOUND', message: 's3://crawl/tars/0.tar: there is none', counts: true, checkpoint: undefined }, callback));
    return { address: `127.0.0.1:${port}`, leader, register, acquire, complete, fail };
  }

  function operatorOf(addresses: string) {
    const operator = connect({ address: addresses });
    onTestFinished(() => operator.close());
    return operator;
  }

  it('waits for a worker, tells of the tars that are done, and ends with the last', async () => {
    const there = await coordinator();
    const answers = operatorOf(there.address).index(requestOf(3), { signal: new AbortController().signal });
    expect((await answers.next()).value).toEqual({ done: [], bytesUnderWay: 0, workers: 0 });
    await there.register();
    for (const lease of await there.acquire()) expect((await there.complete(lease)).accepted).toBe(true);
    for (const lease of await there.acquire()) await there.complete(lease);
    const done: number[] = [];
    for await (const answer of answers) done.push(...answer.done);
    expect(new Set(done)).toEqual(new Set([0, 1, 2]));
    expect(done).toHaveLength(3);
    expect(there.leader.scheduler.tasksOf('run')).toEqual([]);
  });

  it('the person who waits is told that no worker is there, and when one is; bytes are told of what is done and under way', async () => {
    const there = await coordinator();
    const told: string[] = [];
    const tars = requestOf(2).tars.map((tar) => ({ ...tar, location: LOCATION, labeled: false }));
    const reading = fleetReaders(operatorOf(there.address), (line) => told.push(line))(tars, new AbortController().signal)[Symbol.asyncIterator]();
    expect((await reading.next()).value).toEqual({ indexed: [], bytes: 0 });
    expect(told).toEqual(['waits for a worker: none is connected']);
    await there.register();
    const [first, second] = await there.acquire();
    there.leader.scheduler.renew('w1', [{ leaseId: first?.leaseId, taskId: taskOf(first).taskId, checkpoint: undefined, progress: { done: 300, total: 1_000, unit: 'bytes', rate: 0, loss: 0 } }], 1_000);
    await there.complete(second!);
    const seen: { indexed: string[]; bytes: number }[] = [];
    const rest = (async () => {
      for await (const { indexed, bytes } of { [Symbol.asyncIterator]: () => reading }) {
        seen.push({ indexed: indexed.map(({ key }) => key), bytes });
        if (indexed.length > 0 && seen.flatMap((each) => each.indexed).length === 1) await there.complete(first!);
      }
    })();
    await rest;
    expect(seen.filter(({ indexed }) => indexed.length > 0)).toEqual([{ indexed: ['1.tar'], bytes: 1_300 }, { indexed: ['0.tar'], bytes: 2_000 }]);
    expect(told).toEqual(['waits for a worker: none is connected', 'a worker is there']);
  });

  it('a client that goes away frees its tasks', async () => {
    const there = await coordinator();
    const stopping = new AbortController();
    const answers = operatorOf(there.address).index(requestOf(3), { signal: stopping.signal });
    await answers.next();
    await there.register();
    const leases = await there.acquire();
    expect(leases).toHaveLength(2);
    stopping.abort();
    expect((await answers.next()).done).toBe(true);
    await expect.poll(() => leases.map((lease) => there.leader.scheduler.lease(lease.leaseId!)), { timeout: 10_000 }).toEqual([undefined, undefined]);
    expect(await there.complete(leases[0]!)).toMatchObject({ accepted: false });
  });

  it('a tar that cannot be read ends it with that tar\'s error', async () => {
    const there = await coordinator();
    await there.register();
    const answers = operatorOf(there.address).index(requestOf(1), { signal: new AbortController().signal });
    await answers.next();
    const lease = (await there.acquire())[0]!;
    // As if two attempts had failed before.
    for (const _ of [1, 2]) there.leader.indexing.failed(taskOf(lease), { workerId: 'w1', code: 'OBJECT_NOT_FOUND', message: '', counts: true, fleet: 1 });
    await there.fail(lease);
    const rest = async (): Promise<void> => {
      for await (const _ of answers);
    };
    await expect(rest()).rejects.toMatchObject({ code: 'OBJECT_NOT_FOUND', where: 's3://crawl/tars/0.tar', message: 'there is none (3 attempts, on w1)' });
  });

  it('goes on with whoever leads next, and asks there only for what is not done', async () => {
    const [first, second] = [await coordinator(1), await coordinator(2)];
    await first.register();
    await second.register();
    const answers = operatorOf(`${first.address},${second.address}`).index(requestOf(3), { signal: new AbortController().signal });
    await answers.next();
    const [lease] = await first.acquire();
    await first.complete(lease!);
    for await (const { done } of { [Symbol.asyncIterator]: () => ({ next: () => answers.next() }) }) if (done.length > 0) break;
    first.leader.stop(new AlumnusError('NOT_LEADER', 'it stops', { where: second.address }));
    const rest = (async () => {
      const done: number[] = [];
      for await (const answer of answers) done.push(...answer.done);
      return done;
    })();
    const left = await second.acquire();
    expect(left.map((each) => taskOf(each).subject)).toEqual(['1.tar', '2.tar']);
    for (const each of left) await second.complete(each);
    expect((await rest).toSorted((a, b) => a - b)).toEqual([1, 2]);
  });
});
