/** `alumnus recipe`: name and begin one, check one, and the schema for an editor. Needs no coordinator. */
import { writeFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { AlumnusError, exitCode, toAlumnusError } from '../../proto/errors.ts';
import { action, declare, declareGroup, outputOption, type OutputFlag } from '../command.ts';
import type { Context } from '../context.ts';
import { readText } from '../read-text.ts';
import { addRecipeDiff } from './recipe/diff.ts';

export function addRecipe(program: Command, context: Context): void {
  const group = declareGroup(program, 'recipe', {
    summary: 'Begin and check recipes',
    description: 'A recipe is the YAML file that says what a run does: data, models, noise, labels, training, promotion.',
    examples: ['alumnus recipe init mnist > mnist.yaml', 'alumnus recipe validate mnist.yaml'],
  });

  const validate = declare(group, 'validate <file>', {
    summary: 'Check a recipe and name every field that is wrong',
    description: 'Use - to read standard input.',
    examples: ['alumnus recipe validate mnist.yaml', 'alumnus recipe init | alumnus recipe validate -'],
  }).addOption(outputOption());
  action(validate, context, async (file: string, flags: OutputFlag) => {
    const [{ checkRecipe, foreignTeacherName, parseRecipe, modelOfIteration }, { isForPeople, outputForm, printSingle }, text] = await Promise.all([import('../../recipe/index.ts'), import('../output.ts'), readText(file)]);
    const form = outputForm(flags.output);
    if (isForPeople(form) || form === 'name') {
      const recipe = parseRecipe(text, file);
      const [{ costText, describeModel }, { plural }] = await Promise.all([import('../cost.ts'), import('../format.ts')]);
      const { teacher } = recipe.models;
      const ladder = Array.from({ length: recipe.rounds + 1 }, (_, iteration) => (iteration === 0 && teacher !== undefined ? foreignTeacherName(teacher) : describeModel(modelOfIteration(recipe, iteration))));
      context.print(form === 'name' ? recipe.name : `${file}: valid: ${recipe.name}, ${plural(recipe.rounds, 'round')}, ${ladder.join(' → ')}`);
      if (isForPeople(form)) context.note(`What it takes, as far as the recipe says it:\n${costText(recipe, undefined)}${file === '-' ? '' : `\nNext:\n  alumnus run plan ${file}\n  alumnus run submit ${file} --watch`}`);
      return exitCode.ok;
    }
    const { recipe, problems } = checkRecipe(text);
    await printSingle(context, form, { kind: 'RecipeValidation', name: file, value: { file, valid: recipe !== undefined, problems, recipe }, text: () => '' });
    return recipe === undefined ? exitCode.usage : exitCode.ok;
  });

  const list = declare(group, 'list', {
    summary: 'Name the ready recipes',
    description: 'Each but photos, which is for images of your own, runs on data that ships, from nothing to a report, with `alumnus demo --recipe NAME`.',
    examples: ['alumnus recipe list', 'alumnus recipe list -o name'],
  }).addOption(outputOption());
  action(list, context, async (flags: OutputFlag) => {
    const [{ parseRecipe, readyRecipe, readyRecipeNames, readyRecipeSummary }, { outputForm, printListing }, { none }] = await Promise.all([import('../../recipe/index.ts'), import('../output.ts'), import('../format.ts')]);
    await printListing(context, outputForm(flags.output), {
      kind: 'ReadyRecipe', rows: readyRecipeNames().map((name) => ({ name, summary: readyRecipeSummary(name) })),
      name: ({ name }) => name, head: ['NAME', 'WHAT'], cells: ({ name, summary }) => [name, summary], empty: '',
      wide: { head: ['ROUNDS', 'DATASET'], cells: ({ name }) => [parseRecipe(readyRecipe(name) ?? '')].flatMap(({ rounds, data }) => [String(rounds), data.dataset ?? none]) },
    });
  });

  const init = declare(group, 'init [name]', {
    summary: 'Write a ready recipe to begin from',
    description: '`alumnus recipe list` names them. It goes to standard output, or to a file that is not there yet.',
    examples: ['alumnus recipe init photos --dataset birds > birds.yaml', 'alumnus recipe init fashion-mnist --out recipe.yaml'],
  }).option('--dataset <name>', 'take this dataset, and call the run after it').option('--out <file>', 'write to this file');
  action(init, context, async (name: string | undefined, flags: { dataset?: string; out?: string }) => {
    const { readyRecipe, readyRecipeNames } = await import('../../recipe/index.ts');
    const ready = readyRecipe(name ?? (flags.dataset === undefined ? 'mnist' : 'photos'));
    if (ready === undefined) throw new AlumnusError('USAGE', `there is no ready recipe "${name}"; there are ${readyRecipeNames().join(', ')}`);
    const text = flags.dataset === undefined ? ready : (await import('../recipe-of-dataset.ts')).recipeOfDataset(ready, flags.dataset);
    if (flags.out === undefined) return context.out.write(text);
    try {
      await writeFile(flags.out, text, { flag: 'wx' });
    } catch (thrown) {
      if (thrown instanceof Error && 'code' in thrown && thrown.code === 'EEXIST') throw new AlumnusError('USAGE', 'is there already and is not overwritten', { where: flags.out, cause: thrown });
      throw toAlumnusError(thrown, flags.out);
    }
    context.note(`Wrote ${flags.out}. Next:\n  alumnus recipe validate ${flags.out}\n  alumnus run submit ${flags.out} --watch`);
  });

  addRecipeDiff(group, context);

  const schema = declare(group, 'schema', {
    summary: 'Print the JSON Schema of recipes, for editors',
    description: 'An editor with a YAML language server uses it when the first line of a recipe reads: # yaml-language-server: $schema=recipe.schema.json',
    examples: ['alumnus recipe schema > recipe.schema.json'],
  });
  action(schema, context, async () => {
    const { recipeJsonSchema } = await import('../../recipe/index.ts');
    context.print(JSON.stringify(recipeJsonSchema(), null, 2));
  });

  const models = declare(group, 'models [name]', {
    summary: 'List the models that a recipe may name, or the options of one',
    description: 'Options go beside the name: { model: resnet, depth: 18, stem: 3 }. What is left out has its default.',
    examples: ['alumnus recipe models', 'alumnus recipe models resnet', 'alumnus recipe models efficientnet-b0 -o json'],
  }).addOption(outputOption());
  action(models, context, async (name: string | undefined, flags: OutputFlag) => {
    const [{ findModel, modelNames }, { isForPeople, outputForm, printListing, printSingle }, { describeModelOptions, rangeText }] = await Promise.all([
      import('../../recipe/index.ts'), import('../output.ts'), import('../recipe-models.ts'),
    ]);
    const form = outputForm(flags.output);
    if (name === undefined) {
      await printListing(context, form, {
        kind: 'Model', rows: modelNames.flatMap((each) => findModel(each) ?? []).map((model) => ({ name: model.name, family: model.family, options: model.options })), name: (model) => model.name,
        head: ['model', 'family', 'options with their defaults'],
        cells: (model) => [model.name, model.family, Object.entries(model.options).map(([option, range]) => `${option} ${range.default}`).join(', ')],
        wide: { head: ['values of each'], cells: (model) => [Object.entries(model.options).map(([option, range]) => `${option}: ${rangeText(range)}`).join('; ')] },
        empty: '',
      });
      if (isForPeople(form)) context.note('Ranges, and what each option does:\n  alumnus recipe models NAME');
      return;
    }
    const model = findModel(name);
    if (model === undefined) throw new AlumnusError('USAGE', `there is no model "${name}"; there are ${modelNames.join(', ')}`);
    await printSingle(context, form, { kind: 'Model', name, value: { name, family: model.family, options: model.options }, text: () => describeModelOptions(model) });
  });
}
