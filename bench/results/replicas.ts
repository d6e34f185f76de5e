/**
 * One training on one worker and shared by several, side by side (DiLoCo, arXiv 2311.08105): Fashion-MNIST with 50,000 labels, one model, the same
 * schedule and seed; N replicas see N times as many images in the same steps. And once more with a worker killed every so often, and started again.
 * The curve is the validation accuracy of the averaged weights where rounds end: of what the merge wrote, and of one worker's checkpoints at the same steps.
 * What it is not: a measure of speed where all workers share one machine's cores; the test split is not looked at.
 */
import { readFile, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { availableParallelism, cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { stringify } from 'yaml';
import { loadManifest } from '../../dataset/index.ts';
import { AlumnusError } from '../../proto/errors.ts';
import { parameterSpecs } from '../../recipe/index.ts';
import { openStore, type ObjectRef, type ObjectStore } from '../../store/index.ts';
import { labeledPieces } from '../../worker/data/index.ts';
import { createPredictor, decodeWeights, type TensorData } from '../../worker/learning/index.ts';
import { shapeOf } from '../../worker/tasks/context.ts';
import { readTrained } from '../../worker/tasks/model.ts';
import { loadTensorFlow } from '../../worker/tensorflow/index.ts';
import { alumnus, describe, percent } from './shared/seeds.ts';

export const description = 'one student on 1, 2 and 4 workers, and with workers killed (--replicas 1,2,4 --disturbed N --kill-every SECONDS --steps N --local-steps N --seed N --threads N)';

const DATASET = 'fashion-mnist-labeled';
/** Nearly all that are left when validation is taken out. */
const LABELED = 50_000;
const VALIDATION = 5_000;
const BATCH_PREDICTED = 500;

interface Arm {
  readonly name: string;
  readonly replicas: number;
  readonly killEveryMs: number;
}

interface Settings {
  readonly home: string;
  readonly seed: number;
  readonly steps: number;
  readonly localSteps: number;
  readonly threads: string | undefined;
}

interface Outcome {
  readonly arm: Arm;
  readonly seconds: number;
  readonly kills: number;
  readonly images: number;
  /** Of the model by the run's own evaluation, in percent. */
  readonly validation: number;
  /** Validation accuracy in percent by steps done. */
  readonly curve: ReadonlyMap<number, number>;
}

const print = (line: string): void => void process.stdout.write(`${line}\n`);
const cell = (value: number | undefined): string => (value === undefined || Number.isNaN(value) ? '' : value.toFixed(2));

const recipeOf = ({ replicas, killEveryMs }: Arm, { steps, localSteps, seed }: Settings): string => stringify({
  name: `replicas-${replicas}${killEveryMs > 0 ? '-disturbed' : ''}`, seed, rounds: 0, control: false,
  data: { dataset: DATASET },
  models: { ladder: [{ model: 'cnn', width: 24 }] },
  training: {
    teacher: { steps, batch_labeled: 128 }, optimizer: { name: 'adamw', learning_rate: 0.002, weight_decay: 0.0001 }, ema_decay: 0.99,
    // One worker leaves its state where the rounds of several end.
    checkpoint_steps: localSteps,
    ...(replicas === 1 ? {} : { replicas, sharing: { local_steps: localSteps } }),
  },
  noise: { input: { name: 'affine', degrees: 5, translate_pixels: 1, scale: 0.05, flip: true } },
});

export async function run(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      replicas: { type: 'string', default: '1,2,4' }, disturbed: { type: 'string', default: '2' }, 'kill-every': { type: 'string', default: '30' },
      steps: { type: 'string', default: '600' }, 'local-steps': { type: 'string', default: '50' }, seed: { type: 'string', default: '1' }, threads: { type: 'string' },
    },
  });
  const whole = (name: 'disturbed' | 'kill-every' | 'steps' | 'local-steps' | 'seed'): number => {
    const value = Number(values[name]);
    if (!Number.isInteger(value) || value < 0) throw new AlumnusError('USAGE', 'is a whole number', { where: `--${name}` });
    return value;
  };
  const arms: Arm[] = values.replicas.split(',').map(Number).map((replicas) => ({ name: replicas === 1 ? '1 replica' : `${replicas} replicas`, replicas, killEveryMs: 0 }));
  const [disturbed, killEverySeconds] = [whole('disturbed'), whole('kill-every')];
  if (disturbed > 0 && killEverySeconds > 0) arms.push({ name: `${disturbed} replicas, a worker killed every ${killEverySeconds} s`, replicas: disturbed, killEveryMs: killEverySeconds * 1000 });
  const home = await mkdtemp(join(tmpdir(), 'alumnus-replicas-'));
  try {
    const settings: Settings = { home, seed: whole('seed'), steps: whole('steps'), localSteps: whole('local-steps'), threads: values.threads };
    // One set for all arms.
    await alumnus(['dataset', 'import', 'fashion-mnist', '--name', DATASET, '--labeled', String(LABELED), '--validation', String(VALIDATION), '--seed', String(settings.seed), '--home', home], true);
    const outcomes: Outcome[] = [];
    const known = new Set<string>();
    for (const arm of arms) {
      const outcome = await runArm(arm, settings, known);
      outcomes.push(outcome);
      print(`${arm.name}: validation ${cell(outcome.validation)} after ${outcome.seconds.toFixed(0)} s${arm.killEveryMs > 0 ? `, ${outcome.kills} kills` : ''}; by steps ${[...outcome.curve].map(([step, accuracy]) => `${step}: ${cell(accuracy)}`).join(', ')}`);
    }
    report(outcomes, settings);
  } finally {
    await rm(home, { recursive: true, force: true });
  }
}

