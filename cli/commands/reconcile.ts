/** `alumnus reconcile`: what the bucket knows of runs, taken in where the journal lacks it. */
import type { Command } from 'commander';
import type { ReconciledRun } from '../../proto/gen/alumnus/v1/operator.ts';
import { action, addressOption, declare, outputOption, type AddressFlag, type OutputFlag } from '../command.ts';
import type { Context } from '../context.ts';
import { coordinatorAddress } from '../home.ts';

interface Flags extends AddressFlag, OutputFlag {
  dryRun?: boolean;
}

/** What each verdict of operator.proto's ReconciledRun means to a person, done or only found. */
const words: Readonly<Record<string, readonly [done: string, found: string]>> = {
  agrees: ['nothing to do: the journal has all that the bucket tells', 'nothing to do: the journal has all that the bucket tells'],
  restored: ['restored: the journal did not know it', 'can be restored: the journal does not know it'],
  advanced: ['brought forward: the journal lacked facts or results', 'can be brought forward: the journal lacks facts or results'],
  diverged: ['left alone: the journal went on otherwise, and stands', 'will be left alone: the journal went on otherwise, and stands'],
  unreadable: ['not restored: no manifest of it could be read from the first on', 'can\'t be restored: no manifest of it can be read from the first on'],
};

export function addReconcile(program: Command, context: Context): void {
  const command = declare(program, 'reconcile [run]', {
    summary: 'Hold the runs in the object store against the journal, and take in what the journal lacks',
    description: 'For when a journal was lost, or lost what it had acknowledged: leaders write every decision to the bucket before they journal it, and workers a record of each finished task. '
      + 'What the journal has stands; facts are only added behind it. It reads every record and output that it uses, so it takes a while on large runs.',
    examples: ['alumnus reconcile --dry-run', 'alumnus reconcile', 'alumnus reconcile mnist-4f2a91 -o json'],
  }).option('--dry-run', 'only say what would be done').addOption(addressOption()).addOption(outputOption());
  action(command, context, async (runId: string | undefined, flags: Flags) => {
    const [{ withOperator }, { outputForm, printListing }, { stageName }] = await Promise.all([import('../client.ts'), import('../output.ts'), import('../../proto/stages.ts')]);
    const form = outputForm(flags.output);
    const apply = flags.dryRun !== true;
    const { runs } = await withOperator(coordinatorAddress(context.env, flags.address), (operator) => operator.reconcile(runId ?? '', apply));
    const where = (run: ReconciledRun): string => (run.state === '' ? '' : `${run.state}, iteration ${run.iteration}, ${stageName(run.stage)}`);
    await printListing(context, form, {
      kind: 'ReconciledRun', rows: runs, name: (run) => run.runId,
      head: ['run', 'verdict', 'facts', 'results', 'to do', 'state', 'notes'],
      cells: (run) => [run.runId, words[run.verdict]?.[apply ? 0 : 1] ?? run.verdict, String(run.factsRestored), String(run.resultsTaken), String(run.tasksOpen), where(run), run.notes.join('\n')],
      empty: 'There are no runs in the object store.',
    });
  });
}
