/**
 * Labeling end to end against the bare engine: one worker's label tasks, from shards in a store to tables in it, and the same model
 * predicting the same decoded batches from memory.
 * What is measured: images a second of a whole pass over the shards, two tasks at a time as a worker's two slots have them: download, digest,
 * tar, decoding (`decode`) or the worker's own cache of decoded shards (`cache`, as in every round but the first), prediction, table, tally, upload.
 * What is not: leases, a network between worker and store (it is a directory), GPUs, compiling (once a teacher).
 * The ratio can reach 1 only where decoding has processors to itself: on a CPU, where TensorFlow takes them all, it pays for every image that it decodes.
 * So the CPU time of decoding and writing is printed too: `cpu` is what an image costs beyond its prediction, as a share of the prediction's.
 * The two alternate, so that a busy machine slows both; the ratio of each round counts, not the ratio of two means.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import sharp from 'sharp';
import { encodePng, type ImageShape } from '../dataset/index.ts';
import { writeShard } from '../dataset/shards.ts';
import { Stage, Task, type ObjectRef, type ShardRef } from '../proto/gen/alumnus/v1/task.ts';
import { parameterCount, parameterSpecs, type Architecture } from '../recipe/index.ts';
import { openStore } from '../store/index.ts';
import { decodedShard, type DecodedShard } from '../worker/data/index.ts';
import { Turnstile } from '../worker/engine/turnstile.ts';
import { createPredictor, type Predictor } from '../worker/learning/index.ts';
import { runTask, type TaskContext } from '../worker/tasks/index.ts';
import { writeModel } from '../worker/tasks/model.ts';
import { loadTensorFlow } from '../worker/tensorflow/index.ts';
import { range } from './shared/figures.ts';

export const description = 'labeling end to end against the bare engine\'s predict rate';

/** Odd, so that the median is a round that happened. */
const rounds = 5;
const shards = 4;
const slots = 2;
const batchSize = 256;

interface Case {
  readonly name: string;
  readonly architecture: Architecture;
  readonly samplesPerShard: number;
  readonly encode: (pixels: Uint8Array, shape: ImageShape) => Promise<Uint8Array>;
  readonly extension: 'png' | 'jpg';
}

const cases: readonly Case[] = [
  {
    name: '28x28x1 PNG, cnn of width 16', architecture: { model: { name: 'cnn', options: { width: 16 } }, input: { height: 28, width: 28, channels: 1 }, classes: 10 },
    samplesPerShard: 2_000, extension: 'png', encode: (pixels, shape) => Promise.resolve(encodePng(pixels, shape)),
  },
  {
    name: '64x64x3 JPEG, cnn of width 32', architecture: { model: { name: 'cnn', options: { width: 32 } }, input: { height: 64, width: 64, channels: 3 }, classes: 100 },
    samplesPerShard: 500, extension: 'jpg', encode: (pixels, shape) => sharp(pixels, { raw: shape }).jpeg({ quality: 90 }).toBuffer(),
  },
];

/** A smooth shape on dark ground and a little noise: it compresses as photographs and digits do. */
function picture(number: number, { height, width, channels }: ImageShape): Uint8Array {
  const pixels = new Uint8Array(height * width * channels);
  const [x0, y0, radius] = [(0.3 + ((number * 37) % 41) / 100) * width, (0.3 + ((number * 53) % 43) / 100) * height, (0.15 + (number % 17) / 100) * width];
  let state = number + 1;
  for (let at = 0; at < pixels.length; at += 1) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const [x, y] = [Math.floor(at / channels) % width, Math.floor(at / channels / width)];
    const ink = Math.max(0, 1 - Math.abs(Math.hypot(x - x0, y - y0) - radius) / (0.08 * width));
    pixels[at] = Math.floor(ink * (150 + 40 * (at % channels))) + (channels === 1 ? 0 : state >>> 28);
  }
  return pixels;
}

const labelTask = (teacher: ObjectRef, shard: ShardRef, pass: number): Task => Task.fromPartial({
  taskId: `label-${shard.name}-${pass}`, runId: 'bench', stage: Stage.LABEL, subject: shard.name, outputPrefix: `runs/bench/${pass}-${shard.name}`,
  spec: { $case: 'label', value: { teacher, shard, batchSize } },
});

interface Measured {
  readonly imagesPerSecond: number;
  /** Of the whole process, on all its threads. */
  readonly cpuMsPerImage: number;
}

async function measure(images: number, work: () => Promise<void>): Promise<Measured> {
  const [cpu, startMs] = [process.cpuUsage(), performance.now()];
  await work();
  const seconds = (performance.now() - startMs) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  return { imagesPerSecond: images / seconds, cpuMsPerImage: (user + system) / 1000 / images };
}

