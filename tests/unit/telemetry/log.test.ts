/** What a log's lines look like in both forms, and what is asked for wrongly. */
import { expect, test } from 'vitest';
import { openLog, type LogOptions } from '../../../telemetry/log.ts';

function logged(options: Partial<LogOptions> = {}): { lines: string[]; log: ReturnType<typeof openLog> } {
  const lines: string[] = [];
  return { lines, log: openLog({ program: 'worker', worker: 'w1', env: {}, write: (line) => void lines.push(line), ...options }) };
}

test('text is a line for people: when, which program, what', () => {
  const { lines, log } = logged();
  log('stops on SIGTERM');
  log('t1 failed: it ended', { run: 'r', task: 't1', code: 'SHARD_CORRUPT', level: 'warn' });
  log('oops', { stack: 'Error: oops\n    at there', level: 'error' });
  expect(lines.map((line) => line.replace(/^\S+Z /, 'NOW '))).toEqual(['NOW worker w1 stops on SIGTERM\n', 'NOW worker w1 t1 failed: it ended\n', 'NOW worker w1 oops\nError: oops\n    at there\n']);
  const coordinator = logged({ program: 'coordinator', worker: undefined as never });
  coordinator.log('leads term 1');
  expect(coordinator.lines[0]).toMatch(/^\d{4}-\d\d-\d\dT\S+Z coordinator leads term 1\n$/);
});

test('json is an object a line, with the same words and what they are about', () => {
  const { lines, log } = logged({ format: 'json' });
  log('t1 failed: it ended', { run: 'r', task: 't1', term: 3, code: 'SHARD_CORRUPT', level: 'warn' });
  expect(lines).toHaveLength(1);
  expect(lines[0]).toMatch(/^[^\n]+\n$/);
  const { time, ...rest } = JSON.parse(lines[0]!) as Record<string, unknown>;
  expect(rest).toEqual({ level: 'warn', program: 'worker', worker: 'w1', pid: process.pid, run: 'r', task: 't1', term: 3, code: 'SHARD_CORRUPT', msg: 't1 failed: it ended' });
  expect(new Date(String(time)).toISOString()).toBe(time);
});

test('a line says which worker it is about where the log is of none', () => {
  const lines: string[] = [];
  openLog({ program: 'coordinator', env: { ALUMNUS_LOG_FORMAT: 'json' }, write: (line) => void lines.push(line) })('worker w2 is lost', { worker: 'w2' });
  expect(JSON.parse(lines[0]!)).toMatchObject({ program: 'coordinator', worker: 'w2', level: 'info' });
});

test('less than the level asked for is not said, and a flag goes before the environment', () => {
  const quiet = logged({ level: 'warn', env: { ALUMNUS_LOG_LEVEL: 'debug' } });
  for (const level of ['debug', 'info', 'warn', 'error', 'fatal'] as const) quiet.log(level, { level });
  expect(quiet.lines.map((line) => line.trimEnd().split(' ').at(-1))).toEqual(['warn', 'error', 'fatal']);
  const usual = logged();
  usual.log('begins', { level: 'debug' });
  expect(usual.lines).toEqual([]);
});

test('what is no form or level is refused where it was asked for', () => {
  const refused = (where: string, message: string) => expect.objectContaining({ code: 'USAGE', where, message }) as Error;
  expect(() => logged({ format: 'xml' })).toThrow(refused('--log-format', 'must be text or json, not "xml"'));
  expect(() => logged({ env: { ALUMNUS_LOG_FORMAT: 'JSON' } })).toThrow(refused('ALUMNUS_LOG_FORMAT', 'must be text or json, not "JSON"'));
  expect(() => logged({ env: { ALUMNUS_LOG_LEVEL: 'trace' } })).toThrow(refused('ALUMNUS_LOG_LEVEL', 'must be debug, info, warn, error or fatal, not "trace"'));
});
