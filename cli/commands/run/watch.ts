/** `alumnus run watch`: live progress to the end, then the table. */
import type { Command } from 'commander';
import { AlumnusError } from '../../../proto/errors.ts';
import type { Operator } from '../../client.ts';
import { action, connected, declare, outputOption, type OutputFlag } from '../../command.ts';
import { connectionAgain, connectionOf, type ConnectionFlags } from '../../connection.ts';
import type { Context } from '../../context.ts';
import type { OutputForm } from '../../output.ts';
import { goesOnByItself } from '../../remedy.ts';

/** @param at the flags that the next commands need to reach the coordinator, with a blank before each */
export async function watchToEnd(context: Context, operator: Operator, runId: string, form: OutputForm, at: string): Promise<number> {
  const [{ watchRun, codeOf }, { printSingle }, { machineDocument }, { summaryText }, { withShownAgreement }] = await Promise.all([
    import('../../progress/watch.ts'), import('../../output.ts'), import('../../../proto/machine.ts'), import('../../summary.ts'), import('../../agreement.ts'),
  ]);
  // One line a view: what a program follows.
  const stream = form === 'jsonl';
  let paused = false;
  const view = await watchRun(context, {
    operator, runId, signal: context.signal, quiet: stream,
    onView: (seen) => {
      const { state = '' } = seen.summary ?? {};
      if (state === 'paused' && !paused && !stream && !goesOnByItself(seen.summary)) context.note(`It waits; from another terminal, once the cause is gone:\n  alumnus run resume ${runId}${at}`);
      paused = state === 'paused';
      if (stream) context.print(JSON.stringify(machineDocument('Run', seen)));
    },
  });
  if (context.signal.aborted) context.note(`Stopped watching; run ${runId} goes on. Next:\n  alumnus run watch ${runId}${at}\n  alumnus run cancel ${runId}${at}`);
  else if (view === undefined) throw new AlumnusError('INTERNAL', 'the watch ended without a view', { where: runId });
  else if (!stream) {
    const { view: whole, missing } = await withShownAgreement(view);
    for (const sentence of missing) context.note(sentence);
    await printSingle(context, form, { kind: 'Run', name: runId, value: whole, text: () => summaryText(whole, context.out.columns) });
    context.note(`Next:\n  alumnus run report ${runId}${at}${view.bestModel === undefined ? '' : `\n  alumnus run export ${runId}${at} --to ./model`}`);
  }
  return codeOf(view);
}

export function addRunWatch(group: Command, context: Context): void {
  const command = declare(group, 'watch <run>', {
    summary: 'Follow a run to its end, then print its table',
    description: 'Ends with 0 when the run succeeds and 1 when it fails or is cancelled. Ctrl-C stops watching, not the run. With -o jsonl, one JSON document for each change.',
    examples: ['alumnus run watch mnist-4f2a', 'alumnus run watch mnist-4f2a -o jsonl | jq .imagesPerSecond'],
  }).addOption(outputOption());
  action(connected(command), context, async (runId: string, flags: ConnectionFlags & OutputFlag) => {
    const [{ withOperator }, { outputForm }] = await Promise.all([import('../../client.ts'), import('../../output.ts')]);
    const form = outputForm(flags.output);
    return withOperator(await connectionOf(context, flags), (operator) => watchToEnd(context, operator, runId, form, connectionAgain(flags)));
  });
}
