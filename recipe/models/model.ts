/** What a model is: a name, its options with their ranges, and one function over layers that gives the logits. */
import type { Layers } from './layers.ts';

export interface OptionRange { readonly default: number; readonly min: number; readonly max: number; readonly integer: boolean; readonly what: string;
  /** A larger value gives more parameters: a ladder may not lower it. */
  readonly size?: true;
  /** The only values there are, in ascending order, `min` first and `max` last. */
  readonly choices?: readonly number[];
}

/** An option that has a few values only. */
export const choice = (choices: readonly [number, ...number[]], byDefault: number, what: string, size?: true): OptionRange =>
  ({ default: byDefault, min: choices[0], max: choices.at(-1)!, integer: choices.every(Number.isInteger), choices, what, ...(size && { size }) });

/** What a value should have been; undefined if it is well. */
export function rangeProblem(range: OptionRange, value: unknown): string | undefined {
  if (typeof value === 'number' && value >= range.min && value <= range.max && (!range.integer || Number.isInteger(value)) && (range.choices === undefined || range.choices.includes(value))) return undefined;
  if (range.choices !== undefined) return `must be one of ${range.choices.join(', ')}`;
  return `must be ${range.integer ? 'an integer' : 'a number'} from ${range.min} to ${range.max}`;
}

export interface Model {
  readonly name: string;
  /** Models of one family are one architecture with other defaults, so a ladder can compare their options. */
  readonly family: string;
  readonly options: Readonly<Record<string, OptionRange>>;
  /** It has a second head, for distillation (`Layers.distilled`). */
  readonly distillationToken?: true;
  /** Logits `[batch, classes]` of images `[batch, height, width, channels]` in [0, 1]. `options` is complete and within range. */
  build<T>(layers: Layers<T>, images: T, options: Readonly<Record<string, number>>, classes: number): T;
}

/** The model under another name with other defaults, e.g. one of the sizes that a paper published. */
export const variant = (model: Model, name: string, defaults: Readonly<Record<string, number>>): Model => ({
  ...model, name,
  options: Object.fromEntries(Object.entries(model.options).map(([option, range]) => [option, { ...range, default: defaults[option] ?? range.default }])),
});
