/** The kinds of documents that programs are told: each has a schema that says what it is and refuses what it is not. */
import { Validator } from '@cfworker/json-schema';
import { describe, expect, test } from 'vitest';
import { kinds, kindSchema } from '../../../cli/kinds/index.ts';
import { machineDocument } from '../../../proto/machine.ts';
import { finishedRun, runningRun } from './fixture.ts';

const problemsOf = (kind: string, value: unknown): string[] => new Validator(kindSchema(kind) as object, '2020-12').validate(JSON.parse(JSON.stringify(value))).errors.map(({ instanceLocation, error }) => `${instanceLocation}: ${error}`);

test.each(kinds)('%s is closed, and every reference leads somewhere', (kind) => {
  const schema = kindSchema(kind) as { additionalProperties: unknown; $defs?: Record<string, unknown> };
  expect(schema.additionalProperties).toBe(false);
  for (const [, name = ''] of JSON.stringify(schema).matchAll(/"\$ref":"([^"]*)"/g)) expect(Object.keys(schema.$defs ?? {})).toContain(name.replace('#/$defs/', ''));
  expect(problemsOf(kind, { apiVersion: 'alumnus/v1', kind, more: 1 })).not.toEqual([]);
});

describe('a run', () => {
  test.each([['one that has ended', finishedRun()], ['one under way', runningRun()]])('%s is what its schema says', (_, view) => {
    expect(problemsOf('Run', machineDocument('Run', view))).toEqual([]);
  });
  test('is none with a field more, one less, or one of another type', () => {
    const told = machineDocument('Run', finishedRun()) as Record<string, Record<string, unknown>>;
    expect(problemsOf('Run', { ...told, nowMs: 1 })).not.toEqual([]);
    expect(problemsOf('Run', { ...told, stageDone: undefined })).not.toEqual([]);
    expect(problemsOf('Run', { ...told, summary: { ...told['summary'], submittedAt: 1_700_000_000_000 } })).not.toEqual([]);
    expect(problemsOf('Run', { ...told, summary: { ...told['summary'], stage: 3 } })).not.toEqual([]);
  });
});

test('there is no schema of what is no kind', () => {
  expect(['Nothing', 'RunList', 'VersionList', ''].map(kindSchema)).toEqual([undefined, undefined, undefined, undefined]);
});
