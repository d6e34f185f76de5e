/** `alumnus reconcile`: what the bucket knows of runs, taken in where the journal lacks it. */
import type { Command } from 'commander';
import { AlumnusError } from '../../proto/errors.ts';
import type { ReconciledRun } from '../../proto/gen/alumnus/v1/operator.ts';
import { action, connected, declare, outputOption, type OutputFlag } from '../command.ts';
import { connectionAgain, connectionOf, type ConnectionFlags } from '../connection.ts';
import type { Context } from '../context.ts';
import { none } from '../format.ts';

interface Flags extends ConnectionFlags, OutputFlag {
  dryRun?: boolean;
}

/** What each verdict of operator.proto's ReconciledRun means to a person, done or only found. */
const words: Readonly<Record<string, readonly [done: string, found: string]>> = {
  agrees: ['nothing to do: the journal has all that the bucket tells', 'nothing to do: the journal has all that the bucket tells'],
  restored: ['restored: the journal did not know it', 'can be restored: the journal does not know it'],
  advanced: ['brought forward: the journal lacked facts or results', 'can be brought forward: the journal lacks facts or results'],
  diverged: ['diverged: the journal went on otherwise than the manifests, and stands', 'diverged: the journal went on otherwise than the manifests, and will stand'],
  unreadable: ['not restored: no manifest of it could be read from the first on', 'can\'t be restored: no manifest of it can be read from the first on'],
};

/** As `readManifests` of the coordinator notes a manifest whose facts never came to count. */
const LEFT_BEHIND = /^manifest \d+ of term \d+ \([0-9a-f]+\) was left by a leader that did not get to journal it$/;

/** Manifests that a change of leaders leaves behind as one line: there may be many, and none asks for anything. */
export function notesOf(notes: readonly string[]): string[] {
  const left = notes.filter((note) => LEFT_BEHIND.test(note)).length;
  const others = notes.filter((note) => !LEFT_BEHIND.test(note));
  if (left === 0) return others;
  return [...others, `${left === 1 ? '1 manifest was left by a leader that did not get to journal it' : `${left} manifests were left by leaders that did not get to journal them`}: harmless`];
}

/** A figure that says something of this run only where its journal was brought forward. */
const figure = (run: ReconciledRun, count: number): string => (run.verdict === 'diverged' && count === 0 ? none : String(count));

export function addReconcile(program: Command, context: Context): void {
  const command = declare(program, 'reconcile [run]', {
    summary: 'Hold the runs in the object store against the journal, and take in what the journal lacks',
    description: 'For when a journal was lost, or lost what it had acknowledged: leaders write every decision to the bucket before they journal it, and workers a record of each finished task. '
      + 'What the journal has stands; facts are only added behind it. Ends with 4 where a run has diverged: its journal went on otherwise than its manifests say. It reads every record and output that it uses, so it takes a while on large runs.',
    examples: ['alumnus reconcile --dry-run', 'alumnus reconcile', 'alumnus reconcile mnist-4f2a91 -o json'],
  }).option('--dry-run', 'only say what would be done').addOption(outputOption());
  action(connected(command), context, async (runId: string | undefined, flags: Flags) => {
    const [{ withOperator }, { outputForm, printListing }, { stageName }] = await Promise.all([import('../client.ts'), import('../output.ts'), import('../../proto/stages.ts')]);
    const form = outputForm(flags.output);
    const apply = flags.dryRun !== true;
    const { runs, objectsSeen } = await withOperator(await connectionOf(context, flags), (operator) => operator.reconcile(runId ?? '', apply));
    // Nothing lies below its name in the bucket, and the journal does not know it either.
    if (runId !== undefined && objectsSeen === 0 && runs.every((run) => run.verdict === 'unreadable')) throw new AlumnusError('RUN_NOT_FOUND', 'neither the journal nor the object store knows such a run', { where: runId });
    const where = (run: ReconciledRun): string => (run.state === '' ? '' : `${run.state}, iteration ${run.iteration}, ${stageName(run.stage)}`);
    await printListing(context, form, {
      kind: 'ReconciledRun', rows: runs, name: (run) => run.runId,
      head: ['run', 'verdict', 'facts', 'results', 'checkpoints', 'to do', 'state', 'notes'],
      cells: (run) => [run.runId, words[run.verdict]?.[apply ? 0 : 1] ?? run.verdict, figure(run, run.factsRestored), figure(run, run.resultsTaken), figure(run, run.checkpointsTaken), run.verdict === 'diverged' ? none : String(run.tasksOpen), where(run), notesOf(run.notes).join('\n')],
      wide: { head: ['what was found'], cells: (run) => [run.verdict] },
      empty: 'There are no runs in the object store.',
    });
    const diverged = runs.filter((run) => run.verdict === 'diverged').map((run) => run.runId);
    if (diverged.length > 0) {
      throw new AlumnusError('RUN_CONFLICT', `diverged: the journal stands and the run${diverged.length === 1 ? ' goes' : 's go'} on by it; where the manifests told the truth, cancel the run and submit its recipe anew, or restore the journal from a copy made before it went on and reconcile that`, { where: diverged.join(', ') });
    }
    if (runs.length > 0) context.note(`Next:\n  alumnus ${apply ? 'run list' : `reconcile${runId === undefined ? '' : ` ${runId}`}`}${connectionAgain(flags)}`);
  });
}
