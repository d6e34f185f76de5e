/** The compiled command line, one command from start to end, as a shell would run it. Not for: processes that stay (child.ts). */
import { execFile } from 'node:child_process';
import { join } from 'node:path';

export const commandLine = join(import.meta.dirname, '../../dist/cli/main.js');
const OUTPUT_BYTES_MAX = 64 * 1024 * 1024;

export interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** @param env beside what this process has */
export const runCommand = (args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Ran> =>
  new Promise((resolve) => {
    execFile(process.execPath, [commandLine, ...args], { env: { ...process.env, ...env }, maxBuffer: OUTPUT_BYTES_MAX }, (error, out, err) => {
      resolve({ code: typeof error?.code === 'number' ? error.code : error === null ? 0 : -1, out, err });
    });
  });
