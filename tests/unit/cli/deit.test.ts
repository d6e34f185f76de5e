/** DeiT's table: which model of a run is which row of the paper's, and in which order. */
import { expect, test } from 'vitest';
import { deitRows, deitText } from '../../../cli/deit.ts';
import { renderReport } from '../../../cli/report/page.ts';
import { summaryText } from '../../../cli/summary.ts';
import { RunView } from '../../../proto/gen/alumnus/v1/operator.ts';
import { canonicalJson, parseRecipe, readyRecipe } from '../../../recipe/index.ts';
import { finishedRun, score } from './fixture.ts';

const model = (label: string, right: number, heads?: readonly [number, number]) => ({
  label, parameters: 1000, validation: score(4000, 5000), test: score(right, 10_000),
  ...(heads === undefined ? {} : { heads: { scores: ['class', 'distillation'].map((head, at) => ({ head, validation: { ...score(3900, 5000), classes: [] }, test: { ...score(heads[at]!, 10_000), classes: [] } })) } }),
});

function deitRun(change: (recipe: string) => string = (recipe) => recipe): RunView {
  const recipe = parseRecipe(change(readyRecipe('deit')!));
  const right: Readonly<Record<string, ReturnType<typeof model>>> = { plain: model('vit', 9100), usual: model('vit', 9200), hard: model('vit', 9300), 'token-soft': model('deit', 9420, [9400, 9410]) };
  return RunView.fromPartial({
    ...finishedRun(), recipeJson: canonicalJson(recipe), bestIteration: 0,
    iterations: [
      { iteration: 0, decision: 'promoted', model: { ...model('cnn', 9500), model: { key: 'a', sha256: 'a'.repeat(64), bytes: 1 } } },
      { iteration: 1, decision: 'refused', teacherSha256: 'a'.repeat(64), model: { ...model('deit', 9390, [9350, 9380]), teacherAgreement: { validation: { same: 1, total: 2 }, test: { same: 9600, total: 10_000 } } } },
    ],
    control: model('deit', 8900, [8800, 8850]),
    comparisons: (recipe.comparisons ?? []).map(({ name }) => ({ name, what: name, model: right[name], givenUp: '' })),
  });
}

test('the rows are the paper\'s, in its order, and of a model with two heads each head comes before both', () => {
  expect(deitRows(deitRun()).map(({ row, head, name, test: of }) => [row, head, name, of?.correct])).toEqual([
    ['labels alone', '', 'control', 8900],
    ['without distillation', '', 'plain', 9100],
    ['usual distillation', '', 'usual', 9200],
    ['hard distillation', '', 'hard', 9300],
    ['distillation token, hard', 'class head', 'student', 9350],
    ['distillation token, hard', 'distillation head', 'student', 9380],
    ['distillation token, hard', 'both, averaged', 'student', 9390],
    ['distillation token, soft', 'class head', 'token-soft', 9400],
    ['distillation token, soft', 'distillation head', 'token-soft', 9410],
    ['distillation token, soft', 'both, averaged', 'token-soft', 9420],
  ]);
});

test('what differs in something else is no row of it, nor are two heads that learn the same', () => {
  const names = (view: RunView): string[] => deitRows(view).map(({ name }) => name);
  const changed = deitRun((recipe) => recipe.replace('name: plain,', 'name: plain, steps: 2000,').replace('name: hard, what: \'hard targets, one head\', model: { model: vit-tiny, patch: 7, width: 48, depth: 4, heads: 3 },', 'name: hard, what: \'hard targets, one head\','));
  expect(names(changed)).toEqual(['control', 'usual', 'student', 'student', 'student', 'token-soft', 'token-soft', 'token-soft']);
  expect(deitRows(finishedRun())).toEqual([]);
  expect(deitText(finishedRun())).toBe('');
});

test('models of an earlier release, whose heads nobody measured, are told by what predicts', () => {
  const view = deitRun();
  const without = { ...view, iterations: view.iterations.map((each) => ({ ...each, model: { ...each.model!, heads: undefined } })) };
  expect(deitRows(without).filter(({ name }) => name === 'student').map(({ head }) => head)).toEqual(['']);
});

test('terminal and report have the table', () => {
  const view = deitRun();
  const page = renderReport({ view, audits: [], missing: [], version: '0' });
  for (const shown of [summaryText(view, 200), page]) for (const figure of ['usual distillation', 'distillation head', '93.80 %', '96.00 %']) expect(shown).toContain(figure);
  expect(page).toContain('DeiT: with and without the token');
  expect(page).not.toMatch(/NaN|Infinity|undefined/);
});