export async function run(): Promise<void> {
  const { threads } = loadTensorFlow({ threads: availableParallelism() });
  for (const each of cases) {
    const folder = await mkdtemp(join(tmpdir(), 'alumnus-bench-'));
    try {
      await one(each, folder, threads);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }
}

async function one({ name, architecture, samplesPerShard, encode, extension }: Case, folder: string, threads: number): Promise<void> {
  const { height, width, channels } = architecture.input;
  const shape: ImageShape = { height, width, channels: channels === 1 ? 1 : 3 };
  const store = await openStore(pathToFileURL(join(folder, 'store')).href);
  const refs: ShardRef[] = [];
  for (let shard = 0; shard < shards; shard += 1) {
    const samples = await Promise.all(Array.from({ length: samplesPerShard }, async (_, at) => ({ key: `s${shard}-${at}`, extension, bytes: await encode(picture(shard * samplesPerShard + at, shape), shape) })));
    refs.push(await writeShard(store, 'bench', 'unlabeled', shard, samples));
  }
  const context = (task: Task, cacheFolder: string, device: Turnstile): TaskContext => ({
    task, store, cacheFolder, signal: new AbortController().signal, progress: () => undefined, checkpoint: () => undefined, note: () => undefined, onDevice: (work) => device.pass(work),
  });
  const weights = parameterSpecs(architecture).map(({ name: parameter, shape: sizes }, number) => {
    const values = Float32Array.from({ length: sizes.reduce((product, size) => product * size, 1) }, (_, at) => 0.05 * Math.sin(at * 12.9898 + number) + (parameter.includes('variance') ? 1 : 0));
    return { name: parameter, shape: [...sizes], values };
  });
  const teacher = await writeModel(context(Task.fromPartial({ outputPrefix: 'runs/bench/teacher' }), '', new Turnstile()), {
    architecture, classNames: Array.from({ length: architecture.classes }, (_, at) => `c${at}`), parameters: parameterCount(architecture),
    lineage: { run: 'bench', iteration: 0, task: '', labeled: '', selection: '', training: {} },
  }, weights, '');
  const cacheFolder = join(folder, 'cache');
  const decoded = await Promise.all(refs.map((shard) => decodedShard({ store, shape, cacheFolder, signal: new AbortController().signal }, shard)));
  const images = shards * samplesPerShard;
  const predictor = await createPredictor(architecture, weights, batchSize);
  let pass = 0;
  // Else every pass but the first would take over what the one before it wrote (worker/tasks/earlier-labels.ts).
  const forget = async (): Promise<void> => {
    for await (const { key } of store.list('labels/')) await rm(join(folder, 'store', 'objects', key));
  };
  const ways: readonly (() => Promise<Measured>)[] = [
    () => measure(images, () => bare(predictor, decoded)),
    () => forget().then(() => measure(images, () => pipeline(refs, (shard) => runTask(context(labelTask(teacher, shard, pass += 1), '', device))))),
    () => forget().then(() => measure(images, () => pipeline(refs, (shard) => runTask(context(labelTask(teacher, shard, pass += 1), cacheFolder, device))))),
  ];
  const device = new Turnstile();
  // Once for nothing: compiling, starting threads.
  for (const way of ways) await way();
  const measured: Measured[][] = ways.map(() => []);
  for (let round = 0; round < rounds; round += 1) {
    // The order turns around each round, so that none always runs on the warmer machine.
    const order = round % 2 === 0 ? [0, 1, 2] : [2, 1, 0];
    for (const way of order) measured[way]!.push(await ways[way]!());
  }
  predictor.dispose();
  const [engine, decode, cache] = measured as [Measured[], Measured[], Measured[]];
  const ratios = (of: readonly Measured[], figure: (each: Measured) => number): number[] => of.map((each, round) => figure(each) / figure(engine[round]!));
  const rate = ({ imagesPerSecond }: Measured): number => imagesPerSecond;
  const line = (way: string, of: readonly Measured[]): string =>
    `  ${way}: ratio ${range(ratios(of, rate), 2)}; images/s ${range(of.map(rate), 0)}; cpu +${range(ratios(of, (each) => each.cpuMsPerImage).map((share) => 100 * (share - 1)), 0)} %\n`;
  process.stdout.write(`labeling, ${name}: end to end / engine alone, which gives images/s ${range(engine.map(rate), 0)}; median and range of ${rounds} alternating rounds of ${images} images, ${threads} threads on ${availableParallelism()} processors\n`);
  process.stdout.write(line('decode', decode) + line('cache ', cache));
}

async function bare(predictor: Predictor, decoded: readonly DecodedShard[]): Promise<void> {
  for (const { images, keys } of decoded) await predictor.logProbabilities(images, keys.length);
}

/** As a worker's lease loop: a task in hand and the next one loading. */
async function pipeline(refs: readonly ShardRef[], label: (shard: ShardRef) => Promise<unknown>): Promise<void> {
  const waiting = [...refs];
  await Promise.all(Array.from({ length: slots }, async () => {
    for (let shard = waiting.shift(); shard !== undefined; shard = waiting.shift()) await label(shard);
  }));
}
