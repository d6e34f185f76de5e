/** Predictions counted by confidence: a threshold that is chosen from them keeps what was counted, to the sample. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { confidenceBins, confidenceEdges, isEligible, labelsOf, logOddsOf, topOf, type SelectionPolicy } from '../../../worker/data/index.ts';

const policy = (threshold: number): SelectionPolicy => ({ threshold, balance: 'none', budgetPerClass: 0, copiesMax: 1, seed: 1 });

describe('the edges', () => {
  it('are those of tallies as confidences, from 0 on, each above the one before, in float32 too', () => {
    expect(confidenceEdges).toHaveLength(257);
    // By numpy 1 / (1 + exp(-x)) for x = -7.875, 0, 2, 24; below the first edge lies everything.
    expect([confidenceEdges[0], confidenceEdges[1], confidenceEdges[64], confidenceEdges[80], confidenceEdges[256]]).toEqual([0, expect.closeTo(0.0003799845147518645, 15), 0.5, expect.closeTo(0.880797077977882, 12), expect.closeTo(0.999999999962249, 14)]);
    for (let bin = 1; bin < confidenceEdges.length; bin += 1) expect(logOddsOf(confidenceEdges[bin] ?? NaN)).toBeGreaterThan(logOddsOf(confidenceEdges[bin - 1] ?? NaN));
  });
});

describe('predictions by confidence', () => {
  it('are counted where they belong, and empty bins are left out', () => {
    // 0.5 has log-odds 0, 0.75 log 3 = 1.0986 (bin from 1), 0.9 log 9 = 2.1972 (bin from 2.125).
    const odds = Float32Array.of(0, Math.log(3), Math.log(3), Math.log(9), -100, 100);
    expect(confidenceBins(odds, Uint8Array.of(1, 1, 0, 1, 0, 1))).toEqual([
      { confidence: 0, correct: 0, total: 1 }, { confidence: 0.5, correct: 1, total: 1 }, { confidence: expect.closeTo(0.731058578630005, 12) as number, correct: 1, total: 2 },
      { confidence: expect.closeTo(0.8933094060543487, 12) as number, correct: 1, total: 1 }, { confidence: expect.closeTo(0.999999999962249, 14) as number, correct: 1, total: 1 },
    ]);
  });

  it('at or above a bin\'s confidence are those that it would keep as a threshold, and no others', () => {
    const near = fc.oneof(fc.double({ min: -12, max: 30, noNaN: true }), fc.constantFrom(...confidenceEdges.map(logOddsOf)), fc.constantFrom(-Infinity, Infinity), fc.constantFrom(...confidenceEdges.slice(1).map((edge) => logOddsOf(edge) - 1e-6)));
    fc.assert(fc.property(fc.array(fc.record({ logOdds: near, right: fc.boolean() }), { minLength: 1, maxLength: 60 }), (rows) => {
      const odds = Float32Array.from(rows, (row) => row.logOdds);
      const bins = confidenceBins(odds, Uint8Array.from(rows, (row) => (row.right ? 1 : 0)));
      expect(bins.map((bin) => bin.confidence)).toEqual(bins.map((bin) => bin.confidence).sort((a, b) => a - b));
      for (const { confidence } of bins) {
        const above = bins.filter((bin) => bin.confidence >= confidence);
        const kept = rows.filter((_, row) => isEligible(odds[row] ?? NaN, policy(confidence)));
        expect(above.reduce((sum, bin) => sum + bin.total, 0)).toBe(kept.length);
        expect(above.reduce((sum, bin) => sum + bin.correct, 0)).toBe(kept.filter((row) => row.right).length);
      }
    }));
  });
});

describe('the top of a row', () => {
  it('is what a label says', () => {
    const row = Float32Array.of(Math.log(0.7), Math.log(0.2), Math.log(0.1));
    expect(topOf(row)).toEqual({ top: 0, logOdds: expect.closeTo(0.8472978603872037, 6) as number });
    expect(Math.fround(topOf(row).logOdds)).toBe(labelsOf(['a'], row, 3).logOdds[0]);
    expect(topOf([0])).toEqual({ top: 0, logOdds: Infinity });
    expect(topOf([0, -Infinity]).logOdds).toBe(60_000);
    for (const values of [[NaN, 0], [0, NaN], [NaN, NaN]]) expect(topOf(values).logOdds).toBeNaN();
  });
});
