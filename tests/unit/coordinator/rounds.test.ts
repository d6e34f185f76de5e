/** A training that several workers share, as its leader leads it: rounds by fleet and time, in manifests, snapshots and the bucket. What follows from what is in tests/scenarios (rounds*.txt) and tests/property. */
import { beforeEach, describe, expect, test } from 'vitest';
import { schemaVersionOf } from '../../../coordinator/journal/index.ts';
import { ADOPTION_MS, type Leader } from '../../../coordinator/leader.ts';
import { readManifests } from '../../../coordinator/manifests.ts';
import { reconcile } from '../../../coordinator/reconcile.ts';
import { decide, isBeside, isEnded, openTasks, quorumOf, roundsOf, roundSteps, stateFromJson, stateToJson, type RunState } from '../../../coordinator/run/index.ts';
import { runView } from '../../../coordinator/api/views.ts';
import type { Event } from '../../../proto/gen/alumnus/v1/events.ts';
import { Stage, type Task, type TaskResult } from '../../../proto/gen/alumnus/v1/task.ts';
import { partOf, partSubject } from '../../../proto/subjects.ts';
import type { RecipeInput } from '../../../recipe/index.ts';
import { MemoryStore } from '../../simulation/store.ts';
import { work } from './bucket.ts';
import { MemoryDisk } from './memory-journal.ts';
import { Scene } from './scene.ts';
import { answer, makeData, makeRecipe } from './work.ts';

const RUN = 'run';
let scene: Scene;
beforeEach(() => {
  scene = new Scene();
});

const lead = (on = scene.disk): Promise<Leader> => scene.lead(100_000, on);
const register = (leader: Leader, ...workerIds: string[]): void => scene.register(leader, 2, ...workerIds);
const recipeOf = (replicas: number | 'auto', sharing: NonNullable<RecipeInput['training']>['sharing'] = {}, more: Partial<RecipeInput> = {}) =>
  makeRecipe({ rounds: 0, training: { replicas, teacher: { steps: 250 }, student: { steps: 250 }, sharing: { local_steps: 100, ...sharing } }, ...more });
const submit = (leader: Leader, recipe = recipeOf(2)) => leader.command(RUN, { kind: 'submit', runId: RUN, recipe, data: makeData() });
const open = (leader: Leader): Task[] => openTasks(leader.run(RUN));
const subjectsOpen = (leader: Leader): string[] => open(leader).map((task) => task.subject);
const complete = async (leader: Leader, task: Task, workerId = 'w1') => leader.command(RUN, { kind: 'complete', task, workerId, result: await work(scene.store, task) });

const told = async (): Promise<string[]> =>
  (await scene.facts()).flatMap((fact) => (fact.$case === 'roundOpened' ? [`round ${fact.value.round} with ${fact.value.replicas}`] : fact.$case === 'roundClosed' ? [`round ${fact.value.round} closed with ${fact.value.replicas.join(' ')}`] : []));

describe('the arithmetic of rounds', () => {
  test.each([[250, 100, 3], [200, 100, 2], [1, 100, 1], [101, 100, 2], [10_000_000, 1, 10_000_000]])('%i steps by %i are %i rounds', (steps, localSteps, rounds) => {
    expect(roundsOf(steps, localSteps)).toBe(rounds);
  });
  test('the last one has what is left', () => {
    expect([0, 1, 2].map((round) => roundSteps(250, 100, round))).toEqual([{ first: 0, steps: 100 }, { first: 100, steps: 100 }, { first: 200, steps: 50 }]);
  });
  // Least whole numbers by exact fractions: 0.55 x 20, 0.14 x 50 and 0.28 x 25 are 11, 7 and 7, and a bit more in floating point.
  test.each([[0.75, 1, 1], [0.75, 2, 2], [0.75, 3, 3], [0.75, 4, 3], [0.75, 64, 48], [0.55, 20, 11], [0.14, 50, 7], [0.28, 25, 7], [0.01, 4, 1], [0.5, 3, 2], [1, 64, 64]])('a share of %f of %i is %i', (share, replicas, quorum) => {
    expect(quorumOf(share, replicas)).toBe(quorum);
  });
});

