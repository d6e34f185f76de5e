/** A recipe by what a person calls it: a file, a ready recipe, or the run that has it. */
import { existsSync } from 'node:fs';
import { AlumnusError } from '../proto/errors.ts';
import { parseRecipe, readyRecipe, type Recipe } from '../recipe/index.ts';
import type { Operator } from './client.ts';
import { readText } from './read-text.ts';

/** @param operator asked where it is none of the first two @throws AlumnusError RUN_NOT_FOUND, RECIPE_INVALID, USAGE */
export async function recipeCalled(name: string, operator: () => Promise<Operator>): Promise<Recipe> {
  if (name === '-' || existsSync(name)) return parseRecipe(await readText(name), name);
  const ready = readyRecipe(name);
  if (ready !== undefined) return parseRecipe(ready, name);
  if (/[/\\]|\.ya?ml$|\.json$/.test(name)) throw new AlumnusError('USAGE', 'there is no such file', { where: name });
  const view = await (await operator()).run(name).catch((thrown: unknown) => {
    if (!(thrown instanceof AlumnusError) || thrown.code !== 'UNREACHABLE') throw thrown;
    throw new AlumnusError('UNREACHABLE', `"${name}" is neither a file nor a ready recipe, and whether it is a run nobody answers`, { where: thrown.where, cause: thrown });
  });
  return JSON.parse(view.recipeJson) as Recipe;
}
