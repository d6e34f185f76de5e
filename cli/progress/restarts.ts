/**
 * Tells when a task began again: its worker was lost, its attempt failed, or it was handed back. Remembers who had each
 * task and how far, since a view shows the moment only, and between two holders a task waits.
 * Invariant: a beginning is told once, and a task that a restarted coordinator finds with its old worker is none.
 */
import type { RunView, TaskView } from '../../proto/gen/alumnus/v1/operator.ts';
import { stageName } from '../../proto/stages.ts';
import { plain } from '../format.ts';

/** A worker that is lost takes two tasks along; more lines at once say no more than their number. */
const LINES_MAX = 4;
/** A failure that is the worker's end, not the task's. */
const LOST_CODES = new Set(['LEASE_EXPIRED', 'WORKER_RESTARTED']);

interface Seen {
  readonly workerId: string;
  readonly done: number;
  readonly failures: number;
}

const titleOf = ({ task }: TaskView): string => plain(`${stageName(task?.stage ?? 0)} ${task?.subject ?? ''}`.trim());

export class TaskRestarts {
  #seen: Map<string, Seen> | undefined;

  /** @returns a line each for what began again since the view before; none for the first view. */
  apply(view: RunView): string[] {
    const before = this.#seen;
    const seen = new Map<string, Seen>();
    const lines: string[] = [];
    for (const task of view.tasks) {
      const taskId = task.task?.taskId ?? '';
      const last = before?.get(taskId);
      const leased = task.state === 'leased';
      const failed = task.failures > (last?.failures ?? 0);
      if (before !== undefined && failed) lines.push(failureLine(task, last));
      else if (last !== undefined && leased && last.workerId !== '' && last.workerId !== task.workerId && last.done > 0) {
        lines.push(`${titleOf(task)} begins again with ${plain(task.workerId)}: ${plain(last.workerId)} handed it back`);
      }
      seen.set(taskId, leased ? { workerId: task.workerId, done: task.progress?.done ?? 0, failures: task.failures } : { workerId: last?.workerId ?? '', done: failed ? 0 : (last?.done ?? 0), failures: task.failures });
    }
    this.#seen = seen;
    return lines.length <= LINES_MAX ? lines : [...lines.slice(0, LINES_MAX - 1), `and ${lines.length - LINES_MAX + 1} more tasks begin again`];
  }
}

function failureLine(task: TaskView, last: Seen | undefined): string {
  const code = task.lastError.split(':', 1)[0] ?? '';
  const workerId = last?.workerId ?? '';
  if (LOST_CODES.has(code) && workerId !== '') return `worker ${plain(workerId)} was lost: ${titleOf(task)} begins again`;
  return `${titleOf(task)} begins again: ${plain(task.lastError)}`;
}
