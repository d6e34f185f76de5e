/**
 * The shard map: what is with each shard of a stage, thousands of them, in an order that stays. Of the label stage the shards that are labeled, of the look for near-duplicates those that
 * are looked through, of other stages their few tasks. Of an earlier iteration what became of its labels.
 */
import { Stage, type Task } from '../../proto/gen/alumnus/v1/task.ts';
import type { ShardCell } from '../../proto/page.ts';
import { isBeside } from '../../proto/subjects.ts';
import type { Leader } from '../leader.ts';
import type { RunState } from '../run/index.ts';
import type { LiveLease } from '../scheduler/index.ts';

export interface ShardMap {
  readonly iteration: number;
  readonly stage: Stage;
  /** By the task's subject, in order. */
  readonly cells: ReadonlyMap<string, ShardCell>;
}

interface Open {
  readonly task: Task;
  readonly leases: readonly LiveLease[];
  readonly failures: number;
}

export function shardMap(leader: Leader, run: RunState, iteration = run.iteration): ShardMap {
  if (iteration !== run.iteration) return { iteration, stage: Stage.LABEL, cells: inOrder(labeled(run, iteration)) };
  const open = leader.scheduler.tasksOf(run.runId).filter(({ task }) => !isBeside(task) && task.stage === run.stage);
  const cells = run.stage === Stage.LABEL ? labeled(run, iteration) : run.stage === Stage.SELECT ? lookedThrough(run) : new Map<string, ShardCell>();
  for (const each of open) cells.set(each.task.subject, cellOf(each));
  return { iteration, stage: run.stage, cells: inOrder(cells) };
}

function labeled({ iterations }: RunState, iteration: number): Map<string, ShardCell> {
  const cells = new Map<string, ShardCell>();
  const { labels, quarantined } = iterations[iteration] ?? {};
  for (const subject of labels?.keys() ?? []) cells.set(subject, ['done']);
  for (const subject of quarantined?.keys() ?? []) cells.set(subject, ['quarantined']);
  return cells;
}

const lookedThrough = ({ fingerprints }: RunState): Map<string, ShardCell> => new Map([...fingerprints.keys()].map((subject): [string, ShardCell] => [subject, ['done']]));

function cellOf({ leases, failures }: Open): ShardCell {
  const [lease] = leases;
  if (lease === undefined) return [failures > 0 ? 'retrying' : 'waiting'];
  const { done = 0, total = 0 } = lease.progress ?? {};
  return total > 0 ? ['leased', lease.workerId, Math.round((100 * Math.min(done, total)) / total) / 100] : ['leased', lease.workerId];
}

const inOrder = (cells: ReadonlyMap<string, ShardCell>): Map<string, ShardCell> => new Map([...cells].sort(([a], [b]) => (a < b ? -1 : 1)));
