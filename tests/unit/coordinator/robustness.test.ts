/** Mean corruption error, mean flip rate, and what the gate makes of them; figures by hand, in fractions. */
import { describe, expect, test } from 'vitest';
import { decide, openTasks, robustnessOn, stateFromJson, stateToJson, type RunState } from '../../../coordinator/run/index.ts';
import { Stage, type CorruptionScores, type Task } from '../../../proto/gen/alumnus/v1/task.ts';
import { canonicalJson, checkRecipe, type RecipeInput } from '../../../recipe/index.ts';
import { answer, makeData, makeRecipe, type AnswerWishes } from './work.ts';

const scores = (...each: readonly [name: string, frames: number, wrong: number, total: number, testWrong?: number][]): CorruptionScores =>
  ({ scores: each.map(([name, frames, wrong, total, testWrong]) => ({ name, frames, validation: { wrong, total }, test: testWrong === undefined ? undefined : { wrong: testWrong, total } })) });

describe('figures of robustness', () => {
  const first = scores(['fog', 0, 50, 100, 10], ['shear', 0, 20, 200, 40], ['rotate_sequence', 31, 30, 300], ['scale_sequence', 31, 60, 300]);
  const own = scores(['fog', 0, 25, 100, 30], ['shear', 0, 24, 200, 40], ['rotate_sequence', 31, 15, 300], ['scale_sequence', 31, 75, 300]);

  test('are means over corruptions of errors, and of errors by iteration 0\'s teacher\'s: not the ratio of means', () => {
    // (0.25 + 0.12) / 2; (0.25 / 0.5 + 0.12 / 0.1) / 2. Of sequences (0.05 + 0.25) / 2; (0.05 / 0.1 + 0.25 / 0.2) / 2.
    expect(robustnessOn('validation', own, first)).toEqual({ meanError: expect.closeTo(0.185, 12) as number, meanCorruptionError: expect.closeTo(0.85, 12) as number, meanFlipProbability: expect.closeTo(0.15, 12) as number, meanFlipRate: expect.closeTo(0.875, 12) as number });
    expect(robustnessOn('validation', first, first)).toMatchObject({ meanCorruptionError: 1, meanFlipRate: 1 });
  });

  test('of the test split are the test split\'s', () => {
    // (0.3 + 0.2) / 2; (0.3 / 0.1 + 0.2 / 0.2) / 2.
    expect(robustnessOn('test', own, first)).toEqual({ meanError: expect.closeTo(0.25, 12) as number, meanCorruptionError: expect.closeTo(2, 12) as number, meanFlipProbability: undefined, meanFlipRate: undefined });
  });

  test('take half a mistake for none where iteration 0\'s teacher made none, of either, so that its own are 1', () => {
    expect(robustnessOn('validation', scores(['fog', 0, 3, 100]), scores(['fog', 0, 0, 100]))?.meanCorruptionError).toBeCloseTo(6, 12);
    expect(robustnessOn('validation', scores(['fog', 0, 0, 100]), scores(['fog', 0, 0, 100]))?.meanCorruptionError).toBe(1);
    // (0 / 0.5 + 0.5 / 0.5) / 2
    expect(robustnessOn('validation', scores(['fog', 0, 0, 100], ['blur', 0, 0, 100]), scores(['fog', 0, 50, 100], ['blur', 0, 0, 100]))?.meanCorruptionError).toBe(0.5);
  });

  test('are not normalized by what was not measured', () => {
    expect(robustnessOn('validation', own, undefined)).toMatchObject({ meanError: expect.closeTo(0.185, 12) as number, meanCorruptionError: undefined });
    expect(robustnessOn('validation', own, scores(['fog', 0, 50, 100]))?.meanCorruptionError).toBeUndefined();
    expect(robustnessOn('validation', undefined, first)).toBeUndefined();
    expect(robustnessOn('validation', scores(['rotate_sequence', 31, 1, 300]), first)).toBeUndefined();
  });
});

