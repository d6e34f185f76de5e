/** What operators ask of runs and workers, through the command line, of a real coordinator with real workers. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { TaskView } from '../../proto/gen/alumnus/v1/operator.ts';
import { Stage } from '../../proto/gen/alumnus/v1/task.ts';
import { Cluster, useClusters } from '../harness/cluster.ts';
import { runCommand, type Ran } from '../harness/command.ts';
import { patternsHome, patternsRecipe, SHARDS } from '../harness/patterns.ts';

useClusters();
let template: Awaited<ReturnType<typeof patternsHome>>;

beforeAll(async () => {
  template = await patternsHome();
});
afterAll(() => template.remove());

const at = (cluster: Cluster) => (...args: string[]): Promise<Ran> => runCommand([...args, '--address', cluster.address]);
const json = (ran: Ran): Record<string, unknown> => {
  expect(ran.err === '' || ran.code === 0 ? '' : ran.err).toBe('');
  return JSON.parse(ran.out) as Record<string, unknown>;
};
const listed = (ran: Ran): Record<string, unknown>[] => (json(ran) as { items: Record<string, unknown>[] }).items;
const reasonsOf = (ran: Ran): string[] => (json(ran) as { reasons: { text: string }[] }).reasons.map(({ text }) => text);

/** Steps that no test waits for: a training of these is under way until somebody ends it. */
const LONG = 100_000;

const TRAINING_MS_MAX = 60_000;
const isTraining = ({ task, progress }: TaskView): boolean => task?.stage === Stage.TRAIN && (progress?.done ?? 0) > 0;

async function trainingOn(cluster: Cluster, runId: string): Promise<{ taskId: string; workerId: string }> {
  const view = await cluster.waitForRun(runId, ({ tasks }) => tasks.some(isTraining), 'training', TRAINING_MS_MAX);
  const leased = view.tasks.find(isTraining);
  return { taskId: leased?.task?.taskId ?? '', workerId: leased?.workerId ?? '' };
}

test('a task that waits says why, and a stage that is ahead what it waits for', async () => {
  const cluster = await Cluster.create({ template: template.home });
  await cluster.startCoordinator();
  const command = at(cluster);
  await cluster.submit(patternsRecipe({ rounds: 1, control: false }), 'waits');
  const [task] = listed(await command('task', 'list', 'waits', '-o', 'json')) as { task: { taskId: string }; state: string }[];
  expect(task).toMatchObject({ state: 'waiting', task: { stage: 'train', subject: 'student' } });
  const taskId = task?.task.taskId ?? '';
  expect(reasonsOf(await command('task', 'explain', taskId, '-o', 'json'))).toEqual(['no worker is there: start one with `alumnus worker`']);
  expect(reasonsOf(await command('task', 'explain', 'label', '--run', 'waits', '-o', 'json')).at(-1)).toBe('it follows, in iteration 1, when train of iteration 0 is done: a task is not done yet');

  cluster.startWorker('worker-1');
  await cluster.waitForRun('waits', ({ tasks }) => tasks.some(({ state }) => state === 'leased'), 'leased');
  expect(reasonsOf(await command('task', 'explain', taskId, '-o', 'json'))).toEqual([expect.stringMatching(/^worker worker-1 has it since \d+ s$/)]);
  await command('run', 'pause', 'waits', '--reason', 'lunch');
  const paused = await cluster.waitForRun('waits', ({ tasks }) => !tasks.some(({ state }) => state === 'leased'), 'without a lease');
  const next = paused.tasks[0]?.task?.taskId;
  if (next !== undefined) expect(reasonsOf(await command('task', 'explain', next, '-o', 'json'))[0]).toBe('the run is paused: lunch');
  const none = await command('task', 'explain', 'i9.train.student.t0-0000000000000000');
  expect(none).toMatchObject({ code: 3, err: expect.stringContaining('[TASK_NOT_FOUND]') });
  expect(await command('task', 'explain', 'train')).toMatchObject({ code: 2, err: expect.stringContaining('name it') });
});

test('a drained worker hands its training back, another goes on with it, and the next leader still gives it nothing', async () => {
  const cluster = await Cluster.create({ template: template.home });
  await cluster.start();
  const command = at(cluster);
  await cluster.submit(patternsRecipe({ rounds: 1, control: false, teacherSteps: LONG }), 'moves');
  const { workerId } = await trainingOn(cluster, 'moves');
  const drained = await command('worker', 'drain', workerId, '--wait', '--timeout', '60', '-o', 'json');
  expect(json(drained)).toMatchObject({ kind: 'Worker', workerId, cordon: 'draining', taskIds: [] });
  const moved = await cluster.waitForRun('moves', ({ tasks }) => tasks.some((each) => each.state === 'leased' && each.workerId !== workerId), 'on the other worker');
  // Who hands back has not failed.
  expect(moved.tasks[0]).toMatchObject({ failures: 0, lastError: '' });

  await cluster.killCoordinator();
  await cluster.startCoordinator();
  await cluster.waitForRun('moves', ({ tasks }) => tasks.some(({ state }) => state === 'leased'), 'adopted');
  const workers = listed(await command('worker', 'list', '-o', 'json'));
  expect(workers.find((each) => each['workerId'] === workerId)).toMatchObject({ cordon: 'draining' });
  expect(await command('worker', 'uncordon', workerId)).toMatchObject({ code: 0, out: `Worker ${workerId} is given work again.\n` });
  expect(await command('worker', 'cordon', 'nobody')).toMatchObject({ code: 3, err: expect.stringContaining('[WORKER_NOT_FOUND]') });
});

