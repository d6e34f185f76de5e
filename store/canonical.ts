/**
 * Canonical JSON: keys sorted, no spaces, absent fields left out, so that equal values have equal bytes and one digest.
 * Source: RFC 8785 for the ordering (UTF-16 code units); JSON.stringify writes numbers and strings as it asks.
 */
import { invariant } from '../proto/errors.ts';

export function canonicalJson(value: unknown): string {
  if (typeof value === 'number') invariant(Number.isFinite(value), 'canonical JSON holds finite numbers only');
  if (value === null || typeof value !== 'object') return JSON.stringify(value) ?? 'null';
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  const entries = Object.entries(value).filter(([, field]) => field !== undefined).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  return `{${entries.map(([key, field]) => `${JSON.stringify(key)}:${canonicalJson(field)}`).join(',')}}`;
}
