/**
 * The real servers that tests and trials run against: NATS for the journal, MinIO and Versity's gateway for the object
 * store, Prometheus for metrics, alerts and panels. Each is built from the Go module proxy at a pinned version; Go checks every module against its checksum database.
 * Not for production: a deployment takes its own servers.
 *
 * Invariants:
 * 1. A server lies in the cache under a key that names its version and platform, and appears there by one rename, complete.
 * 2. What is in progress lies under `tmp-servers/` of the cache and is swept by the next holder of the lock.
 * 3. A Prometheus that the machine has (on the PATH, or named by PROMETHEUS) is taken, and none is built.
 * 4. Without Go nothing is built and nothing breaks: tests that need a server are left out visibly, except under CI=true.
 */
import fs from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { SetupError, diskFull, looksFull, looksOffline, storageError } from './errors.mjs';
import { withLock } from './lock.mjs';
import { lastLines, run } from './process.mjs';
import { say, step } from './progress.mjs';

/**
 * `tags`: of Go's build. `ofMachine`: the variable that names one that the machine has; without it the PATH is looked at.
 * `bytes`: what building it takes on disk, its share of Go's own caches included, rounded up; only for the check of free space.
 * @type {Record<ServerName, { module: string, program: string, version: string, tags?: string, ofMachine?: string, bytes: number }>}
 * @typedef {'nats-server' | 'minio' | 'versitygw' | 'prometheus' | 'promtool'} ServerName
 */
export const servers = {
  'nats-server': { module: 'github.com/nats-io/nats-server/v2', program: '', version: 'v2.15.2', bytes: 1_000_000_000 },
  // The last commit before its repository was archived: the community server gets no more fixes (docs/storage.md).
  minio: { module: 'github.com/minio/minio', program: '', version: 'v0.0.0-20260212201848-7aac2a2c5b7c', bytes: 3_000_000_000 },
  versitygw: { module: 'github.com/versity/versitygw', program: '/cmd/versitygw', version: 'v1.8.0', bytes: 2_000_000_000 },
  // Prometheus 3.16, without its pages and without the discovery of dozens of clouds.
  prometheus: { module: 'github.com/prometheus/prometheus', program: '/cmd/prometheus', version: 'v0.316.0', tags: 'remove_all_sd', ofMachine: 'PROMETHEUS', bytes: 2_500_000_000 },
  promtool: { module: 'github.com/prometheus/prometheus', program: '/cmd/promtool', version: 'v0.316.0', tags: 'remove_all_sd', ofMachine: 'PROMETHEUS', bytes: 200_000_000 },
};

export const serverNames = /** @type {ServerName[]} */ (Object.keys(servers));

/** The newest that one of them asks for; an older Go fetches a newer tool chain by itself, unless it is told not to. */
const goLeast = '1.26';
/** Raise when the flags of the build change. */
const layout = 1;
/** Niceness of the compilers: whoever works on this machine comes first. */
const niceness = '10';

/** Where a server's program lies, or will lie once it is built. @param {ServerName} name */
export function serverPath(cache, name, env = process.env) {
  const own = ofMachine(name, env);
  if (own !== undefined) return own;
  const key = `${name}-${servers[name].version}-${process.platform}-${process.arch}-${layout}`;
  return path.join(cache, key, name);
}

/** One that was named or is on the PATH. @param {ServerName} name @returns {string | undefined} */
function ofMachine(name, env) {
  const variable = servers[name].ofMachine;
  if (variable === undefined) return undefined;
  const named = env[variable] ?? '';
  const folders = named === '' ? (env.PATH ?? '').split(path.delimiter).filter((folder) => folder !== '') : [path.dirname(named)];
  return folders.map((folder) => path.join(folder, name)).find((each) => fs.existsSync(each));
}

/** @param {ServerName} name */
export function serverReady(cache, name, env = process.env) {
  return fs.existsSync(serverPath(cache, name, env));
}

