/** The leader's promises to those who call it, against a journal that the test holds back, breaks or lets go. */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { DirectoryStore } from '../../../store/index.ts';
import { AlumnusError } from '../../../proto/errors.ts';
import type { Event, EventGroup } from '../../../proto/gen/alumnus/v1/events.ts';
import { EventGroup as EventGroupMessage } from '../../../proto/gen/alumnus/v1/events.ts';
import { Stage, type Task } from '../../../proto/gen/alumnus/v1/task.ts';
import { GROUP_BYTES_MAX, type Journal } from '../../../coordinator/journal/index.ts';
import { Fold } from '../../../coordinator/fold.ts';
import { ADOPTION_MS, Leader } from '../../../coordinator/leader.ts';
import { factsOf, readManifests } from '../../../coordinator/manifests.ts';
import { openTasks } from '../../../coordinator/run/index.ts';
import { MemoryStore } from '../../simulation/store.ts';
import { answer, fold, makeData, makeRecipe } from './work.ts';

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** A journal in memory whose appends wait for the test where it says so. */
class HeldJournal implements Journal {
  readonly description = 'held';
  readonly factBytesMax = 64 * 1024 * 1024;
  readonly groups: EventGroup[] = [];
  lastSequence = 0;
  appends = 0;
  holding = false;
  failure: AlumnusError | undefined;
  #release: () => void = () => undefined;

