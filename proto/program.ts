/**
 * The frame of a program that another of ours starts and asks once: lines of JSON on stdout, at its end the error table's code, and of an error one
 * sentence on stderr. Not for: processes that stay.
 */
import { errorTable, toAlumnusError } from './errors.ts';

export const tell = (line: object): void => void process.stdout.write(`${JSON.stringify(line)}\n`);

/** Runs it, and ends the process. */
export function answer(main: () => Promise<void>): void {
  // Who asked is gone: nobody would read the answer.
  process.stdout.on('error', () => process.exit(0));
  main().catch((thrown: unknown) => {
    const error = toAlumnusError(thrown);
    process.stderr.write(`${error.code === 'INTERNAL' ? error.stack : error.sentence}\n`);
    process.exitCode = errorTable[error.code].exit;
  }).finally(() => {
    // Connections that a store keeps open, and decoding threads, would keep the process.
    process.stdout.write('', () => process.exit());
  });
}
