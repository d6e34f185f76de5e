/** The bucket as the last witness: a run whose journal is lost or rewound comes back as it was, and says what was done. */
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { Fold } from '../../../coordinator/fold.ts';
import type { Journal } from '../../../coordinator/journal/index.ts';
import { Leader } from '../../../coordinator/leader.ts';
import { reconcile } from '../../../coordinator/reconcile.ts';
import { isEnded, openTasks, type RunState } from '../../../coordinator/run/index.ts';
import type { AlumnusError } from '../../../proto/errors.ts';
import { EventGroup } from '../../../proto/gen/alumnus/v1/events.ts';
import type { ReconciledRun } from '../../../proto/gen/alumnus/v1/operator.ts';
import { RunManifest } from '../../../proto/gen/alumnus/v1/record.ts';
import { Stage, type Task, type TaskResult } from '../../../proto/gen/alumnus/v1/task.ts';
import { RECORD_SCHEMA_VERSION } from '../../../proto/record.ts';
import { paths } from '../../../store/index.ts';
import { MemoryStore } from '../../simulation/store.ts';
import { finished, store as storeRecord, work } from './bucket.ts';
import { MemoryDisk } from './memory-journal.ts';
import { makeData, makeRecipe } from './work.ts';

const RUN = 'run';
let nowMs = 1_000;
const clock = { now: () => (nowMs += 1), sleep: () => new Promise<void>(() => undefined) };
let store: MemoryStore;
beforeEach(() => {
  store = new MemoryStore();
});

async function lead(disk: MemoryDisk, snapshotEvents = 1e9): Promise<Leader> {
  const journal = disk.open();
  const fold = await Fold.load(journal, store);
  return new Leader({ journal, fold, store, term: await journal.begin(), leaseMs: 1_000, clock, snapshotEvents });
}

const submit = (leader: Leader, shards = 4) => leader.command(RUN, { kind: 'submit', runId: RUN, recipe: makeRecipe({ rounds: 2, control: true }), data: makeData({ shards, truth: true }) });

/** Completes the first open task so many times, as a worker would. */
async function go(leader: Leader, times = Infinity): Promise<RunState> {
  for (let done = 0; done < times && !isEnded(leader.run(RUN).phase); done += 1) {
    const [task] = openTasks(leader.run(RUN));
    if (task === undefined) break;
    await leader.command(RUN, { kind: 'complete', task, workerId: 'w1', result: await work(store, task) });
  }
  return leader.run(RUN);
}

async function only(leader: Leader, apply = true): Promise<ReconciledRun> {
  const { runs } = await reconcile(leader, { runId: '', apply });
  expect(runs).toHaveLength(1);
  return runs[0] as ReconciledRun;
}

/** What is known of a run, the times of facts aside: a restored result is journalled at another time than the first. */
const known = ({ submittedAtMs: _a, endedAtMs: _b, stageEnteredAtMs: _c, manifest, budget, ...rest }: RunState): object => ({ ...rest, manifest: manifest?.number, deviceMsSpent: budget.deviceMsSpent });

