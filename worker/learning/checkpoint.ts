/**
 * A training's state between two steps, and between two rounds of its replicas, as bytes and back: every tensor in the safetensors
 * format (weights.ts), the numbers of its loop in the header. What is read gives the same steps as if it had never been written.
 * Not for: when states are written (train.ts), where they lie (../tasks).
 */
import type { Architecture } from '../../recipe/index.ts';
import type { TensorSpec } from '../tensorflow/index.ts';
import { mergedVariables } from './outer.ts';
import { stepVariables } from './step.ts';
import type { LossPoint, Merged, TrainingSettings, TrainingState } from './types.ts';
import { damaged, decodeWeights, encodeWeights, readMetadata } from './weights.ts';

/** Of the header's entry; a release that means something else by it counts on. */
const SCHEMA_VERSION = 1;
/** The name in safetensors' own metadata, whose values are texts. */
const ENTRY = 'alumnus';

type Variables = Readonly<Record<string, Float32Array>>;
type Specs = Readonly<Record<string, TensorSpec>>;

/** The same state and `task` give the same bytes. */
export function encodeCheckpoint(architecture: Architecture, settings: Pick<TrainingSettings, 'optimizer'>, state: TrainingState, task: string): Uint8Array {
  const { variables, ...loop } = state;
  return encodeState(stepVariables(architecture, settings), variables, loop, task);
}

/**
 * @param task whose training goes on: a task's id covers everything that a step depends on.
 * @throws AlumnusError DIGEST_MISMATCH where it is not a checkpoint of this training.
 */
export function decodeCheckpoint(bytes: Uint8Array, architecture: Architecture, settings: Pick<TrainingSettings, 'optimizer'>, task: string): TrainingState {
  const { step, lossCurve, lossSum, lossCount, wentBackTo } = decodeLoop<Omit<TrainingState, 'variables'>>(bytes, task);
  if (step === undefined || lossCurve === undefined || lossSum === undefined || lossCount === undefined) throw damaged('it lacks numbers of its loop');
  const variables = decodeVariables(bytes, stepVariables(architecture, settings));
  return { step, variables, lossCurve: pointsOf(lossCurve), lossSum, lossCount, ...wentBackTo === undefined ? {} : { wentBackTo } };
}

/** The same state and `task` give the same bytes. */
export function encodeMerged(architecture: Architecture, { variables, step, lossCurve, wentBackTo, rounds }: Merged, task: string): Uint8Array {
  return encodeState(mergedVariables(architecture), variables, { step, lossCurve, wentBackTo, rounds }, task);
}

/** @throws AlumnusError DIGEST_MISMATCH where it is not what a merge of this training wrote. */
export function decodeMerged(bytes: Uint8Array, architecture: Architecture, task: string): Merged {
  const { step, lossCurve, wentBackTo, rounds } = decodeLoop<Omit<Merged, 'variables'>>(bytes, task);
  if (step === undefined || lossCurve === undefined || rounds === undefined) throw damaged('it lacks numbers of its rounds');
  const variables = decodeVariables(bytes, mergedVariables(architecture));
  return { step, variables, lossCurve: pointsOf(lossCurve), rounds, ...wentBackTo === undefined ? {} : { wentBackTo } };
}

function encodeState(specs: Specs, variables: Variables, loop: object, task: string): Uint8Array {
  const tensors = Object.entries(specs).map(([name, { shape }]) => ({ name, shape: [...shape], values: variables[name]! }));
  return encodeWeights(tensors, { [ENTRY]: JSON.stringify({ schemaVersion: SCHEMA_VERSION, task, ...loop }) });
}

function decodeLoop<Loop extends object>(bytes: Uint8Array, task: string): Partial<Loop> {
  let written: Partial<Loop> & { schemaVersion?: number; task?: string };
  try {
    written = JSON.parse(readMetadata(bytes)[ENTRY] ?? '{}') as typeof written;
  } catch (cause) {
    throw damaged('the numbers of its loop are no JSON', cause);
  }
  const { schemaVersion, task: of } = written;
  if (schemaVersion !== SCHEMA_VERSION) throw damaged(`it is of schema ${schemaVersion ?? 'none'}, and this release reads ${SCHEMA_VERSION}`);
  if (of !== task) throw damaged(`it is of the task ${of ?? 'none'}`);
  return written;
}

function decodeVariables(bytes: Uint8Array, specs: Specs): Record<string, Float32Array> {
  const tensors = new Map(decodeWeights(bytes).map(tensor => [tensor.name, tensor]));
  return Object.fromEntries(Object.entries(specs).map(([name, { shape }]) => {
    const tensor = tensors.get(name);
    if (tensor === undefined || tensor.shape.join() !== shape.join()) throw damaged(`${name} is ${tensor === undefined ? 'missing' : `of shape [${tensor.shape.join()}]`}`);
    return [name, tensor.values];
  }));
}

/** A stretch without any finite loss is NaN, which JSON writes as null. */
const pointsOf = (lossCurve: readonly LossPoint[]): LossPoint[] => lossCurve.map(point => ({ step: point.step, loss: (point.loss as number | null) ?? Number.NaN }));
