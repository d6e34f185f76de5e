/**
 * Real servers for tests, on loopback: NATS (one, or a cluster), MinIO and Versity's S3 gateway. `npm run servers` builds them.
 * Each is a process that a test can kill, restart and stop.
 *
 * Invariants:
 *  1. Only processes that were started here are signalled, by id; they end with the process that runs the test.
 *  2. A started server is ready: it has answered as its clients need it. A restart takes the same ports and folder.
 *  3. Nothing of them leaves the machine, and nothing listens elsewhere than on loopback or on a host of the test's own (hosts.ts).
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe } from 'vitest';
import { cacheFolder } from '../../deploy/setup/platform.mjs';
import { serverPath, serverReady, type ServerName } from '../../deploy/setup/servers.mjs';
import { onHost, type Host } from './hosts.ts';

/** On a busy machine MinIO takes some seconds; beyond this it will never be ready. */
const READY_MS_MAX = 60_000;
const READY_POLL_MS = 50;
/** After it a server that was asked to stop is killed. */
const STOP_MS = 10_000;
const LOG_TAIL_LINES = 25;
/** Below the ports that systems give to outgoing connections (from 32768 on): between two starts nobody is given ours. */
const PORT_LEAST = 20_000;
const PORT_MOST = 32_000;
const PORT_TRIES_MAX = 100;

const ports = new Set<number>();

/** Free ports of loopback, none of them given out twice by this process. */
export async function freePorts(count: number): Promise<number[]> {
  const found: number[] = [];
  for (let tries = 0; found.length < count; tries += 1) {
    if (tries > PORT_TRIES_MAX + count) throw new Error('this machine has no free ports');
    const port = PORT_LEAST + Math.floor(Math.random() * (PORT_MOST - PORT_LEAST));
    if (ports.has(port) || !await isFree(port)) continue;
    ports.add(port);
    found.push(port);
  }
  return found;
}

export async function freePort(): Promise<number> {
  const [port] = await freePorts(1);
  if (port === undefined) throw new Error('this machine has no free ports');
  return port;
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}

/** Why tests on these servers are left out on this machine; undefined where they run. @throws under CI=true, where nothing is left out */
export function whyLeftOut(...names: readonly ServerName[]): string | undefined {
  const missing = names.filter((name) => !serverReady(cacheFolder(process.env), name));
  if (missing.length === 0) return undefined;
  const reason = `${missing.join(' and ')} not built: install Go and run \`npm run servers\``;
  if (process.env.CI === 'true') throw new Error(reason);
  return reason;
}

/** Tests on real servers; a machine that has none of them prints the reason and shows the tests as skipped. */
export function describeOnServers(names: readonly ServerName[], title: string, body: () => void): void {
  const reason = whyLeftOut(...names);
  if (reason !== undefined) process.stderr.write(`left out: ${title}: ${reason}\n`);
  describe.skipIf(reason !== undefined)(reason === undefined ? title : `${title} (left out: ${reason})`, body);
}

const living = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of living) child.kill('SIGKILL');
});

export interface ServerOptions {
  readonly name: string;
  readonly program: ServerName;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Where it runs; default here. */
  readonly host?: Host | undefined;
  /** What it says is added to this file. */
  readonly logFile: string;
  /** Whether it serves its clients now. */
  readonly isReady: () => Promise<boolean>;
}

/** One server process. Its folder and ports stay the same from start to start. */
export class Server {
  readonly name: string;
  readonly #options: ServerOptions;
  #child: ChildProcess | undefined;
  #ended: Promise<void> = Promise.resolve();

  private constructor(options: ServerOptions) {
    this.name = options.name;
    this.#options = options;
  }

  static async start(options: ServerOptions): Promise<Server> {
    const server = new Server(options);
    await server.launch();
    await server.ready();
    return server;
  }

  /** Of several that are ready only together (a cluster): launch all, then await each one's `ready`. */
  static unstarted(options: ServerOptions): Server {
    return new Server(options);
  }

  get alive(): boolean {
    return this.#child !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  get pid(): number | undefined {
    return this.alive ? this.#child?.pid : undefined;
  }

