/**
 * Whether each class still has enough pseudo-labels where shards were lost: lost shards may be those that held a class.
 * Pure. Not for: a class with none at all, which ends the run whatever was lost (`decide`).
 */
import type { ClassSelection } from '../../proto/gen/alumnus/v1/task.ts';
import type { Recipe } from '../../recipe/index.ts';

export interface ThinClass {
  readonly class: number;
  readonly eligible: number;
}

/**
 * The classes with fewer eligible labels than `tolerance.class_coverage` of a class's budget, and how many are needed.
 * A class's budget is labels.budget_per_class, or, where that is 0, eligible labels / classes: before they are copied
 * or cut, as in the selection. Without balance there is no such budget, and no class is thin.
 */
export function thinClasses(classes: readonly ClassSelection[], recipe: Pick<Recipe, 'labels' | 'tolerance'>): { thin: ThinClass[]; need: number } {
  const { balance, budget_per_class: budgetPerClass } = recipe.labels;
  if (balance !== 'classes' || classes.length === 0) return { thin: [], need: 0 };
  const budget = budgetPerClass > 0 ? budgetPerClass : classes.reduce((sum, each) => sum + each.eligible, 0) / classes.length;
  const share = recipe.tolerance.class_coverage;
  // As a quotient, as with the quarantined share: a product may be a bit too large for a count that is just enough.
  const product = Math.ceil(share * budget);
  const need = (product - 1) / budget >= share ? product - 1 : product;
  return { thin: classes.filter((each) => each.eligible / budget < share).map((each) => ({ class: each.class, eligible: each.eligible })), need };
}
