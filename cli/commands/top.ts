/** `alumnus top`: runs and workers at a glance, redrawn until Ctrl-C; without a terminal once. */
import type { Command } from 'commander';
import { toAlumnusError } from '../../proto/errors.ts';
import type { RunSummary } from '../../proto/gen/alumnus/v1/operator.ts';
import { action, connected, declare, outputOption, wholeNumber, type OutputFlag } from '../command.ts';
import type { Operator } from '../client.ts';
import { connectionOf, type ConnectionFlags } from '../connection.ts';
import type { Context } from '../context.ts';
import type { Snapshot } from '../top-text.ts';

interface Flags extends ConnectionFlags, OutputFlag {
  interval: number;
  once?: true;
}

const SECONDS_MAX = 3_600;

const underWay = ({ state }: RunSummary): boolean => state === 'running' || state === 'paused';

async function snapshotOf(operator: Operator): Promise<Snapshot> {
  const [{ runs }, { workers }] = await Promise.all([operator.runs(), operator.workers()]);
  const status = await operator.status();
  const sorted = [...runs].sort((a, b) => Number(underWay(b)) - Number(underWay(a)) || b.submittedAtMs - a.submittedAtMs);
  return { status, workers, runs: sorted, views: await Promise.all(sorted.filter(underWay).map(({ runId }) => operator.run(runId))) };
}

export function addTop(program: Command, context: Context): void {
  const command = declare(program, 'top', {
    summary: 'Show runs and workers at a glance, redrawn until Ctrl-C',
    description: 'Without a terminal, with --once, or in another form than a table it shows them once.',
    examples: ['alumnus top', 'alumnus top --interval 10', 'alumnus top -o json'],
  }).option('--interval <seconds>', 'how often it looks', wholeNumber(1, SECONDS_MAX), 2).option('--once', 'show it once').addOption(outputOption());
  action(connected(command), context, async (flags: Flags) => {
    const [{ withOperator }, { isForPeople, outputForm, printSingle }, { topText }, { pause }] = await Promise.all([import('../client.ts'), import('../output.ts'), import('../top-text.ts'), import('../pause.ts')]);
    const form = outputForm(flags.output);
    return withOperator(await connectionOf(context, flags), async (operator) => {
      if (flags.once === true || !context.out.isTerminal || !isForPeople(form)) {
        const { status, workers, runs, views } = await snapshotOf(operator);
        const told = views.map((view) => ({ runId: view.summary?.runId ?? '', stageDone: view.stageDone, stageTotal: view.stageTotal, imagesPerSecond: view.imagesPerSecond, ...(view.secondsLeft < 0 ? {} : { secondsLeft: view.secondsLeft }) }));
        return printSingle(context, form, { kind: 'Top', name: operator.address, value: { address: operator.address, role: status.role, term: status.term, runs, workers, progress: told }, text: () => topText({ status, workers, runs, views }, operator.address, context.out.columns, Infinity) });
      }
      let drawn = 0;
      const draw = (text: string): void => {
        context.out.write(`${drawn === 0 ? '' : `\u001b[${drawn}F\u001b[0J`}${text}\n`);
        drawn = text.split('\n').length;
      };
      let last = '';
      while (!context.signal.aborted) {
        try {
          last = topText(await snapshotOf(operator), operator.address, context.out.columns, process.stdout.rows || Infinity);
          draw(last);
        } catch (thrown) {
          // A coordinator that is away comes back, or another leads.
          const error = toAlumnusError(thrown, operator.address);
          if (last === '' || !error.retryable) throw error;
          draw(`${last}\n${error.where}: ${error.message}`);
        }
        await pause(flags.interval * 1000, context.signal);
      }
      return undefined;
    });
  });
}
