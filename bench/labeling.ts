/**
 * Labeling end to end against the bare engine: one worker's label tasks, from shards in a store to tables and records in it, as an engine does
 * them (on its label thread), and the same model predicting the same decoded batches from memory.
 * What is measured: images a second of a whole pass over the shards, three tasks at a time as a worker's slots have them: download, digest,
 * tar, decoding (`decode`) or the worker's own cache of decoded shards (`cache`, as in every round but the first), prediction, table, tally, upload.
 * A pass begins with nothing read and ends with a table to write, in both of which the engine has nothing to do; so it has many shards.
 * What is not: leases, a network between worker and store (it is a directory), GPUs, compiling (once a teacher).
 * The ratio can reach 1 only where decoding has processors to itself: on a CPU, where TensorFlow takes them all, it pays for every image that it decodes.
 * With `--threads` below the number of processors TensorFlow leaves some of them, as a GPU does; the bare engine has as many threads then.
 * So the CPU time of decoding and writing is printed too: `cpu` is what an image costs beyond its prediction, as a share of the prediction's.
 * `bound` is the ratio that this CPU time leaves where no processor ever waits (true on a machine that has nothing else to do).
 * The ratio is the product of two: how much of the time TensorFlow is at work, which is the pipeline's doing (`at work`, against the same share alone),
 * and how fast it then is (`pace`, against its own alone), which is the machine's: other threads and processes take its processors, caches and memory.
 * The ways alternate, so that a busy machine slows all; the ratio of each round counts, not the ratio of two means.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import sharp from 'sharp';
import { encodePng, type ImageShape } from '../dataset/index.ts';
import type { Architecture } from '../recipe/index.ts';
import { decodedShard, type DecodedShard } from '../worker/data/index.ts';
import { Turnstile } from '../worker/engine/turnstile.ts';
import { createPredictor, type Predictor } from '../worker/learning/index.ts';
import { loadTensorFlow } from '../worker/tensorflow/index.ts';
import { range } from './shared/figures.ts';
import { Labeler, labelTask, madeUpWeights, pipeline, writeShards, writeTeacher } from './shared/labeling.ts';

export const description = 'labeling end to end against the bare engine\'s predict rate (--threads N, default: all processors)';

/** Odd, so that the median is a round that happened. */
const rounds = 5;

/** So many that a call's own time is nothing beside its work. */
const manyASecond = 256;

interface Case {
  readonly name: string;
  readonly architecture: Architecture;
  readonly shards: number;
  readonly samplesPerShard: number;
  readonly batchSize: number;
  readonly encode: (pixels: Uint8Array, shape: ImageShape) => Promise<Uint8Array>;
  readonly extension: 'png' | 'jpg';
}

const jpeg = (pixels: Uint8Array, shape: ImageShape): Promise<Uint8Array> => sharp(pixels, { raw: shape }).jpeg({ quality: 90 }).toBuffer();

const cases: readonly Case[] = [
  {
    name: '28x28x1 PNG, cnn of width 16', architecture: { model: { name: 'cnn', options: { width: 16 } }, input: { height: 28, width: 28, channels: 1 }, classes: 10 },
    shards: 32, samplesPerShard: 2_000, batchSize: manyASecond, extension: 'png', encode: (pixels, shape) => Promise.resolve(encodePng(pixels, shape)),
  },
  {
    name: '64x64x3 JPEG, cnn of width 32', architecture: { model: { name: 'cnn', options: { width: 32 } }, input: { height: 64, width: 64, channels: 3 }, classes: 100 },
    shards: 16, samplesPerShard: 500, batchSize: manyASecond, extension: 'jpg', encode: jpeg,
  },
  // What teachers are: their prediction takes many times what an image's decoding does, on a processor as on a device.
  {
    name: '32x32x3 JPEG, wide-resnet 16-2', architecture: { model: { name: 'wide-resnet', options: { depth: 16, width: 2 } }, input: { height: 32, width: 32, channels: 3 }, classes: 10 },
    shards: 12, samplesPerShard: 256, batchSize: manyASecond, extension: 'jpg', encode: jpeg,
  },
  {
    name: '224x224x3 JPEG, resnet-18', architecture: { model: { name: 'resnet', options: { depth: 18 } }, input: { height: 224, width: 224, channels: 3 }, classes: 1000 },
    shards: 8, samplesPerShard: 32, batchSize: 32, extension: 'jpg', encode: jpeg,
  },
];

interface Measured {
  readonly imagesPerSecond: number;
  /** Of the whole process, on all its threads. */
  readonly cpuMsPerImage: number;
  /** Within TensorFlow's calls. */
  readonly atWorkMsPerImage: number;
}

/** Of this process, since it was loaded. */
let atWorkMs = 0;

function watch(): void {
  const { binding } = loadTensorFlow();
  const runSavedModel = binding.runSavedModel.bind(binding);
  Object.defineProperty(binding, 'runSavedModel', {
    value: (...given: Parameters<typeof runSavedModel>) => {
      const startMs = performance.now();
      try {
        return runSavedModel(...given);
      } finally {
        atWorkMs += performance.now() - startMs;
      }
    },
  });
}

