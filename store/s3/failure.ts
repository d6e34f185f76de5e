/**
 * What goes wrong between us and an S3 server: which of it may pass by itself, and what a person is told of it.
 * `S3Failure` is an answer that says no; everything else is a connection's error, as Node names it.
 */
import { AlumnusError, toAlumnusError, type ErrorCode } from '../../proto/errors.ts';

/** Nothing came or went for too long. */
export class StalledError extends Error {
  readonly code = 'ETIMEDOUT';

  constructor(what: string) {
    super(what);
    this.name = 'StalledError';
  }
}

/** An answer that is not what its request asked for (a connection that was cut, a proxy's page): taken again. */
export class BrokenAnswerError extends Error {
  readonly code = 'ECONNRESET';

  constructor(what: string, cause?: unknown) {
    super(what, cause === undefined ? undefined : { cause });
    this.name = 'BrokenAnswerError';
  }
}

export class S3Failure extends Error {
  readonly status: number;
  /** S3's own word, such as NoSuchKey; empty where the answer has no body (HEAD) or is not S3's. */
  readonly code: string;
  /** The bucket's region, where the answer names it. */
  readonly region: string;

  constructor(status: number, code: string, message: string, region = '') {
    super(message);
    this.name = 'S3Failure';
    this.status = status;
    this.code = code;
    this.region = region;
  }
}

/** Of an answer in plain words: a sentence. */
const PLAIN_CHARS_MAX = 200;

const entities: Readonly<Record<string, string>> = { lt: '<', gt: '>', amp: '&', quot: '"', apos: '\'' };

const unescapeXml = (text: string): string => text.replace(/&(?:#(\d{1,7})|#x([0-9a-fA-F]{1,6})|(lt|gt|amp|quot|apos));/g, (whole, decimal?: string, hex?: string, name?: string) => {
  if (name !== undefined) return entities[name] ?? whole;
  const point = decimal === undefined ? Number.parseInt(hex ?? '', 16) : Number(decimal);
  return point <= 0x10ffff ? String.fromCodePoint(point) : whole;
});

/** The text of the first element of that name. S3's answers are flat enough for it, and nothing is expanded. */
export function xmlText(xml: string, element: string): string | undefined {
  const [, text] = new RegExp(`<${element}>([^<]*)</${element}>`).exec(xml) ?? [];
  return text === undefined ? undefined : unescapeXml(text);
}

/** The contents of all elements of that name, which are not nested in one another. */
export const xmlElements = (xml: string, element: string): string[] => [...xml.matchAll(new RegExp(`<${element}>(.*?)</${element}>`, 'gs'))].map(([, inner = '']) => inner);

export function failureOf(status: number, body: string, region: string): S3Failure {
  const code = xmlText(body, 'Code') ?? '';
  // A server that is no S3, or was not asked for TLS, answers in plain words.
  const message = xmlText(body, 'Message') ?? (body.includes('<') ? '' : body.trim().slice(0, PLAIN_CHARS_MAX));
  return new S3Failure(status, code, [`HTTP ${status}`, code, message].filter((part) => part !== '').join(': '), xmlText(body, 'Region') ?? region);
}

/** Names of conditions that pass, whatever status they come with. BadDigest and its like: the bytes were damaged on the way. */
const passingCodes = new Set(['SlowDown', 'SlowDownRead', 'SlowDownWrite', 'RequestTimeout', 'InternalError', 'ServiceUnavailable', 'OperationAborted', 'ConditionalRequestConflict', 'IncompleteBody', 'BadDigest', 'XAmzContentSHA256Mismatch', 'ThrottlingException', 'TooManyRequests']);
const passingStatuses = new Set([408, 425, 429, 499, 500, 502, 503, 504, 520, 521, 522, 523, 524]);
const fullCodes = new Set(['XMinioStorageFull', 'QuotaExceeded', 'XMinioAdminBucketQuotaExceeded', 'InsufficientStorage']);
/** Some of them come as 400, as if the request were wrong. */
const deniedCodes = new Set(['ExpiredToken', 'InvalidToken', 'TokenRefreshRequired']);
const networkCodes = new Set(['ECONNRESET', 'ECONNREFUSED', 'ECONNABORTED', 'EPIPE', 'ETIMEDOUT', 'EHOSTUNREACH', 'ENETUNREACH', 'ENETDOWN', 'EAI_AGAIN', 'ENOTFOUND', 'EPROTO', 'ERR_STREAM_PREMATURE_CLOSE']);
/** Certificates: trying again changes nothing, a person must act. */
const certificateCode = /^(ERR_TLS_CERT|CERT_|UNABLE_TO_|SELF_SIGNED|DEPTH_ZERO|INVALID_CA|INVALID_PURPOSE|HOSTNAME_MISMATCH)/;

