/** What is told of robustness, of figures that are chosen, not computed. */
import { describe, expect, test } from 'vitest';
import { summarize, summaryText } from '../../../cli/summary.ts';
import { robustnessSummary, robustnessTable } from '../../../cli/robustness.ts';
import { renderReport } from '../../../cli/report/page.ts';
import type { ModelView, RobustnessView, RunView } from '../../../proto/gen/alumnus/v1/operator.ts';
import { finishedRun, runWithComparisons } from './fixture.ts';

const robustness = (wrong: number, testWrong: number, mean: number, testMean: number, tested = true): RobustnessView => ({
  scores: [
    { name: 'shot_noise', frames: 0, validation: { wrong, total: 1000 }, test: tested ? { wrong: testWrong, total: 2000 } : undefined },
    { name: 'rotate_sequence', frames: 31, validation: { wrong: 30, total: 15_000 }, test: tested ? { wrong: 60, total: 15_000 } : undefined },
  ],
  validation: { meanError: wrong / 1000, meanCorruptionError: mean, meanFlipProbability: 0.002, meanFlipRate: 0.75 },
  test: tested ? { meanError: testWrong / 2000, meanCorruptionError: testMean, meanFlipProbability: 0.004, meanFlipRate: 0.8 } : undefined,
});

function robustRun(tested = true): RunView {
  const view = finishedRun();
  const withIt = (model: ModelView | undefined, ...figures: [number, number, number, number]): ModelView => ({ ...model!, robustness: robustness(...figures, tested) });
  return {
    ...view,
    iterations: view.iterations.slice(0, 2).map((each, at) => ({ ...each, model: at === 0 ? withIt(each.model, 400, 900, 1, 1) : withIt(each.model, 123, 250, 0.4567, 0.512) })),
    control: withIt(view.control, 350, 750, 0.875, 0.9),
  };
}

