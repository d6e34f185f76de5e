/** `alumnus coordinator`: runs a coordinator in the foreground. */
import type { Command } from 'commander';
import { exitCode } from '../../proto/errors.ts';
import { action, declare, homeOption, wholeNumber } from '../command.ts';
import type { Context } from '../context.ts';
import { DEFAULT_ADDRESS, homeFolder } from '../home.ts';

interface Flags {
  listen: string;
  home?: string;
  leaseMs?: number;
}

export function addCoordinator(program: Command, context: Context): void {
  const command = declare(program, 'coordinator', {
    summary: 'Run a coordinator: it decides, journals and hands out work',
    description: 'Keeps its journal and its object store in the home folder. When it is ready it prints one line of JSON on standard output; its log goes to standard error. Ctrl-C stops it; what it knew is there again at the next start.',
    examples: ['alumnus coordinator', 'alumnus coordinator --listen 127.0.0.1:0 --home ./trial'],
  }).option('--listen <host:port>', 'where it answers; port 0 takes any that is free', DEFAULT_ADDRESS).addOption(homeOption())
    .option('--lease-ms <ms>', 'how long a worker may be silent before its work is given to another', wholeNumber(1, 3_600_000));
  action(command, context, async (flags: Flags) => {
    const { foreground, parseReady } = await import('../processes.ts');
    const release = context.hold();
    try {
      const code = await foreground('coordinator', [
        '--listen', flags.listen, '--home', homeFolder(context.env, flags.home), ...(flags.leaseMs === undefined ? [] : ['--lease-ms', String(flags.leaseMs)]),
      ], {
        signal: context.signal,
        onLine: (line) => {
          context.print(line);
          const ready = parseReady(line);
          if (ready === undefined) return;
          const at = ready.address === DEFAULT_ADDRESS ? '' : ready.address;
          context.note(`Ready. Next, each in a terminal of its own:\n  alumnus worker${at && ` --coordinator ${at}`}\n  alumnus run submit FILE${at && ` --address ${at}`}`);
        },
      });
      return context.signal.aborted ? exitCode.interrupted : code;
    } finally {
      release();
    }
  });
}
