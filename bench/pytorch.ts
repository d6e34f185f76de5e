/**
 * Our compiled training step and prediction against PyTorch's, on the CPU of this machine: the same models (the parameter
 * counts are held against each other first), batch, images, targets, optimizer (AdamW), moving average of the weights,
 * running statistics, dropout and stochastic depth, and the same number of threads.
 * What is measured: images per second of whole steps and of whole predictions, bytes in, loss or log-probabilities read
 * back. What is not: reading and decoding data, input noise (PyTorch has none of its own that is batched), compiling
 * (once a training on both sides), GPUs, equality of the learned weights (each draws its own).
 * Both stand by and take turns, so that a busy machine slows both; the ratio of each round counts.
 */
import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { AlumnusError } from '../proto/errors.ts';
import { parameterCount, type Architecture } from '../recipe/index.ts';
import { stepSeed } from '../worker/learning/draws.ts';
import type { TrainingSettings } from '../worker/learning/index.ts';
import { initialState, prediction, trainingStep } from '../worker/learning/step.ts';
import { compile, fixed, loadTensorFlow, type Executable } from '../worker/tensorflow/index.ts';
import { range } from './shared/figures.ts';
import { madeUpWeights } from './shared/labeling.ts';

export const description = 'training step and prediction against PyTorch, images per second (MODEL… --compile --threads N --rounds N)';

const torchVersion = '2.15.0';
/** The peer's source is not compiled: it lies in the checkout, two folders above `dist/bench`. */
const peer = fileURLToPath(new URL('../../bench/peers/pytorch.py', import.meta.url));

interface Subject {
  readonly architecture: Architecture;
  readonly batch: number;
  /** A round of either side outlasts the scheduler's slices. */
  readonly steps: number;
  readonly batches: number;
}

const subjects: Readonly<Record<string, Subject>> = {
  cnn: { architecture: { model: { name: 'cnn', options: { width: 32 } }, input: { height: 28, width: 28, channels: 1 }, classes: 10 }, batch: 128, steps: 20, batches: 60 },
  'wide-resnet': { architecture: { model: { name: 'wide-resnet', options: { depth: 16, width: 2, survival: 1 } }, input: { height: 32, width: 32, channels: 3 }, classes: 10 }, batch: 64, steps: 6, batches: 16 },
  'vit-tiny': { architecture: { model: { name: 'vit-tiny', options: { patch: 4 } }, input: { height: 32, width: 32, channels: 3 }, classes: 10 }, batch: 64, steps: 4, batches: 10 },
};

export async function run(args: string[]): Promise<void> {
  const { values, positionals } = parseArgs({ args, allowPositionals: true, options: { threads: { type: 'string', default: '2' }, rounds: { type: 'string', default: '5' }, compile: { type: 'boolean', default: false } } });
  const names = positionals.length > 0 ? positionals : Object.keys(subjects);
  const [threads, rounds] = [Number(values.threads), Number(values.rounds)];
  for (const name of names) {
    if (subjects[name] === undefined) throw new AlumnusError('USAGE', `there is no model ${name} here; there are ${Object.keys(subjects).join(', ')}`, { where: name });
  }
  loadTensorFlow({ threads });
  const python = await setUpPyTorch();
  for (const name of names) {
    const torch = startPeer(python, threads);
    try {
      await compare(name, subjects[name]!, torch, { rounds, compiled: values.compile });
    } finally {
      torch.child.kill();
    }
  }
}

async function compare(name: string, subject: Subject, torch: Peer, { rounds, compiled }: { rounds: number; compiled: boolean }): Promise<void> {
  const { architecture, batch, steps, batches } = subject;
  const { height, width, channels } = architecture.input;
  const opened = await torch.ask({ do: 'open', model: name, images: [batch, height, width, channels], classes: architecture.classes, compile: compiled });
  const parameters = parameterCount(architecture);
  if (opened['parameters'] !== parameters) throw new Error(`${name} has ${parameters} parameters here and ${opened['parameters']} there: they are not the same model`);
  const ours = openOurs(subject);
  const turns: Record<'train' | 'predict', readonly [count: number, ours: () => number, theirs: () => Promise<number>]> = {
    train: [steps, () => ours.train(steps), async () => (await torch.ask({ do: 'train', count: steps }))['seconds']!],
    predict: [batches, () => ours.predict(batches), async () => (await torch.ask({ do: 'predict', count: batches }))['seconds']!],
  };
  for (const [kind, [count, here, there]] of Object.entries(turns)) {
    here();
    await there();
    const [mine, theirs]: [number[], number[]] = [[], []];
    for (let round = 0; round < rounds; round += 1) {
      // The order turns around each round, so that neither always runs on the warmer machine.
      const seconds = round % 2 === 0 ? [here(), await there()] : await there().then((second) => [here(), second]);
      mine.push((count * batch) / seconds[0]!);
      theirs.push((count * batch) / seconds[1]!);
    }
    const ratios = mine.map((rate, round) => rate / theirs[round]!);
    process.stdout.write(`pytorch: ${name} ${kind}: ours / PyTorch ${range(ratios, 2)}; images/s ours ${range(mine, 0)}, PyTorch ${torchVersion} ${compiled ? 'torch.compile' : 'eager'} channels_last ${range(theirs, 0)}; median and range of ${rounds} alternating rounds, ${loadTensorFlow().threads} threads, batch ${batch}\n`);
  }
  ours.dispose();
}

