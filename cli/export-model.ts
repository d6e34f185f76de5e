/**
 * A model of a run taken out of the object store: its document and its weights byte for byte as they are stored, each
 * checked by its digest, and a description for whoever builds it with other tools.
 * Not for: converting. The weights are safetensors (github.com/huggingface/safetensors), which most tools read; other formats are written by
 * a program of the worker's (converted-model.ts).
 */
import { join, resolve } from 'node:path';
import { AlumnusError } from '../proto/errors.ts';
import type { IterationView, ModelView, RunView } from '../proto/gen/alumnus/v1/operator.ts';
import type { ObjectRef } from '../proto/gen/alumnus/v1/task.ts';
import { COMPARED_FORMAT, normalizationEpsilon, parameterSpecs, weightSchemes, type Architecture, type WeightScheme } from '../recipe/index.ts';
import { openStore, type ObjectStore } from '../store/index.ts';
import { shardSamples } from '../dataset/index.ts';
import { convertedModel, type ConvertedFormat, type SampleImage } from './converted-model.ts';
import { writeWhole } from './write-file.ts';

export type ExportFormat = 'safetensors' | ConvertedFormat;

/** Far above any model document; bounds what a wrong reference can cost. */
const DOCUMENT_BYTES_MAX = 64 * 1024 * 1024;

export interface Exported {
  readonly runId: string;
  readonly iteration: number;
  /** What tables call it, where it was asked for by name: of `chosen` the model that is. */
  readonly called?: string;
  readonly folder: string;
  /** In the order in which they are best read. */
  readonly files: readonly string[];
}

interface Chosen {
  /** Of a model beside the iterations: that whose labels it learned from, the last. */
  readonly iteration: number;
  readonly called?: string;
  readonly ref: ObjectRef;
  readonly model: ModelView | undefined;
}

const isTrained = (ref: ObjectRef | undefined): ref is ObjectRef => ref !== undefined && ref.sha256 !== '';

/**
 * A model by the name that tables have for it: `control`, a comparison's, or `chosen`, what the recipe's `compress` chose. `weights`: what it was chosen in.
 * @throws AlumnusError RUN_CONFLICT where it is not trained or nothing is chosen; MODEL_NOT_FOUND
 */
export function modelCalled(view: RunView, name: string): Chosen & { readonly weights?: WeightScheme } {
  const where = view.summary?.runId ?? '';
  const { compression } = view;
  const choice = name === 'chosen' ? compression?.chosen : undefined;
  if (name === 'chosen' && choice === undefined) {
    throw new AlumnusError('RUN_CONFLICT', compression === undefined ? 'its recipe has no compress, which would choose a model' : view.summary?.state === 'succeeded' ? 'no model kept as much as compress.accuracy_kept asks for: none was chosen' : `what is chosen is known when everything is measured, and the run is ${view.summary?.state ?? 'not there'}`, { where });
  }
  const weights = weightSchemes.find((each) => each === choice?.weights);
  const called = choice?.name ?? name;
  const measured = compression?.models.find((each) => each.name === called);
  if (isTrained(measured?.model)) {
    const { sha256 } = measured.model;
    const models = [...view.iterations.flatMap((each) => [each.model, each.fineTuned]), view.control, view.controlFineTuned, ...view.comparisons.flatMap((each) => [each.model, each.fineTuned])];
    const iteration = view.iterations.find((each) => [each.model, each.fineTuned].some((model) => model?.model?.sha256 === sha256))?.iteration ?? view.summary?.rounds ?? 0;
    return { iteration, called, ref: measured.model, model: models.find((model) => model?.model?.sha256 === sha256), ...(weights === undefined ? {} : { weights }) };
  }
  const beside = name === 'control' ? { model: view.control, fineTuned: view.controlFineTuned } : view.comparisons.find((each) => each.name === name);
  const model = view.fineTunedTeaches ? beside?.fineTuned : beside?.model;
  if (isTrained(model?.model)) return { iteration: view.summary?.rounds ?? 0, called, ref: model.model, model };
  const names = [...(compression === undefined ? [] : ['chosen', 'teacher', 'student']), ...(view.control === undefined ? [] : ['control']), ...view.comparisons.map((each) => each.name)];
  if (beside?.model !== undefined) throw new AlumnusError('RUN_CONFLICT', `${name} is not trained yet`, { where });
  throw new AlumnusError('MODEL_NOT_FOUND', `the run has no model called ${name}; ${names.length === 0 ? 'it trains none beside its iterations: take one with --iteration' : `there are ${names.join(', ')}`}`, { where });
}

