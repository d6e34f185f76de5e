/** `alumnus run wait`: for scripts; silent until runs end, or are what was asked for. */
import type { Command } from 'commander';
import { AlumnusError, exitCode } from '../../../proto/errors.ts';
import type { RunView } from '../../../proto/gen/alumnus/v1/operator.ts';
import { action, connected, declare, outputOption, wholeNumber, type OutputFlag } from '../../command.ts';
import type { Condition } from '../../conditions.ts';
import { connectionOf, type ConnectionFlags } from '../../connection.ts';
import type { Context } from '../../context.ts';

interface Flags extends ConnectionFlags, OutputFlag {
  for?: string[];
  timeout?: number;
}

interface Waited {
  readonly runId: string;
  readonly view: RunView | undefined;
  /** That was met; absent where none was asked for, or none was met. */
  readonly condition?: string;
}

const collect = (value: string, before: string[] = []): string[] => [...before, value];

export function addRunWait(group: Command, context: Context): void {
  const command = declare(group, 'wait <runs...>', {
    summary: 'Wait for runs to end, or to be what --for says, without a word',
    description: 'Ends with 0 when all of them succeed, 1 when one fails or is cancelled, 124 after --timeout. A paused run is waited for. '
      + 'With --for it ends with 0 as soon as each run is one of those: running, paused, succeeded, failed, cancelled, ended, iteration=N (reached), stage=STAGE (label, select, train, evaluate, promote; a short one may be over between two looks); with commas between them all at once. A run that ends as something else ends the command with 1 where it failed or was cancelled, else with 4.',
    examples: ['alumnus run wait mnist-4f2a --timeout 3600 && alumnus run report mnist-4f2a', 'alumnus run wait mnist-4f2a --for paused --for ended', 'alumnus run wait mnist-4f2a --for iteration=2,stage=train', 'alumnus run wait $(alumnus run list -o name)'],
  }).option('--for <condition>', 'what to wait for; given again: or for this (the end)', collect)
    .option('--timeout <seconds>', 'give up after this long', wholeNumber(1, 31_536_000)).addOption(outputOption());
  action(connected(command), context, async (runIds: string[], flags: Flags) => {
    const [{ hasEnded, withOperator }, { outputForm, printListing, printSingle }, { watchRun, codeOf, withTimeout }, { outcome }, { parseCondition }] = await Promise.all([
      import('../../client.ts'), import('../../output.ts'), import('../../progress/watch.ts'), import('../../summary.ts'), import('../../conditions.ts'),
    ]);
    const form = outputForm(flags.output);
    const conditions: readonly Condition[] = (flags.for ?? []).map(parseCondition);
    return withOperator(await connectionOf(context, flags), async (operator) => {
      const limit = withTimeout(context.signal, flags.timeout);
      const wait = async (runId: string): Promise<Waited> => {
        let met: Condition | undefined;
        const view = await watchRun(context, {
          operator, runId, signal: limit.signal, quiet: true,
          onView: (seen) => (met = conditions.find((condition) => condition.isMet(seen))) !== undefined,
        });
        return { runId, view, ...(met === undefined ? {} : { condition: met.text }) };
      };
      const waited = await Promise.all([...new Set(runIds)].map(wait));
      const awaited = ({ view, condition }: Waited): boolean => (conditions.length === 0 ? view !== undefined && hasEnded(view) : condition !== undefined);
      const late = waited.filter((each) => !awaited(each) && !(each.view !== undefined && hasEnded(each.view)));
      if (limit.timedOut() && late.length > 0) throw limit.error(late.map(({ runId }) => runId).join(', '), conditions.map(({ text }) => text).join(' or ') || 'ended');
      if (context.signal.aborted) return exitCode.interrupted;
      const text = ({ runId, view, condition }: Waited): string => (condition === undefined && view !== undefined ? outcome(view) || `Run ${runId} succeeded.` : `Run ${runId}: ${condition}.`);
      const [one] = waited;
      if (waited.length === 1 && one !== undefined) await printSingle(context, form, { kind: 'RunSummary', name: one.runId, value: one.view?.summary ?? {}, text: () => text(one) });
      else {
        await printListing(context, form, {
          kind: 'RunSummary', rows: waited.flatMap(({ view }) => view?.summary ?? []), name: (run) => run.runId, head: ['run', 'what'],
          cells: (run) => [run.runId, text(waited.find(({ runId }) => runId === run.runId) ?? { runId: run.runId, view: undefined })], empty: '',
        });
      }
      if (conditions.length === 0) return Math.max(...waited.map(({ view }) => codeOf(view)));
      const missed = waited.filter((each) => !awaited(each));
      if (missed.some(({ view }) => view?.summary?.state !== 'succeeded')) return exitCode.runFailed;
      if (missed.length > 0) throw new AlumnusError('RUN_CONFLICT', `it has succeeded, and will not be ${conditions.map((each) => each.text).join(' or ')} any more`, { where: missed.map(({ runId }) => runId).join(', ') });
      return exitCode.ok;
    });
  });
}
