/** `alumnus status`: whether a coordinator answers, and what it has. */
import type { Command } from 'commander';
import { action, addressOption, declare, outputOption, type AddressFlag, type OutputFlag } from '../command.ts';
import type { Context } from '../context.ts';
import { coordinatorAddress } from '../home.ts';

export function addStatus(program: Command, context: Context): void {
  const command = declare(program, 'status', {
    summary: 'Show the coordinator: its term, its store, its workers',
    examples: ['alumnus status', 'alumnus status --address 10.0.0.4:7700 -o json'],
  }).addOption(addressOption()).addOption(outputOption());
  action(command, context, async (flags: AddressFlag & OutputFlag) => {
    const [{ withOperator }, { facts, outputForm, printSingle }] = await Promise.all([import('../client.ts'), import('../output.ts')]);
    const form = outputForm(flags.output);
    const address = coordinatorAddress(context.env, flags.address);
    const status = await withOperator(address, (operator) => operator.status());
    await printSingle(context, form, {
      kind: 'Status', name: address, value: { address, ...status },
      text: () => facts([
        ['Address', address], ['Version', status.version], ['Term', String(status.term)], ['Workers', String(status.workers)],
        ['Store', status.storeUrl], ['Journal', status.journal], ['Facts', String(status.sequence)],
      ]),
    });
  });
}
