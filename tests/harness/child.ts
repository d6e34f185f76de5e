/**
 * One process that a test started: its streams go to a file, it is signalled by its own id only, and it ends with the test.
 * Not for: restarting or order; that is cluster.ts.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, openSync, readFileSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { onHost, type Host } from './hosts.ts';

/** After it a process that was asked to stop is killed. */
const STOP_MS = 10_000;

const root = join(dirname(fileURLToPath(import.meta.url)), '../..');

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** Of those that live: a test process that is stopped at once takes them along. */
const living = new Set<Child>();
process.on('exit', () => {
  for (const child of living) child.kill('SIGKILL');
});

export class Child {
  readonly name: string;
  readonly pid: number;
  readonly ended: Promise<Ended>;
  readonly #process: ChildProcess;
  readonly #logFile: string;
  #stdout = '';
  #onLine: (line: string) => void = () => undefined;

  /** @param logFile what it says on stderr is added to it. `host`: where it runs; default here. */
  constructor(program: 'coordinator' | 'worker', name: string, flags: readonly string[], logFile: string, host?: Host) {
    const log = openSync(logFile, 'a');
    const child = spawn(...onHost(host, process.execPath, [join(root, 'dist', program, 'main.js'), ...flags]), { stdio: ['ignore', 'pipe', log], env: { ...process.env, TF_CPP_MIN_LOG_LEVEL: '2', NO_COLOR: '1' } });
    closeSync(log);
    if (child.pid === undefined) throw new Error(`${name} did not start`);
    this.name = name;
    this.pid = child.pid;
    this.#process = child;
    this.#logFile = logFile;
    living.add(this);
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      const lines = (this.#stdout + text).split('\n');
      this.#stdout = lines.pop() ?? '';
      for (const line of lines) this.#onLine(line);
    });
    this.ended = new Promise((resolve) => {
      child.once('exit', (code, signal) => {
        living.delete(this);
        resolve({ code, signal });
      });
    });
  }

  get alive(): boolean {
    return this.#process.exitCode === null && this.#process.signalCode === null;
  }

  /** The first line of its stdout. @throws when it ends before it says anything. */
  firstLine(): Promise<string> {
    return new Promise((resolve, reject) => {
      this.#onLine = resolve;
      void this.ended.then(({ code, signal }) => reject(new Error(`${this.name} ended by ${signal ?? `exit code ${code}`} before it was ready:\n${this.log()}`)));
    });
  }

  /** Only ever this process: its id is free for others once it ended. */
  kill(signal: NodeJS.Signals): void {
    if (this.alive) this.#process.kill(signal);
  }

  /** Asks it to end, also where it was stopped by a signal, and kills it after `STOP_MS`. */
  async stop(): Promise<void> {
    if (!this.alive) return;
    this.kill('SIGCONT');
    this.kill('SIGTERM');
    const timer = setTimeout(() => this.kill('SIGKILL'), STOP_MS);
    await this.ended;
    clearTimeout(timer);
  }

  log(): string {
    return readFileSync(this.#logFile, 'utf8');
  }
}

/** A process that a child of ours started; the start time tells it from a later one of the same id. */
export interface Descendant {
  readonly pid: number;
  readonly started: string;
}

/** Fields of /proc/<pid>/stat behind the program's name, which may hold anything; undefined where the process is gone. */
function statOf(pid: number): string[] | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  } catch {
    return undefined;
  }
}

export const canSeeProcesses = statOf(process.pid) !== undefined;

/** The processes whose parent is `pid`. Linux only. */
export function childrenOf(pid: number): Descendant[] {
  return readdirSync('/proc').filter((name) => /^\d+$/.test(name)).map(Number).flatMap((each) => {
    const stat = statOf(each);
    return stat?.[1] === String(pid) ? [{ pid: each, started: stat[19] ?? '' }] : [];
  });
}

/** Neither gone nor only waiting for its parent to take note of its end. */
export function lives(process: Descendant): boolean {
  const stat = statOf(process.pid);
  return stat !== undefined && stat[19] === process.started && stat[0] !== 'Z';
}
