/** A run that stands still says what to do about it, from the row of the error that its reason names. */
import { expect, test } from 'vitest';
import { describeRun } from '../../../cli/describe.ts';
import { newsBetween } from '../../../cli/progress/view.ts';
import { nextStep, remedyOf } from '../../../cli/remedy.ts';
import { summaryText } from '../../../cli/summary.ts';
import { errorTable } from '../../../proto/errors.ts';
import { pausedRun, runningRun } from './fixture.ts';

const full = 'i0.train.student.t0.1a2b: 2 attempts failed, the last with STORE_FULL: objects/runs/x: no space is left on the device';
const quarantined = (code: string, what: string) => `2 of 12 shards are quarantined, more than the tolerated share of 0.1; one is unlabeled-000001: 2 attempts failed, the last with ${code}: ${what}`;

test.each([
  ['a full store', full, errorTable.STORE_FULL.remedy],
  ['a damaged shard', quarantined('DIGEST_MISMATCH', 'datasets/mnist/unlabeled/00.tar: the sha256 is 11, not 00'), 'Repair the data: run the same `alumnus dataset import` again, which puts every missing or damaged object back and changes nothing else.'],
  ['an image that no import repairs', quarantined('IMAGE_CORRUPT', 'unlabeled-000001/x.png: ends at byte 50'), errorTable.IMAGE_CORRUPT.remedy],
  ['a damaged object that is not the dataset\'s', quarantined('DIGEST_MISMATCH', 'runs/r/t/00.weights: the sha256 is 11, not 00'), errorTable.DIGEST_MISMATCH.remedy],
  ['an operator', 'the fleet is needed elsewhere', ''],
  ['a gate', 'iteration 2: the student was refused (not significantly different); resume to go on with the old teacher, or cancel', ''],
  ['a code of a newer release', quarantined('WHO_KNOWS', 'x'), ''],
])('paused by %s', (_, reason, remedy) => {
  const view = pausedRun(reason);
  expect(remedyOf(view.summary)).toBe(remedy);
  expect(nextStep(view.summary)).toBe(remedy === '' ? '' : `${remedy} Then: alumnus run resume mnist-4f2a91`);
});

test('a failure\'s code has its remedy too; a run that goes on needs none', () => {
  const { summary } = runningRun();
  expect(remedyOf({ ...summary!, state: 'failed', reason: 'iteration 1: no pseudo-label names three [LABELS_COLLAPSED]' })).toBe(errorTable.LABELS_COLLAPSED.remedy);
  expect(remedyOf({ ...summary!, reason: full })).toBe('');
});

test('describe, the progress and the table show it', () => {
  const view = pausedRun(full);
  expect(describeRun(view, 200)).toMatch(/^What to do +Free space on the device .* Then: alumnus run resume mnist-4f2a91$/m);
  expect(newsBetween(runningRun(), view)).toEqual([`paused: ${full}`, `what to do: ${errorTable.STORE_FULL.remedy}`]);
  expect(summaryText(view, 200)).toContain(`no space is left on the device. ${errorTable.STORE_FULL.remedy}`);
});
