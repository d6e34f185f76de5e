/** What steps and predictions leave behind: nothing that TensorFlow or its binding counts, and no memory that grows with their number. For an hour of it there is `npm run bench -- memory`. */
import { beforeAll, expect, it } from 'vitest';
import type { Architecture } from '../../../recipe/index.ts';
import { stepSeed } from '../../../worker/learning/draws.ts';
import { createPredictor } from '../../../worker/learning/index.ts';
import { initialState, initialWeights, trainingStep } from '../../../worker/learning/step.ts';
import { parameterSpecs } from '../../../recipe/index.ts';
import { compile, loadTensorFlow } from '../../../worker/tensorflow/index.ts';
import type { TensorFlow } from '../../../worker/tensorflow/index.ts';
import { settings, threads } from './setting.ts';

let engine: TensorFlow;
beforeAll(() => { engine = loadTensorFlow({ threads }); });

const architecture: Architecture = { model: { name: 'cnn', options: { width: 1, dense: 4 } }, input: { height: 64, width: 64, channels: 3 }, classes: 5 };
const batchSize = 8;
const imageBytes = batchSize * 64 * 64 * 3;
/** Enough for allocators and collectors to have taken what they take. */
const warmUp = 200;
const runs = 800;
/** A batch of bytes left behind by each run would be 75 MiB, one as float32 300 MiB; what allocators keep for themselves moves by some MiB. */
const growthMax = 40 * 1024 ** 2;

const counts = (): number[] => [engine.tf.memory().numTensors, engine.tf.memory().numDataBuffers, engine.binding.getNumOfTensors(), engine.binding.getNumOfSavedModels()];

/** Runs `once` often; what is counted stays as it was after the first time, and memory as it was after the warm-up. */
async function staysFlat(once: (at: number) => void | Promise<unknown>): Promise<void> {
  await once(0);
  const before = counts();
  let resident = 0;
  for (let at = 1; at < warmUp + runs; at += 1) {
    await once(at);
    if (at === warmUp) resident = process.memoryUsage.rss();
  }
  expect(counts()).toEqual(before);
  expect(runs * imageBytes).toBeGreaterThan(1.5 * growthMax);
  expect(process.memoryUsage.rss() - resident).toBeLessThan(growthMax);
}

it('predictions leave nothing behind, nor do predictors', async () => {
  const weights = initialWeights(architecture, 1);
  const before = counts();
  const predictor = await createPredictor(architecture, parameterSpecs(architecture).map(({ name, shape }) => ({ name, shape: [...shape], values: weights[name]! })), batchSize);
  // New memory each time, as a worker reads it; a batch and a half.
  await staysFlat(at => predictor.logProbabilities(new Uint8Array(imageBytes * 1.5).fill(at), batchSize * 1.5));
  predictor.dispose();
  expect(counts()).toEqual(before);
});

it('training steps leave nothing behind, nor does their graph', async () => {
  const chosen = settings({ batchLabeled: batchSize, batchUnlabeled: 0 });
  const before = counts();
  const program = trainingStep(engine, architecture, chosen);
  const executable = compile(engine, program);
  executable.write(initialState(architecture, chosen));
  const targets = Float32Array.from({ length: batchSize * 5 }, (_, at) => (at % 6 === 0 ? 1 : 0));
  await staysFlat(at => void executable.run({ images: new Uint8Array(imageBytes).fill(at), targets, rate: Float32Array.of(0.001), seed: stepSeed(1, at) }));
  executable.dispose();
  expect(counts()).toEqual(before);
});
