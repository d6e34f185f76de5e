/** A worker among several coordinators: it finds the one that leads, keeps its leases across a failover, and reports what it finished to whoever leads then. */
import { Metadata, Server, ServerCredentials, type status, type ServerUnaryCall, type sendUnaryData } from '@grpc/grpc-js';
import { afterEach, expect, test } from 'vitest';
import { errorTable, type AlumnusError } from '../../../proto/errors.ts';
import { Task, TaskResult } from '../../../proto/gen/alumnus/v1/task.ts';
import { WorkerServiceService, type AcquireResponse, type CompleteRequest, type FailRequest, type Lease, type RegisterRequest, type RenewRequest, type WorkerServiceServer } from '../../../proto/gen/alumnus/v1/worker.ts';
import { LeaseLoop, type Engine } from '../../../worker/lease-loop/index.ts';
import { Proxy } from '../../harness/proxy.ts';

const RENEW_MS = 100;

/** A coordinator by script: leads a term, or stands by and names who leads. */
class Coordinator {
  term = 0;
  /** Where it sends callers while it doesn't lead. */
  leaderAddress = '';
  granting: Lease[] = [];
  lost: { term: number; counter: number }[] = [];
  readonly registered: RegisterRequest[] = [];
  readonly renewed: RenewRequest[] = [];
  readonly completed: CompleteRequest[] = [];
  readonly failed: FailRequest[] = [];
  address = '';
  #server: Server | undefined;
  #waiting: sendUnaryData<AcquireResponse>[] = [];

  async start(port = 0): Promise<this> {
    const server = new Server();
    server.addService(WorkerServiceService, this.#service());
    const bound = await new Promise<number>((resolve, reject) => {
      server.bindAsync(`127.0.0.1:${port}`, ServerCredentials.createInsecure(), (error, at) => (error === null ? resolve(at) : reject(error)));
    });
    this.#server = server;
    this.address = `127.0.0.1:${bound}`;
    return this;
  }

  die(): void {
    this.#waiting = [];
    this.#server?.forceShutdown();
  }

  grant(lease: Lease): void {
    this.granting.push(lease);
    this.#serve();
  }

  stepDown(leaderAddress: string): void {
    this.term = 0;
    this.leaderAddress = leaderAddress;
    for (const callback of this.#waiting.splice(0)) callback(this.#notLeader());
  }

  #notLeader(): { code: status; details: string; metadata: Metadata } {
    const metadata = new Metadata();
    metadata.set('alumnus-code', 'NOT_LEADER');
    metadata.set('alumnus-where', encodeURIComponent(this.leaderAddress));
    return { code: errorTable.NOT_LEADER.grpc as status, details: 'this coordinator stands by', metadata };
  }

  #serve(): void {
    if (this.granting.length === 0) return;
    this.#waiting.shift()?.(null, { term: this.term, leases: this.granting.splice(0) });
  }

  #service(): WorkerServiceServer {
    const leading = <Request, Response>(answer: (request: Request) => Response) => (call: ServerUnaryCall<Request, Response>, callback: sendUnaryData<Response>): void =>
      (this.term === 0 ? callback(this.#notLeader()) : callback(null, answer(call.request)));
    return {
      register: leading((request: RegisterRequest) => {
        this.registered.push(request);
        return { term: this.term, leaseMs: 4 * RENEW_MS, renewEveryMs: RENEW_MS, lost: this.lost, storeUrl: 'file:///store' };
      }),
      acquire: (_, callback) => {
        if (this.term === 0) return callback(this.#notLeader());
        this.#waiting.push(callback);
        this.#serve();
      },
      renew: leading((request: RenewRequest) => {
        this.renewed.push(request);
        return { term: this.term, lost: this.lost };
      }),
      complete: leading((request: CompleteRequest) => {
        this.completed.push(request);
        return { accepted: true, reason: '' };
      }),
      fail: leading((request: FailRequest) => {
        this.failed.push(request);
        return {};
      }),
    };
  }
}

/** An engine whose tasks end when the test says so. */
class HeldEngine implements Engine {
  readonly begun: string[] = [];
  readonly stopped: string[] = [];
  readonly #finish = new Map<string, () => void>();

  run(task: Task, _storeUrl: string, _onProgress: unknown, signal: AbortSignal): Promise<TaskResult> {
    this.begun.push(task.taskId);
    return new Promise((resolve, reject) => {
      this.#finish.set(task.taskId, () => resolve(TaskResult.fromPartial({ deviceMs: 1 })));
      signal.addEventListener('abort', () => {
        this.stopped.push(task.taskId);
        reject(signal.reason as AlumnusError);
      });
    });
  }

  finish(taskId: string): void {
    this.#finish.get(taskId)?.();
  }
}

const leaseOf = (term: number, counter: number, taskId: string): Lease => ({ leaseId: { term, counter }, task: Task.fromPartial({ taskId }), attempt: 0 });

let cleanUps: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.reverse()) await cleanUp();
  cleanUps = [];
});

