/** select: from the tallies and label tables of all accepted shards to the one selection that the student trains on. */
import { AlumnusError } from '../../proto/errors.ts';
import type { SelectResult, SelectSpec } from '../../proto/gen/alumnus/v1/task.ts';
import { drift as compared, select as cutSelection } from '../data/index.ts';
import { aboutOf, type TaskContext } from './context.ts';

export async function select(context: TaskContext, spec: SelectSpec): Promise<SelectResult> {
  const { store, task } = context;
  if (spec.balance !== 'classes' && spec.balance !== 'none') throw new AlumnusError('USAGE', `labels are balanced by "classes" or "none", not "${spec.balance}"`, { where: 'labels.balance' });
  const { ref, document } = await cutSelection(store, {
    teacher: spec.teacherSha256, shards: spec.shards, classes: spec.classes, leftOut: spec.leftOut, outputPrefix: task.outputPrefix, metadata: aboutOf(context),
    policy: { threshold: spec.threshold, balance: spec.balance, budgetPerClass: spec.budgetPerClass, copiesMax: spec.copiesMax, seed: task.seed },
    onProgress: (done, total) => context.progress({ done, total, unit: 'shards', rate: 0, loss: 0 }),
  });
  const sum = (of: (each: (typeof document.classes)[number]) => number): number => document.classes.reduce((total, each) => total + of(each), 0);
  const before = spec.drift;
  const drift = before === undefined ? undefined : await compared(store, {
    before: { teacher: before.teacherSha256, shards: before.shards }, after: { teacher: spec.teacherSha256, shards: spec.shards }, outputPrefix: task.outputPrefix, metadata: aboutOf(context),
  });
  return {
    selection: ref, drift, leftOut: document.leftOut?.labels, labeled: sum((each) => each.labeled), kept: sum((each) => each.kept), rows: sum((each) => each.rows),
    classes: document.classes.map(({ class: at, eligible, kept, rows, labeled }) => ({ class: at, eligible, kept, rows, labeled })),
  };
}
