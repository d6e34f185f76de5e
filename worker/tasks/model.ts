/**
 * The model document: what a model is and where it comes from, beside its weights. Written by training, or by the import of a
 * model from elsewhere; read by everything that predicts, which need not know which of the two it is.
 */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { AlumnusError } from '../../proto/errors.ts';
import type { ObjectRef } from '../../proto/gen/alumnus/v1/task.ts';
import { findModel, type Architecture, type ImageShape } from '../../recipe/index.ts';
import { createForeignPredictor, openModel, type ForeignInput, type ForeignModel, type ForeignOutput, type ModelFormat } from '../foreign/index.ts';
import { createNoisedPredictor, createPredictor, decodeWeights, encodeWeights, knownModel, type ImageNoise, type MergedRound, type NoisedPredictor, type PredictingHead, type Predictor, type TensorData } from '../learning/index.ts';
import { canonicalJson, type ObjectStore } from '../../store/index.ts';
import { aboutOf, putJson, type TaskContext } from './context.ts';

export interface TrainedDocument {
  readonly schemaVersion: 1;
  readonly kind?: undefined;
  readonly architecture: Architecture;
  readonly classNames: readonly string[];
  readonly parameters: number;
  /** Its input has another size than the dataset's images, which are brought to it. Absent: they are of it. */
  readonly resizes?: true | undefined;
  /** Exponential moving averages, float32. */
  readonly weights: ObjectRef;
  readonly lineage: {
    readonly run: string; readonly iteration: number; readonly task: string; readonly labeled: string; readonly selection: string; readonly training: unknown;
    /** Digest of the table of the labeled images that a person gave a label to in a review. */
    readonly reviewed?: string | undefined;
    /** Digest of the model that fine-tuning began with. */
    readonly begin?: string | undefined;
    /** Of a training that replicas shared. */
    readonly rounds?: readonly MergedRound[];
  };
}

export interface ForeignFile {
  /** Below the model's folder. */
  readonly path: string;
  readonly ref: ObjectRef;
}

/** A model from elsewhere, in its own format: its files, and how images of the data go in and what comes out. */
export interface ForeignDocument {
  readonly schemaVersion: 2;
  readonly kind: 'foreign';
  readonly format: ModelFormat;
  readonly files: readonly ForeignFile[];
  /** Images of the data. */
  readonly image: ImageShape;
  readonly classNames: readonly string[];
  readonly input: ForeignInput;
  readonly output: ForeignOutput;
  /** Absent where nothing tells. */
  readonly parameters?: number;
  readonly lineage: { readonly run: string; readonly iteration: number; readonly task: string; readonly url: string };
}

export type ModelDocument = TrainedDocument | ForeignDocument;

/** What a model takes and how many classes it tells, as whoever feeds it needs to know. */
export const signatureOf = (model: ModelDocument): { input: ImageShape; classes: number } =>
  (model.kind === 'foreign' ? { input: model.image, classes: model.classNames.length } : model.architecture);

/** Whether images of the data are brought to another size for it. What comes from elsewhere does that by itself. */
export const resizeOf = (model: ModelDocument): true | undefined => (model.kind === 'foreign' ? undefined : model.resizes);

/** The heads that can predict by themselves: none where there is but one. */
export const headsOf = (model: ModelDocument): readonly ('class' | 'distillation')[] => (model.kind !== 'foreign' && findModel(model.architecture.model.name)?.distillationToken === true ? ['class', 'distillation'] : []);

/** All that a model's labels depend on, whichever run made it. */
export const identityOf = (model: ModelDocument): unknown => (model.kind === 'foreign'
  ? { format: model.format, files: model.files.map(({ path, ref }) => ({ path, sha256: ref.sha256 })), image: model.image, input: model.input, output: model.output }
  : { architecture: model.architecture, weights: model.weights.sha256 });

/** @param teacher the digest of the model whose labels it learned from, empty where it had none */
export async function writeModel(context: TaskContext, document: Omit<TrainedDocument, 'schemaVersion' | 'kind' | 'weights'>, weights: readonly TensorData[], teacher: string): Promise<ObjectRef> {
  const ref = await context.store.putAddressed(context.task.outputPrefix, encodeWeights([...weights]), { extension: '.weights', metadata: aboutOf(context, teacher) });
  return putJson(context, canonicalJson({ schemaVersion: 1, ...document, weights: ref }), teacher);
}

