/**
 * The coordinator's process: opens its journal and object store, serves, and leads or stands by until it is told to stop
 * or nothing can help. When it is ready it prints one line of JSON on stdout; everything else goes to stderr.
 */
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { isWildcard } from '../proto/call.ts';
import { AlumnusError, errorTable, toAlumnusError } from '../proto/errors.ts';
import { version } from '../proto/version.ts';
import { openStore, type ObjectStore } from '../store/index.ts';
import { openLog, openTraces, serveMetrics, type About, type Log } from '../telemetry/index.ts';
import { openAccess, openAccessFile } from './access.ts';
import { onDefect, serve } from './api/index.ts';
import { systemClock } from './clock.ts';
import { openEmbedded, openFacts, openJetStream, type FactSink, type Journal } from './journal/index.ts';
import type { Leader } from './leader.ts';
import { CoordinatorMetrics } from './metrics.ts';
import { embeddedEntry, openEntry, type LeaderEntry } from './leadership/index.ts';
import { connectNats } from './nats.ts';
import { Node, type Leading } from './node.ts';
import { servePage, type PageOptions, type PageServer } from './page/index.ts';
import { RunSpans } from './spans.ts';
import { Webhooks } from './webhooks.ts';

/** Long enough that a worker's pause for garbage or a slow disk doesn't cost its work, short enough that a dead one doesn't hold a stage up. */
const LEASE_MS_DEFAULT = 10_000;
const LEASE_MS_MIN = 200;
/** From the services' port to the page's: coordinators on one machine have neighboring ports. */
const PAGE_PORT_AWAY = 100;
const PORT_MAX = 65_535;

interface Engines {
  readonly journal: Journal;
  readonly entry: LeaderEntry;
  readonly facts?: FactSink;
  readonly store: ObjectStore;
  readonly storeUrl: string;
}

/** What is not named by a URL lies in the home folder. */
async function openEngines(values: { home?: string | undefined; store?: string | undefined; journal?: string | undefined }, log: Log): Promise<Engines> {
  const home = values.home === undefined ? undefined : resolve(values.home);
  if (home === undefined && (values.store === undefined || values.journal === undefined)) {
    throw new AlumnusError('USAGE', 'say where the journal and the objects lie: --home FOLDER, or --journal and --store with the URLs of NATS and of a bucket', { where: '--home' });
  }
  if (home !== undefined) {
    await mkdir(home, { recursive: true }).catch((thrown: unknown) => {
      throw toAlumnusError(thrown, home);
    });
  }
  const storeUrl = values.store ?? pathToFileURL(join(home ?? '', 'store')).href;
  const store = await openStore(storeUrl);
  if (values.journal === undefined) return { journal: await openEmbedded(join(home ?? '', 'journal')), entry: embeddedEntry(), store, storeUrl };
  const nats = await connectNats(values.journal, { log });
  return { journal: await openJetStream(nats), entry: await openEntry(nats), facts: await openFacts(nats, { log }), store, storeUrl };
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      listen: { type: 'string', default: '127.0.0.1:7700' }, page: { type: 'string' }, 'no-page': { type: 'boolean', default: false }, metrics: { type: 'string' }, advertise: { type: 'string' }, home: { type: 'string' },
      store: { type: 'string' }, journal: { type: 'string' }, 'lease-ms': { type: 'string', default: String(LEASE_MS_DEFAULT) }, 'snapshot-facts': { type: 'string' }, access: { type: 'string' }, 'tls-cert': { type: 'string' }, 'tls-key': { type: 'string' }, 'tls-client-ca': { type: 'string' }, 'log-format': { type: 'string' }, 'log-level': { type: 'string' },
    },
  });
  const leaseMs = wholeNumber('--lease-ms', values['lease-ms'], LEASE_MS_MIN);
  const snapshotEvents = values['snapshot-facts'] === undefined ? undefined : wholeNumber('--snapshot-facts', values['snapshot-facts'], 1);
  for (const flag of ['listen', 'advertise', 'metrics', 'page'] as const) if (values[flag] !== undefined && !/^.+:\d+$/.test(values[flag])) throw new AlumnusError('USAGE', 'must be host:port', { where: `--${flag}` });
  const log = openLog({ program: 'coordinator', format: values['log-format'], level: values['log-level'], env: process.env });
  onDefect((error) => log(error.message, { code: 'INTERNAL', stack: (error.cause instanceof Error ? error.cause : error).stack, level: 'error' }));
  const traces = await openTraces({ service: 'alumnus-coordinator', version: version(), env: process.env, log });
  const spans = traces === undefined ? undefined : new RunSpans(traces);
  const tls = tlsOf(values);
  const access = values.access === undefined ? undefined : openAccessFile(values.access, process.env, log);
  if (access === undefined && !isLoopback(values.listen)) log(`whoever reaches ${values.listen} can operate this coordinator: --access FILE says who may do what, and --tls-cert and --tls-key keep tokens from the network`, { level: 'warn' });
  const webhooks = access === undefined ? undefined : new Webhooks({ access, log });
  const metrics = values.metrics === undefined ? undefined : new CoordinatorMetrics();
  const { entry, facts, storeUrl, ...engines } = await openEngines(values, log);
  const [journal, store] = metrics === undefined ? [engines.journal, engines.store] : [metrics.journal(engines.journal), metrics.store(engines.store)];

  const started: { node?: Node } = {};
  // Calls that arrive before the node is made are sent away as by any standby.
  const leading: Leading = { leader: () => (started.node ?? notYet()).leader(), get leaderAddress() { return started.node?.leaderAddress ?? ''; }, get trouble() { return started.node?.trouble ?? ''; }, journal };
  const server = await serve({ leading, store, storeUrl, listen: values.listen, version: version(), traces, tls, ...(access === undefined ? {} : { access }) });
  const address = values.advertise ?? server.address;
  if (isWildcard(address)) log(`workers and operators are sent to ${address}, which names no machine: say with --advertise HOST:PORT where they reach this coordinator`);

  const page = values['no-page'] ? undefined : await openPage(values.page, server.address, values.listen, {
    leading, storeUrl, version: version(), access: access ?? openAccess, names: [address, values.page ?? values.listen].map(hostOf), folder: join(import.meta.dirname, '../page'),
  });
  const measured = metrics === undefined || values.metrics === undefined ? undefined : await serveMetrics(metrics.registry, values.metrics);

  let stopping = false;
  const stop = async (code: number, why: string, about: About = {}): Promise<void> => {
    if (stopping) return;
    stopping = true;
    log(why, about);
    await started.node?.stop();
    await server.close();
    await page?.close();
    await measured?.close();
    await facts?.close();
    await traces?.close();
    webhooks?.close();
    access?.close();
    await journal.close();
    process.exit(code);
  };
  let led: (leader: Leader) => void = () => undefined;
  const firstLeader = new Promise<Leader>((resolve) => {
    led = resolve;
  });
  const node = new Node({
    journal, entry, store, leaseMs, log, holder: { id: randomUUID(), address }, clock: systemClock(), random: Math.random,
    onLead: (leader) => {
      led(leader);
      server.leads(true);
      metrics?.leads(leader);
      spans?.leads(leader.runs());
      leader.onFailure(() => server.leads(false));
      leader.lookForRuns().catch((thrown: unknown) => log(toAlumnusError(thrown).sentence));
    },
    // The node has ended by itself: it is not waited for.
    onFatal: (error) => void stop(errorTable[error.code].exit, error.sentence, { code: error.code, level: 'fatal' }),
    observe: (observation, nowMs) => {
      metrics?.observe(observation, nowMs);
      spans?.observe(observation);
      if (observation.kind === 'journalled' && !observation.restored) for (const event of observation.events) webhooks?.tell(event, observation.project);
    },
    ...(access === undefined ? {} : { access }), ...(facts === undefined ? {} : { facts }), ...(snapshotEvents === undefined ? {} : { snapshotEvents }),
  });
  started.node = node;
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => void stop(0, `stops on ${signal}`));
  node.start();
  // With a journal of its own it leads in a moment, and is ready when it does; among others it is ready as a standby.
  const term = entry.ttlMs === Infinity ? (await firstLeader).term : 0;
  log(`answers at ${server.address}, journal ${journal.description}, objects ${storeUrl}${measured === undefined ? '' : `, metrics at http://${measured.address}/metrics`}${page === undefined ? '' : `, the page at ${page.url}`}`);
  process.stdout.write(`${JSON.stringify({ ready: true, address, term, storeUrl, ...(measured === undefined ? {} : { metrics: measured.address }), ...(page === undefined ? {} : { page: page.url }) })}\n`);
}

