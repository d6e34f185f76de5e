/** One training step: the graph against the eager step, its randomness, its mask. */
import { existsSync, readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { beforeAll, describe, expect, it } from 'vitest';
import { stepSeed } from '../../../worker/learning/draws.ts';
import type { InputNoise, TrainingSettings } from '../../../worker/learning/index.ts';
import { initialState, prediction, trainingStep } from '../../../worker/learning/step.ts';
import { compile, interpret, loadTensorFlow } from '../../../worker/tensorflow/index.ts';
import type { Executable, Program, TensorFlow } from '../../../worker/tensorflow/index.ts';
import { architecture, batch, settings, threads } from './setting.ts';

let engine: TensorFlow;
beforeAll(() => { engine = loadTensorFlow({ threads }); });

const feed = (step: number, over: { images?: Uint8Array; targets?: Float32Array; rate?: number; seed?: number } = {}): Parameters<Executable['run']>[0] =>
  ({ ...batch(12, step), ...over, rate: Float32Array.of(over.rate ?? 0.003), seed: stepSeed(over.seed ?? 1, step) });

/** Runs `body` and expects it to leave no tensor and no session behind. */
function withoutLeak<T>(body: () => T): T {
  const count = (): number[] => [engine.tf.memory().numTensors, engine.binding.getNumOfTensors(), engine.binding.getNumOfSavedModels()];
  const before = count();
  const result = body();
  expect(count()).toEqual(before);
  return result;
}

const cases: [string, 'cnn' | 'residual', Partial<TrainingSettings>][] = [];
for (const model of ['cnn', 'residual'] as const) {
  const noises: InputNoise[] = [{ name: 'none' }, { name: 'affine', degrees: 10, translatePixels: 2, scale: 0.1, flip: false }, { name: 'affine', degrees: 10, translatePixels: 2, scale: 0.1, flip: true }, { name: 'randaugment', operations: 'paper14', layers: 2, magnitude: 9 }, { name: 'randaugment', operations: 'tf16', layers: 2, magnitude: 9 }];
  for (const noise of noises) cases.push([`${model}, ${noise.name}${noise.name === 'randaugment' ? ` ${noise.operations}` : ''}`, model, { noise }]);
  cases.push([`${model}, all noise at once`, model, { noise: { name: 'randaugment', operations: 'paper14', layers: 2, magnitude: 9 }, erasing: { probability: 0.5, areaMin: 0.02, areaMax: 1 / 3, aspectMin: 0.3, mode: 'pixel' }, mixing: { mixupAlpha: 0.8, cutmixAlpha: 1, probability: 0.9, switchProbability: 0.5 } }]);
  cases.push([`${model}, const erasing and mixup`, model, { erasing: { probability: 0.5, areaMin: 0.02, areaMax: 1 / 3, aspectMin: 0.3, mode: 'const' }, mixing: { mixupAlpha: 0.2, cutmixAlpha: 0, probability: 1, switchProbability: 0.5 } }]);
  cases.push([`${model}, CutMix`, model, { mixing: { mixupAlpha: 0, cutmixAlpha: 1, probability: 1, switchProbability: 0.5 } }]);
  cases.push([`${model}, sgd`, model, { optimizer: { name: 'sgd', learningRate: 0.1, weightDecay: 1e-4, momentum: 0.9, decay: 0, epsilon: 0 } }]);
  cases.push([`${model}, rmsprop, clipped`, model, { optimizer: { name: 'rmsprop', learningRate: 0.01, weightDecay: 1e-4, momentum: 0.9, decay: 0.9, epsilon: 0.001 }, clipNorm: 0.5 }]);
}

describe('the compiled step', () => {
  it.each(cases)('equals the eager one to the bit after 20 steps: %s', (_, model, over) => {
    withoutLeak(() => {
      const program = trainingStep(engine, architecture(model), settings(over));
      const start = initialState(architecture(model), settings(over));
      const [compiled, eager] = [compile(engine, program), interpret(engine, program)];
      for (const executable of [compiled, eager]) executable.write(start);
      for (let step = 0; step < 20; step++) expect(compiled.run(feed(step))).toEqual(eager.run(feed(step)));
      const [state, reference] = [compiled.read(), eager.read()];
      expect(Object.keys(state).sort()).toEqual(Object.keys(program.variables).sort());
      for (const [name, values] of Object.entries(reference)) expect(state[name], name).toEqual(values);
      // What was learned is not where it began.
      const kernel = Object.keys(start).find(name => name.endsWith('/kernel'))!;
      expect(state[kernel]).not.toEqual(start[kernel]);
      for (const executable of [compiled, eager]) executable.dispose();
    });
  });

  it('keeps what it was fed apart from JavaScript\'s memory', () => {
    const executable = compile(engine, {
      name: 'hold', variables: { held: { shape: [4], dataType: 'float32' } }, inputs: { x: { shape: [2, 2], dataType: 'float32' } },
      run: ({ held }, { x }) => ({ outputs: { before: held! }, updates: { held: engine.tf.reshape(x!, [4]) } }),
    });
    const written = Float32Array.of(1, 2, 3, 4), fed = Float32Array.of(5, 6, 7, 8);
    executable.write({ held: written });
    written.fill(0);
    expect([...executable.run({ x: fed })['before']!]).toEqual([1, 2, 3, 4]);
    fed.fill(0);
    expect([...executable.read()['held']!]).toEqual([5, 6, 7, 8]);
    executable.dispose();
  });

  it('leaves no folder behind', () => {
    const folders = (): string[] => readdirSync(tmpdir()).filter(name => name.startsWith('alumnus-graph-') && existsSync(`${tmpdir()}/${name}`));
    const before = folders();
    const executable = compile(engine, prediction(engine, architecture('cnn'), 2));
    expect(folders().filter(name => !before.includes(name))).toEqual([]);
    executable.dispose();
  });

  it('refuses what would be frozen into it', () => {
    const frozen = (body: () => ReturnType<TensorFlow['tf']['tensor']>): Program =>
      ({ name: 'frozen', variables: {}, inputs: { x: { shape: [2], dataType: 'float32' } }, run: () => ({ outputs: { y: body() }, updates: {} }) });
    const { tf } = engine;
    expect(() => compile(engine, frozen(() => tf.randomUniform([2])))).toThrow('draws from operations.randomUniform only');
    expect(() => compile(engine, frozen(() => tf.tensor1d(tf.add(tf.tensor1d([1, 2]), 1).dataSync() as Float32Array)))).toThrow('never reads a tensor back');
    const outside = tf.tensor1d([1, 2]).add(1);
    expect(() => compile(engine, frozen(() => tf.neg(outside)))).toThrow('made outside the program');
    outside.dispose();
  });
});

describe('noise within the step', () => {
  /** Loss with rate 0, so that only the draws change it. */
  const loss = (executable: Executable, step: number, seed: number): number => executable.run({ ...feed(0, { rate: 0 }), seed: stepSeed(seed, step) })['loss']![0]!;

  it.each([
    ['dropout', 'cnn', {}],
    ['stochastic depth', 'residual', { dropout: 0, survival: 0.5 }],
  ] as const)('%s differs from step to step and repeats by seed', (_, model, options) => {
    const chosen = architecture(model, { width: 4, ...options });
    const still = settings({ noise: { name: 'none' } });
    const program = trainingStep(engine, chosen, still);
    const executable = compile(engine, program);
    executable.write(initialState(chosen, still));
    const losses = [0, 1, 2].map(step => loss(executable, step, 1));
    expect(new Set(losses).size).toBe(3);
    expect([0, 1, 2].map(step => loss(executable, step, 1))).toEqual(losses);
    expect(loss(executable, 0, 2)).not.toBe(losses[0]);
    executable.dispose();
  });

  it('is gone where every chance is zero', () => {
    const chosen = architecture('cnn', { width: 4, dropout: 0, dropout_features: 0 });
    const still = settings({ noise: { name: 'none' } });
    const program = trainingStep(engine, chosen, still);
    const executable = compile(engine, program);
    executable.write(initialState(chosen, still));
    expect(loss(executable, 0, 1)).toBe(loss(executable, 5, 9));
    executable.dispose();
  });

  it('zeroes the share of elements that dropout names, and keeps the mean', async () => {
    const { noisedLayers } = await import('../../../worker/learning/layers.ts');
    const { seededDraws } = await import('../../../worker/learning/draws.ts');
    const values = engine.tf.tidy(() => noisedLayers(engine, {}, seededDraws(engine, engine.tf.tensor1d([1, 2], 'int32'))).layers.dropout(engine.tf.ones([100, 100]), 'x', 0.25).dataSync());
    const zeros = values.filter(value => value === 0).length;
    // 10,000 draws at 0.25: 4 standard deviations are 173.
    expect(Math.abs(zeros - 2500)).toBeLessThan(173);
    expect(new Set(values)).toEqual(new Set([0, Math.fround(1 / 0.75)]));
  });

  it('lets a sample\'s whole branch survive or not, divided by its chance', async () => {
    const { noisedLayers } = await import('../../../worker/learning/layers.ts');
    const { seededDraws } = await import('../../../worker/learning/draws.ts');
    const rows = engine.tf.tidy(() => {
      const { layers } = noisedLayers(engine, {}, seededDraws(engine, engine.tf.tensor1d([1, 2], 'int32')));
      return engine.tf.reshape(layers.residual(engine.tf.zeros([2000, 2, 2, 3]), engine.tf.ones([2000, 2, 2, 3]), 'x', 0.8), [2000, 12]).arraySync() as number[][];
    });
    const survivors = rows.filter(row => row[0] !== 0);
    expect(rows.every(row => new Set(row).size === 1)).toBe(true);
    expect(new Set(survivors.map(row => row[0]))).toEqual(new Set([1.25]));
    // 2,000 draws at 0.8: 4 standard deviations are 72.
    expect(Math.abs(survivors.length - 1600)).toBeLessThan(72);
  });
});

describe('a step that is not finite', () => {
  it.each(['compiled', 'eager'] as const)('changes nothing and says so, and the next one goes on: %s', kind => {
    const program = trainingStep(engine, architecture('residual'), settings());
    const executable = (kind === 'compiled' ? compile : interpret)(engine, program);
    executable.write(initialState(architecture('residual'), settings()));
    expect(executable.run(feed(0))['finite']![0]).toBe(1);
    const before = executable.read();
    expect(executable.run(feed(1, { targets: new Float32Array(60).fill(Number.NaN) }))['finite']![0]).toBe(0);
    expect(executable.read()).toEqual(before);
    const { loss, finite } = executable.run(feed(2));
    expect(finite![0]).toBe(1);
    expect(Number.isFinite(loss![0])).toBe(true);
    expect(executable.read()).not.toEqual(before);
    executable.dispose();
  });

  it('is seen where the loss is finite but a gradient is not', () => {
    // Hidden values of 2e-38 times weights of 3e38 give logits of 96 and -96; the gradient toward the hidden layer is
    // a sum of several 3e38.
    const chosen = architecture('cnn', { width: 4, dense: 16, dropout: 0, dropout_features: 0 });
    const still = settings({ noise: { name: 'none' }, labelSmoothing: 0 });
    const program = trainingStep(engine, chosen, still);
    const start = initialState(chosen, still);
    const executable = compile(engine, program);
    start['hidden/kernel']!.fill(0);
    start['hidden/bias']!.fill(2e-38);
    start['logits/kernel']!.forEach((_, index, kernel) => { kernel[index] = index % 5 === 0 ? 3e38 : -3e38; });
    executable.write(start);
    const { loss, finite } = executable.run(feed(0));
    expect([Number.isFinite(loss![0]), finite![0]]).toEqual([true, 0]);
    executable.dispose();
  });

  it('is seen where every gradient is finite but their norm, which they are clipped by, is not', () => {
    // As above with weights of 1e25: gradients toward the hidden layer of some 1e25, whose squares exceed 3.4e38.
    const chosen = architecture('cnn', { width: 4, dense: 16, dropout: 0, dropout_features: 0 });
    const finiteWith = (clipNorm: number): number => {
      const still = settings({ noise: { name: 'none' }, labelSmoothing: 0, clipNorm });
      const program = trainingStep(engine, chosen, still);
      const start = initialState(chosen, still);
      const executable = compile(engine, program);
      start['hidden/kernel']!.fill(0);
      start['hidden/bias']!.fill(2e-38);
      start['logits/kernel']!.forEach((_, index, kernel) => { kernel[index] = index % 5 === 0 ? 1e25 : -1e25; });
      executable.write(start);
      const { finite } = executable.run(feed(0));
      executable.dispose();
      return finite![0]!;
    };
    expect([finiteWith(0), finiteWith(1)]).toEqual([1, 0]);
  });
});
