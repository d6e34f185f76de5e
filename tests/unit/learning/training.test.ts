/** Training and prediction as others call them, weights as bytes, models by name. */
import { beforeAll, describe, expect, it } from 'vitest';
import { AlumnusError } from '../../../proto/errors.ts';
import { modelNames, parameterCount, parameterSpecs, validateModelOptions } from '../../../recipe/index.ts';
import { createPredictor, decodeWeights, encodeWeights, train } from '../../../worker/learning/index.ts';
import type { TrainingProgress } from '../../../worker/learning/index.ts';
import { maskedStepsMax } from '../../../worker/learning/train.ts';
import { loadTensorFlow } from '../../../worker/tensorflow/index.ts';
import type { TensorFlow } from '../../../worker/tensorflow/index.ts';
import { architecture, batch, settings, threads } from './setting.ts';

let engine: TensorFlow;
beforeAll(() => { engine = loadTensorFlow({ threads }); });

const code = async (work: Promise<unknown>): Promise<string> => work.then(() => 'no error', (error: unknown) => error instanceof AlumnusError ? error.code : String(error));
const open = (): number[] => [engine.tf.memory().numTensors, engine.binding.getNumOfTensors(), engine.binding.getNumOfSavedModels()];

describe('train', () => {
  it.each(['cnn', 'residual'] as const)('learns a simple pattern, which its predictor then knows: %s', async model => {
    const before = open();
    const progress: TrainingProgress[] = [];
    const mild = settings({ steps: 150, noise: { name: 'none' }, emaDecay: 0.95 });
    const options = model === 'cnn' ? { width: 4, dense: 16, dropout: 0.1, dropout_features: 0.1 } : { width: 4, blocks: 1, dropout: 0, survival: 0.9 };
    const chosen = architecture(model, options);
    const trained = await train(chosen, mild, step => batch(12, step), { onProgress: report => progress.push(report), everySteps: 50 });
    expect(trained.steps).toBe(150);
    expect(trained.lossCurve.map(point => point.step)).toEqual([50, 100, 150]);
    expect(trained.lossCurve[0]!.loss).toBeGreaterThan(trained.finalLoss);
    expect(progress.map(report => report.loss)).toEqual(trained.lossCurve.map(point => point.loss));
    expect(progress.every(report => report.imagesPerSecond > 0 && report.steps === 150)).toBe(true);
    expect(trained.weights.map(tensor => tensor.name)).toEqual(parameterSpecs(chosen).map(spec => spec.name));

    const predictor = await createPredictor(chosen, trained.weights, 4);
    const { images, targets } = batch(10);
    const logs = await predictor.logProbabilities(images, 10);
    expect(logs.length).toBe(50);
    let right = 0;
    for (let row = 0; row < 10; row++) {
      const probabilities = [...logs.subarray(row * 5, row * 5 + 5)].map(Math.exp);
      expect(probabilities.reduce((sum, p) => sum + p, 0)).toBeCloseTo(1, 5);
      right += targets[row * 5 + probabilities.indexOf(Math.max(...probabilities))] === 1 ? 1 : 0;
    }
    expect(right).toBe(10);
    predictor.dispose();
    expect(open()).toEqual(before);
  });

  it('gives the same weights for the same seed, and others for another', async () => {
    const run = async (seed: number): Promise<Uint8Array> => encodeWeights((await train(architecture('residual'), settings({ steps: 5, seed }), step => batch(12, step))).weights);
    const first = await run(7);
    expect(await run(7)).toEqual(first);
    expect(await run(8)).not.toEqual(first);
  });

  it('asks for its batches in order, and waits for them', async () => {
    const asked: number[] = [];
    await train(architecture('cnn'), settings({ steps: 4 }), async step => {
      await new Promise(resolve => setTimeout(resolve, 1));
      asked.push(step);
      return batch(12, step);
    });
    expect(asked).toEqual([0, 1, 2, 3]);
  });

  it('leaves the event loop a turn in every step', async () => {
    let turns = 0, done = false;
    const tick = (): void => { turns++; if (!done) setImmediate(tick); };
    setImmediate(tick);
    await train(architecture('cnn'), settings({ steps: 20 }), step => batch(12, step));
    done = true;
    expect(turns).toBeGreaterThanOrEqual(20);
  });

  it('stops when it is cancelled, and frees what it held', async () => {
    const before = open();
    const controller = new AbortController();
    const asked: number[] = [];
    const work = train(architecture('cnn'), settings({ steps: 1000 }), step => {
      asked.push(step);
      if (step === 3) controller.abort();
      return batch(12, step);
    }, { signal: controller.signal });
    expect(await code(work)).toBe('CANCELLED');
    expect(asked).toEqual([0, 1, 2, 3]);
    expect(open()).toEqual(before);
  });

  it('skips bad batches, and gives up after many in a row', async () => {
    const bad = { images: batch(12).images, targets: new Float32Array(60).fill(Number.NaN) };
    const some = await train(architecture('cnn'), settings({ steps: maskedStepsMax + 10 }), step => step % maskedStepsMax === 0 ? batch(12, step) : bad);
    expect(Number.isFinite(some.finalLoss)).toBe(true);
    const asked: number[] = [];
    expect(await code(train(architecture('cnn'), settings({ steps: 100 }), step => { asked.push(step); return step < 2 ? batch(12, step) : bad; }))).toBe('TRAINING_DIVERGED');
    expect(asked.length).toBe(2 + maskedStepsMax);
  });

  it('refuses settings without sense', async () => {
    expect(await code(train(architecture('cnn'), settings({ steps: 0 }), () => batch(12)))).toBe('RECIPE_INVALID');
    expect(await code(train({ ...architecture('cnn'), model: { name: 'cnn', options: { width: 0 } } }, settings(), () => batch(12)))).toBe('RECIPE_INVALID');
  });
});

