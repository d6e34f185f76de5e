/**
 * Tells when a task began again: its worker was lost, its attempt failed, or it was handed back. Remembers who had each
 * task and how far, since a view shows the moment only, and between two holders a task waits.
 * While the object store does not answer, tasks fail by the dozen for one reason, which is told instead of each.
 * Invariant: a beginning is told once, and a task that a restarted coordinator finds with its old worker is none.
 */
import type { RunView, TaskView } from '../../proto/gen/alumnus/v1/operator.ts';
import { stageName } from '../../proto/stages.ts';
import { plain } from '../format.ts';

/** A worker that is lost takes three tasks along; more lines at once say no more than their number. */
const LINES_MAX = 4;
/** A failure that is the worker's end, not the task's. */
const LOST_CODES = new Set(['LEASE_EXPIRED', 'WORKER_RESTARTED']);

const AWAY_CODE = 'STORE_UNREACHABLE';
/** As tasks meet the outage one after another: their number is told again when it has grown so many times. */
const AWAY_GROWTH = 4;

const codeOf = ({ lastError }: TaskView): string => lastError.split(':', 1)[0] ?? '';

/** How many tasks wait because the object store did not answer when they were last tried. */
export const waitingForStore = (view: RunView): number => view.tasks.filter((task) => task.state === 'waiting' && codeOf(task) === AWAY_CODE).length;

interface Seen {
  readonly workerId: string;
  readonly done: number;
  readonly failures: number;
}

const titleOf = ({ task }: TaskView): string => plain(`${stageName(task?.stage ?? 0)} ${task?.subject ?? ''}`.trim());

export class TaskRestarts {
  #seen: Map<string, Seen> | undefined;
  /** How many tasks were last told to wait for the store; 0 while it answers. */
  #waitingTold = 0;

  /** @returns a line each for what began again since the view before; none for the first view. */
  apply(view: RunView): string[] {
    const before = this.#seen;
    const seen = new Map<string, Seen>();
    const lines: string[] = [];
    let met = 0;
    for (const task of view.tasks) {
      const taskId = task.task?.taskId ?? '';
      const last = before?.get(taskId);
      const leased = task.state === 'leased';
      const failed = task.failures > (last?.failures ?? 0);
      if (before !== undefined && failed && codeOf(task) === AWAY_CODE) met += 1;
      else if (before !== undefined && failed) lines.push(failureLine(task, last));
      else if (last !== undefined && leased && last.workerId !== '' && last.workerId !== task.workerId && last.done > 0) {
        lines.push(`${titleOf(task)} begins again with ${plain(task.workerId)}: ${plain(last.workerId)} handed it back`);
      }
      seen.set(taskId, leased ? { workerId: task.workerId, done: task.progress?.done ?? 0, failures: task.failures } : { workerId: last?.workerId ?? '', done: failed ? 0 : (last?.done ?? 0), failures: task.failures });
    }
    this.#seen = seen;
    lines.push(...this.#storeNews(view, met));
    return lines.length <= LINES_MAX ? lines : [...lines.slice(0, LINES_MAX - 1), `and ${lines.length - LINES_MAX + 1} more tasks begin again`];
  }

  #storeNews(view: RunView, met: number): string[] {
    const waiting = Math.max(met, waitingForStore(view));
    if (met > 0 && waiting >= this.#waitingTold * AWAY_GROWTH) {
      this.#waitingTold = waiting;
      return [`the store does not answer: ${waiting === 1 ? '1 task waits' : `${waiting} tasks wait`} to be tried again`];
    }
    // A task that was taken again shows by its progress that it reaches the store.
    const unsure = view.tasks.some((task) => task.state !== 'done' && codeOf(task) === AWAY_CODE && (task.progress?.done ?? 0) === 0);
    if (this.#waitingTold === 0 || unsure) return [];
    this.#waitingTold = 0;
    return ['the store answers again'];
  }
}

function failureLine(task: TaskView, last: Seen | undefined): string {
  const code = codeOf(task);
  const workerId = last?.workerId ?? '';
  if (LOST_CODES.has(code) && workerId !== '') return `worker ${plain(workerId)} was lost: ${titleOf(task)} begins again`;
  return `${titleOf(task)} begins again: ${plain(task.lastError)}`;
}
