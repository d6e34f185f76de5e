/** A file of the user's, written in one move: who reads it sees it whole or not at all. */
import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { toAlumnusError } from '../proto/errors.ts';

/** Makes the folder where it is not there, and replaces what lies there. @param mode of the file; who may read it, where not everybody may. @throws AlumnusError STORE_FULL, STORE_UNWRITABLE */
export async function writeWhole(file: string, content: string | Uint8Array, mode?: number): Promise<void> {
  const draft = `${file}.${process.pid}.part`;
  try {
    await mkdir(dirname(file), { recursive: true });
    await writeFile(draft, content, mode === undefined ? {} : { mode });
    await rename(draft, file);
  } catch (thrown) {
    await rm(draft, { force: true });
    throw toAlumnusError(thrown, file);
  }
}
