/** What a run is waited for to be. */
import { expect, test } from 'vitest';
import { parseCondition } from '../../../cli/conditions.ts';
import { finishedRun, pausedRun, runningRun } from './fixture.ts';

const [running, paused, finished] = [runningRun(), pausedRun('a reason'), finishedRun()];
const met = (text: string): boolean[] => [running, paused, finished].map((view) => parseCondition(text).isMet(view));

// Running: iteration 2, label. Paused and finished: as the fixture has them.
test.each([
  ['running', [true, false, false]],
  ['paused', [false, true, false]],
  ['succeeded', [false, false, true]],
  ['failed', [false, false, false]],
  ['ended', [false, false, true]],
  ['iteration=2', [true, true, true]],
  ['iteration=99', [false, false, false]],
  ['stage=label', [true, paused.summary?.stage === running.summary?.stage, false]],
  ['stage=label,paused', [false, paused.summary?.stage === running.summary?.stage, false]],
  [' running , iteration=1', [true, false, false]],
])('%s', (text, expected) => expect(met(text)).toEqual(expected));

test.each(['', 'finished', 'iteration', 'iteration=x', 'stage=trained', 'running=1', 'ended=1', 'running,'])('%j is nothing to wait for', (text) => {
  expect(() => parseCondition(text)).toThrow(/is nothing that a run can be waited for/);
});
