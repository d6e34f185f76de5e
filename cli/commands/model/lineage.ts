/** `alumnus model lineage`: from a model back to its first teacher. */
import type { Command } from 'commander';
import { action, declare, homeOption, outputOption, storeOption, type OutputFlag } from '../../command.ts';
import type { Context } from '../../context.ts';
import { storeUrl } from '../../home.ts';

export interface ModelFlags extends OutputFlag {
  run?: string;
  home?: string;
  store?: string;
}

export function addModelLineage(group: Command, context: Context): void {
  const command = declare(group, 'lineage <model>', {
    summary: 'Tell what a model was made of, and its teachers, back to the first',
    description: 'The model is named by the sha256 of its document or of its weights (the beginning alone is enough), by RUN (its best), by RUN/ITERATION, or by RUN/control or RUN/COMPARISON. Everything is read from the object store, and documents are checked by their digests; no coordinator need run. '
      + 'A digest is looked for in the listing of all runs, which takes a while in a large bucket: --run says where.',
    examples: ['alumnus model lineage mnist-4f2a91', 'alumnus model lineage mnist-4f2a91/2 -o json', 'alumnus model lineage 9f86d081884c7d65 --run mnist-4f2a91'],
  }).option('--run <run>', 'where the digest is looked for (every run)').addOption(homeOption()).addOption(storeOption()).addOption(outputOption());
  action(command, context, async (named: string, flags: ModelFlags) => {
    const [{ namedModel }, { lineageOf, lineageText }, { openStore }, { outputForm, printSingle }] = await Promise.all([import('../../model-name.ts'), import('../../lineage.ts'), import('../../../store/index.ts'), import('../../output.ts')]);
    const form = outputForm(flags.output);
    const url = storeUrl(context.env, flags);
    const { history, model, sha256 } = await namedModel(context, named, { storeUrl: url, run: flags.run });
    const lineage = await lineageOf(await openStore(url, { create: false }), history, model);
    await printSingle(context, form, { kind: 'Lineage', name: sha256, value: lineage, text: () => `Run ${history.runId}\n${lineageText(lineage)}` });
  });
}
