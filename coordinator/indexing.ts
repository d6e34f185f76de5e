/**
 * Registrations under way: tars that an operator has workers read (`IndexTars`). Each is a queue of `index` tasks beside the
 * runs' in the scheduler, with the same leases, fair share and attempts on different workers. Not for: runs; what is found
 * lies in the object store, written by the worker, so nothing here is a fact and nothing is journalled.
 * Invariants:
 *  1. A registration lives as long as its operator's call is open: closed, none of its tasks has a lease.
 *  2. Each tar is told as done once, and at most one failure ends the registration.
 *  3. Its id is no run's id, and its tasks' ids begin with it, so no late word about one registration reaches another.
 */
import { AlumnusError, isErrorCode } from '../proto/errors.ts';
import type { IndexTarsRequest } from '../proto/gen/alumnus/v1/operator.ts';
import { Stage, type Task } from '../proto/gen/alumnus/v1/task.ts';
import { givesUp } from './run/index.ts';
import type { Scheduler } from './scheduler/index.ts';

/** As `tolerance.attempts` of a recipe by default. */
const ATTEMPTS = 3;
/** A run of the default weight. */
const WEIGHT = 1;

export interface Told {
  /** @param at the tar's place in the request's list. */
  done(at: number): void;
  /** The tar that could not be read, by name. */
  failed(error: AlumnusError): void;
}

interface Registration {
  readonly places: ReadonlyMap<string, number>;
  readonly failedOn: Map<string, string[]>;
  readonly told: Told;
}

export class Indexing {
  readonly #scheduler: Scheduler;
  readonly #open = new Map<string, Registration>();

  constructor(scheduler: Scheduler) {
    this.#scheduler = scheduler;
  }

  /** Of those that are open: their queues in the scheduler. */
  ids(): string[] {
    return [...this.#open.keys()];
  }

  /** @param name drawn anew for each call of an operator. @returns the registration's id */
  open(name: string, { location, labeled, tars }: IndexTarsRequest, told: Told): string {
    // No run's id has a blank.
    const id = `index ${name}`;
    const tasks = tars.map(({ key, bytes, writtenMs }, at): Task => ({
      taskId: `${id} ${at}`, runId: id, iteration: 0, stage: Stage.UNSPECIFIED, subject: key, try: 0, seed: 0, affinity: [], outputPrefix: '', work: bytes, checkpointSteps: 0, checkpoints: [],
      spec: { $case: 'index', value: { location, key, bytes, writtenMs, labeled } },
    }));
    this.#open.set(id, { places: new Map(tasks.map(({ taskId }, at) => [taskId, at])), failedOn: new Map(), told });
    this.#scheduler.setTasks(id, WEIGHT, tasks);
    return id;
  }

  /** Its leases end; one that is closed already is left alone. */
  close(id: string): void {
    if (this.#open.delete(id)) this.#scheduler.setTasks(id, WEIGHT, []);
  }

  /** @returns whether the task was open. */
  complete({ runId, taskId }: Task, nowMs: number): boolean {
    const registration = this.#open.get(runId);
    const at = registration?.places.get(taskId);
    if (registration === undefined || at === undefined) return false;
    this.#scheduler.close(runId, taskId, nowMs);
    registration.told.done(at);
    return true;
  }

  /** An attempt failed, and its lease was released. @param fleet workers that live */
  failed({ runId, taskId, spec }: Task, { workerId, code, message, counts, fleet }: { workerId: string; code: string; message: string; counts: boolean; fleet: number }): void {
    const registration = this.#open.get(runId);
    if (registration === undefined || !counts || spec?.$case !== 'index') return;
    const workers = [...(registration.failedOn.get(taskId) ?? []), workerId];
    registration.failedOn.set(taskId, workers);
    if (!givesUp(workers, ATTEMPTS, fleet)) return;
    this.close(runId);
    const where = `${spec.value.location.replace(/\?.*$/s, '')}/${spec.value.key}`;
    const said = message.startsWith(`${where}: `) ? message.slice(where.length + 2) : message;
    registration.told.failed(new AlumnusError(isErrorCode(code) ? code : 'INTERNAL', `${said} (${workers.length} attempts, on ${[...new Set(workers)].join(', ')})`, { where }));
  }

  /** Bytes read so far of the registration's tars under way. */
  bytesUnderWay(id: string): number {
    return this.#scheduler.tasksOf(id).reduce((sum, { leases }) => sum + Math.max(0, ...leases.map(({ progress }) => progress?.done ?? 0)), 0);
  }
}
