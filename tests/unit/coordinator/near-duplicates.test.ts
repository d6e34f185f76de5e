/** What a run does of near-duplicates and of people's labels, beyond what the scenarios tell: what is refused, what survives a snapshot and a lost journal, and what a leader grants. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Fold } from '../../../coordinator/fold.ts';
import { schemaVersionOf } from '../../../coordinator/journal/index.ts';
import { Leader } from '../../../coordinator/leader.ts';
import { reconcile } from '../../../coordinator/reconcile.ts';
import { decide, fingerprintTurn, isEnded, labeledPart, openTasks, stateFromJson, stateToJson, type Command, type Review, type RunState } from '../../../coordinator/run/index.ts';
import { runView } from '../../../coordinator/api/views.ts';
import type { Event } from '../../../proto/gen/alumnus/v1/events.ts';
import { Stage, type FingerprintResult, type SelectSpec, type Task, type TaskResult, type TrainSpec } from '../../../proto/gen/alumnus/v1/task.ts';
import type { RecipeInput } from '../../../recipe/index.ts';
import { MemoryStore } from '../../simulation/store.ts';
import { work } from './bucket.ts';
import { MemoryDisk } from './memory-journal.ts';
import { answer, fold, makeData, makeRecipe, sha256, type AnswerWishes } from './work.ts';

const near: Partial<RecipeInput> = { data: { dataset: 'digits', near_duplicates: {} } };
const submitted = (recipe: Partial<RecipeInput>, shards = 3): RunState => decide(undefined, { kind: 'submit', runId: 'run', recipe: makeRecipe({ rounds: 2, ...recipe }), data: makeData({ shards }) }, 0).state;
const complete = (state: RunState, task: Task, result: TaskResult = answer(task)): RunState => decide(state, { kind: 'complete', task, workerId: 'w1', result }, 0).state;
const first = (state: RunState): Task => {
  const [task] = openTasks(state);
  if (task === undefined) throw new Error('a task is open');
  return task;
};

function until(state: RunState, wanted: (task: Task) => boolean, wishes: AnswerWishes = {}): RunState {
  let next = state;
  while (!wanted(first(next))) next = complete(next, first(next), answer(first(next), wishes));
  return next;
}

const review = (name: string, samples: number): Review => {
  const ref = (what: string) => ({ key: `runs/run/reviewed/${what}-${name}`, sha256: sha256(`${what} of ${name}`), bytes: 1 });
  return { shards: samples === 0 ? [] : [{ name: `reviewed-${name}`, ref: ref('images'), samples, location: undefined }], labels: ref('labels'), reviewed: ref('table'), samples };
};
const behind = (state: RunState): string => (state.reviews.at(-1)?.labels ?? state.data.labeled?.labels)?.sha256 ?? '';
const reviewed = (state: RunState, name: string, samples = 2): RunState => decide(state, { kind: 'review', review: review(name, samples), behind: behind(state) }, 0).state;

describe('a result that does not answer', () => {
  const refused = (state: RunState, result: TaskResult): unknown => {
    try {
      return complete(state, first(state), result);
    } catch (thrown) {
      return thrown;
    }
  };
  const isShard = ({ spec }: Task): boolean => spec?.$case === 'fingerprint' && spec.value.against !== undefined;
  const withValue = (task: Task, change: Partial<FingerprintResult>): TaskResult => {
    const told = answer(task, { near: 2 });
    if (told.result?.$case !== 'fingerprint') throw new Error('the task looks for near-duplicates');
    return { ...told, result: { $case: 'fingerprint', value: { ...told.result.value, ...change } } };
  };

  test('of what judges, without fingerprints', () => {
    const state = until(submitted(near), ({ spec }) => spec?.$case === 'fingerprint');
    expect(refused(state, withValue(first(state), { fingerprints: undefined }))).toMatchObject({ code: 'USAGE', message: 'the result names no fingerprints' });
  });

  test.each([{ near: undefined }, { nearAny: 0 }, { nearAny: 3 }, { nearTest: 5 }])('of a shard, with counts that contradict each other: %j', (change) => {
    const state = until(submitted(near), isShard);
    expect(refused(state, withValue(first(state), change))).toMatchObject({ code: 'USAGE', message: 'the counts of near-duplicates contradict each other' });
  });

  test('of a selection by a worker that leaves nothing out', () => {
    const state = until(submitted(near), ({ spec }) => spec?.$case === 'select', { near: 1 });
    const told = answer(first(state));
    if (told.result?.$case !== 'select') throw new Error('the task selects');
    const { leftOut, ...value } = told.result.value;
    expect(leftOut).toBe(3);
    expect(refused(state, { ...told, result: { $case: 'select', value } })).toMatchObject({ code: 'USAGE', message: expect.stringContaining('earlier release') as string });
  });

  test('a shard that was compared with other fingerprints', () => {
    const state = until(submitted(near), isShard);
    const task = first(state);
    if (task.spec?.$case !== 'fingerprint') throw new Error('the task looks for near-duplicates');
    const stale: Task = { ...task, spec: { $case: 'fingerprint', value: { ...task.spec.value, against: { key: 'k', sha256: 'other', bytes: 1 } } } };
    expect(() => complete(state, stale)).toThrow('the task is closed');
  });
});

test('a journal with near-duplicates or people\'s labels is of schema 4', () => {
  const { events } = decide(undefined, { kind: 'submit', runId: 'run', recipe: makeRecipe(near), data: makeData() }, 0);
  expect(schemaVersionOf(events)).toBe(4);
  const fact: Event = { runId: 'run', atMs: 0, fact: { $case: 'labelsReviewed', value: { fromIteration: 1, ...review('a', 1) } } };
  expect(schemaVersionOf([fact])).toBe(4);
  expect(schemaVersionOf(decide(undefined, { kind: 'submit', runId: 'run', recipe: makeRecipe(), data: makeData() }, 0).events)).toBe(1);
});

test.each([[{}], [{ training: { distill: { temperature: 4 } } }]] as const)('the turn, told without counting shards while results are too few, is that of the open tasks; recipe with %j', (more) => {
  let state = submitted({ ...near, ...more }, 3);
  const turns: string[] = [];
  while (!isEnded(state.phase)) {
    const ofShards = openTasks(state).flatMap(({ spec }) => (spec?.$case === 'fingerprint' ? [spec.value.shard !== undefined] : []));
    const turn = ofShards.length === 0 ? 'done' : ofShards[0] ? 'shards' : 'judging';
    if (state.stage === Stage.SELECT) expect(fingerprintTurn(state)).toBe(turn);
    turns.push(state.stage === Stage.SELECT ? turn : '');
    state = complete(state, first(state));
    // A stored teacher labels what people gave labels to, too, and nobody looks that through.
    if (state.iteration === 1 && state.reviews.length === 0) state = reviewed(reviewed(reviewed(state, 'a'), 'b'), 'c');
  }
  // Once only: what judges, three shards that train and the labeled one; then a selection in each of two iterations.
  expect(turns.filter((turn) => turn !== '')).toEqual(['judging', 'shards', 'shards', 'shards', 'shards', 'done', 'done']);
});

const specOf = (task: Task): SelectSpec | TrainSpec | undefined => (task.spec?.$case === 'select' || task.spec?.$case === 'train' ? task.spec.value : undefined);

test('whatever comes when: what an iteration selects leaves out what its student learns as labeled, to the table; snapshots and the journal give the state', () => {
  const step = fc.oneof({ weight: 5, arbitrary: fc.record({ kind: fc.constant('complete' as const), which: fc.nat(5), near: fc.nat(2) }) }, { weight: 1, arbitrary: fc.record({ kind: fc.constant('review' as const), samples: fc.nat(3) }) });
  fc.assert(fc.property(fc.boolean(), fc.boolean(), fc.array(step, { minLength: 20, maxLength: 45 }), (looks, control, steps) => {
    const events: Event[] = [];
    let state: RunState | undefined;
    const say = (command: Command): void => {
      const decided = decide(state, command, 0);
      events.push(...decided.events);
      ({ state } = decided);
    };
    say({ kind: 'submit', runId: 'run', recipe: makeRecipe({ rounds: 3, control, ...(looks ? near : {}) }), data: makeData({ shards: 2 }) });
    const leftOut = new Map<number, string | undefined>();
    for (const [at, each] of steps.entries()) {
      const now = state as unknown as RunState;
      if (each.kind === 'review') {
        const wish: Command = { kind: 'review', review: review(String(at), each.samples), behind: behind(now) };
        if (isEnded(now.phase) || now.iteration >= 3) expect(() => decide(now, wish, 0)).toThrow();
        else say(wish);
      } else {
        const open = openTasks(now);
        const task = open[each.which % Math.max(1, open.length)];
        if (task === undefined) continue;
        const spec = specOf(task);
        if (task.spec?.$case === 'select') {
          // Nothing is selected before all that it selects from was looked through.
          expect(now.fingerprints.size).toBe(looks ? 1 + 2 + 1 : 0);
          expect(task.spec.value.leftOut?.nearDuplicates.length ?? 0).toBe([...now.fingerprints].filter(([subject, { near: found }]) => found !== undefined && !subject.includes('labeled')).length);
          leftOut.set(task.iteration, task.spec.value.leftOut?.reviewed?.sha256);
        }
        if (task.spec?.$case === 'train' && task.subject === 'student' && task.iteration > 0) {
          const { labeled } = task.spec.value;
          expect(labeled?.reviewed?.sha256).toBe(leftOut.get(task.iteration));
          expect(labeled?.samples).toBe(labeled?.shards.reduce((sum, shard) => sum + shard.samples, 0));
          expect(labeled).toEqual(labeledPart(now, task.iteration));
        }
        if (task.spec?.$case === 'train' && (task.subject === 'control' || task.iteration === 0)) expect(task.spec.value.labeled).toEqual(now.data.labeled);
        if (spec !== undefined && !looks && now.reviews.length === 0) expect('leftOut' in spec && spec.leftOut !== undefined).toBe(false);
        say({ kind: 'complete', task, workerId: 'w1', result: answer(task, { near: each.near }) });
      }
    }
    expect(stateFromJson(stateToJson(state as unknown as RunState))).toEqual(state);
    expect(fold(events)).toEqual(state);
  }), { numRuns: 40 });
});

describe('a leader', () => {
  const clock = { now: () => 1_000_000, sleep: () => new Promise<void>(() => undefined) };
  async function lead(disk: MemoryDisk, store: MemoryStore): Promise<Leader> {
    const journal = disk.open();
    return new Leader({ journal, fold: await Fold.load(journal, store), store, term: await journal.begin(), leaseMs: 1_000, clock, snapshotEvents: 7 });
  }
  const go = async (leader: Leader, store: MemoryStore, times: number): Promise<void> => {
    for (let done = 0; done < times && !isEnded(leader.run('run').phase); done += 1) {
      const task = first(leader.run('run'));
      await leader.command('run', { kind: 'complete', task, workerId: 'w1', result: await work(store, task) });
      // What may be granted is what is open: no more, and nothing forgotten.
      expect(leader.scheduler.tasksOf('run').map(({ task: { taskId } }) => taskId).sort()).toEqual(openTasks(leader.run('run')).map(({ taskId }) => taskId).sort());
    }
  };

  test('grants what is open, turn by turn, and counts it', async () => {
    const store = new MemoryStore();
    const leader = await lead(new MemoryDisk(), store);
    await leader.command('run', { kind: 'submit', runId: 'run', recipe: makeRecipe({ rounds: 1, ...near }), data: makeData({ shards: 3 }) });
    await go(leader, store, 2 + 3 + 1);
    expect(leader.run('run').stage).toBe(Stage.SELECT);
    const view = runView(leader, leader.run('run'), '');
    // Of the judging images, three shards, the labeled one and the selection.
    expect([view.stageDone, view.stageTotal]).toEqual([1, 6]);
    expect(view.nearDuplicates).toMatchObject({ complete: false, unlabeled: { samples: 0 } });
    await go(leader, store, Infinity);
    expect(leader.run('run').phase).toBe('succeeded');
    const nearOf = (part: string): number => [...leader.run('run').fingerprints].reduce((sum, [subject, { nearAny }]) => sum + (subject.startsWith(`fingerprint.shard.${part}`) ? nearAny : 0), 0);
    expect(nearOf('shard-') + nearOf('labeled.')).toBeGreaterThan(0);
    expect(runView(leader, leader.run('run'), '').nearDuplicates).toMatchObject({ complete: true, unlabeled: { samples: 300, nearAny: nearOf('shard-') }, labeled: { samples: 30, nearAny: nearOf('labeled.') } });
  });

  test('a run with both comes back from the bucket alone', async () => {
    const store = new MemoryStore();
    const leader = await lead(new MemoryDisk(), store);
    await leader.command('run', { kind: 'submit', runId: 'run', recipe: makeRecipe({ rounds: 2, ...near }), data: makeData({ shards: 2 }) });
    await go(leader, store, 6);
    await leader.command('run', { kind: 'review', review: review('a', 2), behind: behind(leader.run('run')) });
    await go(leader, store, 6);
    const before = leader.run('run');
    expect(before.iteration).toBe(2);
    const after = await lead(new MemoryDisk(), store);
    const { runs: [verdict] } = await reconcile(after, { runId: '', apply: true });
    expect(verdict).toMatchObject({ verdict: 'restored' });
    const restored = after.run('run');
    expect([restored.reviews, restored.fingerprints.toJS(), restored.iteration, openTasks(restored).map(({ taskId }) => taskId)]).toEqual([before.reviews, before.fingerprints.toJS(), before.iteration, openTasks(before).map(({ taskId }) => taskId)]);
    await go(after, store, Infinity);
    expect(after.run('run').phase).toBe('succeeded');
  });
});

test('labels that people gave warn of who did not learn them', async () => {
  const store = new MemoryStore();
  const journal = new MemoryDisk().open();
  const leader = new Leader({ journal, fold: await Fold.load(journal, store), store, term: await journal.begin(), leaseMs: 1_000, clock: { now: () => 0, sleep: () => new Promise<void>(() => undefined) } });
  await leader.command('run', { kind: 'submit', runId: 'run', recipe: makeRecipe({ rounds: 2, control: true, comparisons: [{ name: 'alone', labels: 'none' }, { name: 'soft', kind: 'soft' }] }), data: makeData() });
  expect(runView(leader, leader.run('run'), '').warnings).toEqual([]);
  await leader.command('run', { kind: 'review', review: review('a', 2), behind: behind(leader.run('run')) });
  expect(runView(leader, leader.run('run'), '').warnings).toEqual([expect.stringMatching(/^people gave labels from iteration 1 on: .* the control, the comparison alone do not/) as string]);
});

test('iteration 0 may be given labels, and the first students learn them', () => {
  const state = reviewed(submitted({}), 'early', 4);
  const student = until(state, ({ stage, iteration }) => stage === Stage.TRAIN && iteration === 1);
  expect((first(student).spec?.value as TrainSpec).labeled).toMatchObject({ samples: 34, reviewed: { sha256: sha256('table of early') } });
});
