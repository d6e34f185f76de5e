/** What a coordinator tells those who watch a run, over real gRPC calls: the newest, and no more than they read. */
import { setTimeout as sleep } from 'node:timers/promises';
import { credentials, Server, ServerCredentials } from '@grpc/grpc-js';
import { afterEach, expect, test } from 'vitest';
import { operatorService } from '../../../coordinator/api/operator-service.ts';
import { runView, summaryOf } from '../../../coordinator/api/views.ts';
import { nextStep } from '../../../cli/remedy.ts';
import { Fold } from '../../../coordinator/fold.ts';
import { Leader } from '../../../coordinator/leader.ts';
import { openTasks } from '../../../coordinator/run/index.ts';
import { OperatorServiceClient, OperatorServiceService, type RunView } from '../../../proto/gen/alumnus/v1/operator.ts';
import type { ModelChoice } from '../../../recipe/index.ts';
import { MemoryStore } from '../../simulation/store.ts';
import { MemoryDisk } from './memory-journal.ts';
import { answer, makeData, makeRecipe } from './work.ts';

const RUN = 'run';
const CHANGES = 60;
const endings: (() => void)[] = [];
afterEach(() => {
  for (const end of endings.splice(0).reverse()) end();
});

test('a watcher that stops reading is told nothing more until it reads on, and then the newest', async () => {
  const [journal, store] = [new MemoryDisk().open(), new MemoryStore()];
  const leader = new Leader({ journal, fold: await Fold.load(journal, store), store, term: await journal.begin(), leaseMs: 1_000, clock: { now: () => Date.now(), sleep: () => new Promise<void>(() => undefined) } });
  // Some 80 KB a view: more than a connection takes unread.
  await leader.command(RUN, { kind: 'submit', runId: RUN, recipe: makeRecipe({ control: false }), data: makeData({ shards: 500 }) });
  for (let step = 0; step < 2; step += 1) {
    const [task] = openTasks(leader.run(RUN));
    if (task === undefined) throw new Error('a task is open');
    await leader.command(RUN, { kind: 'complete', task, workerId: 'w1', result: answer(task) });
  }
  const server = new Server();
  server.addService(OperatorServiceService, operatorService({ leader: () => leader, leaderAddress: '', trouble: '', journal }, store, 'file:///store', '0'));
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) => (error === null ? resolve(bound) : reject(error)));
  });
  endings.push(() => server.forceShutdown());
  const client = new OperatorServiceClient(`127.0.0.1:${port}`, credentials.createInsecure());
  endings.push(() => client.close());
  const seen: RunView[] = [];
  const watch = client.watchRun({ runId: RUN });
  const ended = new Promise<void>((resolve, reject) => {
    watch.on('data', (view: RunView) => seen.push(view)).on('end', resolve).on('error', reject);
  });
  while (seen.length === 0) await sleep(10);
  watch.pause();
  const before = seen.length;
  // Each far enough from the one before to be told by itself.
  for (let times = 0; times < CHANGES; times += 1) {
    leader.touch();
    await sleep(110);
  }
  await leader.command(RUN, { kind: 'kill', reason: 'enough' });
  watch.resume();
  await ended;
  // What the two ends of a connection and the watcher's own library hold, whatever the number of changes.
  expect(seen.length - before).toBeLessThan(CHANGES / 2);
  expect(seen.at(-1)?.summary?.state).toBe('cancelled');
});

test('a run that has no worker is said to wait for one, until one is there', async () => {
  const [journal, store] = [new MemoryDisk().open(), new MemoryStore()];
  const leader = new Leader({ journal, fold: await Fold.load(journal, store), store, term: await journal.begin(), leaseMs: 1_000, clock: { now: () => 0, sleep: () => new Promise<void>(() => undefined) } });
  await leader.command(RUN, { kind: 'submit', runId: RUN, recipe: makeRecipe(), data: makeData() });
  const waits = (): boolean => summaryOf(leader, leader.run(RUN)).waitsForWorker;
  expect(waits()).toBe(true);
  expect(nextStep(summaryOf(leader, leader.run(RUN)))).toContain('alumnus worker');
  leader.scheduler.register({ workerId: 'w1', host: 'h', processId: 1, device: 'd', slots: 2, version: 'v' }, [], 0);
  expect(waits()).toBe(false);
  leader.scheduler.leave('w1');
  await leader.command(RUN, { kind: 'pause', reason: 'lunch' });
  expect(waits()).toBe(false);
});

test('of a teacher from elsewhere a run tells what its import noted, and which student is smaller than it', async () => {
  const [journal, store] = [new MemoryDisk().open(), new MemoryStore()];
  const leader = new Leader({ journal, fold: await Fold.load(journal, store), store, term: await journal.begin(), leaseMs: 1_000, clock: { now: () => 0, sleep: () => new Promise<void>(() => undefined) } });
  await leader.command(RUN, { kind: 'submit', runId: RUN, recipe: makeRecipe({ models: { teacher: { url: 's3://models/birds' }, ladder: [{ model: 'cnn', width: 16 } as unknown as ModelChoice] } }), data: makeData({ shards: 1 }) });
  for (;;) {
    const [task] = openTasks(leader.run(RUN));
    if (task === undefined) break;
    const { result, deviceMs } = answer(task, { parameters: task.spec?.$case === 'import' ? 50_000 : 4_000 });
    await leader.command(RUN, { kind: 'complete', task, workerId: 'w1', result: { deviceMs, result: result?.$case === 'import' ? { $case: 'import', value: { ...result.value, notes: ['images are resized'] } } : result } });
  }
  const view = runView(leader, leader.run(RUN), 'file:///store');
  expect(view.summary?.state).toBe('succeeded');
  expect(view.warnings.slice(0, 2)).toEqual(['models.teacher: images are resized', 'iteration 1: the student has 4000 parameters, its teacher from elsewhere 50000: it is compressed, and noise helps smaller students less']);
  expect(view.iterations.map(({ model }) => [model?.label, model?.parameters, model?.steps])).toEqual([['birds (imported)', 50_000, 0], ['cnn width=16', 4_000, 2500]]);
});
