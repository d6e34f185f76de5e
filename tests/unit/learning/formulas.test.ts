/** Losses, schedules, optimizers, averages and the stochastic depth rule against figures that numpy computed (formulas beside them). */
import { beforeAll, describe, expect, it } from 'vitest';
import { effectiveDecay, movingAverage } from '../../../worker/learning/ema.ts';
import { smoothLabels, softCrossEntropy } from '../../../worker/learning/losses.ts';
import { survivalProbability } from '../../../recipe/models/residual.ts';
import { clipByGlobalNorm, initialSlots, makeOptimizer } from '../../../worker/learning/optimizers.ts';
import { learningRateAt } from '../../../worker/learning/schedules.ts';
import { loadTensorFlow } from '../../../worker/tensorflow/index.ts';
import type { TensorFlow, Tensors } from '../../../worker/tensorflow/index.ts';
import type { OptimizerSettings } from '../../../worker/learning/index.ts';

let engine: TensorFlow;
beforeAll(() => { engine = loadTensorFlow({ threads: 2 }); });

describe('losses', () => {
  it('averages the cross-entropy of hard and soft rows', () => {
    // ls = z - log(sum(exp(z))); -(t * ls).sum(1).mean() with t = [[1,0,0],[.2,.5,.3]], z = [[2,1,-1],[.5,-.5,3]]
    const { tf } = engine;
    const loss = softCrossEntropy(engine, tf.tensor2d([1, 0, 0, 0.2, 0.5, 0.3], [2, 3]), tf.tensor2d([2, 1, -1, 0.5, -0.5, 3], [2, 3]));
    expect(loss.dataSync()[0]).toBeCloseTo(1.3527131605240712, 6);
  });

  it('smooths one-hot rows only', () => {
    const { tf } = engine;
    const smoothed = smoothLabels(engine, tf.tensor2d([0, 1, 0, 0, 0.25, 0.25, 0.4, 0.1], [2, 4]), 0.1).dataSync();
    // (1 - 0.1) t + 0.1 / 4
    for (const [index, value] of [0.025, 0.925, 0.025, 0.025, 0.25, 0.25, 0.4, 0.1].entries()) expect(smoothed[index]).toBeCloseTo(value, 6);
  });
});

describe('schedules', () => {
  const settings = (name: 'cosine' | 'constant' | 'exponential'): Parameters<typeof learningRateAt>[1] =>
    ({ steps: 100, schedule: { name, warmupSteps: 10, decayFactor: 0.97, decaySteps: 0 }, optimizer: { name: 'sgd', learningRate: 0.1, weightDecay: 0, momentum: 0, decay: 0, epsilon: 0 } });

  it('rises linearly to the peak', () => {
    expect([0, 4, 9].map(step => learningRateAt(step, settings('cosine')))).toEqual([0.01, 0.05, 0.1]);
  });

  it.each([
    // 0.05 (1 + cos(pi s / 90)), s = 0, 45, 89
    ['cosine' as const, [0.1, 0.05, 3.0458649045211895e-5]],
    // 0.1 x 0.97^(350 / 2.4 x s / 90)
    ['exponential' as const, [0.1, 0.010850230314399361, 0.0012368373844077987]],
    ['constant' as const, [0.1, 0.1, 0.1]],
  ])('%s falls as its formula', (name, expected) => {
    [10, 55, 99].forEach((step, index) => expect(learningRateAt(step, settings(name))).toBeCloseTo(expected[index]!, 12));
  });

  it.each([
    // 0.1 x 0.97^floor(s / 24), s = 10, 23, 24, 55, 99
    [0.97, 24, [0.1, 0.1, 0.097, 0.09409, 0.088529281]],
    // 0.1 x 0.9^floor(s / 7.5)
    [0.9, 7.5, [0.09, 0.0729, 0.0729, 0.04782969, 0.02541865828329001]],
  ])('exponential falls by %d every %d steps, in stairs from the first step on', (decayFactor, decaySteps, expected) => {
    const stairs = { ...settings('exponential'), schedule: { name: 'exponential' as const, warmupSteps: 10, decayFactor, decaySteps } };
    [10, 23, 24, 55, 99].forEach((step, index) => expect(learningRateAt(step, stairs)).toBeCloseTo(expected[index]!, 12));
    expect(learningRateAt(4, stairs)).toBe(0.05);
  });

  it('starts at the peak without a warm-up', () => {
    expect(learningRateAt(0, { ...settings('cosine'), schedule: { ...settings('cosine').schedule, warmupSteps: 0 } })).toBe(0.1);
  });
});

