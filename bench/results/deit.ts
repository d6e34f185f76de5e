/** The ready recipe `deit`, from scratch, one demo a seed. */
import { runRecipe } from './shared/recipe.ts';

export const description = 'DeiT on MNIST: the rows of the paper\'s table: three seeds (--seeds 1,2,3)';

export const run = (args: string[]): Promise<void> => runRecipe('deit', args);
