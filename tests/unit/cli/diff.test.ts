/** Recipes and runs held against one another. */
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { differences, differencesText, resultPairs } from '../../../cli/diff.ts';
import { editedRecipe } from '../../../cli/edited-recipe.ts';
import { checkRecipe, parseRecipe, readyRecipe, readyRecipeNames } from '../../../recipe/index.ts';
import { finishedRun, runningRun } from './fixture.ts';

test('tells each field that differs by its path, and what only one side has', () => {
  expect(differences({ a: 1, b: { c: [1, { d: 2 }], e: [] }, same: 0 }, { a: 1, b: { c: [1, { d: 3 }, 4] }, same: 0, f: null })).toEqual([
    { path: 'b.c[1].d', a: 2, b: 3 }, { path: 'b.e', a: [] }, { path: 'b.c[2]', b: 4 }, { path: 'f', b: null },
  ]);
  expect(differencesText(differences({ a: [1] }, { a: [1] }), 'x', 'y')).toBe('The recipes say the same.');
});

test('tells results side by side, and leaves out what neither has', () => {
  const [a, b] = [finishedRun(), runningRun()];
  const pairs = resultPairs(a, b);
  expect(pairs.find(({ name }) => name === 'state')).toEqual({ name: 'state', as: 'word', a: 'succeeded', b: 'running' });
  const { validation } = a.iterations[0]!.model!;
  expect(pairs.find(({ name }) => name === 'iteration 0, validation')?.a).toBe(validation!.correct / validation!.total);
  expect(pairs.every(({ a: left, b: right }) => left !== undefined || right !== undefined)).toBe(true);
  expect(resultPairs(b, a).map(({ name }) => name)).toEqual(pairs.map(({ name }) => name));
});

test.each(readyRecipeNames())('the recipe of a run of %s is one that can be submitted anew as it is', (name) => {
  const recipe = parseRecipe(readyRecipe(name)!, name);
  const { recipe: again, problems } = checkRecipe(editedRecipe(JSON.parse(JSON.stringify(recipe)), []));
  expect(problems).toEqual([]);
  expect(differences(recipe, again)).toEqual([]);
});

test('--set changes a field, makes one, takes one out, and reads its value as YAML', () => {
  const recipe = { name: 'a', models: { ladder: [{ model: 'cnn', width: 8 }] }, labels: { threshold: 0.5 } };
  expect(parse(editedRecipe(recipe, ['models.ladder[0].width=16', 'models.ladder.0.dense=4', 'labels.threshold=', 'training.student.steps=10', 'comparisons=[{ name: x }]'])))
    .toEqual({ name: 'a', models: { ladder: [{ model: 'cnn', width: 16, dense: 4 }] }, labels: {}, training: { student: { steps: 10 } }, comparisons: [{ name: 'x' }] });
  expect(() => editedRecipe(recipe, ['width'])).toThrow(/write path=value/);
  expect(() => editedRecipe(recipe, ['name.inner=1'])).toThrow(/name\.inner/);
});
