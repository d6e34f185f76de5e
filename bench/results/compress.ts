/** The ready recipe `compress`, from scratch, one demo a seed; of each model and each form of its weights what it costs and keeps, and which was chosen. */
import { figure, print, runRecipe, type Ran } from './shared/recipe.ts';
import { mean } from './shared/seeds.ts';

export const description = 'Knowledge compression on MNIST: accuracy kept against bytes, and the smallest model that keeps enough: three seeds (--seeds 1,2,3)';

/** By ONNX files, of which the rule chooses. */
function more(runs: readonly Ran[]): void {
  const forms = runs.map(({ run }) => (run.compression?.models ?? []).flatMap(({ name, measured, kept }) => kept.map(({ weights, ...shares }) => ({ name, weights, bytes: measured?.weights.find((each) => each.weights === weights)?.bytes.onnx ?? NaN, ...shares }))));
  print('\n| model | weights | bytes | kept on test, mean | kept on corrupted test, mean | within on validation, of the seeds | chosen, of the seeds |\n|---|---|---|---|---|---|---|');
  for (const { name, weights, bytes } of forms[0] ?? []) {
    const same = forms.flatMap((each) => each.filter((form) => form.name === name && form.weights === weights));
    const chosen = runs.filter(({ run: { compression } }) => compression?.chosen?.name === name && compression.chosen.weights === weights).length;
    const share = (of: (form: (typeof same)[number]) => number | undefined): string => figure(100 * mean(same.map((form) => of(form) ?? NaN)));
    print(`| ${name} | ${weights} | ${bytes.toLocaleString('en-US')} | ${share(({ test }) => test)} | ${share(({ corruptedTest }) => corruptedTest)} | ${same.filter(({ within }) => within).length} | ${chosen} |`);
  }
}

export const run = (args: string[]): Promise<void> => runRecipe('compress', args, more);
