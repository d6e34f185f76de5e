/**
 * What programs are told, by the CLI and by the page's HTTP API alike: documents with `apiVersion` and `kind`, stages and
 * states by word, instants as RFC 3339, durations in seconds, every figure unrounded. What is not yet is absent.
 */
import type { Stage } from './gen/alumnus/v1/task.ts';
import { stageName } from './stages.ts';

export const API_VERSION = 'alumnus/v1';

/** What a field of the wire is to a program, told by its name alone: names have their units last. */
export interface MachineField {
  readonly name: string;
  readonly as: 'instant' | 'seconds' | 'document' | 'stage' | 'itself';
}

const INSTANT = /(^at|At|^now|^lastSeen|^written)Ms$/;

export function machineField(name: string): MachineField {
  if (name === 'stage') return { name, as: 'stage' };
  if (INSTANT.test(name)) return { name: name.slice(0, -'Ms'.length), as: 'instant' };
  if (name.endsWith('Ms')) return { name: `${name.slice(0, -'Ms'.length)}Seconds`, as: 'seconds' };
  if (name.endsWith('Json')) return { name: name.slice(0, -'Json'.length), as: 'document' };
  return { name, as: 'itself' };
}

type Entry = (key: string, value: unknown) => [string, unknown][];

/** JSON has no other. */
const finite = (value: number): number | null => (Number.isFinite(value) ? value : null);

function formed(value: unknown, entryOf: Entry): unknown {
  if (typeof value === 'number') return finite(value);
  if (Array.isArray(value)) return value.map((entry) => formed(entry, entryOf));
  if (typeof value !== 'object' || value === null) return value;
  if ('$case' in value && 'value' in value) return { [String(value.$case)]: formed(value.value, entryOf) };
  return Object.fromEntries(Object.entries(value).flatMap(([key, field]) => entryOf(key, field)));
}

const asMachines: Entry = (key, value) => {
  if (value === undefined) return [];
  const { name, as } = machineField(key);
  if (as === 'document') return typeof value === 'string' && value !== '' ? [[name, JSON.parse(value) as unknown]] : [[key, machineForm(value)]];
  if (typeof value !== 'number') return [[key, machineForm(value)]];
  switch (as) {
    case 'stage': return [[name, stageName(value as Stage)]];
    // The wire says 0 for what is not yet.
    case 'instant': return value === 0 ? [] : [[name, new Date(value).toISOString()]];
    case 'seconds': return [[name, finite(value / 1000)]];
    case 'itself': return [[name, finite(value)]];
  }
};

const asPages: Entry = (key, value) => {
  if (value === undefined) return [];
  const { name, as } = machineField(key);
  if (as === 'document' && typeof value === 'string' && value !== '') return [[name, JSON.parse(value) as unknown]];
  return [[key, as === 'stage' && typeof value === 'number' ? stageName(value as Stage) : pageForm(value)]];
};

/** A message of the wire as plain JSON: oneofs by their field, embedded JSON documents unfolded. */
export const machineForm = (value: unknown): unknown => formed(value, asMachines);

/** As `machineForm`, but times stay as the wire has them, in milliseconds: a page reckons with them, and is of the same release. */
export const pageForm = (value: unknown): unknown => formed(value, asPages);

/** What a program is told of one thing. */
export const machineDocument = (kind: string, value: unknown): object => ({ apiVersion: API_VERSION, kind, ...(machineForm(value) as object) });

/** As `machineDocument`, with times as a page has them. */
export const pageDocument = (kind: string, value: unknown): object => ({ apiVersion: API_VERSION, kind, ...(pageForm(value) as object) });
