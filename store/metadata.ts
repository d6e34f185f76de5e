/**
 * What an object may say of itself: the common ground of all engines is S3's, so that what a laptop keeps a cluster keeps, too.
 * There it travels in HTTP headers: names without case, values in ASCII, 2 KB in all.
 */
import { AlumnusError } from '../proto/errors.ts';

/** S3's limit for names and values together, as they are sent. */
export const METADATA_BYTES_MAX = 2048;
/** What the S3 store adds of its own to mark who wrote an object; within S3's limit, not the caller's to use. */
export const METADATA_RESERVED = 'alumnus-put';
const RESERVED_BYTES = METADATA_RESERVED.length + 36;
/** Lower case, since headers have none; no underscore, which proxies drop. */
const NAME = /^[a-z0-9][a-z0-9.-]*$/;

/** Printable ASCII stays readable; everything else, the space (which signing would fold) and the escape itself are escaped. */
const encodeValue = (value: string): string => value.replace(/[^\x21-\x24\x26-\x7e]/gu, (character) => encodeURIComponent(character));

/** The values as headers carry them. @throws AlumnusError USAGE */
export function encodeMetadata(metadata: Readonly<Record<string, string>>, where: string): Record<string, string> {
  const encoded: Record<string, string> = {};
  let bytes = RESERVED_BYTES;
  for (const [name, value] of Object.entries(metadata)) {
    if (!NAME.test(name) || name === METADATA_RESERVED) throw new AlumnusError('USAGE', `metadata cannot be named ${JSON.stringify(name)}: lower-case letters, digits, "." and "-" are`, { where });
    if (/\p{Cs}/u.test(value)) throw new AlumnusError('USAGE', `the metadata ${name} holds half a character`, { where });
    encoded[name] = encodeValue(value);
    bytes += name.length + encoded[name].length;
  }
  if (bytes > METADATA_BYTES_MAX) throw new AlumnusError('USAGE', `the metadata takes ${bytes} bytes, and ${METADATA_BYTES_MAX} are allowed (a character outside of ASCII takes 6 or more)`, { where });
  return encoded;
}

/** The value that a header carries. One that is no escape of ours is taken as it is: other programs write objects, too. */
export function decodeMetadataValue(value: string): string {
  try {
    return decodeURIComponent(value);
  } catch {
    return value;
  }
}
