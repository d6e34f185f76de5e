import { describe, expect, test } from 'vitest';
import { duration, integer, percent, plain, points, pValue } from '../../../cli/format.ts';
import { difference, errorReduction, wilson } from '../../../cli/statistics.ts';

describe('wilson', () => {
  // Newcombe 1998, Statistics in Medicine 17:857, table I, method 3.
  test.each([
    [81, 263, 0.2553, 0.3662],
    [15, 148, 0.0624, 0.1605],
    [0, 20, 0, 0.1611],
    [1, 29, 0.0061, 0.1718],
  ])('of %i in %i is %f to %f', (correct, total, low, high) => {
    const interval = wilson(correct, total);
    expect(interval.low).toBeCloseTo(low, 4);
    expect(interval.high).toBeCloseTo(high, 4);
  });
  test('knows nothing of no samples', () => expect(wilson(0, 0)).toEqual({ low: 0, high: 1 }));
});

describe('difference', () => {
  // Newcombe 1998, Statistics in Medicine 17:873, table II, method 10.
  test.each([
    [56, 70, 48, 80, 0.0524, 0.3339],
    [9, 10, 3, 10, 0.1705, 0.8090],
    [10, 10, 0, 20, 0.6791, 1],
  ])('of %i in %i and %i in %i is %f to %f', (a, m, b, n, low, high) => {
    const interval = difference({ correct: a, total: m }, { correct: b, total: n });
    expect(interval.low).toBeCloseTo(low, 4);
    expect(interval.high).toBeCloseTo(high, 4);
  });
});

describe('the share of errors that are gone', () => {
  // By hand and in Python: ratio (30/1000) / (50/800) = 0.48; spread exp(1.95996 sqrt(1/30 - 1/1000 + 1/50 - 1/800)).
  test('is told with its interval', () => {
    const { value, interval } = errorReduction({ correct: 970, total: 1000 }, { correct: 750, total: 800 })!;
    expect(value).toBeCloseTo(0.52, 12);
    expect(interval).toEqual({ low: expect.closeTo(0.252473496, 6), high: expect.closeTo(0.691783504, 6) });
  });
  test('is negative where there are more', () => expect(errorReduction({ correct: 80, total: 100 }, { correct: 90, total: 100 })!.value).toBeCloseTo(-1, 12));
  test('is all of them without an interval where none is left, and nothing where there was none', () => {
    expect(errorReduction({ correct: 10, total: 10 }, { correct: 9, total: 10 })).toEqual({ value: 1, interval: undefined });
    expect(errorReduction({ correct: 9, total: 10 }, { correct: 10, total: 10 })).toBeUndefined();
  });
});

describe('figures', () => {
  test('integers have separators', () => expect([0, 999, 1000, 1_234_567].map(integer)).toEqual(['0', '999', '1,000', '1,234,567']));
  test('shares are percent', () => expect(percent(0.96514, 2)).toBe('96.51 %'));
  test('differences carry their sign, and none where they round to zero', () => expect([0.031, -0.031, -0.0001].map((value) => points(value))).toEqual(['+3.1', '−3.1', '+0.0']));
  test('small p-values are a bound', () => expect([0.00001, 0.0241, 0.481].map(pValue)).toEqual(['p < 0.001', 'p = 0.024', 'p = 0.48']));
  test('durations name two units', () => expect([900, 59_000, 61_000, 3_660_000, 200_000_000].map(duration)).toEqual(['1 s', '59 s', '1 m 1 s', '1 h 1 m', '2 d 7 h']));
  test('control characters cannot reach the terminal', () => expect(plain('a\u001b[2Jb\nc')).toBe('a [2Jb c'));
});
