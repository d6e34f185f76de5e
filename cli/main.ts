/**
 * The process of `alumnus`: wires the program to the real streams and signals. The first Ctrl-C asks the command to
 * put things in order and end; the second ends the process at once. Starts in a fraction of a second: nothing heavy is
 * imported before a command's action asks for it.
 */
import { exitCode } from '../proto/errors.ts';
import { Context, sinkOf } from './context.ts';
import { execute } from './program.ts';

// What a package of ours is told of its future is no news for a user, such as that an address in digits is no name for TLS.
process.noDeprecation = true;

const context = new Context(sinkOf(process.stdout, process.env), sinkOf(process.stderr, process.env), process.env);

for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(name, () => {
    if (context.signal.aborted || !context.held) process.exit(exitCode.interrupted);
    context.interrupt();
  });
}

const code = await execute(process.argv.slice(2), context);
// Interrupted work may still be under way; what had to be put in order is.
if (context.signal.aborted) process.exit(code);
process.exitCode = code;
