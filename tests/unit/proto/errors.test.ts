/** What the system says, as a person meets it: none of it is a defect of ours. */
import { expect, test } from 'vitest';
import { errorTable, exitCode, toAlumnusError } from '../../../proto/errors.ts';

test.each([
  ['ENOSPC', 'STORE_FULL'], ['EDQUOT', 'STORE_FULL'], ['EACCES', 'STORE_UNWRITABLE'], ['EROFS', 'STORE_UNWRITABLE'], ['EPERM', 'STORE_UNWRITABLE'],
  ['EIO', 'DISK_FAILED'], ['EMFILE', 'FILES_EXHAUSTED'], ['ENFILE', 'FILES_EXHAUSTED'], ['EADDRINUSE', 'PORT_IN_USE'],
] as const)('%s is %s, of the surroundings, and names the place', (system, code) => {
  const error = toAlumnusError(Object.assign(new Error(`${system}: something, write`), { code: system, path: '/home/store/temporary/x' }));
  expect(error).toMatchObject({ code, where: '/home/store/temporary/x' });
  expect(errorTable[error.code].exit).toBe(exitCode.environment);
  expect(error.sentence).not.toContain('defect');
});
