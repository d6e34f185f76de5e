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

export const description = 'ablations on Fashion-MNIST, 500 labels: each part of the method left out (--seeds 1,2,3,4,5 --arms A,B --iterations N --steps N --threads N --at-once SEEDS)';

interface Draft {
  models: { ladder: Record<string, string | number>[] };
  training: { teacher: { steps: number }; student: { steps: number; batch_labeled: number; batch_unlabeled: number }; fine_tune?: Record<string, unknown> };
  noise: { input: Record<string, unknown> };
  labels: Record<string, unknown>;
  control: boolean;
  name: string;
  rounds: number;
}

const WIDTH = 24;
/** Of a student's steps: as its last share, the labeled images alone. */
const FINE_TUNE_STEPS = 10;

/** Of the seeds asked for, how many an arm has that does not ask for all: the first ones. */
const FEW_SEEDS = 3;

/** Each changes the shipped recipe in one way. */
const arms: Readonly<Record<string, { readonly what: string; readonly allSeeds?: boolean; change(recipe: Draft): void }>> = {
  shipped: { what: 'the recipe as it ships', allSeeds: true, change: () => undefined },
  'no-noise': {
    allSeeds: true,
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
  const { values } = parseArgs({
    args,
    options: { seeds: { type: 'string', default: '1,2,3,4,5' }, arms: { type: 'string', default: Object.keys(arms).join(',') }, iterations: { type: 'string', default: '3' }, steps: { type: 'string', default: '4000' }, threads: { type: 'string' }, 'at-once': { type: 'string', default: '1' } },
  });
  const [seeds, names] = [values.seeds.split(',').map(Number), values.arms.split(',')];
  const unknown = names.filter((name) => arms[name] === undefined);
  if (unknown.length > 0) throw new AlumnusError('USAGE', `there is no arm ${unknown.join(', ')}; there are ${Object.keys(arms).join(', ')}`, { where: '--arms' });
  const size: Size = { rounds: Number(values.iterations), steps: Number(values.steps) };
  /** Of each arm its seeds, in the order asked for, and their test accuracies by iteration. */
  const curves = new Map(names.map((name) => [name, new Map<number, readonly number[]>()]));
  const waiting = [...seeds.keys()];
  const playSeeds = async (): Promise<void> => {
    for (let at = waiting.shift(); at !== undefined; at = waiting.shift()) {
      const seed = seeds[at] ?? NaN;
      const ofSeed = names.filter((name) => arms[name]?.allSeeds === true || (at ?? 0) < FEW_SEEDS);
      await playSeed(seed, ofSeed, size, values.threads, (name, outcome) => {
        curves.get(name)?.set(seed, accuracies(outcome.run));
        process.stdout.write(`seed ${seed}, ${name}: ${accuracies(outcome.run).map((each) => each.toFixed(2)).join(', ')} (${outcome.seconds.toFixed(0)} s)\n`);
      });
    }
  };
  await Promise.all(Array.from({ length: Number(values['at-once']) }, playSeeds));
  report(seeds, names, curves, size);
}

interface Size {
  readonly rounds: number;
  readonly steps: number;
}

/** All arms of one seed in one home: the data are imported once, and all arms have the very same. */
async function playSeed(seed: number, names: readonly string[], size: Size, threads: string | undefined, played: (name: string, outcome: Outcome) => void): Promise<void> {
  const home = await mkdtemp(join(tmpdir(), 'alumnus-ablations-'));
  const known = new Set<string>();
  try {
    for (const name of names) {
      const file = join(home, `${name}.yaml`);
      await writeFile(file, recipeOf(name, size));
      const outcome = await runOnce('fashion-mnist', { seed, home, recipe: file, known, ...(threads === undefined ? {} : { threads }) });
      known.add(outcome.run.runId);
      played(name, outcome);
    }
  } finally {
    await rm(home, { recursive: true, force: true });
  }
}

function recipeOf(name: string, { rounds, steps }: Size): string {
  const recipe = parse(readyRecipe('fashion-mnist')!) as Draft;
  recipe.name = name;
  recipe.control = false;
  recipe.rounds = rounds;
  recipe.models.ladder = recipe.models.ladder.slice(0, rounds + 1);
  recipe.training.teacher.steps = steps;
  recipe.training.student.steps = steps;
  arms[name]!.change(recipe);
  return stringify(recipe);
}

/** @param curves test accuracies in percent: arm, seed, iteration. An arm with fewer seeds than the first is compared on those that it has. */
function report(seeds: readonly number[], names: readonly string[], curves: ReadonlyMap<string, ReadonlyMap<number, readonly number[]>>, { rounds, steps }: Size): void {
  const print = (line: string): void => void process.stdout.write(`${line}\n`);
  const cell = (value: number | undefined): string => value?.toFixed(2) ?? '';
  const verdict = (differences: readonly number[]): string => {
    const [least, most] = [Math.min(...differences), Math.max(...differences)];
    const signed = (value: number): string => (value > 0 ? `+${cell(value)}` : cell(value));
    return `${signed(mean(differences))} (${signed(least)} to ${signed(most)})${least <= 0 && most >= 0 ? ', no difference seen' : ''}`;
  };
  const [base = ''] = names;
  const last = (arm: string, seed: number): number | undefined => curves.get(arm)?.get(seed)?.at(-1);
  print(`\n| arm | what | ${seeds.map((seed) => `seed ${seed}`).join(' | ')} | mean | arm - ${base}, paired by seed |`);
  print(`|---|---|${'---|'.repeat(seeds.length + 2)}`);
  for (const name of names) {
    const played = seeds.filter((seed) => last(name, seed) !== undefined);
    const differences = played.map((seed) => (last(name, seed) ?? NaN) - (last(base, seed) ?? NaN));
    print(`| ${name} | ${arms[name]!.what} | ${seeds.map((seed) => cell(last(name, seed))).join(' | ')} | ${cell(mean(played.map((seed) => last(name, seed) ?? NaN)))} | ${name === base ? '' : verdict(differences)} |`);
  }
  const ofBase = [...(curves.get(base)?.values() ?? [])];
  print(`\n| ${base}: iteration | mean | against the iteration before |\n|---|---|---|`);
  (ofBase[0] ?? []).forEach((_, at) => {
    const values = ofBase.map((curve) => curve[at] ?? NaN);
    print(`| ${at} | ${cell(mean(values))} | ${at === 0 ? '' : verdict(ofBase.map((curve) => (curve[at] ?? NaN) - (curve[at - 1] ?? NaN)))} |`);
  });
  print(`\nTest accuracy in percent of the last iteration's model, promoted or not; ${rounds} iterations, ${steps} steps a training. The range is that of the seeds; where it holds 0: no difference seen. Means are over the seeds of a row.`);
}
