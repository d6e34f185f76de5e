/** The main job on MNIST with 100 labels, from scratch, one demo a seed. */
import { compareSeeds } from './shared/seeds.ts';

export const description = 'Noisy Student on MNIST, 100 labels: three seeds (--seeds 1,2,3), against the control';

export const run = (args: string[]): Promise<void> => compareSeeds('mnist', args);
