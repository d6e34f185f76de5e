/** `alumnus dataset list`. */
import type { Command } from 'commander';
import { action, declare, homeOption, outputOption, storeOption, type OutputFlag } from '../../command.ts';
import type { DatasetSummary } from '../../../dataset/index.ts';
import { AlumnusError, errorTable, type ErrorCode } from '../../../proto/errors.ts';
import type { Context } from '../../context.ts';
import { storeUrl } from '../../home.ts';

/** What is wrong with one manifest (USAGE: its folder's name is no dataset's) says nothing of the others. */
const OF_ONE_MANIFEST: ReadonlySet<ErrorCode> = new Set(['SHARD_CORRUPT', 'DIGEST_MISMATCH', 'USAGE']);

export function addDatasetList(group: Command, context: Context): void {
  const command = declare(group, 'list', {
    summary: 'List the datasets of the store',
    examples: ['alumnus dataset list', 'alumnus dataset list --home ~/.local/share/alumnus/demo -o name'],
  }).addOption(homeOption()).addOption(storeOption()).addOption(outputOption());
  action(command, context, async (flags: OutputFlag & { home?: string; store?: string }) => {
    const [{ inspectDataset, listDatasets }, { openStore }, { outputForm, printListing }, { bytes, integer, none, plain }] = await Promise.all([
      import('../../../dataset/index.ts'), import('../../../store/index.ts'), import('../../output.ts'), import('../../format.ts'),
    ]);
    const form = outputForm(flags.output);
    const store = await openStore(storeUrl(context.env, flags), { create: false });
    const rows: DatasetSummary[] = [];
    const problems: AlumnusError[] = [];
    for (const name of await listDatasets(store)) {
      try {
        rows.push(await inspectDataset(store, name));
      } catch (thrown) {
        if (!(thrown instanceof AlumnusError && OF_ONE_MANIFEST.has(thrown.code))) throw thrown;
        problems.push(thrown);
      }
    }
    const count = (row: DatasetSummary, part: string): string => integer(row.parts.find((each) => each.part === part)?.samples ?? 0);
    const sum = (row: DatasetSummary, of: (part: DatasetSummary['parts'][number]) => number, text: (count: number) => string): string => text(row.parts.reduce((total, part) => total + of(part), 0));
    await printListing(context, form, {
      kind: 'Dataset', rows, name: (row) => row.name,
      head: ['dataset', 'labeled', 'unlabeled', 'validation', 'test', 'classes', 'image', 'manifest'],
      cells: (row) => [
        row.name, count(row, 'labeled'), count(row, 'unlabeled'), count(row, 'validation'), count(row, 'test'),
        integer(row.classes.length), `${row.image.height}x${row.image.width}x${row.image.channels}`, row.digest.slice(0, 12),
      ],
      wide: {
        head: ['version', 'shards', 'size', 'source', 'sha256'],
        cells: (row) => [String(row.version), sum(row, ({ shards }) => shards, integer), sum(row, (part) => part.bytes, bytes), row.split?.source ?? row.corruption?.of.name ?? none, row.digest],
      },
      empty: problems.length > 0 ? 'No dataset of this store can be read.' : 'There are no datasets in this store. Next:\n  alumnus dataset import mnist',
    });
    for (const problem of problems) context.note(`error: ${plain(problem.sentence)}`);
    const [first] = problems;
    return first === undefined ? undefined : errorTable[first.code].exit;
  });
}