export function goFound(env = process.env) {
  return (env.PATH ?? '').split(path.delimiter).some((folder) => folder !== '' && fs.existsSync(path.join(folder, 'go')));
}

function goMissing() {
  return new SetupError('There is no Go on this machine (it builds the NATS, S3 and Prometheus servers that tests run against).', `Install Go ${goLeast} or newer from go.dev/dl (or your distribution), put it on the PATH, and run the command again.`);
}

export function serversReady(cache, env = process.env) {
  return serverNames.every((name) => serverReady(cache, name, env));
}

/**
 * Builds what is missing, one after the other.
 * @param {(pid: number) => void} onChild
 * @param {{ env?: NodeJS.ProcessEnv, optional?: boolean }} [options] `optional`: a machine without Go is told so and goes on
 */
export async function buildServers(cache, onChild, { env = process.env, optional = false } = {}) {
  if (!goFound(env)) {
    const error = goMissing();
    if (!optional || env.CI === 'true') throw error;
    say(`  left out: tests on real servers that this machine does not have. ${error.message} ${error.remedy}`);
    return;
  }
  try {
    await withLock(`servers ${fs.realpathSync(cache)}`, path.join(cache, 'locks', 'servers.json'), async (onOwnChild) => {
      const temporary = path.join(cache, 'tmp-servers');
      fs.rmSync(temporary, { recursive: true, force: true });
      fs.mkdirSync(temporary);
      const onBoth = (pid) => {
        onChild(pid);
        onOwnChild(pid);
      };
      try {
        for (const name of serverNames) {
          if (!serverReady(cache, name, env)) await buildServer(cache, temporary, name, env, onBoth);
        }
      } finally {
        fs.rmSync(temporary, { recursive: true, force: true });
      }
    });
  } catch (error) {
    throw storageError(error, cache);
  }
}

async function buildServer(cache, temporary, name, env, onChild) {
  const { module, program, version, tags, bytes } = servers[name];
  const bin = path.join(temporary, name);
  fs.mkdirSync(bin);
  requireSpace(cache, bytes);
  await step(`${name} ${version}, build (go install, a few minutes)`, async () => {
    const outcome = await run('nice', ['-n', niceness, 'go', 'install', '-trimpath', '-ldflags=-s -w', ...(tags === undefined ? [] : [`-tags=${tags}`]), `${module}${program}@${version}`], {
      cwd: temporary,
      onStart: onChild,
      // GOFLAGS and GOWORK of whoever runs this are about their own modules.
      env: { ...env, GOBIN: bin, CGO_ENABLED: '0', GOFLAGS: '', GOWORK: 'off', GOOS: '', GOARCH: '' },
    });
    if (outcome.code !== 0 || !fs.existsSync(path.join(bin, name))) throw goError(name, outcome, cache);
  });
  const target = path.dirname(serverPath(cache, name, env));
  fs.rmSync(target, { recursive: true, force: true });
  fs.renameSync(bin, target);
}

function requireSpace(folder, bytes) {
  const { bavail, bsize } = fs.statfsSync(folder);
  if (bavail * bsize < bytes) throw diskFull(folder, bytes);
}

function goError(name, { output, code }, cache) {
  const detail = lastLines(output);
  if (looksFull(output)) return diskFull(cache);
  if (/requires go >= |toolchain not available/.test(output)) {
    return new SetupError(`The Go on this machine is too old for ${name}.`, `Install Go ${goLeast} or newer, or allow it to fetch one (GOTOOLCHAIN=auto), and run the command again.`, { detail });
  }
  if (looksOffline(output) || /dial tcp|i\/o timeout|TLS handshake timeout|no such host|connection refused/.test(output)) {
    return new SetupError('Go cannot reach its module proxy.', 'Check the network, or the proxy that `go env GOPROXY` shows, and run the command again.', { detail });
  }
  return new SetupError(`${name} could not be built (go ended with ${code}).`, 'Read what Go said above; running the command again is safe and goes on from what is compiled.', { detail });
}
