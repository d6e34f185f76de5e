/**
 * Coordinators and workers on the engines that a cluster has: NATS (one server or three) and MinIO, all real processes, on
 * loopback or on hosts of their own (hosts.ts). Not for: the embedded pair (cluster.ts).
 *
 * Invariants: as those of cluster.ts, and
 *  1. A coordinator that is started again is another process at the same address.
 *  2. `begin` starts from an empty journal and an empty part of the bucket, on engines that stay.
 */
import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openJetStream } from '../../coordinator/journal/index.ts';
import { connectNats } from '../../coordinator/nats.ts';
import { connect, type Operator } from '../../cli/client.ts';
import type { Event } from '../../proto/gen/alumnus/v1/events.ts';
import type { RunView } from '../../proto/gen/alumnus/v1/operator.ts';
import { AlumnusError } from '../../proto/errors.ts';
import { openStore, type ObjectStore } from '../../store/index.ts';
import { Child } from './child.ts';
import { Disk } from './disk.ts';
import { Hosts, OPERATOR, type Host } from './hosts.ts';
import { logText, pause, tailsOf, waitForRun, workerFlags } from './processes.ts';
import { Proxy } from './proxy.ts';
import { KEYS, S3Server } from './s3.ts';
import { freePorts, Nats } from './servers.ts';

/** Long against a pause of a busy machine and against a failover, in which no lease may end. */
const LEASE_MS = 5_000;
const POLL_MS = 50;
const RUN_MS_MAX = 600_000;
/** Some runs of the small recipe fit, and little memory is taken when one is filled. */
const STORE_MEBIBYTES = 96;
const JOURNAL_MEBIBYTES = 32;
const SERVERS = [1, 2, 3] as const;

export interface Coordinator {
  readonly name: string;
  readonly address: string;
  child: Child;
}

export interface Worker {
  readonly name: string;
  child: Child;
}

export interface RealClusterOptions {
  readonly replicas?: 1 | 3;
  readonly coordinators?: number;
  /** Each process of the cluster on a host of its own, and the data of MinIO and of the first NATS server on small disks; takes `whyNoHosts() === undefined`. */
  readonly onHosts?: { readonly workers: readonly string[] };
  readonly leaseMs?: number;
  readonly snapshotFacts?: number;
}

export interface BeginOptions {
  /** Of the journal, and of the part of the bucket. */
  readonly name?: string;
  /** Whether the way to the bucket and each coordinator's way to the journal go through proxies. */
  readonly relayed?: boolean;
}

export class RealCluster {
  readonly folder: string;
  readonly nats: Nats;
  readonly minio: S3Server;
  readonly hosts: Hosts | undefined;
  readonly disks: { readonly store: Disk; readonly journal: Disk } | undefined;
  readonly coordinators: Coordinator[] = [];
  readonly workers = new Map<string, Worker>();
  readonly operator: Operator;
  /** Of the bucket, and of each coordinator's servers by its name; empty where nothing is relayed. */
  relays: { readonly store: Proxy; readonly journals: ReadonlyMap<string, readonly Proxy[]> } | undefined;
  name = 'test';
  readonly #options: RealClusterOptions;
  readonly #addresses: readonly string[];

  private constructor(folder: string, engines: Pick<RealCluster, 'nats' | 'minio' | 'hosts' | 'disks'>, options: RealClusterOptions, addresses: readonly string[]) {
    this.folder = folder;
    this.nats = engines.nats;
    this.minio = engines.minio;
    this.hosts = engines.hosts;
    this.disks = engines.disks;
    this.#options = options;
    this.#addresses = addresses;
    this.operator = connect({ address: addresses.join(',') });
  }

  /** The engines and the coordinators; workers come by `startWorker`. */
  static async start(options: RealClusterOptions = {}): Promise<RealCluster> {
    const cluster = await RealCluster.engines(options);
    await cluster.begin();
    return cluster;
  }

