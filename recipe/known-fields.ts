/** Which fields a recipe may have where, out of its schema, for who misspelt one or put it elsewhere. Not for: what a field may hold (schema.ts). */
import { distance } from 'fastest-levenshtein';
import { z } from 'zod';
import { recipeSchema } from './schema.ts';

type Node = z.core.JSONSchema._JSONSchema;
type Path = readonly PropertyKey[];

/** A name is taken for a misspelt one when at most this part of it is wrong (two letters of five that changed places); of more, any short name is like any other. */
const WRONG_SHARE_MAX = 0.4;
/** In so many places at most a field is told to stand; more is no help. */
const PLACES_MAX = 2;

/** The schema and all that it may be instead. */
function formsOf(node: Node | undefined): Exclude<Node, boolean>[] {
  if (node === undefined || typeof node === 'boolean') return [];
  return [node, ...[...(node.anyOf ?? []), ...(node.oneOf ?? []), ...(node.allOf ?? [])].flatMap(formsOf)];
}

/** A list has one schema for all its items; the other, of tuples, no recipe uses. */
const below = (nodes: readonly Node[], part: PropertyKey): Node[] =>
  nodes.flatMap(formsOf).map(({ items, properties }) => (typeof part !== 'number' ? properties?.[String(part)] : Array.isArray(items) ? undefined : items)).filter((each) => each !== undefined);

const namesOf = (nodes: readonly Node[]): string[] => nodes.flatMap(formsOf).flatMap(({ properties }) => Object.keys(properties ?? {}));

/** Paths of the fields of this name, lists left out: which of its items is meant nobody can say. */
function placesOf(name: string, nodes: readonly Node[], path: string): string[] {
  const names = [...new Set(namesOf(nodes))];
  return [...(names.includes(name) ? [`${path}${name}`] : []), ...names.flatMap((each) => placesOf(name, below(nodes, each), `${path}${each}.`))];
}

/** A path as it is told: `models.ladder[1].width`. */
export const printPath = (path: Path): string => path.map((part, at) => (typeof part === 'number' ? `[${part}]` : `${at === 0 ? '' : '.'}${String(part)}`)).join('');

let described: Node | undefined;
/** Made once: a recipe may have many fields that are none. */
const schema = (): Node => (described ??= z.toJSONSchema(recipeSchema, { io: 'input', unrepresentable: 'any' }));

/** What to say of a field that is none where it stands: nothing, or ` (did you mean steps?)`. */
export function meant(path: Path): string {
  const root = schema();
  const name = String(path.at(-1));
  const here = path.slice(0, -1).reduce<Node[]>(below, [root]);
  const [nearest] = namesOf(here).map((each) => ({ each, wrong: distance(name, each) })).filter(({ each, wrong }) => wrong <= Math.max(name.length, each.length) * WRONG_SHARE_MAX).sort((a, b) => a.wrong - b.wrong);
  if (nearest?.each === name) return path.length === 1 ? '' : ` (another choice of ${printPath(path.slice(0, -1))} has it)`;
  if (nearest !== undefined) return ` (did you mean ${nearest.each}?)`;
  const places = placesOf(name, [root], '');
  return places.length === 0 || places.length > PLACES_MAX ? '' : ` (${places.join(' and ')} ${places.length === 1 ? 'is one' : 'are'})`;
}