async function coordinator(term: number, leaderAddress = ''): Promise<Coordinator> {
  const made = await new Coordinator().start();
  made.term = term;
  made.leaderAddress = leaderAddress;
  cleanUps.push(() => made.die());
  return made;
}

function worker(address: string): { engine: HeldEngine; loop: LeaseLoop } {
  const engine = new HeldEngine();
  const loop = new LeaseLoop({ address, workerId: 'w1', device: 'd', version: 'v', engine, log: () => undefined });
  const running = loop.run();
  cleanUps.push(async () => {
    await loop.stop();
    await running;
  });
  return { engine, loop };
}

const until = (what: () => boolean): Promise<void> => expect.poll(what, { timeout: 20_000, interval: 10 }).toBe(true) as unknown as Promise<void>;

test('is sent by a standby to the leader it names, though that one was not given', async () => {
  const leader = await coordinator(3);
  const standby = await coordinator(0, leader.address);
  const { engine } = worker(standby.address);
  leader.grant(leaseOf(3, 1, 't1'));
  await until(() => engine.begun.includes('t1'));
  expect(standby.registered).toEqual([]);
});

test('asks each address in turn while none of them leads, and finds the one that begins to', async () => {
  const [first, second] = [await coordinator(0), await coordinator(0)];
  worker(`${first.address},${second.address}`);
  await new Promise((resolve) => setTimeout(resolve, 300));
  second.term = 1;
  await until(() => second.registered.length === 1);
});

test('carries its leases to a new leader when the old one dies, goes on working, and reports what it finished there', async () => {
  const [old, next] = [await coordinator(1), await coordinator(0)];
  const { engine } = worker(`${old.address},${next.address}`);
  old.grant(leaseOf(1, 7, 't1'));
  old.grant(leaseOf(1, 8, 't2'));
  await until(() => engine.begun.length === 2);
  old.die();
  next.term = 2;
  await until(() => next.registered.length > 0);
  expect(next.registered[0]?.held.map((each) => [each.leaseId, each.taskId])).toEqual([[{ term: 1, counter: 7 }, 't1'], [{ term: 1, counter: 8 }, 't2']]);
  engine.finish('t1');
  await until(() => next.completed.length === 1);
  expect(next.completed[0]).toMatchObject({ taskId: 't1', leaseId: { term: 1, counter: 7 } });
  await until(() => next.renewed.some((each) => each.held.some((held) => held.taskId === 't2')));
  expect(engine.stopped).toEqual([]);
  expect(engine.begun).toEqual(['t1', 't2']);
});

test('that finished while nobody led reports it to the first who does, once', async () => {
  const [old, next] = [await coordinator(1), await coordinator(0)];
  const { engine } = worker(`${old.address},${next.address}`);
  old.grant(leaseOf(1, 1, 't1'));
  await until(() => engine.begun.length === 1);
  old.stepDown('');
  engine.finish('t1');
  await new Promise((resolve) => setTimeout(resolve, 500));
  expect([...old.completed, ...next.completed]).toEqual([]);
  next.term = 2;
  await until(() => next.completed.length === 1);
  await new Promise((resolve) => setTimeout(resolve, 3 * RENEW_MS));
  expect(next.completed).toHaveLength(1);
});

test('stops the work of a lease that the new leader does not take, and reports no failure of it', async () => {
  const [old, next] = [await coordinator(1), await coordinator(0)];
  next.lost = [{ term: 1, counter: 1 }];
  const { engine } = worker(`${old.address},${next.address}`);
  old.grant(leaseOf(1, 1, 't1'));
  await until(() => engine.begun.length === 1);
  old.stepDown(next.address);
  next.term = 2;
  await until(() => engine.stopped.includes('t1'));
  await new Promise((resolve) => setTimeout(resolve, 3 * RENEW_MS));
  expect([...old.failed, ...next.failed]).toEqual([]);
});

test('notices a leader that stands still, with every connection open, and goes on with another', async () => {
  const [still, next] = [await coordinator(1), await coordinator(0)];
  const proxy = await Proxy.start(() => still.address);
  cleanUps.push(() => proxy.stop());
  worker(`${proxy.address},${next.address}`);
  await until(() => still.registered.length === 1);
  proxy.disturb({ requests: () => 'stall', answers: () => 'stall' });
  next.term = 2;
  await until(() => next.registered.length === 1);
});

test('hands back what it holds when it is stopped', async () => {
  const leader = await coordinator(1);
  const { engine, loop } = worker(leader.address);
  leader.grant(leaseOf(1, 1, 't1'));
  await until(() => engine.begun.length === 1);
  await loop.stop();
  expect(leader.failed).toMatchObject([{ taskId: 't1', code: 'WORKER_STOPPED', counts: false }]);
});
