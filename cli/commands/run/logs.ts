/** `alumnus run logs`: what coordinator and workers logged about a run. */
import type { Command } from 'commander';
import type { LogLineView } from '../../../proto/gen/alumnus/v1/operator.ts';
import { machineDocument } from '../../../proto/machine.ts';
import { action, connected, declare, outputOption, wholeNumber, type OutputFlag } from '../../command.ts';
import { connectionOf, type ConnectionFlags } from '../../connection.ts';
import type { Context } from '../../context.ts';

interface Flags extends ConnectionFlags, OutputFlag {
  follow?: true;
  last: number;
  task?: string;
  worker?: string;
}

/** A follower asks this often. */
const FOLLOW_MS = 1_000;
const PAGE = 1_000;

export function addRunLogs(group: Command, context: Context): void {
  const command = declare(group, 'logs <run>', {
    summary: 'Show what coordinator and workers logged about a run',
    description: 'The newest 2,000 lines that the leading coordinator holds in memory: they begin anew when another leads. Everything is where each process writes its log; what is true of a run for good is in `alumnus events`.',
    examples: ['alumnus run logs mnist-4f2a', 'alumnus run logs mnist-4f2a --follow', 'alumnus run logs mnist-4f2a --task i1.train.student.t0-0f3a8c21bd5e9a70'],
  }).option('--last <n>', 'so many, the newest', wholeNumber(1, PAGE), 100).option('--task <task>', 'about this task alone').option('--worker <worker>', 'of this worker alone').option('-f, --follow', 'go on with those that come').addOption(outputOption());
  action(connected(command), context, async (runId: string, flags: Flags) => {
    const [{ withOperator }, { outputForm, isForPeople, printListing }, { instant, none, plain }, { pause }, { AlumnusError }] = await Promise.all([
      import('../../client.ts'), import('../../output.ts'), import('../../format.ts'), import('../../pause.ts'), import('../../../proto/errors.ts'),
    ]);
    const form = outputForm(flags.output);
    if (flags.follow === true && !(isForPeople(form) || form === 'jsonl')) throw new AlumnusError('USAGE', 'what is followed is told line by line: -o jsonl, or no -o', { where: '--output' });
    const wanted = { runId, taskId: flags.task ?? '', workerId: flags.worker ?? '' };
    await withOperator(await connectionOf(context, flags), async (operator) => {
      const first = await operator.logs({ ...wanted, newest: true, max: flags.last });
      if (first.dropped > 0) context.note(`${first.dropped} older lines are no longer held.`);
      if (flags.follow !== true) {
        await printListing(context, form, {
          kind: 'LogLine', rows: first.lines.map(told), name: (line) => `${runId}/${line.number}`,
          head: ['at', 'from', 'level', 'what'], cells: (line) => [instant(line.atMs), line.workerId || 'coordinator', line.level, plain(line.text)],
          wide: { head: ['task'], cells: (line) => [line.taskId || none] },
          empty: `Nothing was logged about run ${runId} in this term. What became of it:\n  alumnus events ${runId} --all`,
        });
        return;
      }
      const say = (line: LogLineView): void => {
        const each = told(line);
        context.print(form === 'jsonl' ? JSON.stringify(machineDocument('LogLine', each)) : `${instant(each.atMs)}  ${each.workerId || 'coordinator'}  ${plain(each.text)}`);
      };
      first.lines.forEach(say);
      let [after, term] = [first.lines.at(-1)?.number ?? 0, first.term];
      while (!context.signal.aborted) {
        await pause(FOLLOW_MS, context.signal);
        if (context.signal.aborted) return;
        const more = await operator.logs({ ...wanted, after });
        // Another leads, and counts anew.
        if (more.term !== term) {
          [after, term] = [0, more.term];
          continue;
        }
        more.lines.forEach(say);
        after = more.lines.at(-1)?.number ?? after;
      }
    });
  });
}

interface ToldLine {
  readonly number: number;
  readonly atMs: number;
  readonly level: string;
  readonly workerId: string;
  readonly taskId: string;
  readonly text: string;
}

const told = ({ number, line, workerId }: LogLineView): ToldLine => ({ number, atMs: line?.atMs ?? 0, level: line?.level ?? '', workerId, taskId: line?.taskId ?? '', text: line?.text ?? '' });
