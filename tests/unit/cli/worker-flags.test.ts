/** What `alumnus worker` and `alumnus coordinator` hand on of how they are observed, and what of it they refuse. */
import { expect, test } from 'vitest';
import { metricsOf } from '../../../cli/commands/worker.ts';
import { logArguments } from '../../../cli/log-flags.ts';
import { run } from './console.ts';

test('each of several workers has the next port for its metrics', () => {
  expect(metricsOf('0.0.0.0:9470', 3)).toEqual(['0.0.0.0:9470', '0.0.0.0:9471', '0.0.0.0:9472']);
  expect(metricsOf('[::1]:9470', 1)).toEqual(['[::1]:9470']);
  expect(metricsOf('127.0.0.1:0', 2)).toEqual(['127.0.0.1:0', '127.0.0.1:0']);
  expect(metricsOf('h:65534', 2)).toEqual(['h:65534', 'h:65535']);
});

test('a place that is none, or has too few ports, is refused before a worker starts', async () => {
  const refused = (message: string) => expect.objectContaining({ code: 'USAGE', where: '--metrics', message }) as Error;
  for (const metrics of ['9470', 'localhost:', 'localhost:x', ':9470']) expect(() => metricsOf(metrics, 1), metrics).toThrow(refused('must be host:port'));
  expect(() => metricsOf('h:65535', 2)).toThrow(refused('2 workers take 2 ports from 65535 on, and 65535 is the last'));
  expect(await run(['worker', '--metrics', '9470'])).toMatchObject({ code: 2, out: '', err: expect.stringContaining('--metrics: must be host:port') });
});

test('form and level of logs are handed on, and one that is none is refused', async () => {
  expect(logArguments({ logFormat: 'json', logLevel: 'debug' })).toEqual(['--log-format', 'json', '--log-level', 'debug']);
  expect(logArguments({})).toEqual([]);
  for (const command of ['worker', 'coordinator']) {
    expect(await run([command, '--log-format', 'xml'])).toMatchObject({ code: 2, err: expect.stringContaining('text, json') });
    expect(await run([command, '--log-level', 'loud'])).toMatchObject({ code: 2, err: expect.stringContaining('debug, info, warn, error, fatal') });
  }
});
