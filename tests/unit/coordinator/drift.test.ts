/** What labels are compared with, and when labels that grow surer are warned of: bounds by hand, from counts chosen here. */
import { describe, expect, test } from 'vitest';
import { schemaVersionOf } from '../../../coordinator/journal/index.ts';
import { decide, driftWarnings, openTasks, precisionDrift, type RunState } from '../../../coordinator/run/index.ts';
import type { ConfidenceBin, Task, TaskResult } from '../../../proto/gen/alumnus/v1/task.ts';
import type { RecipeInput } from '../../../recipe/index.ts';
import { answer, makeData, makeRecipe } from './work.ts';

interface Wishes {
  /** Mean confidence of iteration 1's and of iteration 2's labels. */
  readonly confidence?: readonly [number, number];
  /** Validation by confidence, of the teacher of iteration 1 and of that of iteration 2. */
  readonly bins?: readonly [readonly ConfidenceBin[], readonly ConfidenceBin[]];
  /** Default true; `absent`: the recipe does not say. */
  readonly drift?: boolean | 'absent';
  readonly refuseFirst?: boolean;
}

/** As many bins as matter; they hold the thousand of validation. */
const bins = (...counts: readonly [confidence: number, correct: number, total: number][]): ConfidenceBin[] => counts.map(([confidence, correct, total]) => ({ confidence, correct, total }));

/** A run of two rounds to its end, and every task that it had. */
function runOf({ confidence: [before, after] = [0.8, 0.9], bins: [first, second] = [bins([0.5, 900, 1000]), bins([0.5, 900, 1000])], drift = true, refuseFirst = false }: Wishes = {}): { state: RunState; tasks: Task[] } {
  const recipe = makeRecipe({ rounds: 2, labels: { threshold: 0.5, ...(drift === 'absent' ? {} : { drift }) }, guards: { calibration_error_most: 1 } });
  let { state } = decide(undefined, { kind: 'submit', runId: 'digits-1', recipe, data: makeData() }, 0);
  const tasks: Task[] = [];
  for (let [task] = openTasks(state); task !== undefined; [task] = openTasks(state)) {
    tasks.push(task);
    state = decide(state, { kind: 'complete', task, workerId: 'w', result: resultOf(task) }, 1).state;
  }
  return { state, tasks };

  function resultOf(task: Task): TaskResult {
    const refused = refuseFirst && task.iteration === 1;
    const told = answer(task, { validationRight: 900, confidence: task.iteration === 0 ? first : second, studentOnlyRight: refused ? 0 : 50, teacherOnlyRight: refused ? 90 : 10, eligible: [10, 10, 10] });
    if (told.result?.$case !== 'select' || task.spec?.$case !== 'select' || task.spec.value.drift === undefined) return told;
    const { selection } = told.result.value;
    return { ...told, result: { ...told.result, value: { ...told.result.value, drift: { drift: selection, samples: 300, flips: 12, confidenceBefore: before, confidenceAfter: after, classes: [], shards: [] } } } };
  }
}

const selectOf = (tasks: readonly Task[], iteration: number) => {
  const task = tasks.find((each) => each.spec?.$case === 'select' && each.iteration === iteration);
  return task?.spec?.$case === 'select' ? task.spec.value : undefined;
};

