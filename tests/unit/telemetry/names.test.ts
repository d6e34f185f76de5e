/** What metrics are called, and that the pages, alerts and panels that speak of them speak of those that there are. */
import { expect, test } from 'vitest';
import { allMetrics, coordinatorMetrics, fileOf, metricsAsked, workerMetrics, type Metric } from '../../harness/metrics.ts';

test('every metric has help, the prefix, a base unit, and only labels with a bound', () => {
  for (const { name, help, labelNames, type } of allMetrics()) {
    expect(help.length, name).toBeGreaterThan(20);
    expect(name).toMatch(/^alumnus_[a-z_]+$/);
    // A kind of task, a stage, a code of the table of errors, a method of the store, a state of a run, task or worker, an end of an attempt, a use of the device.
    for (const label of labelNames) expect(['kind', 'stage', 'reason', 'code', 'operation', 'state', 'decision', 'outcome', 'work']).toContain(label);
    if (type === 'counter') expect(name).toMatch(/_total$/);
    else expect(name).not.toMatch(/_total$/);
    if (type === 'histogram') expect(name).toMatch(/_seconds$/);
  }
});

const rowOf = ({ name, type, labelNames, help }: Metric): string => `| \`${name}\` | ${type} | ${labelNames.map((label) => `\`${label}\``).join(', ')} | ${help} |`;

test('the page of metrics has each as it is, and no other', async () => {
  const [, coordinators = '', workers = ''] = (await fileOf('docs/metrics.md')).split(/^## (?:Coordinators|Workers)$/m);
  const told = (section: string): string[] => section.split('\n').filter((line) => line.startsWith('| `alumnus_'));
  expect(told(coordinators)).toEqual(coordinatorMetrics().map(rowOf));
  expect(told(workers)).toEqual(workerMetrics().map(rowOf));
});

test('alerts ask for metrics that there are', async () => {
  const asked = metricsAsked(await fileOf('deploy/prometheus/alerts.yaml'));
  expect(asked.length).toBeGreaterThan(5);
  expect(allMetrics().map(({ name }) => name)).toEqual(expect.arrayContaining(asked));
});
