/** Which classes there are and which of them a label names: what every way of bringing labels in shares. */
import { AlumnusError } from '../proto/errors.ts';

/** As a source has it: a class's index, or its name. */
export type SourceLabel = number | string;

/** Above every classification set we know, and what workers hold a class in; a label beyond is a damaged file, not a class. */
const CLASSES_MAX = 65_536;

export interface Classes {
  readonly names: readonly string[];
  /** @param origin names the sample in errors. @throws AlumnusError LABEL_OUT_OF_RANGE */
  indexOf(label: SourceLabel, origin: string): number;
}

/**
 * Class names: those given, or what the labels are: the indices up to the highest, or the names, sorted.
 * @throws AlumnusError USAGE for a list that cannot be one
 */
export function classesOf(given: readonly string[] | undefined, labels: Iterable<SourceLabel | undefined>): Classes {
  if (given !== undefined) {
    if (given.length > CLASSES_MAX) throw new AlumnusError('USAGE', `there are ${given.length} classes, more than ${CLASSES_MAX}`, { where: 'classes' });
    if (new Set(given).size !== given.length) throw new AlumnusError('USAGE', 'the class list names a class twice', { where: 'classes' });
    return classesNamed(given, false);
  }
  const distinct = new Set<SourceLabel>();
  for (const label of labels) if (label !== undefined) distinct.add(label);
  // Where one label is a name all are, also those that are written in digits alone.
  if ([...distinct].some((label) => typeof label === 'string')) return classesNamed([...distinct].map(String).sort(), true);
  let last = -1;
  for (const label of distinct) last = Math.max(last, label as number);
  return classesNamed(Array.from({ length: Math.min(CLASSES_MAX, Math.floor(last) + 1) }, (_, label) => String(label)), false);
}

function classesNamed(names: readonly string[], byName: boolean): Classes {
  const indices = new Map(names.map((name, index) => [name, index]));
  return {
    names,
    indexOf(label, origin) {
      const index = typeof label === 'number' && !byName ? label : indices.get(String(label));
      if (index !== undefined && Number.isInteger(index) && index >= 0 && index < names.length) return index;
      const range = names.length === 0 ? 'there are no classes' : `the classes are ${names.slice(0, 12).join(', ')}${names.length > 12 ? ` and ${names.length - 12} more` : ''}`;
      throw new AlumnusError('LABEL_OUT_OF_RANGE', `the label ${JSON.stringify(label)} names no class: ${range}`, { where: origin });
    },
  };
}
