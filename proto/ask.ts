/**
 * A program of ours, asked once: a request as JSON on its stdin, lines of JSON on its stdout, its error as a sentence of the error table (program.ts is the other side).
 * Not for: where programs lie, nor processes that stay.
 * Invariants:
 *  1. It stops with us: our wish to stop ends it, and it ends when nobody reads it any more.
 *  2. An error that it says is ours, with its code.
 */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { AlumnusError, isErrorCode, toAlumnusError } from './errors.ts';

/** Of what it says on stderr, so much is kept: its last line is its error. */
const WORDS_CHARS_MAX = 16_384;

export interface ProgramQuestion {
  /** The compiled program. */
  readonly path: string;
  /** For messages. */
  readonly title: string;
  readonly arguments: readonly string[];
  readonly request: unknown;
  readonly signal: AbortSignal;
  /** Default: ours. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  onLine(line: Readonly<Record<string, unknown>>): void;
}

/** A sentence that a child printed, `where: what. remedy [CODE]`, as the error it was; undefined where it is none. */
export function fromSentence(line: string): AlumnusError | undefined {
  const code = /\[([A-Z_]+)\]$/.exec(line)?.[1] ?? '';
  if (!isErrorCode(code)) return undefined;
  const error = new AlumnusError(code, '');
  const what = line.slice(0, line.length - `[${code}]`.length).trim();
  return new AlumnusError(code, what.endsWith(error.remedy) ? what.slice(0, -error.remedy.length).trim() : what);
}

/** Resolves when it has ended well. @throws AlumnusError CANCELLED; whatever the program says */
export function askProgram({ path, title, arguments: args, request, signal, env, onLine }: ProgramQuestion): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [path, ...args], { stdio: ['pipe', 'pipe', 'pipe'], detached: true, ...(env === undefined ? {} : { env }) });
    const stop = (): void => void child.kill('SIGTERM');
    if (signal.aborted) stop();
    signal.addEventListener('abort', stop, { once: true });
    let words = '';
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
      words = (words + chunk).slice(-WORDS_CHARS_MAX);
    });
    const lines = createInterface({ input: child.stdout });
    lines.on('line', (line) => {
      // A native library may say something of its own.
      if (!line.startsWith('{')) return;
      try {
        onLine(JSON.parse(line) as Record<string, unknown>);
      } catch (thrown) {
        stop();
        reject(toAlumnusError(thrown, title));
      }
    });
    const read = new Promise((done) => lines.once('close', done));
    // One that ended at once says why; that it did not listen is no news.
    child.stdin.on('error', () => undefined);
    child.stdin.end(JSON.stringify(request));
    child.once('error', (error) => reject(toAlumnusError(error, title)));
    child.once('close', (code, by) => {
      signal.removeEventListener('abort', stop);
      void read.then(() => {
        if (code === 0) return resolve();
        if (signal.aborted) return reject(new AlumnusError('CANCELLED', 'it was interrupted'));
        const last = words.trimEnd().split('\n').at(-1) ?? '';
        reject(fromSentence(last) ?? new AlumnusError('INTERNAL', `the program ${title} ended by ${by ?? `exit code ${code ?? 'unknown'}`}: ${last}`));
      });
    });
  });
}
