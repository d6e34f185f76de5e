/** `alumnus version`: the release, and what it runs on. */
import type { Command } from 'commander';
import { action, declare, outputOption, type OutputFlag } from '../command.ts';
import type { Context } from '../context.ts';
import { version } from '../../proto/version.ts';

export function addVersion(program: Command, context: Context): void {
  const command = declare(program, 'version', {
    summary: 'Print the release',
    examples: ['alumnus version -o json'],
  }).addOption(outputOption());
  action(command, context, async (flags: OutputFlag) => {
    const { outputForm, printSingle } = await import('../output.ts');
    const release = version();
    await printSingle(context, outputForm(flags.output), {
      kind: 'Version', name: release,
      value: { version: release, node: process.version, platform: `${process.platform}-${process.arch}` },
      text: () => `alumnus ${release} (node ${process.version}, ${process.platform}-${process.arch})`,
    });
  });
}
