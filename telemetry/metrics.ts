/** How metrics are made here, and those that every program with a store has. Not for: which there are (each program's own file), or serving them (metrics-server.ts). */
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import { toAlumnusError } from '../proto/errors.ts';
import { observedStore, type ObjectStore } from '../store/index.ts';

/** Seconds: a write to a disk nearby, or to servers that are overloaded. */
export const WRITE_BUCKETS = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10] as const;

export function counter<Label extends string>(registry: Registry, name: string, help: string, labels: readonly Label[] = []): Counter<Label> {
  return new Counter({ name, help, labelNames: [...labels], registers: [registry] });
}

export function histogram<Label extends string>(registry: Registry, name: string, help: string, labels: readonly Label[], buckets: readonly number[]): Histogram<Label> {
  return new Histogram({ name, help, labelNames: [...labels], buckets: [...buckets], registers: [registry] });
}

/** Looks when it is read. @param values each set of labels with its value; none where there is nothing to look at */
export function gauge(registry: Registry, name: string, help: string, labels: readonly string[], values: () => Iterable<readonly [Readonly<Record<string, string>>, number]>): void {
  new Gauge({
    name, help, labelNames: [...labels], registers: [registry],
    collect() {
      this.reset();
      let isThere = false;
      for (const [label, value] of values()) {
        isThere = true;
        this.set({ ...label }, value);
      }
      // One without labels would be 0 instead.
      if (!isThere && labels.length === 0) this.remove();
    },
  });
}

/** Of the object store as this process uses it; the same names in every program, told apart by Prometheus' own `job` and `instance`. */
export class StoreMetrics {
  readonly #seconds: Histogram<'operation'>;
  readonly #errors: Counter<'operation' | 'code'>;

  constructor(registry: Registry) {
    this.#seconds = histogram(registry, 'alumnus_store_operation_seconds', 'Time that operations on the object store took, of what comes in pieces until the first.', ['operation'], WRITE_BUCKETS);
    this.#errors = counter(registry, 'alumnus_store_errors_total', 'Operations on the object store that failed, by the code of the table of errors.', ['operation', 'code']);
  }

  /** @param seconds undefined where its time was told before @param code undefined where it did well */
  observe(operation: string, seconds: number | undefined, code: string | undefined): void {
    if (seconds !== undefined) this.#seconds.observe({ operation }, seconds);
    if (code !== undefined) this.#errors.inc({ operation, code });
  }

  /** The store, measured. */
  of(store: ObjectStore): ObjectStore {
    return observedStore(store, (operation, seconds, thrown) => this.observe(operation, seconds, thrown === undefined ? undefined : toAlumnusError(thrown).code));
  }
}
