/** Fine-tuning: what is frozen, what its step computes, how positions grow, and that it goes on where it was interrupted. */
import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { frozenParameters, parameterSpecs, partOf, positionGrids, resizeProblem, type Architecture } from '../../../recipe/index.ts';
import { createPredictor, decodeCheckpoint, encodeCheckpoint, encodeWeights, negativeLogLikelihood, resizedPositions, train } from '../../../worker/learning/index.ts';
import type { TensorData, Trained, TrainingHooks, TrainingSettings } from '../../../worker/learning/index.ts';
import { initialState, stepVariables, trainingStep } from '../../../worker/learning/step.ts';
import { compile, interpret, loadTensorFlow, type TensorFlow } from '../../../worker/tensorflow/index.ts';
import { architecture, batch, settings, threads } from './setting.ts';

let engine: TensorFlow;
beforeAll(() => { engine = loadTensorFlow({ threads }); });

const noised: Architecture = architecture('residual', { width: 4, blocks: 1, dropout: 0.5, survival: 0.5 });
const plain: Architecture = architecture('residual', { width: 4, blocks: 1, dropout: 0, survival: 1 });
const tuning = (over: Partial<TrainingSettings> = {}): TrainingSettings => settings({ batchLabeled: 12, batchUnlabeled: 0, noise: { name: 'none' }, labelSmoothing: 0, fineTuning: { freeze: 0.5 }, ...over });
const valuesOf = (weights: readonly TensorData[]): Map<string, Float32Array> => new Map(weights.map(({ name, values }) => [name, values]));

let trained: Trained;
beforeAll(async () => { trained = await train(noised, settings({ steps: 30 }), (step) => batch(12, step)); });

describe('a model\'s parts', () => {
  const sized = (name: string, options: Record<string, number> = {}, side = 32): Architecture => ({ model: { name, options }, input: { height: side, width: side, channels: 3 }, classes: 5 });
  const frozenParts = (of: Architecture, share: number): string[] => [...new Set([...frozenParameters(of, share)].map(partOf))];

  it('are its blocks, and what lies before and behind them; a share of them is frozen from the input on, never a classifier', () => {
    // By hand, from the models' own texts.
    expect(frozenParts(sized('cnn'), 0.5)).toEqual(['convolution_1', 'convolution_2']);
    expect(frozenParts(sized('cnn'), 1)).toEqual(['convolution_1', 'convolution_2', 'hidden']);
    expect(frozenParts(noised, 0.5)).toEqual(['stem', 'stage_1/block_1', 'stage_2/block_1']);
    expect(frozenParts(sized('resnet', { depth: 18, stem: 3 }), 0.34)).toEqual(['stem', 'stage_1/block_1', 'stage_1/block_2']);
    expect(frozenParts(sized('efficientnet-b0'), 0.1)).toEqual(['stem', 'stage_1/block_1']);
    expect(frozenParts(sized('vit-tiny', { patch: 8, depth: 2 }), 0.7)).toEqual(['patches', 'class', 'tokens', 'block_1']);
    expect(frozenParts(sized('deit-tiny', { patch: 8, depth: 2 }), 1)).toEqual(['patches', 'distillation', 'class', 'tokens', 'block_1', 'block_2', 'final']);
    expect(frozenParameters(noised, 0).size).toBe(0);
  });

  it('are frozen whole, running statistics among them', () => {
    const frozen = frozenParameters(noised, 0.5);
    expect(parameterSpecs(noised).filter(({ name }) => frozen.has(name)).map(({ name }) => name).filter((name) => name.startsWith('stage_1/block_1/normalization_1'))).toEqual(['scale', 'offset', 'mean', 'variance'].map((part) => `stage_1/block_1/normalization_1/${part}`));
  });

  it('can take larger images where nothing but positions counts places', () => {
    const larger = { height: 48, width: 48, channels: 3 };
    expect(['residual', 'resnet', 'wide-resnet', 'efficientnet-b0'].map((name) => resizeProblem(sized(name), larger))).toEqual([undefined, undefined, undefined, undefined]);
    expect(resizeProblem(sized('vit-tiny', { patch: 8 }), larger)).toBeUndefined();
    expect(resizeProblem(sized('vit-tiny', { patch: 8 }), { ...larger, height: 44 })).toContain('patches of 8 do not divide images of 44x48');
    expect(resizeProblem(sized('cnn'), larger)).toContain('hidden/kernel has a weight for each place');
    expect(resizeProblem(sized('residual'), { ...larger, width: 31 })).toContain('smaller than the data\'s 32x32');
  });
});

