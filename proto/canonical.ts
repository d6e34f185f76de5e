/**
 * Canonical JSON: keys sorted, no spaces, so that equal values have equal bytes and so one digest, whatever wrote them.
 * Source: RFC 8785 for the ordering; our values hold no numbers beyond doubles, which JSON.stringify writes as it asks.
 */
export function canonicalJson(value: unknown): string {
  if (value === null || typeof value !== 'object') {
    if (typeof value === 'number' && !Number.isFinite(value)) throw new Error('invariant broken: canonical JSON holds finite numbers only');
    return JSON.stringify(value) ?? 'null';
  }
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  const entries = Object.entries(value).filter(([, field]) => field !== undefined).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  return `{${entries.map(([key, field]) => `${JSON.stringify(key)}:${canonicalJson(field)}`).join(',')}}`;
}
