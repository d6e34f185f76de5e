/**
 * A training's whole state between two steps, as bytes and back: every variable of its step in the safetensors format
 * (weights.ts), the numbers of its loop in the header. What is read gives the same steps as if it had never been written.
 * Not for: when checkpoints are written (train.ts), where they lie (../tasks).
 */
import type { Architecture } from '../../recipe/index.ts';
import { stepVariables } from './step.ts';
import type { TrainingSettings, TrainingState } from './types.ts';
import { damaged, decodeWeights, encodeWeights, readMetadata } from './weights.ts';

/** Of the header's entry; a release that means something else by it counts on. */
const SCHEMA_VERSION = 1;
/** The name in safetensors' own metadata, whose values are texts. */
const ENTRY = 'alumnus';

type Loop = Omit<TrainingState, 'variables'>;

/** The same state and `task` give the same bytes. */
export function encodeCheckpoint(architecture: Architecture, settings: TrainingSettings, state: TrainingState, task: string): Uint8Array {
  const { variables, ...loop } = state;
  const tensors = Object.entries(stepVariables(architecture, settings)).map(([name, { shape }]) => ({ name, shape: [...shape], values: variables[name]! }));
  return encodeWeights(tensors, { [ENTRY]: JSON.stringify({ schemaVersion: SCHEMA_VERSION, task, ...loop }) });
}

/**
 * @param task whose training goes on: a task's id covers everything that a step depends on.
 * @throws AlumnusError DIGEST_MISMATCH where it is not a checkpoint of this training.
 */
export function decodeCheckpoint(bytes: Uint8Array, architecture: Architecture, settings: TrainingSettings, task: string): TrainingState {
  const tensors = new Map(decodeWeights(bytes).map(tensor => [tensor.name, tensor]));
  let written: Partial<Loop> & { schemaVersion?: number; task?: string };
  try {
    written = JSON.parse(readMetadata(bytes)[ENTRY] ?? '{}') as typeof written;
  } catch (cause) {
    throw damaged('the numbers of its loop are no JSON', cause);
  }
  const { schemaVersion, task: of, step, lossCurve, lossSum, lossCount, wentBackTo } = written;
  if (schemaVersion !== SCHEMA_VERSION) throw damaged(`it is of schema ${schemaVersion ?? 'none'}, and this release reads ${SCHEMA_VERSION}`);
  if (of !== task) throw damaged(`it is of the task ${of ?? 'none'}`);
  if (step === undefined || lossCurve === undefined || lossSum === undefined || lossCount === undefined) throw damaged('it lacks numbers of its loop');
  const variables = Object.fromEntries(Object.entries(stepVariables(architecture, settings)).map(([name, { shape }]) => {
    const tensor = tensors.get(name);
    if (tensor === undefined || tensor.shape.join() !== shape.join()) throw damaged(`${name} is ${tensor === undefined ? 'missing' : `of shape [${tensor.shape.join()}]`}`);
    return [name, tensor.values];
  }));
  // A stretch without any finite loss is NaN, which JSON writes as null.
  const points = lossCurve.map(point => ({ step: point.step, loss: (point.loss as number | null) ?? Number.NaN }));
  return { step, variables, lossCurve: points, lossSum, lossCount, ...wentBackTo === undefined ? {} : { wentBackTo } };
}