/**
 * The best model of a run that has ended, or that of `iteration`: its promoted try where there are several, else its last.
 * @param fineTuned that model after fine-tuning, or before it; undefined: the one of the two that was gated
 */
export function chooseModel(view: RunView, iteration: number | undefined, fineTuned: boolean = view.fineTunedTeaches): Chosen {
  const chosen = gatedModel(view, iteration);
  if (fineTuned === view.fineTunedTeaches) return chosen;
  const other = view.iterations.find((each) => [each.model, each.fineTuned].some((model) => model?.model?.sha256 === chosen.ref.sha256));
  const model = fineTuned ? other?.fineTuned : other?.model;
  if (!isTrained(model?.model)) {
    throw new AlumnusError('RUN_CONFLICT', `iteration ${chosen.iteration} has no fine-tuned model: ${other?.fineTuned === undefined ? 'its recipe has no training.fine_tune' : 'it is not trained yet'}`, { where: view.summary?.runId ?? '' });
  }
  return { iteration: chosen.iteration, ref: model.model, model };
}

function gatedModel(view: RunView, iteration: number | undefined): Chosen {
  const gated = (each: IterationView): ModelView | undefined => (view.fineTunedTeaches ? each.fineTuned : each.model);
  const runId = view.summary?.runId ?? '';
  if (iteration === undefined) {
    if (!isTrained(view.bestModel)) {
      const promoted = view.iterations.findLast((each) => each.decision === 'promoted' && isTrained(gated(each)?.model));
      throw new AlumnusError('RUN_CONFLICT', promoted === undefined
        ? 'it has no best model: none was promoted yet'
        : `the best model is known when the run has ended; the newest promoted so far is that of iteration ${promoted.iteration}: take it with --iteration ${promoted.iteration}`, { where: runId });
    }
    const { bestModel, bestIteration } = view;
    return { iteration: bestIteration, ref: bestModel, model: view.iterations.map(gated).find((model) => model?.model?.sha256 === bestModel.sha256) };
  }
  const trained = view.iterations.filter((each) => isTrained(gated(each)?.model));
  const tries = trained.filter((each) => each.iteration === iteration);
  const last = tries.find((each) => each.decision === 'promoted') ?? tries.at(-1);
  const model = last === undefined ? undefined : gated(last);
  if (model?.model === undefined) {
    const there = [...new Set(trained.map((each) => each.iteration))].join(', ');
    throw new AlumnusError('RUN_CONFLICT', `iteration ${iteration} has no trained model; ${there === '' ? 'none has yet' : `there are those of ${there}`}`, { where: runId });
  }
  return { iteration, ref: model.model, model };
}

/** What weights and architecture leave open to whoever computes the model with other tools: the layers of recipe/models/layers.ts, as workers compute them. */
const conventions = {
  kernels: {
    convolution: '[height, width, in, out]',
    depthwiseConvolution: '[height, width, channels, 1]; its layers\' names end with depthwise',
    dense: '[in, out]',
  },
  padding: 'SAME, of zeros: sides / stride, rounded up; the pixel that two sides cannot share comes after',
  maxPool: '2x2 drops an odd edge (VALID), 3x3 pads (SAME, with nothing that could be a maximum); both with stride 2',
  batchNormalization: { epsilon: normalizationEpsilon.batch, formula: 'scale (x - mean) / sqrt(variance + epsilon) + offset' },
  layerNormalization: { epsilon: normalizationEpsilon.layer, formula: 'the same over the last axis, by its own mean and variance' },
  gelu: 'x Phi(x) with the normal distribution itself, not its tanh approximation',
} as const;

