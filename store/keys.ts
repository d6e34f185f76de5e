/**
 * What a key may be: the common ground of S3 and of file systems, and nothing that leads out of the store.
 * Invariant: a checked key, joined to a folder, names a file below that folder.
 */
import { AlumnusError } from '../proto/errors.ts';

/** S3's limit for a key. */
const KEY_BYTES_MAX = 1024;
/** The limit of every common file system for one name, less room for the metadata's `.json`. */
const SEGMENT_BYTES_MAX = 250;
/** Control characters, lone surrogates, and the other system's separator. */
const FORBIDDEN = /[\p{Cc}\p{Cs}\\]/u;

const problemOf = (key: string): string | undefined => {
  if (key === '') return 'is empty';
  if (Buffer.byteLength(key) > KEY_BYTES_MAX) return `is longer than ${KEY_BYTES_MAX} bytes`;
  if (FORBIDDEN.test(key)) return 'holds a control character or a backslash';
  for (const segment of key.split('/')) {
    if (segment === '') return 'begins or ends with "/", or holds "//"';
    if (segment === '.' || segment === '..') return 'holds "." or ".."';
    if (Buffer.byteLength(segment) > SEGMENT_BYTES_MAX) return `has a part longer than ${SEGMENT_BYTES_MAX} bytes`;
  }
  return undefined;
};

/** @throws AlumnusError USAGE */
export function checkKey(key: string): string {
  const problem = problemOf(key);
  if (problem !== undefined) throw new AlumnusError('USAGE', `the object key ${problem}`, { where: JSON.stringify(key) });
  return key;
}

/** A prefix to list by: empty, or a key that may end in "/". @throws AlumnusError USAGE */
export function checkPrefix(prefix: string): string {
  if (prefix !== '') checkKey(prefix.endsWith('/') ? prefix.slice(0, -1) : prefix);
  return prefix;
}