export const writeForeign = (context: TaskContext, document: Omit<ForeignDocument, 'schemaVersion' | 'kind'>): Promise<ObjectRef> =>
  putJson(context, canonicalJson({ schemaVersion: 2, kind: 'foreign', ...document }));

/** @throws AlumnusError SHARD_CORRUPT, CODE_OUTDATED, and the store's */
export async function readModel(store: ObjectStore, ref: ObjectRef): Promise<ModelDocument> {
  const document = JSON.parse(Buffer.from(await store.get(ref)).toString('utf8')) as ModelDocument;
  if (document.schemaVersion !== (document.kind === 'foreign' ? 2 : 1)) throw new AlumnusError('SHARD_CORRUPT', `the model is of schema ${String(document.schemaVersion)}, this release reads 1 and, of models from elsewhere, 2`, { where: ref.key });
  if (document.kind !== 'foreign') knownModel(document.architecture);
  return document;
}

/** A model that was trained here. @throws AlumnusError USAGE where it came from elsewhere; as `readModel` */
export async function readTrained(store: ObjectStore, ref: ObjectRef): Promise<TrainedDocument> {
  const document = await readModel(store, ref);
  if (document.kind === 'foreign') throw new AlumnusError('USAGE', 'a model from elsewhere can\'t be trained on', { where: ref.key });
  return document;
}

let loaded: { readonly name: string; readonly predictor: Predictor | NoisedPredictor } | undefined;

/** The model's predictor: the last one is kept, since a worker labels many shards with one teacher. Only on the device. */
export const predictorOf = (store: ObjectStore, ref: ObjectRef, batchSize: number, head: PredictingHead = 'both'): Promise<Predictor> =>
  kept(store, ref, `clean/${batchSize}/${head}`, async (document) => {
    if (document.kind !== 'foreign') return createPredictor(document.architecture, await weightsOf(store, document), batchSize, head);
    const { format, files, input, output, image } = document;
    return createForeignPredictor(await openForeign(store, format, files), input, output, image, batchSize);
  });

/** The same, noised: for a task that asks for it. */
export const noisedPredictorOf = (store: ObjectStore, ref: ObjectRef, batchSize: number, noise: ImageNoise): Promise<NoisedPredictor> =>
  kept(store, ref, `noised/${batchSize}/${canonicalJson(noise)}`, async (document) => {
    // A recipe that asks for it is refused before.
    if (document.kind === 'foreign') throw new AlumnusError('USAGE', 'a model from elsewhere has no noise of its own to label with', { where: 'labels.noised_teacher' });
    return createNoisedPredictor(document.architecture, await weightsOf(store, document), batchSize, noise);
  });

/** Averages, float32. */
export const weightsOf = async (store: ObjectStore, { weights }: TrainedDocument): Promise<TensorData[]> => decodeWeights(await store.get(weights));

/**
 * A model from elsewhere, opened from the store's copy of its files. They lie in a folder of their own while it is opened (TMPDIR
 * says where) and are gone when this returns: nothing but the store is relied on. Only on the device.
 * @throws AlumnusError as `openModel`, and the store's
 */
export async function openForeign(store: ObjectStore, format: ModelFormat, files: readonly ForeignFile[]): Promise<ForeignModel> {
  const folder = await mkdtemp(join(tmpdir(), 'alumnus-model-'));
  try {
    for (const { path, ref } of files) {
      const file = join(folder, path);
      await mkdir(dirname(file), { recursive: true });
      // In pieces, and by its digest: a stream that ended well had it.
      await writeFile(file, store.stream(ref));
    }
    return await openModel(format, folder, files.map(({ path }) => path));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** `kind` names all that `create` depends on beside the model, so that one name is always one type. */
async function kept<Kind extends Predictor | NoisedPredictor>(store: ObjectStore, ref: ObjectRef, kind: string, create: (document: ModelDocument) => Promise<Kind>): Promise<Kind> {
  const name = `${ref.sha256}/${kind}`;
  if (loaded?.name === name) return loaded.predictor as Kind;
  const document = await readModel(store, ref);
  loaded?.predictor.dispose();
  loaded = undefined;
  const predictor = await create(document);
  loaded = { name, predictor };
  return predictor;
}
