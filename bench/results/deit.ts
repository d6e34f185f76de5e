/** The ready recipe `deit`, from scratch, one demo a seed; and of models with two heads what each is worth by itself. */
import { figure, modelsOf, print, runRecipe, type Ran } from './shared/recipe.ts';
import { mean, percent } from './shared/seeds.ts';

export const description = 'DeiT on MNIST: the rows of the paper\'s table: three seeds (--seeds 1,2,3)';

function more(runs: readonly Ran[]): void {
  print(`\n| model | head | ${runs.map(({ seed }) => `test, seed ${seed}`).join(' | ')} | mean |\n|---|---|${'---|'.repeat(runs.length + 1)}`);
  modelsOf(runs[0]!.run).forEach(({ name, model }, at) => {
    for (const { head } of model?.heads?.scores ?? []) {
      const test = runs.map(({ run }) => percent(modelsOf(run)[at]?.model?.heads?.scores.find((each) => each.head === head)?.test));
      print(`| ${name} | ${head} | ${test.map((value) => figure(value)).join(' | ')} | ${figure(mean(test))} |`);
    }
  });
}

export const run = (args: string[]): Promise<void> => runRecipe('deit', args, more);
