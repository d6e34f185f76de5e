/**
 * What each part of the method is worth, one left out at a time, as the paper's own ablations do (Xie et al. 2020, arXiv 1911.04252,
 * sections 4 and appendix), on Fashion-MNIST with 500 labels. Every arm of a seed has the same labeled images, splits and
 * seed, so differences are paired by seed. Not for: choosing a recipe; the test split only reports.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { parse, stringify } from 'yaml';
import { AlumnusError } from '../../proto/errors.ts';
import { readyRecipe } from '../../recipe/index.ts';
import { accuracies, mean, runOnce, type Outcome } from './shared/seeds.ts';

export const description = 'ablations on Fashion-MNIST, 500 labels: each part of the method left out (--seeds 1,2,3 --steps N --threads N --arms A,B)';

interface Draft {
  models: { ladder: Record<string, string | number>[] };
  training: { teacher: { steps: number }; student: { steps: number; batch_labeled: number; batch_unlabeled: number }; fine_tune?: Record<string, unknown> };
  noise: { input: Record<string, unknown> };
  labels: Record<string, unknown>;
  control: boolean;
  name: string;
}

const WIDTH = 24;
/** Of a student's steps: as its last share, the labeled images alone. */
const FINE_TUNE_STEPS = 10;

/** Each changes the shipped recipe in one way. */
const arms: Readonly<Record<string, { readonly what: string; change(recipe: Draft): void }>> = {
  shipped: { what: 'the recipe as it ships', change: () => undefined },
  'no-noise': {
    what: 'students and teacher without input noise and dropout',
    change: (recipe) => {
      recipe.noise.input = { name: 'none' };
      recipe.models.ladder = recipe.models.ladder.map((step) => ({ ...step, dropout: 0, dropout_features: 0 }));
    },
  },
  'no-input-noise': { what: 'dropout, but no noise on the input', change: (recipe) => void (recipe.noise.input = { name: 'none' }) },
  'noised-teacher': { what: 'the teacher labels with its training noise', change: (recipe) => void (recipe.labels['noised_teacher'] = true) },
  'equal-students': { what: `every model as small as the first teacher (width ${WIDTH})`, change: (recipe) => void (recipe.models.ladder = recipe.models.ladder.map((step) => ({ ...step, width: WIDTH }))) },
  'soft-labels': { what: 'soft pseudo-labels instead of hard ones', change: (recipe) => void (recipe.labels['kind'] = 'soft') },
  'pretrain-finetune': {
    what: `students learn from pseudo-labels alone, then go on from there with the labeled images without noise (1/${FINE_TUNE_STEPS} of the steps, nothing frozen), and that one teaches`,
    change: ({ training }) => {
      // As many images a step as in joint training: the comparison is of the order, not of compute.
      training.student.batch_unlabeled += training.student.batch_labeled;
      training.student.batch_labeled = 0;
      training.fine_tune = { steps: Math.ceil(training.student.steps / FINE_TUNE_STEPS), batch_labeled: 64, freeze: 0, teaches: true };
    },
  },
  'no-balance': { what: 'pseudo-labels not balanced by class', change: (recipe) => void (recipe.labels['balance'] = 'none') },
};

export async function run(args: string[]): Promise<void> {
  const { values } = parseArgs({ args, options: { seeds: { type: 'string', default: '1,2,3' }, threads: { type: 'string' }, steps: { type: 'string', default: '4000' }, arms: { type: 'string', default: Object.keys(arms).join(',') } } });
  const [seeds, names] = [values.seeds.split(',').map(Number), values.arms.split(',')];
  const unknown = names.filter((name) => arms[name] === undefined);
  if (unknown.length > 0) throw new AlumnusError('USAGE', `there is no arm ${unknown.join(', ')}; there are ${Object.keys(arms).join(', ')}`, { where: '--arms' });
  const outcomes = new Map<string, Outcome[]>(names.map((name) => [name, []]));
  for (const seed of seeds) {
    // One home a seed: the data are imported once, and all arms have the very same.
    const home = await mkdtemp(join(tmpdir(), 'alumnus-ablations-'));
    const known = new Set<string>();
    try {
      for (const name of names) {
        const file = join(home, `${name}.yaml`);
        await writeFile(file, recipeOf(name, Number(values.steps)));
        const outcome = await runOnce('fashion-mnist', { seed, home, recipe: file, known, ...(values.threads === undefined ? {} : { threads: values.threads }) });
        known.add(outcome.run.runId);
        outcomes.get(name)?.push(outcome);
        process.stdout.write(`seed ${seed}, ${name}: ${accuracies(outcome.run).map((each) => each.toFixed(2)).join(', ')}\n`);
      }
    } finally {
      await rm(home, { recursive: true, force: true });
    }
  }
  report(seeds, names, new Map([...outcomes].map(([name, each]) => [name, each.map(({ run }) => accuracies(run))])), Number(values.steps));
}

function recipeOf(name: string, steps: number): string {
  const recipe = parse(readyRecipe('fashion-mnist')!) as Draft;
  recipe.name = name;
  recipe.control = false;
  recipe.training.teacher.steps = steps;
  recipe.training.student.steps = steps;
  arms[name]!.change(recipe);
  return stringify(recipe);
}

/** @param byArm test accuracies in percent: arm, seed, iteration. */
function report(seeds: readonly number[], names: readonly string[], byArm: ReadonlyMap<string, readonly (readonly number[])[]>, steps: number): void {
  const print = (line: string): void => void process.stdout.write(`${line}\n`);
  const cell = (value: number): string => value.toFixed(2);
  const verdict = (differences: readonly number[]): string => {
    const [least, most] = [Math.min(...differences), Math.max(...differences)];
    const signed = (value: number): string => (value > 0 ? `+${cell(value)}` : cell(value));
    return `${signed(mean(differences))} (${signed(least)} to ${signed(most)})${least <= 0 && most >= 0 ? ', no difference seen' : ''}`;
  };
  const [base] = names;
  const last = (arm: string, at: number): number => byArm.get(arm)?.[at]?.at(-1) ?? NaN;
  print(`\n| arm | what | ${seeds.map((seed) => `seed ${seed}`).join(' | ')} | mean | arm - ${base}, paired by seed |`);
  print(`|---|---|${'---|'.repeat(seeds.length + 2)}`);
  for (const name of names) {
    const finals = seeds.map((_, at) => last(name, at));
    print(`| ${name} | ${arms[name]!.what} | ${finals.map(cell).join(' | ')} | ${cell(mean(finals))} | ${name === base ? '' : verdict(finals.map((each, at) => each - last(base!, at)))} |`);
  }
  const curves = byArm.get(base!) ?? [];
  print(`\n| ${base}: iteration | mean | against the iteration before |\n|---|---|---|`);
  (curves[0] ?? []).forEach((_, at) => {
    const values = curves.map((curve) => curve[at] ?? NaN);
    print(`| ${at} | ${cell(mean(values))} | ${at === 0 ? '' : verdict(curves.map((curve) => (curve[at] ?? NaN) - (curve[at - 1] ?? NaN)))} |`);
  });
  print(`\nTest accuracy in percent of the last iteration's model, promoted or not; ${steps} steps a training. The range is that of the seeds; where it holds 0: no difference seen.`);
}
