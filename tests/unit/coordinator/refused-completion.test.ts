/** A result that the journal can't take, from the worker's lease loop to what `run describe` shows: the attempt fails with that reason, counts, and the next one may do better. */
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { afterEach, expect, test, vi } from 'vitest';
import { runView } from '../../../coordinator/api/views.ts';
import { workerService } from '../../../coordinator/api/worker-service.ts';
import { Fold } from '../../../coordinator/fold.ts';
import { Leader } from '../../../coordinator/leader.ts';
import type { Task, TaskResult } from '../../../proto/gen/alumnus/v1/task.ts';
import { WorkerServiceService } from '../../../proto/gen/alumnus/v1/worker.ts';
import { LeaseLoop } from '../../../worker/lease-loop/index.ts';
import { MemoryStore } from '../../simulation/store.ts';
import { MemoryDisk } from './memory-journal.ts';
import { answer, makeData, makeRecipe } from './work.ts';

const RUN = 'run';
/** Above the facts of a submission and of an ordinary result; 1,000 points of a curve take more than 10 bytes each. */
const FACT_BYTES_MAX = 8_000;

const endings: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const end of endings.splice(0).reverse()) await end();
});

function tooLarge(task: Task): TaskResult {
  const { deviceMs, result } = answer(task);
  if (result?.$case !== 'train') throw new Error('the first task is a training');
  return { deviceMs, result: { ...result, value: { ...result.value, curve: Array.from({ length: 1_000 }, (_, step) => ({ step: step + 1, loss: 0.123 })) } } };
}

test('the refusal of a completion is the attempt\'s failure: told with its reason, counted once, and the task is granted again', async () => {
  const journal = Object.assign(new MemoryDisk().open(), { factBytesMax: FACT_BYTES_MAX });
  const store = new MemoryStore();
  const fold = await Fold.load(journal, store);
  const leader = new Leader({ journal, fold, store, term: await journal.begin(), leaseMs: 600_000, clock: { now: () => Date.now(), sleep: () => new Promise<void>(() => undefined) } });
  await leader.command(RUN, { kind: 'submit', runId: RUN, recipe: makeRecipe({ rounds: 0 }), data: makeData() });
  const server = new Server();
  server.addService(WorkerServiceService, workerService({ leader: () => leader, leaderAddress: '', trouble: '', journal }, 'file:///store'));
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) => (error === null ? resolve(bound) : reject(error)));
  });
  endings.push(() => server.forceShutdown());
  let attempts = 0;
  let goOn: () => void = () => undefined;
  const seen = new Promise<void>((resolve) => (goOn = resolve));
  const run = async (task: Task): Promise<TaskResult> => {
    attempts += 1;
    if (attempts === 1) return tooLarge(task);
    // The failure is looked at before the task is done.
    await seen;
    return answer(task);
  };
  const loop = new LeaseLoop({ address: `127.0.0.1:${port}`, workerId: 'w1', device: 'none', version: '0', engine: { run }, log: () => undefined });
  const ended = loop.run();
  endings.push(async () => {
    goOn();
    await loop.stop();
    await ended;
  });
  await vi.waitFor(() => expect(attempts).toBe(2), { timeout: 30_000 });
  const [task] = runView(leader, leader.run(RUN), 'file:///store').tasks;
  expect(task).toMatchObject({ failures: 1, lastErrorWorkerId: 'w1', lastError: expect.stringMatching(/^FACT_TOO_LARGE: run: its facts take \d+ bytes, and the journal takes 8000 at once$/) as string });
  expect([...leader.run(RUN).failures.values()].flat()).toHaveLength(1);
  goOn();
  await vi.waitFor(() => expect(leader.run(RUN).phase).toBe('succeeded'), { timeout: 30_000 });
});
