/**
 * The scheduler against its header: any sequence of calls keeps its invariants (a model beside it knows which tasks are
 * open and which leases were told), and the wishes of a fleet hold: fair shares, holders first, elsewhere after a failure.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Stage, type Task } from '../../proto/gen/alumnus/v1/task.ts';
import type { HeldLease, LeaseId } from '../../proto/gen/alumnus/v1/worker.ts';
import { Scheduler } from '../../coordinator/scheduler/index.ts';

const LEASE_MS = 1_000;
const TERM = 7;

const measurement = (runId: string, subject: string): Task => ({ ...taskOf(runId, subject, true), spec: { $case: 'measure', value: { model: undefined, validation: undefined, test: undefined, corrupted: undefined, weights: [], batchSize: 1, threads: 1, predictions: 1 } } });

function taskOf(runId: string, subject: string, alone = false, affinity: string[] = []): Task {
  return {
    taskId: `${runId}.${subject}`, runId, iteration: 1, stage: alone ? Stage.TRAIN : Stage.LABEL, subject, try: 0, seed: 1, affinity, outputPrefix: '', work: 1, checkpointSteps: 0, checkpoints: [],
    spec: alone ? { $case: 'select', value: { teacherSha256: '', shards: [], threshold: 0, balance: 'none', budgetPerClass: 0, copiesMax: 1, classes: 1 } } : { $case: 'label', value: { teacher: undefined, shard: undefined, batchSize: 1 } },
  };
}
const labels = (runId: string, count: number): Task[] => Array.from({ length: count }, (_, index) => taskOf(runId, `s${index}`));
const worker = (workerId: string, slots = 1) => ({ workerId, host: 'h', processId: 1, device: 'd', slots, version: 'v' });
const keyOf = (leaseId: LeaseId | undefined): string => `${leaseId?.term}.${leaseId?.counter}`;
const held = (leaseId: LeaseId | undefined, taskId: string): HeldLease => ({ leaseId, taskId, progress: undefined, checkpoint: undefined });

function fleet(workers: number, slots = 1): Scheduler {
  const scheduler = new Scheduler({ term: TERM, leaseMs: LEASE_MS });
  for (let index = 0; index < workers; index += 1) scheduler.register(worker(`w${index}`, slots), [], 0);
  return scheduler;
}

type Call =
  | { kind: 'tasks'; run: number; subjects: number[]; alone: boolean; measured: boolean; granting: boolean }
  | { kind: 'register'; worker: number; slots: number; announce: number[] }
  | { kind: 'grant'; worker: number; max: number }
  | { kind: 'renew'; worker: number; announce: number[] }
  | { kind: 'adopt'; worker: number; run: number; subject: number; counter: number }
  | { kind: 'release'; which: number; counts: boolean }
  | { kind: 'close'; run: number; subject: number }
  | { kind: 'expire'; afterMs: number };

const small = fc.nat(2);
const call: fc.Arbitrary<Call> = fc.oneof(
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('tasks' as const), run: fc.nat(1), subjects: fc.uniqueArray(fc.nat(5), { maxLength: 6 }), alone: fc.boolean(), measured: fc.boolean(), granting: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('register' as const), worker: small, slots: fc.integer({ min: 1, max: 3 }), announce: fc.array(fc.nat(20), { maxLength: 3 }) }) },
  { weight: 8, arbitrary: fc.record({ kind: fc.constant('grant' as const), worker: small, max: fc.integer({ min: 0, max: 3 }) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('renew' as const), worker: small, announce: fc.array(fc.nat(20), { maxLength: 3 }) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('adopt' as const), worker: small, run: fc.nat(1), subject: fc.nat(5), counter: fc.integer({ min: 1, max: 4 }) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('release' as const), which: fc.nat(20), counts: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('close' as const), run: fc.nat(1), subject: fc.nat(5) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('expire' as const), afterMs: fc.nat(3_000) }) },
);

describe('the scheduler, whatever is called', () => {
  test('keeps its invariants: ids once, slots, leases of a task, none of a closed one, none granted while paused', () => {
    fc.assert(fc.property(fc.array(call, { maxLength: 120 }), (calls) => {
      const scheduler = new Scheduler({ term: TERM, leaseMs: LEASE_MS });
      let nowMs = 0;
      const open = new Map<string, Task>();
      const granting = new Map<string, boolean>();
      const slots = new Map<string, number>();
      const told = new Set<string>();
      const all: { leaseId: LeaseId; taskId: string }[] = [];
      /** Device time of leases that were released, by worker. */
      const charged = new Map<string, number>();
      const release = (leaseId: LeaseId, counts: boolean): void => {
        const lease = scheduler.lease(leaseId);
        if (lease !== undefined) charged.set(lease.workerId, (charged.get(lease.workerId) ?? 0) + scheduler.heldMs(lease, nowMs));
        scheduler.release(leaseId, nowMs, counts);
      };
      const announced = (which: number[]): HeldLease[] => which.flatMap((index) => (all.length === 0 ? [] : [all[index % all.length]])).flatMap((each) => (each === undefined ? [] : [held(each.leaseId, each.taskId)]));
      for (const each of calls) {
        nowMs += 50;
        switch (each.kind) {
          case 'tasks': {
            const runId = `r${each.run}`;
            for (const taskId of [...open.keys()]) if (open.get(taskId)?.runId === runId) open.delete(taskId);
            const tasks = each.subjects.map((subject) => (subject >= 3 && each.measured ? measurement : taskOf)(runId, `s${subject}`, subject >= 4 && each.alone));
            for (const task of tasks) open.set(task.taskId, task);
            granting.set(runId, each.granting);
            scheduler.setTasks(runId, 1 + each.run, tasks, each.granting);
            break;
          }
          case 'register': {
            const workerId = `w${each.worker}`;
            // A worker's slots are fixed by its release; a test that changed them would only show that.
            slots.set(workerId, slots.get(workerId) ?? each.slots);
            const { abandoned } = scheduler.register(worker(workerId, slots.get(workerId)), announced(each.announce), nowMs);
            for (const lease of abandoned) release(lease.leaseId, true);
            break;
          }
          case 'grant': {
            const workerId = `w${each.worker}`;
            const before = scheduler.workers().find((one) => one.worker.workerId === workerId)?.leases ?? [];
            const granted = scheduler.grant(workerId, each.max, [], nowMs);
            expect(granted.length).toBeLessThanOrEqual(each.max);
            for (const lease of granted) {
              // 1: never a second time. A granted task is open, and its run is granted from.
              expect(told.has(keyOf(lease.leaseId))).toBe(false);
              told.add(keyOf(lease.leaseId));
              expect(open.has(lease.task?.taskId ?? '')).toBe(true);
              expect(granting.get(lease.task?.runId ?? '')).toBe(true);
              if (lease.leaseId !== undefined) all.push({ leaseId: lease.leaseId, taskId: lease.task?.taskId ?? '' });
              // 2: alone means alone.
              if (lease.task?.spec?.$case !== 'label') expect([before.length, granted.length]).toEqual([0, 1]);
            }
            break;
          }
          case 'renew': {
            // A worker registers before it renews; what one that did not may hold is told by its registration.
            if (!slots.has(`w${each.worker}`)) break;
            const now = announced(each.announce);
            const lost = scheduler.renew(`w${each.worker}`, now, nowMs);
            const mine = new Set((scheduler.workers().find((one) => one.worker.workerId === `w${each.worker}`)?.leases ?? []).map((lease) => keyOf(lease.leaseId)));
            for (const { leaseId } of now) expect(mine.has(keyOf(leaseId))).toBe(!lost.some((one) => keyOf(one) === keyOf(leaseId)));
            break;
          }
          case 'adopt': {
            const leaseId = { term: TERM - 1, counter: each.counter };
            const taskId = `r${each.run}.s${each.subject}`;
            if (!all.some((one) => keyOf(one.leaseId) === keyOf(leaseId))) all.push({ leaseId, taskId });
            if (slots.has(`w${each.worker}`)) scheduler.renew(`w${each.worker}`, [held(leaseId, taskId)], nowMs);
            break;
          }
          case 'release': {
            const one = all.length === 0 ? undefined : all[each.which % all.length];
            if (one !== undefined) release(one.leaseId, each.counts);
            break;
          }
          case 'close':
            open.delete(`r${each.run}.s${each.subject}`);
            scheduler.close(`r${each.run}`, `r${each.run}.s${each.subject}`, nowMs);
            break;
          case 'expire':
            nowMs += each.afterMs;
            for (const lease of scheduler.expired(nowMs)) {
              expect(lease.deadlineMs).toBeLessThanOrEqual(nowMs);
              release(lease.leaseId, true);
            }
        }
        const known = [0, 1].flatMap((run) => scheduler.tasksOf(`r${run}`));
        expect(known.map(({ task }) => task.taskId).sort()).toEqual([...open.keys()].sort());
        for (const { leases } of known) {
          // 3
          expect(leases.length).toBeLessThanOrEqual(2);
          expect(new Set(leases.map((lease) => lease.workerId)).size).toBe(leases.length);
        }
        const leases = scheduler.workers().flatMap((one) => one.leases);
        // A device's time is counted once, however many leases its worker had.
        for (const { worker: { workerId }, leases: mine } of scheduler.workers()) expect(mine.reduce((sum, lease) => sum + scheduler.heldMs(lease, nowMs), charged.get(workerId) ?? 0)).toBeLessThanOrEqual(nowMs);
        // 2 and 4; and both ways of looking at leases show the same ones.
        for (const { worker: { workerId }, leases: mine } of scheduler.workers()) expect(mine.length).toBeLessThanOrEqual(slots.get(workerId) ?? 0);
        for (const lease of leases) expect(open.has(lease.taskId)).toBe(true);
        // 5: all workers are of one host.
        expect(leases.filter((lease) => scheduler.task(lease.taskId)?.spec?.$case === 'measure').length).toBeLessThanOrEqual(1);
        expect(leases.map((lease) => keyOf(lease.leaseId)).sort()).toEqual(known.flatMap((one) => one.leases.map((lease) => keyOf(lease.leaseId))).sort());
      }
    }), { numRuns: 300 });
  });

  test('every open task is done in the end by a fleet that asks, however its leases ran out before', () => {
    fc.assert(fc.property(fc.array(call, { maxLength: 60 }), (calls) => {
      const scheduler = fleet(3);
      scheduler.setTasks('r', 1, [...labels('r', 5), taskOf('r', 'alone', true)]);
      let nowMs = 0;
      for (const each of calls) {
        nowMs += 100;
        if (each.kind === 'grant') scheduler.grant(`w${each.worker}`, each.max, [], nowMs);
        for (const lease of scheduler.expired(nowMs)) scheduler.release(lease.leaseId, nowMs, true);
      }
      for (let round = 0; round < 40 && scheduler.tasksOf('r').length > 0; round += 1) {
        nowMs += 31_000;
        for (const lease of scheduler.expired(nowMs)) scheduler.release(lease.leaseId, nowMs, true);
        for (const workerId of ['w0', 'w1', 'w2']) for (const lease of scheduler.grant(workerId, 1, [], nowMs)) scheduler.close('r', lease.task?.taskId ?? '', nowMs);
      }
      expect(scheduler.tasksOf('r')).toEqual([]);
    }), { numRuns: 100 });
  });

  test('two runs share a fleet by their weights, within one task', () => {
    fc.assert(fc.property(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 1, max: 8 }), fc.integer({ min: 1, max: 8 }), (workers, heavy, light) => {
      const scheduler = fleet(workers);
      scheduler.setTasks('a', heavy, labels('a', 50));
      scheduler.setTasks('b', light, labels('b', 50));
      for (let index = 0; index < workers; index += 1) scheduler.grant(`w${index}`, 1, [], 1);
      const leased = (runId: string): number => scheduler.tasksOf(runId).reduce((sum, { leases }) => sum + leases.length, 0);
      expect(leased('a') + leased('b')).toBe(workers);
      expect(Math.abs(leased('a') - (workers * heavy) / (heavy + light))).toBeLessThanOrEqual(1);
    }));
  });
});

