/** The main job on Fashion-MNIST with 500 labels, from scratch, one demo a seed. */
import { compareSeeds } from './shared/seeds.ts';

export const description = 'Noisy Student on Fashion-MNIST, 500 labels: three seeds (--seeds 1,2,3), against the control';

export const run = (args: string[]): Promise<void> => compareSeeds('fashion-mnist', args);
