/** `alumnus model reproduce`: does again what made a model, and compares digests. */
import type { Command } from 'commander';
import { exitCode } from '../../../proto/errors.ts';
import { action, declare, homeOption, outputOption, storeOption, wholeNumber } from '../../command.ts';
import type { Context } from '../../context.ts';
import { storeUrl } from '../../home.ts';
import type { ModelFlags } from './lineage.ts';

interface Flags extends ModelFlags {
  labels?: boolean;
  weights?: boolean;
  threads?: number;
}

export function addModelReproduce(group: Command, context: Context): void {
  const command = declare(group, 'reproduce <model>', {
    summary: 'Make a model again from what the object store tells, and compare digests',
    description: 'The tasks that made the model are derived from its run\'s manifests, each is done again with the inputs that it had, and what comes out is compared by digest: its selection always, which reads every label table and takes no device; with --labels every shard is labeled again, with --weights the model is trained again. '
      + 'Nothing is written to the object store; a scratch folder (TMPDIR says where) is gone afterwards. Ends with 7 where something differs or could not be made again. The model is named as for `alumnus model lineage`.',
    examples: ['alumnus model reproduce mnist-4f2a91/1', 'alumnus model reproduce mnist-4f2a91 --labels --weights', 'alumnus model reproduce 9f86d081884c7d65 --run mnist-4f2a91 --weights --threads 1'],
  }).option('--run <run>', 'where a digest is looked for (every run)')
    .option('--labels', 'label every shard again')
    .option('--weights', 'train again')
    .option('--threads <n>', 'computing threads (as the accepted training had, where its record tells, else all cores)', wholeNumber(1, 512))
    .addOption(homeOption()).addOption(storeOption()).addOption(outputOption());
  action(command, context, async (named: string, flags: Flags) => {
    const [{ namedModel }, { isReproduced, reproducedText, reproduceModel }, { outputForm, printSingle }] = await Promise.all([import('../../model-name.ts'), import('../../reproduce.ts'), import('../../output.ts')]);
    const form = outputForm(flags.output);
    const url = storeUrl(context.env, flags);
    const model = await namedModel(context, named, { storeUrl: url, run: flags.run, tasks: true });
    const reproduced = await reproduceModel(context, model, url, { labels: flags.labels === true, weights: flags.weights === true, threads: flags.threads });
    await printSingle(context, form, { kind: 'Reproduction', name: reproduced.model, value: reproduced, text: () => reproducedText(reproduced) });
    return isReproduced(reproduced) ? exitCode.ok : exitCode.badData;
  });
}