describe('robustness', () => {
  test('is a table of corruptions by models, validation beside test, with what it is normalized by in its name', () => {
    const table = robustnessTable(robustRun());
    expect(table?.columns).toEqual(['iteration 0', 'iteration 1', 'control']);
    expect(table?.corruptions.map(({ name }) => name)).toEqual(['shot noise', 'mean error', 'mCE, normalized by iteration 0\'s teacher']);
    expect(table?.sequences.map(({ name }) => name)).toEqual(['rotate', 'mean flips', 'mFR, normalized by iteration 0\'s teacher']);
    expect(table?.corruptions[0]?.cells).toEqual([{ validation: 0.4, test: 0.45 }, { validation: 0.123, test: 0.125 }, { validation: 0.35, test: 0.375 }]);
    const text = robustnessSummary(robustRun());
    for (const line of [/shot noise +40\.00 % \| 45\.00 % +12\.30 % \| 12\.50 % +35\.00 % \| 37\.50 %/, /mCE, normalized by iteration 0's teacher +1\.000 \| 1\.000 +0\.457 \| 0\.512 +0\.875 \| 0\.900/, /rotate +0\.20 % \| 0\.40 %/]) expect(text).toMatch(line);
  });

  test('has a column of each comparison that was measured, which is no point of the charts over iterations', () => {
    const view = robustRun();
    const [truth] = runWithComparisons().comparisons;
    const quiet = { ...truth!, name: 'quiet', model: { ...truth!.model!, robustness: robustness(600, 1300, 1.5, 1.625) } };
    const compared = { ...view, comparisons: [quiet, { ...truth!, name: 'late', model: undefined }] };
    expect(robustnessTable(compared)?.columns).toEqual(['iteration 0', 'iteration 1', 'control', 'quiet']);
    expect(robustnessTable(compared)?.corruptions[0]?.cells[3]).toEqual({ validation: 0.6, test: 0.65 });
    const page = renderReport({ view: compared, audits: [], missing: [], version: '0' });
    expect(page).toContain('>Quiet</th>');
    expect(page.match(/<title>Iteration \S+, test: /g)).toEqual(renderReport({ view, audits: [], missing: [], version: '0' }).match(/<title>Iteration \S+, test: /g));
  });

  test('without test images tells validation alone', () => {
    const text = robustnessSummary(robustRun(false));
    expect(text).toMatch(/shot noise +40\.00 % +12\.30 % +35\.00 %\n/);
    expect(text).not.toContain('|');
  });

  test('is a finding: the best model\'s mCE and the control\'s, on test where there is one', () => {
    const best = (view: RunView): RunView => ({ ...view, bestIteration: 1 });
    expect(summarize(best(robustRun())).findings).toContain('On corrupted test images the best model (iteration 1) has an mCE of 0.512, the control 0.900, normalized by iteration 0\'s teacher, which has 1.');
    expect(summarize(best({ ...robustRun(false), control: undefined })).findings).toContain('On corrupted validation images the best model (iteration 1) has an mCE of 0.457, normalized by iteration 0\'s teacher, which has 1.');
    expect(summarize(finishedRun()).findings.join()).not.toContain('orrupted');
  });

  test('stands in the gate\'s cell as the ratio to the teacher', () => {
    const view = robustRun();
    const gated = { ...view, iterations: view.iterations.map((each) => (each.gate === undefined ? each : { ...each, gate: { ...each.gate, corruptionRatio: 1.1049 } })) };
    expect(summaryText(gated, 200)).toMatch(/corrupted × 1\.105/);
    expect(summaryText(view, 200)).not.toContain('orrupted');
    expect(renderReport({ view: gated, audits: [], missing: [], version: '0' })).toContain('<small>corrupted × 1.105</small>');
  });

  test('is why a student was refused, where it was: that it was worse is not claimed', () => {
    const view = robustRun();
    const reason = 'significantly better, by +2.76 points; its mean corruption error is 1.105 times the teacher\'s, above the 1 of promotion.corruption_error_most';
    const refused = { ...view, bestIteration: 0, iterations: view.iterations.map((each) => (each.gate === undefined ? each : { ...each, decision: 'refused', gate: { ...each.gate, reason } })) };
    expect(summarize(refused).findings).toContain(`No student passed the gate, and the run returns the first teacher. Iteration 1: ${reason}.`);
    expect(summarize({ ...view, bestIteration: 0 }).findings).toContain('No student was better on validation than the first teacher: the run returns the first teacher.');
  });

  test('is not spoken of where nothing is corrupted', () => {
    expect(robustnessSummary(finishedRun())).toBe('');
    expect(renderReport({ view: finishedRun(), audits: [], missing: [], version: '0' })).not.toContain('Corrupted images');
  });

  test('follows the model that is gated where models are fine-tuned', () => {
    const view = robustRun();
    const tuned = { ...view, fineTunedTeaches: true, iterations: view.iterations.map((each) => ({ ...each, fineTuned: { ...each.model!, robustness: robustness(5, 10, 0.1, 0.1) } })), controlFineTuned: undefined };
    expect(robustnessTable(tuned)?.corruptions[0]?.cells).toEqual([{ validation: 0.005, test: 0.005 }, { validation: 0.005, test: 0.005 }]);
  });

  test('has its tables and charts in the report', () => {
    const page = renderReport({ view: robustRun(), audits: [], missing: [], version: '0' });
    expect(page).toContain('<h2>Corrupted images</h2>');
    expect(page).toContain('<th scope="row">shot noise</th><td class="figure">40.00 %</td><td class="figure">45.00 %</td><td class="figure">12.30 %</td><td class="figure">12.50 %</td>');
    expect(page).toContain('<title>Iteration 1, validation: 0.457</title>');
    // By hand: ticks 0 to 1, 220 high with 10 above and 30 below; 0.4567 is 10 + 0.5433 x 180 = 107.8; the second of two slots of 344 / 2 from 46 on: 304.
    expect(page).toMatch(/<title>Iteration 1, validation: 0\.457<\/title><circle [^>]*cx="304\.0" cy="107\.8"/);
    expect(page).not.toMatch(/NaN|Infinity|undefined/);
  });
});
