/**
 * The coordinator and the workers as processes of their own, started, kept up and stopped in order. The CLI never runs
 * their code in its own process.
 *
 * Invariants:
 *  1. Children live in process groups of their own: a Ctrl-C in the terminal reaches only us, and we stop them in order.
 *  2. Their stderr goes to a file, so that they outlive us where that is asked for, and a kill of ours costs no log.
 *  3. Only children of ours are signalled here, by their id.
 *  4. Children of a foreground command stop with it, also when it is killed (guarded.ts); the demo's are found by the next demo.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { dirname, join } from 'node:path';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { fromSentence } from '../proto/ask.ts';
import { AlumnusError, exitCode, toAlumnusError } from '../proto/errors.ts';
import { pause } from './pause.ts';

/** After SIGTERM a worker finishes or hands back what it holds. */
const STOP_MS = 8_000;
/** A process that lived this long is started again as if nothing had been. */
const STEADY_MS = 10_000;
/** Deaths in a row, each before STEADY_MS, after which a process is not started again. */
const QUICK_DEATHS_MAX = 4;
const RESTART_MS = 500;
const LAST_WORDS_MS = 50;

export type ProgramName = 'coordinator' | 'worker';

/** A compiled program of another package, its main by default. @throws AlumnusError ENGINE_UNAVAILABLE's kin when this checkout is not built. */
export function programPath(name: ProgramName, program = 'main'): string {
  const path = join(dirname(fileURLToPath(import.meta.url)), '..', name, `${program}.js`);
  if (!existsSync(path)) throw new AlumnusError('USAGE', `the ${name} is not built: run \`npm run build\``, { where: path });
  return path;
}

/** What node is called with, in front of the program's own arguments. */
const commandOf = (program: ProgramName, guarded: boolean): string[] =>
  guarded ? [join(dirname(fileURLToPath(import.meta.url)), 'guarded.js'), programPath(program)] : [programPath(program)];

/** A port that is free now; another program may take it before we do, which then shows as PORT_IN_USE. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      const port = typeof address === 'object' && address !== null ? address.port : 0;
      server.close(() => resolve(port));
    });
  });
}

export interface ProcessOptions {
  /** As the user reads it: `worker 1`. */
  readonly title: string;
  readonly program: ProgramName;
  readonly arguments: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Where its stderr goes; undefined: to ours, through us. */
  readonly logFile: string | undefined;
  /** It stops when we are gone, however we ended. Such a one can't be left running. */
  readonly guarded: boolean;
  /** Told its id at each start. */
  readonly onStart?: () => void;
  /** Sees each line of its stdout. */
  readonly onLine?: (line: string) => void;
  /** Told when it has died and is started again. */
  readonly onRestart?: (sentence: string) => void;
  /** Told when it is given up. */
  readonly onGone?: (error: AlumnusError) => void;
}

const LOG_TAIL_BYTES = 4_096;

/** The last line of a log that reads like a sentence for people. */
function lastWords(logFile: string): string {
  try {
    const lines = readFileSync(logFile, 'utf8').slice(-LOG_TAIL_BYTES).split('\n').map((line) => line.trim()).filter((line) => line !== '');
    return lines.at(-1) ?? '';
  } catch {
    return '';
  }
}

/** A child's own end, as its main prints it: a sentence of the error table without the time that lines of its log begin with. */
const isEnd = (line: string): boolean => !/^\d{4}-\d\d-\d\dT/.test(line) && fromSentence(line) !== undefined;

function eachLine(stream: Readable, onLine: (line: string) => void): void {
  let rest = '';
  stream.setEncoding('utf8').on('data', (chunk: string) => {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) onLine(line);
  });
}

/** One child that is started again when it dies by itself, until it is stopped. */
export class KeptProcess {
  readonly title: string;
  readonly #options: ProcessOptions;
  #child: ChildProcess | undefined;
  #stopping = false;
  #lastLine = '';
  #quickDeaths = 0;
  #startedAt = 0;
  #restartTimer: NodeJS.Timeout | undefined;
  #exited: Promise<void> = Promise.resolve();

