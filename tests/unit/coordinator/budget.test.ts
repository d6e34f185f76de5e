/** What is spent, when that is all, and which classes are thin: exact bounds, clocks that go back, limits that are none. */
import { describe, expect, test } from 'vitest';
import { decide, evolve, hoursText, isBudgetDue, MS_PER_HOUR, openTasks, spentBudget, stateFromJson, stateToJson, thinClasses, wallMsSpent, type RunState } from '../../../coordinator/run/index.ts';
import { checkRecipe, journalledRecipe, type RecipeInput } from '../../../recipe/index.ts';
import { answer, makeData, makeRecipe } from './work.ts';

const submitted = (budget: RecipeInput['budget'], atMs = 0): RunState => decide(undefined, { kind: 'submit', runId: 'run', recipe: makeRecipe({ budget }), data: makeData() }, atMs).state;
const hour = (hours: number): number => hours * MS_PER_HOUR;

describe('what is spent', () => {
  test('a limit is spent when it is reached, not a millisecond before', () => {
    const state = submitted({ wall_hours: 2 }, 1_000);
    expect(spentBudget(state, 1_000 + hour(2) - 1, 0)).toBeUndefined();
    expect(spentBudget(state, 1_000 + hour(2), 0)).toEqual({ what: 'its budget is spent (2 of 2 wall hours)', raise: 'alumnus run budget run --wall-hours N' });
  });

  test('both limits are told where both are spent', () => {
    expect(spentBudget(submitted({ wall_hours: 2, device_hours: 1.5 }), hour(3), hour(1.6))).toEqual({
      what: 'its budget is spent (1.6 of 1.5 device hours and 3 of 2 wall hours)', raise: 'alumnus run budget run --device-hours N --wall-hours N',
    });
  });

  test('no limit is never spent, and what does not run is not paused', () => {
    expect(spentBudget(submitted({}), hour(1e9), hour(1e9))).toBeUndefined();
    const state = submitted({ device_hours: 1 });
    expect(isBudgetDue(state, 0, hour(1))).toBe(true);
    expect(isBudgetDue(decide(state, { kind: 'kill', reason: 'enough' }, 0).state, 0, hour(1))).toBe(false);
  });

  test('a clock that went back takes nothing away: not between facts, not at a pause, not at the end', () => {
    const state = submitted({}, hour(10));
    expect(wallMsSpent(state, hour(9))).toBe(0);
    const paused = decide(state, { kind: 'pause', reason: 'lunch' }, hour(11)).state;
    const resumed = decide(paused, { kind: 'resume' }, hour(5)).state;
    expect(wallMsSpent(resumed, hour(4))).toBe(hour(1));
    expect(wallMsSpent(resumed, hour(6))).toBe(hour(2));
    const ended = decide(resumed, { kind: 'kill', reason: 'enough' }, hour(7)).state;
    expect([hour(7), hour(99)].map((nowMs) => wallMsSpent(ended, nowMs))).toEqual([hour(3), hour(3)]);
  });

  test('a worker that reports less than no device time gives none back', () => {
    const state = submitted({});
    const [task] = openTasks(state);
    if (task === undefined) throw new Error('a new run has a task');
    const place = { taskId: task.taskId, iteration: 0, stage: task.stage, subject: task.subject, try: 0 };
    const failed = evolve(state, { runId: 'run', atMs: 1, fact: { $case: 'taskFailed', value: { place, workerId: 'w', code: 'ENGINE_CRASHED', message: '', counts: false, heldMs: -5 } } });
    expect(failed.budget.deviceMsSpent).toBe(0);
    expect(decide(failed, { kind: 'complete', task, workerId: 'w', result: answer(task, { deviceMs: -7 }) }, 1).state.budget.deviceMsSpent).toBe(0);
  });

  test.each([[0, '0'], [1_000, '0.000278'], [hour(2.0149), '2.01'], [hour(1234.5), '1230']])('%d ms are %s h', (ms, text) => expect(hoursText(ms)).toBe(text));

  test.each([NaN, Infinity, -1, 1e12])('%d hours are no limit', (deviceHours) => {
    expect(() => decide(submitted({}), { kind: 'budget', deviceHours }, 0)).toThrow('device hours are a number from 0 (no limit) to 100000000');
  });

  test('a recipe has limits within bounds, and none by default', () => {
    const text = (budget: string): string => `name: digits\ndata: { dataset: mnist }\nmodels: { ladder: [{ model: cnn }] }\n${budget}`;
    expect(checkRecipe(text('')).recipe?.budget).toEqual({ device_hours: 0, wall_hours: 0 });
    expect(checkRecipe(text('budget: { device_hours: 0.5 }\n')).recipe?.budget).toEqual({ device_hours: 0.5, wall_hours: 0 });
    for (const wrong of ['{ device_hours: -1 }', '{ wall_hours: 100000 }', '{ hours: 1 }']) expect(checkRecipe(text(`budget: ${wrong}\n`)).problems).toHaveLength(1);
  });
});

