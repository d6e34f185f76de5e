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

/** A trial's share of the steps, and of the images that are corrupted. */
const FAST_SHARE = 0.1;

/** Of validation and of test, where the recipe names corrupted images: enough to tell models apart, and each is corrupted in 15 ways and predicted by every model. */
export const DEMO_CORRUPTED_IMAGES = 1_000;
/** Of those, a perturbation sequence of up to 31 frames is made of every fifth. */
const SEQUENCE_SHARE = 0.2;

export interface DemoFlags {
  readonly data?: string;
  readonly seed?: number;
  readonly fast?: boolean;
  /** Images of validation and of test that are corrupted, where the recipe asks for that; 0: all. */
  readonly corruptedImages?: number;
  /** A recipe of the user's own, with the file it was read from. */
  readonly recipe?: { readonly text: string; readonly file: string };
}

export interface DemoPlan {
  readonly recipeText: string;
  readonly recipe: Recipe;
  /** What to import; undefined where the recipe names a dataset of the user's own. */
  readonly dataset: { readonly source: DemoSource; readonly name: string; readonly labeledPerClass: number; readonly seed: number } | undefined;
  /** Which corrupted sets to make of it; undefined where the recipe names none, or others. */
  readonly corrupted: { readonly as: string; readonly images: number | undefined; readonly sequenceImages: number | undefined } | undefined;
}

/** @throws AlumnusError USAGE, RECIPE_INVALID */
export function planDemo(flags: DemoFlags): DemoPlan {
  if (flags.data !== undefined && !isDemoSource(flags.data)) {
    throw new AlumnusError('USAGE', `there is no demo data "${flags.data}"; there are ${Object.keys(demoSources).join(', ')}`, { where: '--data' });
  }
  const text = flags.recipe?.text ?? readyRecipe(flags.data ?? 'mnist');
  invariant(text !== undefined, 'every demo source has a ready recipe');
  const given = parseRecipe(text, flags.recipe?.file);
  const document = parseDocument(text);
  const named: unknown = document.getIn(['data', 'dataset']);
  const source = flags.data !== undefined && isDemoSource(flags.data) ? flags.data : isDemoSource(named) ? named : undefined;
  if (flags.seed !== undefined) document.setIn(['seed'], flags.seed);
  if (flags.fast) {
    document.setIn(['name'], `${String(document.getIn(['name']))}-fast`);
    const { training, comparisons = [] } = given;
    comparisons.forEach(({ steps }, at) => {
      if (steps !== undefined) document.setIn(['comparisons', at, 'steps'], Math.max(1, Math.ceil(steps * FAST_SHARE)));
    });
    for (const phase of ['teacher', 'student'] as const) {
      document.setIn(['training', phase, 'steps'], Math.max(1, Math.ceil(training[phase].steps * FAST_SHARE)));
    }
    // Shorter than the shortest training, as before: a tenth of it, too.
    if (training.schedule.warmup_steps > 0) document.setIn(['training', 'schedule', 'warmup_steps'], Math.floor(training.schedule.warmup_steps * FAST_SHARE));
    if (training.fine_tune !== undefined) document.setIn(['training', 'fine_tune', 'steps'], Math.max(1, Math.ceil(training.fine_tune.steps * FAST_SHARE)));
  }
  const seed = flags.seed ?? given.seed;
  const { labeledPerClass, classes } = source === undefined ? { labeledPerClass: 0, classes: 0 } : demoSources[source];
  const name = `${source}-${labeledPerClass * classes}-s${seed}`;
  const imported = source !== undefined && (named === source || flags.recipe === undefined);
  if (imported) document.setIn(['data', 'dataset'], name);
  const corrupted = imported && document.getIn(['data', 'corrupted']) === corruptedOf(source) ? corruptedSets(name, flags, given.compress === undefined) : undefined;
  if (corrupted !== undefined) document.setIn(['data', 'corrupted'], corrupted.as);
  const recipeText = String(document);
  return { recipeText, recipe: parseRecipe(recipeText, flags.recipe?.file), dataset: source === undefined ? undefined : { source, name, labeledPerClass, seed }, corrupted };
}

const corruptedOf = (dataset: string): string => `${dataset}-c`;

/**
 * The name says of how many images they are, so that more of them are other sets.
 * @param sequences false: a compression measures a dozen models, and none of them on frames
 */
function corruptedSets(dataset: string, { corruptedImages = DEMO_CORRUPTED_IMAGES, fast = false }: DemoFlags, sequences: boolean): DemoPlan['corrupted'] {
  if (corruptedImages === 0) return { as: corruptedOf(dataset), images: undefined, sequenceImages: sequences ? undefined : 0 };
  const images = Math.ceil(corruptedImages * (fast ? FAST_SHARE : 1));
  return { as: `${corruptedOf(dataset)}${images}`, images, sequenceImages: sequences ? Math.ceil(images * SEQUENCE_SHARE) : 0 };
}

/** Whether a run was submitted with just this recipe, defaults filled in. */
export function isSameRecipe(recipe: Recipe, recipeJson: string): boolean {
  try {
    return canonicalJson(JSON.parse(recipeJson)) === canonicalJson(recipe);
  } catch {
    return false;
  }
}
