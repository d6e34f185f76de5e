/**
 * The gate's arithmetic against values computed independently, with SciPy 1.17.1:
 *   python -c "from scipy.stats import binomtest; print(binomtest(min(a, b), a + b, 0.5).pvalue)"
 * and, for leastResolvable, d - 2 * m for the largest m <= d / 2 with binomtest(m, d, 0.5).pvalue < alpha.
 */
import { describe, expect, test } from 'vitest';
import { decideGate, leastResolvable, mcnemarExact } from '../../../coordinator/run/index.ts';
import { makeRecipe } from './work.ts';

describe('mcnemarExact', () => {
  test.each([
    [0, 1, 1], [1, 0, 1], [3, 12, 0.03515625], [12, 3, 0.03515625], [0, 5, 0.0625], [0, 6, 0.03125], [10, 10, 1], [5, 7, 0.7744140625],
    [9, 21, 0.042773945257067694], [8, 21, 0.0241195447742939], [11, 25, 0.028816719655878845], [10, 25, 0.016673847800120715], [30, 60, 0.0020602656809630745],
    [121, 59, 4.4344492637551645e-6], [400, 500, 0.0009564441369189373], [4900, 5100, 0.04658552770494645], [30_000, 30_700, 0.004551381101499753],
    [2, 990, 2.353456111399792e-293],
  ])('of %i against %i', (a, b, expected) => {
    // In logarithms, so that the bound is one of digits: ten of them, whatever the size.
    expect(Math.abs(Math.log(mcnemarExact(a, b) / expected))).toBeLessThan(1e-10 + 1e-12 * Math.abs(Math.log(expected)));
  });

  test('without discordant pairs nothing is shown', () => expect(mcnemarExact(0, 0)).toBe(1));
});

describe('leastResolvable', () => {
  test.each([
    [4, 0.05, undefined], [5, 0.05, undefined], [6, 0.05, 6], [15, 0.05, 9], [15, 0.025, 11], [20, 0.05, 10], [100, 0.05, 22], [100, 0.01, 28],
    [180, 0.05, 28], [901, 0.05, 61], [900, 0.0125, 76],
  ])('of %i discordant pairs at %f', (discordant, alpha, expected) => expect(leastResolvable(discordant, alpha)).toBe(expected));
});

describe('decideGate', () => {
  const promotion = (wishes: object = {}) => makeRecipe({ promotion: wishes }).promotion;
  const counts = (studentOnlyRight: number, teacherOnlyRight: number) => ({ samples: 1000, studentOnlyRight, teacherOnlyRight });

  test.each([
    // Significantly better, not different, significantly worse; then whether `not-worse` and `better` promote.
    [12, 3, true, true], [10, 8, true, false], [8, 10, true, false], [3, 12, false, false], [0, 0, true, false], [5, 0, true, false], [6, 0, true, true], [0, 5, true, false], [0, 6, false, false],
  ])('+%i/-%i', (better, worse, notWorse, onlyBetter) => {
    expect(decideGate(counts(better, worse), promotion({ require: 'not-worse' }), 1).promote).toBe(notWorse);
    expect(decideGate(counts(better, worse), promotion({ require: 'better' }), 1).promote).toBe(onlyBetter);
  });

  test('alpha is divided by the tries: what refuses at the first gate may pass at the second', () => {
    // p = 0.0352 lies between 0.05 / 2 and 0.05.
    expect(decideGate(counts(3, 12), promotion(), 1)).toMatchObject({ promote: false, gate: { alpha: 0.05, pValue: expect.closeTo(0.03515625, 12) as number } });
    expect(decideGate(counts(3, 12), promotion(), 2)).toMatchObject({ promote: true, gate: { alpha: 0.025 } });
  });

  test('a p-value of exactly alpha is not significant', () => {
    expect(decideGate(counts(0, 6), promotion({ alpha: 0.03125 }), 1).promote).toBe(true);
    expect(decideGate(counts(0, 6), promotion({ alpha: 0.0313 }), 1).promote).toBe(false);
  });

  test('the report says what the split could have shown', () => {
    expect(decideGate(counts(10, 5), promotion(), 1).gate.warning).toBe('1000 validation samples cannot resolve a difference under 0.90 points here; the one seen is 0.50 points');
    expect(decideGate(counts(3, 2), promotion(), 1).gate.warning).toContain('cannot show any difference');
    expect(decideGate(counts(12, 3), promotion(), 1).gate.warning).toBe('');
  });
});
