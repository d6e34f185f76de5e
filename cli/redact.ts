/**
 * Text without what is secret in it: for what leaves the machine. Pure. What counts as secret: values that are handed in, whole; and by its form a user's part
 * of a URL, parameters of a URL but for those that name no secret, bearer tokens, private keys, and values of fields that are called as secrets are.
 * Not for: what somebody wrote as prose.
 */

const REDACTED = 'REDACTED';

/** Parameters of our own URLs (store/s3/location.ts, coordinator/nats.ts): places, not keys. */
const HARMLESS_PARAMETERS: ReadonlySet<string> = new Set(['endpoint', 'region', 'addressing', 'replicas', 'path', 'create', 'server_side', 'prefix']);

/** As variables, fields and headers that hold secrets are called. */
const SECRET_NAME = /(secret|token|password|passwd|passphrase|credential|private[_-]?key|access[_-]?key|api[_-]?key|authorization|signature)/i;

export const isSecretName = (name: string): boolean => SECRET_NAME.test(name);

/** Shorter values would take common words out of everything. */
const SECRET_CHARACTERS_LEAST = 4;

function withoutParameters(query: string): string {
  return query.split('&').map((pair) => {
    const [name = ''] = pair.split('=');
    return !pair.includes('=') || HARMLESS_PARAMETERS.has(name.toLowerCase()) ? pair : `${name}=${REDACTED}`;
  }).join('&');
}

/** @param secrets values that are taken out wherever they stand */
export function redacted(text: string, secrets: readonly string[] = []): string {
  let out = text;
  // The longest first: one may hold another.
  for (const secret of [...secrets].filter((each) => each.length >= SECRET_CHARACTERS_LEAST).sort((a, b) => b.length - a.length)) out = out.replaceAll(secret, REDACTED);
  return out
    .replace(/-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(-----END [A-Z ]*PRIVATE KEY-----|$)/g, REDACTED)
    .replace(/\b([a-z][a-z0-9+.-]*:\/\/)[^\s/?#"'@]+@/gi, `$1${REDACTED}@`)
    .replace(/(\b[a-z][a-z0-9+.-]*:\/\/[^\s?"']*\?)([^\s"'#]+)/gi, (_, before: string, query: string) => before + withoutParameters(query))
    .replace(/\b(Bearer|Basic)\s+[A-Za-z0-9._~+/=-]+/g, `$1 ${REDACTED}`)
    // `"secretKey": "…"`, `secret_key: …`, `SECRET=…`.
    .replace(/(["']?[\w.-]*(?:secret|token|password|passwd|passphrase|credential|private[_-]?key|access[_-]?key|api[_-]?key|authorization)[\w.-]*["']?\s*[:=]\s*)("[^"\n]*"|'[^'\n]*'|[^\s,}\]"']+)/gi, (_, name: string, value: string) => `${name}${value.startsWith('"') ? `"${REDACTED}"` : value.startsWith('\'') ? `'${REDACTED}'` : REDACTED}`);
}
