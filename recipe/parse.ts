/**
 * From text to a recipe: YAML (JSON is YAML), then the schema. Every problem is told at once, each with the field's
 * path, its line, and the reason.
 */
import { LineCounter, parseDocument } from 'yaml';
import { AlumnusError } from '../proto/errors.ts';
import { recipeSchema, type Recipe } from './schema.ts';

export interface RecipeProblem {
  /** As in the file: `models.ladder[1].width`. */
  readonly path: string;
  /** From 1; 0 where the field is not in the file. */
  readonly line: number;
  readonly reason: string;
}

/** Far above any recipe written by hand; bounds what an alias bomb or a wrong file can cost. */
const RECIPE_BYTES_MAX = 1024 * 1024;

const printPath = (path: readonly PropertyKey[]): string =>
  path.map((part, at) => (typeof part === 'number' ? `[${part}]` : `${at === 0 ? '' : '.'}${String(part)}`)).join('');

export function checkRecipe(text: string): { recipe?: Recipe; problems: RecipeProblem[] } {
  if (text.length > RECIPE_BYTES_MAX) return { problems: [{ path: '', line: 0, reason: `is longer than ${RECIPE_BYTES_MAX} bytes` }] };
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: true });
  if (document.errors.length > 0) {
    return { problems: document.errors.map((error) => ({ path: '', line: error.linePos?.[0].line ?? 0, reason: (error.message.split('\n')[0] ?? '').replace(/ at line.*$/, '') })) };
  }
  let value: unknown;
  try {
    value = document.toJS({ maxAliasCount: 100 });
  } catch (thrown) {
    return { problems: [{ path: '', line: 0, reason: thrown instanceof Error ? thrown.message : String(thrown) }] };
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return { problems: [{ path: '', line: 1, reason: 'is not a recipe: a mapping with name, data and models is expected' }] };
  }
  const parsed = recipeSchema.safeParse(value);
  if (parsed.success) return { recipe: parsed.data, problems: [] };
  const lineOf = (path: readonly PropertyKey[]): number => {
    for (let depth = path.length; depth > 0; depth -= 1) {
      const node = document.getIn(path.slice(0, depth), true);
      if (typeof node === 'object' && node !== null && 'range' in node && Array.isArray(node.range)) return lines.linePos(Number(node.range[0])).line;
    }
    return 0;
  };
  return {
    problems: parsed.error.issues.flatMap((issue) => {
      const reason = issue.message.charAt(0).toLowerCase() + issue.message.slice(1);
      if (issue.code === 'unrecognized_keys') {
        return issue.keys.map((key) => ({ path: printPath([...issue.path, key]), line: lineOf([...issue.path, key]), reason: 'is not a field of a recipe' }));
      }
      return [{ path: printPath(issue.path), line: lineOf(issue.path), reason }];
    }),
  };
}

export const printProblem = (problem: RecipeProblem): string =>
  `${problem.path === '' ? 'the recipe' : problem.path}${problem.line > 0 ? ` (line ${problem.line})` : ''}: ${problem.reason}`;

/** @throws AlumnusError RECIPE_INVALID naming every field and reason. */
export function parseRecipe(text: string, where = 'recipe'): Recipe {
  const { recipe, problems } = checkRecipe(text);
  if (recipe !== undefined) return recipe;
  const shrinks = problems.every((problem) => problem.reason.startsWith('shrinks'));
  const lines = problems.map(printProblem);
  throw new AlumnusError(shrinks ? 'RECIPE_LADDER_SHRINKS' : 'RECIPE_INVALID', lines.join('; '), { where, problems: lines });
}
