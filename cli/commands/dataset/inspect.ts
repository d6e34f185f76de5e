/** `alumnus dataset inspect`: figures from the manifest alone. */
import type { Command } from 'commander';
import { action, declare, homeOption, outputOption, storeOption, type OutputFlag } from '../../command.ts';
import type { Context } from '../../context.ts';
import { storeUrl } from '../../home.ts';

export function addDatasetInspect(group: Command, context: Context): void {
  const command = declare(group, 'inspect <name>', {
    summary: 'Show a dataset: its parts, classes, split and digest',
    examples: ['alumnus dataset inspect mnist', 'alumnus dataset inspect mnist -o json | jq .parts'],
  }).addOption(homeOption()).addOption(storeOption()).addOption(outputOption());
  action(command, context, async (name: string, flags: OutputFlag & { home?: string; store?: string }) => {
    const [{ inspectDataset }, { openStore }, { outputForm, printSingle }, { describeDataset }] = await Promise.all([
      import('../../../dataset/index.ts'), import('../../../store/index.ts'), import('../../output.ts'), import('../../dataset-text.ts'),
    ]);
    const form = outputForm(flags.output);
    const dataset = await inspectDataset(await openStore(storeUrl(context.env, flags), { create: false }), name);
    await printSingle(context, form, { kind: 'Dataset', name, value: dataset, text: () => describeDataset(dataset) });
  });
}
