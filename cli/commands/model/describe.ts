/** `alumnus model describe`: what one model is. */
import type { Command } from 'commander';
import { action, declare, homeOption, outputOption, storeOption } from '../../command.ts';
import type { Context } from '../../context.ts';
import { storeUrl } from '../../home.ts';
import type { ModelFlags } from './lineage.ts';

export function addModelDescribe(group: Command, context: Context): void {
  const command = declare(group, 'describe <model>', {
    summary: 'Show one model: its architecture, what it takes and gives, its scores, what it was made of',
    description: 'The model is named as for `alumnus model lineage`, which also tells its teachers, back to the first. Everything is read from the object store; no coordinator need run.',
    examples: ['alumnus model describe mnist-4f2a91', 'alumnus model describe mnist-4f2a91/control -o json'],
  }).option('--run <run>', 'where a digest is looked for (every run)').addOption(homeOption()).addOption(storeOption()).addOption(outputOption());
  action(command, context, async (named: string, flags: ModelFlags) => {
    const [{ namedModel }, { describedModel, describedText }, { openStore }, { outputForm, printSingle }] = await Promise.all([import('../../model-name.ts'), import('../../described-model.ts'), import('../../../store/index.ts'), import('../../output.ts')]);
    const form = outputForm(flags.output);
    const url = storeUrl(context.env, flags);
    const { history, model, sha256 } = await namedModel(context, named, { storeUrl: url, run: flags.run });
    const described = await describedModel(await openStore(url, { create: false }), history, model);
    await printSingle(context, form, { kind: 'ModelDescription', name: sha256, value: described, text: () => describedText(described) });
    if (described.role !== 'imported') context.note(`Next:\n  alumnus model lineage ${sha256.slice(0, 12)} --run ${history.runId}\n  alumnus model export ${sha256.slice(0, 12)} --run ${history.runId} --to ./model`);
  });
}
