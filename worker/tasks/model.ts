/** The model document: what a model is and where it comes from, beside its weights. Written by training, read by everything that predicts. */
import { AlumnusError } from '../../proto/errors.ts';
import type { ObjectRef } from '../../proto/gen/alumnus/v1/task.ts';
import type { Architecture } from '../../recipe/index.ts';
import { createNoisedPredictor, createPredictor, decodeWeights, encodeWeights, knownModel, type ImageNoise, type MergedRound, type NoisedPredictor, type Predictor, type TensorData } from '../learning/index.ts';
import { canonicalJson, type ObjectStore } from '../../store/index.ts';
import { aboutOf, putJson, type TaskContext } from './context.ts';

export interface ModelDocument {
  readonly schemaVersion: 1;
  readonly architecture: Architecture;
  readonly classNames: readonly string[];
  readonly parameters: number;
  /** Its input has another size than the dataset's images, which are brought to it. Absent: they are of it. */
  readonly resizes?: true | undefined;
  /** Exponential moving averages, float32. */
  readonly weights: ObjectRef;
  readonly lineage: {
    readonly run: string; readonly iteration: number; readonly task: string; readonly labeled: string; readonly selection: string; readonly training: unknown;
    /** Digest of the model that fine-tuning began with. */
    readonly begin?: string | undefined;
    /** Of a training that replicas shared. */
    readonly rounds?: readonly MergedRound[];
  };
}

/** @param teacher the digest of the model whose labels it learned from, empty where it had none */
export async function writeModel(context: TaskContext, document: Omit<ModelDocument, 'schemaVersion' | 'weights'>, weights: readonly TensorData[], teacher: string): Promise<ObjectRef> {
  const ref = await context.store.putAddressed(context.task.outputPrefix, encodeWeights([...weights]), { extension: '.weights', metadata: aboutOf(context, teacher) });
  return putJson(context, canonicalJson({ schemaVersion: 1, ...document, weights: ref }), teacher);
}

/** @throws AlumnusError SHARD_CORRUPT, CODE_OUTDATED, and the store's */
export async function readModel(store: ObjectStore, ref: ObjectRef): Promise<ModelDocument> {
  const document = JSON.parse(Buffer.from(await store.get(ref)).toString('utf8')) as ModelDocument;
  if ((document.schemaVersion as number) !== 1) throw new AlumnusError('SHARD_CORRUPT', `the model is of schema ${String(document.schemaVersion)}, this release reads 1`, { where: ref.key });
  knownModel(document.architecture);
  return document;
}

let loaded: { readonly name: string; readonly predictor: Predictor | NoisedPredictor } | undefined;

/** The model's predictor: the last one is kept, since a worker labels many shards with one teacher. Only on the device. */
export const predictorOf = (store: ObjectStore, ref: ObjectRef, batchSize: number): Promise<Predictor> =>
  kept(store, ref, `clean/${batchSize}`, (document, weights) => createPredictor(document.architecture, weights, batchSize));

/** The same, noised: for a task that asks for it. */
export const noisedPredictorOf = (store: ObjectStore, ref: ObjectRef, batchSize: number, noise: ImageNoise): Promise<NoisedPredictor> =>
  kept(store, ref, `noised/${batchSize}/${canonicalJson(noise)}`, (document, weights) => createNoisedPredictor(document.architecture, weights, batchSize, noise));

/** `kind` names all that `create` depends on beside the model, so that one name is always one type. */
async function kept<Kind extends Predictor | NoisedPredictor>(store: ObjectStore, ref: ObjectRef, kind: string, create: (document: ModelDocument, weights: TensorData[]) => Promise<Kind>): Promise<Kind> {
  const name = `${ref.sha256}/${kind}`;
  if (loaded?.name === name) return loaded.predictor as Kind;
  const document = await readModel(store, ref);
  const weights = decodeWeights(await store.get(document.weights));
  loaded?.predictor.dispose();
  loaded = undefined;
  const predictor = await create(document, weights);
  loaded = { name, predictor };
  return predictor;
}
