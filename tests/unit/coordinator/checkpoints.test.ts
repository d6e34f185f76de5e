/** How far trainings came, from what workers say to what their next attempts are handed: once a fact, in order, and known again from journal, snapshot and bucket. */
import type { handleUnaryCall, ServerUnaryCall } from '@grpc/grpc-js';
import { beforeEach, describe, expect, test } from 'vitest';
import { workerService } from '../../../coordinator/api/worker-service.ts';
import { ADOPTION_MS, type Leader } from '../../../coordinator/leader.ts';
import { reconcile } from '../../../coordinator/reconcile.ts';
import { openTasks, stateFromJson, stateToJson } from '../../../coordinator/run/index.ts';
import type { Checkpoint, Task } from '../../../proto/gen/alumnus/v1/task.ts';
import { FailRequest, RegisterRequest, RenewRequest, type Lease } from '../../../proto/gen/alumnus/v1/worker.ts';
import { work } from './bucket.ts';
import { MemoryDisk } from './memory-journal.ts';
import { Scene } from './scene.ts';
import { makeData, makeRecipe } from './work.ts';

const RUN = 'run';
let scene: Scene;
beforeEach(() => {
  scene = new Scene();
});

async function lead(on = scene.disk): Promise<Leader> {
  const leader = await scene.lead(1_000, on);
  scene.nowMs += ADOPTION_MS;
  return leader;
}

/** A leader of a run whose first training waits. */
async function training(): Promise<{ leader: Leader; task: Task }> {
  const leader = await lead();
  await leader.command(RUN, { kind: 'submit', runId: RUN, recipe: makeRecipe(), data: makeData() });
  return { leader, task: openTasks(leader.run(RUN))[0] as Task };
}

/** As a worker leaves it. */
async function kept(task: Task, step: number): Promise<Checkpoint> {
  return { step, ref: await scene.store.putAddressed(task.outputPrefix, Buffer.from(`${task.taskId} ${step}`), { extension: '.checkpoint', metadata: { 'alumnus.step': String(step) } }) };
}

const register = (leader: Leader, workerId: string): void => scene.register(leader, 1, workerId);
const grant = (leader: Leader, workerId: string): Lease => leader.grant(workerId, 1, [])[0] as Lease;
const stepsOf = (task: Task | undefined): number[] => task?.checkpoints.map(({ step }) => step) ?? [];

/** The facts about checkpoints and failures on the disk, in order. */
const told = async (): Promise<string[]> =>
  (await scene.facts()).flatMap((fact) => (fact.$case === 'checkpointReached' ? [`step ${fact.value.checkpoint?.step} by ${fact.value.workerId}`] : fact.$case === 'taskFailed' ? [`failed on ${fact.value.workerId}`] : []));

const turn = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 5));

describe('the leader', () => {
  test('hands the newest and the one before to the next attempt, under the same task id; what is no news is no fact', async () => {
    const { leader, task } = await training();
    for (const workerId of ['w1', 'w2']) register(leader, workerId);
    expect(task.checkpointSteps).toBe(1_000);
    const first = grant(leader, 'w1');
    expect(first.task).toEqual(task);
    for (const step of [100, 200, 300, 200, 300]) await leader.checkpoint(task.taskId, 'w1', await kept(task, step));
    expect(await told()).toEqual(['step 100 by w1', 'step 200 by w1', 'step 300 by w1']);
    // A stage's end and the like are told by manifests; a checkpoint tells of itself in the bucket.
    expect([...scene.store.objects.keys()].filter((key) => key.endsWith('.manifest'))).toHaveLength(1);
    await leader.failLease(leader.scheduler.lease(first.leaseId!)!, 'ENGINE_CRASHED', 'it died', true);
    scene.nowMs += 500;
    const second = grant(leader, 'w2');
    expect(second.task?.taskId).toBe(task.taskId);
    expect(stepsOf(second.task)).toEqual([300, 200]);
    await leader.command(RUN, { kind: 'complete', task, workerId: 'w2', result: await work(scene.store, task) });
    expect(leader.run(RUN).checkpoints.size).toBe(0);
    await leader.checkpoint(task.taskId, 'w1', await kept(task, 400));
    expect(await told()).toHaveLength(4);
  });

  test('knows them again after a change of leaders, from the journal and from a snapshot', async () => {
    const { leader, task } = await training();
    for (const step of [100, 200]) await leader.checkpoint(task.taskId, 'w1', await kept(task, step));
    const next = await lead();
    register(next, 'w1');
    expect(stepsOf(grant(next, 'w1').task)).toEqual([200, 100]);
    const state = leader.run(RUN);
    expect(stateFromJson(stateToJson(state))).toEqual(state);
    // Of a release before checkpoints.
    const { checkpoints: _, ...earlier } = JSON.parse(stateToJson(state)) as { checkpoints: unknown };
    expect(stateFromJson(JSON.stringify(earlier)).checkpoints.size).toBe(0);
  });
});