test('parts of a training are known by stage and subject; a shard may have such a name', () => {
  expect([partSubject({ training: 'student', round: 12, replica: 3 }), partSubject({ training: 'control', round: 12_345 })]).toEqual(['student.r0012.k3', 'control.r12345.merge']);
  expect(partOf({ stage: Stage.TRAIN, subject: 'student.r0012.k3' })).toEqual({ training: 'student', round: 12, replica: 3 });
  expect(partOf({ stage: Stage.TRAIN, subject: 'control.r12345.merge' })).toEqual({ training: 'control', round: 12_345 });
  for (const subject of ['student', 'control', 'student.r12.k3', 'student.r0012', 'teacher.r0012.k3']) expect(partOf({ stage: Stage.TRAIN, subject })).toBeUndefined();
  expect(partOf({ stage: Stage.LABEL, subject: 'student.r0012.k3' })).toBeUndefined();
  expect(['control.r0000.k0', 'control.r0000.merge', 'control', 'student.r0000.k0'].map((subject) => isBeside({ stage: Stage.TRAIN, subject }))).toEqual([true, true, true, false]);
  expect(isBeside({ stage: Stage.LABEL, subject: 'control.r0000.k0' })).toBe(false);
});

test('what a replica trains is what one worker alone would train; with how many others is told beside it', () => {
  const one = decide(undefined, { kind: 'submit', runId: RUN, recipe: makeRecipe({ rounds: 0, training: { teacher: { steps: 250 }, student: { steps: 250 } } }), data: makeData() }, 0).state;
  const { state } = decide(undefined, { kind: 'submit', runId: RUN, recipe: recipeOf(2), data: makeData() }, 0);
  const [alone] = openTasks(one);
  expect(openTasks(state).map((task) => [task.spec?.$case === 'replica' ? [task.spec.value.train, task.spec.value.seed] : [], task.seed, task.work, task.checkpointSteps])).toEqual([0, 1].map(() => [[alone?.spec?.value, alone?.seed], alone?.seed, 100, 1_000]));
  expect([...state.rounds.keys()]).toEqual([alone?.taskId]);
});

test('a replica of other steps, a last merge without a model, one before it with a model, and what lies elsewhere are refused', () => {
  let { state } = decide(undefined, { kind: 'submit', runId: RUN, recipe: recipeOf(1 + 1, { local_steps: 200 }), data: makeData() }, 0);
  const give = (result: TaskResult): void => void ({ state } = decide(state, { kind: 'complete', task: openTasks(state)[0]!, workerId: 'w1', result }, 0));
  const refused = (change: (value: never) => object, message: RegExp): void => {
    const { deviceMs, result } = answer(openTasks(state)[0]!);
    expect(() => give({ deviceMs, result: { ...result, value: { ...result?.value, ...change(result?.value as never) } } as TaskResult['result'] })).toThrow(message);
  };
  const elsewhere = { key: 'runs/run/other/x', sha256: 'x', bytes: 1 };
  refused(() => ({ steps: 199 }), /of 199 steps, and the round has 200/);
  refused(() => ({ state: undefined }), /names no state/);
  refused(() => ({ state: elsewhere }), /not below/);
  for (let replica = 0; replica < 2; replica += 1) give(answer(openTasks(state)[0]!));
  refused(() => ({ trained: { model: elsewhere, parameters: 1, steps: 1, images: 1, finalLoss: 1, curve: [] } }), /not below/);
  refused(({ merged }: { merged: object }) => ({ trained: { model: merged, parameters: 1, steps: 1, images: 1, finalLoss: 1, curve: [] } }), /rounds are left/);
  refused(() => ({ merged: undefined }), /names no merged weights/);
  for (let task = 0; task < 3; task += 1) give(answer(openTasks(state)[0]!));
  refused(() => ({ trained: undefined }), /holds no model/);
  refused(({ trained }: { trained: object }) => ({ trained: { ...trained, model: undefined } }), /names no merged weights and model/);
  give(answer(openTasks(state)[0]!));
  expect([state.stage, state.iterations[0]?.student?.deviceMs, state.rounds.size]).toEqual([Stage.EVALUATE, 6_000, 0]);
});

