/** Training and prediction as others call them, weights as bytes, models by name. */
import { beforeAll, describe, expect, it } from 'vitest';
import { AlumnusError } from '../../../proto/errors.ts';
import { modelNames, parameterCount, parameterSpecs, validateModelOptions } from '../../../recipe/index.ts';
import { createPredictor, decodeCheckpoint, decodeWeights, encodeCheckpoint, encodeWeights, train } from '../../../worker/learning/index.ts';
import type { Batch, TensorData, Trained, TrainingHooks, TrainingProgress, TrainingSettings, TrainingState } from '../../../worker/learning/index.ts';
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
    // It goes back to its start once, and asks for the same batches again.
    const once = Array.from({ length: 2 + maskedStepsMax }, (_, step) => step);
    expect(asked).toEqual([...once, ...once]);
  });

  it('refuses settings without sense', async () => {
    expect(await code(train(architecture('cnn'), settings({ steps: 0 }), () => batch(12)))).toBe('RECIPE_INVALID');
    expect(await code(train({ ...architecture('cnn'), model: { name: 'cnn', options: { width: 0 } } }, settings(), () => batch(12)))).toBe('RECIPE_INVALID');
  });
});

describe('a training that is interrupted', () => {
  const long = { steps: 60, optimizer: { name: 'rmsprop', learningRate: 0.002, weightDecay: 0.01, momentum: 0.9, decay: 0.9, epsilon: 0.001 } } satisfies Partial<TrainingSettings>;
  const bytesOf = ({ weights }: { weights: TensorData[] }): Uint8Array => encodeWeights(weights);

  /** Trains, with each checkpoint as bytes. */
  async function run(over: Partial<TrainingSettings>, nextBatch: (step: number) => Batch = step => batch(12, step), hooks: TrainingHooks = {}): Promise<{ trained: Trained; checkpoints: Uint8Array[]; asked: number[] }> {
    const checkpoints: Uint8Array[] = [], asked: number[] = [];
    const chosen = architecture('residual', { width: 4, blocks: 1, dropout: 0.1, survival: 0.9 });
    const trained = await train(chosen, settings(over), step => { asked.push(step); return nextBatch(step); }, {
      everySteps: 7, checkpointSteps: 20, onCheckpoint: state => { checkpoints.push(encodeCheckpoint(chosen, settings(over), state, 't1')); return Promise.resolve(); }, ...hooks,
    });
    return { trained, checkpoints, asked };
  }
  const read = (bytes: Uint8Array, over: Partial<TrainingSettings> = long, task = 't1'): TrainingState =>
    decodeCheckpoint(bytes, architecture('residual', { width: 4, blocks: 1, dropout: 0.1, survival: 0.9 }), settings(over), task);

  it.each([['rmsprop', long], ['adamw', { ...long, optimizer: settings().optimizer }], ['sgd', { ...long, optimizer: { ...long.optimizer, name: 'sgd' as const } }]])('ends as the undisturbed one to the bit, from each of its checkpoints: %s', async (_, over) => {
    const whole = await run(over);
    const without = await run(over, undefined, { checkpointSteps: 0 });
    expect(without.checkpoints).toEqual([]);
    expect(bytesOf(without.trained)).toEqual(bytesOf(whole.trained));
    // The last step's result follows at once: no checkpoint of it is needed.
    expect(whole.checkpoints.map(bytes => read(bytes, over).step)).toEqual([20, 40]);
    for (const [index, bytes] of whole.checkpoints.entries()) {
      const state = read(bytes, over);
      const { trained, checkpoints, asked } = await run(over, undefined, { resume: state });
      expect(asked).toEqual(Array.from({ length: 60 - state.step }, (_, at) => state.step + at));
      expect(bytesOf(trained)).toEqual(bytesOf(whole.trained));
      expect([trained.lossCurve, trained.finalLoss]).toEqual([whole.trained.lossCurve, whole.trained.finalLoss]);
      // Two attempts write the same checkpoint: it lies in the store once.
      expect(checkpoints).toEqual(whole.checkpoints.slice(index + 1));
    }
  });

  it('goes back to its last checkpoint once where it diverges, and ends the same whoever resumes it when', async () => {
    // Bad as long as the learning rate was not lowered, which the batches cannot see: the second time they are asked for.
    const bad = { images: batch(12).images, targets: new Float32Array(60).fill(Number.NaN) };
    const diverging = (): ((step: number) => Batch) => {
      const asked = new Map<number, number>();
      return step => {
        asked.set(step, (asked.get(step) ?? 0) + 1);
        return step >= 45 && step < 55 && asked.get(step) === 1 ? bad : batch(12, step);
      };
    };
    const back: [number, number][] = [];
    const whole = await run(long, diverging(), { onWentBack: (from, to) => back.push([from, to]) });
    expect(back).toEqual([[45 + maskedStepsMax - 1, 40]]);
    expect(whole.trained.wentBackTo).toBe(40);
    expect(whole.asked).toEqual([...Array.from({ length: 55 }, (_, step) => step), ...Array.from({ length: 20 }, (_, at) => 40 + at)].slice(0, whole.asked.length));
    expect(whole.trained.steps).toBe(60);
    // The rate was half of what it would have been.
    expect(bytesOf(whole.trained)).not.toEqual(bytesOf((await run(long)).trained));
    const halved = await run(long, undefined, { resume: { ...read(whole.checkpoints[1]!), wentBackTo: 40 } });
    expect(bytesOf(halved.trained)).toEqual(bytesOf(whole.trained));
    const again = await run(long, diverging(), { resume: read(whole.checkpoints[0]!) });
    expect(bytesOf(again.trained)).toEqual(bytesOf(whole.trained));
  });

  it('tells in its later checkpoints that it went back, and does not go back again', async () => {
    const bad = { images: batch(12).images, targets: new Float32Array(60).fill(Number.NaN) };
    let first = true;
    const nextBatch = (step: number): Batch => {
      if (step === 12 && first) return bad;
      if (step >= 12 && step < 22 && first) {
        if (step === 21) first = false;
        return bad;
      }
      return step >= 45 ? bad : batch(12, step);
    };
    const checkpoints: Uint8Array[] = [];
    const work = run(long, nextBatch, { onCheckpoint: state => { checkpoints.push(encodeCheckpoint(architecture('residual', { width: 4, blocks: 1, dropout: 0.1, survival: 0.9 }), settings(long), state, 't1')); return Promise.resolve(); } });
    const error = await work.then(() => undefined, (thrown: unknown) => thrown as AlumnusError);
    expect(error).toMatchObject({ code: 'TRAINING_DIVERGED', message: expect.stringContaining('gone back to step 0') as string });
    expect(error?.remedy).toContain('training.clip_norm');
    expect(checkpoints.map(bytes => [read(bytes).step, read(bytes).wentBackTo])).toEqual([[20, 0], [40, 0]]);
    // The next attempt does the same, from where this one was.
    expect(await code(run(long, step => (step >= 45 ? bad : batch(12, step)), { resume: read(checkpoints[1]!) }))).toBe('TRAINING_DIVERGED');
  });

  it('takes no checkpoint of a step that was not finite: the next one that was is taken', async () => {
    const bad = { images: batch(12).images, targets: new Float32Array(60).fill(Number.NaN) };
    const { checkpoints } = await run(long, step => (step >= 18 && step < 22 ? bad : batch(12, step)));
    expect(checkpoints.map(bytes => read(bytes).step)).toEqual([23, 40]);
  });

  it('reads a checkpoint of its own task only, and nothing that is damaged', async () => {
    const { checkpoints: [bytes] } = await run(long);
    const reason = (body: () => unknown): string => {
      try {
        body();
        return 'none';
      } catch (thrown) {
        return thrown instanceof AlumnusError && thrown.code === 'DIGEST_MISMATCH' ? thrown.message : String(thrown);
      }
    };
    expect(reason(() => read(bytes!))).toBe('none');
    expect(reason(() => read(bytes!, long, 't2'))).toContain('it is of the task t1');
    expect(reason(() => read(bytes!, { optimizer: settings().optimizer }))).toMatch(/optimizer\/\w+\/.* is missing/);
    expect(reason(() => read(bytes!.subarray(0, bytes!.length - 4)))).toContain('damaged');
    expect(reason(() => read(encodeWeights([{ name: 'x', shape: [1], values: Float32Array.of(1) }])))).toContain('schema none');
  });

  it('waits for a checkpoint to be kept before it takes the next, and before it ends', async () => {
    const events: string[] = [];
    await run(long, undefined, {
      onCheckpoint: async state => {
        events.push(`begin ${state.step}`);
        await new Promise(resolve => setTimeout(resolve, 50));
        events.push(`end ${state.step}`);
      },
    });
    expect(events).toEqual(['begin 20', 'end 20', 'begin 40', 'end 40']);
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
    // Recipes and journals name these: none may go or be called otherwise. New ones need no line here.
    expect(modelNames).toEqual(expect.arrayContaining(['cnn', 'residual', 'resnet', 'wide-resnet', ...sizes('efficientnet', 'b0 b1 b2 b3 b4 b5 b6 b7 l2'), ...sizes('vit', 'tiny small base'), ...sizes('deit', 'tiny small base')]));
    expect(modelNames).toHaveLength(new Set(modelNames).size);
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