  constructor(options: ProcessOptions) {
    this.title = options.title;
    this.#options = options;
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  start(): void {
    const { program, logFile, env, onLine } = this.#options;
    if (logFile !== undefined) mkdirSync(dirname(logFile), { recursive: true });
    const log = logFile === undefined ? undefined : openLog(logFile, this.#startedAt === 0);
    this.#startedAt = performance.now();
    const child = spawn(process.execPath, [...commandOf(program, this.#options.guarded), ...this.#options.arguments], {
      stdio: ['ignore', onLine === undefined ? 'ignore' : 'pipe', log ?? 'pipe', ...(this.#options.guarded ? ['ipc' as const] : [])],
      env: env,
      detached: true,
    });
    if (log !== undefined) closeSync(log);
    this.#child = child;
    if (child.stdout !== null) eachLine(child.stdout, (line) => onLine?.(line));
    if (child.stderr !== null) {
      eachLine(child.stderr, (line) => {
        this.#lastLine = line;
        // Said when it is known whether it is the end of the command too.
        if (!isEnd(line)) process.stderr.write(`${line}\n`);
      });
    }
    if (child.pid !== undefined) this.#options.onStart?.();
    this.#exited = new Promise((resolve) => {
      child.once('error', (error) => {
        resolve();
        if (!this.#stopping) this.#options.onGone?.(toAlumnusError(error, this.title));
      });
      child.once('exit', (code, signal) => {
        resolve();
        // What it said last may still be on its way.
        setTimeout(() => {
          if (!this.#stopping) this.#died(code, signal);
        }, LAST_WORDS_MS);
      });
    });
  }

  #died(code: number | null, signal: NodeJS.Signals | null): void {
    const words = this.#options.logFile === undefined ? this.#lastLine : lastWords(this.#options.logFile);
    const how = signal === null ? `ended with exit code ${code}` : `was ended by ${signal}`;
    const said = fromSentence(words);
    // What the surroundings refuse, or a wrong flag, will be refused again.
    const hopeless = code === exitCode.environment || code === exitCode.usage || code === exitCode.conflict;
    this.#quickDeaths = performance.now() - this.#startedAt < STEADY_MS ? this.#quickDeaths + 1 : 0;
    if (hopeless || this.#quickDeaths >= QUICK_DEATHS_MAX) {
      const log = this.#options.logFile === undefined ? '' : `; its log is ${this.#options.logFile}`;
      this.#options.onGone?.(said ?? new AlumnusError('INTERNAL', `it ${how}${words === '' ? '' : `: ${words}`}${log}`, { where: this.title }));
      return;
    }
    if (this.#options.logFile === undefined && isEnd(words)) process.stderr.write(`error: ${words}\n`);
    this.#options.onRestart?.(`${this.title} ${how}: starting it again`);
    this.#restartTimer = setTimeout(() => this.start(), RESTART_MS * 2 ** this.#quickDeaths);
  }

  /** SIGTERM, then SIGKILL for one that does not go. Resolves when it is gone. */
  async stop(waitMs = STOP_MS): Promise<void> {
    this.#stopping = true;
    clearTimeout(this.#restartTimer);
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGTERM');
    const late = new AbortController();
    const gone = this.#exited.then(() => late.abort());
    await Promise.race([gone, pause(waitMs, late.signal)]);
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
    await gone;
  }

  /** Leaves it running after we end. */
  leave(): void {
    this.#stopping = true;
    clearTimeout(this.#restartTimer);
    this.#child?.stdout?.destroy();
    this.#child?.unref();
  }
}

function openLog(file: string, fresh: boolean): number {
  try {
    return openSync(file, fresh ? 'w' : 'a');
  } catch (thrown) {
    throw toAlumnusError(thrown, file);
  }
}

/**
 * Runs a program in the foreground with our streams; our wish to stop becomes its SIGTERM.
 * @param options `onEnd`: gets the error that it ended with, where it said one @returns its exit code
 */
export function foreground(program: ProgramName, flags: readonly string[], options: { signal: AbortSignal; onLine: (line: string) => void; onEnd: (error: AlumnusError) => void }): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [...commandOf(program, true), ...flags], { stdio: ['ignore', 'pipe', 'pipe', 'ipc'], detached: true });
    const stop = (): void => void child.kill('SIGTERM');
    if (options.signal.aborted) stop();
    options.signal.addEventListener('abort', stop, { once: true });
    if (child.stdout !== null) eachLine(child.stdout, options.onLine);
    if (child.stderr !== null) {
      eachLine(child.stderr, (line) => {
        const error = isEnd(line) ? fromSentence(line) : undefined;
        if (error === undefined) process.stderr.write(`${line}\n`);
        else options.onEnd(error);
      });
    }
    child.once('error', (error) => reject(toAlumnusError(error, program)));
    child.once('close', (code, signal) => {
      options.signal.removeEventListener('abort', stop);
      resolve(code ?? (signal === null ? exitCode.runFailed : exitCode.interrupted));
    });
  });
}

/** The line that a coordinator prints on stdout when it serves. */
export interface Ready {
  readonly ready: true;
  readonly address: string;
  readonly term: number;
  readonly storeUrl: string;
  /** Where its page is; absent where it serves none. */
  readonly page?: string;
}

export function parseReady(line: string): Ready | undefined {
  try {
    const value = JSON.parse(line) as Partial<Ready>;
    return value.ready === true && typeof value.address === 'string' && typeof value.storeUrl === 'string' ? { ready: true, address: value.address, term: Number(value.term), storeUrl: value.storeUrl, ...(typeof value.page === 'string' ? { page: value.page } : {}) } : undefined;
  } catch {
    return undefined;
  }
}
