/** What a model is: a name, its options with their ranges, and one function over layers that gives the logits. */
import type { Layers } from './layers.ts';

export interface OptionRange { readonly default: number; readonly min: number; readonly max: number; readonly integer: boolean; readonly what: string;
  /** A larger value gives more parameters: a ladder may not lower it. */
  readonly size?: true;
}

export interface Model {
  readonly name: string;
  readonly options: Readonly<Record<string, OptionRange>>;
  /** Logits `[batch, classes]` of images `[batch, height, width, channels]` in [0, 1]. `options` is complete and within range. */
  build<T>(layers: Layers<T>, images: T, options: Readonly<Record<string, number>>, classes: number): T;
}
