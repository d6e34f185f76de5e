/** The ready recipe `expand`, from scratch, one demo a seed. */
import { runRecipe } from './shared/recipe.ts';

export const description = 'Knowledge expansion on MNIST: the student against its teacher, and what wrong labels cost it: three seeds (--seeds 1,2,3)';

export const run = (args: string[]): Promise<void> => runRecipe('expand', args);
