/** Early stop: when it is over, whose weights are handed back, and that an interruption changes neither. */
import { beforeAll, describe, expect, it } from 'vitest';
import { createPredictor, decodeCheckpoint, encodeCheckpoint, encodeWeights, negativeLogLikelihood, train } from '../../../worker/learning/index.ts';
import type { HeldOut, TensorData, Trained, TrainingHooks, TrainingSettings } from '../../../worker/learning/index.ts';
import { isOver, measured, nothingMeasured } from '../../../worker/learning/early-stop.ts';
import { loadTensorFlow } from '../../../worker/tensorflow/index.ts';
import { architecture, batch, settings, threads } from './setting.ts';

describe('the rule', () => {
  const rule = { everySteps: 10, patience: 2, minDelta: 0.1 };
  const weightsAt = (step: number): TensorData[] => [{ name: 'w', shape: [1], values: Float32Array.of(step) }];
  /** Measures until it is over. */
  const play = (losses: readonly number[]): { steps: number; best: number | undefined; weights: number | undefined; over: boolean } => {
    let state = nothingMeasured;
    for (const loss of losses) {
      const step = 10 * (state.curve.length + 1);
      state = measured(state, step, loss, weightsAt(step), rule);
      if (isOver(state, rule)) break;
    }
    return { steps: state.curve.length, best: state.best?.step, weights: state.best?.weights['w']?.[0], over: isOver(state, rule) };
  };

  it.each([
    // By hand, with keras.callbacks.EarlyStopping(patience=2, min_delta=0.1, restore_best_weights=True) as the rule.
    ['falls on', [1, 0.8, 0.6, 0.4], { steps: 4, best: 40, weights: 40, over: false }],
    ['rises twice', [1, 0.8, 0.9, 1, 0.1], { steps: 4, best: 20, weights: 20, over: true }],
    ['recovers in time', [1, 1.2, 0.8, 0.9, 0.85], { steps: 5, best: 30, weights: 30, over: true }],
    ['falls by less than it must', [1, 0.95, 0.91], { steps: 3, best: 10, weights: 10, over: true }],
    ['falls slowly, but far enough against the best', [1, 0.95, 0.85, 0.8], { steps: 4, best: 30, weights: 30, over: false }],
    ['is no number', [Number.NaN, 1, Number.NaN, Number.NaN], { steps: 4, best: 20, weights: 20, over: true }],
    ['never is a number', [Number.NaN, Number.NaN], { steps: 2, best: undefined, weights: undefined, over: true }],
  ])('%s', (_, losses, expected) => expect(play(losses)).toEqual(expected));
});

describe('a training with early stop', () => {
  beforeAll(() => { loadTensorFlow({ threads }); });
  const chosen = architecture('residual', { width: 4, blocks: 1, dropout: 0.1, survival: 0.9 });
  // Images held out whose classes are another rule than the one trained on: the better it learns, the worse it gets there.
  const heldOut: HeldOut = { images: batch(15).images, truth: Uint16Array.from({ length: 15 }, (_, row) => (row + 1) % 5) };
  const over: Partial<TrainingSettings> = { steps: 200, noise: { name: 'none' }, emaDecay: 0.8, earlyStop: { everySteps: 10, patience: 4, minDelta: 0 } };

  async function run(hooks: TrainingHooks = {}, changed: Partial<TrainingSettings> = over): Promise<{ trained: Trained; checkpoints: Uint8Array[]; asked: number }> {
    const checkpoints: Uint8Array[] = [];
    let asked = 0;
    const trained = await train(chosen, settings(changed), (step) => { asked += 1; return batch(12, step); }, {
      heldOut, everySteps: 7, checkpointSteps: 15, onCheckpoint: (state) => { checkpoints.push(encodeCheckpoint(chosen, settings(changed), state, 't1')); return Promise.resolve(); }, ...hooks,
    });
    return { trained, checkpoints, asked };
  }

  it('stops where the loss rises, and hands back the weights of the least', async () => {
    const { trained, asked } = await run();
    const { bestStep, stopped, curve } = trained.earlyStop!;
    expect(stopped).toBe(true);
    expect(trained.steps).toBeLessThan(200);
    expect(asked).toBe(trained.steps);
    expect(curve.map(({ step }) => step)).toEqual(Array.from({ length: trained.steps / 10 }, (_, at) => 10 * (at + 1)));
    expect(trained.steps).toBe(bestStep + 40);
    expect(curve.find(({ step }) => step === bestStep)?.loss).toBe(Math.min(...curve.map(({ loss }) => loss)));
    expect(trained.lossCurve.at(-1)?.step).toBe(trained.steps);
    const predictor = await createPredictor(chosen, trained.weights, 12);
    const loss = negativeLogLikelihood({ logProbabilities: await predictor.logProbabilities(heldOut.images, 15), truth: heldOut.truth, classes: 5 });
    predictor.dispose();
    // Predictors that keep one model have its weights as constants, which rounds otherwise.
    expect(loss).toBeCloseTo(Math.min(...curve.map((point) => point.loss)), 5);
  });

  it('takes the very steps of one without, as far as it goes', async () => {
    const plain = { ...over, schedule: { ...settings().schedule, name: 'constant' as const } };
    const { trained } = await run({}, plain);
    const { bestStep } = trained.earlyStop!;
    const { earlyStop: _, ...without } = plain;
    // A constant rate does not know how many steps there are.
    const short = await train(chosen, settings({ ...without, steps: bestStep }), (step) => batch(12, step));
    expect(encodeWeights(trained.weights)).toEqual(encodeWeights(short.weights));
  });

  it('ends as the undisturbed one to the bit, from each of its checkpoints', async () => {
    const whole = await run();
    expect(whole.checkpoints.length).toBeGreaterThan(2);
    for (const [index, bytes] of whole.checkpoints.entries()) {
      const again = await run({ resume: decodeCheckpoint(bytes, chosen, settings(over), 't1') });
      expect(encodeWeights(again.trained.weights)).toEqual(encodeWeights(whole.trained.weights));
      expect({ ...again.trained, weights: [] }).toEqual({ ...whole.trained, weights: [] });
      expect(again.checkpoints).toEqual(whole.checkpoints.slice(index + 1));
    }
    expect(() => decodeCheckpoint(whole.checkpoints[0]!, chosen, settings({ ...over, earlyStop: undefined }), 't1')).toThrow('early stop');
  });

  it('has all its steps where the loss falls on, measured at the last, too', async () => {
    const truth = Uint16Array.from({ length: 15 }, (_, row) => row % 5);
    const { trained } = await run({ heldOut: { images: batch(15).images, truth } }, { ...over, steps: 45, earlyStop: { everySteps: 20, patience: 2, minDelta: 0 } });
    expect(trained.steps).toBe(45);
    expect(trained.earlyStop).toMatchObject({ stopped: false, bestStep: 45 });
    expect(trained.earlyStop?.curve.map(({ step }) => step)).toEqual([20, 40, 45]);
  });
});
