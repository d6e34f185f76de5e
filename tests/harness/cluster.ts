/**
 * A coordinator and its workers as real processes of the built release, on loopback, in a home of their own that is gone
 * with the test. `useClusters` makes a test file clean up after each test, also after one that failed.
 *
 * Invariants:
 *  1. Nothing listens on a fixed port: the first start takes a free one, a restart takes the same again.
 *  2. Only processes that were started here are signalled, by id.
 *  3. An engine that outlives its worker is an error of the test that left it behind.
 */
import { cp, mkdir, mkdtemp, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { credentials, type ServiceError } from '@grpc/grpc-js';
import { afterEach } from 'vitest';
import { OperatorServiceClient, type GetStatusResponse, type RunView } from '../../proto/gen/alumnus/v1/operator.ts';
import { openStore, type ObjectStore } from '../../store/index.ts';
import { Child, childrenOf, lives, type Descendant } from './child.ts';
import { logText, pause, tailsOf, waitForRun, workerFlags } from './processes.ts';

/** Short, so that the lease of a killed worker costs a test little; long against a pause of a busy machine. */
export const LEASE_MS = 1_500;
const POLL_MS = 100;
/** Far above what a run of the small recipe takes on a busy machine: beyond it something hangs. */
const RUN_MS_MAX = 240_000;
const START_MS_MAX = 60_000;
/** An engine notices its worker's end between two steps. */
const ENGINE_MS = 15_000;

const clusters = new Set<Cluster>();

/** To be called once in a test file. */
export function useClusters(): void {
  afterEach(removeClusters);
}

/** For a test that must give back what its processes stand on before the file's own clean-up. */
export async function removeClusters(): Promise<void> {
  const left = [...clusters];
  clusters.clear();
  const results = await Promise.allSettled(left.map((cluster) => cluster.remove()));
  for (const result of results) if (result.status === 'rejected') throw result.reason;
}

export interface Worker {
  readonly child: Child;
  readonly id: string;
}

export class Cluster {
  readonly folder: string;
  readonly home: string;
  address = '127.0.0.1:0';
  term = 0;
  /** Where the coordinator's metrics are; empty where it was not asked for them. */
  metrics = '';
  /** Where the coordinator's page is. */
  page = '';
  coordinator: Child | undefined;
  readonly workers = new Map<string, Worker>();
  /** Engines of every worker that was started, as far as they were seen. */
  readonly #engines: Descendant[] = [];
  #client: OperatorServiceClient | undefined;

  private constructor(folder: string, home: string) {
    this.folder = folder;
    this.home = home;
  }

  /**
   * `template`: a home whose store is copied, so that a data set is imported once and used by many tests.
   * `home`: where it lies, `storeOn`: where its store does; for disks of their own.
   */
  static async create(options: { template?: string; home?: string; storeOn?: string } = {}): Promise<Cluster> {
    const folder = await mkdtemp(join(tmpdir(), 'alumnus-test-'));
    const cluster = new Cluster(folder, options.home ?? join(folder, 'home'));
    clusters.add(cluster);
    await mkdir(cluster.home, { recursive: true });
    const store = join(cluster.home, 'store');
    if (options.storeOn !== undefined) await symlink(options.storeOn, store);
    if (options.template !== undefined) await cp(join(options.template, 'store'), options.storeOn ?? store, { recursive: true });
    return cluster;
  }

  openStore(): Promise<ObjectStore> {
    return openStore(`file://${join(this.home, 'store')}`);
  }

  /** Where an object's bytes lie: for tests that damage them. */
  objectFile(key: string): string {
    return join(this.home, 'store/objects', key);
  }

  logFile(name: string): string {
    return join(this.folder, `${name}.log`);
  }

  log(name: string): string {
    return logText(this.logFile(name));
  }

  /** What every process said last, for the message of a test that failed. */
  tails(): string {
    return tailsOf(['coordinator', ...this.workers.keys()], (name) => this.log(name));
  }

  /** A coordinator that may well end by itself: the caller looks at it. */
  spawnCoordinator(flags: readonly string[] = [], name = 'coordinator'): Child {
    return new Child('coordinator', name, ['--listen', this.address, '--home', this.home, '--lease-ms', String(LEASE_MS), ...flags], this.logFile(name));
  }

  async startCoordinator(flags: readonly string[] = []): Promise<void> {
    const child = this.spawnCoordinator(flags);
    this.coordinator = child;
    const ready = JSON.parse(await child.firstLine()) as { address: string; term: number; metrics?: string; page?: string };
    this.metrics = ready.metrics ?? '';
    this.page = ready.page ?? '';
    this.address = ready.address;
    this.term = ready.term;
  }

  /** @param through where it finds the coordinator; default where that listens. */
  startWorker(id: string, through = this.address, flags: readonly string[] = []): Worker {
    const before = this.workers.get(id);
    if (before?.child.alive === true) throw new Error(`${id} runs already`);
    const child = new Child('worker', id, [...workerFlags(through, id, this.folder), ...flags], this.logFile(id));
    const worker: Worker = { child, id };
    this.workers.set(id, worker);
    return worker;
  }

  /** Returns when all of them have registered: what follows finds a whole fleet. */
  async start(workers: readonly string[] = ['worker-1', 'worker-2'], coordinatorFlags: readonly string[] = []): Promise<void> {
    await this.startCoordinator(coordinatorFlags);
    for (const id of workers) this.startWorker(id);
    const untilMs = Date.now() + START_MS_MAX;
    while ((await this.status()).workers < workers.length) {
      if (Date.now() > untilMs) throw new Error(`not all of ${workers.join(', ')} registered\n${this.tails()}`);
      await pause(POLL_MS);
    }
  }

  /** The engine that this worker has now; undefined between two of them. */
  engineOf(worker: Worker): Descendant | undefined {
    const [engine] = worker.child.alive ? childrenOf(worker.child.pid) : [];
    if (engine !== undefined && !this.#engines.some((known) => known.pid === engine.pid && known.started === engine.started)) this.#engines.push(engine);
    return engine;
  }

  /** Kills a worker the hard way and waits until its engine noticed. @throws where the engine lives on. */
  async killWorker(worker: Worker): Promise<void> {
    const engine = this.engineOf(worker);
    worker.child.kill('SIGKILL');
    await worker.child.ended;
    if (engine !== undefined) await gone(engine, `the engine of ${worker.id}`);
  }

  /** @returns false where there was no engine to kill. */
  async killEngine(worker: Worker): Promise<boolean> {
    const engine = this.engineOf(worker);
    if (engine === undefined || !lives(engine)) return false;
    process.kill(engine.pid, 'SIGKILL');
    await gone(engine, `the engine of ${worker.id}`);
    return true;
  }

  async killCoordinator(): Promise<void> {
    this.coordinator?.kill('SIGKILL');
    await this.coordinator?.ended;
  }

  get client(): OperatorServiceClient {
    this.#client ??= new OperatorServiceClient(this.address, credentials.createInsecure(), { 'grpc.initial_reconnect_backoff_ms': 50, 'grpc.max_reconnect_backoff_ms': 250 });
    return this.#client;
  }

  call<Response>(call: (client: OperatorServiceClient, callback: (error: ServiceError | null, response: Response) => void) => unknown): Promise<Response> {
    return new Promise((resolve, reject) => {
      call(this.client, (error, response) => (error === null ? resolve(response) : reject(error)));
    });
  }

  async submit(recipe: string, runId: string): Promise<void> {
    await this.call((client, callback) => client.submitRun({ recipe, runId }, callback));
  }

  status(): Promise<GetStatusResponse> {
    return this.call<GetStatusResponse>((client, callback) => client.getStatus({}, callback));
  }

  run(runId: string): Promise<RunView> {
    return this.call<RunView>((client, callback) => client.getRun({ runId }, callback));
  }

  resume(runId: string): Promise<RunView> {
    return this.call<RunView>((client, callback) => client.resumeRun({ runId, reason: '' }, callback));
  }

  /** The first view that satisfies `until`; a coordinator that is away meanwhile is waited for. @throws with the logs when it takes too long. */
  waitForRun(runId: string, until: (view: RunView) => boolean, what: string, withinMs = RUN_MS_MAX): Promise<RunView> {
    return waitForRun(runId, () => this.run(runId), { until, what, withinMs, pollMs: POLL_MS, isAway: isUnreachable, tails: () => this.tails() });
  }

  /** Until it ends or pauses; a run that ended otherwise than wanted fails here, with its reason. */
  async settled(runId: string, state: 'succeeded' | 'failed' | 'paused'): Promise<RunView> {
    const view = await this.waitForRun(runId, (each) => each.summary?.state !== 'running', 'settled');
    if (view.summary?.state !== state) throw new Error(`run ${runId} is ${view.summary?.state}, not ${state}: ${view.summary?.reason ?? ''}\n${this.tails()}`);
    return view;
  }

  /** Asks every process to stop, workers first, and makes sure that they and their engines are gone. The home stays. */
  async stop(): Promise<void> {
    this.#client?.close();
    this.#client = undefined;
    for (const worker of this.workers.values()) this.engineOf(worker);
    const children = [...this.workers.values()].map(({ child }) => child);
    await Promise.all(children.map((child) => child.stop()));
    await this.coordinator?.stop();
    await Promise.all(this.#engines.map((engine) => gone(engine, 'an engine')));
  }

  /** Takes the home out of the clean-up after each test; whoever keeps it removes it. */
  keep(): void {
    clusters.delete(this);
  }

  async remove(): Promise<void> {
    clusters.delete(this);
    try {
      await this.stop();
    } finally {
      await rm(this.folder, { recursive: true, force: true, maxRetries: 3 });
    }
  }
}

export const isUnreachable = (thrown: unknown): boolean => typeof thrown === 'object' && thrown !== null && 'code' in thrown && (thrown.code === 14 || thrown.code === 4 || thrown.code === 1);

/** Resolves when the process is gone. One that stays is ended here, so that it harms no other test, and told. */
async function gone(process_: Descendant, what: string): Promise<void> {
  const untilMs = Date.now() + ENGINE_MS;
  while (lives(process_)) {
    if (Date.now() > untilMs) {
      process.kill(process_.pid, 'SIGKILL');
      throw new Error(`${what} (process ${process_.pid}) outlived its worker by ${ENGINE_MS} ms`);
    }
    await pause(20);
  }
}
