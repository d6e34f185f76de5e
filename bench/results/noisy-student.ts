/** The ready recipe `noisy-student`, from scratch, one demo a seed. */
import { runRecipe } from './shared/recipe.ts';

export const description = 'Noisy Student on MNIST with corrupted images: accuracy, mCE and mFR over the rounds: three seeds (--seeds 1,2,3)';

export const run = (args: string[]): Promise<void> => runRecipe('noisy-student', args);
