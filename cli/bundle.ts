/**
 * Everything that somebody who helps will ask for, in one archive, and no secret: what runs here, what the coordinator says, runs with their recipes, the last
 * lines of logs. Not for: images, labels, models or weights.
 * Invariant: every text goes through `redacted` on its way into the archive, with all secrets that this process knows.
 */
import { createWriteStream, existsSync } from 'node:fs';
import { open, readdir, rename, rm } from 'node:fs/promises';
import { release, totalmem } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { pack } from 'tar-stream';
import { stringify } from 'yaml';
import { toAlumnusError, type AlumnusError } from '../proto/errors.ts';
import { machineDocument, machineForm } from '../proto/machine.ts';
import { version } from '../proto/version.ts';
import { connect } from './client.ts';
import { configFile, loadConfig, redactedConfig } from './config.ts';
import type { Connection } from './connection.ts';
import type { Context } from './context.ts';
import { examine } from './doctor.ts';
import { homeFolder } from './home.ts';
import { isSecretName, redacted } from './redact.ts';

/** Of a log: what led to what somebody asks about. */
const LOG_BYTES_MAX = 1024 * 1024;
/** Variables of these families are told, but for secrets; of all others nothing. */
const TOLD_VARIABLES = /^(ALUMNUS_|TF_|CUDA_|NODE_|OMP_|NO_COLOR$|CI$)/;

export interface BundleWishes {
  readonly to: string;
  /** These runs alone; empty: the newest. */
  readonly runs: readonly string[];
  readonly newest: number;
  readonly home?: string;
  readonly store?: string;
}

export interface Bundled {
  readonly file: string;
  /** Of the archive. */
  readonly entries: readonly string[];
  /** What could not be had, and why. */
  readonly missing: readonly string[];
}

/** @param connection the error where none is known @throws AlumnusError STORE_FULL, STORE_UNWRITABLE; RUN_NOT_FOUND for a run that was asked for */
export async function writeBundle(context: Context, connection: Connection | AlumnusError, wishes: BundleWishes): Promise<Bundled> {
  const { secrets, config } = await knownSecrets(context, connection);
  const entries = new Map<string, string>();
  const missing: string[] = [];
  const add = (name: string, text: string): void => void entries.set(name, redacted(text, secrets));
  const addJson = (name: string, value: unknown): void => add(name, `${JSON.stringify(value, null, 2)}\n`);
  const attempt = async (what: string, body: () => Promise<void>): Promise<void> => {
    try {
      await body();
    } catch (thrown) {
      const error = toAlumnusError(thrown);
      // What was asked for by name must be there.
      if (error.code === 'RUN_NOT_FOUND' && wishes.runs.length > 0) throw error;
      missing.push(redacted(`${what}: ${error.message}`, secrets));
    }
  };
  const { env } = context;
  addJson('version.json', machineDocument('Version', { version: version(), node: process.version, platform: `${process.platform}-${process.arch}`, system: release(), memoryBytes: totalmem() }));
  addJson('environment.json', Object.fromEntries(Object.entries(env).filter(([name]) => TOLD_VARIABLES.test(name)).map(([name, value]) => [name, isSecretName(name) ? 'REDACTED' : value])));
  if (config !== undefined) add('config.yaml', stringify(config));
  const flags = { ...(wishes.home === undefined ? {} : { home: wishes.home }), ...(wishes.store === undefined ? {} : { store: wishes.store }) };
  await attempt('doctor', async () => addJson('doctor.json', { apiVersion: 'alumnus/v1', kind: 'CheckList', items: await examine(context, flags, connection) }));
  if ('code' in connection) missing.push(`coordinator: ${connection.message}`);
  else {
    const operator = connect(connection);
    try {
      await attempt('status', async () => addJson('status.json', machineDocument('Status', { address: operator.address, ...(await operator.status()) })));
      await attempt('workers', async () => addJson('workers.json', machineForm((await operator.workers()).workers)));
      let runIds = wishes.runs;
      await attempt('runs', async () => {
        const { runs } = await operator.runs();
        addJson('runs.json', machineForm(runs));
        if (runIds.length === 0) runIds = [...runs].sort((a, b) => b.submittedAtMs - a.submittedAtMs).slice(0, wishes.newest).map(({ runId }) => runId);
      });
      for (const runId of runIds) {
        await attempt(`run ${runId}`, async () => {
          const view = await operator.run(runId);
          addJson(`runs/${fileName(runId)}/run.json`, machineDocument('Run', view));
          add(`runs/${fileName(runId)}/recipe.yaml`, stringify(JSON.parse(view.recipeJson)));
        });
      }
    } finally {
      operator.close();
    }
  }
  await attempt('logs', async () => {
    const folder = join(homeFolder(env, wishes.home), 'logs');
    if (!existsSync(folder)) return void missing.push('logs: processes of `alumnus coordinator` and `alumnus worker` write theirs to their own standard error; none is kept in the home folder');
    for (const name of (await readdir(folder)).filter((each) => each.endsWith('.log')).sort()) add(`logs/${fileName(name)}`, await tail(join(folder, name)));
  });
  if (missing.length > 0) add('missing.txt', `${missing.join('\n')}\n`);
  await archive(wishes.to, entries);
  return { file: wishes.to, entries: [...entries.keys()], missing };
}

/** Run ids hold no separators; a coordinator of another release may know other rules. */
const fileName = (name: string): string => name.replace(/[^A-Za-z0-9._-]/g, '_');

/** Every secret that this process was given, by variables, by contexts and by the connection. */
async function knownSecrets({ env }: Context, connection: Connection | AlumnusError): Promise<{ secrets: string[]; config: object | undefined }> {
  const secrets = Object.entries(env).flatMap(([name, value]) => (isSecretName(name) && value ? [value] : []));
  if (!('code' in connection)) secrets.push(...[connection.token, connection.tls?.key?.toString('utf8')].filter((each) => each !== undefined));
  // A password of a URL is one wherever it stands.
  for (const value of Object.values(env)) for (const [, password = ''] of (value ?? '').matchAll(/:\/\/[^\s/@:]+:([^\s/@]+)@/g)) secrets.push(password);
  const config = await loadConfig(configFile(env)).catch(() => undefined);
  for (const { token } of Object.values(config?.contexts ?? {})) if (token !== undefined) secrets.push(token);
  return { secrets, config: config === undefined ? undefined : redactedConfig(config) };
}

async function tail(file: string): Promise<string> {
  const handle = await open(file, 'r');
  try {
    const { size } = await handle.stat();
    const length = Math.min(size, LOG_BYTES_MAX);
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(length), 0, length, size - length);
    const text = buffer.subarray(0, bytesRead).toString('utf8');
    // The first line may be half of one.
    return size > length ? text.slice(text.indexOf('\n') + 1) : text;
  } finally {
    await handle.close();
  }
}

async function archive(to: string, entries: ReadonlyMap<string, string>): Promise<void> {
  const draft = `${to}.${process.pid}.part`;
  const tar = pack();
  for (const [name, text] of entries) tar.entry({ name: `alumnus-bundle/${name}`, mode: 0o600 }, text);
  tar.finalize();
  try {
    await pipeline(tar, createGzip(), createWriteStream(draft, { mode: 0o600 }));
    await rename(draft, to);
  } catch (thrown) {
    await rm(draft, { force: true });
    throw toAlumnusError(thrown, to);
  }
}
