/** `alumnus run describe`: everything known of one run. */
import type { Command } from 'commander';
import { action, addressOption, declare, outputOption, type AddressFlag, type OutputFlag } from '../../command.ts';
import type { Context } from '../../context.ts';
import { coordinatorAddress } from '../../home.ts';

export function addRunDescribe(group: Command, context: Context): void {
  const command = declare(group, 'describe <run>', {
    summary: 'Show one run: its data, its iterations, its tasks',
    examples: ['alumnus run describe mnist-4f2a', 'alumnus run describe mnist-4f2a -o json | jq .iterations'],
  }).addOption(addressOption()).addOption(outputOption());
  action(command, context, async (runId: string, flags: AddressFlag & OutputFlag) => {
    const [{ withOperator }, { outputForm, printSingle }, { withShownAgreement }] = await Promise.all([import('../../client.ts'), import('../../output.ts'), import('../../agreement.ts')]);
    const form = outputForm(flags.output);
    const address = coordinatorAddress(context.env, flags.address);
    const told = await withOperator(address, (operator) => operator.run(runId));
    const { view, missing } = await withShownAgreement(told);
    for (const sentence of missing) context.note(sentence);
    await printSingle(context, form, {
      kind: 'Run', name: runId, value: view,
      text: async () => (await import('../../describe.ts')).describeRun(view, context.out.columns),
    });
  });
}