  /** The engines alone. */
  static async engines(options: RealClusterOptions = {}): Promise<RealCluster> {
    const { replicas = 3, coordinators = 2, onHosts } = options;
    Object.assign(process.env, KEYS);
    const folder = await mkdtemp(join(tmpdir(), 'alumnus-real-'));
    const names = Array.from({ length: coordinators }, (_, at) => nameOf(at));
    const servers = SERVERS.slice(0, replicas).map((at) => `nats-${at}`);
    const hosts = onHosts === undefined ? undefined : Hosts.create([...servers, 'minio', ...names, ...onHosts.workers]);
    const started: { nats?: Nats; minio?: S3Server } = {};
    let disks: RealCluster['disks'];
    try {
      if (hosts !== undefined) {
        const [objects, journal] = [join(folder, 'minio/data'), join(folder, 'nats/nats-0/store')];
        for (const each of [objects, journal]) await mkdir(each, { recursive: true });
        disks = { store: new Disk(objects, STORE_MEBIBYTES), journal: new Disk(journal, JOURNAL_MEBIBYTES) };
      }
      started.nats = await Nats.start(join(folder, 'nats'), { servers: replicas, ...(hosts === undefined ? {} : { hosts: servers.map((each) => hosts.get(each)) }) });
      started.minio = await S3Server.start('minio', join(folder, 'minio'), { host: hosts?.get('minio') });
      const ports = await freePorts(coordinators);
      const addresses = names.map((name, at) => `${hosts?.get(name).address ?? '127.0.0.1'}:${ports[at]}`);
      return new RealCluster(folder, { nats: started.nats, minio: started.minio, hosts, disks }, options, addresses);
    } catch (thrown) {
      await started.nats?.kill();
      await started.minio?.server.kill();
      disks?.store.unmount();
      disks?.journal.unmount();
      hosts?.remove();
      await rm(folder, { recursive: true, force: true, maxRetries: 3 });
      throw thrown;
    }
  }

  /** Coordinators on an empty journal and an empty part of the bucket. Those and the workers that ran before are asked to stop. */
  async begin({ name = 'test', relayed = false }: BeginOptions = {}): Promise<void> {
    await this.stopProcesses();
    this.name = name;
    if (relayed) {
      const through = (target: string): Promise<Proxy> => Proxy.start(() => target, { host: this.hosts === undefined ? '127.0.0.1' : OPERATOR });
      const journals = new Map<string, readonly Proxy[]>();
      for (const at of this.#addresses.keys()) journals.set(nameOf(at), await Promise.all(this.nats.urls.map((url) => through(url.replace('nats://', '')))));
      this.relays = { store: await through(`${this.#host('minio')?.address ?? '127.0.0.1'}:${this.minio.port}`), journals };
    }
    for (const [at, address] of this.#addresses.entries()) this.coordinators.push({ name: nameOf(at), address, child: this.#spawn(nameOf(at), address) });
  }

  /** As the test itself reaches it. */
  get journalUrl(): string {
    return this.#journalUrl(this.nats.urls.map((url) => url.replace('nats://', '')));
  }

  #journalUrl(servers: readonly string[]): string {
    return `nats://${servers.join(',')}/${this.name}?replicas=${this.#options.replicas ?? 3}`;
  }

  get storeUrl(): string {
    return this.minio.url(this.name, this.hosts === undefined ? { host: '127.0.0.1' } : {});
  }

  openStore(): Promise<ObjectStore> {
    return openStore(this.storeUrl);
  }

  #host(name: string): Host | undefined {
    return this.hosts?.get(name);
  }

  #spawn(name: string, address: string): Child {
    const { relays } = this;
    const journal = relays === undefined ? this.journalUrl : this.#journalUrl((relays.journals.get(name) ?? []).map((proxy) => proxy.address));
    const [host = ''] = relays?.store.address.split(':') ?? [];
    const store = relays === undefined ? this.storeUrl : this.minio.url(this.name, { host, port: relays.store.port });
    const { leaseMs = LEASE_MS, snapshotFacts = 200 } = this.#options;
    return new Child('coordinator', name, ['--listen', address, '--journal', journal, '--store', store, '--lease-ms', String(leaseMs), '--snapshot-facts', String(snapshotFacts)], this.logFile(name), this.#host(name));
  }

