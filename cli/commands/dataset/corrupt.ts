/** `alumnus dataset corrupt`: of the images that judge, corrupted datasets to measure robustness by. */
import type { Command } from 'commander';
import { action, declare, homeOption, outputOption, storeOption, wholeNumber, type OutputFlag } from '../../command.ts';
import type { Context } from '../../context.ts';
import { storeUrl } from '../../home.ts';

interface Flags extends OutputFlag {
  as?: string;
  seed: number;
  images?: number;
  sequenceImages: number;
  home?: string;
  store?: string;
}

export function addDatasetCorrupt(group: Command, context: Context): void {
  const command = declare(group, 'corrupt <name>', {
    summary: 'Make corrupted datasets of validation and test, to measure robustness by',
    description: 'One dataset for each of the 15 corruptions of MNIST-C, at their published severities, and one for each of five perturbation sequences: NAME-c.fog and so on. A recipe names them all as data.corrupted: NAME-c. For gray images of 28x28. Interrupted, the same command goes on; what is there is not made again.',
    examples: ['alumnus dataset corrupt mnist', 'alumnus dataset corrupt mnist --images 1000', 'alumnus dataset corrupt mnist --as digits-c --sequence-images 0'],
  })
    .option('--as <name>', 'what the datasets\' names begin with (NAME-c)')
    .option('--seed <n>', 'draws what is random in them', wholeNumber(0, 2 ** 31 - 1), 1)
    .option('--images <n>', 'images of each part that corruptions are made of, the first in its drawn order (all)', wholeNumber(1))
    .option('--sequence-images <n>', 'images of each part that perturbation sequences of up to 31 frames are made of; 0: no sequences', wholeNumber(0), 500)
    .addOption(homeOption()).addOption(storeOption()).addOption(outputOption());
  action(command, context, async (name: string, flags: Flags) => {
    const [{ corruptDataset, inspectDataset }, { openStore }, { outputForm, printListing }, { countedProgress }, { integer, plural, shortDigest }] = await Promise.all([
      import('../../../dataset/index.ts'), import('../../../store/index.ts'), import('../../output.ts'), import('../../dataset-import.ts'), import('../../format.ts'),
    ]);
    const form = outputForm(flags.output);
    const store = await openStore(storeUrl(context.env, flags), { create: false });
    const progress = countedProgress(context, `corrupting ${name}`);
    const release = context.hold();
    try {
      const sets = await corruptDataset(store, name, { as: flags.as, seed: flags.seed, images: flags.images, sequenceImages: flags.sequenceImages, signal: context.signal }, progress.update);
      progress.end();
      const rows = await Promise.all(sets.map(async ({ manifest, made }) => ({ ...(await inspectDataset(store, manifest.name)), made })));
      const count = (row: (typeof rows)[number], part: string): string => integer(row.parts.find((each) => each.part === part)?.samples ?? 0);
      await printListing(context, form, {
        kind: 'Dataset', rows, name: (row) => row.name, head: ['dataset', 'validation', 'test', 'manifest'],
        cells: (row) => [row.name, count(row, 'validation'), count(row, 'test'), shortDigest(row.digest)], empty: '',
      });
      const made = sets.filter((set) => set.made).length;
      context.note(`${plural(made, 'dataset')} made${made < sets.length ? `, ${sets.length - made} there already` : ''}.\nNext: in the recipe, data.corrupted: ${flags.as ?? `${sets[0]?.manifest.corruption?.of.name ?? name}-c`}`);
    } finally {
      progress.end();
      release();
    }
  });
}