test('a run that is cancelled ends once its training is handed back; killed it ends at once; retried it goes on and succeeds', async () => {
  const cluster = await Cluster.create({ template: template.home });
  await cluster.start(['worker-1']);
  const command = at(cluster);
  await cluster.submit(patternsRecipe({ rounds: 1, control: false, teacherSteps: LONG }), 'long');
  await trainingOn(cluster, 'long');
  expect(json(await command('run', 'cancel', 'long', '--reason', 'wrong data', '-o', 'json'))).toMatchObject({ kind: 'RunSummary', state: 'cancelling', reason: 'wrong data', commands: ['kill'] });
  expect(await command('run', 'wait', 'long', '--for', 'cancelled', '--timeout', '60')).toMatchObject({ code: 0 });

  await cluster.submit(patternsRecipe({ rounds: 1, control: false }), 'short');
  await cluster.waitForRun('short', ({ tasks }) => tasks.some(({ state }) => state === 'leased'), 'leased');
  expect(json(await command('run', 'kill', 'short', '-o', 'json'))).toMatchObject({ state: 'cancelled', commands: ['retry'] });
  expect(json(await command('run', 'retry', 'short', '-o', 'json'))).toMatchObject({ state: 'running' });
  const view = await cluster.settled('short', 'succeeded');
  expect(view.iterations.map(({ decision }) => decision)).toEqual(['promoted', expect.stringMatching(/promoted|refused/)]);
  expect(await command('run', 'retry', 'short')).toMatchObject({ code: 4, err: expect.stringContaining('nothing of it failed') });

  const events = listed(await command('events', 'short', '--all', '-o', 'json')) as { number: number; event: string; text: string }[];
  expect(events.map(({ number }) => number)).toEqual(events.map((_, index) => index + 1));
  const turns = events.map(({ event }) => event).filter((event) => event.startsWith('run'));
  expect(turns).toEqual(['runSubmitted', 'runCancelled', 'runRetried', 'runSucceeded']);
  expect(events.filter(({ event, text }) => event === 'taskCompleted' && text.startsWith('label')).length).toBe(SHARDS);
  const newest = listed(await command('events', '--last', '3', '-o', 'json'));
  expect(newest.map((each) => each['runId'])).toEqual(['short', 'short', 'short']);
});

test('a refused student is promoted by a person, a run goes back to its first teacher, and one that succeeded returns the model that is chosen', async () => {
  const cluster = await Cluster.create({ template: template.home });
  await cluster.start();
  const command = at(cluster);
  await cluster.submit(patternsRecipe({ rounds: 1, control: false, more: 'promotion: { require: better, alpha: 0.000000001, on_refusal: wait }\n' }), 'chosen');
  const refused = await cluster.settled('chosen', 'paused');
  expect(refused.iterations.at(-1)).toMatchObject({ decision: 'refused' });
  expect(refused.summary?.commands).toEqual(['pause', 'resume', 'promote', 'rollback', 'cancel', 'kill']);
  expect(await command('run', 'rollback', 'chosen', '--iteration', '1')).toMatchObject({ code: 4, err: expect.stringContaining('that of iteration 0 can') });
  expect(json(await command('run', 'rollback', 'chosen', '--iteration', '0', '--reason', 'another seed', '-o', 'json'))).toMatchObject({ state: 'running', iteration: 1 });
  const again = await cluster.settled('chosen', 'paused');
  expect(again.iterations.map(({ iteration, try: attempt, decision }) => [iteration, attempt, decision])).toEqual([[0, 0, 'promoted'], [1, 0, 'refused'], [1, 1, 'refused']]);
  expect(json(await command('run', 'promote', 'chosen', '--reason', 'it is good enough', '-o', 'json'))).toMatchObject({ state: expect.stringMatching(/running|succeeded/) });
  const view = await cluster.settled('chosen', 'succeeded');
  const best = view.bestIteration;
  expect(json(await command('run', 'promote', 'chosen', '--iteration', String(1 - best), '-o', 'json'))).toMatchObject({ state: 'succeeded' });
  expect((await cluster.run('chosen')).bestIteration).toBe(1 - best);
});