describe('the leader', () => {
  test('opens rounds by its fleet, and only when workers had time to say that they live', async () => {
    const leader = await lead();
    await submit(leader, recipeOf('auto'));
    await leader.tick();
    expect(await told()).toEqual([]);
    register(leader, 'w1', 'w2', 'w3');
    await leader.tick();
    expect(await told()).toEqual(['round 0 with 3']);
    for (const task of open(leader)) await complete(leader, task);
    const next = await lead();
    register(next, 'w1');
    await complete(next, open(next)[0]!);
    // One of three has announced itself so far.
    await next.tick();
    expect(await told()).toEqual(['round 0 with 3', 'round 0 closed with 0 1 2']);
    register(next, 'w2');
    scene.nowMs += ADOPTION_MS;
    await next.tick();
    expect((await told()).at(-1)).toBe('round 1 with 2');
  });

  test('opens none by a failure that it is told of before workers had that time', async () => {
    const leader = await lead();
    register(leader, 'w1', 'w2', 'w3');
    await submit(leader, recipeOf('auto', {}, { rounds: 1, control: true }));
    for (const task of open(leader).filter((each) => !isBeside(each))) await complete(leader, task);
    const next = await lead();
    await complete(next, open(next).find((task) => !isBeside(task))!);
    const before = await told();
    expect(before).toEqual(['round 0 with 3', 'round 0 with 3', 'round 0 closed with 0 1 2']);
    const { taskId } = open(next).find((task) => isBeside(task))!;
    const leaseId = { term: leader.term, counter: 1 };
    next.scheduler.register({ workerId: 'w1', host: 'h', processId: 1, device: 'd', slots: 2, version: 'v' }, [{ leaseId, taskId, progress: undefined, checkpoint: undefined }], scene.nowMs);
    await next.failLease(next.scheduler.lease(leaseId)!, 'ENGINE_CRASHED', 'died', true);
    expect([next.run(RUN).failures.get(taskId)?.length, await told()]).toEqual([1, before]);
    register(next, 'w2');
    scene.nowMs += ADOPTION_MS;
    await next.tick();
    expect(await told()).toEqual([...before, 'round 1 with 2']);
  });

  test('gives each worker one replica, leaves a straggler out when its time is over, and takes its lease and its result back', async () => {
    const leader = await lead();
    await submit(leader, recipeOf(4));
    register(leader, 'w1', 'w2', 'w3', 'w4');
    const leases = ['w1', 'w2', 'w3', 'w4'].flatMap((workerId) => leader.grant(workerId, 2, []));
    expect(leases.map((lease) => lease.task?.subject)).toEqual(['student.r0000.k0', 'student.r0000.k1', 'student.r0000.k2', 'student.r0000.k3']);
    scene.nowMs += 10_000;
    for (const lease of leases.slice(0, 3)) await complete(leader, lease.task!);
    scene.nowMs += 4_999;
    await leader.tick();
    expect(subjectsOpen(leader)).toEqual(['student.r0000.k3']);
    scene.nowMs += 1;
    await leader.tick();
    expect(subjectsOpen(leader)).toEqual(['student.r0000.merge']);
    const [, , , straggler] = leases;
    expect(leader.scheduler.renew('w4', [{ leaseId: straggler?.leaseId, taskId: straggler?.task?.taskId ?? '', progress: undefined, checkpoint: undefined }], scene.nowMs)).toEqual([straggler?.leaseId]);
    await expect(complete(leader, straggler!.task!, 'w4')).rejects.toMatchObject({ code: 'LEASE_LOST' });
    expect(leader.grant('w4', 1, []).map((lease) => lease.task?.subject)).toEqual(['student.r0000.merge']);
  });

  test('writes a manifest ahead of each beginning and end of a round, and goes on when the store takes it', async () => {
    const leader = await lead();
    await submit(leader, recipeOf(2, { quorum: 0.5, straggler_wait: 1 }));
    const [first] = open(leader);
    scene.nowMs += 10;
    await complete(leader, first!);
    const put = scene.store.putAddressed.bind(scene.store);
    scene.store.putAddressed = () => Promise.reject(new Error('away'));
    scene.nowMs += 10;
    await leader.tick();
    expect(await told()).toEqual(['round 0 with 2']);
    scene.store.putAddressed = put;
    await leader.tick();
    expect(await told()).toEqual(['round 0 with 2', 'round 0 closed with 0']);
    const { chain } = await readManifests(scene.store, RUN);
    expect(chain.flatMap(({ manifest }) => manifest.events.map(({ fact }) => fact?.$case))).toEqual(['runSubmitted', 'roundOpened', 'taskCompleted', 'roundClosed']);
    expect(chain.map(({ manifest }) => manifest.schemaVersion)).toEqual([3, 3]);
  });

  test('holds the same rounds after a change of leaders, and from a snapshot; of a release before rounds there are none', async () => {
    const leader = await lead();
    await submit(leader, recipeOf(4));
    const before: RunState[] = [];
    for (let step = 0; step < 7; step += 1) {
      await complete(leader, open(leader)[0]!);
      before.push(leader.run(RUN));
    }
    expect((await lead()).run(RUN)).toEqual(leader.run(RUN));
    for (const state of before) expect(stateFromJson(stateToJson(state))).toEqual(state);
    const { rounds: _, ...earlier } = JSON.parse(stateToJson(leader.run(RUN))) as { rounds: unknown };
    expect(stateFromJson(JSON.stringify(earlier)).rounds.size).toBe(0);
  });

  // A run without students has no control, whether or not its recipe asks for one.
  test.each([false, true])('tells of rounds: which of how many, who is done, what was left out, and how long is left (control asked for: %s)', async (control) => {
    const leader = await lead();
    await submit(leader, recipeOf(4, { straggler_wait: 0 }, { control }));
    register(leader, 'w1', 'w2');
    const shared = () => runView(leader, leader.run(RUN), '').sharedTrainings;
    expect(shared()).toEqual([{ subject: 'student', iteration: 0, round: 0, rounds: 3, replicas: 4, replicasDone: 0, replicasGivenUp: 0, merging: false, leftOut: 0, stepsDone: 0, roundSteps: 100, steps: 250 }]);
    for (const task of open(leader).slice(0, 3)) await complete(leader, task);
    expect(shared()).toMatchObject([{ round: 0, replicasDone: 3, merging: true, leftOut: 0 }]);
    await complete(leader, open(leader)[0]!);
    expect(shared()).toMatchObject([{ round: 1, replicas: 4, replicasDone: 0, merging: false, leftOut: 1, stepsDone: 100 }]);
    const [lease] = leader.grant('w1', 1, []);
    leader.scheduler.renew('w1', [{ leaseId: lease?.leaseId, taskId: lease?.task?.taskId ?? '', progress: { done: 50, total: 100, unit: 'steps', rate: 64, loss: 0.5 }, checkpoint: undefined }], scene.nowMs);
    // 64 images a step at 64 a second: a second a step. 250 - 100 - 50 steps, in two turns, since two workers have four replicas.
    expect(runView(leader, leader.run(RUN), '').secondsLeft).toBe(200);
  });
});