async function runArm(arm: Arm, settings: Settings, known: Set<string>): Promise<Outcome> {
  const { home, threads } = settings;
  const file = join(home, `${arm.replicas}-${arm.killEveryMs}.yaml`);
  await writeFile(file, recipeOf(arm, settings));
  const ended = new AbortController();
  const killing = arm.killEveryMs > 0 ? kill(home, arm.killEveryMs, ended.signal) : Promise.resolve(0);
  await alumnus(['demo', '--recipe', file, '--home', home, '--workers', String(arm.replicas), ...(threads === undefined ? [] : ['--threads', threads])], true).finally(() => ended.abort());
  const kills = await killing;
  const view = await describe(home, known);
  known.add(view.runId);
  const iteration = view.iterations.at(-1);
  const model = iteration?.model.model;
  if (model === undefined) throw new Error(`the run ${view.runId} has no model`);
  const store = await openStore(pathToFileURL(join(home, 'store')).href);
  return {
    arm, kills, curve: await curveOf(store, view.runId, model, settings), validation: percent(iteration?.model.validation),
    seconds: (Date.parse(view.summary.endedAt) - Date.parse(view.summary.submittedAt)) / 1000, images: Number(iteration?.model.images),
  };
}

/** Kills one worker after another with SIGKILL; the demo starts it again. @returns how often */
async function kill(home: string, everyMs: number, ended: AbortSignal): Promise<number> {
  for (let kills = 0; ; kills += 1) {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, everyMs);
      ended.addEventListener('abort', () => {
        clearTimeout(timer);
        resolve();
      }, { once: true });
    });
    if (ended.aborted) return kills;
    // What the demo writes down of its processes.
    const { processes } = JSON.parse(await readFile(join(home, 'demo.json'), 'utf8')) as { processes: { program: string; pid: number }[] };
    const workers = processes.filter(({ program }) => program === 'worker');
    const worker = workers[kills % workers.length];
    if (worker !== undefined) process.kill(worker.pid, 'SIGKILL');
  }
}

/** Of every state that the training left between rounds, and of its model. */
async function curveOf(store: ObjectStore, runId: string, model: ObjectRef, { steps }: Settings): Promise<Map<number, number>> {
  loadTensorFlow({ threads: availableParallelism() });
  const { architecture, weights } = await readTrained(store, model);
  const states = new Map<number, string>();
  for await (const { key } of store.list(`runs/${runId}/`)) {
    if (key.endsWith('.merged') || key.endsWith('.checkpoint')) states.set(Number((await store.metadata(key))['alumnus.step']), key);
  }
  const { manifest } = await loadManifest(store, DATASET);
  const part = manifest.parts.validation;
  if (part === undefined) throw new Error('the set has a validation part');
  const curve = new Map<number, number>();
  const measure = async (step: number, of: readonly TensorData[]): Promise<void> => {
    const predictor = await createPredictor(architecture, [...of], BATCH_PREDICTED);
    try {
      let [right, total] = [0, 0];
      const source = { store, shape: shapeOf(architecture.input), classes: architecture.classes, cacheFolder: '', signal: new AbortController().signal };
      for await (const { images, classes } of labeledPieces(source, { dataset: DATASET, manifestSha256: '', ...part, labels: part.labels })) {
        const logs = await predictor.logProbabilities(images, classes.length);
        classes.forEach((label, row) => {
          const own = logs.subarray(row * architecture.classes, (row + 1) * architecture.classes);
          if (own.indexOf(Math.max(...own)) === label) right += 1;
        });
        total += classes.length;
      }
      curve.set(step, (100 * right) / total);
    } finally {
      predictor.dispose();
    }
  };
  for (const [step, key] of [...states].sort(([a], [b]) => a - b)) {
    if (step === steps) continue;
    const found = await store.getNamed(key);
    const tensors = new Map(decodeWeights(found!.content).map((tensor) => [tensor.name, tensor]));
    await measure(step, parameterSpecs(architecture).map(({ name }) => ({ ...(tensors.get(`ema/${name}`) ?? tensors.get(name))!, name })));
  }
  await measure(steps, decodeWeights(await store.get(weights)));
  return curve;
}

function report(outcomes: readonly Outcome[], { steps, localSteps, seed }: Settings): void {
  const one = outcomes.find(({ arm }) => arm.replicas === 1 && arm.killEveryMs === 0)?.validation;
  const places = [...new Set(outcomes.flatMap(({ curve }) => [...curve.keys()]))].sort((a, b) => a - b);
  print(`\n## Fashion-MNIST, ${LABELED} labels, cnn of width 24, ${steps} steps in rounds of ${localSteps}, seed ${seed}; ${availableParallelism()} cores (${cpus()[0]?.model ?? 'unknown'})\n`);
  print('| training | validation accuracy | difference to one replica | images seen | kills | seconds |\n|---|---|---|---|---|---|');
  for (const { arm, validation, images, kills, seconds } of outcomes) {
    print(`| ${arm.name} | ${cell(validation)} | ${one === undefined || validation === one ? '' : cell(validation - one)} | ${images} | ${arm.killEveryMs > 0 ? kills : ''} | ${seconds.toFixed(0)} |`);
  }
  print(`\n| steps | ${outcomes.map(({ arm }) => arm.name).join(' | ')} |\n|---|${'---|'.repeat(outcomes.length)}`);
  for (const step of places) print(`| ${step} | ${outcomes.map(({ curve }) => cell(curve.get(step))).join(' | ')} |`);
  print(`\nAccuracies in percent of ${VALIDATION} validation images. Seconds from submission to end, on cores that all workers share.`);
}