describe('positions of larger images', () => {
  it('are what the published code interpolates them to', () => {
    // positions-expected.py: torch.nn.functional.interpolate, as DeiT's main.py calls it.
    const cases = JSON.parse(readFileSync(new URL('./positions-expected.json', import.meta.url), 'utf8')) as { prefix: number; from: [number, number]; to: [number, number]; features: number; before: number[]; after: number[] }[];
    expect(cases).toHaveLength(4);
    for (const { before, after, features, ...grids } of cases) {
      const resized = resizedPositions(Float32Array.from(before), features, grids);
      expect(resized).toHaveLength(after.length);
      resized.forEach((value, at) => expect(value).toBeCloseTo(after[at]!, 6));
    }
  });

  it('lie on a grid with the proportions of the image, behind the tokens', () => {
    const vit = (name: string, height: number, width: number): Architecture => ({ model: { name, options: { patch: 4, depth: 1 } }, input: { height, width, channels: 1 }, classes: 3 });
    expect(positionGrids(vit('vit-tiny', 8, 12), { height: 16, width: 24, channels: 1 }, 'tokens/positions')).toEqual({ prefix: 1, from: [2, 3], to: [4, 6] });
    expect(positionGrids(vit('deit-tiny', 12, 12), { height: 12, width: 20, channels: 1 }, 'tokens/positions')).toEqual({ prefix: 2, from: [3, 3], to: [3, 5] });
  });
});

