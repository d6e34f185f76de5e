/**
 * A program of the coordinator's or the worker's, asked once: a request as JSON on its stdin, lines of JSON on its stdout. For what the command line
 * needs and never does itself: folding facts, reading label tables, TensorFlow. Not for: processes that stay (processes.ts).
 * Invariants:
 *  1. It stops with us: our wish to stop ends it, and it ends when nobody reads it any more.
 *  2. An error that it says is ours, with its code.
 */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { AlumnusError, toAlumnusError } from '../proto/errors.ts';
import { fromSentence, programPath, type ProgramName } from './processes.ts';

/** Of what it says on stderr, so much is kept: its last line is its error. */
const WORDS_CHARS_MAX = 16_384;

export interface Question {
  readonly program: ProgramName;
  /** Its file, without an ending. */
  readonly file: string;
  readonly arguments: readonly string[];
  readonly request: unknown;
  readonly signal: AbortSignal;
  onLine(line: Readonly<Record<string, unknown>>): void;
}

/** Resolves when it has ended well. @throws AlumnusError CANCELLED; whatever the program says */
export function ask({ program, file, arguments: args, request, signal, onLine }: Question): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [programPath(program, file), ...args], { stdio: ['pipe', 'pipe', 'pipe'], detached: true });
    const stop = (): void => void child.kill('SIGTERM');
    if (signal.aborted) stop();
    signal.addEventListener('abort', stop, { once: true });
    let words = '';
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
      words = (words + chunk).slice(-WORDS_CHARS_MAX);
    });
    const lines = createInterface({ input: child.stdout });
    // A native library may say something of its own.
    lines.on('line', (line) => (line.startsWith('{') ? onLine(JSON.parse(line) as Record<string, unknown>) : undefined));
    const read = new Promise((done) => lines.once('close', done));
    // One that ended at once says why; that it did not listen is no news.
    child.stdin.on('error', () => undefined);
    child.stdin.end(JSON.stringify(request));
    child.once('error', (error) => reject(toAlumnusError(error, file)));
    child.once('close', (code, by) => {
      signal.removeEventListener('abort', stop);
      void read.then(() => {
        if (code === 0) return resolve();
        if (signal.aborted) return reject(new AlumnusError('CANCELLED', 'it was interrupted'));
        const last = words.trimEnd().split('\n').at(-1) ?? '';
        reject(fromSentence(last) ?? new AlumnusError('INTERNAL', `the program ${program}/${file} ended by ${by ?? `exit code ${code ?? 'unknown'}`}: ${last}`));
      });
    });
  });
}
