/** What a demo runs, and its trial in a tenth of the steps. */
import { expect, test } from 'vitest';
import { planDemo } from '../../../cli/demo/plan.ts';
import { readyRecipe, readyRecipeNames } from '../../../recipe/index.ts';

const planOf = (text: string, fast: boolean) => planDemo({ fast, recipe: { text, file: 'mine.yaml' } }).recipe;

test.each([...readyRecipeNames])('%s has a trial: the same recipe with a tenth of its steps', (name) => {
  const text = readyRecipe(name) ?? '';
  const [whole, trial] = [planOf(text, false), planOf(text, true)];
  expect(trial.name).toBe(`${whole.name}-fast`);
  for (const phase of ['teacher', 'student'] as const) expect(trial.training[phase]).toEqual({ ...whole.training[phase], steps: whole.training[phase].steps / 10 });
  expect({ ...trial, name: whole.name, training: whole.training }).toEqual(whole);
});

test('a trial\'s warm-up, fine-tuning and comparisons are shortened with its trainings', () => {
  const text = 'name: mine\nrounds: 1\ndata: { dataset: mine }\nmodels: { ladder: [{ model: cnn }] }\ntraining: { teacher: { steps: 300 }, student: { steps: 500 }, schedule: { warmup_steps: 299 }, fine_tune: { steps: 60 } }\ncomparisons: [{ name: short, steps: 305 }, { name: again }]\n';
  const { training, comparisons } = planOf(text, true);
  expect([training.teacher.steps, training.student.steps, training.schedule.warmup_steps, training.fine_tune?.steps, comparisons?.map(({ steps }) => steps)]).toEqual([30, 50, 29, 6, [31, undefined]]);
});
