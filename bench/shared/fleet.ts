/**
 * A process of its own that speaks for many simulated workers, over few connections: they register, take a shard each, renew it with growing progress four times in a lease, and
 * now and then one is done and takes another. The first answers trainings and evaluations, which nobody does here. Orders and questions come over IPC (bench/page.ts).
 */
import { credentials, type ServiceError } from '@grpc/grpc-js';
import { createHash } from 'node:crypto';
import { WorkerServiceClient, type AcquireResponse, type CompleteResponse, type Lease, type RegisterResponse, type RenewResponse } from '../../proto/gen/alumnus/v1/worker.ts';
import type { ObjectRef, Task, TaskResult } from '../../proto/gen/alumnus/v1/task.ts';
import { median } from './figures.ts';

export interface FleetOrder {
  readonly address: string;
  readonly prefix: string;
  readonly workers: number;
  readonly leads: boolean;
  readonly completionsPerSecond: number;
}

/** Since the last question. */
export interface FleetAnswer {
  readonly calls: number;
  /** Median of renewals; 0 where there were none. */
  readonly renewMs: number;
  readonly lost: number;
}

const CONNECTIONS = 8;
/** Calls at a time while they come. */
const JOINING = 32;

interface Simulated {
  readonly id: string;
  readonly client: WorkerServiceClient;
  lease: Lease | undefined;
  done: number;
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
let calls = 0;
let lost = 0;
let renewals: number[] = [];
let paused = false;

function call<Answer>(ask: (callback: (error: ServiceError | null, answer: Answer) => void) => unknown): Promise<Answer> {
  return new Promise((resolve, reject) => {
    ask((error: ServiceError | null, answer: Answer) => {
      calls += 1;
      if (error === null) resolve(answer);
      else reject(error);
    });
  });
}

const refOf = (prefix: string, what: string): ObjectRef => {
  const sha256 = createHash('sha256').update(`${prefix}/${what}`).digest('hex');
  return { key: `${prefix}/${sha256}`, sha256, bytes: 100 };
};

/** What a worker would say of it: figures of no meaning. */
function resultOf({ spec, outputPrefix, work }: Task): TaskResult {
  const output = (what: string): ObjectRef => refOf(outputPrefix, what);
  switch (spec?.$case) {
    case 'label': return { deviceMs: 100, result: { $case: 'label', value: { labels: output('labels'), tally: output('tally'), samples: work } } };
    case 'train': return { deviceMs: 100, result: { $case: 'train', value: { model: output('model'), parameters: 1000, steps: work, images: work * 32, finalLoss: 0.5, curve: [], heldOutCurve: [] } } };
    case 'evaluate': return { deviceMs: 100, result: { $case: 'evaluate', value: { evaluation: output('evaluation'), validation: { correct: 80, total: 100, classes: [], calibrationError: 0 }, test: undefined, paired: [], calibration: undefined, confidence: [{ confidence: 0.5, correct: 80, total: 100 }] } } };
    default: throw new Error(`nobody simulates a task of kind ${spec?.$case}`);
  }
}

async function acquire(worker: Simulated, waitMs: number): Promise<Lease | undefined> {
  const { leases } = await call<AcquireResponse>((callback) => worker.client.acquire({ workerId: worker.id, max: 1, waitMs, holds: [] }, callback));
  return leases[0];
}

async function complete(worker: Simulated): Promise<void> {
  const { lease } = worker;
  if (lease?.task === undefined) return;
  worker.lease = undefined;
  await call<CompleteResponse>((callback) => worker.client.complete({ workerId: worker.id, leaseId: lease.leaseId, taskId: lease.task?.taskId ?? '', result: resultOf(lease.task!) }, callback));
}

async function renew(worker: Simulated): Promise<void> {
  const { lease } = worker;
  if (lease === undefined) return;
  worker.done = Math.min(99, worker.done + 3);
  const startMs = performance.now();
  const answer = await call<RenewResponse>((callback) => worker.client.renew({ workerId: worker.id, held: [{ leaseId: lease.leaseId, taskId: lease.task?.taskId ?? '', progress: { done: worker.done, total: 100, unit: 'images', rate: 250, loss: 0 }, checkpoint: undefined }], lines: [] }, callback));
  renewals.push(performance.now() - startMs);
  if (answer.lost.length > 0) {
    lost += 1;
    worker.lease = undefined;
  }
}

async function each(workers: readonly Simulated[], work: (worker: Simulated) => Promise<void>): Promise<void> {
  const left = workers.values();
  await Promise.all(Array.from({ length: JOINING }, async () => {
    for (const worker of left) await work(worker);
  }));
}

async function begin({ address, prefix, workers: count, leads, completionsPerSecond }: FleetOrder): Promise<void> {
  const clients = Array.from({ length: CONNECTIONS }, () => new WorkerServiceClient(address, credentials.createInsecure(), { 'grpc.use_local_subchannel_pool': 1 }));
  const workers = Array.from({ length: count }, (_, at): Simulated => ({ id: `${prefix}-${String(at).padStart(5, '0')}`, client: clients[at % CONNECTIONS]!, lease: undefined, done: 0 }));
  let renewEveryMs = 1_000;
  const register = async (worker: Simulated): Promise<void> => {
    ({ renewEveryMs } = await call<RegisterResponse>((callback) => worker.client.register({ workerId: worker.id, host: `host-${prefix}`, processId: process.pid, device: 'simulated', slots: 1, held: [], version: 'simulated' }, callback)));
  };
  const [first] = workers;
  if (first === undefined) throw new Error('a fleet has a worker');
  await register(first);
  // The first teacher is nobody's work: what follows is the label stage.
  for (let isLabel = !leads; !isLabel; isLabel = first.lease?.task?.spec?.$case === 'label') {
    first.lease = await acquire(first, 5_000);
    if (first.lease?.task?.spec?.$case !== 'label') await complete(first);
  }
  const beat = async (): Promise<void> => {
    for (let at = 0; ; at = (at + 1) % workers.length) {
      // Spread over the time between two renewals of one worker.
      if (at % 50 === 0) await pause((renewEveryMs * 50) / workers.length);
      // What is not renewed would be lost: without load half as often.
      if (paused && at % 50 === 0) await pause((renewEveryMs * 50) / workers.length);
      renew(workers[at]!).catch(() => undefined);
    }
  };
  void beat();
  await each(workers.slice(1), async (worker) => {
    await register(worker);
    worker.lease = await acquire(worker, 1_000);
  });
  first.lease ??= await acquire(first, 1_000);
  const finish = async (): Promise<void> => {
    for (let at = 0; ; at = (at + 1) % workers.length) {
      await pause(1000 / completionsPerSecond);
      if (paused) continue;
      const worker = workers[at]!;
      complete(worker).then(async () => {
        worker.done = 0;
        worker.lease = await acquire(worker, 20_000);
      }).catch(() => undefined);
    }
  };
  if (completionsPerSecond > 0) void finish();
}

if (process.send !== undefined) {
  let ready: Promise<void> = Promise.resolve();
  process.on('disconnect', () => process.exit());
  process.on('message', (message: FleetOrder | 'ready' | 'pause' | 'resume' | 'figures') => {
    if (typeof message === 'object') {
      ready = begin(message);
      return;
    }
    if (message === 'pause' || message === 'resume') paused = message === 'pause';
    void (message === 'ready' ? ready : Promise.resolve()).then(() => {
      const answer: FleetAnswer = { calls, renewMs: renewals.length === 0 ? 0 : median(renewals), lost };
      calls = 0;
      lost = 0;
      renewals = [];
      process.send?.(answer);
    }, (thrown: unknown) => {
      process.stderr.write(`${String(thrown)}\n`);
      process.exit(1);
    });
  });
}
