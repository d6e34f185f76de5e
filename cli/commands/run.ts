/** `alumnus run`: submit a recipe and follow what becomes of it. */
import type { Command } from 'commander';
import { declareGroup } from '../command.ts';
import type { Context } from '../context.ts';
import { addRunCommands } from './run/steer.ts';
import { addRunBudget } from './run/budget.ts';
import { addRunDescribe } from './run/describe.ts';
import { addRunDiff } from './run/diff.ts';
import { addRunExport } from './run/export.ts';
import { addRunList } from './run/list.ts';
import { addRunLogs } from './run/logs.ts';
import { addRunMeasure } from './run/measure.ts';
import { addRunPlan } from './run/plan.ts';
import { addRunReport } from './run/report.ts';
import { addRunResubmit } from './run/resubmit.ts';
import { addRunSubmit } from './run/submit.ts';
import { addRunWait } from './run/wait.ts';
import { addRunWatch } from './run/watch.ts';

export function addRun(program: Command, context: Context): void {
  const group = declareGroup(program, 'run', {
    summary: 'Submit runs, follow and steer them',
    examples: ['alumnus run submit mnist.yaml --watch', 'alumnus run list'],
  });
  addRunPlan(group, context);
  addRunSubmit(group, context);
  addRunResubmit(group, context);
  addRunList(group, context);
  addRunDescribe(group, context);
  addRunWatch(group, context);
  addRunWait(group, context);
  addRunLogs(group, context);
  addRunDiff(group, context);
  addRunReport(group, context);
  addRunExport(group, context);
  addRunMeasure(group, context);
  addRunCommands(group, context);
  addRunBudget(group, context);
}
