/**
 * Does pruning by magnitude pay? Of a finished run of the recipe `compress`: its last student, of each kernel the smallest weights set to zero, then trained on with what is left
 * (Han et al. 2015, arXiv 1506.02626), against the run's narrower students, which were trained at their size from the start. Zeros save nothing in a file that is not packed, so all are
 * ONNX files packed by gzip. What is pruned has had its training on top of a whole one; the narrower ones have not. The test split is not looked at.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism, cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { gzipSync } from 'node:zlib';
import { readHistory } from '../../coordinator/history.ts';
import { AlumnusError } from '../../proto/errors.ts';
import type { PartRef, Task, TrainSpec } from '../../proto/gen/alumnus/v1/task.ts';
import { parameterSpecs, type Comparison } from '../../recipe/index.ts';
import { openStore, type ObjectRef, type ObjectStore } from '../../store/index.ts';
import { openBatches } from '../../worker/data/index.ts';
import { createPredictor, decodeWeights, train, type TensorData, type TrainingState } from '../../worker/learning/index.ts';
import { compileStep } from '../../worker/learning/train.ts';
import { averageName, initialState } from '../../worker/learning/step.ts';
import { dequantizedWeights, portableFiles, type WeightScheme } from '../../worker/portable/index.ts';
import type { TaskContext } from '../../worker/tasks/context.ts';
import { judged } from '../../worker/tasks/judging.ts';
import { readTrained, type TrainedDocument } from '../../worker/tasks/model.ts';
import { planOf, sourceOf, trainingOf } from '../../worker/tasks/training.ts';
import { loadTensorFlow } from '../../worker/tensorflow/index.ts';

export const description = 'pruning by magnitude against narrower students, of a finished run of the recipe compress (--home FOLDER --run RUN --sparsities 0.5,0.75,0.875 --steps N --threads N)';

const BATCH_PREDICTED = 500;
/** Steps after which what was pruned is zero again: between two an optimizer moves it a little. */
const MASK_EVERY = 10;

interface Model {
  readonly stored: Uint8Array;
  readonly document: TrainedDocument;
  readonly weights: TensorData[];
}

const print = (line: string): void => void process.stdout.write(`${line}\n`);

export async function run(args: string[]): Promise<void> {
  const { values } = parseArgs({ args, options: { home: { type: 'string' }, run: { type: 'string' }, sparsities: { type: 'string', default: '0.5,0.75,0.875' }, steps: { type: 'string', default: '1000' }, threads: { type: 'string', default: String(availableParallelism()) } } });
  if (values.home === undefined || values.run === undefined) throw new AlumnusError('USAGE', 'name the home of a demo of the recipe compress that has ended, and its run: --home FOLDER --run RUN');
  loadTensorFlow({ threads: Number(values.threads) });
  const store = await openStore(pathToFileURL(join(values.home, 'store')).href, { create: false });
  const history = await readHistory(store, { run: values.run, model: '', tasks: false });
  const asked = (JSON.parse(history.recipeJson) as { comparisons?: readonly Comparison[] }).comparisons ?? [];
  const student = history.iterations.at(-1)?.student?.model;
  if (student === undefined || history.data?.validation === undefined) throw new AlumnusError('RUN_CONFLICT', 'the run has no last student yet', { where: values.run });
  const { tasks } = await readHistory(store, { run: values.run, model: student.sha256, tasks: true });
  const task = tasks.find((each) => each.task?.spec?.$case === 'train')?.task;
  if (task?.spec?.$case !== 'train') throw new AlumnusError('RUN_CONFLICT', 'the last student was not trained by one worker', { where: values.run });
  const cacheFolder = await mkdtemp(join(tmpdir(), 'alumnus-pruning-'));
  try {
    const context: TaskContext = { task, store, cacheFolder, signal: new AbortController().signal, progress: () => undefined, checkpoint: () => undefined, note: () => undefined, onDevice: (work) => work() };
    print(`${cpus()[0]?.model ?? 'unknown processor'}, ${values.threads} threads, run ${values.run}, ${values.steps} steps after pruning`);
    print('model                    validation, float32   int8    gzipped ONNX, float32       int8');
    const row = (name: string, model: Model): Promise<void> => told(name, model, context, history.data!.validation!);
    await row('student', await loaded(store, student));
    for (const { name, model } of history.comparisons) {
      if (asked.find((each) => each.name === name)?.labels === 'pseudo' && model?.model !== undefined) await row(name, await loaded(store, model.model));
    }
    for (const sparsity of values.sparsities.split(',').map(Number)) await row(`student, ${(100 * sparsity).toFixed(1)} % zero`, await pruned(await loaded(store, student), sparsity, Number(values.steps), context, task, task.spec.value));
  } finally {
    await rm(cacheFolder, { recursive: true, force: true });
  }
}