/** One run of a course: its weight, and how long its tasks take, in milliseconds. */
interface Sharer {
  readonly weight: number;
  readonly tasksMs: readonly number[];
}

/**
 * Workers of one slot that ask whenever they are free, for as long as there were `grants`; every run always has work. Tells, after each
 * moment in which the fleet was filled, what each run held, at each grant what it held before, and in the end how long each held its devices.
 */
function course(workers: number, sharers: readonly Sharer[], grants: number, sees: { filled?: (held: readonly number[]) => void; grantedTo?: (run: number, heldBefore: readonly number[]) => void } = {}): { deviceMs: number[]; granted: number[]; elapsedMs: number } {
  const scheduler = fleet(workers);
  sharers.forEach(({ weight }, run) => scheduler.setTasks(`r${run}`, weight, labels(`r${run}`, grants + workers)));
  const busy = new Map<string, { run: number; taskId: string; sinceMs: number; untilMs: number }>();
  const deviceMs = sharers.map(() => 0);
  const granted = sharers.map(() => 0);
  let nowMs = 0;
  const held = (): number[] => sharers.map((_, run) => [...busy.values()].filter((each) => each.run === run).length);
  for (let given = 0; given < grants;) {
    for (let index = 0; index < workers; index += 1) {
      const workerId = `w${index}`;
      if (busy.has(workerId)) continue;
      const [lease] = scheduler.grant(workerId, 1, [], nowMs);
      const run = Number((lease?.task?.runId ?? '').slice(1));
      const { tasksMs } = sharers[run] as Sharer;
      sees.grantedTo?.(run, held());
      busy.set(workerId, { run, taskId: lease?.task?.taskId ?? '', sinceMs: nowMs, untilMs: nowMs + (tasksMs[(granted[run] ?? 0) % tasksMs.length] ?? 1) });
      granted[run] = (granted[run] ?? 0) + 1;
      given += 1;
    }
    sees.filled?.(held());
    nowMs = Math.min(...[...busy.values()].map((each) => each.untilMs));
    for (const [workerId, { run, taskId, sinceMs, untilMs }] of busy) {
      if (untilMs > nowMs) continue;
      scheduler.close(`r${run}`, taskId, nowMs);
      deviceMs[run] = (deviceMs[run] ?? 0) + untilMs - sinceMs;
      busy.delete(workerId);
    }
  }
  for (const { run, sinceMs } of busy.values()) deviceMs[run] = (deviceMs[run] ?? 0) + nowMs - sinceMs;
  return { deviceMs, granted, elapsedMs: nowMs };
}

