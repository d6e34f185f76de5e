/**
 * A training's state between two steps, and between two rounds of its replicas, as bytes and back: every tensor in the safetensors
 * format (weights.ts), the numbers of its loop in the header. What is read gives the same steps as if it had never been written.
 * Not for: when states are written (train.ts), where they lie (../tasks).
 */
import { parameterSpecs, type Architecture } from '../../recipe/index.ts';
import type { TensorSpec } from '../tensorflow/index.ts';
import { mergedVariables } from './outer.ts';
import { stepVariables } from './step.ts';
import type { EarlyStopState, LossPoint, Merged, TrainingSettings, TrainingState } from './types.ts';
import { damaged, decodeWeights, encodeWeights, readMetadata } from './weights.ts';

/** Of the header's entry; a release that means something else by it counts on. */
const SCHEMA_VERSION = 1;
/** The name in safetensors' own metadata, whose values are texts. */
const ENTRY = 'alumnus';

type Variables = Readonly<Record<string, Float32Array>>;
type Specs = Readonly<Record<string, TensorSpec>>;
/** What says which variables a step has, and what its loop counts. */
type Stepped = Pick<TrainingSettings, 'optimizer' | 'fineTuning' | 'earlyStop'>;

/** The weights of the best measurement lie beside the variables, under names of their own. */
const bestName = (parameter: string): string => `best/${parameter}`;
const bestVariables = (architecture: Architecture): Specs => Object.fromEntries(parameterSpecs(architecture).map(({ name, shape }) => [bestName(name), { shape, dataType: 'float32' }]));

type EarlyStopNumbers = Omit<EarlyStopState, 'best'> & { readonly best?: Omit<NonNullable<EarlyStopState['best']>, 'weights'> };
type Loop = Omit<TrainingState, 'variables' | 'earlyStop'> & { readonly earlyStop?: EarlyStopNumbers };

/** The same state and `task` give the same bytes. */
export function encodeCheckpoint(architecture: Architecture, settings: Stepped, state: TrainingState, task: string): Uint8Array {
  const { variables, earlyStop, ...others } = state;
  const loop: Loop = { ...others, ...earlyStop && { earlyStop: numbersOf(earlyStop) } };
  const specs = stepVariables(architecture, settings);
  const best = earlyStop?.best?.weights;
  if (best === undefined) return encodeState(specs, variables, loop, task);
  const kept = Object.fromEntries(Object.entries(best).map(([name, values]) => [bestName(name), values]));
  return encodeState({ ...specs, ...bestVariables(architecture) }, { ...variables, ...kept }, loop, task);
}

const numbersOf = ({ curve, since, best }: EarlyStopState): EarlyStopNumbers => ({ curve, since, ...best && { best: { step: best.step, loss: best.loss } } });

/**
 * @param task whose training goes on: a task's id covers everything that a step depends on.
 * @throws AlumnusError DIGEST_MISMATCH where it is not a checkpoint of this training.
 */
export function decodeCheckpoint(bytes: Uint8Array, architecture: Architecture, settings: Stepped, task: string): TrainingState {
  const { step, lossCurve, lossSum, lossCount, wentBackTo, earlyStop } = decodeLoop<Loop>(bytes, task);
  if (step === undefined || lossCurve === undefined || lossSum === undefined || lossCount === undefined) throw damaged('it lacks numbers of its loop');
  if ((earlyStop === undefined) !== (settings.earlyStop === undefined)) throw damaged('it lacks what early stop measured, or has it without being asked');
  const loop = { step, lossCurve: pointsOf(lossCurve), lossSum, lossCount, ...wentBackTo === undefined ? {} : { wentBackTo } };
  const variables = decodeVariables(bytes, stepVariables(architecture, settings));
  if (earlyStop === undefined) return { ...loop, variables };
  const { curve, since, best } = earlyStop;
  if (best === undefined) return { ...loop, variables, earlyStop: { curve: pointsOf(curve), since } };
  const kept = decodeVariables(bytes, bestVariables(architecture));
  const weights = Object.fromEntries(parameterSpecs(architecture).map(({ name }) => [name, kept[bestName(name)]!]));
  return { ...loop, variables, earlyStop: { curve: pointsOf(curve), since, best: { ...best, weights } } };
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
