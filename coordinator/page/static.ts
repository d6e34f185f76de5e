/** The built page: its files are read once and answered from memory, so that no path of a request ever reaches the file system. */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { extname, join, sep } from 'node:path';
import { Encoded } from './encoded.ts';

const types: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8', '.js': 'text/javascript; charset=utf-8', '.css': 'text/css; charset=utf-8', '.svg': 'image/svg+xml', '.png': 'image/png', '.json': 'application/json',
};

export interface StaticFile {
  readonly encoded: Encoded;
  readonly type: string;
  /** Its name holds its digest: it never changes. */
  readonly immutable: boolean;
}

/** By path as it is asked for: `/` is index.html. Empty where the page is not built. */
export function readStatic(folder: string): ReadonlyMap<string, StaticFile> {
  const files = new Map<string, StaticFile>();
  if (!existsSync(folder)) return files;
  for (const entry of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
    const type = types[extname(entry)];
    if (type === undefined || !statSync(join(folder, entry)).isFile()) continue;
    const path = `/${entry.split(sep).join('/')}`;
    files.set(path === '/index.html' ? '/' : path, { encoded: new Encoded(readFileSync(join(folder, entry))), type, immutable: path.startsWith('/assets/') });
  }
  return files;
}