interface StoredDocument {
  readonly schemaVersion: number;
  /** `foreign`: of a model that was imported, which has neither an architecture nor weights of ours. */
  readonly kind?: string;
  readonly lineage?: { readonly url?: string };
  readonly architecture: Architecture;
  readonly classNames: readonly string[];
  readonly parameters: number;
  readonly weights: ObjectRef;
}

function parseDocument(bytes: Uint8Array, where: string): StoredDocument {
  let value: Partial<StoredDocument> | null;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes)) as Partial<StoredDocument> | null;
  } catch (thrown) {
    throw new AlumnusError('SHARD_CORRUPT', 'the model document is not JSON', { where, cause: thrown });
  }
  if (value?.kind === 'foreign') throw new AlumnusError('RUN_CONFLICT', `the model came from elsewhere and is not exported again: take it from ${value.lineage?.url ?? 'where it came from'}`, { where });
  if (value?.schemaVersion !== 1 || typeof value.weights?.key !== 'string' || typeof value.weights.sha256 !== 'string' || value.architecture === undefined || value.classNames === undefined) {
    throw new AlumnusError('SHARD_CORRUPT', 'is no model document that this release reads', { where });
  }
  return value as StoredDocument;
}

/** @throws AlumnusError MODEL_NOT_FOUND */
function modelOfDigest(view: RunView, sha256: string): Chosen {
  const all: { readonly iteration: number; readonly model: ModelView | undefined; readonly called?: string }[] = [
    ...view.iterations.flatMap(({ iteration, model, fineTuned }) => [{ iteration, model }, { iteration, model: fineTuned }]),
    ...[{ name: 'control', model: view.control, fineTuned: view.controlFineTuned }, ...view.comparisons].flatMap(({ name, model, fineTuned }) => [model, fineTuned].map((each) => ({ iteration: view.summary?.rounds ?? 0, model: each, called: name }))),
  ];
  const found = all.find(({ model }) => model?.model?.sha256 === sha256);
  if (found?.model?.model === undefined) throw new AlumnusError('MODEL_NOT_FOUND', 'the run tells of no such model', { where: sha256 });
  return { ...found, ref: found.model.model };
}

interface WhichModel {
  /** Its document's, instead of the others. */
  readonly sha256?: string;
  /** As of `modelCalled`, instead of the others. */
  readonly called?: string;
  readonly iteration?: number;
  readonly fineTuned?: boolean;
  readonly storeUrl: string;
}

/** The model that is asked for, its document and its weights as they are stored. @throws AlumnusError RUN_CONFLICT, STORE_NOT_FOUND, OBJECT_NOT_FOUND, DIGEST_MISMATCH, SHARD_CORRUPT */
export async function takeModel(view: RunView, options: WhichModel): Promise<Chosen & { store: ObjectStore; stored: Uint8Array; document: StoredDocument; weights: Uint8Array }> {
  const chosen = options.sha256 !== undefined ? modelOfDigest(view, options.sha256) : options.called === undefined ? chooseModel(view, options.iteration, options.fineTuned) : modelCalled(view, options.called);
  const { ref } = chosen;
  if (ref.bytes > DOCUMENT_BYTES_MAX) throw new AlumnusError('SHARD_CORRUPT', `the model document is larger than ${DOCUMENT_BYTES_MAX} bytes`, { where: ref.key });
  const store = await openStore(options.storeUrl, { create: false });
  const stored = await store.get(ref);
  const document = parseDocument(stored, ref.key);
  return { ...chosen, store, stored, document, weights: await store.get(document.weights) };
}

interface ExportOptions extends WhichModel {
  readonly to: string;
  readonly format?: ExportFormat;
  /** What kernels are stored in; of savedmodel, onnx and tfjs-graph. */
  readonly weights?: WeightScheme;
  /** A page that runs it, with so many images of the run's to try; of tfjs-graph. */
  readonly page?: { readonly samples: number };
}

