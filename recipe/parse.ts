/**
 * From text to a recipe: YAML (JSON is YAML), then the schema. Every problem is told at once, each with the field's
 * path, its line, and the reason; of what is no YAML the first.
 */
import { isScalar, LineCounter, parseDocument } from 'yaml';
import { AlumnusError } from '../proto/errors.ts';
import { meant, printPath } from './known-fields.ts';
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

/** Of what was written, enough to find it again. */
const QUOTED_CHARACTERS_MAX = 80;

const clip = (text: string): string => (text.length <= QUOTED_CHARACTERS_MAX ? text : `${text.slice(0, QUOTED_CHARACTERS_MAX - 1)}…`);

/** More of them help nobody, and an error must fit into the trailers of a gRPC answer. */
const PROBLEMS_MAX = 20;

/** Those that are told, of all that were found. */
function told<Found>(found: readonly Found[], problemOf: (each: Found) => RecipeProblem): RecipeProblem[] {
  const more = found.length - PROBLEMS_MAX;
  return [...found.slice(0, PROBLEMS_MAX).map(problemOf), ...(more <= 0 ? [] : [{ path: '', line: 0, reason: `has ${more} more ${more === 1 ? 'problem' : 'problems'}` }])];
}

/**
 * Text that is no YAML. One mistake makes many errors further on, so the first is told, with its line, and the number of
 * the others. Fields that are written twice are told each.
 */
function syntaxProblems(document: ReturnType<typeof parseDocument>, lines: LineCounter, text: string): RecipeProblem[] {
  const { contents, errors } = document;
  const lineAt = (line: number): string => JSON.stringify(clip((text.split('\n')[line - 1] ?? '').trim()));
  const problems = errors.map((error) => ({ path: '', line: error.linePos?.[0].line ?? 0, reason: (error.message.split('\n')[0] ?? '').replace(/ at line.*$/, '') }));
  if (errors.every((error) => error.code === 'DUPLICATE_KEY')) return told(problems, (problem) => ({ ...problem, reason: `${problem.reason}: ${lineAt(problem.line)}` }));
  const [first = { path: '', line: 0, reason: '' }] = problems;
  const others = errors.length < 2 ? '' : `; ${errors.length - 1} more ${errors.length === 2 ? 'problem follows' : 'problems follow'}, mostly from this one`;
  // A text that begins with something else is that, to YAML, and all of the recipe is too much.
  const line = isScalar(contents) && contents.range ? lines.linePos(contents.range[0]).line : 0;
  if (line > 0 && line < first.line) return [{ path: '', line, reason: `${lineAt(line)} is no field: write FIELD: VALUE, or # in front of a comment${others}` }];
  return [{ ...first, reason: `${first.reason}: ${lineAt(first.line)}${others}` }];
}

const at = (value: unknown, path: readonly PropertyKey[]): unknown =>
  path.reduce<unknown>((inner, key) => (typeof inner === 'object' && inner !== null && Object.hasOwn(inner, key) ? (inner as Record<PropertyKey, unknown>)[key] : undefined), value);

/** Reasons of the schema's own that say what was expected, by their code: what was written belongs beside it. */
const SAYS_EXPECTED: ReadonlySet<string> = new Set(['invalid_type', 'too_small', 'too_big', 'invalid_value', 'invalid_format', 'not_multiple_of']);

function quoting(reason: string, code: string, written: unknown): string {
  if (!SAYS_EXPECTED.has(code) || written === undefined || (typeof written === 'object' && written !== null)) return reason;
  return `${reason.replace(/, received .*$/, '')}, received ${typeof written === 'number' ? String(written) : clip(JSON.stringify(written))}`;
}

/** @returns the recipe, or what is wrong with it: PROBLEMS_MAX problems at most, and then how many more there are */
export function checkRecipe(text: string): { recipe?: Recipe; problems: RecipeProblem[] } {
  if (text.length > RECIPE_BYTES_MAX) return { problems: [{ path: '', line: 0, reason: `is longer than ${RECIPE_BYTES_MAX} bytes` }] };
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: true });
  if (document.errors.length > 0) return { problems: syntaxProblems(document, lines, text) };
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
  // Fields that there are not are one issue of the schema's, and a problem each.
  const found = parsed.error.issues.flatMap((issue) => {
    const paths = issue.code === 'unrecognized_keys' ? issue.keys.map((key) => [...issue.path, key]) : [issue.path];
    return paths.map((path) => ({ path, code: String(issue.code), message: issue.message }));
  });
  return {
    problems: told(found, ({ path, code, message }) => ({
      path: printPath(path), line: lineOf(path),
      reason: code === 'unrecognized_keys' ? `is not a field of a recipe${meant(path)}` : quoting(message.charAt(0).toLowerCase() + message.slice(1), code, at(value, path)),
    })),
  };
}

export const printProblem = (problem: RecipeProblem): string =>
  `${problem.path === '' ? 'the recipe' : problem.path}${problem.line > 0 ? ` (line ${problem.line})` : ''}: ${problem.reason}`;

/** The place of what this schema refuses, where the caller has no name for the text: a coordinator has none, and its other refusals name a field. */
export const UNNAMED_RECIPE = 'recipe';

/** @throws AlumnusError RECIPE_INVALID or RECIPE_LADDER_SHRINKS naming every field and reason. */
export function parseRecipe(text: string, where = UNNAMED_RECIPE): Recipe {
  const { recipe, problems } = checkRecipe(text);
  if (recipe !== undefined) return recipe;
  const shrinks = problems.every((problem) => problem.reason.startsWith('shrinks'));
  const lines = problems.map(printProblem);
  throw new AlumnusError(shrinks ? 'RECIPE_LADDER_SHRINKS' : 'RECIPE_INVALID', lines.join('; '), { where, problems: lines });
}