describe('a predictor', () => {
  it('is clean: the same again, whatever the batch size', async () => {
    const chosen = architecture('residual', { width: 4, blocks: 1, dropout: 0.5, survival: 0.5 });
    const { weights } = await train(chosen, settings({ steps: 3 }), step => batch(12, step));
    const { images } = batch(9);
    const [four, nine] = [await createPredictor(chosen, weights, 4), await createPredictor(chosen, weights, 9)];
    const first = await four.logProbabilities(images, 9);
    expect(await four.logProbabilities(images, 9)).toEqual(first);
    const other = await nine.logProbabilities(images, 9);
    first.forEach((value, index) => expect(other[index]).toBeCloseTo(value, 5));
    expect(new Set(first).size).toBeGreaterThan(9);
    four.dispose();
    nine.dispose();
  });

  it('refuses weights of another model', async () => {
    const weights = parameterSpecs(architecture('cnn')).map(({ name, shape }) => ({ name, shape: [...shape], values: new Float32Array(shape.reduce((a, b) => a * b, 1)) }));
    expect(await code(createPredictor(architecture('cnn', { width: 5, dense: 16 }), weights, 2))).toBe('DIGEST_MISMATCH');
    expect(await code(createPredictor(architecture('cnn'), weights.slice(1), 2))).toBe('DIGEST_MISMATCH');
  });
});

describe('weights as bytes', () => {
  const weights = [{ name: 'b', shape: [2, 2], values: Float32Array.of(1, -0, Number.MIN_VALUE, 3e38) }, { name: 'a/long name', shape: [], values: Float32Array.of(0.1) }];

  it('come back as they were, sorted by name', () => {
    expect(decodeWeights(encodeWeights(weights))).toEqual([weights[1], weights[0]]);
  });

  it('come back from a Buffer, which shares its memory with others', () => {
    expect(decodeWeights(Buffer.from(encodeWeights(weights)))).toEqual([weights[1], weights[0]]);
  });

  it('do not depend on the order of the tensors', () => {
    expect(encodeWeights([weights[1]!, weights[0]!])).toEqual(encodeWeights(weights));
  });

  it('are what safetensors writes', () => {
    // python: safetensors.numpy.save({"x": np.array([1.0, 2.0], np.float32)}).hex(), safetensors 0.8.0
    const hex = '38000000000000007b2278223a7b226474797065223a22463332222c227368617065223a5b325d2c22646174615f6f666673657473223a5b302c385d7d7d20200000803f00000040';
    expect(Buffer.from(encodeWeights([{ name: 'x', shape: [2], values: Float32Array.of(1, 2) }])).toString('hex')).toBe(hex);
  });

  it('are refused when damaged', () => {
    const bytes = encodeWeights(weights);
    const damaged = [bytes.subarray(0, 4), bytes.subarray(0, bytes.length - 1), Uint8Array.from([...bytes, 0]), bytes.map((byte, index) => index === 8 ? 0x20 : byte), bytes.map((byte, index) => index === 6 ? 1 : byte)];
    for (const one of damaged) expect(() => decodeWeights(one)).toThrow(AlumnusError);
  });
});

describe('models', () => {
  it('are known by name', () => {
    const sizes = (family: string, names: string): string[] => names.split(' ').map(size => `${family}-${size}`);
    expect(modelNames).toEqual(['cnn', 'residual', 'resnet', 'wide-resnet', ...sizes('efficientnet', 'b0 b1 b2 b3 b4 b5 b6 b7 l2'), ...sizes('vit', 'tiny small base'), ...sizes('deit', 'tiny small base')]);
  });

  it.each([
    // 28x28x1, 10 classes, width 16, dense 128: 9*16+16 + 9*16*32+32 + 7*7*32*128+128 + 128*10+10
    ['cnn' as const, { width: 16, dense: 128 }, 160 + 4640 + 200832 + 1290],
    // width 8, one block a stage. Convolutions: stem 72; 576+576; 1152+128+2304; 4608+512+9216. Norms (2 a channel):
    // blocks (8+8)+(8+16)+(16+32) = 88, final 32. Logits 32*10+10.
    ['residual' as const, { width: 8, blocks: 1 }, 72 + 1152 + 3584 + 14336 + 2 * (88 + 32) + 330],
  ])('count their parameters: %s', (name, options, count) => {
    expect(parameterCount({ model: { name, options }, input: { height: 28, width: 28, channels: 1 }, classes: 10 })).toBe(count);
  });

  it('refuse images that are too small for them', () => {
    const small = (side: number): (() => number) => () => parameterCount({ ...architecture('cnn'), input: { height: side, width: side, channels: 1 } });
    expect(small(3)).toThrow(AlumnusError);
    expect(small(4)()).toBeGreaterThan(0);
  });

  it('say what is wrong with a choice', () => {
    expect(validateModelOptions({ name: 'cnn', options: { width: 16 } })).toEqual([]);
    expect(validateModelOptions({ name: 'transformer', options: {} })[0]).toContain('cnn, residual');
    expect(validateModelOptions({ name: 'cnn', options: { depth: 3, width: 1.5, dropout: 1 } })).toHaveLength(3);
    expect(validateModelOptions({ name: 'cnn', options: { width: Number.NaN } })).toHaveLength(1);
    expect(validateModelOptions({ name: 'cnn', options: { constructor: 1 } })).toHaveLength(1);
  });
});
