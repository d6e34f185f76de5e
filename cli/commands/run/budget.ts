/** `alumnus run budget`: what a run has spent of its limits, and new ones. */
import type { Command } from 'commander';
import { action, connected, declare, hours, outputOption, type OutputFlag } from '../../command.ts';
import { connectionAgain, connectionOf, type ConnectionFlags } from '../../connection.ts';
import type { Context } from '../../context.ts';

interface Flags extends ConnectionFlags, OutputFlag {
  deviceHours?: number;
  wallHours?: number;
}

export function addRunBudget(group: Command, context: Context): void {
  const command = declare(group, 'budget <run>', {
    summary: 'Show what a run has spent of its budget, or change its limits',
    description: 'A run whose budget is spent pauses: what is under way may finish, nothing more is begun. Raised, it goes on by itself; one that a person paused waits for `alumnus run resume`.',
    examples: ['alumnus run budget mnist-4f2a', 'alumnus run budget mnist-4f2a --device-hours 40', 'alumnus run budget mnist-4f2a --wall-hours 0  # no limit'],
  })
    .option('--device-hours <hours>', 'limit of device time, failed attempts included; 0: none', hours)
    .option('--wall-hours <hours>', 'limit of wall time, time paused left out; 0: none', hours)
    .addOption(outputOption());
  action(connected(command), context, async (runId: string, { deviceHours, wallHours, ...flags }: Flags) => {
    const [{ withOperator }, { facts, outputForm, printSingle }, { budgetFacts }] = await Promise.all([
      import('../../client.ts'), import('../../output.ts'), import('../../describe.ts'),
    ]);
    const form = outputForm(flags.output);
    const limits = { ...(deviceHours === undefined ? {} : { deviceHours }), ...(wallHours === undefined ? {} : { wallHours }) };
    const changes = deviceHours !== undefined || wallHours !== undefined;
    const { summary, budget } = await withOperator(await connectionOf(context, flags), (operator) => (changes ? operator.budget(runId, limits) : operator.run(runId)));
    const { state = '', reason = '' } = summary ?? {};
    await printSingle(context, form, {
      kind: 'RunBudget', name: runId, value: { runId, state, reason, ...budget },
      text: () => facts([['Run', runId], ['State', `${state}${reason === '' ? '' : `: ${reason}`}`], ...budgetFacts(budget)]),
    });
    if (changes) context.note(`Next:\n  alumnus run watch ${runId}${connectionAgain(flags)}`);
  });
}
