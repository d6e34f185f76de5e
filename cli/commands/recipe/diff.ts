/** `alumnus recipe diff`: which fields two recipes say differently. */
import type { Command } from 'commander';
import { exitCode } from '../../../proto/errors.ts';
import { action, connected, declare, outputOption, type OutputFlag } from '../../command.ts';
import type { Operator } from '../../client.ts';
import { connectionOf, type ConnectionFlags } from '../../connection.ts';
import type { Context } from '../../context.ts';

interface Flags extends ConnectionFlags, OutputFlag {
  exitCode?: true;
}

export function addRecipeDiff(group: Command, context: Context): void {
  const command = declare(group, 'diff <a> <b>', {
    summary: 'Show which fields two recipes say differently, defaults filled in',
    description: 'Each is a file, a ready recipe\'s name, or a run\'s id; only for a run a coordinator is asked.',
    examples: ['alumnus recipe diff mnist.yaml mnist', 'alumnus recipe diff mnist-4f2a91 mnist-91c0de', 'alumnus recipe diff old.yaml new.yaml --exit-code'],
  }).option('--exit-code', 'end with 1 where they differ').addOption(outputOption());
  action(connected(command), context, async (a: string, b: string, flags: Flags) => {
    const [{ connect }, { differences, differencesText }, { recipeCalled }, { outputForm, printSingle }] = await Promise.all([import('../../client.ts'), import('../../diff.ts'), import('../../recipe-source.ts'), import('../../output.ts')]);
    const form = outputForm(flags.output);
    let operator: Operator | undefined;
    try {
      const ask = async (): Promise<Operator> => (operator ??= connect(await connectionOf(context, flags)));
      const [left, right] = [await recipeCalled(a, ask), await recipeCalled(b, ask)];
      const found = differences(left, right);
      await printSingle(context, form, { kind: 'RecipeDiff', name: `${a} ${b}`, value: { a, b, differences: found }, text: () => differencesText(found, a, b) });
      return flags.exitCode === true && found.length > 0 ? exitCode.runFailed : exitCode.ok;
    } finally {
      operator?.close();
    }
  });
}
