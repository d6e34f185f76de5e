/** What describe and report tell of thresholds and calibration. */
import { describe, expect, test } from 'vitest';
import { confidenceRows } from '../../../cli/confidence.ts';
import { describeRun } from '../../../cli/describe.ts';
import { renderReport } from '../../../cli/report/page.ts';
import { finishedRun, runningRun } from './fixture.ts';

describe('confidence, iteration by iteration', () => {
  const text = describeRun(finishedRun(), 200);
  const line = (start: RegExp): string => text.slice(text.indexOf('LABELS KEPT FROM')).split('\n').find((each) => start.test(each)) ?? '';

  test('tells error, temperature and the error with it, on validation and test', () => expect(line(/^0 /)).toMatch(/^0 +– +0\.012 +1\.23 +0\.004 +0\.012 +0\.004$/));
  test('tells the threshold of the recipe', () => expect(line(/^1 /)).toMatch(/^1 +0\.3 +0\.012 /));
  test('tells a threshold that was chosen for a precision, and by what', () => expect(line(/^2 /)).toContain('0.914, for a precision of 0.95: 4,480 of 4,676 right on validation, at least 95.3 %'));
  test('says where no threshold has the precision', () => expect(line(/^3 /)).toContain('0.999089, the best there is, short of a precision of 0.999: 1,000 of 1,000 right on validation, at least 99.7 %'));
  test('has the control, too', () => expect(line(/^control/)).toMatch(/^control +– +0\.012/));
  test('stands in the report', () => {
    const page = renderReport({ view: finishedRun(), audits: [], missing: [], version: '0.0.0' });
    for (const told of ['How far confidence can be trusted', '0.914, for a precision of 0.95', '>1.23<', '>0.004<']) expect(page).toContain(told);
  });
});

test('a model that an earlier release evaluated has no temperature', () => {
  const view = runningRun();
  const [first] = view.iterations;
  const earlier = { ...view, iterations: [{ ...first!, model: { ...first!.model!, calibration: undefined, validation: { ...first!.model!.validation!, calibrationErrorScaled: undefined } } }] };
  expect(confidenceRows(earlier)).toMatchObject([{ title: '0', kept: '–', error: '0.012', temperature: '–', scaled: '–' }]);
});

test('before anything was evaluated there is nothing to tell', () => {
  expect(confidenceRows({ ...runningRun(), iterations: [] })).toEqual([]);
  expect(describeRun({ ...runningRun(), iterations: [] }, 200)).not.toContain('CALIBRATION');
});