describe('the worker service', () => {
  /** Calls as they come over the wire. */
  function calls(leader: Leader) {
    const service = workerService({ leader: () => leader, leaderAddress: '', trouble: '', journal: leader.journal }, 'file:///store');
    const call = <Request, Response>(method: handleUnaryCall<Request, Response>, request: Request): Promise<Response> =>
      new Promise((resolve, reject) => method({ request } as ServerUnaryCall<Request, Response>, (error, response) => (error === null ? resolve(response as Response) : reject(Object.assign(new Error('refused'), error)))));
    return {
      register: (request: object) => call(service.register, RegisterRequest.fromPartial({ slots: 1, ...request })),
      renew: (request: object) => call(service.renew, RenewRequest.fromPartial(request)),
      fail: (request: object) => call(service.fail, FailRequest.fromPartial(request)),
    };
  }

  test('journals what renewals tell, over and over, once', async () => {
    const { leader, task } = await training();
    const service = calls(leader);
    await service.register({ workerId: 'w1' });
    const { leaseId } = grant(leader, 'w1');
    const held = [{ leaseId, taskId: task.taskId, checkpoint: await kept(task, 100) }];
    for (let times = 0; times < 3; times += 1) expect((await service.renew({ workerId: 'w1', held })).lost).toEqual([]);
    await turn();
    for (let times = 0; times < 3; times += 1) await service.renew({ workerId: 'w1', held });
    await turn();
    expect(await told()).toEqual(['step 100 by w1']);
  });

  test('a renewal is answered while the journal is away, and what it told is journalled by a later one', async () => {
    const { leader, task } = await training();
    const service = calls(leader);
    await service.register({ workerId: 'w1' });
    const { leaseId } = grant(leader, 'w1');
    const held = [{ leaseId, taskId: task.taskId, checkpoint: await kept(task, 100) }];
    let release: () => void = () => undefined;
    const append = leader.journal.append.bind(leader.journal);
    leader.journal.append = async (...given) => {
      await new Promise<void>((resolve) => (release = resolve));
      return append(...given);
    };
    expect((await service.renew({ workerId: 'w1', held })).lost).toEqual([]);
    expect((await service.renew({ workerId: 'w1', held })).lost).toEqual([]);
    expect(await told()).toEqual([]);
    leader.journal.append = append;
    await turn();
    release();
    await turn();
    expect(await told()).toEqual(['step 100 by w1']);
  });

  test('takes one of an older lease, and of a worker that tells a new leader what it holds', async () => {
    const { leader: first, task } = await training();
    register(first, 'w1');
    const { leaseId } = grant(first, 'w1');
    const next = await lead();
    const service = calls(next);
    expect((await service.register({ workerId: 'w1', held: [{ leaseId, taskId: task.taskId, checkpoint: await kept(task, 100) }] })).lost).toEqual([]);
    await turn();
    expect(await told()).toEqual(['step 100 by w1']);
    // This lease nobody knows; the bytes are the task's all the same.
    const stranger = { term: next.term, counter: 99 };
    expect((await service.renew({ workerId: 'w2', held: [{ leaseId: stranger, taskId: task.taskId, checkpoint: await kept(task, 200) }] })).lost).toEqual([stranger]);
    await turn();
    expect(await told()).toEqual(['step 100 by w1', 'step 200 by w2']);
  });

  test('journals what a failure tells before the failure, so that the next grant has it', async () => {
    const { leader, task } = await training();
    const service = calls(leader);
    await service.register({ workerId: 'w1' });
    const { leaseId } = grant(leader, 'w1');
    await service.fail({ workerId: 'w1', leaseId, taskId: task.taskId, code: 'ENGINE_CRASHED', message: 'it died', counts: true, checkpoint: await kept(task, 100) });
    expect(await told()).toEqual(['step 100 by w1', 'failed on w1']);
    scene.nowMs += 500;
    expect(stepsOf(grant(leader, 'w1').task)).toEqual([100]);
  });

  test('what is no checkpoint of the task keeps neither a lease from being renewed nor a failure from being one', async () => {
    const { leader, task } = await training();
    const service = calls(leader);
    await service.register({ workerId: 'w1' });
    const { leaseId } = grant(leader, 'w1');
    const wrong = { step: 100, ref: { key: 'runs/other/x.checkpoint', sha256: 'f'.repeat(64), bytes: 1 } };
    expect((await service.renew({ workerId: 'w1', held: [{ leaseId, taskId: task.taskId, checkpoint: wrong }] })).lost).toEqual([]);
    await service.fail({ workerId: 'w1', leaseId, taskId: task.taskId, code: 'ENGINE_CRASHED', message: 'it died', counts: true, checkpoint: wrong });
    expect(await told()).toEqual(['failed on w1']);
  });
});

