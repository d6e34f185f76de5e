/** What a task is to do, by value or by reference, and what becomes of a lease whose specification can't be written. */
import { beforeEach, describe, expect, test } from 'vitest';
import { Fold } from '../../../coordinator/fold.ts';
import { Leader } from '../../../coordinator/leader.ts';
import { INLINE_BYTES_MAX } from '../../../coordinator/run-data.ts';
import { openTasks } from '../../../coordinator/run/index.ts';
import { AlumnusError } from '../../../proto/errors.ts';
import { Stage, Task } from '../../../proto/gen/alumnus/v1/task.ts';
import type { ObjectStore } from '../../../store/index.ts';
import { withSpecification } from '../../../worker/tasks/specification.ts';
import { MemoryStore } from '../../simulation/store.ts';
import { MemoryDisk } from './memory-journal.ts';
import { answer, makeData, makeRecipe } from './work.ts';

const RUN = 'run';
const SHARDS = 600;
let memory: MemoryStore;
let away: boolean;
let leader: Leader;

beforeEach(async () => {
  memory = new MemoryStore();
  away = false;
  const store: ObjectStore = Object.assign(Object.create(memory) as ObjectStore, {
    putAddressed: (...put: Parameters<ObjectStore['putAddressed']>) => (away ? Promise.reject(new AlumnusError('STORE_UNREACHABLE', 'nobody answers')) : memory.putAddressed(...put)),
  });
  const journal = new MemoryDisk().open();
  leader = new Leader({ journal, fold: await Fold.load(journal, store), store, term: await journal.begin(), leaseMs: 1_000, clock: { now: () => 0, sleep: () => new Promise<void>(() => undefined) } });
  await leader.command(RUN, { kind: 'submit', runId: RUN, recipe: makeRecipe(), data: makeData({ shards: SHARDS }) });
  for (const workerId of ['w1', 'w2']) leader.scheduler.register({ workerId, host: 'h', processId: 1, device: 'd', slots: 1, version: 'v' }, [], 0);
});

/** Up to the stage's first open task. */
async function goTo(stage: Stage): Promise<void> {
  while (leader.run(RUN).stage !== stage) await Promise.all(openTasks(leader.run(RUN)).map((task) => leader.command(RUN, { kind: 'complete', task, workerId: 'w1', result: answer(task) })));
}

const specifications = (): string[] => [...memory.objects.keys()].filter((key) => key.endsWith('.spec'));

describe('a lease', () => {
  test('of a small specification is what it was', async () => {
    const leases = leader.grant('w1', 1, []);
    expect(leases).toHaveLength(1);
    expect(await leader.portable(leases)).toEqual(leases);
    expect(specifications()).toEqual([]);
  });

  test('of a large one names it, once written, and a worker has the very task back', async () => {
    await goTo(Stage.SELECT);
    const leases = leader.grant('w1', 1, []);
    const task = leases[0]?.task as Task;
    expect(Task.encode(task).finish().byteLength).toBeGreaterThan(INLINE_BYTES_MAX);
    const [travelling] = await leader.portable(leases);
    expect(travelling?.task?.spec).toBeUndefined();
    expect(Task.encode(travelling?.task as Task).finish().byteLength).toBeLessThan(1_024);
    const { specRef, ...read } = await withSpecification(memory, travelling?.task as Task);
    const { specRef: _none, ...wanted } = Task.decode(Task.encode(task).finish());
    expect(read).toEqual(wanted);
    expect(specifications()).toEqual([specRef?.key]);
    await leader.portable(leases);
    expect(specifications()).toHaveLength(1);
  });

  test('whose specification the store does not take is taken back, and counts against nobody', async () => {
    await goTo(Stage.SELECT);
    away = true;
    const leases = leader.grant('w1', 1, []);
    await expect(leader.portable(leases)).rejects.toMatchObject({ code: 'STORE_UNREACHABLE', retryable: true });
    expect(leader.grant('w2', 1, []).map((lease) => [lease.task?.taskId, lease.attempt])).toEqual([[leases[0]?.task?.taskId, leases[0]?.attempt]]);
    expect(leader.run(RUN).failures.size).toBe(0);
  });
});

test('a worker is told where the object that a lease names holds no specification', async () => {
  const ref = await memory.putAddressed('runs/run/task', Task.encode(Task.fromPartial({ taskId: 'x' })).finish());
  await expect(withSpecification(memory, Task.fromPartial({ specRef: ref }))).rejects.toMatchObject({ code: 'USAGE', where: ref.key });
});
