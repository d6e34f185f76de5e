/**
 * What a round costs a worker beside its steps, where replicas share a training: reading the merged state and its own optimizer's, writing them to the device
 * and back, and the whole state to the store; then the merge of two.
 * What is measured: replica tasks of few and of more steps, so that a step's own time falls out; as in a training's first round, when the data are read
 * and the step is compiled (`first`), and as in every later one (`later`); merge tasks. All as an engine does them, against a store that is a directory.
 * What is not: leases and waiting for other replicas, a network between worker and store, GPUs.
 * The share is of a round of 100 steps on this machine: a faster device has a larger one.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { importDataset, type Source } from '../dataset/index.ts';
import { Stage, Task, type MergeResult, type MergeSpec, type PartRef, type ReplicaResult, type ReplicaSpec, type TrainSpec } from '../proto/gen/alumnus/v1/task.ts';
import { canonicalJson, parameterCount, type Architecture } from '../recipe/index.ts';
import { openStore, type ObjectStore } from '../store/index.ts';
import { letGo } from '../worker/tasks/prepared.ts';
import { runTask } from '../worker/tasks/index.ts';
import { loadTensorFlow } from '../worker/tensorflow/index.ts';
import { median, range } from './shared/figures.ts';

export const description = 'what a round costs a worker beside its steps, where replicas share a training';

/** Odd, so that the median is one that happened. */
const rounds = 5;
/** A round's steps by default of the recipe. */
const localSteps = 100;
const samples = 10_000;
const image = { height: 28, width: 28, channels: 1 } as const;
const batch = 128;

/** @param steps of the longer replicas: enough to outlast what a round costs beside them. */
const cases: readonly { readonly name: string; readonly model: Architecture['model']; readonly steps: number }[] = [
  { name: 'cnn of width 32', model: { name: 'cnn', options: { width: 32 } }, steps: 21 },
  { name: 'wide-resnet-16-2', model: { name: 'wide-resnet', options: { depth: 16, width: 2 } }, steps: 6 },
];

/** A bright row for each class in seeded speckle. */
const source: Source = {
  name: 'made-up', classes: Array.from({ length: 10 }, (_, at) => `c${at}`), samplesExpected: samples, defaults: {}, notes: [],
  async *samples() {
    let state = 1;
    for (let number = 0; number < samples; number += 1) {
      const label = number % 10;
      const pixels = Uint8Array.from({ length: image.height * image.width }, (_, at) => {
        state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
        return (state >>> 26) + (Math.floor(at / image.width / 2.8) === label ? 150 : 0);
      });
      yield await Promise.resolve({ origin: String(number), pool: 'train' as const, label, image: { pixels, shape: image } });
    }
  },
};

export async function run(): Promise<void> {
  loadTensorFlow({ threads: availableParallelism() });
  const folder = await mkdtemp(join(tmpdir(), 'alumnus-bench-'));
  try {
    const store = await openStore(pathToFileURL(join(folder, 'store')).href);
    const { manifest: { parts: { labeled: part } }, digest } = await importDataset(store, source, { name: 'made-up', seed: 1 });
    if (part === undefined) throw new Error('all images of the set are labeled');
    const labeled: PartRef = { dataset: 'made-up', manifestSha256: digest, shards: part.shards, labels: part.labels, samples: part.samples };
    for (const each of cases) await one(each, store, labeled, join(folder, 'cache'));
  } finally {
    letGo();
    await rm(folder, { recursive: true, force: true });
  }
}

