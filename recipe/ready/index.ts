/**
 * The recipes that ship, each a YAML file of this folder, as a user would write it: `recipe init` hands out exactly what `demo` runs.
 * Another recipe is one more file; the first line of each, a comment, says in one sentence what it is.
 */
import { readdirSync, readFileSync } from 'node:fs';

const EXTENSION = '.yaml';
const folder = new URL('./', import.meta.url);

/** By name. */
export const readyRecipeNames = (): string[] => readdirSync(folder).filter((file) => file.endsWith(EXTENSION)).map((file) => file.slice(0, -EXTENSION.length)).sort();

/** The YAML text of a ready recipe, or undefined when there is none of that name. */
export const readyRecipe = (name: string): string | undefined => (readyRecipeNames().includes(name) ? readFileSync(new URL(name + EXTENSION, folder), 'utf8') : undefined);

/** What a ready recipe is, in one sentence. */
export const readyRecipeSummary = (name: string): string => (readyRecipe(name) ?? '').split('\n', 1)[0]!.replace(/^# */, '');
