/** What a recipe would come to, in words. The coordinator's program for it (coordinator/plan-main.ts) makes the plan. */
import { bytes, duration, integer, none, plain, plural } from './format.ts';
import { table } from './output.ts';

/** As the program tells it. */
export interface Plan {
  readonly name: string;
  readonly rounds: number;
  readonly workers: number;
  readonly groups: readonly { readonly iteration: number; readonly kind: string; readonly subject: string; readonly tasks: number; readonly bytesRead: number; readonly bytesWritten: number; readonly deviceMs?: number }[];
  readonly tasks: number;
  readonly bytesRead: number;
  readonly bytesWritten: number;
  readonly deviceMs?: number;
  readonly wallMs?: number;
  readonly measuredIn: readonly string[];
  readonly notes: readonly string[];
}

/** Device time and how long a fleet takes, or what of it nobody knows. */
function timeText({ groups, workers, deviceMs, wallMs, measuredIn }: Plan): string {
  const unknown = groups.filter((group) => group.deviceMs === undefined);
  const kinds = [...new Set(unknown.map(({ kind }) => kind))].join(', ');
  const from = measuredIn.length === 0 ? 'no run of this store has succeeded yet' : `from ${measuredIn.join(', ')}`;
  if (deviceMs === undefined) return `How long it takes is not known: ${measuredIn.length === 0 ? from : `no such task was done (${from} were looked at)`}.`;
  if (wallMs === undefined) return `Device time: ${duration(deviceMs)} (${from}), and what is not known of ${plural(unknown.reduce((sum, { tasks }) => sum + tasks, 0), 'task')}: ${kinds}. So how long the whole takes is not known.`;
  return `Device time: ${duration(deviceMs)}; on ${plural(workers, 'worker')} about ${duration(wallMs)}, by what such tasks took on the devices of ${measuredIn.join(', ')}.`;
}

export function planText(plan: Plan): string {
  return [
    table(
      ['iteration', 'task', 'of', 'tasks', 'reads', 'writes about', 'device time'],
      plan.groups.map((group) => [String(group.iteration), group.kind, plain(group.subject) || none, integer(group.tasks), bytes(group.bytesRead), bytes(Math.round(group.bytesWritten)), group.deviceMs === undefined ? 'not known' : duration(group.deviceMs)]),
      [3, 4, 5, 6],
    ),
    `${plan.name}: ${plural(plan.tasks, 'task')} in ${plural(plan.rounds, 'round')}, reading ${bytes(plan.bytesRead)} at least and writing about ${bytes(Math.round(plan.bytesWritten))}, if every student is promoted.`,
    timeText(plan),
  ].join('\n\n');
}
