/** The ready recipe `distill`, from scratch, one demo a seed. */
import { runRecipe } from './shared/recipe.ts';

export const description = 'Knowledge distillation on MNIST: the student with and without its teacher, a sweep of temperature and share: three seeds (--seeds 1,2,3)';

export const run = (args: string[]): Promise<void> => runRecipe('distill', args);
