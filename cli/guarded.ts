/**
 * The first module of a coordinator or worker that belongs to a foreground command: runs the program named next on the
 * command line, and asks it to stop when the command is gone, however that ended. It learns so from the channel
 * between the two, which the system closes with the command.
 * Not for: processes that are to outlive who started them; those are started without it.
 */
import { pathToFileURL } from 'node:url';
import { exitCode } from '../proto/errors.ts';

/** A worker finishes or hands back what it holds, a coordinator closes its journal: far longer than either takes. */
const STOP_MS = 15_000;

const stop = (): void => {
  setTimeout(() => process.exit(exitCode.interrupted), STOP_MS).unref();
  process.kill(process.pid, 'SIGTERM');
};
process.once('disconnect', stop);
// The channel alone keeps nothing alive.
process.channel?.unref();
// Nobody reads any more: what is said while stopping must not be what ends the process.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);

const [, , program = ''] = process.argv;
// The program finds its arguments where it looks for them.
process.argv.splice(1, 1);
await import(pathToFileURL(program).href);
