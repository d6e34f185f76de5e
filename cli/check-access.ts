/** Has the coordinator's own program read an access file: what it takes is its to say. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { fromSentence } from '../proto/ask.ts';
import { AlumnusError } from '../proto/errors.ts';
import type { Context } from './context.ts';
import { programPath } from './processes.ts';

/** @returns a line for people @throws AlumnusError ACCESS_INVALID */
export async function checkAccess({ env }: Context, file: string): Promise<string> {
  try {
    return (await promisify(execFile)(process.execPath, [programPath('coordinator', 'access-main'), file], { env })).stdout.trimEnd();
  } catch (thrown) {
    const said = typeof thrown === 'object' && thrown !== null && 'stderr' in thrown ? String(thrown.stderr).trim() : '';
    throw fromSentence(said) ?? new AlumnusError('INTERNAL', said === '' ? 'the coordinator\'s program ended without a word' : said, { where: file, cause: thrown });
  }
}
