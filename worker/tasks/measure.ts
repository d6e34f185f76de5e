/**
 * measure: what a model costs where it runs, and what is left of its accuracy with its kernels stored in fewer bytes. Accuracy is of the very numbers that a quantized kernel stands for
 * (worker/portable), by the predictor that evaluates. Latency and memory are of a process of its own (worker/measure.ts), without a GPU: what is compressed is for devices that have none. They are
 * the same however kernels are stored, since they are computed with as float32.
 * Not for: choosing (coordinator/run/compress.ts).
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { askProgram } from '../../proto/ask.ts';
import { AlumnusError, invariant } from '../../proto/errors.ts';
import type { Errors, MeasureResult, MeasureSpec, WeightsMeasured } from '../../proto/gen/alumnus/v1/task.ts';
import type { Measured } from '../../proto/told.ts';
import { weightSchemes, type WeightScheme } from '../../recipe/index.ts';
import { createPredictor, type Predictor } from '../learning/index.ts';
import { measured } from '../cost.ts';
import { dequantizedWeights } from '../portable/index.ts';
import { required, type TaskContext } from './context.ts';
import { corruptionScores, errorsOf, judged, type Judge } from './judging.ts';
import { readTrained, weightsOf, type TrainedDocument } from './model.ts';

export async function measure(context: TaskContext, spec: MeasureSpec): Promise<MeasureResult> {
  const { store } = context;
  const ref = required(spec.model, 'model');
  const model = await readTrained(store, ref);
  const done = { samples: 0 };
  const accuracies = new Map<WeightScheme, Omit<WeightsMeasured, 'bytes'>>();
  for (const weights of spec.weights) {
    const scheme = weightSchemes.find((each) => each === weights);
    if (scheme === undefined) throw new AlumnusError('USAGE', `kernels can't be stored in ${weights}: the worker is of an earlier release than its coordinator`, { where: context.task.taskId });
    accuracies.set(scheme, await accuracyOf(context, spec, model, scheme, done));
  }
  const [document, weights] = [await store.get(ref), await store.get(model.weights)];
  const { parameters, multiplyAdds, bytes, latencyMs, memoryBytes, device, threads } = await context.onDevice(() => cost(document, weights, spec, context.signal));
  return {
    parameters, multiplyAdds, device, threads, predictions: latencyMs.predictions, latencyP50Ms: latencyMs.p50, latencyP95Ms: latencyMs.p95, memoryPeak: memoryBytes.peak, memoryWithoutModel: memoryBytes.withoutModel,
    weights: [...accuracies].map(([scheme, accuracy]) => ({ ...accuracy, bytes: Object.fromEntries(Object.entries(bytes).map(([format, of]) => [format, of[scheme] ?? 0])) })),
  };
}

async function accuracyOf(context: TaskContext, spec: MeasureSpec, model: TrainedDocument, scheme: WeightScheme, done: Judge['done']): Promise<Omit<WeightsMeasured, 'bytes'>> {
  let predictor: Predictor | undefined;
  const judge: Judge = {
    context, model, batchSize: spec.batchSize, done,
    predictor: async () => predictor ??= await createPredictor(model.architecture, dequantizedWeights(model.architecture, await weightsOf(context.store, model), scheme), spec.batchSize),
  };
  try {
    const validation = errorsOf(await judged(judge, required(spec.validation, 'validation')));
    const test = spec.test === undefined ? undefined : errorsOf(await judged(judge, spec.test));
    const scores = spec.corrupted === undefined ? [] : await corruptionScores(judge, spec.corrupted.parts);
    return { weights: scheme, validation, test, corruptedValidation: together(scores.map((score) => score.validation)), corruptedTest: together(scores.map((score) => score.test)) };
  } finally {
    predictor?.dispose();
  }
}

/** Undefined where one of them is not measured, or there is none. */
function together(each: readonly (Errors | undefined)[]): Errors | undefined {
  if (each.length === 0) return undefined;
  return each.reduce<Errors | undefined>((sum, errors) => sum && errors && { wrong: sum.wrong + errors.wrong, total: sum.total + errors.total }, { wrong: 0, total: 0 });
}

async function cost(document: Uint8Array, weights: Uint8Array, { threads, predictions: times }: MeasureSpec, signal: AbortSignal): Promise<Measured> {
  // From source, as the tests run, there is no program: then its memory is this process's.
  if (import.meta.url.endsWith('.ts')) return measured(document, weights, { threads, times, told: () => undefined });
  const folder = await mkdtemp(join(tmpdir(), 'alumnus-measure-'));
  try {
    const [from, of] = [join(folder, 'document.json'), join(folder, 'weights.safetensors')];
    await writeFile(from, document);
    await writeFile(of, weights);
    let told: Measured | undefined;
    await askProgram({
      path: fileURLToPath(new URL('../measure.js', import.meta.url)), title: 'worker/measure', arguments: [from, of, '--threads', String(threads), '--times', String(times)], request: {}, signal,
      env: { ...process.env, CUDA_VISIBLE_DEVICES: '' },
      onLine: (line) => {
        if ('measured' in line) told = line['measured'] as Measured;
      },
    });
    invariant(told !== undefined, 'the program told what it measured before it ended well');
    return told;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
