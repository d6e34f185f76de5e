/**
 * The npm packages of the checkout, exactly as package-lock.json names them. npm writes node_modules/.package-lock.json
 * as its last act, so comparing the two files tells, in milliseconds, whether an installation finished and is current.
 * Install scripts never run: the one package that would download something gets its library from native.mjs.
 */
import fs from 'node:fs';
import path from 'node:path';
import { SetupError, diskFull, looksFull, looksOffline } from './errors.mjs';
import { lastLines, run } from './process.mjs';
import { step } from './progress.mjs';

function readLock(file) {
  try {
    return JSON.parse(fs.readFileSync(file, 'utf8')).packages;
  } catch {
    return undefined;
  }
}

/**
 * @param {Record<string, { version?: string, integrity?: string, optional?: boolean, dev?: boolean }>} wanted of package-lock.json
 * @param {Record<string, { version?: string, integrity?: string }> | undefined} installed of node_modules/.package-lock.json
 */
export function isInstalled(wanted, installed) {
  if (installed === undefined) return false;
  for (const [name, entry] of Object.entries(wanted)) {
    if (name === '') continue;
    const present = installed[name];
    // Packages for other platforms are in the lock and stay out of node_modules.
    if (present === undefined && entry.optional === true) continue;
    if (present?.version !== entry.version || present?.integrity !== entry.integrity) return false;
  }
  return Object.keys(installed).every((name) => name in wanted);
}

export function packagesReady(root) {
  const wanted = readLock(path.join(root, 'package-lock.json'));
  return wanted !== undefined && isInstalled(wanted, readLock(path.join(root, 'node_modules/.package-lock.json')));
}

/** @param {(pid: number) => void} onChild */
export async function installPackages(root, onChild) {
  const fresh = !fs.existsSync(path.join(root, 'node_modules/.package-lock.json'));
  // A finished installation is brought up to date in place, so that what runs from it keeps running.
  const args = fresh ? ['ci'] : ['install', '--no-save'];
  const result = await step(`npm packages (npm ${args[0]})`, async () => {
    const outcome = await run('npm', [...args, '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'], { cwd: root, onStart: onChild });
    if (outcome.code === 0 && !packagesReady(root)) return { ...outcome, code: -1 };
    if (outcome.code !== 0) throw npmError(outcome, root);
    return outcome;
  });
  if (result.code === -1) {
    throw new SetupError(
      'The installed npm packages do not match package-lock.json.',
      'If package.json was changed by hand, run `npm install` once; otherwise remove node_modules and run the command again.',
    );
  }
}

/** npm follows its few lines of what is wrong with a page of usage. */
function missingFromLock(output) {
  return lastLines(output.split('\n').filter((line) => /Missing:|Invalid:/.test(line)).join('\n'));
}

function npmError(outcome, root) {
  const detail = lastLines(outcome.output);
  if (outcome.missing) return new SetupError('There is no npm on this machine.', 'Install npm (it comes with Node) and run the command again.');
  if (looksFull(outcome.output)) return diskFull(root);
  if (outcome.output.includes('EUSAGE')) {
    return new SetupError('package.json and package-lock.json disagree.', 'Run `npm install` once and commit both files.', { detail: missingFromLock(outcome.output) });
  }
  if (looksOffline(outcome.output)) {
    return new SetupError('npm cannot reach its registry.', 'Check the network, or the registry and proxy that `npm config list` shows, and run the command again.', { detail });
  }
  return new SetupError('npm could not install the packages.', 'Read what npm said above; running the command again is safe.', { detail });
}