const weight = fc.integer({ min: 1, max: 6 });
const equalLengths = fc.record({ workers: fc.integer({ min: 1, max: 9 }), lengthMs: fc.integer({ min: 1, max: 500 }), weights: fc.array(weight, { minLength: 2, maxLength: 4 }) })
  .map(({ workers, lengthMs, weights }) => ({ workers, sharers: weights.map((each): Sharer => ({ weight: each, tasksMs: [lengthMs] })) }));
/** Trainings beside labelings: lengths of a run are alike, those of runs differ by up to two thousand times. */
const unequalLengths = fc.record({
  workers: fc.integer({ min: 1, max: 9 }),
  sharers: fc.array(fc.record({ weight, tasksMs: fc.tuple(fc.constantFrom(1, 30, 2_000), fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 5 })).map(([scale, factors]) => factors.map((factor) => factor * scale)) }), { minLength: 2, maxLength: 4 }),
});

describe('fair share, over a long course in which all runs always have work', () => {
  const GRANTS = 300;

  /**
   * Who is granted a lease has the fewest for its weight, so at most its share of those that are out before: it never
   * holds more than one above its share of all. What the others have too much it has too little: one each at most.
   */
  test.each([['tasks of equal length', equalLengths], ['tasks of very unequal lengths', unequalLengths]] as const)('%s: a run holds at most one lease more than its weight\'s share, and so with device time', (_, courses) => {
    fc.assert(fc.property(courses, ({ workers, sharers }) => {
      const weights = sharers.reduce((sum, each) => sum + each.weight, 0);
      const bounds = sharers.map((each) => [(workers * each.weight) / weights - (sharers.length - 1), (workers * each.weight) / weights + 1] as const);
      const { deviceMs, elapsedMs } = course(workers, sharers, GRANTS, { filled: (held) => held.forEach((count, run) => {
        const [least, most] = bounds[run] ?? [0, 0];
        expect(count).toBeLessThanOrEqual(most);
        expect(count).toBeGreaterThanOrEqual(least);
      }) });
      deviceMs.forEach((ms, run) => {
        const [least, most] = bounds[run] ?? [0, 0];
        expect(ms).toBeLessThanOrEqual(most * elapsedMs);
        expect(ms).toBeGreaterThanOrEqual(least * elapsedMs);
      });
    }), { numRuns: 60 });
  });

  test('none starves: while a run holds nothing, each other run is granted at most one lease before it', () => {
    fc.assert(fc.property(fc.oneof(equalLengths, unequalLengths), ({ workers, sharers }) => {
      const passedOver = sharers.map(() => 0);
      const { granted } = course(workers, sharers, GRANTS, { grantedTo: (run, heldBefore) => sharers.forEach((_, other) => {
        passedOver[other] = other === run || (heldBefore[other] ?? 0) > 0 ? 0 : (passedOver[other] ?? 0) + 1;
        expect(passedOver[other]).toBeLessThan(sharers.length);
      }) });
      for (const count of granted) expect(count).toBeGreaterThan(0);
    }), { numRuns: 60 });
  });

  test('on one device runs take turns, whatever their weights: nobody holds a fraction of it', () => {
    fc.assert(fc.property(fc.oneof(equalLengths, unequalLengths), ({ sharers }) => {
      const { granted } = course(1, sharers, GRANTS);
      expect(Math.max(...granted) - Math.min(...granted)).toBeLessThanOrEqual(1);
    }), { numRuns: 30 });
  });

  test('with more devices than weights it goes by weight: a run of three times the weight has three times the device time, within the bound', () => {
    const { deviceMs, elapsedMs } = course(8, [{ weight: 3, tasksMs: [100] }, { weight: 1, tasksMs: [7, 9, 2] }], 2_000);
    expect(deviceMs.map((ms) => Math.round(ms / elapsedMs))).toEqual([6, 2]);
  });
});

