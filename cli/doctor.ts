/**
 * What people stumble on, looked at one after another: this machine, the connection, the coordinator and what it stands on. Each check says what it
 * found, and where that is not well what to do. Not for: mending anything; nor for runs, whose state `run describe` tells.
 * Invariants: (1) a check that cannot be made is skipped, and says why; (2) nothing it says holds a token or a key.
 */
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { access, constants, readFile, stat, statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { toAlumnusError, type AlumnusError } from '../proto/errors.ts';
import type { GetStatusResponse, WorkerView } from '../proto/gen/alumnus/v1/operator.ts';
import { packageFolder, version } from '../proto/version.ts';
import { openStore } from '../store/index.ts';
import { connect, type Operator } from './client.ts';
import { configFile, loadConfig } from './config.ts';
import type { Connection } from './connection.ts';
import type { Context } from './context.ts';
import { bytes, duration, plural } from './format.ts';
import { ask } from './helper.ts';
import { homeFolder, storeUrl } from './home.ts';
import { redacted } from './redact.ts';

export type Verdict = 'ok' | 'warn' | 'fail' | 'skipped';

export interface Check {
  readonly name: string;
  readonly verdict: Verdict;
  readonly what: string;
  /** Where it is not well. */
  readonly remedy?: string;
}

type Found = Omit<Check, 'name'>;

const ok = (what: string): Found => ({ verdict: 'ok', what });
const warn = (what: string, remedy: string): Found => ({ verdict: 'warn', what, remedy });
const fail = (what: string, remedy: string): Found => ({ verdict: 'fail', what, remedy });
const skipped = (what: string): Found => ({ verdict: 'skipped', what });
const failed = (error: AlumnusError): Found => fail(`${error.where === '' ? '' : `${error.where}: `}${error.message}`, error.remedy);

/** A lease lasts ten seconds, and S3 takes no request that is off by fifteen minutes: clocks further apart than this are no accident. */
const SKEW_MS_MOST = 5_000;
/** A round of labels, or a few checkpoints of a large model. */
const DISK_BYTES_LEAST = 5 * 1024 ** 3;
const DISK_BYTES_NONE = 256 * 1024 ** 2;
/** Connections, shards and a journal of a coordinator on a fleet. */
const FILES_LEAST = 4_096;
const CALL_MS = 5_000;

export interface DoctorFlags {
  readonly home?: string;
  readonly store?: string;
}

/** Checks in the order in which they are best mended. @param onCheck told each as it is made */
export async function examine(context: Context, flags: DoctorFlags, connection: Connection | AlumnusError, onCheck: (check: Check) => void = () => undefined): Promise<Check[]> {
  const checks: Check[] = [];
  const check = async (name: string, body: () => Found | Promise<Found>): Promise<void> => {
    let found: Found;
    try {
      found = await body();
    } catch (thrown) {
      found = failed(toAlumnusError(thrown));
    }
    const told = { name, ...found, what: redacted(found.what) };
    checks.push(told);
    onCheck(told);
  };
  const home = homeFolder(context.env, flags.home);
  await check('node', nodeVersion);
  await check('native library', () => nativeLibrary(context));
  await check('open files', openFiles);
  await check('home folder', () => writableFolder(home));
  await check('disk', () => diskSpace(home));
  await check('contexts', () => contexts(context));

  if ('code' in connection) {
    await check('connection', () => failed(connection));
    for (const name of ['coordinator', 'release', 'clock', 'journal', 'workers']) await check(name, () => skipped('no coordinator is known'));
    await check('store', () => objectStore(storeUrl(context.env, flags)));
    return checks;
  }
  await check('connection', () => secrecy(connection));
  const operator = connect(connection);
  try {
    let status: GetStatusResponse | undefined;
    await check('coordinator', async () => {
      status = await operator.status(CALL_MS);
      return status.role === 'leader' || status.leaderAddress !== '' ? ok(`${operator.address} answers as ${status.role}${status.role === 'leader' ? '' : `; ${status.leaderAddress} leads`}`) : fail(`${operator.address} answers, and nobody leads`, 'Where that stays so for longer than half a minute, look into the coordinators\' logs and at the journal.');
    });
    const told = status;
    const needs = (body: (status: GetStatusResponse) => Found | Promise<Found>) => (): Found | Promise<Found> => (told === undefined ? skipped('the coordinator does not answer') : body(told));
    await check('release', needs(sameRelease));
    await check('clock', needs(() => clocks(operator)));
    await check('journal', needs(({ journal, notice, sequence }) => (notice === '' ? ok(`${journal}, ${plural(sequence, 'fact')}`) : warn(notice, 'docs/journal.md says what each journal needs; `alumnus reconcile --dry-run` what of runs it lacks.'))));
    const theirs = flags.store === undefined && flags.home === undefined ? told?.storeUrl : undefined;
    await check('store', () => objectStore(theirs ?? storeUrl(context.env, flags), theirs !== undefined));
    await check('workers', needs(async () => workersThere((await operator.workers()).workers)));
  } finally {
    operator.close();
  }
  return checks;
}

/** Releases of Node.js as package.json names them: each at least so new within its major number. */
async function nodeVersion(): Promise<Found> {
  const { engines } = JSON.parse(await readFile(`${packageFolder()}/package.json`, 'utf8')) as { engines: { node: string } };
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  const fits = engines.node.split('||').some((each) => {
    const [, wantedMajor = '', wantedMinor = '0'] = /\^(\d+)(?:\.(\d+))?/.exec(each) ?? [];
    return major === Number(wantedMajor) && minor >= Number(wantedMinor);
  });
  return fits ? ok(`Node.js ${process.versions.node}`) : fail(`Node.js ${process.versions.node}, and ${engines.node} is needed`, 'Install one of these.');
}

async function nativeLibrary(context: Context): Promise<Found> {
  let works = false;
  let threads = 0;
  try {
    await ask({
      program: 'worker', file: 'library', arguments: [], request: {}, signal: context.signal,
      onLine: (line) => {
        ({ works, threads } = line['library'] as { works: boolean; threads: number });
      },
    });
  } catch (thrown) {
    const error = toAlumnusError(thrown);
    if (error.code === 'CANCELLED') throw error;
    return warn(error.message, `${error.remedy} Only workers need it, and some exports.`);
  }
  return works ? ok(`loads and computes, ${plural(threads, 'thread')}`) : fail('it loads and computes wrongly', 'Install it again: `npm run setup`.');
}

async function openFiles(): Promise<Found> {
  const limits = await readFile('/proc/self/limits', 'utf8').catch(() => '');
  const [, soft = ''] = /^Max open files\s+(\S+)/m.exec(limits) ?? [];
  if (soft === '') return skipped('this system does not tell');
  return soft === 'unlimited' || Number(soft) >= FILES_LEAST ? ok(`${soft} at most`) : warn(`${soft} at most, and ${FILES_LEAST} are better for a coordinator of a fleet`, 'Raise the limit where coordinators and workers are started: `ulimit -n`, or LimitNOFILE of their unit.');
}

/** Where a folder is not there yet, the one that it will be made in. */
function nearest(folder: string): string {
  let there = folder;
  while (!existsSync(there) && dirname(there) !== there) there = dirname(there);
  return there;
}

async function writableFolder(home: string): Promise<Found> {
  const there = nearest(home);
  try {
    await access(there, constants.W_OK);
  } catch {
    return fail(`${there} cannot be written to`, 'Make it writable, or name another with --home or ALUMNUS_HOME.');
  }
  return ok(there === home ? home : `${home} is made when it is needed`);
}

async function diskSpace(home: string): Promise<Found> {
  const { bavail, bsize } = await statfs(nearest(home));
  const free = bavail * bsize;
  if (free < DISK_BYTES_NONE) return fail(`${bytes(free)} free for ${home}`, 'Free space, or name a home on another device (--home).');
  return free < DISK_BYTES_LEAST ? warn(`${bytes(free)} free for ${home}`, 'Labels, checkpoints and caches take some gigabytes: free space, or name a home on another device (--home).') : ok(`${bytes(free)} free`);
}

async function contexts({ env }: Context): Promise<Found> {
  const file = configFile(env);
  if (!existsSync(file)) return ok('none; `alumnus config set-context` makes one');
  const config = await loadConfig(file);
  const others = (await stat(file)).mode & 0o077;
  if (others !== 0 && Object.values(config.contexts).some(({ token }) => token !== undefined)) return warn(`${file} holds a token and others may read it`, `chmod 600 ${file}`);
  return ok(`${plural(Object.keys(config.contexts).length, 'context')}${config.currentContext === undefined ? '' : `, ${config.currentContext} is the current one`}`);
}

function secrecy({ address, context, tls, token }: Connection): Found {
  const from = context === undefined ? '' : ` (context ${context})`;
  const loopback = address.split(',').every((each) => /^(localhost|127\.|\[::1\])/.test(each));
  if (tls !== undefined) return ok(`${address}${from} over TLS${tls.cert === undefined ? '' : ' with a certificate of our own'}, ${token === undefined ? 'without a token' : 'with a token'}`);
  return loopback ? ok(`${address}${from}, this machine, without TLS`) : warn(`${address}${from} without TLS${token === undefined ? ' or token' : ': the token can be read on the way'}`, 'Give the coordinator a certificate, and name its authority with --tls-ca or in a context.');
}

function sameRelease({ version: theirs }: GetStatusResponse): Found {
  return theirs === version() ? ok(theirs) : warn(`the coordinator is ${theirs}, this is ${version()}`, 'Use the same release on both sides.');
}

/** No call tells the time by itself; the view of a run does. */
async function clocks(operator: Operator): Promise<Found> {
  const [run] = (await operator.runs()).runs;
  if (run === undefined) return skipped('the coordinator tells its time with a run, and there is none');
  const before = Date.now();
  const { nowMs } = await operator.run(run.runId);
  const after = Date.now();
  // It was asked between the two.
  const skewMs = nowMs < before ? before - nowMs : Math.max(0, nowMs - after);
  return skewMs > SKEW_MS_MOST ? warn(`the coordinator's clock is ${duration(skewMs)} ${nowMs < before ? 'behind' : 'ahead of'} this machine's`, 'Set both by NTP.') : ok('the coordinator\'s and this machine\'s agree');
}

/** @param isTheirs whether it is the coordinator's, which may be another machine's */
async function objectStore(url: string, isTheirs = false): Promise<Found> {
  const folder = url.startsWith('file:') ? fileURLToPath(url) : undefined;
  if (folder !== undefined && !existsSync(folder)) {
    return !isTheirs ? ok(`${folder} is made when it is needed`) : warn(`${folder} is not on this machine`, 'Commands that read the store (`dataset`, `explain`, `model`, reports) work where it is; a store for several machines is a bucket (docs/storage.md).');
  }
  const store = await openStore(url, { create: false });
  const content = randomBytes(16);
  const ref = await store.putAddressed('doctor', content);
  try {
    const back = await store.get(ref);
    return content.equals(back) ? ok(`${url}: an object was written, read and deleted`) : fail(`${url}: other bytes came back than were written`, 'Do not use this store.');
  } finally {
    await store.delete(ref.key);
  }
}

function workersThere(workers: readonly WorkerView[]): Found {
  const alive = workers.filter(({ state }) => state !== 'lost');
  const others = alive.filter((worker) => worker.version !== version());
  if (alive.length === 0) return warn(workers.length === 0 ? 'there is none' : `none is alive; ${plural(workers.length, 'worker')} lost`, 'Start one: `alumnus worker`.');
  if (others.length > 0) return warn(`${others.map(({ workerId, version: theirs }) => `${workerId} is of release ${theirs}`).slice(0, 5).join(', ')}`, 'Restart them on the coordinator\'s code.');
  return ok(`${plural(alive.length, 'worker')} alive${workers.length > alive.length ? `, ${workers.length - alive.length} lost` : ''}`);
}
