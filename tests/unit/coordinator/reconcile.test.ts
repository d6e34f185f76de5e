/** The bucket as the last witness: a run whose journal is lost or rewound comes back as it was, and says what was done. */
import { beforeEach, describe, expect, test } from 'vitest';
import { Fold } from '../../../coordinator/fold.ts';
import { Leader } from '../../../coordinator/leader.ts';
import { reconcile } from '../../../coordinator/reconcile.ts';
import { isEnded, openTasks, type RunState } from '../../../coordinator/run/index.ts';
import type { ReconciledRun } from '../../../proto/gen/alumnus/v1/operator.ts';
import { RECORD_SCHEMA_VERSION } from '../../../proto/record.ts';
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
    await second.command(RUN, { kind: 'cancel', reason: 'by another' });
    const done = await only(second);
    expect(done.verdict).toBe('diverged');
    expect(done.state).toBe('cancelled');
    expect(second.run(RUN).phase).toBe('cancelled');
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