describe('optimizers', () => {
  /** Three updates of w = [1, -2] at rate 0.1 and decay 0.05 with the gradients [.5,-1], [.25,2], [-1,.1]. */
  function threeUpdates(settings: Pick<OptimizerSettings, 'name'> & Partial<OptimizerSettings>, decays: boolean): number[] {
    const { tf } = engine;
    return tf.tidy(() => {
      const full = { learningRate: Number.NaN, weightDecay: 0.05, momentum: 0.9, decay: 0.9, epsilon: 0.001, ...settings };
      const optimizer = makeOptimizer(engine, full);
      let weight: ReturnType<typeof tf.tensor> = tf.tensor1d([1, -2]);
      let slots: Tensors = Object.fromEntries(Object.entries(initialSlots(full)).map(([slot, value]) => [slot, tf.fill([2], value)]));
      [[0.5, -1], [0.25, 2], [-1, 0.1]].forEach((gradient, index) => {
        ({ weight, slots } = optimizer.update({ weight, gradient: tf.tensor1d(gradient), slots, decays }, tf.scalar(0.1), tf.scalar(index + 1)));
      });
      return [...weight.dataSync()];
    });
  }
  const close = (values: number[], expected: readonly number[]): void => values.forEach((value, index) => expect(value).toBeCloseTo(expected[index]!, 5));

  it('AdamW decays weights apart from the moments', () => {
    // m=.9m+.1g; v=.999v+.001g^2; w -= .1 (m/(1-.9^k) / (sqrt(v/(1-.999^k)) + 1e-8) + .05 w)
    close(threeUpdates({ name: 'adamw' }, true), [0.813956207673074, -1.938701887705948]);
  });

  it('SGD looks ahead as Nesterov', () => {
    // g += .05 w; b = .9 b + g; w -= .1 (g + .9 b)
    close(threeUpdates({ name: 'sgd' }, true), [0.9134190188749999, -2.13882553775]);
  });

  it('RMSProp is TensorFlow\'s: the mean square begins at one, epsilon is inside the root, the rate inside the momentum', () => {
    // s=1, m=0; g += .05 w; s += .1 (g^2 - s); m = .9 m + .1 g / sqrt(s + .001); w -= m (ApplyRMSProp of TensorFlow's training_ops.cc)
    close(threeUpdates({ name: 'rmsprop' }, true), [0.887760390200036, -2.0249301265996253]);
    close(threeUpdates({ name: 'rmsprop' }, false), [0.915447756503576, -2.0715264459734204]);
  });

  it('clips gradients by the norm of all of them together, and leaves smaller ones alone', () => {
    // |[3, -4]|^2 + |[12]|^2 = 13^2; g min(1, max / 13)
    const { tf } = engine;
    const clip = (most: number): number[][] => {
      const { gradients, norm } = clipByGlobalNorm(engine, [tf.tensor1d([3, -4]), tf.tensor2d([12], [1, 1])], most);
      return [norm, ...gradients].map(tensor => [...tensor.dataSync()]);
    };
    expect(clip(6.5)).toEqual([[13], [1.5, -2], [6]]);
    expect(clip(13)).toEqual([[13], [3, -4], [12]]);
    expect(clip(100)).toEqual([[13], [3, -4], [12]]);
  });

  it.each(['adamw', 'sgd', 'rmsprop'] as const)('%s leaves biases and norms undecayed', name => {
    expect(threeUpdates({ name }, false)).toEqual(threeUpdates({ name, weightDecay: 0 }, true));
    expect(threeUpdates({ name }, false)).not.toEqual(threeUpdates({ name }, true));
  });
});

describe('moving average', () => {
  it('starts short and reaches its decay', () => {
    // min(.995, (1 + c) / (10 + c)), c = 1, 10, 5000
    const decays = [1, 10, 5000].map(count => effectiveDecay(engine, 0.995, engine.tf.scalar(count)).dataSync()[0]!);
    [2 / 11, 11 / 20, 0.995].forEach((value, index) => expect(decays[index]).toBeCloseTo(value, 6));
  });

  it('moves by what the decay leaves', () => {
    const { tf } = engine;
    expect(movingAverage(engine, tf.scalar(2), tf.scalar(4), tf.scalar(0.75)).dataSync()[0]).toBeCloseTo(0.75 * 2 + 0.25 * 4, 6);
  });
});

it('lets blocks survive by linear decay, from nearly always to the last one\'s chance', () => {
  // Huang et al. 2016, equation 4, with L = 54 and p_L = 0.5: p_1 = 1 - 1/54 x 0.5, p_27 = 0.75, p_54 = 0.5
  expect(survivalProbability(1, 54, 0.5)).toBeCloseTo(0.990740740740741, 12);
  expect(survivalProbability(27, 54, 0.5)).toBe(0.75);
  expect(survivalProbability(54, 54, 0.5)).toBe(0.5);
});
