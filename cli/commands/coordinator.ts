/** `alumnus coordinator`: runs a coordinator in the foreground. */
import type { Command } from 'commander';
import { isWildcard } from '../../proto/call.ts';
import { exitCode } from '../../proto/errors.ts';
import { action, declare, homeOption, journalOption, storeOption, wholeNumber } from '../command.ts';
import type { Context } from '../context.ts';
import { DEFAULT_ADDRESS, homeFolder, journalUrl, storeUrl } from '../home.ts';

interface Flags {
  listen: string;
  home?: string;
  store?: string;
  journal?: string;
  advertise?: string;
  leaseMs?: number;
}

/** What no URL names lies in the home folder. */
function whereAll({ env }: Context, flags: Flags): string[] {
  const store = flags.store ?? (env['ALUMNUS_STORE'] || undefined);
  const journal = journalUrl(env, flags.journal);
  return ['--home', homeFolder(env, flags.home), ...(store === undefined ? [] : ['--store', storeUrl(env, { store })]), ...(journal === undefined ? [] : ['--journal', journal])];
}

export function addCoordinator(program: Command, context: Context): void {
  const command = declare(program, 'coordinator', {
    summary: 'Run a coordinator: it decides, journals and hands out work',
    description: 'Keeps its journal and its object store in the home folder, or where URLs say: a journal on NATS JetStream can be shared by several coordinators, of which one leads and the others stand by. When it is ready it prints one line of JSON on standard output; its log goes to standard error. Ctrl-C stops it; what it knew is there again at the next start.',
    examples: ['alumnus coordinator', 'alumnus coordinator --journal nats://nats-1:4222,nats-2:4222,nats-3:4222?replicas=3 --store s3://alumnus?endpoint=http://minio:9000 --listen 0.0.0.0:7700 --advertise coordinator-1:7700', 'alumnus coordinator --listen 127.0.0.1:0 --home ./trial'],
  }).option('--listen <host:port>', 'where it answers; port 0 takes any that is free', DEFAULT_ADDRESS).addOption(homeOption()).addOption(storeOption()).addOption(journalOption())
    .option('--advertise <host:port>', 'where workers and operators reach this coordinator (what it listens on)')
    .option('--lease-ms <ms>', 'how long a worker may be silent before its work is given to another', wholeNumber(1, 3_600_000));
  action(command, context, async (flags: Flags) => {
    const { foreground, parseReady } = await import('../processes.ts');
    const release = context.hold();
    try {
      const code = await foreground('coordinator', [
        '--listen', flags.listen, ...whereAll(context, flags), ...(flags.advertise === undefined ? [] : ['--advertise', flags.advertise]), ...(flags.leaseMs === undefined ? [] : ['--lease-ms', String(flags.leaseMs)]),
      ], {
        signal: context.signal,
        onLine: (line) => {
          context.print(line);
          const ready = parseReady(line);
          if (ready === undefined) return;
          // Where it was given no name that others reach, none is told to them.
          const own = isWildcard(ready.address) ? ready.address.replace(/^.*:/, 'HOST:') : ready.address;
          // With a journal that is shared, another may lead.
          const at = ready.term === 0 ? `${own},OTHERS` : own === DEFAULT_ADDRESS ? '' : own;
          context.note(`Ready${ready.term === 0 ? ': it leads, or stands by for the coordinator that does (`alumnus status` tells); name all of them, with commas' : ''}. Next, each in a terminal of its own:\n  alumnus worker${at && ` --coordinator ${at}`}\n  alumnus run submit FILE${at && ` --address ${at}`}`);
        },
      });
      return context.signal.aborted ? exitCode.interrupted : code;
    } finally {
      release();
    }
  });
}
