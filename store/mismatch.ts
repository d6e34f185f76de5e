/** The one wording for stored bytes that are not those that were asked for. */
import { AlumnusError } from '../proto/errors.ts';
import type { ObjectRef } from './object-store.ts';

export const lengthMismatch = (ref: ObjectRef, bytes: number): AlumnusError =>
  new AlumnusError('DIGEST_MISMATCH', `the object has ${bytes} bytes where ${ref.bytes} are expected`, { where: ref.key });

export const digestMismatch = (ref: ObjectRef, found: string): AlumnusError =>
  new AlumnusError('DIGEST_MISMATCH', `the object's sha256 is ${found} where ${ref.sha256} is expected`, { where: ref.key });
