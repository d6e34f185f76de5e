/** `alumnus gc`: what lies in the object store and nobody needs any more. */
import type { Command } from 'commander';
import { action, connected, declare, outputOption, wholeNumber, type OutputFlag } from '../command.ts';
import { connectionAgain, connectionOf, type ConnectionFlags } from '../connection.ts';
import type { Context } from '../context.ts';

interface Flags extends ConnectionFlags, OutputFlag {
  dryRun?: true;
  keepLabels?: number;
}

/** What each `why` of operator.proto's GarbageView is to a person. */
const words: Readonly<Record<string, string>> = {
  attempt: 'outputs of attempts that never counted', checkpoint: 'checkpoints of trainings that are done', labels: 'labels of old iterations', snapshot: 'snapshots of the journal before its newest', dataset: 'objects that no dataset names',
};

export function addGc(program: Command, context: Context): void {
  const command = declare(program, 'gc', {
    summary: 'Delete from the object store what no run and no dataset needs',
    description: 'Kept is what journal and manifests name: models, selections, evaluations, records and labels of accepted tasks, what open tasks have written, the newest two checkpoints of trainings that are not done, and every dataset. Nothing younger than a day and a lease is touched (of datasets: a week), and nothing of a run that the journal does not know. '
      + 'With --keep-labels N the labels of iterations before the last N of runs that ended go, too: their images can no longer be explained, nor those iterations reproduced without labeling again.',
    examples: ['alumnus gc --dry-run', 'alumnus gc', 'alumnus gc --keep-labels 1 --dry-run'],
  }).option('--dry-run', 'only say what would be deleted').option('--keep-labels <n>', 'of ended runs, labels of so many last iterations (all)', wholeNumber(1)).addOption(outputOption());
  action(connected(command), context, async (flags: Flags) => {
    const [{ withOperator }, { isForPeople, outputForm, printSingle, table }, { bytes, integer, plural }] = await Promise.all([import('../client.ts'), import('../output.ts'), import('../format.ts')]);
    const form = outputForm(flags.output);
    const apply = flags.dryRun !== true;
    const found = await withOperator(await connectionOf(context, flags), (operator) => operator.collectGarbage(apply, flags.keepLabels));
    const total = found.garbage.reduce((sum, each) => ({ objects: sum.objects + each.objects, bytes: sum.bytes + each.bytes }), { objects: 0, bytes: 0 });
    await printSingle(context, form, {
      kind: 'GarbageCollection', name: 'gc', value: { applied: apply, ...found },
      text: () => [
        ...(found.garbage.length === 0 ? [] : [table(['what', 'objects', 'bytes'], found.garbage.map(({ why, objects, bytes: size }) => [words[why] ?? why, integer(objects), bytes(size)]), [1, 2])]),
        `${apply ? 'Deleted' : 'Would delete'} ${plural(total.objects, 'object')} of ${bytes(total.bytes)}; ${plural(found.keptObjects, 'object')} of ${bytes(found.keptBytes)} ${found.keptObjects === 1 ? 'is' : 'are'} needed${found.youngObjects === 0 ? '' : `, and ${plural(found.youngObjects, 'object')} too young to tell`}.`,
      ].join('\n'),
    });
    if (found.unknownRuns.length > 0) context.note(`Nothing was touched of ${plural(found.unknownRuns.length, 'run')} that the journal does not know: ${found.unknownRuns.slice(0, 5).join(', ')}${found.unknownRuns.length > 5 ? ', …' : ''}. \`alumnus reconcile --dry-run\` says what can be restored.`);
    if (isForPeople(form) && !apply && total.objects > 0) context.note(`Next:\n  alumnus gc${flags.keepLabels === undefined ? '' : ` --keep-labels ${flags.keepLabels}`}${connectionAgain(flags)}`);
  });
}