async function loaded(store: ObjectStore, ref: ObjectRef): Promise<Model> {
  const document = await readTrained(store, ref);
  return { stored: await store.get(ref), document, weights: decodeWeights(await store.get(document.weights)) };
}

async function told(name: string, { stored, document, weights }: Model, context: TaskContext, validation: PartRef): Promise<void> {
  const cells = await Promise.all((['float32', 'int8'] as const).map(async (scheme: WeightScheme) => {
    const predictor = await createPredictor(document.architecture, dequantizedWeights(document.architecture, weights, scheme), BATCH_PREDICTED);
    const { right } = await judged({ context, model: document, batchSize: BATCH_PREDICTED, predictor: () => Promise.resolve(predictor), done: { samples: 0 } }, validation);
    predictor.dispose();
    const [file] = (await portableFiles(stored, weights, { format: 'onnx', scheme })).filter((each) => each.name === 'model.onnx');
    return { accuracy: right.reduce((sum, each) => sum + each, 0) / right.length, bytes: gzipSync(file!.content, { level: 9 }).length };
  }));
  print(`${name.padEnd(24)}${cells.map(({ accuracy }) => `${(100 * accuracy).toFixed(2)} %`.padStart(14)).join('')}${cells.map(({ bytes }) => String(bytes).padStart(14)).join('')}`);
}

/** Of each kernel the smallest share of weights is zero from here on, and the rest learns on, as the student learned, for `steps`. */
async function pruned({ stored, document, weights }: Model, sparsity: number, steps: number, context: TaskContext, task: Task, spec: TrainSpec): Promise<Model> {
  const training = await trainingOf(context, spec, task.seed);
  const { architecture } = training;
  const settings = { ...training.settings, steps };
  const kernels = new Set(parameterSpecs(architecture).filter(({ role }) => role === 'weight').map(({ name }) => name));
  const masks = new Map(weights.filter(({ name }) => kernels.has(name)).map(({ name, values }) => {
    const bound = Float32Array.from(values, Math.abs).sort()[Math.floor(sparsity * values.length)]!;
    return [name, Float32Array.from(values, (value) => (Math.abs(value) < bound ? 0 : 1))] as const;
  }));
  const masked = (name: string, values: Float32Array): Float32Array => values.map((value, at) => value * (masks.get(name)?.[at] ?? 1));
  const zeroed = (variables: Record<string, Float32Array>): Record<string, Float32Array> => {
    for (const name of masks.keys()) for (const of of [name, averageName(name)]) variables[of] = masked(name, variables[of]!);
    return variables;
  };
  const batches = await openBatches(sourceOf(context, training), planOf(training), training.labeled, training.selected);
  const compiled = compileStep(architecture, settings);
  try {
    let state: TrainingState = { step: 0, variables: zeroed(initialState(architecture, settings, Object.fromEntries(weights.map(({ name, values }) => [name, values])))), lossCurve: [], lossSum: 0, lossCount: 0 };
    let last = weights;
    while (state.step < steps) {
      const part = await train(architecture, settings, (step) => batches.at(step, steps), { resume: state, until: Math.min(steps, state.step + MASK_EVERY), compiled, everySteps: steps });
      state = { ...part.state, variables: zeroed(part.state.variables) };
      last = part.weights;
    }
    return { stored, document, weights: last.map(({ name, shape, values }) => ({ name, shape, values: masked(name, values) })) };
  } finally {
    compiled.dispose();
    batches.close();
  }
}