async function measure(images: number, work: () => Promise<void>): Promise<Measured> {
  const [cpu, atWorkBeforeMs, startMs] = [process.cpuUsage(), atWorkMs, performance.now()];
  await work();
  const seconds = (performance.now() - startMs) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  return { imagesPerSecond: images / seconds, cpuMsPerImage: (user + system) / 1000 / images, atWorkMsPerImage: (atWorkMs - atWorkBeforeMs) / images };
}

export async function run(args: string[]): Promise<void> {
  const { values } = parseArgs({ args, options: { threads: { type: 'string', default: String(availableParallelism()) } } });
  const { threads } = loadTensorFlow({ threads: Number(values.threads) });
  watch();
  for (const each of cases) {
    const folder = await mkdtemp(join(tmpdir(), 'alumnus-bench-'));
    try {
      await one(each, folder, threads);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }
}

async function one({ name, architecture, shards, samplesPerShard, batchSize, encode, extension }: Case, folder: string, threads: number): Promise<void> {
  const { height, width, channels } = architecture.input;
  const shape: ImageShape = { height, width, channels: channels === 1 ? 1 : 3 };
  const { store, url, shards: refs } = await writeShards(join(folder, 'store'), shape, { shards, samplesPerShard, extension, encode });
  const weights = madeUpWeights(architecture);
  const teacher = await writeTeacher(store, architecture, weights);
  const cacheFolder = join(folder, 'cache');
  const decoded = await Promise.all(refs.map((shard) => decodedShard({ store, shape, cacheFolder, signal: new AbortController().signal }, shard)));
  const images = shards * samplesPerShard;
  const predictor = await createPredictor(architecture, weights, batchSize);
  const turnstile = new Turnstile();
  const labelers = [new Labeler('', turnstile), new Labeler(cacheFolder, turnstile)];
  let pass = 0;
  // Else every pass but the first would take over what the one before it wrote (worker/tasks/earlier-labels.ts).
  const forget = async (): Promise<void> => {
    for await (const { key } of store.list('labels/')) await rm(join(folder, 'store', 'objects', key));
  };
  const ways: readonly (() => Promise<Measured>)[] = [
    () => measure(images, () => bare(predictor, decoded)),
    ...labelers.map((labeler) => () => forget().then(() => measure(images, () => pipeline(refs, (shard) => labeler.label(labelTask(teacher, shard, pass += 1, batchSize), url))))),
  ];
  // Once for nothing: compiling, starting threads.
  for (const way of ways) await way();
  const measured: Measured[][] = ways.map(() => []);
  for (let round = 0; round < rounds; round += 1) {
    // The order turns around each round, so that none always runs on the warmer machine.
    const order = round % 2 === 0 ? [0, 1, 2] : [2, 1, 0];
    for (const way of order) measured[way]!.push(await ways[way]!());
  }
  predictor.dispose();
  for (const labeler of labelers) await labeler.close();
  const [engine, decode, cache] = measured as [Measured[], Measured[], Measured[]];
  const ratios = (of: readonly Measured[], figure: (each: Measured) => number): number[] => of.map((each, round) => figure(each) / figure(engine[round]!));
  const rate = ({ imagesPerSecond }: Measured): number => imagesPerSecond;
  /** The ratio that is left where all processors work all the time: each image's own seconds of them, against the engine's time for it. */
  const bounds = (of: readonly Measured[]): number[] => of.map(({ cpuMsPerImage }, round) => Math.min(1, ((1000 / engine[round]!.imagesPerSecond) * availableParallelism()) / cpuMsPerImage));
  const share = ({ imagesPerSecond, atWorkMsPerImage }: Measured): number => (atWorkMsPerImage * imagesPerSecond) / 1000;
  const pace = ({ atWorkMsPerImage }: Measured): number => 1 / atWorkMsPerImage;
  const line = (way: string, of: readonly Measured[]): string =>
    `  ${way}: ratio ${range(ratios(of, rate), 2)}, of at work ${range(ratios(of, share), 2)} and pace ${range(ratios(of, pace), 2)}; images/s ${range(of.map(rate), 0)}; cpu +${range(ratios(of, (each) => each.cpuMsPerImage).map((ratio) => 100 * (ratio - 1)), 0)} %; bound ${range(bounds(of), 2)}, and of it ${range(ratios(of, rate).map((ratio, round) => ratio / bounds(of)[round]!), 2)}\n`;
  process.stdout.write(`labeling, ${name}: end to end / engine alone, which gives images/s ${range(engine.map(rate), 0)}, at work ${range(engine.map(share), 2)} of the time; median and range of ${rounds} alternating rounds of ${images} images, ${threads} threads on ${availableParallelism()} processors\n`);
  process.stdout.write(line('decode', decode) + line('cache ', cache));
}

async function bare(predictor: Predictor, decoded: readonly DecodedShard[]): Promise<void> {
  for (const { images, keys } of decoded) await predictor.logProbabilities(images, keys.length);
}
