/** `alumnus worker describe`: one worker, and what it has in hand. */
import type { Command } from 'commander';
import { AlumnusError } from '../../../proto/errors.ts';
import { stageName } from '../../../proto/stages.ts';
import { action, connected, declare, outputOption, type OutputFlag } from '../../command.ts';
import { connectionAgain, connectionOf, type ConnectionFlags } from '../../connection.ts';
import type { Context } from '../../context.ts';

export function addWorkerDescribe(group: Command, context: Context): void {
  const command = declare(group, 'describe <worker>', {
    summary: 'Show one worker: where it runs, and what it has in hand of which run',
    examples: ['alumnus worker describe worker-1', 'alumnus worker describe worker-1 -o json | jq .tasks'],
  }).addOption(outputOption());
  action(connected(command), context, async (workerId: string, flags: ConnectionFlags & OutputFlag) => {
    const [{ withOperator }, { facts, outputForm, printSingle, table }, { duration, instant, integer, none }] = await Promise.all([import('../../client.ts'), import('../../output.ts'), import('../../format.ts')]);
    const form = outputForm(flags.output);
    const { worker, tasks } = await withOperator(await connectionOf(context, flags), async (operator) => {
      const found = (await operator.workers()).workers.find((each) => each.workerId === workerId);
      if (found === undefined) throw new AlumnusError('WORKER_NOT_FOUND', 'there is no such worker', { where: workerId });
      const running = found.taskIds.length === 0 ? [] : (await operator.runs()).runs.filter(({ state }) => state === 'running' || state === 'paused');
      const views = await Promise.all(running.map(({ runId }) => operator.run(runId)));
      return { worker: found, tasks: views.flatMap((view) => view.tasks.filter((task) => task.state === 'leased' && task.workerId === workerId).map((task) => ({ runId: view.summary?.runId ?? '', taskId: task.task?.taskId ?? '', iteration: task.task?.iteration ?? 0, stage: task.task?.stage ?? 0, subject: task.task?.subject ?? '', failures: task.failures, ...(task.progress === undefined ? {} : { progress: task.progress }) }))) };
    });
    await printSingle(context, form, {
      kind: 'WorkerDescription', name: workerId, value: { ...worker, tasks },
      text: () => [
        facts([
          ['Worker', worker.workerId], ['State', worker.state], ['Host', worker.host], ['Process', String(worker.processId)], ['Device', worker.device], ['Release', worker.version],
          ['Last seen', `${instant(worker.lastSeenMs)}, ${duration(Date.now() - worker.lastSeenMs)} ago`], ['In hand', worker.taskIds.length === 0 ? none : integer(worker.taskIds.length)],
        ]),
        ...(tasks.length === 0 ? [] : [table(
          ['run', 'iteration', 'stage', 'of', 'progress', 'failures'],
          tasks.map(({ runId, iteration, stage, subject, progress, failures }) => [runId, String(iteration), stageName(stage), subject, progress === undefined || progress.total === 0 ? none : `${integer(progress.done)} of ${integer(progress.total)} ${progress.unit}`, String(failures)]), [1, 5],
        )]),
      ].join('\n\n'),
    });
    const [task] = tasks;
    if (task !== undefined) context.note(`Next:\n  alumnus run describe ${task.runId}${connectionAgain(flags)}`);
  });
}
