/**
 * The compiled training step against the eager one: the same program, weights, batch and thread count in one process.
 * What is measured: images trained per second, whole steps, input noise and optimizer included, each value read back.
 * What is not: reading data, compiling (once a training), GPUs, other frameworks.
 * The two alternate, so that a busy machine slows both; the ratio of each round counts, not the ratio of two means.
 */
import { stepSeed } from '../worker/learning/draws.ts';
import type { Architecture } from '../recipe/index.ts';
import type { TrainingSettings } from '../worker/learning/index.ts';
import { initialState, trainingStep } from '../worker/learning/step.ts';
import { compile, interpret, loadTensorFlow } from '../worker/tensorflow/index.ts';
import type { Executable } from '../worker/tensorflow/index.ts';
import { range } from './shared/figures.ts';

export const description = 'compiled training step against the eager one, images per second';

/** Odd, so that the median is a round that happened. */
const rounds = 7;
/** Long enough for a round of either kind to outlast the scheduler's slices. */
const stepsPerRound = 12;

const architecture: Architecture = { model: { name: 'cnn', options: { width: 32 } }, input: { height: 28, width: 28, channels: 1 }, classes: 10 };
const settings: TrainingSettings = {
  steps: 1, batchLabeled: 32, batchUnlabeled: 96,
  optimizer: { name: 'adamw', learningRate: 1e-3, weightDecay: 1e-4, momentum: 0.9, decay: 0.9, epsilon: 0.001 },
  schedule: { name: 'cosine', warmupSteps: 0, decayFactor: 0.97, decaySteps: 0 }, emaDecay: 0.995, labelSmoothing: 0, clipNorm: 0,
  noise: { name: 'affine', degrees: 10, translatePixels: 2, scale: 0.1, flip: false }, seed: 1,
};
const batch = settings.batchLabeled + settings.batchUnlabeled;

function imagesPerSecond(executable: Executable, images: Uint8Array, targets: Float32Array): number {
  const start = performance.now();
  for (let step = 0; step < stepsPerRound; step++) executable.run({ images, targets, rate: Float32Array.of(1e-3), seed: stepSeed(1, step) });
  return stepsPerRound * batch * 1000 / (performance.now() - start);
}

export async function run(): Promise<void> {
  const engine = loadTensorFlow();
  const program = trainingStep(engine, architecture, settings);
  const state = initialState(architecture, settings);
  const images = Uint8Array.from({ length: batch * 28 * 28 }, (_, index) => Math.imul(index, 2654435761) >>> 24);
  const targets = Float32Array.from({ length: batch * 10 }, (_, index) => (index % 10 === Math.floor(index / 10) % 10 ? 1 : 0));
  const executables = [interpret(engine, program), compile(engine, program)] as const;
  for (const executable of executables) {
    executable.write(state);
    imagesPerSecond(executable, images, targets);
  }
  const [eager, compiled, ratios]: [number[], number[], number[]] = [[], [], []];
  for (let round = 0; round < rounds; round++) {
    // The order turns around each round, so that neither always runs on the warmer machine.
    const order = round % 2 === 0 ? [0, 1] as const : [1, 0] as const;
    const rates = [0, 0];
    for (const index of order) rates[index] = imagesPerSecond(executables[index], images, targets);
    eager.push(rates[0]!);
    compiled.push(rates[1]!);
    ratios.push(rates[1]! / rates[0]!);
  }
  for (const executable of executables) executable.dispose();
  process.stdout.write(`compiled-step: compiled / eager ${range(ratios, 2)}; images/s eager ${range(eager, 0)}, compiled ${range(compiled, 0)}; median and range of ${rounds} alternating rounds, ${engine.threads} threads, batch ${batch}\n`);
}