describe('labels are compared', () => {
  test('with those of the iteration before, from the second on', () => {
    const { tasks, state } = runOf();
    expect(selectOf(tasks, 1)?.drift).toBeUndefined();
    expect(selectOf(tasks, 2)?.drift).toEqual({ teacherSha256: selectOf(tasks, 1)?.teacherSha256, shards: selectOf(tasks, 1)?.shards });
    expect(selectOf(tasks, 2)?.teacherSha256).not.toBe(selectOf(tasks, 1)?.teacherSha256);
    expect(state.phase).toBe('succeeded');
  });

  test('not where the recipe does not ask, whose tasks are named as ever', () => {
    const without = runOf({ drift: 'absent' });
    expect(selectOf(without.tasks, 2)?.drift).toBeUndefined();
    const off = runOf({ drift: false });
    expect(off.tasks.map(({ taskId }) => taskId)).toEqual(without.tasks.map(({ taskId }) => taskId));
    expect(precisionDrift(without.state, without.state.iterations[2]!)).toBeUndefined();
  });

  test('not where the teacher stayed: it wrote the same labels', () => {
    const { tasks } = runOf({ refuseFirst: true });
    expect(selectOf(tasks, 2)?.teacherSha256).toBe(selectOf(tasks, 1)?.teacherSha256);
    expect(selectOf(tasks, 2)?.drift).toBeUndefined();
  });

  test('and a result that does not say so is not taken', () => {
    const { tasks } = runOf();
    const last = tasks.find((each) => each.spec?.$case === 'select' && each.iteration === 2)!;
    const recipe = makeRecipe({ rounds: 2, labels: { threshold: 0.5, drift: true }, guards: { calibration_error_most: 1 } });
    let { state } = decide(undefined, { kind: 'submit', runId: 'digits-1', recipe, data: makeData() }, 0);
    for (let [task] = openTasks(state); task !== undefined && task.taskId !== last.taskId; [task] = openTasks(state)) {
      state = decide(state, { kind: 'complete', task, workerId: 'w', result: answer(task, { validationRight: 900, confidence: bins([0.5, 900, 1000]), studentOnlyRight: 50, teacherOnlyRight: 10, eligible: [10, 10, 10] }) }, 1).state;
    }
    expect(() => decide(state, { kind: 'complete', task: last, workerId: 'w', result: answer(last) }, 1)).toThrow(/does not compare the labels/);
  });
});

describe('a warning is given', () => {
  test.each<[string, Wishes, boolean, [number, number, number, number]]>([
    ['surer, and right as often', {}, true, [900, 1000, 900, 1000]],
    ['surer, and right less often', { bins: [bins([0.5, 900, 1000]), bins([0.5, 899, 1000])] }, true, [900, 1000, 899, 1000]],
    ['surer, and right more often', { bins: [bins([0.5, 900, 1000]), bins([0.5, 901, 1000])] }, false, [900, 1000, 901, 1000]],
    ['as sure, and right less often', { confidence: [0.8, 0.8], bins: [bins([0.5, 900, 1000]), bins([0.5, 800, 1000])] }, false, [900, 1000, 800, 1000]],
    ['less sure', { confidence: [0.8, 0.7] }, false, [900, 1000, 900, 1000]],
    // 3 of 4 is as often as 6 of 8.
    ['surer, and right as often among more', { bins: [bins([0.5, 3, 4]), bins([0.5, 6, 8])] }, true, [3, 4, 6, 8]],
    // Below the threshold of 0.5 nothing counts: 900 of 1,000 against 450 of 500.
    ['surer, and only better below the threshold', { bins: [bins([0.5, 900, 1000]), bins([0.25, 500, 500], [0.5, 450, 500])] }, true, [900, 1000, 450, 500]],
    ['surer, and everything right already', { bins: [bins([0.5, 1000, 1000]), bins([0.5, 1000, 1000])] }, false, [1000, 1000, 1000, 1000]],
    ['surer, and validation tells nothing from the threshold on', { bins: [bins([0.25, 900, 1000]), bins([0.5, 900, 1000])] }, false, [0, 0, 900, 1000]],
  ])('%s', (_, wishes, alarm, [correctBefore, totalBefore, correctAfter, totalAfter]) => {
    const { state } = runOf(wishes);
    const told = precisionDrift(state, state.iterations[2]!);
    expect(told?.alarm).toBe(alarm);
    expect([told?.correctBefore, told?.totalBefore, told?.correctAfter, told?.totalAfter]).toEqual([correctBefore, totalBefore, correctAfter, totalAfter]);
    expect(driftWarnings(state)).toHaveLength(alarm ? 1 : 0);
  });

  test('in a sentence with its figures', () => {
    expect(driftWarnings(runOf({ bins: [bins([0.5, 970, 1000]), bins([0.5, 965, 1000])] }).state)).toEqual([
      'iteration 2: its labels are surer than those before (mean confidence 80.00 %, now 90.00 %), and on validation its teacher is not right more often from the threshold on (97.00 %, now 96.50 %): errors may be confirming themselves; 12 of 300 labels name another class than before',
    ]);
  });
});

test('a journal of such a run is of a schema that the release before refuses', () => {
  const submitted = (labels: NonNullable<RecipeInput['labels']>): number => schemaVersionOf(decide(undefined, { kind: 'submit', runId: 'digits-1', recipe: makeRecipe({ labels }), data: makeData() }, 0).events);
  expect([submitted({}), submitted({ drift: false }), submitted({ drift: true })]).toEqual([1, 1, 4]);
});