const hostOf = (address: string): string => address.slice(0, address.lastIndexOf(':'));

/** Where nobody says where the page is to be, it must not keep a coordinator from starting: then any port that is free will do. */
async function openPage(wanted: string | undefined, address: string, listen: string, options: Omit<PageOptions, 'listen'>): Promise<PageServer> {
  if (wanted !== undefined) return servePage({ ...options, listen: wanted });
  const port = Number(address.slice(address.lastIndexOf(':') + 1)) + PAGE_PORT_AWAY;
  const anyFree = `${hostOf(address)}:0`;
  if (listen.endsWith(':0') || port > PORT_MAX) return servePage({ ...options, listen: anyFree });
  try {
    return await servePage({ ...options, listen: `${hostOf(address)}:${port}` });
  } catch (thrown) {
    if (toAlumnusError(thrown).code !== 'PORT_IN_USE') throw thrown;
    return servePage({ ...options, listen: anyFree });
  }
}

/** @throws AlumnusError USAGE */
function tlsOf(values: { 'tls-cert'?: string | undefined; 'tls-key'?: string | undefined; 'tls-client-ca'?: string | undefined }): { cert: Buffer; key: Buffer; clientCa?: Buffer } | undefined {
  const { 'tls-cert': cert, 'tls-key': key, 'tls-client-ca': clientCa } = values;
  if (cert === undefined && key === undefined && clientCa === undefined) return undefined;
  if (cert === undefined || key === undefined) throw new AlumnusError('USAGE', 'TLS takes both, --tls-cert FILE and --tls-key FILE', { where: cert === undefined ? '--tls-cert' : '--tls-key' });
  const read = (file: string, flag: string): Buffer => {
    try {
      return readFileSync(file);
    } catch (thrown) {
      throw new AlumnusError('USAGE', `${file} cannot be read`, { where: flag, cause: thrown });
    }
  };
  return { cert: read(cert, '--tls-cert'), key: read(key, '--tls-key'), ...(clientCa === undefined ? {} : { clientCa: read(clientCa, '--tls-client-ca') }) };
}

const isLoopback = (listen: string): boolean => /^(127\.|localhost:|\[::1\])/.test(listen);

function notYet(): never {
  throw new AlumnusError('NOT_LEADER', 'this coordinator is starting', { where: '' });
}

function wholeNumber(where: string, text: string, least: number): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < least) throw new AlumnusError('USAGE', `must be a whole number, at least ${least}`, { where });
  return value;
}

main().catch((thrown: unknown) => {
  const error = toAlumnusError(thrown);
  process.stderr.write(`${error.code === 'INTERNAL' ? (error.cause instanceof Error ? error.cause.stack : error.stack) : error.sentence}\n`);
  process.exit(errorTable[error.code].exit);
});
