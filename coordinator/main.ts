/**
 * The coordinator's process: opens the journal and the object store of its home, leads, and serves until it is told to
 * stop or can't lead any more. When it is ready it prints one line of JSON on stdout; everything else goes to stderr.
 */
import { mkdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { AlumnusError, errorTable, toAlumnusError } from '../proto/errors.ts';
import { openStore } from '../store/index.ts';
import { serve } from './api/index.ts';
import { openEmbedded } from './journal/index.ts';
import { Leader } from './leader.ts';

const VERSION = '0.1.0';
/** Long enough that a worker's pause for garbage or a slow disk doesn't cost its work, short enough that a dead one doesn't hold a stage up. */
const LEASE_MS_DEFAULT = 10_000;
const LEASE_MS_MIN = 200;
/** Leases are looked at this many times in their length. */
const TICKS_PER_LEASE = 5;

const log = (line: string): void => void process.stderr.write(`${new Date().toISOString()} coordinator ${line}\n`);

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { listen: { type: 'string', default: '127.0.0.1:7700' }, home: { type: 'string' }, 'lease-ms': { type: 'string', default: String(LEASE_MS_DEFAULT) } } });
  if (values.home === undefined) throw new AlumnusError('USAGE', 'say where the journal and the objects lie', { where: '--home' });
  const leaseMs = Number(values['lease-ms']);
  if (!Number.isInteger(leaseMs) || leaseMs < LEASE_MS_MIN) throw new AlumnusError('USAGE', `must be a whole number of milliseconds, at least ${LEASE_MS_MIN}`, { where: '--lease-ms' });
  if (!/^.+:\d+$/.test(values.listen)) throw new AlumnusError('USAGE', 'must be host:port', { where: '--listen' });
  const home = resolve(values.home);
  await mkdir(home, { recursive: true }).catch((thrown: unknown) => {
    throw toAlumnusError(thrown, home);
  });
  const storeUrl = pathToFileURL(join(home, 'store')).href;
  const journal = await openEmbedded(join(home, 'journal'));
  const term = await journal.begin();
  const store = await openStore(storeUrl);
  // Wall time at the start, then the monotonic clock: a step of the system's clock must not end every lease at once.
  const originMs = Date.now() - performance.now();
  const leader = await Leader.start({ journal, term, leaseMs, now: () => Math.round(originMs + performance.now()) });
  const server = await serve({ leader, store, storeUrl, listen: values.listen, version: VERSION });

  let stopping = false;
  const stop = async (code: number, why: string): Promise<void> => {
    if (stopping) return;
    stopping = true;
    log(why);
    clearInterval(ticker);
    await server.close();
    await journal.close();
    process.exit(code);
  };
  const ticker = setInterval(() => {
    leader.tick().catch((thrown: unknown) => log(toAlumnusError(thrown).sentence));
  }, leaseMs / TICKS_PER_LEASE);
  leader.onFailure((error) => void stop(errorTable[error.code].exit, error.sentence));
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => void stop(0, `stops on ${signal}`));
  log(`leads term ${term} at ${server.address}, journal at ${journal.lastSequence}`);
  process.stdout.write(`${JSON.stringify({ ready: true, address: server.address, term, storeUrl })}\n`);
}

main().catch((thrown: unknown) => {
  const error = toAlumnusError(thrown);
  process.stderr.write(`${error.code === 'INTERNAL' ? (error.cause instanceof Error ? error.cause.stack : error.stack) : error.sentence}\n`);
  process.exit(errorTable[error.code].exit);
});
