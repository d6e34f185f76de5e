/** `alumnus run list`: all runs the coordinator knows, the newest first. */
import type { Command } from 'commander';
import { action, connected, declare, outputOption, type OutputFlag } from '../../command.ts';
import { connectionOf, type ConnectionFlags } from '../../connection.ts';
import type { Context } from '../../context.ts';

export function addRunList(group: Command, context: Context): void {
  const command = declare(group, 'list', {
    summary: 'List the runs',
    examples: ['alumnus run list', 'alumnus run list -o name', 'alumnus run list -o json | jq -r \'.items[] | select(.state == "failed").runId\''],
  }).addOption(outputOption());
  action(connected(command), context, async (flags: ConnectionFlags & OutputFlag) => {
    const [{ withOperator }, { outputForm, printListing }, { stageName }, { duration, instant, none, percent, plain }] = await Promise.all([
      import('../../client.ts'), import('../../output.ts'), import('../../../proto/stages.ts'), import('../../format.ts'),
    ]);
    const form = outputForm(flags.output);
    const { runs, notice } = await withOperator(await connectionOf(context, flags), (operator) => operator.runs());
    const now = Date.now();
    if (notice !== '') context.note(`Notice: ${plain(notice)}`);
    await printListing(context, form, {
      kind: 'RunSummary',
      rows: [...runs].sort((a, b) => b.submittedAtMs - a.submittedAtMs),
      name: (run) => run.runId,
      head: ['run', 'state', 'iteration', 'stage', 'teacher', 'submitted', 'took'],
      cells: (run) => [
        run.runId,
        run.waitsForWorker ? `${run.state}, waits for a worker` : run.state,
        `${run.iteration} of ${run.rounds}`,
        run.state === 'running' || run.state === 'paused' ? stageName(run.stage) || none : none,
        run.teacherValidation !== undefined && run.teacherValidation.total > 0 ? percent(run.teacherValidation.correct / run.teacherValidation.total) : none,
        instant(run.submittedAtMs),
        duration((run.endedAtMs || now) - run.submittedAtMs),
      ],
      wide: { head: ['recipe', 'ended', 'reason'], cells: (run) => [run.name, instant(run.endedAtMs) || none, run.reason || none] },
      empty: 'There are no runs yet. Next:\n  alumnus run submit FILE',
    });
  });
}