describe('reconcile', () => {
  test('says that journal and bucket agree, and writes nothing', async () => {
    const disk = new MemoryDisk();
    const leader = await lead(disk);
    await submit(leader);
    await go(leader, 4);
    const [groups, objects] = [disk.groups.length, store.objects.size];
    expect(await only(leader)).toMatchObject({ verdict: 'agrees', factsRestored: 0, resultsTaken: 0, notes: [] });
    expect([disk.groups.length, store.objects.size]).toEqual([groups, objects]);
  });

  test.each([0, 1, 2, 3, 5, 7, 11, 12, 30])('after %i tasks the journal is lost: a new one has the same run from the bucket alone, and the run ends as it would have', async (tasks) => {
    const first = await lead(new MemoryDisk());
    await submit(first);
    const before = await go(first, tasks);
    const second = await lead(new MemoryDisk());
    const dry = await only(second, false);
    expect(second.runs()).toEqual([]);
    const done = await only(second);
    expect(done).toEqual(dry);
    expect(done.verdict).toBe('restored');
    expect(done.notes).toEqual([]);
    expect(known(second.run(RUN))).toEqual(known(before));
    expect(await only(second)).toMatchObject({ verdict: 'agrees', factsRestored: 0, resultsTaken: 0 });
    const end = await go(second);
    expect(known(end)).toEqual(known(await go(first)));
  });

  test('work that was finished and never acknowledged is taken, too', async () => {
    const first = await lead(new MemoryDisk());
    await submit(first);
    const before = await go(first, 3);
    const unsaid = openTasks(before).filter((task) => task.spec?.$case === 'label');
    for (const task of unsaid) await work(store, task);
    const second = await lead(new MemoryDisk());
    const { resultsTaken } = await only(second);
    expect(resultsTaken).toBeGreaterThanOrEqual(unsaid.length);
    expect(openTasks(second.run(RUN)).map((task) => task.taskId)).not.toEqual(expect.arrayContaining(unsaid.map((task) => task.taskId)));
  });

  // Which of two records has the smaller digest is chance: six runs that differ in their seed meet both.
  test.each([1, 2, 3, 4, 5, 6])('of two results of one task the one that was written first is taken (%i)', async (seed) => {
    store = new MemoryStore(() => (nowMs += 1));
    const first = await lead(new MemoryDisk());
    await first.command(RUN, { kind: 'submit', runId: RUN, recipe: makeRecipe({ seed }), data: makeData({ shards: 4 }) });
    const [task] = openTasks(await go(first, 2)) as [Task];
    const counted = await work(store, task, 'w1', 'a device');
    await work(store, task, 'w2', 'another device');
    await first.command(RUN, { kind: 'complete', task, workerId: 'w1', result: counted });
    const second = await lead(new MemoryDisk());
    await only(second);
    expect(second.run(RUN).iterations[1]?.labels.get(task.subject)).toEqual(first.run(RUN).iterations[1]?.labels.get(task.subject));
  });

  test('a rewound journal is brought forward again; what it has stands', async () => {
    const disk = new MemoryDisk();
    const first = await lead(disk);
    await submit(first);
    const before = await go(first, 9);
    for (const keep of [1, 3, 6]) {
      const rewound = new MemoryDisk();
      rewound.groups = disk.groups.slice(0, keep);
      rewound.last = rewound.groups.at(-1)?.last ?? 0;
      rewound.term = disk.term;
      const second = await lead(rewound);
      const done = await only(second);
      expect(done.verdict).toBe('advanced');
      expect(done.factsRestored + done.resultsTaken).toBeGreaterThan(0);
      expect(known(second.run(RUN))).toEqual(known(before));
    }
  });

  test('a journal that went on otherwise stands, and the manifests that tell otherwise are named', async () => {
    const disk = new MemoryDisk();
    const first = await lead(disk);
    await submit(first);
    await go(first, 1);
    const other = new MemoryDisk();
    other.groups = disk.groups.slice(0, 1);
    other.last = other.groups.at(-1)?.last ?? 0;
    other.term = disk.term + 5;
    await go(first, 2);
    const second = await lead(other);
    await second.command(RUN, { kind: 'kill', reason: 'by another' });
    const done = await only(second);
    expect(done.verdict).toBe('diverged');
    expect(done.state).toBe('cancelled');
    expect(second.run(RUN).phase).toBe('cancelled');
  });

  describe('while workers report', () => {
    const digestOf = ({ result }: TaskResult): string => (result?.$case === 'label' ? result.value.labels?.sha256 ?? '' : '');
    const labelOf = (run: RunState, shard: string): string => run.iterations[run.iteration]?.labels.get(shard)?.labels?.sha256 ?? '';
    const completionsOf = (disk: MemoryDisk, taskId: string): number => disk.groups.flatMap((group) => EventGroup.decode(group.bytes).events).filter(({ fact }) => fact?.$case === 'taskCompleted' && fact.value.place?.taskId === taskId).length;

    test('a result whose append is under way is neither overwritten nor journalled twice: reconcile says that the run went on, and can be said again', async () => {
      const disk = new MemoryDisk();
      const first = await lead(disk);
      await submit(first);
      await go(first, 2);
      const kept = disk.groups.length;
      // The stage's end lies in a manifest: the bucket has w1's labels.
      await go(first, 4);
      const rewound = new MemoryDisk();
      rewound.groups = disk.groups.slice(0, kept);
      rewound.last = rewound.groups.at(-1)?.last ?? 0;
      rewound.term = disk.term;
      const journal = rewound.open();
      let isHeld = false;
      let arrive: () => void = () => undefined;
      let letGo: () => void = () => undefined;
      const arrived = new Promise<void>((resolve) => (arrive = resolve));
      const gate = new Promise<void>((resolve) => (letGo = resolve));
      const held: Journal = {
        ...journal, get lastSequence() { return journal.lastSequence; },
        append: async (...given) => {
          if (isHeld) {
            isHeld = false;
            arrive();
            await gate;
          }
          return journal.append(...given);
        },
      };
      const second = new Leader({ journal: held, fold: await Fold.load(held, store), store, term: await held.begin(), leaseMs: 1_000, clock });
      const [task] = openTasks(second.run(RUN)) as [Task];
      const result = await work(store, task, 'w2', 'another device');
      isHeld = true;
      const reported = second.command(RUN, { kind: 'complete', task, workerId: 'w2', result });
      await arrived;
      const restore = vi.spyOn(second, 'restore');
      const reconciled = reconcile(second, { runId: '', apply: true }).then(() => 'done', (thrown: unknown) => (thrown as AlumnusError).code);
      // What it has to say waits behind the append.
      await vi.waitFor(() => expect(restore).toHaveBeenCalled(), { timeout: 30_000 });
      letGo();
      await reported;
      expect(await reconciled).toBe('RUN_CONFLICT');
      expect(labelOf(second.run(RUN), task.subject)).toBe(digestOf(result));
      expect(completionsOf(rewound, task.taskId)).toBe(1);
      expect(await only(second)).toMatchObject({ verdict: 'diverged', factsRestored: 0 });
      expect(labelOf(second.run(RUN), task.subject)).toBe(digestOf(result));
    });

    test('a result that comes while a large stage is restored piece by piece comes too late for what the bucket tells', async () => {
      const shards = 2_000;
      const first = await lead(new MemoryDisk());
      await first.command(RUN, { kind: 'submit', runId: RUN, recipe: makeRecipe({ control: false }), data: makeData({ shards }) });
      await go(first, 2);
      await Promise.all(openTasks(first.run(RUN)).map((task) => first.command(RUN, { kind: 'complete', task, workerId: 'w1', result: finished(task).result })));
      expect(first.run(RUN).stage).toBe(Stage.SELECT);
      const disk = new MemoryDisk();
      const second = await lead(disk);
      let task: Task | undefined;
      let reported: Promise<string> | undefined;
      second.onChange(() => {
        const [run] = second.runs();
        const open = run === undefined || run.stage !== Stage.LABEL ? [] : openTasks(run);
        if (task !== undefined || open.length === 0 || open.length === shards) return;
        [task] = open.slice(-1);
        if (task === undefined) return;
        reported = second.command(RUN, { kind: 'complete', task, workerId: 'w2', result: finished(task, 'another device').result }).then(() => 'accepted', (thrown: unknown) => (thrown as AlumnusError).code);
      });
      expect(await only(second)).toMatchObject({ verdict: 'restored', notes: [] });
      expect(await reported).toBe('LEASE_LOST');
      const { taskId = '', subject = '' } = task ?? {};
      expect(completionsOf(disk, taskId)).toBe(1);
      expect(labelOf(second.run(RUN), subject)).toBe(labelOf(first.run(RUN), subject));
      expect(known(second.run(RUN))).toEqual(known(first.run(RUN)));
    });
  });

  test('a manifest that was never journalled gives way to the one that was', async () => {
    const disk = new MemoryDisk();
    const first = await lead(disk);
    await submit(first);
    // A deposed leader gets as far as the bucket with a decision of its own.
    const deposed = await lead(disk);
    await lead(disk);
    await expect(deposed.command(RUN, { kind: 'cancel', reason: 'too late' })).rejects.toMatchObject({ code: 'NOT_LEADER' });
    const third = await lead(disk);
    await third.command(RUN, { kind: 'pause', reason: 'for lunch' });
    await third.command(RUN, { kind: 'resume' });
    const fresh = await lead(new MemoryDisk());
    const done = await only(fresh);
    expect(fresh.run(RUN).phase).toBe('running');
    expect(done.notes).toEqual([expect.stringMatching(/^manifest 1 of term \d+ .* was left by a leader/)]);
  });

  // Which of two manifests has the smaller digest is chance: five runs that differ in their name meet both.
  test.each(['a', 'b', 'c', 'd', 'e'])('a manifest that lands after its leader stopped waiting for it decides nothing (%s)', async (name) => {
    let late: (() => void)[] | undefined;
    const slow = new MemoryStore();
    const put = slow.putAddressed.bind(slow);
    slow.putAddressed = async (prefix, content, options) => {
      if (late !== undefined && options?.extension === '.manifest') await new Promise<void>((resolve) => late?.push(resolve));
      return put(prefix, content, options);
    };
    store = slow;
    const timers: (() => void)[] = [];
    const disk = new MemoryDisk();
    const journal = disk.open();
    const first = new Leader({
      journal, fold: await Fold.load(journal, store), store, term: await journal.begin(), leaseMs: 1_000,
      clock: { now: clock.now, sleep: () => new Promise<void>((resolve) => timers.push(resolve)) },
    });
    await first.command(RUN, { kind: 'submit', runId: RUN, recipe: makeRecipe({ name }), data: makeData() });
    late = [];
    const landing = late;
    const paused = first.command(RUN, { kind: 'pause', reason: 'maintenance' });
    while (landing.length === 0) await new Promise((resolve) => setImmediate(resolve));
    timers.forEach((ends) => ends());
    await paused;
    late = undefined;
    await first.command(RUN, { kind: 'kill', reason: 'wrong data' });
    landing.forEach((lands) => lands());
    await new Promise((resolve) => setImmediate(resolve));
    expect([...store.objects.keys()].filter((key) => key.endsWith('.manifest'))).toHaveLength(3);
    // With the journal, and without.
    expect(await only(first)).toMatchObject({ verdict: 'agrees', factsRestored: 0 });
    const second = await lead(new MemoryDisk());
    expect(await only(second)).toMatchObject({ verdict: 'restored', state: 'cancelled' });
    expect(known(second.run(RUN))).toEqual(known(first.run(RUN)));
  });

  test('of manifests of one number and term the journal\'s own counts, whatever the others tell', async () => {
    const disk = new MemoryDisk();
    const leader = await lead(disk);
    await submit(leader);
    await leader.command(RUN, { kind: 'pause', reason: 'maintenance' });
    const { manifest } = leader.run(RUN);
    const written = RunManifest.decode(store.objects.get(manifest?.ref.key ?? '')?.content ?? new Uint8Array());
    // As a leader whose clock was ahead would have left it.
    for (let times = 0; times < 5; times += 1) {
      const events = [{ runId: RUN, atMs: 9e12, fact: { $case: 'runCancelled' as const, value: { reason: `never journalled ${times}` } } }];
      await store.putAddressed(paths.runManifest(RUN, written.number), RunManifest.encode({ ...written, events }).finish(), { extension: '.manifest' });
    }
    const left = expect.stringMatching(/^manifest 1 of term 1 .* was left by a leader/) as string;
    expect(await only(leader)).toMatchObject({ verdict: 'agrees', state: 'paused', notes: [left, left, left, left, left] });
  });

  test.each(['record', 'output'])('a damaged %s is not taken: the task is to be done again, and the note says why', async (what) => {
    const first = await lead(new MemoryDisk());
    await submit(first);
    const [task] = openTasks(await go(first, 2));
    if (task === undefined) throw new Error('a task is open');
    const result = await work(store, task);
    const key = what === 'record'
      ? [...store.objects.keys()].find((each) => each.startsWith(task.outputPrefix) && each.endsWith('.record')) ?? ''
      : result.result?.$case === 'label' ? result.result.value.labels?.key ?? '' : '';
    const held = store.objects.get(key);
    if (held === undefined) throw new Error(`${key} is there`);
    store.objects.set(key, { ...held, content: Buffer.from('other bytes') });
    const second = await lead(new MemoryDisk());
    const done = await only(second);
    expect(done.notes.some((note) => note.includes(key))).toBe(true);
    expect(openTasks(second.run(RUN)).map((each) => each.taskId)).toContain(task.taskId);
  });

  test('a record of a newer release is named once and not taken: its task is to be done again', async () => {
    const first = await lead(new MemoryDisk());
    await submit(first);
    const [newer, ...others] = openTasks(await go(first, 2));
    if (newer === undefined) throw new Error('a task is open');
    await storeRecord(store, newer, 'w1', finished(newer), RECORD_SCHEMA_VERSION + 1);
    // Whatever else is taken means another look at what is open.
    for (const task of others) await work(store, task);
    const second = await lead(new MemoryDisk());
    const done = await only(second);
    const key = [...store.objects.keys()].find((each) => each.startsWith(`${newer.outputPrefix}/`) && each.endsWith('.record'));
    expect(done.notes).toEqual([`${key} is not used: it is of schema 2, this release reads up to 1`]);
    expect(openTasks(second.run(RUN)).map((each) => each.taskId)).toContain(newer.taskId);
  });

  test('a missing manifest in the middle gives back what lies before it, and says so', async () => {
    const first = await lead(new MemoryDisk());
    await submit(first);
    await go(first, 12);
    const manifests = [...store.objects.keys()].filter((key) => key.endsWith('.manifest')).sort();
    expect(manifests.length).toBeGreaterThan(4);
    store.objects.delete(manifests[3] ?? '');
    const second = await lead(new MemoryDisk());
    const done = await only(second);
    expect(done.verdict).toBe('restored');
    expect(done.notes.join('\n')).toMatch(/leads back to number 4 only/);
    // Records carry it on: the tasks that they answer are those that were done.
    expect(known(second.run(RUN))).toEqual(known(first.run(RUN)));
  });

  test('snapshot and rest give the run as the whole journal does, and a bucket is reconciled with it', async () => {
    const disk = new MemoryDisk();
    const leader = await lead(disk, 5);
    await submit(leader);
    for (let step = 0; step < 20; step += 1) {
      await go(leader, 1);
      await new Promise((resolve) => setTimeout(resolve, 1));
      const again = await Fold.load(disk.open(), store);
      expect(again.runs.get(RUN)).toEqual(leader.run(RUN));
      expect(again.pending(RUN)).toEqual(leader.pending(RUN));
    }
    expect(disk.snapshot?.sequence).toBeGreaterThan(5);
    expect(disk.groups[0]?.first).toBeGreaterThan(1);
    expect(await only(await lead(disk))).toMatchObject({ verdict: 'agrees', notes: [] });
  });
});
