/** The names of stages are those of the wire's enum: task ids, stored objects and people read one and the same word. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { Stage } from '../../../proto/gen/alumnus/v1/task.ts';
import { stageName } from '../../../proto/stages.ts';

const text = readFileSync(join(import.meta.dirname, '../../../proto/alumnus/v1/task.proto'), 'utf8');

test('every stage of task.proto is called what it is called there; what is none, or of a newer release, has no name', () => {
  const written = [...text.matchAll(/^ {2}STAGE_([A-Z]+) = (\d+);$/gm)].map(([, word = '', number = '']) => [Number(number), word === 'UNSPECIFIED' ? '' : word.toLowerCase()] as const);
  expect(written.map(([, word]) => word)).toEqual(['', 'label', 'select', 'train', 'evaluate', 'promote']);
  for (const [number, word] of written) expect(stageName(number as Stage)).toBe(word);
  expect(stageName(Stage.UNRECOGNIZED)).toBe('');
  expect(stageName(99 as Stage)).toBe('');
});
