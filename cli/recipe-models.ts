/** The models that a recipe may name, in words: what each of them takes, as recipe/models declares it. */
import type { Model, OptionRange } from '../recipe/index.ts';
import { facts, table } from './output.ts';

/** `1 to 1024`, whole numbers; `0 to 0.9, fractions too`; or the values there are. */
export function rangeText({ choices, min, max, integer }: OptionRange): string {
  return choices !== undefined ? choices.join(', ') : `${min} to ${max}${integer ? '' : ', fractions too'}`;
}

export function describeModelOptions({ name, family, options }: Model): string {
  const entries = Object.entries(options);
  return [
    facts([['Model', name], ['Family', family === name ? '' : family]]),
    table(['option', 'default', 'values', 'what'], entries.map(([option, range]) => [`${option}${range.size ? ' *' : ''}`, String(range.default), rangeText(range), range.what])),
    ...(entries.some(([, { size }]) => size) ? ['* A ladder may not lower it within the family.'] : []),
  ].join('\n\n');
}