interface Ours {
  train(steps: number): number;
  predict(batches: number): number;
  dispose(): void;
}

function openOurs({ architecture, batch }: Subject): Ours {
  const engine = loadTensorFlow();
  const { height, width, channels } = architecture.input;
  const settings: TrainingSettings = {
    steps: 1, batchLabeled: batch, batchUnlabeled: 0,
    optimizer: { name: 'adamw', learningRate: 1e-3, weightDecay: 1e-4, momentum: 0.9, decay: 0.9, epsilon: 1e-3 },
    schedule: { name: 'constant', warmupSteps: 0, decayFactor: 0.97, decaySteps: 0 }, emaDecay: 0.995, labelSmoothing: 0, clipNorm: 0, noise: { name: 'none' }, seed: 1,
  };
  const images = Uint8Array.from({ length: batch * height * width * channels }, (_, index) => Math.imul(index, 2654435761) >>> 24);
  const targets = Float32Array.from({ length: batch * architecture.classes }, (_, index) => (index % architecture.classes === Math.floor(index / architecture.classes) % architecture.classes ? 1 : 0));
  const step = trainingStep(engine, architecture, settings);
  const state = initialState(architecture, settings);
  const training = compile(engine, step);
  training.write(state);
  // As a predictor has it: weights are constants. Those here are no zeros and ones, which the graph's optimizer would leave out.
  const predicting = compile(engine, fixed(engine, prediction(engine, architecture, batch), Object.fromEntries(madeUpWeights(architecture).map(({ name, values }) => [name, values]))));
  const timed = (executable: Executable, count: number, inputs: (at: number) => Parameters<Executable['run']>[0]): number => {
    const start = performance.now();
    for (let at = 0; at < count; at += 1) executable.run(inputs(at));
    return (performance.now() - start) / 1000;
  };
  return {
    train: (steps) => timed(training, steps, (at) => ({ images, targets, rate: Float32Array.of(1e-3), seed: stepSeed(1, at) })),
    predict: (batches) => timed(predicting, batches, () => ({ images })),
    dispose() {
      training.dispose();
      predicting.dispose();
    },
  };
}

interface Peer {
  readonly child: ChildProcessWithoutNullStreams;
  ask(request: object): Promise<Record<string, number>>;
}

function startPeer(python: string, threads: number): Peer {
  const child = spawn(python, [peer, String(threads)], { env: { ...process.env, OMP_NUM_THREADS: String(threads) } });
  child.stderr.pipe(process.stderr);
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    child,
    async ask(request) {
      child.stdin.write(`${JSON.stringify(request)}\n`);
      const line = await lines.next();
      if (line.done === true) throw new Error('the PyTorch process ended; what it said stands above');
      return JSON.parse(line.value) as Record<string, number>;
    },
  };
}

/** A Python of its own with PyTorch, in the cache; it appears there by one rename, complete. Some 5 GB, because the registry's build for x86-64 brings CUDA along. */
async function setUpPyTorch(): Promise<string> {
  const cache = process.env['ALUMNUS_CACHE'] ?? join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'alumnus');
  const folder = join(cache, `pytorch-${torchVersion}-1`);
  const python = join(folder, 'bin', 'python');
  if (existsSync(python)) return python;
  process.stderr.write(`  PyTorch ${torchVersion}, the peer (pip, some 3 GB to fetch) …\n`);
  const temporary = `${folder}.new`;
  rmSync(temporary, { recursive: true, force: true });
  mkdirSync(cache, { recursive: true });
  await command(process.env['PYTHON'] ?? 'python3', ['-m', 'venv', temporary]);
  await command(join(temporary, 'bin', 'python'), ['-m', 'pip', 'install', '--quiet', `torch==${torchVersion}`, 'numpy']);
  // A virtual environment's interpreter runs from wherever its folder lies; only its scripts name the old place.
  renameSync(temporary, folder);
  return python;
}

async function command(program: string, args: readonly string[]): Promise<void> {
  const child = spawn(program, args, { stdio: ['ignore', 'inherit', 'inherit'] });
  const [code] = (await once(child, 'close')) as [number | null];
  if (code !== 0) throw new Error(`${program} ${args.join(' ')} ended with ${code ?? 'a signal'}`);
}