  restart(coordinator: Coordinator): void {
    coordinator.child = this.#spawn(coordinator.name, coordinator.address);
  }

  startWorker(name: string): void {
    this.workers.set(name, { name, child: new Child('worker', name, workerFlags(this.#addresses.join(','), name, this.folder), this.logFile(name), this.#host(name)) });
  }

  /** Of the processes since `begin`. */
  logFile(name: string): string {
    return join(this.folder, `${this.name}-${name}.log`);
  }

  log(name: string): string {
    return logText(this.logFile(name));
  }

  tails(): string {
    return tailsOf([...this.coordinators, ...this.workers.values()].map(({ name }) => name), (name) => this.log(name));
  }

  /** Who leads just now, as far as anybody says so. */
  async leaderNow(): Promise<Coordinator | undefined> {
    for (const coordinator of this.coordinators) {
      if (!coordinator.child.alive) continue;
      const operator = connect({ address: coordinator.address });
      try {
        if ((await operator.status(1_000)).role === 'leader') return coordinator;
      } catch {
        // It starts, stops, or stands still.
      } finally {
        operator.close();
      }
    }
    return undefined;
  }

  /** Who leads now; waits for an election. */
  async leader(): Promise<Coordinator> {
    const untilMs = Date.now() + 60_000;
    while (Date.now() < untilMs) {
      const leader = await this.leaderNow();
      if (leader !== undefined) return leader;
      await pause(POLL_MS);
    }
    throw new Error(`nobody leads\n${this.tails()}`);
  }

  /** The first view that satisfies `until`. @throws with the logs when it takes too long. */
  waitForRun(runId: string, until: (view: RunView) => boolean, what: string, withinMs = RUN_MS_MAX): Promise<RunView> {
    // Whoever is asked again may find a leader by then.
    const isAway = (thrown: unknown): boolean => thrown instanceof AlumnusError && thrown.retryable;
    return waitForRun(runId, () => this.operator.run(runId), { until, what, withinMs, pollMs: POLL_MS, isAway, tails: () => this.tails() });
  }

  /** What the journal holds beyond its newest snapshot, as a fresh process reads it. */
  async journalled(): Promise<{ readonly after: number; readonly events: Event[] }> {
    const nats = await connectNats(this.journalUrl, { env: {} });
    try {
      const journal = await openJetStream(nats);
      const after = (await journal.snapshot())?.sequence ?? 0;
      const events: Event[] = [];
      for await (const group of journal.read(after)) events.push(...group.events);
      return { after, events };
    } finally {
      await nats.close();
    }
  }

  /** Takes the journal away, with everything else that NATS keeps. The coordinators must be gone. */
  async wipeJournal(): Promise<void> {
    await this.nats.kill();
    for (const server of this.nats.servers) {
      const store = join(this.folder, 'nats', server.name, 'store');
      for (const each of await readdir(store).catch(() => [])) await rm(join(store, each), { recursive: true, force: true, maxRetries: 3 });
    }
    await this.nats.restart();
  }

  /** kill -9 of every coordinator and worker at once. */
  async killProcesses(): Promise<void> {
    const children = [...this.workers.values(), ...this.coordinators].map(({ child }) => child);
    for (const child of children) child.kill('SIGKILL');
    await Promise.all(children.map((child) => child.ended));
  }

  /** Coordinators and workers are asked to stop, workers first; the engines stay. */
  async stopProcesses(): Promise<void> {
    for (const { child } of [...this.workers.values(), ...this.coordinators]) await child.stop();
    this.workers.clear();
    this.coordinators.length = 0;
    for (const proxy of [this.relays?.store, ...[...this.relays?.journals.values() ?? []].flat()]) proxy?.stop();
    this.relays = undefined;
  }

  async stop(): Promise<void> {
    this.operator.close();
    await this.stopProcesses();
    await this.nats.stop();
    await this.minio.server.stop();
    this.disks?.store.unmount();
    this.disks?.journal.unmount();
    this.hosts?.remove();
    await rm(this.folder, { recursive: true, force: true, maxRetries: 3 });
  }
}

const nameOf = (at: number): string => `coordinator-${at + 1}`;
