/**
 * The demo's own coordinator and workers: started side by side, so that TensorFlow loads while the journal is read; kept
 * up while the demo runs; stopped workers first. What runs is written to `demo.json` in the home folder, so that the
 * next demo finds what a killed one left behind.
 */
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { AlumnusError } from '../../proto/errors.ts';
import { pause } from '../pause.ts';
import { freePort, KeptProcess, parseReady, type Ready } from '../processes.ts';

/** Another program may take a free port before the coordinator does. */
const PORT_TRIES_MAX = 3;

export interface FleetOptions {
  readonly home: string;
  readonly workers: number;
  readonly threads: number;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly note: (line: string) => void;
}

export interface FleetRecord {
  /** The demo itself. */
  readonly demo: number;
  readonly address: string;
  readonly processes: readonly { readonly program: 'coordinator' | 'worker'; readonly pid: number }[];
}

export const recordFile = (home: string): string => join(home, 'demo.json');

export class Fleet {
  readonly address: string;
  /** Resolves when the coordinator serves. @throws AlumnusError with what keeps it from it. */
  readonly ready: Promise<Ready>;
  /** Rejects when a process is given up; never resolves. */
  readonly failed: Promise<never>;
  readonly #options: FleetOptions;
  readonly #coordinator: KeptProcess;
  readonly #workers: readonly KeptProcess[];

  private constructor(options: FleetOptions, address: string) {
    this.#options = options;
    this.address = address;
    const { home, env, note, threads } = options;
    let fail: (error: AlumnusError) => void = () => undefined;
    this.failed = new Promise((_, reject) => {
      fail = reject;
    });
    // Whoever waits for it sees it; nobody may be waiting.
    this.failed.catch(() => undefined);
    let serve: (ready: Ready) => void = () => undefined;
    this.ready = Promise.race([new Promise<Ready>((resolve) => {
      serve = resolve;
    }), this.failed]);
    this.ready.catch(() => undefined);
    const onGone = (error: AlumnusError): void => fail(error);
    // A demo may leave them running; what a killed one left is stopped by the next.
    const common = { env, guarded: false, onGone, onRestart: note, onStart: () => this.#record() };
    this.#coordinator = new KeptProcess({
      ...common, title: 'coordinator', program: 'coordinator', arguments: ['--listen', address, '--home', home], logFile: join(home, 'logs', 'coordinator.log'),
      onLine: (line) => {
        const ready = parseReady(line);
        if (ready !== undefined) serve(ready);
      },
    });
    let workersLeft = options.workers;
    this.#workers = Array.from({ length: options.workers }, (_, index) => new KeptProcess({
      ...common, title: `worker ${index + 1}`, program: 'worker', logFile: join(home, 'logs', `worker-${index + 1}.log`),
      arguments: ['--coordinator', address, '--id', `worker-${index + 1}`, '--threads', String(threads), '--cache', join(home, 'cache')],
      onGone: (error) => {
        workersLeft -= 1;
        if (workersLeft === 0) return onGone(error);
        note(`${error.sentence} The run goes on with ${workersLeft} of ${options.workers} workers.`);
      },
    }));
  }

  /** Starts everything at once and returns at once; `ready` says when the coordinator serves. */
  static async start(options: FleetOptions): Promise<Fleet> {
    const fleet = new Fleet(options, `127.0.0.1:${await freePort()}`);
    fleet.#coordinator.start();
    for (const worker of fleet.#workers) worker.start();
    return fleet;
  }

  /** As `start`, and waits; another port is tried where the first was taken meanwhile. */
  static async startReady(options: FleetOptions): Promise<Fleet> {
    for (let tries = 1; ; tries += 1) {
      const fleet = await Fleet.start(options);
      try {
        await fleet.ready;
        return fleet;
      } catch (thrown) {
        await fleet.stop();
        if (!(thrown instanceof AlumnusError && thrown.code === 'PORT_IN_USE') || tries >= PORT_TRIES_MAX) throw thrown;
      }
    }
  }

  get processIds(): number[] {
    return [this.#coordinator, ...this.#workers].flatMap((each) => each.pid ?? []);
  }

  #record(): void {
    const processes = [{ kept: this.#coordinator, program: 'coordinator' as const }, ...this.#workers.map((kept) => ({ kept, program: 'worker' as const }))];
    const record: FleetRecord = {
      demo: process.pid, address: this.address,
      processes: processes.flatMap(({ kept, program }) => (kept.pid === undefined ? [] : [{ program, pid: kept.pid }])),
    };
    writeFileSync(recordFile(this.#options.home), JSON.stringify(record));
  }

  /** Workers first, so that what they hold is handed back to a coordinator that still listens. */
  async stop(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.stop()));
    await this.#coordinator.stop();
    rmSync(recordFile(this.#options.home), { force: true });
  }

  /** Leaves everything running after this process ends. */
  leave(): void {
    for (const each of [this.#coordinator, ...this.#workers]) each.leave();
  }
}

/** Ends a process that is not our child: SIGTERM, then SIGKILL. */
export async function endProcess(pid: number, waitMs: number): Promise<void> {
  const lives = (): boolean => {
    try {
      process.kill(pid, 0);
      return true;
    } catch {
      return false;
    }
  };
  const send = (signal: NodeJS.Signals): void => {
    try {
      process.kill(pid, signal);
    } catch {
      // It is gone already.
    }
  };
  send('SIGTERM');
  const never = new AbortController().signal;
  for (let waited = 0; waited < waitMs && lives(); waited += 50) await pause(50, never);
  if (lives()) send('SIGKILL');
  for (let waited = 0; waited < 2_000 && lives(); waited += 50) await pause(50, never);
}