  /** Starts the process and does not wait until it serves. */
  launch(): Promise<void> {
    if (this.alive) throw new Error(`${this.name} runs already`);
    const { program, args, env, logFile, host } = this.#options;
    const log = openSync(logFile, 'a');
    const child = spawn(...onHost(host, serverPath(cacheFolder(process.env), program), args), { stdio: ['ignore', log, log], env: { PATH: process.env.PATH, HOME: join(logFile, '..'), ...env } });
    closeSync(log);
    this.#child = child;
    living.add(child);
    this.#ended = new Promise((resolve) => {
      const end = (): void => {
        living.delete(child);
        resolve();
      };
      child.once('exit', end).once('error', end);
    });
    return new Promise((resolve, reject) => {
      child.once('spawn', resolve).once('error', reject);
    });
  }

  /** @throws when it ends, or does not serve in time */
  async ready(): Promise<void> {
    const deadlineMs = Date.now() + READY_MS_MAX;
    while (!await this.#options.isReady().catch(() => false)) {
      if (!this.alive) throw new Error(`${this.name} ended before it was ready:\n${this.log()}`);
      if (Date.now() > deadlineMs) throw new Error(`${this.name} is not ready after ${READY_MS_MAX} ms:\n${this.log()}`);
      await sleep(READY_POLL_MS);
    }
  }

  /** At once, as a power cut of the process (the kernel keeps what was written). Resolves when it is gone. */
  async kill(): Promise<void> {
    if (this.alive) this.#child?.kill('SIGKILL');
    await this.#ended;
  }

  /** Stands still without closing anything, until `resume`. */
  pause(): void {
    if (this.alive) this.#child?.kill('SIGSTOP');
  }

  resume(): void {
    if (this.alive) this.#child?.kill('SIGCONT');
  }

  /** Ends it if it still runs, and starts it again on the same ports and folder. */
  async restart(): Promise<void> {
    await this.kill();
    await this.launch();
    await this.ready();
  }

  /** Asks it to end, and insists after a while. Resolves when it is gone. */
  async stop(): Promise<void> {
    if (!this.alive) return this.#ended;
    this.resume();
    this.#child?.kill('SIGTERM');
    const insist = setTimeout(() => this.#child?.kill('SIGKILL'), STOP_MS);
    await this.#ended;
    clearTimeout(insist);
  }

  log(lines = LOG_TAIL_LINES): string {
    return readFileSync(this.#options.logFile, 'utf8').split('\n').slice(-lines).join('\n');
  }
}

export const answersOk = async (url: string): Promise<boolean> => (await fetch(url, { signal: AbortSignal.timeout(1_000) })).ok;

/** NATS with JetStream that flushes every write before it acknowledges it; one server, or a cluster of three. */
export class Nats {
  /** For clients, one each: `nats://127.0.0.1:4222`. */
  readonly urls: readonly string[];
  readonly servers: readonly Server[];

  private constructor(urls: readonly string[], servers: readonly Server[]) {
    this.urls = urls;
    this.servers = servers;
  }

  /**
   * @param folder holds configuration, logs and the store of each; kept by `stop`
   * @param options `clientPorts`: where clients connect, default free ones. `extra`: further lines of configuration. `hosts`: one for each; default loopback
   */
  static async start(folder: string, options: { servers?: 1 | 3; clientPorts?: readonly number[]; extra?: string; hosts?: readonly Host[] } = {}): Promise<Nats> {
    const count = options.servers ?? 1;
    const clientPorts = options.clientPorts ?? await freePorts(count);
    const monitorPorts = await freePorts(count);
    const routePorts = await freePorts(count);
    const addresses = Array.from({ length: count }, (_, at) => options.hosts?.[at]?.address ?? '127.0.0.1');
    const servers: Server[] = [];
    for (let at = 0; at < count; at += 1) {
      const name = `nats-${at}`;
      const own = join(folder, name);
      await mkdir(own, { recursive: true });
      const cluster = count === 1 ? '' : `
cluster {
  name: test
  listen: "${addresses[at]}:${routePorts[at]}"
  no_advertise: true
  routes: [${routePorts.map((port, other) => `"nats://${addresses[other]}:${port}"`).join(', ')}]
}`;
      await writeFile(join(own, 'nats.conf'), `
server_name: ${name}
listen: "${addresses[at]}:${clientPorts[at]}"
http: "${addresses[at]}:${monitorPorts[at]}"
jetstream {
  store_dir: ${JSON.stringify(join(own, 'store'))}
  sync_interval: always
  max_memory_store: 64MB
  max_file_store: 4GB
}${cluster}
${options.extra ?? ''}
`);
      servers.push(Server.unstarted({
        name, program: 'nats-server', args: ['--config', join(own, 'nats.conf')], logFile: join(own, 'log'), host: options.hosts?.[at],
        // Healthy means that JetStream serves and, in a cluster, that its leader is elected and this server is up with it.
        isReady: () => answersOk(`http://${addresses[at]}:${monitorPorts[at]}/healthz`),
      }));
    }
    const nats = new Nats(clientPorts.map((port, at) => `nats://${addresses[at]}:${port}`), servers);
    try {
      await Promise.all(servers.map((server) => server.launch()));
      await Promise.all(servers.map((server) => server.ready()));
    } catch (thrown) {
      await nats.kill();
      throw thrown;
    }
    return nats;
  }

  /** All of it at once. */
  async kill(): Promise<void> {
    await Promise.all(this.servers.map((server) => server.kill()));
  }

  async restart(): Promise<void> {
    await this.kill();
    await Promise.all(this.servers.map((server) => server.launch()));
    await Promise.all(this.servers.map((server) => server.ready()));
  }

  async stop(): Promise<void> {
    await Promise.all(this.servers.map((server) => server.stop()));
  }
}