/** Of the test images, which nothing was trained on; without them of those for validation. Fewer where the first shard has fewer. */
async function samplesOf(store: ObjectStore, { data }: RunView, count: number): Promise<SampleImage[]> {
  const shard = [data?.test, data?.validation].flatMap((part) => part?.shards ?? [])[0];
  const samples: SampleImage[] = [];
  if (count === 0 || shard?.ref === undefined) return samples;
  for await (const { extension, bytes } of shardSamples(store, { ref: shard.ref, location: shard.location })) {
    samples.push({ extension, bytes });
    if (samples.length === count) break;
  }
  return samples;
}

/** @throws AlumnusError USAGE, RUN_CONFLICT, STORE_NOT_FOUND, OBJECT_NOT_FOUND, DIGEST_MISMATCH, SHARD_CORRUPT, STORE_FULL, STORE_UNWRITABLE; with another format than safetensors as `convertedModel` */
export async function exportModel(view: RunView, options: ExportOptions): Promise<Exported> {
  const chosenIn = options.called === undefined ? undefined : modelCalled(view, options.called).weights;
  // What was chosen in fewer bytes is handed out in a file that holds it so.
  const { format = chosenIn === undefined ? 'safetensors' : COMPARED_FORMAT, page } = options;
  const holdsSchemes = format !== 'safetensors' && format !== 'tfjs';
  const scheme = options.weights ?? (holdsSchemes ? chosenIn : undefined) ?? 'float32';
  if (scheme !== 'float32' && !holdsSchemes) throw new AlumnusError('USAGE', `--weights ${scheme} goes with the formats savedmodel, onnx and tfjs-graph`);
  if (page !== undefined && format !== 'tfjs-graph') throw new AlumnusError('USAGE', 'a page runs the model with TF.js: --page goes with --format tfjs-graph');
  const { store, iteration, called, ref, model, stored, document, weights } = await takeModel(view, options);
  const name = called === undefined ? {} : { called };
  const runId = view.summary?.runId ?? '';
  const folder = resolve(options.to);
  if (format !== 'safetensors') {
    const samples = page === undefined ? undefined : await samplesOf(store, view, page.samples);
    const written = await convertedModel(stored, weights, { format, weights: scheme, samples });
    // TF.js' own program writes no document.
    if (!written.some((each) => each.name === 'document.json')) written.unshift({ name: 'document.json', content: stored });
    for (const each of written) await writeWhole(join(folder, each.name), each.content);
    return { runId, iteration, ...name, folder, files: written.toReversed().map((each) => join(folder, each.name)) };
  }
  const { architecture, classNames, parameters } = document;
  const description = {
    apiVersion: 'alumnus/v1', kind: 'ExportedModel', run: runId, iteration, ...name, label: model?.label ?? architecture.model.name,
    document: { file: 'document.json', sha256: ref.sha256, bytes: ref.bytes },
    weights: {
      file: 'weights.safetensors', format: 'safetensors', sha256: document.weights.sha256, bytes: document.weights.bytes,
      tensors: parameterSpecs(architecture).map(({ name, shape, role }) => ({ name, shape, role })),
    },
    model: architecture.model, parameters, conventions,
    input: { ...architecture.input, layout: '[batch, height, width, channels]', values: 'float32, pixels divided by 255' },
    output: { layout: '[batch, classes]', values: 'logits; softmax gives probabilities', classNames },
    validation: model?.validation === undefined ? undefined : { correct: model.validation.correct, total: model.validation.total },
    test: model?.test === undefined ? undefined : { correct: model.test.correct, total: model.test.total },
  };
  const files = ['model.json', description.document.file, description.weights.file].map((file) => join(folder, file));
  const [described = '', as = '', of = ''] = files;
  // The description last: a folder that has it has everything that it names.
  await writeWhole(of, weights);
  await writeWhole(as, stored);
  await writeWhole(described, `${JSON.stringify(description, null, 2)}\n`);
  return { runId, iteration, ...name, folder, files };
}
