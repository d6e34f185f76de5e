/** The worker's process: a lease loop and an engine. Started with `alumnus worker`; stops on SIGTERM or SIGINT after handing back what it holds. */
import { randomBytes } from 'node:crypto';
import { availableParallelism, hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { checkedToken, type ClientAccess } from '../proto/credentials.ts';
import { AlumnusError, errorTable, toAlumnusError } from '../proto/errors.ts';
import { version } from '../proto/version.ts';
import { openStore } from '../store/index.ts';
import { openLog, openTraces, serveMetrics, type Log } from '../telemetry/index.ts';
import { EngineProcess, SILENT_MS_MAX } from './engine/index.ts';
import { LeaseLoop } from './lease-loop/index.ts';
import { WorkerMetrics } from './metrics.ts';
import { attemptSpan } from './spans.ts';

const THREADS_MAX = 512;
/** A day: who wants an engine never to be ended can't tell a hanging one from a busy one. */
const ENGINE_TIMEOUT_SECONDS_MAX = 86_400;

/** As the coordinator does at its start. A folder that is missing here is another machine's, and is not made. */
const tryStore = async (storeUrl: string): Promise<void> => void await openStore(storeUrl, { create: false });

/** As the command line's: a flag, else the environment. @throws AlumnusError USAGE */
function accessOf(values: { tls?: boolean | undefined; 'tls-ca'?: string | undefined; 'token-file'?: string | undefined; 'insecure-token'?: boolean | undefined }, env: NodeJS.ProcessEnv): ClientAccess {
  const read = (file: string, flag: string): Buffer => {
    try {
      return readFileSync(file);
    } catch (thrown) {
      throw new AlumnusError('USAGE', `${file} cannot be read`, { where: flag, cause: thrown });
    }
  };
  const ca = values['tls-ca'] ?? (env.ALUMNUS_TLS_CA === '' ? undefined : env.ALUMNUS_TLS_CA);
  const { 'token-file': file } = values;
  const token = file !== undefined ? checkedToken(read(file, '--token-file').toString('utf8'), file) : env.ALUMNUS_TOKEN === undefined || env.ALUMNUS_TOKEN === '' ? undefined : checkedToken(env.ALUMNUS_TOKEN, 'ALUMNUS_TOKEN');
  return {
    ...(ca !== undefined ? { tls: { ca: read(ca, '--tls-ca') } } : values.tls === true ? { tls: {} } : {}),
    ...(token === undefined ? {} : { token }), insecureToken: values['insecure-token'] === true,
  };
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      coordinator: { type: 'string', default: '127.0.0.1:7700' }, id: { type: 'string' }, threads: { type: 'string' }, cache: { type: 'string' }, 'engine-timeout': { type: 'string' },
      metrics: { type: 'string' }, tls: { type: 'boolean' }, 'tls-ca': { type: 'string' }, 'token-file': { type: 'string' }, 'insecure-token': { type: 'boolean' }, 'log-format': { type: 'string' }, 'log-level': { type: 'string' },
    },
  });
  const workerId = values.id ?? `${hostname()}-${randomBytes(3).toString('hex')}`;
  const threads = Number(values.threads ?? availableParallelism());
  if (!Number.isInteger(threads) || threads < 1 || threads > THREADS_MAX) throw new AlumnusError('USAGE', `must be a whole number from 1 to ${THREADS_MAX}`, { where: '--threads' });
  const engineTimeout = Number(values['engine-timeout'] ?? SILENT_MS_MAX / 1000);
  if (!Number.isInteger(engineTimeout) || engineTimeout < 1 || engineTimeout > ENGINE_TIMEOUT_SECONDS_MAX) throw new AlumnusError('USAGE', `must be a whole number of seconds from 1 to ${ENGINE_TIMEOUT_SECONDS_MAX}`, { where: '--engine-timeout' });
  const written = openLog({ program: 'worker', worker: workerId, format: values['log-format'], level: values['log-level'], env: process.env });
  const started: { loop?: LeaseLoop } = {};
  const log: Log = (line, about) => {
    written(line, about);
    started.loop?.keep(line, about);
  };
  const traces = await openTraces({ service: 'alumnus-worker', version: version(), env: process.env, log });
  const metrics = values.metrics === undefined ? undefined : new WorkerMetrics(() => started.loop);
  const measured = metrics === undefined || values.metrics === undefined ? undefined : await serveMetrics(metrics.registry, values.metrics);
  if (measured !== undefined) log(`metrics at http://${measured.address}/metrics`);
  const engine = new EngineProcess({
    threads, workerId, cacheFolder: values.cache ?? join(tmpdir(), 'alumnus-shards'), silentMsMax: engineTimeout * 1000, log,
    ...(metrics === undefined ? {} : { onMeasured: (each) => metrics.measured(each), onEnd: (why) => metrics.engineEnded(why) }),
  });
  engine.start();
  const loop = new LeaseLoop({
    access: accessOf(values, process.env),
    address: values.coordinator, workerId, device: `cpu x ${threads} threads`, version: version(), engine, log, tryStore,
    onEnded: (attempt) => {
      metrics?.ended(attempt.task.spec?.$case ?? 'none', attempt.outcome);
      traces?.ended(attemptSpan(attempt, workerId));
    },
  });
  started.loop = loop;
  let stopping = false;
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => {
      if (stopping) return;
      stopping = true;
      log(`stops on ${signal}`);
      void loop.stop().then(() => traces?.close()).finally(() => {
        engine.stop();
        process.exit(0);
      });
    });
  }
  try {
    await loop.run();
  } finally {
    engine.stop();
    await traces?.close();
    await measured?.close();
  }
}

main().catch((thrown: unknown) => {
  const error = toAlumnusError(thrown);
  process.stderr.write(`${error.code === 'INTERNAL' ? error.stack : error.sentence}\n`);
  process.exit(errorTable[error.code].exit);
});
