/** The metrics that coordinators and workers have, as their code makes them. Not for: their values. */
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import type { Registry } from 'prom-client';
import { CoordinatorMetrics } from '../../coordinator/metrics.ts';
import { WorkerMetrics } from '../../worker/metrics.ts';

export interface Metric {
  readonly name: string;
  readonly type: string;
  readonly help: string;
  readonly labelNames: readonly string[];
}

const metricsOf = (registry: Registry): Metric[] =>
  registry.getMetricsAsArray().filter(({ name }) => name.startsWith('alumnus_')).map((each) => ({ ...(each as unknown as Omit<Metric, 'type'>), type: each.constructor.name.toLowerCase() }));

export const coordinatorMetrics = (): Metric[] => metricsOf(new CoordinatorMetrics().registry);
export const workerMetrics = (): Metric[] => metricsOf(new WorkerMetrics(() => undefined).registry);
export const allMetrics = (): Metric[] => [...coordinatorMetrics(), ...workerMetrics()];

/** Names of ours that a text of PromQL asks for; of a histogram its own, whatever series of it. */
export const metricsAsked = (text: string): string[] => [...new Set([...text.matchAll(/\balumnus_[a-z_]+/g)].map(([name]) => name.replace(/_(bucket|sum|count)$/, '')))];

/** A file of the repository. */
export const fileOf = (path: string): Promise<string> => readFile(fileURLToPath(new URL(`../../${path}`, import.meta.url)), 'utf8');