  async append(expectedSequence: number, term: number, events: readonly Event[]): Promise<number> {
    this.appends += 1;
    const group: EventGroup = { schemaVersion: 1, term, firstSequence: expectedSequence + 1, events: [...events] };
    // A submission and the fact about its manifest stay together.
    expect(events.length <= 2 || EventGroupMessage.encode(group).finish().length <= GROUP_BYTES_MAX).toBe(true);
    if (this.holding) await new Promise<void>((resolve) => (this.#release = resolve));
    if (this.failure !== undefined) throw this.failure;
    this.groups.push(group);
    this.lastSequence = expectedSequence + events.length;
    return this.lastSequence;
  }

  begin(): Promise<number> {
    return Promise.resolve(1);
  }

  snapshot(): Promise<undefined> {
    return Promise.resolve(undefined);
  }

  truncate(): Promise<void> {
    return Promise.resolve();
  }

  letGo(): void {
    this.#release();
  }

   
  async *read(sequence: number): AsyncGenerator<EventGroup> {
    for (const group of this.groups) if (group.firstSequence + group.events.length - 1 > sequence) yield group;
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  get events(): Event[] {
    return this.groups.flatMap((group) => group.events);
  }
}

const RUN = 'run';
const store = await DirectoryStore.open(mkdtempSync(join(tmpdir(), 'alumnus-leader-')));
let nowMs = 0;
const clock = { now: () => nowMs, sleep: () => new Promise<void>(() => undefined) };
const lead = async (journal: Journal, term = 1): Promise<Leader> => new Leader({ journal, fold: await Fold.load(journal, store), store, term, leaseMs: 1_000, clock });
const submit = (leader: Leader, shards = 3, runId = RUN) => leader.command(runId, { kind: 'submit', runId, recipe: makeRecipe(), data: makeData({ shards }) });
const complete = (leader: Leader, task: Task, workerId = 'w1') => leader.command(RUN, { kind: 'complete', task, workerId, result: answer(task) });
const register = (leader: Leader, workerId: string, slots = 2): void => void leader.scheduler.register({ workerId, host: 'h', processId: 1, device: 'd', slots, version: 'v' }, [], nowMs);

/** A leader whose run has begun to label. */
async function labeling(shards: number): Promise<{ journal: HeldJournal; leader: Leader }> {
  nowMs = 0;
  const journal = new HeldJournal();
  const leader = await lead(journal);
  await submit(leader, shards);
  for (let step = 0; step < 2; step += 1) await complete(leader, openTasks(leader.run(RUN))[0] as Task);
  return { journal, leader };
}

describe('the leader', () => {
  test('many commands of one moment are one append', async () => {
    const { journal, leader } = await labeling(200);
    const before = journal.appends;
    await Promise.all(openTasks(leader.run(RUN)).map((task) => complete(leader, task)));
    expect(journal.appends - before).toBe(1);
    expect(leader.run(RUN).iterations[1]?.labels.size).toBe(200);
  });

  test('what arrives during an append is the next group, and nobody is answered before its own', async () => {
    const { journal, leader } = await labeling(6);
    const [first, second, ...rest] = openTasks(leader.run(RUN));
    const before = journal.appends;
    journal.holding = true;
    const answered: string[] = [];
    const tell = (name: string, promise: Promise<unknown>): Promise<void> => promise.then(() => void answered.push(name));
    const promises = [tell('first', complete(leader, first as Task)), tell('second', complete(leader, second as Task))];
    await turn();
    promises.push(...rest.map((task, index) => tell(`later ${index}`, complete(leader, task))));
    await turn();
    // Neither answered nor seen: what is seen is what is journalled.
    expect(answered).toEqual([]);
    expect(leader.run(RUN).iterations[1]?.labels.size).toBe(0);
    journal.letGo();
    await turn();
    expect(answered).toEqual(['first', 'second']);
    expect(leader.run(RUN).iterations[1]?.labels.size).toBe(2);
    // The second group ends the stage: its manifest is written first.
    while (journal.appends - before < 2) await turn();
    journal.letGo();
    await Promise.all(promises);
    expect(journal.appends - before).toBe(2);
    expect(fold(journal.events)).toEqual(leader.run(RUN));
  });

  test('two completions of one task in one group: the first is accepted, the second told that it came late', async () => {
    const { journal, leader } = await labeling(2);
    const [task] = openTasks(leader.run(RUN)) as [Task];
    const results = await Promise.allSettled([complete(leader, task, 'w1'), complete(leader, task, 'w2')]);
    expect(results.map((each) => each.status)).toEqual(['fulfilled', 'rejected']);
    expect(results[1]).toMatchObject({ reason: { code: 'LEASE_LOST' } });
    expect(journal.events.filter((event) => event.fact?.$case === 'taskCompleted' && event.fact.value.place?.taskId === task.taskId)).toHaveLength(1);
  });

  test('when an append fails, all who waited are told, no more is taken, and what is seen stays what is journalled', async () => {
    const { journal, leader } = await labeling(3);
    const [first, second] = openTasks(leader.run(RUN)) as [Task, Task];
    const failures: string[] = [];
    leader.onFailure((error) => failures.push(error.code));
    journal.holding = true;
    journal.failure = new AlumnusError('JOURNAL_CONFLICT', 'term 1 is deposed by term 2');
    const inAppend = complete(leader, first);
    await turn();
    const waiting = complete(leader, second);
    journal.letGo();
    await expect(inAppend).rejects.toMatchObject({ code: 'NOT_LEADER' });
    await expect(waiting).rejects.toMatchObject({ code: 'NOT_LEADER' });
    expect(failures).toEqual(['JOURNAL_CONFLICT']);
    journal.failure = undefined;
    await expect(complete(leader, first)).rejects.toMatchObject({ code: 'NOT_LEADER' });
    expect(leader.run(RUN).iterations[1]?.labels.size).toBe(0);
    expect(fold(journal.events)).toEqual(leader.run(RUN));
  });

  test('a submission of many shards beside other facts does not outgrow a message', async () => {
    const { journal, leader } = await labeling(50);
    // The large one is a single fact and may be larger than a message; with any other it would have ended the leader.
    const results = await Promise.allSettled([...openTasks(leader.run(RUN)).map((task) => complete(leader, task)), submit(leader, 10_000, 'large'), submit(leader, 3, 'other')]);
    expect(results.every((each) => each.status === 'fulfilled')).toBe(true);
    expect(leader.runs()).toHaveLength(3);
    const runs = new Map<string, Event[]>();
    for (const event of journal.events) runs.set(event.runId, [...(runs.get(event.runId) ?? []), event]);
    expect(fold(runs.get(RUN) ?? [])).toEqual(leader.run(RUN));
  });

  test('a refused command leaves the others of its group alone', async () => {
    const { leader } = await labeling(1);
    const results = await Promise.allSettled([leader.command(RUN, { kind: 'resume' }), leader.command(RUN, { kind: 'pause', reason: 'lunch' }), leader.command('none', { kind: 'pause', reason: 'lunch' })]);
    expect(results.map((each) => (each.status === 'rejected' ? (each.reason as AlumnusError).code : each.value.phase))).toEqual(['RUN_CONFLICT', 'paused', 'RUN_NOT_FOUND']);
  });

  test('a paused run is granted nothing, also what is handed back; resumed, it is granted again', async () => {
    const { leader } = await labeling(3);
    register(leader, 'w1');
    const [held] = leader.scheduler.grant('w1', 1, [], nowMs);
    await leader.command(RUN, { kind: 'pause', reason: 'lunch' });
    expect(leader.scheduler.grant('w1', 2, [], nowMs)).toEqual([]);
    const lease = leader.scheduler.lease(held?.leaseId ?? { term: 0, counter: 0 });
    expect(lease).toBeDefined();
    if (lease !== undefined) await leader.failLease(lease, 'WORKER_STOPPED', 'drain', false);
    expect(leader.scheduler.grant('w1', 2, [], nowMs)).toEqual([]);
    await leader.command(RUN, { kind: 'resume' });
    expect(leader.scheduler.grant('w1', 2, [], nowMs)).toHaveLength(2);
  });

  test('a new leader adopts what workers hold of a paused run, and takes its result', async () => {
    const { journal, leader } = await labeling(3);
    register(leader, 'w1');
    const [held] = leader.scheduler.grant('w1', 1, [], nowMs);
    if (held?.task === undefined) throw new Error('a free worker is granted a waiting task');
    await leader.command(RUN, { kind: 'pause', reason: 'lunch' });
    const next = await lead(journal, 2);
    const { lost } = next.scheduler.register({ workerId: 'w1', host: 'h', processId: 1, device: 'd', slots: 2, version: 'v' }, [{ leaseId: held.leaseId, taskId: held.task.taskId, progress: undefined, checkpoint: undefined }], nowMs);
    expect(lost).toEqual([]);
    await complete(next, held.task);
    expect(next.run(RUN).iterations[1]?.labels.size).toBe(1);
  });

  test('pause, resume and another quarantine in one group: the shard that was given up is open again', async () => {
    nowMs = 0;
    const journal = new HeldJournal();
    const leader = await lead(journal);
    await leader.command(RUN, { kind: 'submit', runId: RUN, recipe: makeRecipe({ tolerance: { quarantined_share: 0.5, attempts: 1 } }), data: makeData({ shards: 4 }) });
    for (let step = 0; step < 2; step += 1) await complete(leader, openTasks(leader.run(RUN))[0] as Task);
    const [first, second] = openTasks(leader.run(RUN)) as [Task, Task];
    const fail = (task: Task) => leader.command(RUN, { kind: 'fail', task, workerId: 'w1', code: 'ENGINE_CRASHED', message: 'died', counts: true, fleet: 1, heldMs: 0 });
    await fail(first);
    await Promise.all([leader.command(RUN, { kind: 'pause', reason: 'lunch' }), leader.command(RUN, { kind: 'resume' }), fail(second)]);
    expect(leader.scheduler.tasksOf(RUN).map((each) => each.task.taskId).sort()).toEqual(openTasks(leader.run(RUN)).map((task) => task.taskId).sort());
  });

  test('a lease that is not renewed is journalled as a failed attempt, and its task granted again', async () => {
    const { journal, leader } = await labeling(1);
    register(leader, 'w1');
    register(leader, 'w2');
    expect(leader.scheduler.grant('w1', 1, [], nowMs)).toHaveLength(1);
    nowMs = 999;
    await leader.tick();
    expect(leader.scheduler.grant('w2', 1, [], nowMs)).toHaveLength(0);
    nowMs = 1_000;
    await leader.tick();
    expect(journal.events.at(-1)?.fact).toMatchObject({ $case: 'taskFailed', value: { code: 'LEASE_EXPIRED', workerId: 'w1', counts: true } });
    nowMs = 1_500;
    expect(leader.scheduler.grant('w2', 1, [], nowMs)).toHaveLength(1);
  });

  test('a coordinator that stood still ends no lease before it has read the renewals that came meanwhile', async () => {
    const { journal, leader } = await labeling(2);
    register(leader, 'w1');
    register(leader, 'w2');
    const [lease] = leader.scheduler.grant('w1', 1, [], nowMs);
    expect(leader.scheduler.grant('w2', 1, [], nowMs)).toHaveLength(1);
    await leader.tick();
    const before = journal.events.length;
    // Five leases long, and awake again: its timers come before its sockets.
    nowMs = 5_000;
    await leader.tick();
    expect(journal.events.length).toBe(before);
    nowMs = 5_001;
    expect(leader.scheduler.renew('w1', [{ leaseId: lease?.leaseId, taskId: lease?.task?.taskId ?? '', progress: undefined, checkpoint: undefined }], nowMs)).toEqual([]);
    for (nowMs = 5_200; nowMs < 6_000; nowMs += 200) await leader.tick();
    expect(journal.events.length).toBe(before);
    // One that is dead holds its lease no longer than that.
    await leader.tick();
    expect(journal.events.slice(before).map(({ fact }) => fact)).toMatchObject([{ $case: 'taskFailed', value: { code: 'LEASE_EXPIRED', workerId: 'w2' } }]);
  });

  test('once another may lead, no lease is ended here', async () => {
    nowMs = 0;
    const journal = new HeldJournal();
    const leader = new Leader({ journal, fold: await Fold.load(journal, store), store, term: 1, leaseMs: 1_000, clock, untilMs: () => 1_000 });
    await submit(leader);
    register(leader, 'w1');
    expect(leader.scheduler.grant('w1', 1, [], nowMs)).toHaveLength(1);
    const before = journal.events.length;
    for (nowMs = 0; nowMs <= 3_000; nowMs += 200) await leader.tick();
    expect(journal.events.length).toBe(before);
  });

  test('workers that are gone are forgotten after an hour; one that holds a lease, or was heard of, is not', async () => {
    const { leader } = await labeling(3);
    for (const workerId of ['gone', 'heard', 'holds']) register(leader, workerId);
    const known = (): string[] => leader.scheduler.workers().map(({ worker }) => worker.workerId);
    nowMs = 1_000_000;
    leader.scheduler.renew('heard', [], nowMs);
    nowMs = 3_600_000;
    await leader.tick();
    expect(known()).toEqual(['gone', 'heard', 'holds']);
    leader.scheduler.grant('holds', 1, [], 0);
    nowMs = 3_600_001;
    leader.scheduler.extendAll(nowMs);
    await leader.tick();
    expect(known()).toEqual(['heard', 'holds']);
    expect(leader.scheduler.liveWorkers(nowMs)).toBe(0);
  });

  test('a new leader waits for workers to announce what they hold, but only where a run is open', async () => {
    const { journal, leader } = await labeling(1);
    nowMs = 5_000;
    expect((await lead(journal, 2)).grantsFromMs).toBe(5_000 + ADOPTION_MS);
    await leader.command(RUN, { kind: 'kill', reason: 'enough' });
    expect((await lead(journal, 2)).grantsFromMs).toBe(0);
  });

  test('an ended run leaves no task and no lease behind', async () => {
    const { leader } = await labeling(3);
    register(leader, 'w1');
    const [held] = leader.scheduler.grant('w1', 1, [], nowMs);
    await leader.command(RUN, { kind: 'kill', reason: 'enough' });
    expect(leader.scheduler.tasksOf(RUN)).toEqual([]);
    expect(leader.scheduler.workers()[0]?.leases).toEqual([]);
    expect(leader.scheduler.renew('w1', [{ leaseId: held?.leaseId, taskId: held?.task?.taskId ?? '', progress: undefined, checkpoint: undefined }], nowMs)).toEqual([held?.leaseId]);
  });

  test.each(['STORE_DENIED', 'STORE_CLOCK_SKEWED', 'INTERNAL'] as const)('where the leader\'s own store says %s, a result is refused as one that is to be said again, and then taken', async (code) => {
    nowMs = 0;
    const journal = new HeldJournal();
    const whole = new MemoryStore();
    const logged: string[] = [];
    let denied = false;
    const through = new Proxy(whole, { get: (_, name) => (denied && name === 'putAddressed' ? () => Promise.reject(new AlumnusError(code, 'the store says no', { where: 's3://bucket' })) : Reflect.get(whole, name).bind(whole) as unknown) });
    const leader = new Leader({ journal, fold: await Fold.load(journal, through), store: through, term: 1, leaseMs: 1_000, clock, log: (line) => logged.push(line) });
    await submit(leader);
    const [task] = openTasks(leader.run(RUN)) as [Task];
    denied = true;
    for (let times = 0; times < 2; times += 1) {
      const refusal: unknown = await complete(leader, task).then(() => undefined, (thrown: unknown) => thrown);
      expect(refusal).toMatchObject({ code: 'MANIFEST_REFUSED', retryable: true });
      expect((refusal as Error).message).toContain('s3://bucket: the store says no.');
    }
    expect(logged).toEqual(['run run is submitted', expect.stringMatching(/^run run does not go on while its manifest can't be written: s3:\/\/bucket: the store says no\./)]);
    denied = false;
    expect((await complete(leader, task)).stage).toBe(Stage.EVALUATE);
    expect(logged.slice(2)).toEqual(['run run goes on: its manifest is written']);
  });

  test('its log has a line for each turn of a run, for a lease that expired and for a worker that is lost', async () => {
    nowMs = 0;
    const journal = new HeldJournal();
    const logged: string[] = [];
    const leader = new Leader({ journal, fold: await Fold.load(journal, new MemoryStore()), store: new MemoryStore(), term: 1, leaseMs: 1_000, clock, log: (line) => logged.push(line) });
    await submit(leader);
    await leader.command(RUN, { kind: 'pause', reason: 'lunch' });
    await leader.command(RUN, { kind: 'resume' });
    register(leader, 'w1');
    const [lease] = leader.scheduler.grant('w1', 1, [], nowMs);
    for (; nowMs <= 1_200; nowMs += 200) await leader.tick();
    await leader.command(RUN, { kind: 'kill', reason: 'enough' });
    expect(logged).toEqual([
      'run run is submitted', 'run run is paused by operator: lunch', 'run run goes on',
      `the lease of ${lease?.task?.taskId} expired: worker w1 did not renew it`, 'worker w1 is lost', 'run run is cancelled: enough',
    ]);
  });

  test('a store that takes nothing keeps a stage from ending and nothing else: a run is paused for it, and what was said is told by the next manifest', async () => {
    nowMs = 0;
    const journal = new HeldJournal();
    const [whole, full] = [new MemoryStore(), new MemoryStore()];
    full.putAddressed = () => Promise.reject(new AlumnusError('STORE_FULL', 'no space is left on the device'));
    let store = whole;
    const through = new Proxy(whole, { get: (_, name) => Reflect.get(store, name).bind(store) as unknown });
    const leader = new Leader({ journal, fold: await Fold.load(journal, through), store: through, term: 1, leaseMs: 1_000, clock });
    await submit(leader);
    store = full;
    const [task] = openTasks(leader.run(RUN)) as [Task];
    await expect(complete(leader, task)).rejects.toMatchObject({ code: 'STORE_FULL' });
    expect(leader.run(RUN).stage).toBe(Stage.TRAIN);
    expect((await leader.command(RUN, { kind: 'pause', reason: 'the disk is full' })).phase).toBe('paused');
    expect(leader.pending(RUN).map(({ fact }) => fact?.$case)).toEqual(['runPaused']);
    store = whole;
    await leader.command(RUN, { kind: 'resume' });
    await complete(leader, task);
    expect(leader.pending(RUN)).toEqual([]);
    expect(factsOf((await readManifests(whole, RUN)).chain)).toEqual(journal.events);
  });
});
