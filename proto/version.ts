/** The release that this is, read from the package that it belongs to; the same for all programs. */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { invariant } from './errors.ts';

/** The folder that holds package.json: one up from the sources, two up from the compiled ones. */
export function packageFolder(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, 'package.json'))) {
    const parent = dirname(folder);
    invariant(parent !== folder, 'all programs lie below their package.json');
    folder = parent;
  }
  return folder;
}

export function version(): string {
  const { version: release } = JSON.parse(readFileSync(join(packageFolder(), 'package.json'), 'utf8')) as { version: string };
  return release;
}
