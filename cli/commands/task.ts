/** `alumnus task`: what a run has under way, and why a task is not running. */
import type { Command } from 'commander';
import type { TaskView } from '../../proto/gen/alumnus/v1/operator.ts';
import { action, connected, declare, declareGroup, outputOption, type OutputFlag } from '../command.ts';
import { connectionOf, type ConnectionFlags } from '../connection.ts';
import type { Context } from '../context.ts';

interface ExplainFlags extends ConnectionFlags, OutputFlag {
  run?: string;
}

export function addTask(program: Command, context: Context): void {
  const group = declareGroup(program, 'task', { summary: 'What a run has under way, and why a task waits', examples: ['alumnus task list mnist-4f2a', 'alumnus task explain i1.train.student.t0-0f3a --run mnist-4f2a'] });

  const list = declare(group, 'list <run>', {
    summary: 'List the tasks of a run\'s present stage, and those beside it',
    description: 'A stage of thousands of shards is told by the tasks that are leased or failed; how many wait is in `run describe`.',
    examples: ['alumnus task list mnist-4f2a', 'alumnus task list mnist-4f2a -o name'],
  }).addOption(outputOption());
  action(connected(list), context, async (runId: string, flags: ConnectionFlags & OutputFlag) => {
    const [{ withOperator }, { outputForm, printListing }, { stageName }, { integer, none, percent, plain }] = await Promise.all([
      import('../client.ts'), import('../output.ts'), import('../../proto/stages.ts'), import('../format.ts'),
    ]);
    const form = outputForm(flags.output);
    const { tasks, summary } = await withOperator(await connectionOf(context, flags), (operator) => operator.run(runId));
    const rate = ({ progress }: TaskView): string => (progress === undefined || progress.rate === 0 ? none : `${integer(progress.rate)} images/s`);
    await printListing(context, form, {
      kind: 'Task', rows: tasks, name: ({ task }) => task?.taskId ?? '',
      head: ['task', 'stage', 'state', 'worker', 'done', 'failures', 'last error'],
      cells: ({ task, state, workerId, progress, failures, lastError }) => [
        task?.taskId ?? '', task === undefined ? '' : stageName(task.stage), state, workerId || none, progress === undefined || progress.total === 0 ? none : percent(progress.done / progress.total, 0), String(failures), plain(lastError) || none,
      ],
      wide: { head: ['rate', 'checkpoint', 'failed on'], cells: (view) => [rate(view), view.checkpointStep === 0 ? none : `step ${view.checkpointStep}`, view.lastErrorWorkerId || none] },
      empty: `Run ${runId} is ${summary?.state ?? ''}${summary?.reason ? `: ${plain(summary.reason)}` : ''}. It has no tasks now.`,
    });
  });

  const explain = declare(group, 'explain <task>', {
    summary: 'Say why a task is not running, or a stage has not begun',
    description: 'The first reason is what must be gone before any other matters: the run is paused, a new coordinator waits for its workers, a failure before holds it off until a time, no worker is there; then worker by worker what keeps the task from it; then what goes before it. A stage (label, select, train, evaluate, promote) is explained of the run that --run names.',
    examples: ['alumnus task explain i1.train.student.t0-0f3a8c21bd5e9a70', 'alumnus task explain train --run mnist-4f2a'],
  }).option('--run <run>', 'whose task or stage it is (any run\'s task)').addOption(outputOption());
  action(connected(explain), context, async (task: string, flags: ExplainFlags) => {
    const [{ withOperator }, { facts, outputForm, printSingle }, { plain }] = await Promise.all([import('../client.ts'), import('../output.ts'), import('../format.ts')]);
    const form = outputForm(flags.output);
    const told = await withOperator(await connectionOf(context, flags), (operator) => operator.explainTask(flags.run ?? '', task));
    await printSingle(context, form, {
      kind: 'TaskExplanation', name: told.taskId || task, value: told,
      text: () => [
        facts([['Run', told.runId], [told.taskId === '' ? 'Stage' : 'Task', told.taskId || task], ['State', told.state], ['Failures', told.view === undefined || told.view.failures === 0 ? '' : String(told.view.failures)], ['Last error', told.view?.lastError ?? '']]),
        ...told.reasons.map(({ text }) => `- ${plain(text)}`),
      ].join('\n'),
    });
  });
}
