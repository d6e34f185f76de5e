/** Lower bounds and thresholds against tests/unit/learning/calibration-expected.json (scipy), and which classes are skewed: exact bounds. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { unsupportedConfidence } from '../../../coordinator/run/guards.ts';
import { decide, labelThreshold, openTasks, pauseRules, shareAtLeast, skewedClasses, stateFromJson, stateToJson, thresholdOf, type RunState } from '../../../coordinator/run/index.ts';
import { checkRecipe, journalledRecipe, canonicalJson, type RecipeInput } from '../../../recipe/index.ts';
import { answer, makeData, makeRecipe, type AnswerWishes } from './work.ts';

interface Expected {
  readonly bounds: readonly [correct: number, total: number, least: number][];
  readonly curve: readonly [confidence: number, correct: number, total: number][];
  readonly thresholds: readonly [wanted: number, chosen: [confidence: number, correct: number, total: number, least: number, reached: boolean]][];
}

const expected = JSON.parse(readFileSync(join(import.meta.dirname, '..', 'learning', 'calibration-expected.json'), 'utf8')) as Expected;
const confidence = expected.curve.map(([least, correct, total]) => ({ confidence: least, correct, total }));

describe('the lower bound of a share', () => {
  test.each(expected.bounds)('of %i right of %i', (correct, total, least) => expect(shareAtLeast(correct, total)).toBeCloseTo(least, 12));
  test('of nothing is 0', () => expect(shareAtLeast(0, 0)).toBe(0));
});

describe('the threshold', () => {
  test.each(expected.thresholds)('for a precision of %f', (wanted, [least, correct, total, bound, reached]) => {
    expect(labelThreshold({ precision: wanted, threshold: undefined }, { confidence })).toEqual({ confidence: least, measured: { wanted, correct, total, least: expect.closeTo(bound, 12) as number, reached } });
  });

  test('is asked for within reach and beyond', () => expect(new Set(expected.thresholds.map(([, chosen]) => chosen[4]))).toEqual(new Set([true, false])));

  test('is the recipe\'s own where it has one, whatever the teacher is', () => {
    expect(labelThreshold({ threshold: 0.7, precision: undefined }, { confidence })).toEqual({ confidence: 0.7, measured: undefined });
  });

  test('of a teacher of whom nothing was counted is not reached', () => {
    expect(labelThreshold({ precision: 0.9, threshold: undefined }, undefined).measured).toEqual({ wanted: 0.9, correct: 0, total: 0, least: 0, reached: false });
  });
});

describe('skewed classes', () => {
  const guards = (wishes: NonNullable<RecipeInput['guards']> = {}) => makeRecipe({ guards: wishes }).guards;
  const classes = (...eligible: number[]) => eligible.map((each, index) => ({ class: index, eligible: each, kept: each, rows: each, labeled: each }));
  const validation = (...totals: number[]) => ({ classes: totals.map((total, index) => ({ class: index, correct: 0, total })) });

  test('are told with what they have and what is expected, the worst first', () => {
    expect(skewedClasses(classes(900, 9, 1, 90), validation(25, 25, 25, 25), guards())).toEqual({
      rare: [{ class: 2, share: 0.001, expected: 0.25 }, { class: 1, share: 0.009, expected: 0.25 }], crowded: [{ class: 0, share: 0.9, expected: 0.25 }],
    });
  });

  test('a tenth of the expected share is just enough, to the bit; three quarters of all are just not too much', () => {
    // 5 / 1000 / (50 / 1000) is less than 0.1 in floating point.
    expect(skewedClasses(classes(990, 5, 5), validation(900, 50, 50), guards())).toEqual({ rare: [], crowded: [] });
    expect(skewedClasses(classes(991, 4, 5), validation(900, 50, 50), guards()).rare).toEqual([{ class: 1, share: 0.004, expected: 0.05 }]);
    expect(skewedClasses(classes(75, 13, 12), validation(25, 25, 50), guards()).crowded).toEqual([]);
    expect(skewedClasses(classes(76, 12, 12), validation(25, 25, 50), guards()).crowded).toEqual([{ class: 0, share: 0.76, expected: 0.25 }]);
  });

  test('a class that validation lacks, or has much of, is not asked', () => {
    expect(skewedClasses(classes(100, 0), validation(100, 0), guards())).toEqual({ rare: [], crowded: [] });
    expect(skewedClasses(classes(95, 5), validation(60, 40), guards())).toEqual({ rare: [], crowded: [] });
  });

  test('none where nothing is known, nothing eligible, or nobody asks', () => {
    expect(skewedClasses(classes(100, 0), validation(), guards())).toEqual({ rare: [], crowded: [] });
    expect(skewedClasses(classes(100, 0), undefined, guards())).toEqual({ rare: [], crowded: [] });
    expect(skewedClasses(classes(0, 0), validation(1, 1), guards())).toEqual({ rare: [], crowded: [] });
    expect(skewedClasses(classes(100, 0), validation(1, 9), guards({ class_share_least: 0, class_share_most: 1 }))).toEqual({ rare: [], crowded: [] });
  });
});

/** As far as the first teacher's evaluation is in. */
function labeling(wishes: Partial<RecipeInput>, evaluation: AnswerWishes = {}): RunState {
  let { state } = decide(undefined, { kind: 'submit', runId: 'run', recipe: makeRecipe(wishes), data: makeData({ shards: 1 }) }, 0);
  for (const answered of [{}, evaluation]) for (const task of openTasks(state)) ({ state } = decide(state, { kind: 'complete', task, workerId: 'w', result: answer(task, answered) }, 0));
  return state;
}

