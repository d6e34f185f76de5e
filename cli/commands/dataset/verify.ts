/** `alumnus dataset verify`: reads every byte and names everything that is wrong. */
import type { Command } from 'commander';
import { exitCode } from '../../../proto/errors.ts';
import { action, declare, homeOption, outputOption, storeOption, type OutputFlag } from '../../command.ts';
import type { Context } from '../../context.ts';
import { storeUrl } from '../../home.ts';

export function addDatasetVerify(group: Command, context: Context): void {
  const command = declare(group, 'verify <name>', {
    summary: 'Check every byte of a dataset against its digests',
    description: 'Reads the manifest, all shards and tables, decodes every image, and names each problem with its file and what to do. Ends with 0 when there is none and 7 otherwise.',
    examples: ['alumnus dataset verify mnist', 'alumnus dataset verify mnist -o jsonl'],
  }).addOption(homeOption()).addOption(storeOption()).addOption(outputOption());
  action(command, context, async (name: string, flags: OutputFlag & { home?: string; store?: string }) => {
    const [{ loadManifest, verifyDataset }, { openStore }, { isForPeople, outputForm, printListing }, { countedProgress }, { plural }] = await Promise.all([
      import('../../../dataset/index.ts'), import('../../../store/index.ts'), import('../../output.ts'), import('../../dataset-import.ts'), import('../../format.ts'),
    ]);
    const form = outputForm(flags.output);
    const store = await openStore(storeUrl(context.env, flags), { create: false });
    const progress = countedProgress(context, name);
    const release = context.hold();
    try {
      const problems = await verifyDataset(store, name, progress.update, context.signal);
      progress.end();
      if (problems.length > 0 || !isForPeople(form)) {
        await printListing(context, form, {
          kind: 'DatasetProblem', rows: problems, name: (row) => row.file,
          head: ['file', 'problem', 'what to do', 'code'], cells: (row) => [row.file, row.problem, row.remedy, row.code], empty: '',
        });
      }
      if (problems.length === 0) {
        if (isForPeople(form)) context.print(`${name}: every byte is as it was imported.`);
        if (!(await loadManifest(store, name)).sealed) context.note('Its manifest is of an earlier release and does not say its own digest: whether it was edited cannot be told.');
        return exitCode.ok;
      }
      context.note(`${name}: ${plural(problems.length, 'problem')} found.`);
      return exitCode.badData;
    } finally {
      progress.end();
      release();
    }
  });
}
