/** Comparisons as tables and in the report: against whom, with which intervals, and what there is not. */
import { expect, test } from 'vitest';
import { comparisonRows, comparisonText } from '../../../cli/comparisons.ts';
import { newsBetween, progressText } from '../../../cli/progress/view.ts';
import { renderReport } from '../../../cli/report/page.ts';
import { summaryText } from '../../../cli/summary.ts';
import type { ModelView } from '../../../proto/gen/alumnus/v1/operator.ts';
import { Stage } from '../../../proto/gen/alumnus/v1/task.ts';
import { finishedRun, runWithComparisons } from './fixture.ts';

test('each is beside the last student, with its difference on test and its pairs on validation', () => {
  const rows = comparisonRows(runWithComparisons());
  expect(rows.map(({ name, state }) => [name, state])).toEqual([['teacher', ''], ['student', ''], ['control', ''], ['truth', ''], ['small', ''], ['lost', 'given up: 3 attempts failed'], ['late', 'waits']]);
  const truth = rows[3]!;
  // 9,850 and 9,650 of 10,000. Newcombe's method 10, computed in Python from Wilson's two intervals.
  expect(truth.difference!.value).toBeCloseTo(0.02, 12);
  expect([truth.difference!.low, truth.difference!.high]).toEqual([expect.closeTo(0.015712984, 6), expect.closeTo(0.024378814, 6)]);
  expect(truth.paired).toEqual({ onlyThis: 100, onlyStudent: 22, pValue: 1e-12 });
  expect([rows[1]!.difference, rows[5]!.difference, rows[6]!.paired]).toEqual([undefined, undefined, undefined]);
});

test('the teacher is among them, and each is beside the control by its errors and beside the teacher by what it says', () => {
  const view = runWithComparisons();
  const agreeing = { ...view, iterations: view.iterations.map((each) => ({ ...each, model: { ...each.model!, ...(each.iteration === 2 ? { teacherAgreement: { validation: { same: 1, total: 2 }, test: { same: 3, total: 4 } } } : {}) } })), comparisons: view.comparisons.map((each, at) => (at > 0 ? each : { ...each, model: { ...each.model!, teacherAgreement: { validation: { same: 4900, total: 5000 }, test: { same: 9712, total: 10_000 } } } })) };
  const [teacher, student, control, truth] = comparisonRows(agreeing);
  // Iteration 2's model taught the last student. Of 10,000: the control gets 620 wrong, the teacher 410, the student 350, truth 150.
  expect(teacher?.model).toBe('cnn width=24');
  expect([teacher, student, truth].map((row) => row?.fewerErrors?.value)).toEqual([1 - 410 / 620, 1 - 350 / 620, 1 - 150 / 620].map((value) => expect.closeTo(value, 12)));
  expect([control?.fewerErrors, teacher?.agreement, student?.agreement, truth?.agreement]).toEqual([undefined, undefined, undefined, { correct: 9712, total: 10_000 }]);
  const [text, page] = [comparisonText(agreeing), renderReport({ view: agreeing, audits: [], missing: [], version: '0' })];
  for (const shown of [text, page]) for (const figure of ['97.12 %', '75.8 %']) expect(shown).toContain(figure);
});

test('a run without any says nothing of them', () => {
  expect(comparisonRows(finishedRun())).toEqual([]);
  expect(comparisonText(finishedRun())).toBe('');
  expect(renderReport({ view: finishedRun(), audits: [], missing: [], version: '0' })).not.toContain('Comparisons');
});

test('terminal and report show the same figures, and escape what is the user\'s', () => {
  const view = runWithComparisons();
  const [text, page] = [summaryText(view, 200), renderReport({ view, audits: [], missing: [], version: '0' })];
  for (const figure of ['+2.0', '−2.5', '98.50 %', '94.00 %', 'truth: true labels', 'late: again; waits']) expect(text).toContain(figure);
  for (const line of comparisonText(view).split('\n').filter((each) => !each.startsWith('Comparisons'))) expect(line.length, line).toBeLessThanOrEqual(120);
  for (const figure of ['+2.0', '98.50 %', '100 : 22', 'given up: 3 attempts failed', '&lt;i&gt;soft&lt;/i&gt; labels', 'Against the last student']) expect(page).toContain(figure);
  expect(page).not.toMatch(/NaN|Infinity|undefined/);
});

test('a comparison that is evaluated is news', () => {
  const after = runWithComparisons();
  expect(newsBetween({ ...after, comparisons: after.comparisons.map((each) => ({ ...each, model: undefined })) }, after).filter((line) => line.startsWith('truth'))).toEqual(['truth: true labels · validation 98.0 % · test 98.5 %']);
});

test('a run that waits for its comparisons says how many are done', () => {
  const view = runWithComparisons();
  const waiting = { ...view, summary: { ...view.summary!, state: 'running', stage: Stage.PROMOTE, endedAtMs: 0 } };
  expect(progressText(waiting)).toContain('3 of 4 comparisons done');
});

test('where fine-tuned models are gated, what a model took is its training and its fine-tuning', () => {
  const view = runWithComparisons();
  // 320,000 images in 40 s, then 1,000 in 3 s.
  const tuned = <Of extends { model?: ModelView | undefined }>(each: Of) => ({ ...each, fineTuned: each.model && { ...each.model, images: 1_000, trainMs: 3_000 } });
  const teaches = { ...view, fineTunedTeaches: true, iterations: view.iterations.map(tuned), controlFineTuned: tuned({ model: view.control }).fineTuned, comparisons: view.comparisons.map(tuned) };
  expect(comparisonRows(teaches).map(({ name, images, deviceMs }) => [name, images, deviceMs])).toEqual([...['teacher', 'student', 'control', 'truth', 'small'].map((name) => [name, 321_000, 43_000]), ['lost', 0, 0], ['late', 0, 0]]);
  expect(comparisonRows({ ...teaches, fineTunedTeaches: false }).slice(0, 5).every(({ images, deviceMs }) => images === 320_000 && deviceMs === 40_000)).toBe(true);
  // Three students for 4.4 points: 963,000 images and 129 s.
  expect(summaryText(teaches, 200)).toContain('of 4.40 gained: 29 s of training and 218,864 images seen by students');
});
