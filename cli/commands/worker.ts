/** `alumnus worker`: runs workers in the foreground, and lists those a coordinator knows. */
import { availableParallelism, hostname } from 'node:os';
import { join, resolve as resolvePath } from 'node:path';
import type { Command } from 'commander';
import { AlumnusError, exitCode } from '../../proto/errors.ts';
import { action, connected, declare, homeOption, mustKnow, outputOption, wholeNumber, type OutputFlag } from '../command.ts';
import { connectionOf, type ConnectionFlags } from '../connection.ts';
import type { Context } from '../context.ts';
import { coordinatorAddress, homeFolder } from '../home.ts';
import { logArguments, notesOf, withLogFlags, type LogFlags } from '../log-flags.ts';
import { addWorkerCordon } from './worker/cordon.ts';
import { addWorkerDescribe } from './worker/describe.ts';

const WORKERS_MAX = 256;
const PORT_MAX = 65_535;

interface Flags extends LogFlags {
  coordinator?: string;
  count: number;
  id?: string;
  threads?: number;
  engineTimeout?: number;
  home?: string;
  metrics?: string;
  tls?: true;
  tlsCa?: string;
  tokenFile?: string;
  insecureToken?: true;
}

const shownBy = ({ tls, tlsCa, tokenFile, insecureToken }: Flags): string[] => [
  ...(tls === true ? ['--tls'] : []), ...(tlsCa === undefined ? [] : ['--tls-ca', resolvePath(tlsCa)]), ...(tokenFile === undefined ? [] : ['--token-file', resolvePath(tokenFile)]), ...(insecureToken === true ? ['--insecure-token'] : []),
];

/** The computing threads of each of `workers` that share this machine. */
export const threadsEach = (workers: number): number => Math.max(1, Math.floor(availableParallelism() / workers));

/** Each of several on a port of its own, one after the other; 0 is any for each. @throws AlumnusError USAGE */
export function metricsOf(metrics: string, workers: number): string[] {
  const [, host = '', port = ''] = /^(.+):(\d{1,5})$/.exec(metrics) ?? [];
  if (host === '') throw new AlumnusError('USAGE', 'must be host:port', { where: '--metrics' });
  if (Number(port) + workers - 1 > PORT_MAX) throw new AlumnusError('USAGE', `${workers} workers take ${workers} ports from ${port} on, and ${PORT_MAX} is the last`, { where: '--metrics' });
  return Array.from({ length: workers }, (_, index) => `${host}:${port === '0' ? port : Number(port) + index}`);
}

export function addWorker(program: Command, context: Context): void {
  const command = withLogFlags(declare(program, 'worker', {
    summary: 'Run workers: they label, train and evaluate; or list those there are',
    description: 'Runs until Ctrl-C; a worker that dies is started again. Work in hand is handed back when it stops.',
    examples: ['alumnus worker', 'alumnus worker --count 2 --coordinator 10.0.0.4:7700', 'alumnus worker list'],
  })).option('--coordinator <host:port,...>', 'the coordinator, or each of several (ALUMNUS_ADDRESS; 127.0.0.1:7700)')
    .option('--count <n>', 'how many, one process each', wholeNumber(1, WORKERS_MAX), 1)
    .option('--id <name>', 'the name of the worker, or the beginning of their names')
    .option('--threads <n>', 'computing threads of each (all cores, shared evenly)', wholeNumber(1, 512))
    .option('--engine-timeout <seconds>', 'an engine at work from which nothing came for so long is ended, and its tasks taken again (300)', wholeNumber(1, 86_400))
    .option('--metrics <host:port>', 'where Prometheus finds /metrics; of several workers each takes the next port (nowhere)')
    .option('--tls', 'over TLS, by the authorities that Node.js trusts').option('--tls-ca <file>', 'over TLS, by this authority (ALUMNUS_TLS_CA)')
    .option('--token-file <file>', 'the file with the worker\'s token (ALUMNUS_TOKEN is the token itself)').option('--insecure-token', 'the token may go over the network without TLS')
    .addOption(homeOption()).allowExcessArguments();
  action(command, context, async (flags: Flags) => {
    mustKnow(command);
    const [{ KeptProcess }, { note }] = await Promise.all([import('../processes.ts'), notesOf(context, flags)]);
    const metrics = flags.metrics === undefined ? [] : metricsOf(flags.metrics, flags.count);
    const address = coordinatorAddress(context.env, flags.coordinator);
    const base = flags.id ?? `${hostname()}-${process.pid}`;
    const cache = join(homeFolder(context.env, flags.home), 'cache');
    const release = context.hold();
    let failure: AlumnusError | undefined;
    await new Promise<void>((resolve) => {
      let running = flags.count;
      const workers = Array.from({ length: flags.count }, (_, index) => {
        const id = flags.count === 1 ? base : `${base}-${index + 1}`;
        return new KeptProcess({
          title: `worker ${id}`, program: 'worker', env: context.env, logFile: undefined, guarded: true,
          arguments: ['--coordinator', address, '--id', id, '--threads', String(flags.threads ?? threadsEach(flags.count)), '--cache', cache, ...(flags.engineTimeout === undefined ? [] : ['--engine-timeout', String(flags.engineTimeout)]), ...(metrics[index] === undefined ? [] : ['--metrics', metrics[index]]), ...shownBy(flags), ...logArguments(flags)],
          onRestart: note,
          onGone: (error) => {
            if (failure !== undefined && failure.sentence !== error.sentence) note(`error: ${error.sentence}`);
            failure ??= error;
            running -= 1;
            if (running === 0) resolve();
          },
        });
      });
      const stop = (): void => void Promise.all(workers.map((worker) => worker.stop())).then(() => resolve());
      if (context.signal.aborted) return resolve();
      context.signal.addEventListener('abort', stop, { once: true });
      for (const worker of workers) worker.start();
    });
    release();
    if (context.signal.aborted) return exitCode.interrupted;
    if (failure !== undefined) throw failure;
    return undefined;
  });

  const list = declare(command, 'list', {
    summary: 'List the workers and what each does',
    examples: ['alumnus worker list', 'alumnus worker list -o name'],
  }).addOption(outputOption());
  action(connected(list), context, async (listFlags: ConnectionFlags & OutputFlag) => {
    const [{ withOperator }, { outputForm, printListing }, { duration, instant, none }] = await Promise.all([import('../client.ts'), import('../output.ts'), import('../format.ts')]);
    const form = outputForm(listFlags.output);
    const { workers } = await withOperator(await connectionOf(context, listFlags), (operator) => operator.workers());
    const now = Date.now();
    await printListing(context, form, {
      kind: 'Worker', rows: workers, name: (worker) => worker.workerId,
      head: ['worker', 'state', 'host', 'process', 'device', 'seen', 'tasks'],
      cells: (worker) => [worker.workerId, worker.cordon === '' ? worker.state : `${worker.state}, ${worker.cordon}`, worker.host, String(worker.processId), worker.device, `${duration(now - worker.lastSeenMs)} ago`, worker.taskIds.join(', ') || none],
      wide: { head: ['release', 'last seen'], cells: (worker) => [worker.version, instant(worker.lastSeenMs)] },
      empty: 'There are no workers. Next:\n  alumnus worker',
    });
  });

  addWorkerDescribe(command, context);
  addWorkerCordon(command, context);
}
