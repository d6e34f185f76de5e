/** `alumnus coordinator`: runs a coordinator in the foreground. */
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { isWildcard } from '../../proto/call.ts';
import { AlumnusError, exitCode } from '../../proto/errors.ts';
import { action, declare, homeOption, journalOption, storeOption, wholeNumber } from '../command.ts';
import type { Context } from '../context.ts';
import { DEFAULT_ADDRESS, homeFolder, journalUrl, passedOver, storeUrl } from '../home.ts';
import { logArguments, notesOf, withLogFlags, type LogFlags } from '../log-flags.ts';

interface Flags extends LogFlags {
  listen: string;
  home?: string;
  store?: string;
  journal?: string;
  advertise?: string;
  leaseMs?: number;
  metrics?: string;
  access?: string;
  tlsCert?: string;
  tlsKey?: string;
  tlsClientCa?: string;
  /** False: none. */
  page?: string | false;
}

/** What no URL names lies in the home folder. */
function whereAll({ env }: Context, flags: Flags): string[] {
  const journal = journalUrl(env, flags);
  return ['--home', homeFolder(env, flags.home), '--store', storeUrl(env, flags), ...(journal === undefined ? [] : ['--journal', journal])];
}

const secured = ({ access, tlsCert, tlsKey, tlsClientCa }: Flags): string[] =>
  ([['--access', access], ['--tls-cert', tlsCert], ['--tls-key', tlsKey], ['--tls-client-ca', tlsClientCa]] as const).flatMap(([flag, file]) => (file === undefined ? [] : [flag, resolve(file)]));

/** What is likely not meant, though it works. */
function doubts({ env }: Context, flags: Flags): string[] {
  const over = passedOver(env, flags);
  const store = storeUrl(env, flags);
  return [
    ...(over.length === 0 ? [] : [`--home goes before ${over.join(' and ')}, which ${over.length === 1 ? 'is' : 'are'} set and not looked at`]),
    ...(journalUrl(env, flags) === undefined || !store.startsWith('file:') ? [] : [`the journal is on NATS and the objects lie in a folder of this machine, ${store}: coordinators and workers on other machines do not share it; a fleet needs --store s3://BUCKET`]),
  ];
}

/** The coordinator gets all as flags and names those; a person corrects it where it was written, and wants to see it; but for a password. */
function namedByEnvironment({ env }: Context, flags: Flags, error: AlumnusError): AlumnusError {
  const journal = journalUrl(env, flags);
  if (journal === undefined || !error.message.startsWith('--journal: ')) return error;
  return new AlumnusError(error.code, error.message.replace('--journal: ', `"${journal.replace(/\/\/[^/]*@/, '//…@')}": `), { where: flags.journal === undefined ? 'ALUMNUS_JOURNAL' : '--journal', cause: error });
}

export function addCoordinator(program: Command, context: Context): void {
  const command = withLogFlags(declare(program, 'coordinator', {
    summary: 'Run a coordinator: it decides, journals and hands out work',
    description: 'Keeps its journal and its object store in the home folder, or where URLs say: a journal on NATS JetStream can be shared by several coordinators, of which one leads and the others stand by. When it is ready it prints one line of JSON on standard output; its log goes to standard error. Ctrl-C stops it; what it knew is there again at the next start.',
    examples: ['alumnus coordinator', 'alumnus coordinator --journal nats://nats-1:4222,nats-2:4222,nats-3:4222?replicas=3 --store s3://alumnus?endpoint=http://minio:9000 --listen 0.0.0.0:7700 --advertise coordinator-1:7700', 'alumnus coordinator --listen 127.0.0.1:0 --home ./trial'],
  })).option('--listen <host:port>', 'where it answers; port 0 takes any that is free', DEFAULT_ADDRESS).addOption(homeOption()).addOption(storeOption()).addOption(journalOption())
    .option('--advertise <host:port>', 'where workers and operators reach this coordinator (what it listens on)')
    .option('--page <host:port>', 'where people open the page in a browser (the host of --listen, its port plus 100)').option('--no-page', 'serve no page')
    .option('--metrics <host:port>', 'where Prometheus finds /metrics: 127.0.0.1:9464, say (nowhere)')
    .option('--access <file>', 'who may do what, and what projects may have: docs/access.md (whoever reaches it operates it)')
    .option('--tls-cert <file>', 'answers over TLS with this certificate, PEM').option('--tls-key <file>', 'the key of --tls-cert')
    .option('--tls-client-ca <file>', 'callers must show a certificate of this authority')
    .option('--lease-ms <ms>', 'how long a worker may be silent before its work is given to another', wholeNumber(1, 3_600_000));
  action(command, context, async (flags: Flags) => {
    const [{ foreground, parseReady }, { note, advise }] = await Promise.all([import('../processes.ts'), notesOf(context, flags)]);
    for (const doubt of doubts(context, flags)) note(`warning: ${doubt}`);
    const release = context.hold();
    try {
      let failure: AlumnusError | undefined;
      const code = await foreground('coordinator', [
        '--listen', flags.listen, ...whereAll(context, flags), ...(flags.advertise === undefined ? [] : ['--advertise', flags.advertise]), ...(flags.metrics === undefined ? [] : ['--metrics', flags.metrics]), ...(flags.page === false ? ['--no-page'] : typeof flags.page === 'string' ? ['--page', flags.page] : []), ...(flags.leaseMs === undefined ? [] : ['--lease-ms', String(flags.leaseMs)]), ...secured(flags), ...logArguments(flags),
      ], {
        signal: context.signal,
        onEnd: (error) => {
          failure = error;
        },
        onLine: (line) => {
          context.print(line);
          const ready = parseReady(line);
          if (ready === undefined) return;
          // Where it was given no name that others reach, none is told to them.
          const own = isWildcard(ready.address) ? ready.address.replace(/^.*:/, 'HOST:') : ready.address;
          // With a journal that is shared, another may lead.
          const at = ready.term === 0 ? `${own},OTHERS` : own === DEFAULT_ADDRESS ? '' : own;
          advise(`Ready${ready.term === 0 ? ': it leads, or stands by for the coordinator that does (`alumnus status` tells); name all of them, with commas' : ''}. Next, each in a terminal of its own:\n  alumnus worker${at && ` --coordinator ${at}`}\n  alumnus run submit FILE${at && ` --address ${at}`}${ready.page === undefined ? '' : `\nIts page: ${ready.page}`}`);
        },
      });
      if (context.signal.aborted) return exitCode.interrupted;
      if (failure !== undefined) throw namedByEnvironment(context, flags, failure);
      return code;
    } finally {
      release();
    }
  });
}
