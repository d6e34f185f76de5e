/** Temperature and calibration error against calibration-expected.json, which calibration-expected.py (scipy, numpy) wrote; what has no figure there by reasoning beside it. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { calibrationError, confidencesAt, fitTemperature, negativeLogLikelihood, TEMPERATURE_MAX, TEMPERATURE_MIN, argmax, type Predicted } from '../../../worker/learning/index.ts';

interface Case {
  readonly name: string;
  readonly classes: number;
  readonly logProbabilities: readonly number[];
  readonly truth: readonly number[];
  readonly temperature: number;
  readonly loss: number;
  readonly lossScaled: number;
  readonly error: number;
  readonly errorScaled: number;
}

const { cases } = JSON.parse(readFileSync(join(import.meta.dirname, 'calibration-expected.json'), 'utf8')) as { cases: readonly Case[] };

const predictedOf = ({ logProbabilities, truth, classes }: Pick<Case, 'logProbabilities' | 'truth' | 'classes'>): Predicted => ({ logProbabilities: Float32Array.from(logProbabilities), truth: Uint16Array.from(truth), classes });

describe.each(cases)('$name predictions', (expected) => {
  const predicted = predictedOf(expected);
  const picked = argmax(predicted.logProbabilities, expected.truth.length, expected.classes);
  const right = Uint8Array.from(picked, (value, row) => (value === expected.truth[row] ? 1 : 0));
  const errorAt = (temperature: number): number => calibrationError(confidencesAt(predicted, picked, temperature), right);

  it('have the temperature of the least loss', () => {
    // scipy's minimizer compares losses, which are flat at their least: it knows the temperature to some eight digits.
    expect(Math.abs(fitTemperature(predicted) / expected.temperature - 1)).toBeLessThan(1e-6);
    expect(negativeLogLikelihood(predicted, fitTemperature(predicted))).toBeCloseTo(expected.lossScaled, 12);
  });

  it('have the loss and the calibration error of the published formulas, without the temperature and with it', () => {
    expect(negativeLogLikelihood(predicted)).toBeCloseTo(expected.loss, 12);
    expect(errorAt(1)).toBeCloseTo(expected.error, 12);
    expect(errorAt(expected.temperature)).toBeCloseTo(expected.errorScaled, 12);
  });

  it('are fitted best by no other temperature nearby', () => {
    const best = fitTemperature(predicted);
    for (const factor of [0.9, 0.999, 1.001, 1.1]) expect(negativeLogLikelihood(predicted, best * factor)).toBeGreaterThan(negativeLogLikelihood(predicted, best));
  });
});

describe('the temperature', () => {
  const logs = (...probabilities: number[]): number[] => probabilities.map(Math.log);

  it('of two kinds of rows is what the odds ask for', () => {
    // Every row says 0.9 : 0.1 and two of three are right: softmax(logits / T) must say 2 : 1, so T = log 9 / log 2.
    const rows = [logs(0.9, 0.1), logs(0.9, 0.1), logs(0.9, 0.1)].flat();
    expect(fitTemperature(predictedOf({ logProbabilities: rows, truth: [0, 0, 1], classes: 2 }))).toBeCloseTo(Math.log(9) / Math.log(2), 5);
  });

  it('stays in its bounds where the split does not tell it: all right, all wrong', () => {
    const rows = [logs(0.7, 0.3), logs(0.2, 0.8)].flat();
    expect(fitTemperature(predictedOf({ logProbabilities: rows, truth: [0, 1], classes: 2 }))).toBe(TEMPERATURE_MIN);
    expect(fitTemperature(predictedOf({ logProbabilities: rows, truth: [1, 0], classes: 2 }))).toBe(TEMPERATURE_MAX);
  });

  it('is 1 where the loss does not depend on it', () => {
    expect(fitTemperature(predictedOf({ logProbabilities: logs(0.25, 0.25, 0.25, 0.25), truth: [2], classes: 4 }))).toBe(1);
    expect(fitTemperature({ logProbabilities: new Float32Array(0), truth: new Uint16Array(0), classes: 3 })).toBe(1);
    expect(negativeLogLikelihood({ logProbabilities: new Float32Array(0), truth: new Uint16Array(0), classes: 3 })).toBe(0);
  });

  it('is a number where a model gives a class no probability at all, right or wrong', () => {
    const rows = [0, -Infinity, 0, -Infinity, ...logs(0.6, 0.4), ...logs(0.6, 0.4)];
    const fitted = fitTemperature(predictedOf({ logProbabilities: rows, truth: [0, 1, 0, 1], classes: 2 }));
    // One certain row is wrong, so that the softest is the best within bounds.
    expect(fitted).toBe(TEMPERATURE_MAX);
    expect(Array.from(confidencesAt({ logProbabilities: Float32Array.from(rows), classes: 2 }, Uint16Array.of(0, 0, 0, 0), 2))).toEqual([1, 1, expect.closeTo(0.5505102572, 6), expect.closeTo(0.5505102572, 6)]);
  });
});

describe('the calibration error', () => {
  it('puts a confidence that is a bin\'s upper edge into that bin, as the published code does', () => {
    // 1/15 each: in one bin the halves of right and wrong cancel to |1 - 2/15| / 2; a confidence of 1 is in the last bin.
    expect(calibrationError(Float64Array.of(1 / 15, 1 / 15), Uint8Array.of(1, 0))).toBeCloseTo((1 - 2 / 15) / 2, 12);
    // 0.06 is in the first bin, with 1/15: |1 - 0.06 - 1/15| / 2; 0.07 is not.
    expect(calibrationError(Float64Array.of(1 / 15, 0.06), Uint8Array.of(1, 0))).toBeCloseTo((1 - 0.06 - 1 / 15) / 2, 12);
    expect(calibrationError(Float64Array.of(1 / 15, 0.07), Uint8Array.of(1, 0))).toBeCloseTo((1 - 1 / 15 + 0.07) / 2, 12);
    expect(calibrationError(Float64Array.of(1, 1), Uint8Array.of(1, 0))).toBe(0.5);
    expect(calibrationError(new Float64Array(0), new Uint8Array(0))).toBe(0);
  });
});
