/** Books of checkpoints: I13 of checker.ts, from the facts, the store, and what workers are handed and read. */
import type { Checkpoint, Task } from '../../../proto/gen/alumnus/v1/task.ts';
import type { MemoryStore } from '../store.ts';
import { must } from '../violation.ts';

export class Checkpoints {
  readonly #store: MemoryStore;
  /** Those that were ever journalled, by task: `step digest`. */
  readonly #journalled = new Map<string, Set<string>>();
  /** How far a task came in the journal of now. */
  readonly #reached = new Map<string, number>();

  constructor(store: MemoryStore) {
    this.#store = store;
  }

  /** The journal's end is an earlier one; what was ever journalled stays. */
  rewound(): void {
    this.#reached.clear();
  }

  /** A task that was given up begins anew, should it be granted again. */
  givenUp(taskId: string): void {
    this.#reached.delete(taskId);
  }

  written({ taskId, outputPrefix }: Pick<Task, 'taskId' | 'outputPrefix'>, { step, ref }: Checkpoint): void {
    must(step > (this.#reached.get(taskId) ?? 0), `the checkpoint of step ${step} of ${taskId} was journalled after that of step ${this.#reached.get(taskId)}`);
    must(this.#store.bornMs.has(ref?.key ?? '') && ref?.key.startsWith(`${outputPrefix}/`) === true, `the checkpoint of step ${step} of ${taskId} is journalled and was never in the store`);
    this.#reached.set(taskId, step);
    this.#journalled.set(taskId, (this.#journalled.get(taskId) ?? new Set()).add(`${step} ${ref?.sha256}`));
  }

  handedOut(task: Task): void {
    const steps = task.checkpoints.map((each) => each.step);
    must(task.checkpoints.every(({ step, ref }) => this.#journalled.get(task.taskId)?.has(`${step} ${ref?.sha256}`) === true), `${task.taskId} is handed a checkpoint that was not journalled as its own: ${steps.join(', ')}`);
    must(steps.length <= 2 && steps.every((step, at) => at === 0 || step < (steps[at - 1] ?? 0)), `${task.taskId} is handed a checkpoint out of order: ${steps.join(', ')}`);
  }

  /** A training goes on. @param sha256 of the bytes that it read. */
  resumed(task: Task, step: number, sha256: string): void {
    must(this.#journalled.get(task.taskId)?.has(`${step} ${sha256}`) === true, `${task.taskId} goes on from a checkpoint of step ${step} that is not journalled`);
  }
}
