/** A file that a command is given, or standard input. */
import { readFile } from 'node:fs/promises';
import { AlumnusError } from '../proto/errors.ts';

const STANDARD_INPUT = '-';

/** @throws AlumnusError USAGE when the file cannot be read. */
export async function readText(file: string): Promise<string> {
  if (file === STANDARD_INPUT) {
    let text = '';
    for await (const chunk of process.stdin.setEncoding('utf8')) text += String(chunk);
    return text;
  }
  try {
    return await readFile(file, 'utf8');
  } catch (thrown) {
    const code = thrown instanceof Error && 'code' in thrown ? String(thrown.code) : '';
    if (code === 'ENOENT') throw new AlumnusError('USAGE', 'there is no such file', { where: file, cause: thrown });
    if (code === 'EISDIR') throw new AlumnusError('USAGE', 'is a folder, not a recipe', { where: file, cause: thrown });
    throw new AlumnusError('USAGE', 'the file cannot be read', { where: file, cause: thrown });
  }
}
