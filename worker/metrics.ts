/**
 * What an operator measures of a worker, for Prometheus: as the coordinator's (names by its conventions, no label without a bound). Counters go on when an engine ends and another begins.
 * Not for: serving them (telemetry); what was accepted of a run, which its coordinator counts.
 */
import { collectDefaultMetrics, Registry } from 'prom-client';
import { counter, gauge, histogram, StoreMetrics } from '../telemetry/index.ts';
import type { EngineEnd } from './engine/index.ts';
import type { LeaseLoop, Outcome } from './lease-loop/index.ts';
import type { Measured } from './measured.ts';

/** Seconds: a batch of small images takes a millisecond, a step of a large model on a processor many seconds. */
const STEP_BUCKETS = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30];

export class WorkerMetrics {
  readonly registry = new Registry();
  #memoryBytes: number | undefined;
  /** Of every kind that was ever held. */
  readonly #held = new Map<string, number>();
  readonly #loop: () => LeaseLoop | undefined;
  readonly #tasks = counter(this.registry, 'alumnus_worker_tasks_total', 'Attempts at tasks that ended here, by what the task is and how: done, not_taken (another was first), refused, failed, lost (with the lease), handed_back (not the task\'s fault), unheard (nobody answered before the worker stopped).', ['kind', 'outcome']);
  readonly #steps = histogram(this.registry, 'alumnus_engine_step_seconds', 'Time that single calls of TensorFlow took, by the kind of the task that has the device and what they do: train (a training step), predict (a batch).', ['kind', 'work'], STEP_BUCKETS);
  readonly #images = counter(this.registry, 'alumnus_engine_images_total', 'Images that went through those calls, of attempts that failed and images seen again included.', ['kind', 'work']);
  readonly #engines = counter(this.registry, 'alumnus_engine_restarts_total', 'Engines that ended while their worker went on, by why: crashed, silent (hung, and ended by the worker), stopped (for a task that did not heed its cancellation).', ['reason']);
  readonly #store = new StoreMetrics(this.registry);

  /** @param loop once there is one */
  constructor(loop: () => LeaseLoop | undefined) {
    this.#loop = loop;
    collectDefaultMetrics({ register: this.registry });
    // There from the beginning, so that the first of them is an increase.
    for (const reason of ['crashed', 'silent', 'stopped']) this.#engines.inc({ reason }, 0);
    gauge(this.registry, 'alumnus_worker_leases', 'Leases that are held now, by what the task is.', ['kind'], () => {
      for (const kind of this.#held.keys()) this.#held.set(kind, 0);
      for (const kind of this.#loop()?.kindsHeld() ?? []) this.#held.set(kind, (this.#held.get(kind) ?? 0) + 1);
      return [...this.#held].map(([kind, count]) => [{ kind }, count]);
    });
    gauge(this.registry, 'alumnus_worker_registered', 'Whether a coordinator that leads has answered last: 1 or 0.', [], () => [[{}, this.#loop()?.isRegistered === true ? 1 : 0]]);
    gauge(this.registry, 'alumnus_engine_memory_bytes', 'Resident memory of the engine\'s process: of a device that is a processor its memory, TensorFlow\'s included. A GPU\'s own is not in it.', [], () => (this.#memoryBytes === undefined ? [] : [[{}, this.#memoryBytes]]));
  }

  ended(kind: string, outcome: Outcome): void {
    this.#tasks.inc({ kind, outcome });
  }

  measured({ steps, operations, memoryBytes }: Measured): void {
    for (const { kind, work, seconds, images } of steps) {
      this.#steps.observe({ kind, work }, seconds);
      this.#images.inc({ kind, work }, images);
    }
    for (const { operation, seconds, code } of operations) this.#store.observe(operation, seconds, code);
    if (memoryBytes !== undefined) this.#memoryBytes = memoryBytes;
  }

  engineEnded(why: EngineEnd): void {
    this.#engines.inc({ reason: why });
    this.#memoryBytes = undefined;
  }
}