describe('a run', () => {
  test('shows the threshold of each iteration by the teacher that labels it', () => {
    const state = labeling({ labels: { precision: 0.9 } }, { validationRight: 870, confidence: [{ confidence: 0.25, correct: 170, total: 250 }, { confidence: 0.75, correct: 700, total: 750 }] });
    expect(state.phase).toBe('running');
    expect(thresholdOf(state)).toMatchObject({ confidence: 0.75, measured: { correct: 700, total: 750, reached: true } });
  });

  test('that was resumed past a guard remembers it in a snapshot', () => {
    const paused = labeling({ labels: { precision: 0.999 } });
    expect([paused.phase, paused.pauseRule]).toEqual(['paused', 'precision']);
    const resumed = decide(paused, { kind: 'resume' }, 1).state;
    expect([resumed.phase, resumed.iterations[1]?.passed]).toEqual(['running', ['precision']]);
    for (const state of [paused, resumed]) expect(stateFromJson(stateToJson(state))).toEqual(state);
  });
});

describe('a recipe', () => {
  const text = (labels: string): string => `name: digits\ndata: { dataset: mnist }\nmodels:\n  ladder: [{ model: cnn }]\nlabels:\n${labels}`;

  test('has a threshold of 0.3, or one that is written, or a precision, and never two', () => {
    const labels = (written: string) => checkRecipe(text(written)).recipe?.labels;
    expect(labels('  kind: soft\n')).toMatchObject({ threshold: 0.3 });
    expect(labels('  threshold: 0\n')).toMatchObject({ threshold: 0 });
    expect(labels('  precision: 0.95\n')).toMatchObject({ precision: 0.95 });
    expect(labels('  precision: 0.95\n')).not.toHaveProperty('threshold');
    expect(checkRecipe(text('  threshold: 0.3\n  precision: 0.95\n')).problems).toEqual([{ path: 'labels.precision', line: 7, reason: 'is written beside threshold: write one of the two' }]);
    for (const precision of [0, 1, 1.2]) expect(checkRecipe(text(`  precision: ${precision}\n`)).problems).toHaveLength(1);
  });

  test('is the same when it is read again from its journal', () => {
    for (const recipe of [makeRecipe(), makeRecipe({ labels: { precision: 0.9 } }), makeRecipe({ labels: { threshold: 0.7 }, guards: { class_share_most: 0.8 } })]) expect(journalledRecipe(canonicalJson(recipe))).toEqual(recipe);
  });

  test('of a release before guards asks nothing', () => {
    const { guards: _guards, ...earlier } = makeRecipe();
    expect(journalledRecipe(canonicalJson(earlier))).toEqual(makeRecipe({ tolerance: earlier.tolerance, guards: { class_share_least: 0, class_share_most: 1, calibration_error_most: 1 } }));
  });
});

describe('confidence', () => {
  const recipe = makeRecipe({ rounds: 1 });
  const asked = (temperature: number, calibrationError = recipe.guards.calibration_error_most + 0.01, iteration = 0): string | undefined =>
    unsupportedConfidence({ recipe, iteration, iterations: Array.from({ length: iteration + 1 }, () => ({ evaluation: { validation: { calibrationError, calibrationErrorScaled: 0.01 }, calibration: { temperature } } })) } as unknown as RunState)?.rule;

  test('that validation does not support is asked about where the model is too sure of itself, and is to write labels', () => {
    expect(asked(1.01)).toBe(pauseRules.calibration);
    expect(asked(1.01, recipe.guards.calibration_error_most)).toBeUndefined();
    // All right, and not sure of it: no label is worse for that.
    expect(asked(1)).toBeUndefined();
    expect(asked(0.05)).toBeUndefined();
    // The last model labels nothing.
    expect(asked(1.01, 1, 1)).toBeUndefined();
  });
});
