/** The queries of the dashboard that ships, as Grafana would send them. */
import { fileOf } from './metrics.ts';

interface Panel {
  readonly title: string;
  readonly type: string;
  readonly description?: string;
  readonly targets?: readonly { readonly expr: string; readonly legendFormat: string; readonly datasource: { readonly uid: string } }[];
  readonly fieldConfig?: { readonly defaults: { readonly unit?: string; readonly thresholds?: { readonly steps: readonly unknown[] } } };
}

export interface Dashboard {
  readonly uid: string;
  readonly panels: readonly Panel[];
  readonly templating: { readonly list: readonly { readonly name: string; readonly type: string; readonly query: unknown }[] };
}

export const dashboard = async (): Promise<Dashboard> => JSON.parse(await fileOf('deploy/grafana/alumnus.json')) as Dashboard;

/** What Grafana puts in for its variables: everything, and spans of time that fit a short run. */
const VARIABLES: Readonly<Record<string, string>> = { $__rate_interval: '30s', $__range: '5m', $worker: '.*' };

export const filledIn = (expression: string): string => expression.replace(/\$\w+/g, (name) => {
  const value = VARIABLES[name];
  if (value === undefined) throw new Error(`the dashboard has no variable ${name}`);
  return value;
});
