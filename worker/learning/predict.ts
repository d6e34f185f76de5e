/**
 * Prediction: clean input, dropout and stochastic depth off, compiled once for one batch size. And, as a thing of its own that
 * takes a seed, the noised prediction of an ablation.
 * Not for: evaluating, writing labels.
 * Invariant: a `Predictor` is clean; what is noised is another type, made by another function.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { AlumnusError, invariant } from '../../proto/errors.ts';
import { step } from '../measured.ts';
import { compile, fixed, loadTensorFlow, type HostArray, type Program } from '../tensorflow/index.ts';
import { parameterSpecs } from '../../recipe/index.ts';
import { stepSeed } from './draws.ts';
import { noisedPrediction, prediction } from './step.ts';
import type { Architecture } from '../../recipe/index.ts';
import type { ImageNoise, PredictingHead, TensorData } from './types.ts';

export interface Predictor {
  /**
   * Log-probabilities `[count, classes]` of `images` `[count, height, width, channels]`. Any count: batches are cut to
   * size here and the last one is padded. The event loop is free between batches.
   */
  logProbabilities(images: Uint8Array, count: number): Promise<Float32Array>;
  dispose(): void;
}

/** Of one architecture, for weights that change. */
export interface ReloadablePredictor extends Predictor {
  /** Goes on with other weights. @throws AlumnusError DIGEST_MISMATCH */
  load(weights: readonly TensorData[]): void;
}

export interface NoisedPredictor {
  /** The same, noised: each batch by draws that are a function of `seed` (any safe integer) and its number, the first of the call being batch `first`. */
  logProbabilities(images: Uint8Array, count: number, seed: number, first?: number): Promise<Float32Array>;
  dispose(): void;
}

/** Larger models keep their weights as variables: several copies of a graph are held, and what constants save is little beside their products. */
const FIXED_BYTES_MAX = 256 * 1024 ** 2;

/** @throws AlumnusError DIGEST_MISMATCH where the weights are not the architecture's; ENGINE_UNAVAILABLE */
export async function createPredictor(architecture: Architecture, weights: readonly TensorData[], batchSize: number, head: PredictingHead = 'both'): Promise<Predictor> {
  return cleanPredictor(architecture, weights, batchSize, 'constants', head);
}

/** Throws as `createPredictor`. */
export async function createReloadablePredictor(architecture: Architecture, weights: readonly TensorData[], batchSize: number): Promise<ReloadablePredictor> {
  return cleanPredictor(architecture, weights, batchSize, 'variables');
}

function cleanPredictor(architecture: Architecture, weights: readonly TensorData[], batchSize: number, weightsAs: WeightsAs, head?: PredictingHead): ReloadablePredictor {
  const { run, load, dispose } = batchwise(architecture, weights, batchSize, prediction(loadTensorFlow(), architecture, batchSize, head), weightsAs);
  return { logProbabilities: (images, count) => run(images, count, () => ({})), load, dispose };
}

/** For the ablation of a noised teacher, and nothing else. Throws as `createPredictor`. */
export async function createNoisedPredictor(architecture: Architecture, weights: readonly TensorData[], batchSize: number, noise: ImageNoise): Promise<NoisedPredictor> {
  const { run, dispose } = batchwise(architecture, weights, batchSize, noisedPrediction(loadTensorFlow(), architecture, batchSize, noise), 'constants');
  return { logProbabilities: (images, count, seed, first = 0) => run(images, count, batch => ({ seed: stepSeed(seed, first + batch) })), dispose };
}

function valuesOf(architecture: Architecture, weights: readonly TensorData[]): Record<string, Float32Array> {
  const given = new Map(weights.map(tensor => [tensor.name, tensor]));
  return Object.fromEntries(parameterSpecs(architecture).map(({ name, shape }) => {
    const tensor = given.get(name);
    if (tensor?.shape.join() !== shape.join()) {
      throw new AlumnusError('DIGEST_MISMATCH', `the weights hold ${tensor === undefined ? 'no' : `[${tensor.shape.join()}] for`} ${name}, and the model ${architecture.model.name} needs [${shape.join()}]`, { where: 'weights' });
    }
    return [name, tensor.values];
  }));
}

/**
 * Cuts `images` `[count, …]`, each of `imageSize` bytes, into batches of `batchSize`, the last one padded with zeros. `take` gets each with
 * its number of images and the place of its first. The event loop is free between batches.
 */
export async function eachBatch(images: Uint8Array, count: number, imageSize: number, batchSize: number, take: (batch: Uint8Array, rows: number, start: number) => void | Promise<void>): Promise<void> {
  invariant(images.length === count * imageSize, `${count} images have ${count * imageSize} bytes, not ${images.length}`);
  for (let start = 0; start < count; start += batchSize) {
    if (start > 0) await nextTurn();
    const rows = Math.min(batchSize, count - start);
    const given = images.subarray(start * imageSize, (start + rows) * imageSize);
    // The graph copies what it is fed: only a batch that isn't full is made up here.
    const batch = rows === batchSize ? given : new Uint8Array(batchSize * imageSize);
    if (batch !== given) batch.set(given);
    await take(batch, rows, start);
  }
}

/** How a program holds its weights: `load` changes variables only. */
type WeightsAs = 'constants' | 'variables';

/** A program over batches of images, made to take any number of them. */
interface Batchwise {
  /** @param inputs what batch 0, 1, … is fed beside its images */
  run(images: Uint8Array, count: number, inputs: (batch: number) => Record<string, HostArray>): Promise<Float32Array>;
  load(weights: readonly TensorData[]): void;
  dispose(): void;
}

function batchwise(architecture: Architecture, weights: readonly TensorData[], batchSize: number, program: Program, weightsAs: WeightsAs): Batchwise {
  invariant(Number.isInteger(batchSize) && batchSize >= 1, 'a batch holds at least one image');
  const values = valuesOf(architecture, weights);
  const engine = loadTensorFlow();
  const isFixed = weightsAs === 'constants' && Object.values(values).reduce((sum, { byteLength }) => sum + byteLength, 0) <= FIXED_BYTES_MAX;
  const executable = compile(engine, isFixed ? fixed(engine, program, values) : program);
  if (!isFixed) executable.write(values);
  const { input: { height, width, channels }, classes } = architecture;
  const imageSize = height * width * channels;
  return {
    async run(images, count, inputs) {
      const result = new Float32Array(count * classes);
      await eachBatch(images, count, imageSize, batchSize, (batch, rows, start) =>
        result.set((step('predict', rows, () => executable.run({ images: batch, ...inputs(start / batchSize) }))['logProbabilities'] as Float32Array).subarray(0, rows * classes), start * classes));
      return result;
    },
    load: (weights) => executable.write(valuesOf(architecture, weights)),
    dispose: () => executable.dispose(),
  };
}
