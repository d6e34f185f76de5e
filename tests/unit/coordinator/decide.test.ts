/** What the scenarios don't show well: exact bounds, odd names, and results of the wrong form. */
import { describe, expect, test } from 'vitest';
import { decide, openTasks, type RunState } from '../../../coordinator/run/index.ts';
import type { Task, TaskResult } from '../../../proto/gen/alumnus/v1/task.ts';
import type { RecipeInput } from '../../../recipe/index.ts';
import { answer, makeData, makeRecipe, shardName, type DataWishes } from './work.ts';

const submit = (wishes: Partial<RecipeInput> = {}, data: DataWishes = {}): RunState =>
  decide(undefined, { kind: 'submit', runId: 'run', recipe: makeRecipe(wishes), data: makeData(data) }, 0).state;
const complete = (state: RunState, task: Task, result: TaskResult = answer(task)): RunState => decide(state, { kind: 'complete', task, workerId: 'w1', result }, 0).state;
const fail = (state: RunState, task: Task, workerId: string, { fleet = 3, message = 'died' } = {}) => decide(state, { kind: 'fail', task, workerId, code: 'ENGINE_CRASHED', message, counts: true, fleet, heldMs: 0 }, 0);
const first = (state: RunState): Task => {
  const [task] = openTasks(state);
  if (task === undefined) throw new Error('the run waits for nothing');
  return task;
};
/** Completes the first open task `times` times. */
const go = (state: RunState, times: number): RunState => (times === 0 ? state : go(complete(state, first(state)), times - 1));

describe('decide', () => {
  test('29 of 50 shards are not more than a share of 0.58, though 0.58 * 50 is less than 29 in floating point; 30 are', () => {
    let state = go(submit({ tolerance: { quarantined_share: 0.58, attempts: 1 } }, { shards: 50 }), 2);
    for (let lost = 0; lost < 29; lost += 1) state = fail(state, first(state), 'w1').state;
    expect(state.phase).toBe('running');
    expect(fail(state, first(state), 'w1').state.phase).toBe('paused');
  });

  test('a shard may be named like a subject of ours', () => {
    const data = makeData({ shards: 2 });
    for (const [index, name] of ['control', 'audit'].entries()) Object.assign(data.unlabeled?.shards[index] ?? {}, { name });
    let state = go(decide(undefined, { kind: 'submit', runId: 'run', recipe: makeRecipe({ tolerance: { quarantined_share: 1, attempts: 1 } }), data }, 0).state, 2);
    state = complete(state, first(state));
    expect(state.iterations[1]?.labels.has('control')).toBe(true);
    state = fail(state, first(state), 'w1').state;
    expect(state.iterations[1]?.quarantined.has('audit')).toBe(true);
    expect(openTasks(state).map((task) => task.spec?.$case)).toEqual(['select']);
  });

  test('a task that fails without end on too few workers is given up after three times its attempts', () => {
    // Five workers are said to live, one of them takes everything: the others drain, or train for hours.
    let state = go(submit({ tolerance: { quarantined_share: 1, attempts: 3 } }), 2);
    const task = first(state);
    for (let times = 0; times < 8; times += 1) state = fail(state, task, 'w1', { fleet: 5 }).state;
    expect(state.iterations[1]?.quarantined.size).toBe(0);
    expect(fail(state, task, 'w1', { fleet: 5 }).state.iterations[1]?.quarantined.has(shardName(0))).toBe(true);
  });

  test('a message of megabytes does not go into the journal', () => {
    const { events } = fail(submit(), first(submit()), 'w1', { message: 'x'.repeat(5_000_000) });
    expect(JSON.stringify(events).length).toBeLessThan(10_000);
  });

  test('an evaluation that compares with nobody does not promote its student', () => {
    const state = go(submit(), 7);
    const task = first(state);
    const result = answer(task);
    if (result.result?.$case !== 'evaluate') throw new Error('the seventh task is the evaluation');
    const alone: TaskResult = { ...result, result: { $case: 'evaluate', value: { ...result.result.value, paired: [] } } };
    expect(() => complete(state, task, alone)).toThrow('holds no counts against the present teacher');
    expect(complete(state, task).phase).toBe('succeeded');
  });

  test('results of the wrong form are refused', () => {
    const labeling = go(submit(), 2);
    const task = first(labeling);
    expect(() => complete(labeling, task, answer(first(submit())))).toThrow("a label task can't be completed by a train result");
    expect(() => complete(labeling, task, { deviceMs: 1, result: undefined })).toThrow('no result');
    const result = answer(task);
    if (result.result?.$case !== 'label') throw new Error('a label task is answered by labels');
    expect(() => complete(labeling, task, { ...result, result: { $case: 'label', value: { ...result.result?.value as object, labels: undefined, tally: undefined, samples: 1 } } })).toThrow('names no labels');
  });

  test('labels that lie below another task are refused: they may be of another teacher', () => {
    const labeling = go(submit({}, { shards: 2 }), 2);
    const [one, other] = openTasks(labeling);
    if (one === undefined || other === undefined) throw new Error('two shards wait');
    expect(() => complete(labeling, one, answer(other))).toThrow(`not below ${one.outputPrefix}`);
  });

  test('a task id covers everything that goes in: another seed, teacher, shard digest or try is another task', () => {
    const ids = new Set<string>();
    const add = (state: RunState): void => openTasks(state).forEach((task) => ids.add(task.taskId));
    const plain = go(submit(), 2);
    const otherModel = complete(complete(submit(), first(submit()), answer(first(submit()), { salt: 'other' })), first(complete(submit(), first(submit()), answer(first(submit()), { salt: 'other' }))));
    [plain, otherModel, go(submit({ seed: 2 }), 2), go(submit({ labels: { batch_size: 7 } }), 2)].forEach(add);
    expect(ids.size).toBe(12);
    add(go(submit(), 2));
    expect(ids.size).toBe(12);
  });

  test('a run needs no unlabeled data when it has no rounds', () => {
    const data = { ...makeData(), unlabeled: undefined };
    const state = decide(undefined, { kind: 'submit', runId: 'run', recipe: makeRecipe({ rounds: 0 }), data }, 0).state;
    expect(go(state, 2).phase).toBe('succeeded');
  });

  test('a run that is not there takes no command', () => {
    expect(() => decide(undefined, { kind: 'resume' }, 0)).toThrow('there is no such run');
  });
});
