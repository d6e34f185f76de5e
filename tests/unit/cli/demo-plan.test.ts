/** What a demo runs, and its trial in a tenth of the steps: which dataset, and which corrupted sets of it, are made for which flags. */
import { expect, test } from 'vitest';
import { planDemo } from '../../../cli/demo/plan.ts';
import { readyRecipe, readyRecipeNames } from '../../../recipe/index.ts';

const planOf = (text: string, fast: boolean) => planDemo({ fast, recipe: { text, file: 'mine.yaml' } }).recipe;

const noisyStudent = { text: readyRecipe('noisy-student')!, file: 'noisy-student' };

test('a recipe that measures on corrupted images gets sets whose name says of which draw and how many they are', () => {
  const { recipe, dataset, corrupted } = planDemo({ recipe: noisyStudent, seed: 7 });
  expect([recipe.seed, recipe.data.dataset, recipe.data.corrupted, dataset?.name]).toEqual([7, 'mnist-100-s7', 'mnist-100-s7-c1000', 'mnist-100-s7']);
  expect(corrupted).toEqual({ as: 'mnist-100-s7-c1000', images: 1000, sequenceImages: 200 });
});

test('a flag has another number of them, or all; a trial has a tenth', () => {
  expect(planDemo({ recipe: noisyStudent, corruptedImages: 300 }).corrupted).toEqual({ as: 'mnist-100-s1-c300', images: 300, sequenceImages: 60 });
  const all = planDemo({ recipe: noisyStudent, corruptedImages: 0 });
  expect([all.corrupted, all.recipe.data.corrupted]).toEqual([{ as: 'mnist-100-s1-c', images: undefined, sequenceImages: undefined }, 'mnist-100-s1-c']);
  expect(planDemo({ recipe: noisyStudent, fast: true }).corrupted).toEqual({ as: 'mnist-100-s1-c100', images: 100, sequenceImages: 20 });
});

test('a compression asks for no perturbation sequences, on which it measures nothing', () => {
  expect(planDemo({ recipe: { text: readyRecipe('compress')!, file: 'compress' } }).corrupted).toEqual({ as: 'mnist-100-s1-c1000', images: 1000, sequenceImages: 0 });
});

test('nothing is corrupted for a recipe that does not ask, nor where it names sets or a dataset of the user\'s own', () => {
  expect(planDemo({}).corrupted).toBeUndefined();
  const own = planDemo({ recipe: { text: noisyStudent.text.replace('corrupted: mnist-c ', 'corrupted: mine '), file: 'own.yaml' } });
  expect([own.corrupted, own.recipe.data.corrupted]).toEqual([undefined, 'mine']);
  const elsewhere = planDemo({ recipe: { text: noisyStudent.text.replace('dataset: mnist ', 'dataset: digits '), file: 'own.yaml' } });
  expect([elsewhere.corrupted, elsewhere.dataset, elsewhere.recipe.data.corrupted]).toEqual([undefined, undefined, 'mnist-c']);
});

test.each(readyRecipeNames())('%s has a trial: the same recipe with a tenth of its steps', (name) => {
  const text = readyRecipe(name) ?? '';
  const [whole, trial] = [planOf(text, false), planOf(text, true)];
  expect(trial.name).toBe(`${whole.name}-fast`);
  for (const phase of ['teacher', 'student'] as const) expect(trial.training[phase]).toEqual({ ...whole.training[phase], steps: whole.training[phase].steps / 10 });
  expect({ ...trial, name: whole.name, training: whole.training, data: whole.data }).toEqual(whole);
});

test('a trial\'s warm-up, fine-tuning and comparisons are shortened with its trainings', () => {
  const text = 'name: mine\nrounds: 1\ndata: { dataset: mine }\nmodels: { ladder: [{ model: cnn }] }\ntraining: { teacher: { steps: 300 }, student: { steps: 500 }, schedule: { warmup_steps: 299 }, fine_tune: { steps: 60 } }\ncomparisons: [{ name: short, steps: 305 }, { name: again }]\n';
  const { training, comparisons } = planOf(text, true);
  expect([training.teacher.steps, training.student.steps, training.schedule.warmup_steps, training.fine_tune?.steps, comparisons?.map(({ steps }) => steps)]).toEqual([30, 50, 29, 6, [31, undefined]]);
});
