/** `alumnus run describe`: everything known of one run. */
import type { Command } from 'commander';
import { action, connected, declare, outputOption, type OutputFlag } from '../../command.ts';
import { connectionOf, type ConnectionFlags } from '../../connection.ts';
import type { Context } from '../../context.ts';

export function addRunDescribe(group: Command, context: Context): void {
  const command = declare(group, 'describe <run>', {
    summary: 'Show one run: its data, its iterations, its tasks',
    examples: ['alumnus run describe mnist-4f2a', 'alumnus run describe mnist-4f2a -o json | jq .iterations'],
  }).addOption(outputOption());
  action(connected(command), context, async (runId: string, flags: ConnectionFlags & OutputFlag) => {
    const [{ withOperator }, { outputForm, printSingle }, { withShownAgreement }] = await Promise.all([import('../../client.ts'), import('../../output.ts'), import('../../agreement.ts')]);
    const form = outputForm(flags.output);
    const told = await withOperator(await connectionOf(context, flags), (operator) => operator.run(runId));
    const { view, missing } = await withShownAgreement(told);
    for (const sentence of missing) context.note(sentence);
    await printSingle(context, form, {
      kind: 'Run', name: runId, value: view,
      text: async () => (await import('../../describe.ts')).describeRun(view, context.out.columns),
    });
  });
}
