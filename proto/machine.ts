/**
 * What programs are told, by the CLI and by the page's HTTP API alike: documents with `apiVersion` and `kind`, stages and
 * states by word, every figure unrounded.
 */
import type { Stage } from './gen/alumnus/v1/task.ts';
import { stageName } from './stages.ts';

export const API_VERSION = 'alumnus/v1';

/** A message of the wire as plain JSON: stages by name, oneofs by their field, embedded JSON documents unfolded. */
export function machineForm(value: unknown, key = ''): unknown {
  if (key === 'stage' && typeof value === 'number') return stageName(value as Stage);
  if (typeof value === 'number') return Number.isFinite(value) ? value : null;
  if (Array.isArray(value)) return value.map((entry) => machineForm(entry));
  if (typeof value !== 'object' || value === null) return value;
  if ('$case' in value && 'value' in value) return { [String(value.$case)]: machineForm(value.value) };
  return Object.fromEntries(
    Object.entries(value).flatMap(([name, field]): [string, unknown][] => {
      if (field === undefined) return [];
      if (name.endsWith('Json') && typeof field === 'string' && field !== '') return [[name.slice(0, -'Json'.length), JSON.parse(field) as unknown]];
      return [[name, machineForm(field, name)]];
    }),
  );
}

/** What a program is told of one thing. */
export const machineDocument = (kind: string, value: unknown): object => ({ apiVersion: API_VERSION, kind, ...(machineForm(value) as object) });
