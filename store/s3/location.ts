/**
 * Where a store of the S3 kind lies, and with which keys it is entered. The URL names the place and no secret, because it
 * travels to workers and into logs; the keys come from the environment of each process.
 */
import { AlumnusError } from '../../proto/errors.ts';
import { checkKey } from '../keys.ts';

export interface S3Location {
  readonly url: string;
  readonly bucket: string;
  /** Without a slash at its end; empty for the bucket's root. */
  readonly prefix: string;
  readonly secure: boolean;
  readonly host: string;
  readonly port: number;
  readonly region: string;
  readonly pathStyle: boolean;
}

export interface S3Credentials {
  readonly accessKey: string;
  readonly secretKey: string;
  readonly sessionToken?: string;
}

type Environment = Readonly<Record<string, string | undefined>>;

const EXAMPLE = 's3://bucket/prefix?endpoint=https://host:9000&region=us-east-1&addressing=path';
/** S3's own naming rule. */
const BUCKET = /^(?!.*\.\.)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/;
const REGION_DEFAULT = 'us-east-1';
const ENDPOINT_DEFAULT = 'https://s3.amazonaws.com';
const PARAMETERS = ['endpoint', 'region', 'addressing'];

/** @throws AlumnusError USAGE */
export function parseS3Url(url: string): S3Location {
  // A secret that was written into the URL is not repeated.
  const refuse = (what: string, cause?: unknown): never => {
    throw new AlumnusError('USAGE', `${what}: write ${EXAMPLE}`, { where: url.replace(/\/\/[^/?]*@/, '//…@'), cause });
  };
  let parsed: URL;
  let endpoint: URL;
  let prefix: string;
  // `URL` would resolve them, and a store would silently lie elsewhere.
  if (/\/(\.|%2e){1,2}(\/|\?|#|$)/i.test(url.replace(/\?.*$/s, ''))) return refuse('a prefix holds no "." or ".."');
  try {
    parsed = new URL(url);
    prefix = decodeURIComponent(parsed.pathname).replace(/^\/|\/$/g, '');
  } catch (thrown) {
    return refuse('the store\'s URL cannot be read', thrown);
  }
  if (parsed.username !== '' || parsed.password !== '' || parsed.hostname.includes('@')) return refuse('a store\'s URL holds no keys (they are in ALUMNUS_S3_ACCESS_KEY and ALUMNUS_S3_SECRET_KEY)');
  const bucket = parsed.hostname;
  if (!BUCKET.test(bucket) || parsed.port !== '') return refuse(`"${parsed.host}" is no bucket's name`);
  for (const name of new Set(parsed.searchParams.keys())) {
    if (!PARAMETERS.includes(name) || parsed.searchParams.getAll(name).length > 1) return refuse(`"${name}" is not known in a store's URL, or is there twice`);
  }
  try {
    endpoint = new URL(parsed.searchParams.get('endpoint') ?? ENDPOINT_DEFAULT);
  } catch (thrown) {
    return refuse('the endpoint is no URL', thrown);
  }
  const secure = endpoint.protocol === 'https:';
  if (!secure && endpoint.protocol !== 'http:') return refuse('the endpoint begins with https:// or http://');
  if (endpoint.username !== '' || endpoint.password !== '') return refuse('an endpoint holds no keys');
  if (endpoint.pathname !== '/' || endpoint.search !== '' || endpoint.hash !== '' || parsed.hash !== '') return refuse('the endpoint is scheme, host and port');
  const addressing = parsed.searchParams.get('addressing') ?? 'path';
  if (addressing !== 'path' && addressing !== 'virtual-host') return refuse('addressing is "path" or "virtual-host"');
  if (addressing === 'virtual-host' && secure && bucket.includes('.')) return refuse('a bucket with a dot in its name has no certificate as a virtual host: use addressing=path');
  if (prefix !== '') checkKey(prefix);
  return {
    url, bucket, prefix, secure,
    host: endpoint.hostname.replace(/^\[|\]$/g, ''),
    port: endpoint.port === '' ? (secure ? 443 : 80) : Number(endpoint.port),
    region: parsed.searchParams.get('region') || REGION_DEFAULT,
    pathStyle: addressing === 'path',
  };
}

/** Ours come first; those of the AWS tools serve where ours are not set. @throws AlumnusError STORE_DENIED */
export function credentialsFrom(env: Environment, url: string): S3Credentials {
  const names: readonly (readonly [string, string, string])[] = [
    ['ALUMNUS_S3_ACCESS_KEY', 'ALUMNUS_S3_SECRET_KEY', 'ALUMNUS_S3_SESSION_TOKEN'],
    ['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY', 'AWS_SESSION_TOKEN'],
  ];
  for (const [accessName, secretName, tokenName] of names) {
    const [accessKey, secretKey, sessionToken] = [env[accessName], env[secretName], env[tokenName]];
    if (!accessKey && !secretKey) continue;
    if (!accessKey || !secretKey) throw new AlumnusError('STORE_DENIED', `${accessKey ? secretName : accessName} is not set, and ${accessKey ? accessName : secretName} is`, { where: url });
    return { accessKey, secretKey, ...(sessionToken ? { sessionToken } : {}) };
  }
  throw new AlumnusError('STORE_DENIED', 'there are no keys for the object store in the environment', { where: url });
}
