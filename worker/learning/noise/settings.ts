/** The recipe's noise as learning takes it. Not for: defaults and bounds, which recipe/schema.ts holds. */
import type { Noise } from '../../../recipe/index.ts';
import type { CamelKeys, ImageNoise, Mixing } from '../types.ts';

function camelKeys<Options extends object>(options: Options): CamelKeys<Options> {
  return Object.fromEntries(Object.entries(options).map(([name, value]) => [name.replace(/_./g, (part) => part.charAt(1).toUpperCase()), value as unknown])) as CamelKeys<Options>;
}

export const imageNoise = ({ input, erasing }: Pick<Noise, 'input' | 'erasing'>): ImageNoise => ({ noise: camelKeys(input), erasing: erasing && camelKeys(erasing) });

/** All noise of a training. */
export const trainingNoise = (noise: Noise): ImageNoise & { mixing: Mixing | undefined } => ({ ...imageNoise(noise), mixing: noise.mix && camelKeys(noise.mix) });