describe('a run with corrupted images', () => {
  const wish = (most?: number): Partial<RecipeInput> => ({ rounds: 1, data: { dataset: 'digits', corrupted: 'digits-c' }, ...(most === undefined ? {} : { promotion: { corruption_error_most: most } }) });
  const complete = (state: RunState, task: Task, wishes: AnswerWishes): RunState => decide(state, { kind: 'complete', task, workerId: 'w', result: answer(task, wishes) }, 0).state;

  /** To its end, with a student that is the same on clean images. */
  function played(recipe: Partial<RecipeInput>, teacherWrong: number, studentWrong: number, corrupted: readonly string[] = ['fog', 'shear']): { state: RunState; tasks: Task[] } {
    let { state } = decide(undefined, { kind: 'submit', runId: 'run', recipe: makeRecipe(recipe), data: makeData({ shards: 1, corrupted }) }, 0);
    const tasks: Task[] = [];
    for (let open = openTasks(state); open.length > 0; open = openTasks(state)) {
      const [task] = open as [Task];
      tasks.push(task);
      state = complete(state, task, { validationRight: 850, studentOnlyRight: 20, teacherOnlyRight: 20, corruptedWrong: task.iteration === 0 ? teacherWrong : studentWrong });
    }
    return { state, tasks };
  }

  test('refuses a student above the ratio that the recipe allows, and says so; at it, it is promoted', () => {
    const refused = played(wish(1.1), 200, 221).state.iterations[1];
    expect(refused).toMatchObject({ decision: 'refused', gate: { corruptionRatio: expect.closeTo(1.105, 12) as number, reason: 'not significantly different, by +0.00 points; its mean corruption error is 1.105 times the teacher\'s, above the 1.1 of promotion.corruption_error_most' } });
    expect(played(wish(1.1), 200, 220).state.iterations[1]).toMatchObject({ decision: 'promoted', gate: { reason: 'not significantly different, by +0.00 points' } });
    expect(played(wish(1), 200, 200).state.iterations[1]?.decision).toBe('promoted');
  });

  test('against a teacher without any mistake has a ratio that facts can hold: half a mistake on each corruption is taken for it', () => {
    // One mistake on each against half of one.
    const { state } = played(wish(1.1), 0, 1);
    expect(state.iterations[1]).toMatchObject({ decision: 'refused', gate: { corruptionRatio: 2 } });
    expect(canonicalJson(state.iterations[1]?.gate)).toContain('"corruptionRatio":2');
    expect(played(wish(1.1), 0, 0).state.iterations[1]).toMatchObject({ decision: 'promoted', gate: { corruptionRatio: 1 } });
  });

  test('only reports where the recipe sets no bound', () => {
    expect(played(wish(), 200, 900).state.iterations[1]).toMatchObject({ decision: 'promoted', gate: { corruptionRatio: expect.closeTo(4.5, 12) as number, reason: 'not significantly different, by +0.00 points' } });
  });

  test('asks every evaluation for every corruption, and refuses a result that lacks one', () => {
    const { tasks } = played({ ...wish(), control: true }, 200, 200, ['fog', 'shear', 'rotate_sequence']);
    const evaluations = tasks.filter((task) => task.stage === Stage.EVALUATE);
    expect(evaluations.map(({ subject, work, spec }) => [subject, work, spec?.$case === 'evaluate' ? spec.value.corrupted?.parts.map(({ name }) => name) : []])).toEqual(
      ['student', 'student', 'control'].map((subject) => [subject, 2 * 1000 + 3 * 2 * 1000, ['fog', 'shear', 'rotate_sequence']]));
    let { state } = decide(undefined, { kind: 'submit', runId: 'run', recipe: makeRecipe(wish()), data: makeData({ shards: 1, corrupted: ['fog', 'shear'] }) }, 0);
    state = complete(state, openTasks(state)[0] as Task, {});
    const task = openTasks(state)[0] as Task;
    const lacking = answer(task);
    if (lacking.result?.$case === 'evaluate') lacking.result.value.corruption?.scores.pop();
    expect(() => decide(state, { kind: 'complete', task, workerId: 'w', result: lacking }, 0)).toThrow('the result holds no errors on shear of data.corrupted: the worker is of an earlier release');
  });

  test('keeps them over a snapshot', () => {
    const { state } = played(wish(), 200, 300);
    const again = stateFromJson(stateToJson(state));
    expect(again.iterations[1]?.evaluation?.corruption).toEqual(state.iterations[1]?.evaluation?.corruption);
    expect(again.data.corrupted).toEqual(state.data.corrupted);
  });
});

describe('a recipe', () => {
  const text = (data: string, promotion: string): string => `name: digits\nrounds: 1\ndata: { dataset: digits${data} }\nmodels: { ladder: [{ model: cnn }] }\n${promotion}`;

  test('with a bound and nothing corrupted is refused with the field', () => {
    expect(checkRecipe(text('', 'promotion: { corruption_error_most: 1 }')).problems.map(({ path }) => path)).toEqual(['promotion.corruption_error_most']);
    expect(checkRecipe(text(', corrupted: digits-c', 'promotion: { corruption_error_most: 1 }')).problems).toEqual([]);
  });

  test('without them is, to the byte, what it was before there were any', () => {
    expect(canonicalJson(makeRecipe())).not.toContain('corrupt');
    const [task] = openTasks(decide(undefined, { kind: 'submit', runId: 'run', recipe: makeRecipe(), data: makeData() }, 0).state);
    expect(canonicalJson(task)).not.toContain('corrupt');
  });
});
