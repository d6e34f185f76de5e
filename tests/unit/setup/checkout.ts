/** A small checkout in a temporary folder, and tools that only pretend, for the tests of set-up. */
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { onTestFinished } from 'vitest';

export const root = path.resolve(import.meta.dirname, '../../..');

export function temporaryFolder(): string {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'alumnus-setup-'));
  onTestFinished(() => fs.rmSync(folder, { recursive: true, force: true }));
  return fs.realpathSync(folder);
}

export function write(folder: string, files: Record<string, string>): void {
  for (const [name, text] of Object.entries(files)) {
    fs.mkdirSync(path.dirname(path.join(folder, name)), { recursive: true });
    fs.writeFileSync(path.join(folder, name), text);
  }
}

/** Set-up's own files and the packages of this checkout, without sources, without anything native. */
export function checkout({ withPackages = true } = {}): string {
  const folder = path.join(temporaryFolder(), 'checkout');
  fs.mkdirSync(path.join(folder, 'deploy'), { recursive: true });
  fs.cpSync(path.join(root, 'deploy/setup'), path.join(folder, 'deploy/setup'), { recursive: true });
  for (const name of ['package.json', 'package-lock.json', 'tsconfig.json', 'tsconfig.build.json', 'buf.yaml', 'buf.gen.yaml']) {
    fs.copyFileSync(path.join(root, name), path.join(folder, name));
  }
  if (withPackages) {
    fs.symlinkSync(fs.realpathSync(path.join(root, 'node_modules')), path.join(folder, 'node_modules'));
    // The very packages that are here, whatever the state of the lock.
    const installed = JSON.parse(fs.readFileSync(path.join(root, 'node_modules/.package-lock.json'), 'utf8')) as { packages: object };
    fs.writeFileSync(path.join(folder, 'package-lock.json'), JSON.stringify({ packages: { '': {}, ...installed.packages } }));
  }
  return folder;
}

export interface Outcome {
  code: number | null;
  stderr: string;
  stdout: string;
  cache: string;
}

/**
 * Runs `run.mjs COMMAND` in a checkout with an empty cache.
 * @param tools shell scripts by name: all that PATH has
 */
export async function runCommand(folder: string, args: string[], tools: Record<string, string> = {}, env: NodeJS.ProcessEnv = {}): Promise<Outcome> {
  const bin = path.join(folder, '..', 'bin');
  const cache = path.join(folder, '..', 'cache');
  fs.mkdirSync(bin, { recursive: true });
  for (const [name, script] of Object.entries(tools)) fs.writeFileSync(path.join(bin, name), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  const child = spawn(process.execPath, [path.join(folder, 'deploy/setup/run.mjs'), ...args], {
    env: { PATH: bin, HOME: path.join(folder, '..'), ALUMNUS_CACHE: cache, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  onTestFinished(() => void child.kill('SIGKILL'));
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (data) => (stdout += String(data)));
  child.stderr.on('data', (data) => (stderr += String(data)));
  const code = await new Promise<number | null>((resolve) => child.on('close', resolve));
  return { code, stderr, stdout, cache };
}
