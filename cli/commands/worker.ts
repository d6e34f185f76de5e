/** `alumnus worker`: runs workers in the foreground, and lists those a coordinator knows. */
import { availableParallelism, hostname } from 'node:os';
import { join } from 'node:path';
import type { Command } from 'commander';
import { type AlumnusError, exitCode } from '../../proto/errors.ts';
import { action, connected, declare, homeOption, mustKnow, outputOption, wholeNumber, type OutputFlag } from '../command.ts';
import { connectionOf, type ConnectionFlags } from '../connection.ts';
import type { Context } from '../context.ts';
import { coordinatorAddress, homeFolder } from '../home.ts';
import { addWorkerDescribe } from './worker/describe.ts';

const WORKERS_MAX = 256;

interface Flags {
  coordinator?: string;
  count: number;
  id?: string;
  threads?: number;
  engineTimeout?: number;
  home?: string;
}

/** The computing threads of each of `workers` that share this machine. */
export const threadsEach = (workers: number): number => Math.max(1, Math.floor(availableParallelism() / workers));

export function addWorker(program: Command, context: Context): void {
  const command = declare(program, 'worker', {
    summary: 'Run workers: they label, train and evaluate; or list those there are',
    description: 'Runs until Ctrl-C; a worker that dies is started again. Work in hand is handed back when it stops.',
    examples: ['alumnus worker', 'alumnus worker --count 2 --coordinator 10.0.0.4:7700', 'alumnus worker list'],
  }).option('--coordinator <host:port,...>', 'the coordinator, or each of several (ALUMNUS_ADDRESS; 127.0.0.1:7700)')
    .option('--count <n>', 'how many, one process each', wholeNumber(1, WORKERS_MAX), 1)
    .option('--id <name>', 'the name of the worker, or the beginning of their names')
    .option('--threads <n>', 'computing threads of each (all cores, shared evenly)', wholeNumber(1, 512))
    .option('--engine-timeout <seconds>', 'an engine at work from which nothing came for so long is ended, and its tasks taken again (300)', wholeNumber(1, 86_400))
    .addOption(homeOption()).allowExcessArguments();
  action(command, context, async (flags: Flags) => {
    mustKnow(command);
    const { KeptProcess } = await import('../processes.ts');
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
          arguments: ['--coordinator', address, '--id', id, '--threads', String(flags.threads ?? threadsEach(flags.count)), '--cache', cache, ...(flags.engineTimeout === undefined ? [] : ['--engine-timeout', String(flags.engineTimeout)])],
          onRestart: (sentence) => context.note(sentence),
          onGone: (error) => {
            if (failure !== undefined && failure.sentence !== error.sentence) context.note(`error: ${error.sentence}`);
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
      cells: (worker) => [worker.workerId, worker.state, worker.host, String(worker.processId), worker.device, `${duration(now - worker.lastSeenMs)} ago`, worker.taskIds.join(', ') || none],
      wide: { head: ['release', 'last seen'], cells: (worker) => [worker.version, instant(worker.lastSeenMs)] },
      empty: 'There are no workers. Next:\n  alumnus worker',
    });
  });

  addWorkerDescribe(command, context);
}