describe('the scheduler', () => {
  test('a lease that is not renewed comes back, and its task goes to another worker after a wait', () => {
    const scheduler = fleet(2);
    scheduler.setTasks('r', 1, labels('r', 1));
    const [lease] = scheduler.grant('w0', 1, [], 0);
    expect(scheduler.expired(LEASE_MS - 1)).toEqual([]);
    scheduler.renew('w0', [held(lease?.leaseId, 'r.s0')], LEASE_MS - 1);
    expect(scheduler.expired(LEASE_MS)).toEqual([]);
    const late = scheduler.expired(2 * LEASE_MS - 1);
    expect(late.map((each) => each.taskId)).toEqual(['r.s0']);
    scheduler.release(late[0]?.leaseId ?? { term: 0, counter: 0 }, 2 * LEASE_MS, true);
    expect(scheduler.renew('w0', [held(lease?.leaseId, 'r.s0')], 2 * LEASE_MS)).toEqual([lease?.leaseId]);
    scheduler.renew('w1', [], 2 * LEASE_MS);
    expect(scheduler.grant('w1', 1, [], 2 * LEASE_MS)).toEqual([]);
    expect(scheduler.grant('w0', 1, [], 2 * LEASE_MS + 300)).toEqual([]);
    expect(scheduler.grant('w1', 1, [], 2 * LEASE_MS + 300)).toMatchObject([{ attempt: 1, task: { taskId: 'r.s0' } }]);
  });

  test('where it failed everywhere, or the others are gone, a task may come back to the same worker', () => {
    const scheduler = fleet(2);
    scheduler.setTasks('r', 1, labels('r', 1));
    const [lease] = scheduler.grant('w0', 1, [], 0);
    scheduler.release(lease?.leaseId ?? { term: 0, counter: 0 }, 0, true);
    expect(scheduler.grant('w0', 1, [], 1_000)).toEqual([]);
    expect(scheduler.grant('w0', 1, [], 3 * LEASE_MS)).toHaveLength(1);
  });

  test('a task that failed does not wait for a worker that is shut away with a training', () => {
    const scheduler = fleet(2);
    scheduler.setTasks('r', 1, [taskOf('r', 'training', true), ...labels('r', 1)]);
    expect(scheduler.grant('w1', 1, [], 0)[0]?.task?.subject).toBe('training');
    const [lease] = scheduler.grant('w0', 1, [], 0);
    scheduler.release(lease?.leaseId ?? { term: 0, counter: 0 }, 0, true);
    expect(scheduler.grant('w0', 1, [], 500)[0]?.task?.subject).toBe('s0');
  });

  test('what was handed back does not count: no wait, no elsewhere', () => {
    const scheduler = fleet(2);
    scheduler.setTasks('r', 1, labels('r', 1));
    const [lease] = scheduler.grant('w0', 1, [], 0);
    scheduler.release(lease?.leaseId ?? { term: 0, counter: 0 }, 0, false);
    expect(scheduler.grant('w0', 1, [], 0)).toMatchObject([{ attempt: 0 }]);
  });

  test('a worker that holds the shard or the teacher is preferred for it, and idles for nothing', () => {
    const scheduler = fleet(2);
    scheduler.setTasks('r', 1, [taskOf('r', 'a', false, ['teacher', 'shard-a']), taskOf('r', 'b', false, ['teacher', 'shard-b']), taskOf('r', 'c', false, ['teacher', 'shard-c'])]);
    expect(scheduler.grant('w0', 1, ['teacher', 'shard-c'], 0)[0]?.task?.subject).toBe('c');
    expect(scheduler.grant('w1', 1, ['nothing'], 0)[0]?.task?.subject).toBe('a');
  });

  test('a straggler gets a second lease elsewhere, and the loser of the two is told', () => {
    const scheduler = fleet(2, 2);
    scheduler.setTasks('r', 1, labels('r', 6));
    for (let done = 0; done < 5; done += 1) {
      const [lease] = scheduler.grant('w0', 1, [], done * 100);
      scheduler.close('r', lease?.task?.taskId ?? '', done * 100 + 100);
    }
    const [slow] = scheduler.grant('w0', 1, [], 1_000);
    expect(scheduler.grant('w1', 1, [], 2_900)).toEqual([]);
    expect(scheduler.grant('w0', 1, [], 3_100)).toEqual([]);
    const [second] = scheduler.grant('w1', 1, [], 3_100);
    expect(second?.task?.taskId).toBe(slow?.task?.taskId);
    scheduler.register(worker('w2'), [], 3_100);
    expect(scheduler.grant('w2', 1, [], 60_000)).toEqual([]);
    scheduler.close('r', slow?.task?.taskId ?? '', 3_200);
    expect(scheduler.renew('w0', [held(slow?.leaseId, slow?.task?.taskId ?? '')], 3_200)).toEqual([slow?.leaseId]);
  });

  test('leases of an older term are adopted while their task is open; of this term or a closed task they are lost', () => {
    const scheduler = fleet(3, 2);
    scheduler.setTasks('r', 1, labels('r', 2));
    const older = { term: TERM - 2, counter: 9 };
    expect(scheduler.renew('w0', [held(older, 'r.s0')], 0)).toEqual([]);
    expect(scheduler.tasksOf('r')[0]?.leases).toMatchObject([{ workerId: 'w0', leaseId: older }]);
    expect(scheduler.renew('w1', [held({ term: TERM, counter: 1 }, 'r.s1')], 0)).toHaveLength(1);
    expect(scheduler.renew('w1', [held({ term: TERM - 1, counter: 1 }, 'r.gone')], 0)).toHaveLength(1);
    // A second worker's lease of the task is adopted beside the first, a third's is not.
    expect(scheduler.renew('w1', [held({ term: TERM - 1, counter: 2 }, 'r.s0')], 0)).toEqual([]);
    expect(scheduler.renew('w2', [held({ term: TERM - 1, counter: 3 }, 'r.s0')], 0)).toHaveLength(1);
    expect(scheduler.grant('w2', 2, [], 0).map((lease) => lease.task?.subject)).toEqual(['s1']);
  });

  test('a late announcement gives its worker no second lease of a task, and none beyond its slots', () => {
    const scheduler = fleet(1, 2);
    scheduler.setTasks('r', 1, labels('r', 3));
    expect(scheduler.grant('w0', 1, [], 0)[0]?.task?.subject).toBe('s0');
    expect(scheduler.renew('w0', [held({ term: TERM - 1, counter: 1 }, 'r.s0')], 0)).toHaveLength(1);
    expect(scheduler.grant('w0', 1, [], 0)).toHaveLength(1);
    expect(scheduler.renew('w0', [held({ term: TERM - 1, counter: 2 }, 'r.s2')], 0)).toHaveLength(1);
  });

  test('a worker that comes back without a lease has abandoned it', () => {
    const scheduler = fleet(1, 2);
    scheduler.setTasks('r', 1, labels('r', 2));
    const [kept, gone] = scheduler.grant('w0', 2, [], 0);
    const { lost, abandoned } = scheduler.register(worker('w0', 2), [held(kept?.leaseId, kept?.task?.taskId ?? '')], 1);
    expect(lost).toEqual([]);
    expect(abandoned.map((lease) => keyOf(lease.leaseId))).toEqual([keyOf(gone?.leaseId)]);
  });

  test('a task that wants the device alone is not kept waiting by a worker that is topped up shard by shard', () => {
    const scheduler = fleet(1, 2);
    scheduler.setTasks('labels', 1, labels('labels', 100));
    const [first] = scheduler.grant('w0', 2, [], 0);
    scheduler.setTasks('training', 1, [taskOf('training', 'student', true)]);
    const granted: string[] = [];
    let running = scheduler.workers()[0]?.leases.map((lease) => ({ runId: lease.runId, taskId: lease.taskId })) ?? [];
    expect(first).toBeDefined();
    for (let nowMs = 100; nowMs < 1_000 && !granted.includes('training.student'); nowMs += 100) {
      const [done, ...rest] = running;
      if (done !== undefined) scheduler.close(done.runId, done.taskId, nowMs);
      const more = scheduler.grant('w0', 2, [], nowMs).map((lease) => ({ runId: lease.task?.runId ?? '', taskId: lease.task?.taskId ?? '' }));
      granted.push(...more.map((each) => each.taskId));
      running = [...rest, ...more];
    }
    expect(granted).toEqual(['training.student']);
  });

  test('on one host one measurement is under way, on another the next; other work goes on beside it', () => {
    const scheduler = fleet(2);
    scheduler.register({ ...worker('elsewhere'), host: 'h2' }, [], 0);
    scheduler.setTasks('r', 1, [measurement('r', 'm0'), measurement('r', 'm1'), measurement('r', 'm2')]);
    const [first] = scheduler.grant('w0', 1, [], 0);
    expect(first?.task?.subject).toBe('m0');
    expect(scheduler.grant('w1', 1, [], 0)).toEqual([]);
    expect(scheduler.grant('elsewhere', 1, [], 0)).toMatchObject([{ task: { subject: 'm1' } }]);
    scheduler.setTasks('other', 1, labels('other', 1));
    expect(scheduler.grant('w1', 1, [], 0)).toMatchObject([{ task: { runId: 'other' } }]);
    scheduler.close('other', 'other.s0', 1);
    scheduler.close('r', first?.task?.taskId ?? '', 1);
    expect(scheduler.grant('w1', 1, [], 1)).toMatchObject([{ task: { subject: 'm2' } }]);
  });

  test('a paused run keeps its leases and gets no new one; resumed, its tasks have forgotten their failures', () => {
    const scheduler = fleet(2);
    scheduler.setTasks('r', 1, labels('r', 2));
    const [lease] = scheduler.grant('w0', 1, [], 0);
    scheduler.setTasks('r', 1, labels('r', 2), false);
    expect(scheduler.grant('w1', 1, [], 0)).toEqual([]);
    expect(scheduler.renew('w0', [held(lease?.leaseId, 'r.s0')], 10)).toEqual([]);
    scheduler.release(lease?.leaseId ?? { term: 0, counter: 0 }, 10, true);
    expect(scheduler.grant('w1', 1, [], 900)).toEqual([]);
    scheduler.setTasks('r', 1, labels('r', 2), true);
    expect(scheduler.grant('w0', 1, [], 11)).toMatchObject([{ attempt: 0, task: { subject: 's0' } }]);
  });

  test('attempts in flight have had each device since their grant, or since the task before was done', () => {
    const scheduler = fleet(2, 2);
    scheduler.setTasks('r', 1, labels('r', 5));
    scheduler.setTasks('other', 1, []);
    expect(scheduler.inFlightMs('r', 50)).toBe(0);
    const [first] = scheduler.grant('w0', 2, [], 100);
    scheduler.grant('w1', 1, [], 150);
    expect(scheduler.inFlightMs('r', 400)).toBe(300 + 250);
    scheduler.close('r', first?.task?.taskId ?? '', 400);
    scheduler.grant('w0', 1, [], 400);
    expect(scheduler.inFlightMs('r', 450)).toBe(50 + 300);
    // A clock that is behind takes nothing away.
    expect(scheduler.inFlightMs('r', 0)).toBe(0);
    expect(scheduler.inFlightMs('other', 450)).toBe(0);
  });

  test('of leases of one worker that end together the one in hand has had the device, the others nothing; then the next has it', () => {
    const scheduler = fleet(1, 3);
    scheduler.setTasks('r', 1, labels('r', 3));
    scheduler.grant('w0', 3, [], 100);
    const leases = scheduler.workers()[0]?.leases ?? [];
    expect(leases.map((lease) => scheduler.heldMs(lease, 400))).toEqual([300, 0, 0]);
    expect(leases.map((lease) => {
      const heldMs = scheduler.heldMs(lease, 400);
      scheduler.release(lease.leaseId, 400, true);
      return heldMs;
    })).toEqual([300, 0, 0]);
    scheduler.grant('w0', 2, [], 1_000_000);
    const [next, last] = scheduler.workers()[0]?.leases ?? [];
    if (next === undefined || last === undefined) throw new Error('two are granted');
    // One that breaks while it loads has had no device, and takes nothing from the one in hand.
    scheduler.release(last.leaseId, 1_000_050, false);
    expect(scheduler.heldMs(next, 1_000_100)).toBe(100);
  });
});
