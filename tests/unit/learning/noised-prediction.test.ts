/** The noised prediction of an ablation: noise of its own draws, statistics of the clean one; and the clean one, which has nothing to draw from. */
import { beforeAll, expect, it } from 'vitest';
import { createNoisedPredictor, createPredictor, type ImageNoise, type TensorData } from '../../../worker/learning/index.ts';
import { stepSeed } from '../../../worker/learning/draws.ts';
import { initialWeights, noisedPrediction, prediction } from '../../../worker/learning/step.ts';
import { parameterSpecs, type Architecture } from '../../../recipe/index.ts';
import { compile, interpret, loadTensorFlow } from '../../../worker/tensorflow/index.ts';
import type { TensorFlow } from '../../../worker/tensorflow/index.ts';
import { architecture, batch, threads } from './setting.ts';

let engine: TensorFlow;
beforeAll(() => { engine = loadTensorFlow({ threads }); });

const still: ImageNoise = { noise: { name: 'none' } };
const everything: ImageNoise = { noise: { name: 'randaugment', operations: 'paper14', layers: 2, magnitude: 9 }, erasing: { probability: 0.5, areaMin: 0.02, areaMax: 1 / 3, aspectMin: 0.3, mode: 'pixel' } };
const noisy = architecture('residual', { width: 4, blocks: 1, dropout: 0.5, survival: 0.5 });
const weightsOf = (of: Architecture): TensorData[] => {
  const values = initialWeights(of, 3);
  return parameterSpecs(of).map(({ name, shape }) => ({ name, shape: [...shape], values: values[name]! }));
};

it('equals the eager one to the bit, another for another seed', () => {
  // Without normalization: TensorFlow's optimizer makes one operation of a convolution and one by given statistics, which rounds otherwise, in the clean prediction too.
  const chosen = architecture('cnn', { width: 4, dense: 16, dropout: 0.5, dropout_features: 0.25 });
  const program = noisedPrediction(engine, chosen, 6, everything);
  const [compiled, eager] = [compile(engine, program), interpret(engine, program)];
  for (const executable of [compiled, eager]) executable.write(initialWeights(chosen, 3));
  const results = [0, 1, 2].map((place) => {
    const inputs = { images: batch(6).images, seed: stepSeed(5, place) };
    const result = compiled.run(inputs);
    expect(result).toEqual(eager.run(inputs));
    return result['logProbabilities']!.join();
  });
  expect(new Set(results).size).toBe(3);
  for (const executable of [compiled, eager]) executable.dispose();
});

it.each([true, false])('with normalization by given statistics equals the eager one to the sixth digit: noised %s', (isNoised) => {
  const program = isNoised ? noisedPrediction(engine, noisy, 6, everything) : prediction(engine, noisy, 6);
  const [compiled, eager] = [compile(engine, program), interpret(engine, program)];
  const { images } = batch(6);
  const [first, second] = [compiled, eager].map((executable) => {
    executable.write(initialWeights(noisy, 3));
    return executable.run(isNoised ? { images, seed: stepSeed(5, 0) } : { images })['logProbabilities']!;
  });
  first!.forEach((value, at) => expect(Math.abs(value - second![at]!)).toBeLessThan(5e-6));
  for (const executable of [compiled, eager]) executable.dispose();
});

it('without any noise equals the clean one: batch normalization goes by what was learned, not by the batch', () => {
  const quiet = architecture('residual', { width: 4, blocks: 1, dropout: 0, survival: 1 });
  const { images } = batch(6);
  const [noised, clean] = [compile(engine, noisedPrediction(engine, quiet, 6, still)), compile(engine, prediction(engine, quiet, 6))];
  for (const executable of [noised, clean]) executable.write(initialWeights(quiet, 3));
  const [first, second] = [noised.run({ images, seed: stepSeed(1, 0) }), clean.run({ images })].map(outputs => outputs['logProbabilities']!);
  // Not to the bit: the clean one folds normalization into the convolutions.
  first!.forEach((value, at) => expect(Math.abs(value - second![at]!)).toBeLessThan(5e-6));
  for (const executable of [noised, clean]) executable.dispose();
});

it.each([
  ['input noise', architecture('residual', { width: 4, blocks: 1, dropout: 0, survival: 1 }), { noise: everything.noise }],
  ['erasing', architecture('residual', { width: 4, blocks: 1, dropout: 0, survival: 1 }), { ...still, erasing: everything.erasing }],
  ['dropout', architecture('residual', { width: 4, blocks: 1, dropout: 0.5, survival: 1 }), still],
  ['stochastic depth', architecture('residual', { width: 4, blocks: 1, dropout: 0, survival: 0.5 }), still],
] as const)('%s alone makes it differ from the clean one, and from batch to batch', async (_, chosen, noise) => {
  const [noised, clean] = [await createNoisedPredictor(chosen, weightsOf(chosen), 6, noise), await createPredictor(chosen, weightsOf(chosen), 6)];
  // Twice the same six images: two batches.
  const { images } = batch(6);
  const twice = Uint8Array.from([...images, ...images]);
  const logs = await noised.logProbabilities(twice, 12, 4);
  expect(logs).not.toEqual(await clean.logProbabilities(twice, 12));
  expect(logs.slice(0, 30)).not.toEqual(logs.slice(30));
  expect(await noised.logProbabilities(twice, 12, 4)).toEqual(logs);
  expect(await noised.logProbabilities(twice, 12, 5)).not.toEqual(logs);
  noised.dispose();
  clean.dispose();
});
