/** The model document: what a model is and where it comes from, beside its weights. Written by training, read by everything that predicts. */
import { AlumnusError } from '../../proto/errors.ts';
import type { ObjectRef } from '../../proto/gen/alumnus/v1/task.ts';
import type { Architecture } from '../../recipe/index.ts';
import { createPredictor, decodeWeights, encodeWeights, type Predictor, type TensorData } from '../learning/index.ts';
import { canonicalJson, type ObjectStore } from '../../store/index.ts';
import { aboutOf, putJson, type TaskContext } from './context.ts';

export interface ModelDocument {
  readonly schemaVersion: 1;
  readonly architecture: Architecture;
  readonly classNames: readonly string[];
  readonly parameters: number;
  /** Exponential moving averages, float32. */
  readonly weights: ObjectRef;
  readonly lineage: { readonly run: string; readonly iteration: number; readonly task: string; readonly labeled: string; readonly selection: string; readonly training: unknown };
}

export async function writeModel(context: TaskContext, document: Omit<ModelDocument, 'schemaVersion' | 'weights'>, weights: readonly TensorData[]): Promise<ObjectRef> {
  const ref = await context.store.putAddressed(context.task.outputPrefix, encodeWeights([...weights]), { extension: '.weights', metadata: aboutOf(context) });
  return putJson(context, canonicalJson({ schemaVersion: 1, ...document, weights: ref }));
}

export async function readModel(store: ObjectStore, ref: ObjectRef): Promise<ModelDocument> {
  const document = JSON.parse(Buffer.from(await store.get(ref)).toString('utf8')) as ModelDocument;
  if ((document.schemaVersion as number) !== 1) throw new AlumnusError('SHARD_CORRUPT', `the model is of schema ${String(document.schemaVersion)}, this release reads 1`, { where: ref.key });
  return document;
}

let loaded: { readonly name: string; readonly predictor: Predictor } | undefined;

/** The model's predictor: the last one is kept, since a worker labels many shards with one teacher. Only on the device. */
export async function predictorOf(store: ObjectStore, ref: ObjectRef, batchSize: number): Promise<Predictor> {
  const name = `${ref.sha256}/${batchSize}`;
  if (loaded?.name === name) return loaded.predictor;
  const document = await readModel(store, ref);
  const weights = decodeWeights(await store.get(document.weights));
  loaded?.predictor.dispose();
  loaded = undefined;
  const predictor = await createPredictor(document.architecture, weights, batchSize);
  loaded = { name, predictor };
  return predictor;
}
