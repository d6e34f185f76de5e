/**
 * The engine's memory over time: one process trains and labels in turns, as an engine does for a run of many iterations, and nothing that it made
 * may be left after a turn. Each turn trains a model from scratch (a graph of its own), writes it as a teacher, and labels all shards with it, decoded
 * by threads, tables and all (another graph; the one before it is given back).
 * What is checked: after every turn tensors and sessions are as many as after the first one; the process's resident memory over the last fifth of the
 * turns (median) is within 10 % or 64 MiB, whichever is more, of what it was in the second fifth, when allocators have warmed up.
 * What is not: GPUs, the worker's own process, the store's other engines.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { encodePng } from '../dataset/index.ts';
import type { Architecture } from '../recipe/index.ts';
import { Turnstile } from '../worker/engine/turnstile.ts';
import { train, type TrainingSettings } from '../worker/learning/index.ts';
import { runTask } from '../worker/tasks/index.ts';
import { loadTensorFlow } from '../worker/tensorflow/index.ts';
import { median } from './shared/figures.ts';
import { contextOf, labelTask, pipeline, writeShards, writeTeacher } from './shared/labeling.ts';

export const description = 'memory of an engine that trains and labels in turns (--minutes N, default 10; --threads N)';

const MEBIBYTE = 1024 ** 2;
/** As many as medians of fifths need. */
const turnsMin = 15;
const steps = 60;
const batch = 64;
const batchSize = 256;
const shape = { height: 28, width: 28, channels: 1 as const };
/** Normalization and residuals too: more kinds of operations than the plain network has. */
const architecture: Architecture = { model: { name: 'residual', options: { width: 4, blocks: 1 } }, input: shape, classes: 10 };
const settings = (seed: number): TrainingSettings => ({
  steps, batchLabeled: batch, batchUnlabeled: 0, optimizer: { name: 'adamw', learningRate: 1e-3, weightDecay: 1e-4, momentum: 0.9, decay: 0.9, epsilon: 1e-3 },
  schedule: { name: 'cosine', warmupSteps: 10, decayFactor: 0.97, decaySteps: 0 }, emaDecay: 0.9, labelSmoothing: 0, clipNorm: 0, noise: { name: 'randaugment', operations: 'paper14', layers: 2, magnitude: 9 }, seed,
});

interface Sample {
  readonly minutes: number;
  readonly residentBytes: number;
}

/** By least squares. */
function bytesPerHour(samples: readonly Sample[]): number {
  const mean = (of: (sample: Sample) => number): number => samples.reduce((sum, sample) => sum + of(sample), 0) / samples.length;
  const [time, bytes] = [mean(({ minutes }) => minutes), mean(({ residentBytes }) => residentBytes)];
  const spread = mean(({ minutes }) => (minutes - time) ** 2);
  return (60 * mean(({ minutes, residentBytes }) => (minutes - time) * (residentBytes - bytes))) / spread;
}

export async function run(args: string[]): Promise<void> {
  const { values } = parseArgs({ args, options: { minutes: { type: 'string', default: '10' }, threads: { type: 'string', default: String(availableParallelism()) } } });
  const minutes = Number(values.minutes);
  const { tf, binding, threads } = loadTensorFlow({ threads: Number(values.threads) });
  const folder = await mkdtemp(join(tmpdir(), 'alumnus-bench-'));
  const device = new Turnstile();
  const images = Uint8Array.from({ length: batch * shape.height * shape.width }, (_, index) => Math.imul(index, 2654435761) >>> 24);
  const targets = Float32Array.from({ length: batch * architecture.classes }, (_, index) => (index % architecture.classes === Math.floor(index / architecture.classes) % architecture.classes ? 1 : 0));
  const held = (): string => `${tf.memory().numTensors} tensors of tfjs, ${binding.getNumOfTensors()} of the binding, ${binding.getNumOfSavedModels()} sessions`;
  const samples: Sample[] = [];
  let heldAtFirst: string | undefined;
  let turn = 0;
  let said = -1;
  try {
    for (const startMs = performance.now(); ;) {
      turn += 1;
      const trained = await train(architecture, settings(turn), () => ({ images, targets }));
      // A store of its own each turn, so that the disk holds one.
      const store = join(folder, String(turn));
      const shelf = await writeShards(store, shape, { shards: 4, samplesPerShard: 1_000, extension: 'png', encode: (pixels) => Promise.resolve(encodePng(pixels, shape)) });
      const teacher = await writeTeacher(shelf.store, architecture, trained.weights);
      await pipeline(shelf.shards, (shard) => runTask(contextOf(shelf.store, labelTask(teacher, shard, turn, batchSize), join(store, 'cache'), device)));
      await rm(store, { recursive: true });
      const now = { minutes: (performance.now() - startMs) / 60_000, residentBytes: process.memoryUsage.rss() };
      samples.push(now);
      heldAtFirst ??= held();
      if (held() !== heldAtFirst) throw new Error(`after turn ${turn} there are ${held()}; after the first there were ${heldAtFirst}`);
      if (Math.floor(now.minutes) > said) {
        said = Math.floor(now.minutes);
        const { heapUsed, external } = process.memoryUsage();
        process.stdout.write(`memory: ${now.minutes.toFixed(1)} min, turn ${turn}: resident ${(now.residentBytes / MEBIBYTE).toFixed(0)} MiB, JavaScript heap ${(heapUsed / MEBIBYTE).toFixed(0)}, outside of it ${(external / MEBIBYTE).toFixed(0)}; ${held()}\n`);
      }
      if (now.minutes >= minutes && turn >= turnsMin) break;
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  const fifth = (which: number): readonly Sample[] => samples.slice(Math.floor((which * turn) / 5), Math.floor(((which + 1) * turn) / 5));
  const [early, late] = [fifth(1), fifth(4)].map((some) => median(some.map(({ residentBytes }) => residentBytes))) as [number, number];
  const slope = bytesPerHour(samples.slice(Math.floor(turn / 5))) / MEBIBYTE;
  process.stdout.write(`memory: ${turn} turns of ${steps} steps and 4,000 labels in ${samples.at(-1)!.minutes.toFixed(0)} min, ${threads} threads: resident ${(early / MEBIBYTE).toFixed(0)} MiB in the second fifth of the turns, ${(late / MEBIBYTE).toFixed(0)} in the last, ${slope.toFixed(1)} MiB an hour by least squares without the first fifth; always ${heldAtFirst}\n`);
  if (late > early + Math.max(64 * MEBIBYTE, early / 10)) throw new Error('resident memory grew by more than 10 % and 64 MiB');
}
