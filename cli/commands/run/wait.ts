/** `alumnus run wait`: for scripts; silent until the run ends. */
import type { Command } from 'commander';
import { action, connected, declare, outputOption, wholeNumber, type OutputFlag } from '../../command.ts';
import { connectionOf, type ConnectionFlags } from '../../connection.ts';
import type { Context } from '../../context.ts';

interface Flags extends ConnectionFlags, OutputFlag {
  timeout?: number;
}

export function addRunWait(group: Command, context: Context): void {
  const command = declare(group, 'wait <run>', {
    summary: 'Wait for a run to end, without a word',
    description: 'Ends with 0 when the run succeeds, 1 when it fails or is cancelled, 124 after --timeout. A paused run is waited for.',
    examples: ['alumnus run wait mnist-4f2a --timeout 3600 && alumnus run report mnist-4f2a'],
  }).option('--timeout <seconds>', 'give up after this long', wholeNumber(1, 31_536_000)).addOption(outputOption());
  action(connected(command), context, async (runId: string, flags: Flags) => {
    const [{ withOperator }, { outputForm, printSingle }, { watchRun, codeOf, withTimeout }, { outcome }] = await Promise.all([
      import('../../client.ts'), import('../../output.ts'), import('../../progress/watch.ts'), import('../../summary.ts'),
    ]);
    const form = outputForm(flags.output);
    return withOperator(await connectionOf(context, flags), async (operator) => {
      const limit = withTimeout(context.signal, flags.timeout);
      const view = await watchRun(context, { operator, runId, signal: limit.signal, quiet: true });
      if (limit.timedOut()) throw limit.error(runId);
      if (view !== undefined && !context.signal.aborted) {
        await printSingle(context, form, { kind: 'RunSummary', name: runId, value: view.summary ?? {}, text: () => outcome(view) || `Run ${runId} succeeded.` });
      }
      return codeOf(view);
    });
  });
}