describe('a step of fine-tuning', () => {
  /** The first step's loss, as `train` reports it. */
  const firstLoss = async (of: Architecture, over: Partial<TrainingSettings>): Promise<number> =>
    (await train(of, tuning({ steps: 1, ...over }), () => batch(12), { begin: trained.weights })).finalLoss;

  it('with all but the classifier frozen has the loss of the clean prediction, though the model has dropout and stochastic depth', async () => {
    const predictor = await createPredictor(noised, trained.weights, 12);
    const { images, targets } = batch(12);
    const truth = Uint16Array.from({ length: 12 }, (_, row) => targets.subarray(row * 5, row * 5 + 5).indexOf(1));
    const clean = negativeLogLikelihood({ logProbabilities: await predictor.logProbabilities(images, 12), truth, classes: 5 });
    predictor.dispose();
    expect(await firstLoss(noised, { fineTuning: { freeze: 1 } })).toBeCloseTo(clean, 5);
    // Not so where normalization is by the batch.
    expect(Math.abs(await firstLoss(noised, { fineTuning: { freeze: 0 } }) - clean)).toBeGreaterThan(1e-3);
  });

  it('with nothing frozen is one of training without noise, to the bit', async () => {
    const over = tuning({ steps: 6, fineTuning: { freeze: 0 } });
    const tuned = await train(noised, over, (step) => batch(12, step), { begin: trained.weights });
    // A model that never had noise of its own, trained by the step of training from the same weights.
    const { fineTuning: _, ...scratch } = over;
    const variables = stepVariables(plain, scratch);
    const given = valuesOf(trained.weights);
    const zeros = Object.fromEntries(Object.entries(variables).map(([name, { shape }]) => [name, new Float32Array(shape.reduce((a, b) => a * b, 1))]));
    const averages = Object.fromEntries([...given].filter(([name]) => `ema/${name}` in variables).map(([name, values]) => [`ema/${name}`, values]));
    const same = await train(plain, scratch, (step) => batch(12, step), { resume: { step: 0, variables: { ...zeros, ...Object.fromEntries(given), ...averages }, lossCurve: [], lossSum: 0, lossCount: 0 } });
    expect(encodeWeights(tuned.weights)).toEqual(encodeWeights(same.weights));
    expect(tuned.lossCurve).toEqual(same.lossCurve);
  });

  it.each([['adamw', 0.5], ['sgd', 0.5], ['rmsprop', 0.85], ['adamw', 1]] as const)('leaves what is frozen as it was to the bit, and moves everything else: %s, %s', async (name, freeze) => {
    const over = tuning({ steps: 8, fineTuning: { freeze }, optimizer: { ...settings().optimizer, name, weightDecay: 0.1 } });
    const { weights } = await train(noised, over, (step) => batch(12, step), { begin: trained.weights });
    const [before, frozen] = [valuesOf(trained.weights), frozenParameters(noised, freeze)];
    expect(frozen.size).toBeGreaterThan(0);
    for (const tensor of weights) expect([tensor.name, Buffer.compare(Buffer.from(tensor.values.buffer), Buffer.from(before.get(tensor.name)!.buffer)) === 0]).toEqual([tensor.name, frozen.has(tensor.name)]);
    // Nothing of the optimizer is held for them.
    expect(Object.keys(stepVariables(noised, over)).filter((variable) => frozen.has(variable.replace(/^ema\/|^optimizer\/[a-z_]+\//, '')) && variable.includes('optimizer'))).toEqual([]);
  });

  it.each([['residual', noised.model.options], ['deit-tiny', { patch: 4, width: 12, depth: 2, dropout: 0.1 }]] as const)('compiled gives what it gives eagerly: %s', (name, options) => {
    // Not to the bit: frozen normalization and its rectifier are one operation in a graph, as in prediction. The bounds are those of models.test.ts.
    const chosen: Architecture = { ...noised, model: { name, options } };
    const over = tuning({ optimizer: { ...settings().optimizer, name: 'sgd' } });
    const program = trainingStep(engine, chosen, over);
    const start = initialState(chosen, over);
    const executables = [interpret(engine, program), compile(engine, program)];
    const [eager, compiled] = executables.map((executable) => {
      executable.write(start);
      const losses = [0, 1].map((step) => executable.run({ ...batch(12, step), rate: Float32Array.of(0.01), seed: Int32Array.of(1, step) })['loss']![0]!);
      const state = executable.read();
      executable.dispose();
      return { losses, state };
    });
    const moved = (a: Readonly<Record<string, Float32Array>>, b: Readonly<Record<string, Float32Array>>): number =>
      Math.hypot(...parameterSpecs(chosen).map((spec) => Math.hypot(...a[spec.name]!.map((value, at) => value - b[spec.name]![at]!))));
    compiled!.losses.forEach((loss, step) => expect(Math.abs(loss / eager!.losses[step]! - 1)).toBeLessThan(1e-4));
    expect(moved(eager!.state, start)).toBeGreaterThan(0);
    expect(moved(compiled!.state, eager!.state) / moved(eager!.state, start)).toBeLessThan(1e-5);
  });
});

it('fine-tuning that is interrupted ends as the undisturbed one to the bit, from each of its checkpoints', async () => {
  const over = tuning({ steps: 30 });
  const run = async (hooks: TrainingHooks = {}): Promise<{ bytes: Uint8Array; checkpoints: Uint8Array[] }> => {
    const checkpoints: Uint8Array[] = [];
    const { weights } = await train(noised, over, (step) => batch(12, step), {
      begin: trained.weights, checkpointSteps: 10, onCheckpoint: (state) => { checkpoints.push(encodeCheckpoint(noised, over, state, 't1')); return Promise.resolve(); }, ...hooks,
    });
    return { bytes: encodeWeights(weights), checkpoints };
  };
  const whole = await run();
  expect(whole.checkpoints).toHaveLength(2);
  for (const [index, bytes] of whole.checkpoints.entries()) {
    const again = await run({ resume: decodeCheckpoint(bytes, noised, over, 't1') });
    expect(again.bytes).toEqual(whole.bytes);
    expect(again.checkpoints).toEqual(whole.checkpoints.slice(index + 1));
  }
});