const systemCode = (thrown: unknown): string => (typeof thrown === 'object' && thrown !== null && 'code' in thrown ? String(thrown.code) : '');

export function isRetryable(thrown: unknown): boolean {
  if (thrown instanceof AlumnusError) return false;
  if (thrown instanceof S3Failure) return !fullCodes.has(thrown.code) && (passingStatuses.has(thrown.status) || passingCodes.has(thrown.code));
  const code = systemCode(thrown);
  // HPE_: what came is no HTTP. ERR_SSL_: what came is no TLS, or was damaged on the way.
  return networkCodes.has(code) || code.startsWith('HPE_') || (code.startsWith('ERR_SSL_') && !certificateCode.test(code));
}

/** Speaks HTTP, or something else, and is no S3: MinIO's console says so in these words, and answers other requests with its page. */
const isNoS3 = (failure: S3Failure): boolean => /S3 API Requests must be made to API port/i.test(failure.message);
/** As OpenSSL calls it when plain HTTP comes where TLS was asked for; bytes that were damaged on the way look alike, so that it is tried again. */
const speaksNoTls = (code: string, message: string): boolean => (code === 'EPROTO' || code.startsWith('ERR_SSL_')) && /wrong version number|packet length too long|http request/i.test(message);
/** As servers call it when TLS was wanted and plain HTTP came. */
const wantsTls = (failure: S3Failure): boolean => failure.status === 400 && /HTTP request to an HTTPS server/i.test(failure.message);

export const isMissingObject = (thrown: unknown): boolean => thrown instanceof S3Failure && thrown.status === 404 && ['', 'NoSuchKey', 'NotFound'].includes(thrown.code);
export const isTaken = (thrown: unknown): boolean => thrown instanceof S3Failure && thrown.status === 412;
export const isMissingUpload = (thrown: unknown): boolean => thrown instanceof S3Failure && thrown.code === 'NoSuchUpload';

function describe(failure: S3Failure): { code: ErrorCode; what: string } {
  if (isNoS3(failure)) return { code: 'USAGE', what: 'the endpoint answers, but not as S3 (it is the store\'s console): write the port of its S3 API into the store\'s URL' };
  if (wantsTls(failure)) return { code: 'USAGE', what: 'the endpoint speaks TLS: write https:// into the store\'s URL' };
  if (failure.code === 'NoSuchBucket') return { code: 'BUCKET_NOT_FOUND', what: 'the bucket does not exist' };
  if (failure.code === 'RequestTimeTooSkewed') return { code: 'STORE_CLOCK_SKEWED', what: 'the object store refuses requests because the clocks of this machine and of the store differ too much' };
  if (fullCodes.has(failure.code) || failure.status === 507) return { code: 'STORE_FULL', what: `the object store is full (${failure.message})` };
  if (failure.code === 'AuthorizationHeaderMalformed' || failure.status === 301 || failure.status === 307) {
    return { code: 'USAGE', what: failure.region === '' ? `the bucket lies in another region or at another endpoint (${failure.message})` : `the bucket lies in region ${failure.region}: write it into the store's URL` };
  }
  if (failure.status === 401 || failure.status === 403 || deniedCodes.has(failure.code)) return { code: 'STORE_DENIED', what: `the object store refuses access (${failure.message})` };
  if (isRetryable(failure)) return { code: 'STORE_UNREACHABLE', what: `the object store cannot serve now (${failure.message})` };
  return { code: 'INTERNAL', what: `the object store refused the request (${failure.message})` };
}

/** Any failure as a person meets it. `where`: the key, or the store's URL. */
export function toStoreError(thrown: unknown, where: string): AlumnusError {
  if (thrown instanceof AlumnusError) return thrown;
  const options = { where, cause: thrown };
  if (thrown instanceof S3Failure) {
    if (isMissingObject(thrown)) return new AlumnusError('OBJECT_NOT_FOUND', 'the object is not in the store', options);
    const { code, what } = describe(thrown);
    return new AlumnusError(code, what, options);
  }
  const system = systemCode(thrown);
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  if (certificateCode.test(system)) return new AlumnusError('STORE_UNTRUSTED', `the object store's certificate is not trusted (${message})`, options);
  if (speaksNoTls(system, message)) return new AlumnusError('STORE_UNREACHABLE', 'the endpoint answers, and speaks no TLS: where it is plain HTTP, write http:// into the store\'s URL', options);
  if (isRetryable(thrown)) return new AlumnusError('STORE_UNREACHABLE', `the object store does not answer (${message || system})`, options);
  return toAlumnusError(thrown, where);
}
