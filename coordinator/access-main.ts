/** Reads one access file as a coordinator would, and says what it found: for `alumnus access check`. */
import { readFileSync } from 'node:fs';
import { AlumnusError, errorTable, toAlumnusError } from '../proto/errors.ts';
import { parseAccess } from './access.ts';

const [, , file = ''] = process.argv;
try {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (thrown) {
    throw new AlumnusError('ACCESS_INVALID', 'the file cannot be read', { where: file, cause: thrown });
  }
  // What the coordinator's environment holds is not known here.
  const { projects = [] } = parseAccess(text, file, new Proxy({}, { get: () => 'set' }));
  process.stdout.write(`${file} can be used; projects: ${projects.join(', ')}\n`);
} catch (thrown) {
  const error = toAlumnusError(thrown, file);
  process.stderr.write(`${error.sentence}\n`);
  process.exit(errorTable[error.code].exit);
}
