/**
 * Coordinators and workers on the engines that a cluster has: NATS (one server or three) and MinIO, all real processes on
 * loopback. Not for: the embedded pair (cluster.ts), nor for several hosts.
 *
 * Invariants: as those of cluster.ts; and a coordinator that is started again is another process at the same address.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openJetStream } from '../../coordinator/journal/index.ts';
import { connectNats } from '../../coordinator/nats.ts';
import { connect, type Operator } from '../../cli/client.ts';
import type { Event } from '../../proto/gen/alumnus/v1/events.ts';
import type { RunView } from '../../proto/gen/alumnus/v1/operator.ts';
import { openStore, type ObjectStore } from '../../store/index.ts';
import { Child } from './child.ts';
import { pause } from './cluster.ts';
import { evidenceIn, type Evidence } from './evidence.ts';
import { KEYS, S3Server } from './s3.ts';
import { freePorts, Nats } from './servers.ts';

/** Long against a pause of a busy machine and against a failover, in which no lease may end. */
const LEASE_MS = 5_000;
const POLL_MS = 50;
const RUN_MS_MAX = 600_000;
const STOP_MS = 10_000;
const LOG_TAIL_LINES = 30;

export interface Coordinator {
  readonly name: string;
  readonly address: string;
  child: Child;
}

export class RealCluster {
  readonly folder: string;
  readonly nats: Nats;
  readonly minio: S3Server;
  readonly coordinators: Coordinator[] = [];
  readonly workers = new Map<string, Child>();
  readonly operator: Operator;
  readonly #replicas: 1 | 3;

  private constructor(folder: string, nats: Nats, minio: S3Server, replicas: 1 | 3, addresses: readonly string[]) {
    this.folder = folder;
    this.nats = nats;
    this.minio = minio;
    this.#replicas = replicas;
    this.operator = connect(addresses.join(','));
    for (const [at, address] of addresses.entries()) {
      const name = `coordinator-${at + 1}`;
      this.coordinators.push({ name, address, child: this.#spawn(name, address) });
    }
  }

  /** The engines and the coordinators; workers come by `startWorker`. */
  static async start({ replicas = 3, coordinators = 2 }: { replicas?: 1 | 3; coordinators?: number } = {}): Promise<RealCluster> {
    Object.assign(process.env, KEYS);
    const folder = await mkdtemp(join(tmpdir(), 'alumnus-real-'));
    const [nats, minio] = await Promise.all([Nats.start(join(folder, 'nats'), { servers: replicas }), S3Server.start('minio', join(folder, 'minio'))]);
    const ports = await freePorts(coordinators);
    return new RealCluster(folder, nats, minio, replicas, ports.map((port) => `127.0.0.1:${port}`));
  }

  get journalUrl(): string {
    return `nats://${this.nats.urls.map((url) => url.replace('nats://', '')).join(',')}/test?replicas=${this.#replicas}`;
  }

  get storeUrl(): string {
    return this.minio.url('store', { host: '127.0.0.1' });
  }

  openStore(): Promise<ObjectStore> {
    return openStore(this.storeUrl);
  }

  #spawn(name: string, address: string): Child {
    return new Child('coordinator', name, ['--listen', address, '--journal', this.journalUrl, '--store', this.storeUrl, '--lease-ms', String(LEASE_MS), '--snapshot-facts', '200'], join(this.folder, `${name}.log`));
  }

  restart(coordinator: Coordinator): void {
    coordinator.child = this.#spawn(coordinator.name, coordinator.address);
  }

  startWorker(id: string): void {
    const addresses = this.coordinators.map(({ address }) => address).join(',');
    this.workers.set(id, new Child('worker', id, ['--coordinator', addresses, '--id', id, '--threads', '1', '--cache', join(this.folder, 'cache')], join(this.folder, `${id}.log`)));
  }

  log(name: string): string {
    try {
      return readFileSync(join(this.folder, `${name}.log`), 'utf8');
    } catch {
      return '';
    }
  }

  tails(): string {
    return [...this.coordinators.map(({ name }) => name), ...this.workers.keys()].map((name) => `--- ${name}\n${this.log(name).split('\n').slice(-LOG_TAIL_LINES).join('\n')}`).join('\n');
  }

  /** Who leads now; waits for an election. */
  async leader(): Promise<Coordinator> {
    const untilMs = Date.now() + 60_000;
    while (Date.now() < untilMs) {
      for (const coordinator of this.coordinators) {
        if (!coordinator.child.alive) continue;
        const operator = connect(coordinator.address);
        try {
          if ((await operator.status(1_000)).role === 'leader') return coordinator;
        } catch {
          // It starts, or stops.
        } finally {
          operator.close();
        }
      }
      await pause(POLL_MS);
    }
    throw new Error(`nobody leads\n${this.tails()}`);
  }

  /** The first view that satisfies `until`. @throws with the logs when it takes too long. */
  async waitForRun(runId: string, until: (view: RunView) => boolean, what: string): Promise<RunView> {
    const untilMs = Date.now() + RUN_MS_MAX;
    let last: RunView | undefined;
    while (Date.now() < untilMs) {
      last = await this.operator.run(runId);
      if (until(last)) return last;
      await pause(POLL_MS);
    }
    throw new Error(`run ${runId} is ${last?.summary?.state ?? 'unseen'} and not ${what}\n${this.tails()}`);
  }

  /** All facts as a fresh process reads them; a run's come from its manifests where the journal was truncated. */
  async events(): Promise<Event[]> {
    const nats = await connectNats(this.journalUrl, { env: {} });
    try {
      const journal = await openJetStream(nats);
      const events: Event[] = [];
      for await (const group of journal.read((await journal.snapshot())?.sequence ?? 0)) events.push(...group.events);
      return events;
    } finally {
      await nats.close();
    }
  }

  evidence(events: readonly Event[], store: ObjectStore, runId: string): Evidence {
    return evidenceIn(events, store, runId);
  }

  async stop(): Promise<void> {
    this.operator.close();
    const children = [...this.workers.values(), ...this.coordinators.map(({ child }) => child)];
    for (const child of children) {
      if (!child.alive) continue;
      child.kill('SIGTERM');
      const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
      await child.ended;
      clearTimeout(timer);
    }
    await this.nats.stop();
    await this.minio.server.stop();
    await rm(this.folder, { recursive: true, force: true, maxRetries: 3 });
  }
}
