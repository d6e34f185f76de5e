/**
 * What a demo runs: a ready recipe (or the user's own) with the seed set, on a dataset whose name says how it was drawn.
 * Pure: the same flags give the same text, and so the same run to go on with after an interruption.
 */
import { parseDocument } from 'yaml';
import { AlumnusError, invariant } from '../../proto/errors.ts';
import { canonicalJson, parseRecipe, readyRecipe, type Recipe } from '../../recipe/index.ts';

export const demoSources = {
  mnist: { labeledPerClass: 10, classes: 10 },
  'fashion-mnist': { labeledPerClass: 50, classes: 10 },
} as const;

export type DemoSource = keyof typeof demoSources;

/** Far more than a small team would have, so that the report can tell the gate's certainty from luck; the report says so. */
export const DEMO_VALIDATION = 5_000;

const isDemoSource = (name: unknown): name is DemoSource => typeof name === 'string' && Object.hasOwn(demoSources, name);

/** A trial's share of the steps. */
const FAST_STEPS_SHARE = 0.1;

export interface DemoFlags {
  readonly data?: string;
  readonly seed?: number;
  readonly fast?: boolean;
  /** A recipe of the user's own, with the file it was read from. */
  readonly recipe?: { readonly text: string; readonly file: string };
}

export interface DemoPlan {
  readonly recipeText: string;
  readonly recipe: Recipe;
  /** What to import; undefined where the recipe names a dataset of the user's own. */
  readonly dataset: { readonly source: DemoSource; readonly name: string; readonly labeledPerClass: number; readonly seed: number } | undefined;
}

/** @throws AlumnusError USAGE, RECIPE_INVALID */
export function planDemo(flags: DemoFlags): DemoPlan {
  if (flags.data !== undefined && !isDemoSource(flags.data)) {
    throw new AlumnusError('USAGE', `there is no demo data "${flags.data}"; there are ${Object.keys(demoSources).join(', ')}`, { where: '--data' });
  }
  if (flags.recipe !== undefined) parseRecipe(flags.recipe.text, flags.recipe.file);
  const text = flags.recipe?.text ?? readyRecipe(flags.data ?? 'mnist');
  invariant(text !== undefined, 'every demo source has a ready recipe');
  const document = parseDocument(text);
  const named: unknown = document.getIn(['data', 'dataset']);
  const source = flags.data !== undefined && isDemoSource(flags.data) ? flags.data : isDemoSource(named) ? named : undefined;
  if (flags.seed !== undefined) document.setIn(['seed'], flags.seed);
  if (flags.fast) {
    document.setIn(['name'], `${String(document.getIn(['name']))}-fast`);
    const { training, comparisons = [] } = parseRecipe(text, flags.recipe?.file);
    comparisons.forEach(({ steps }, at) => {
      if (steps !== undefined) document.setIn(['comparisons', at, 'steps'], Math.max(1, Math.ceil(steps * FAST_STEPS_SHARE)));
    });
    for (const phase of ['teacher', 'student'] as const) {
      document.setIn(['training', phase, 'steps'], Math.max(1, Math.ceil(training[phase].steps * FAST_STEPS_SHARE)));
    }
    // Shorter than the shortest training, as before: a tenth of it, too.
    if (training.schedule.warmup_steps > 0) document.setIn(['training', 'schedule', 'warmup_steps'], Math.floor(training.schedule.warmup_steps * FAST_STEPS_SHARE));
    if (training.fine_tune !== undefined) document.setIn(['training', 'fine_tune', 'steps'], Math.max(1, Math.ceil(training.fine_tune.steps * FAST_STEPS_SHARE)));
  }
  const seed = parseRecipe(String(document), flags.recipe?.file).seed;
  const { labeledPerClass, classes } = source === undefined ? { labeledPerClass: 0, classes: 0 } : demoSources[source];
  const name = `${source}-${labeledPerClass * classes}-s${seed}`;
  if (source !== undefined && (named === source || flags.recipe === undefined)) document.setIn(['data', 'dataset'], name);
  const recipeText = String(document);
  return { recipeText, recipe: parseRecipe(recipeText, flags.recipe?.file), dataset: source === undefined ? undefined : { source, name, labeledPerClass, seed } };
}

/** Whether a run was submitted with just this recipe, defaults filled in. */
export function isSameRecipe(recipe: Recipe, recipeJson: string): boolean {
  try {
    return canonicalJson(JSON.parse(recipeJson)) === canonicalJson(recipe);
  } catch {
    return false;
  }
}