describe('reconcile', () => {
  /** A fresh journal beside the same bucket, dry and then done. */
  async function reconciled() {
    const leader = await lead(new MemoryDisk());
    const dry = await reconcile(leader, { runId: '', apply: false });
    const done = await reconcile(leader, { runId: '', apply: true });
    expect(done).toEqual(dry);
    return { leader, run: done.runs[0]! };
  }

  test('takes the newest checkpoint of an open training, whether it was ever told or not', async () => {
    const { leader: first, task } = await training();
    await first.checkpoint(task.taskId, 'w1', await kept(task, 100));
    for (const step of [300, 200]) await kept(task, step);
    const { leader, run } = await reconciled();
    expect(run).toMatchObject({ verdict: 'restored', checkpointsTaken: 1, notes: [] });
    register(leader, 'w1');
    expect(stepsOf(grant(leader, 'w1').task)).toEqual([300]);
    expect((await reconcile(leader, { runId: '', apply: true })).runs[0]).toMatchObject({ verdict: 'agrees', checkpointsTaken: 0 });
  });

  test('brings a journal forward that lacks it, and takes none that is older than what it knows', async () => {
    const { leader, task } = await training();
    await leader.checkpoint(task.taskId, 'w1', await kept(task, 200));
    await kept(task, 100);
    expect((await reconcile(leader, { runId: '', apply: true })).runs[0]).toMatchObject({ verdict: 'agrees', checkpointsTaken: 0 });
    await kept(task, 300);
    expect((await reconcile(leader, { runId: '', apply: true })).runs[0]).toMatchObject({ verdict: 'advanced', checkpointsTaken: 1 });
    expect(stepsOf({ ...task, checkpoints: [...leader.run(RUN).checkpoints.get(task.taskId) ?? []] })).toEqual([300, 200]);
  });

  test('takes the one before where the newest is damaged, and says so', async () => {
    const { task } = await training();
    await kept(task, 100);
    const { ref } = await kept(task, 200);
    scene.store.objects.set(ref!.key, { ...scene.store.objects.get(ref!.key)!, content: Buffer.from('other bytes') });
    const { leader, run } = await reconciled();
    expect(run).toMatchObject({ checkpointsTaken: 1, notes: [expect.stringContaining(ref!.key)] });
    expect(leader.run(RUN).checkpoints.get(task.taskId)?.map(({ step }) => step)).toEqual([100]);
  });

  test('leaves those of a training alone that its record ends', async () => {
    const { task } = await training();
    await kept(task, 100);
    await work(scene.store, task);
    const { leader, run } = await reconciled();
    expect(run).toMatchObject({ resultsTaken: 1, checkpointsTaken: 0 });
    expect(leader.run(RUN).checkpoints.size).toBe(0);
  });
});
