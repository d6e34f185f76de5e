/** `alumnus model export`: a model and its weights as files, by the model's name. */
import type { Command } from 'commander';
import { action, declare } from '../../command.ts';
import { connectionOf } from '../../connection.ts';
import type { Context } from '../../context.ts';
import { exportTo, withExportFlags, type ExportFlags } from '../run/export.ts';

export function addModelExport(group: Command, context: Context): void {
  const command = declare(group, 'export <model>', {
    summary: 'Write a model to a folder, by its digest or by RUN/ITERATION',
    description: 'As `alumnus run export`, of the model that is named as for `alumnus model lineage`.',
    examples: ['alumnus model export mnist-4f2a91/2 --to ./model', 'alumnus model export 9f86d081884c --run mnist-4f2a91 --format onnx --to ./onnx'],
  }).option('--run <run>', 'where a digest is looked for (every run)');
  action(withExportFlags(command), context, async (named: string, flags: ExportFlags & { run?: string }) => {
    const [{ withOperator }, { namedModel }, { storeUrl }, { outputForm }] = await Promise.all([import('../../client.ts'), import('../../model-name.ts'), import('../../home.ts'), import('../../output.ts')]);
    outputForm(flags.output);
    await withOperator(await connectionOf(context, flags), async (operator) => {
      const store = flags.store === undefined ? (await operator.status()).storeUrl : storeUrl(context.env, { store: flags.store });
      const { history, sha256 } = await namedModel(context, named, { storeUrl: store, run: flags.run });
      await exportTo(context, await operator.run(history.runId), flags, { sha256 });
    });
  });
}