async function one({ name, model, steps }: (typeof cases)[number], store: ObjectStore, labeled: PartRef, cacheFolder: string): Promise<void> {
  const train: TrainSpec = {
    model, image, classNames: [...source.classes!], labeled, unlabeled: undefined, selection: undefined, pseudoLabels: [], labelKind: 'hard',
    trainingJson: canonicalJson({
      steps: 10_000, batch_labeled: batch, batch_unlabeled: 0, optimizer: { name: 'adamw', learning_rate: 0.001, weight_decay: 0.0001, momentum: 0.9 }, schedule: { name: 'cosine', warmup_steps: 0 },
      ema_decay: 0.995, label_smoothing: 0, noise: { input: { name: 'affine', degrees: 10, translate_pixels: 2, scale: 0.1, flip: false } },
    }),
  };
  let tasks = 0;
  const timed = async <Result>(spec: NonNullable<Task['spec']>): Promise<{ result: Result; ms: number }> => {
    const taskId = `bench-${tasks += 1}`;
    const task = Task.fromPartial({ taskId, runId: 'bench', stage: Stage.TRAIN, subject: taskId, outputPrefix: `runs/bench/${name}/${taskId}`, spec });
    const startMs = performance.now();
    const done = await runTask({ task, store, cacheFolder, signal: new AbortController().signal, progress: () => undefined, checkpoint: () => undefined, note: () => undefined, onDevice: (work) => work() });
    return { result: done.value as Result, ms: performance.now() - startMs };
  };
  const replica = (over: Partial<ReplicaSpec>): Promise<{ result: ReplicaResult; ms: number }> =>
    timed({ $case: 'replica', value: { train, seed: 1, round: 0, replica: 0, firstStep: 0, steps: 1, firstBatch: 0, merged: undefined, optimizer: undefined, ...over } });
  const merge = (over: Partial<MergeSpec>): Promise<{ result: MergeResult; ms: number }> =>
    timed({ $case: 'merge', value: { train, seed: 1, round: 0, firstStep: 0, steps: 1, merged: undefined, inputs: [], outerLearningRate: 0.7, outerMomentum: 0.9, last: false, images: 0, ...over } });
  const inputs = (of: readonly ReplicaResult[]): MergeSpec['inputs'] => of.map(({ state, loss }, at) => ({ replica: at, state, loss }));

  const first: number[] = [];
  const states: ReplicaResult[] = [];
  for (let round = 0; round < rounds; round += 1) {
    letGo();
    const { result, ms } = await replica({ replica: round, firstBatch: round });
    states.push(result);
    first.push(ms);
  }
  const [one, two] = states as [ReplicaResult, ReplicaResult];
  const { result: { merged } } = await merge({ inputs: inputs([one, two]) });
  const [short, long, merges]: [number[], number[], number[]] = [[], [], []];
  for (let round = 0; round < rounds; round += 1) {
    const next = { round: 1, firstStep: 1, firstBatch: 100 * (round + 1), merged, optimizer: one.state };
    const shorter = async (): Promise<ReplicaResult> => {
      const { result, ms } = await replica(next);
      short.push(ms);
      return result;
    };
    const longer = async (): Promise<void> => void long.push((await replica({ ...next, steps })).ms);
    // The order turns around each round, so that neither always runs on the warmer machine.
    if (round % 2 === 1) await longer();
    const a = await shorter();
    if (round % 2 === 0) await longer();
    const { result: b } = await replica({ ...next, replica: 1, firstBatch: 100 * (round + 1) + 50 });
    merges.push((await merge({ round: 1, firstStep: 1, merged, inputs: inputs([a, b]) })).ms);
  }
  const stepMs = (median(long) - median(short)) / (steps - 1);
  const later = short.map((ms) => ms - stepMs);
  const opened = first.map((ms) => ms - median(short));
  const parameters = parameterCount({ model, input: image, classes: 10 });
  const share = (ms: number): string => `${((100 * ms) / (localSteps * stepMs)).toFixed(1)} %`;
  process.stdout.write(`rounds, ${name} (${parameters} parameters, state of ${((one.state?.bytes ?? 0) / 1e6).toFixed(1)} MB): a step of ${batch} takes ${stepMs.toFixed(0)} ms; median and range of ${rounds}, ${availableParallelism()} processors\n`);
  process.stdout.write(`  replica, beside its steps: ${range(later, 0)} ms, ${share(median(later))} of ${localSteps} steps; merge of two: ${range(merges, 0)} ms, ${share(median(merges))}\n`);
  process.stdout.write(`  once, reading ${samples} images from the worker's cache and compiling: ${range(opened, 0)} ms more, ${share(median(opened))}\n`);
}