test.each(['auto', 2] as const)('a run whose journal is lost in any round comes back from the bucket alone, and ends as it would have (replicas: %s)', async (replicas) => {
  const recipe = recipeOf(replicas, { quorum: 0.5, straggler_wait: 0 }, { rounds: 1, control: true });
  /** Nothing that a clock says; what the states hold of it is of no consequence here. */
  const known = ({ submittedAtMs: _a, endedAtMs: _b, stageEnteredAtMs: _c, manifest: _d, budget, rounds, ...rest }: RunState): object => ({
    ...rest, deviceMsSpent: budget.deviceMsSpent, rounds: rounds.map(({ current, ...shared }) => ({ ...shared, current: current === undefined ? undefined : { ...current, openedWallMs: 0, quorumWallMs: 0 } })),
  });
  async function go(leader: Leader, times = Infinity): Promise<RunState> {
    for (let done = 0; done < times && !isEnded(leader.run(RUN).phase); done += 1) await complete(leader, open(leader)[0]!);
    return leader.run(RUN);
  }
  for (const tasks of [0, 1, 2, 3, 5, 9, 14, 20]) {
    scene.store = new MemoryStore();
    const first = await lead(new MemoryDisk());
    register(first, 'w1', 'w2', 'w3');
    await submit(first, recipe);
    const before = await go(first, tasks);
    const second = await lead(new MemoryDisk());
    register(second, 'w1', 'w2', 'w3');
    expect((await reconcile(second, { runId: '', apply: true })).runs).toMatchObject([{ verdict: 'restored', notes: [] }]);
    expect(known(second.run(RUN))).toEqual(known(before));
    expect(known(await go(second))).toEqual(known(await go(first)));
  }
});

test('facts about rounds, and runs that have them, are written in a schema that a release before them refuses by name', async () => {
  const events = (replicas?: number): Event[] => decide(undefined, { kind: 'submit', runId: RUN, recipe: replicas === undefined ? makeRecipe() : recipeOf(replicas), data: makeData() }, 0).events;
  expect([schemaVersionOf(events()), schemaVersionOf(events(1)), schemaVersionOf(events(2)), schemaVersionOf(events(2).slice(0, 1)), schemaVersionOf(events(2).slice(1))]).toEqual([1, 1, 3, 3, 3]);
  expect(JSON.stringify(events(1)[0])).not.toContain('sharing');
});