describe('which classes are thin', () => {
  const classes = (...eligible: number[]) => eligible.map((count, index) => ({ class: index, eligible: count, kept: count, rows: count, labeled: count }));
  const recipe = (share: number, labels: RecipeInput['labels'] = {}) => makeRecipe({ labels, tolerance: { class_coverage: share } });

  test('those below the share of eligible / classes; just enough is enough', () => {
    expect(thinClasses(classes(308, 11, 11), recipe(0.1))).toEqual({ thin: [], need: 11 });
    expect(thinClasses(classes(319, 10, 1), recipe(0.1))).toEqual({ thin: [{ class: 1, eligible: 10 }, { class: 2, eligible: 1 }], need: 11 });
  });

  test('7 of 100 are a share of 0.07, though 0.07 * 100 is more than 7 in floating point', () => {
    expect(thinClasses(classes(7, 6, 93), recipe(0.07, { budget_per_class: 100 }))).toEqual({ thin: [{ class: 1, eligible: 6 }], need: 7 });
  });

  test('of the recipe\'s own budget where it has one', () => {
    expect(thinClasses(classes(50, 49, 9_000), recipe(0.5, { budget_per_class: 100 }))).toEqual({ thin: [{ class: 1, eligible: 49 }], need: 50 });
  });

  test('none at a share of 0, and none where labels are not balanced', () => {
    expect(thinClasses(classes(900, 0), recipe(0)).thin).toEqual([]);
    expect(thinClasses(classes(900, 0), recipe(1, { balance: 'none' })).thin).toEqual([]);
    expect(thinClasses([], recipe(1)).thin).toEqual([]);
  });
});

describe('a snapshot', () => {
  test('gives back the budget, running, paused and ended', () => {
    const running = submitted({ device_hours: 3, wall_hours: 4 }, hour(1));
    const paused = decide(running, { kind: 'clock', inFlightMs: hour(3) }, hour(2)).state;
    const ended = decide(paused, { kind: 'kill', reason: 'enough' }, hour(3)).state;
    for (const state of [running, paused, ended]) expect(stateFromJson(stateToJson(state))).toEqual(state);
  });

  test('of a release before budgets counts from then on, and asks for no coverage and knows no warnings of its data', () => {
    const { pauseRule: _pauseRule, budget: _budget, recipeJson, data: { warnings: _warnings, ...data }, ...rest } = submitted({}, hour(1));
    const { budget: _limits, tolerance: { class_coverage: _share, ...tolerance }, ...older } = JSON.parse(recipeJson) as { budget: object; tolerance: { class_coverage: number } };
    const earlier = stateToJson({ ...rest, data, recipeJson: JSON.stringify({ ...older, tolerance }) } as unknown as RunState);
    expect(earlier).not.toContain('class_coverage');
    const state = stateFromJson(earlier);
    expect(state.budget).toEqual({ deviceHours: 0, wallHours: 0, deviceMsSpent: 0, wallMsSpent: 0, runningSinceMs: hour(1) });
    expect(state.data.warnings).toEqual([]);
    expect([state.pauseRule, state.recipe.tolerance.class_coverage]).toEqual(['', 0]);
    expect(journalledRecipe(state.recipeJson)).toEqual(state.recipe);
    expect(decide(state, { kind: 'pause', reason: 'lunch' }, hour(2)).state.budget.wallMsSpent).toBe(hour(1));
  });
});
