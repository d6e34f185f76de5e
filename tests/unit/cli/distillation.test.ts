/** What distillation was worth: the sentences, and which students are one sweep. */
import { expect, test } from 'vitest';
import { fewerErrorsText } from '../../../cli/comparisons.ts';
import { distillationFindings, sweepOf } from '../../../cli/distillation.ts';
import { renderReport } from '../../../cli/report/page.ts';
import { summarize } from '../../../cli/summary.ts';
import { RunView } from '../../../proto/gen/alumnus/v1/operator.ts';
import { canonicalJson, parseRecipe, readyRecipe } from '../../../recipe/index.ts';
import { finishedRun, score } from './fixture.ts';

const digest = (digit: string) => ({ key: digit, sha256: digit.repeat(64), bytes: 1 });
const model = (label: string, wrong: number, same: number | undefined) => ({
  label, parameters: 1000, validation: score(4800, 5000), test: score(10_000 - wrong, 10_000),
  ...(same === undefined ? {} : { teacherAgreement: { validation: { same: 1, total: 2 }, test: { same, total: 10_000 } } }),
});
/** Errors on test of each comparison of the ready recipe that is evaluated. */
const WRONG: Readonly<Record<string, number>> = { labels: 560, t1: 540, t2: 510, t8: 490, 'share-01': 530, 'share-09': 480, online: 470 };

function distilledRun(change: (recipe: string) => string = (recipe) => recipe): RunView {
  const recipe = parseRecipe(change(readyRecipe('distill')!));
  return RunView.fromPartial({
    ...finishedRun(), recipeJson: canonicalJson(recipe), bestIteration: 0,
    iterations: [
      { iteration: 0, decision: 'promoted', model: { ...model('cnn width=24', 450, undefined), model: digest('a') } },
      { iteration: 1, decision: 'refused', teacherSha256: digest('a').sha256, model: { ...model('cnn width=6', 500, 9650), model: digest('b') } },
    ],
    control: model('cnn width=6', 625, 9400),
    comparisons: (recipe.comparisons ?? []).flatMap(({ name }) => (WRONG[name] === undefined ? [] : [{ name, what: name, model: model('cnn width=6', WRONG[name], undefined), givenUp: '' }])),
  });
}

test('the sentences have the errors of teacher, student and student alone, and the agreement', () => {
  const view = distilledRun();
  // By hand: 1 - 500 / 625 = 0.2. Interval in Python: 1 - 0.8 exp(± 1.95996 sqrt(1/500 - 1/10000 + 1/625 - 1/10000)).
  expect(distillationFindings(view)).toEqual([
    'The last student, which learned from its teacher, has an error of 5.00 % on test, and the same student alone 6.25 %: 20.0 % fewer errors (95 % interval 10.3 % to 28.6 %); its teacher has 4.50 %.',
    'It says what its teacher says on 96.50 % of 10,000 test images, right or wrong; the student alone on 94.00 %.',
  ]);
  expect(summarize(view).findings).toEqual(expect.arrayContaining(distillationFindings(view)));
  expect(distillationFindings(finishedRun())).toEqual([]);
  expect(fewerErrorsText({ value: -0.1, interval: { low: -0.3, high: -0.02 } })).toBe('10.0 % more errors (95 % interval 2.0 % to 30.0 %)');
  expect(fewerErrorsText({ value: 0.1, interval: { low: -0.05, high: 0.2 } })).toBe('10.0 % fewer errors (95 % interval 5.0 % more to 20.0 % fewer: no difference is shown)');
});

test('one sweep are the student and those that differ in temperature and share alone', () => {
  const told = (view: RunView) => sweepOf(view).map(({ name, temperature, share, judged }) => [name, temperature, share, judged.total - judged.correct]);
  expect(told(distilledRun())).toEqual([['student', 4, 0.5, 500], ['t1', 1, 0.5, 540], ['t2', 2, 0.5, 510], ['t8', 8, 0.5, 490], ['share-01', 4, 0.1, 530], ['share-09', 4, 0.9, 480]]);
  // Another number of steps is another thing changed; hard targets have no temperature.
  expect(told(distilledRun((recipe) => recipe.replace('name: t8,', 'name: t8, steps: 10,').replace('{ temperature: 2, share: 0.5 }', '{ targets: hard }'))).map(([name]) => name)).toEqual(['student', 't1', 'share-01', 'share-09']);
  expect(sweepOf(finishedRun())).toEqual([]);
});

test('the sweep is a picture with a figure in each place, and says which were not trained', () => {
  const page = renderReport({ view: distilledRun(), audits: [], missing: [], version: '0' });
  const drawn = page.slice(page.indexOf('Temperature and share'));
  const picture = drawn.slice(0, drawn.indexOf('</figure>'));
  // Four temperatures by three shares are twelve places.
  expect(picture.match(/class="hollow"/g)).toHaveLength(12 - 6);
  for (const figure of ['T 1', 'T 8', 'share 0.1', 'share 0.9', '4.80 %', '5.40 %', 'share-09: error 4.80 % (480 of 10,000']) expect(picture).toContain(figure);
  // The least error has the palest shade and the most the darkest.
  const shades = new Map([...picture.matchAll(/<title>([^:]+):[^<]*<\/title><rect [^>]*opacity="([\d.]+)"/g)].map(([, name, shade]) => [name, shade]));
  expect([shades.size, shades.get('share-09'), shades.get('t1')]).toEqual([6, '0.08', '0.50']);
  expect(page).not.toMatch(/NaN|Infinity|undefined/);
});

test('a run that distills and compares nothing tells teacher, student and student alone all the same', () => {
  const view = { ...distilledRun((recipe) => recipe.slice(0, recipe.indexOf('comparisons:'))), comparisons: [] };
  const page = renderReport({ view, audits: [], missing: [], version: '0' });
  for (const figure of ['96.50 %', '20.0 %', 'whom the last student learned from']) expect(page).toContain(figure);
  expect(page).not.toContain('Temperature and share');
});
