/**
 * A training's whole state between two steps, as bytes and back: every variable of its step in the safetensors format
 * (weights.ts), the numbers of its loop in the header. What is read gives the same steps as if it had never been written.
 * Not for: when checkpoints are written (train.ts), where they lie (../tasks).
 */
import { parameterSpecs, type Architecture } from '../../recipe/index.ts';
import { stepVariables } from './step.ts';
import type { EarlyStopState, LossPoint, TensorData, TrainingSettings, TrainingState } from './types.ts';
import { damaged, decodeWeights, encodeWeights, readMetadata } from './weights.ts';

/** Of the header's entry; a release that means something else by it counts on. */
const SCHEMA_VERSION = 1;
/** The name in safetensors' own metadata, whose values are texts. */
const ENTRY = 'alumnus';

/** The weights of the best measurement lie beside the variables, under names of their own. */
const bestName = (parameter: string): string => `best/${parameter}`;

type EarlyStopNumbers = Omit<EarlyStopState, 'best'> & { readonly best?: Omit<NonNullable<EarlyStopState['best']>, 'weights'> };
type Loop = Omit<TrainingState, 'variables' | 'earlyStop'> & { readonly earlyStop?: EarlyStopNumbers };

/** The same state and `task` give the same bytes. */
export function encodeCheckpoint(architecture: Architecture, settings: TrainingSettings, state: TrainingState, task: string): Uint8Array {
  const { variables, earlyStop, ...others } = state;
  const tensors = Object.entries(stepVariables(architecture, settings)).map(([name, { shape }]) => ({ name, shape: [...shape], values: variables[name]! }));
  const loop: Loop = { ...others, ...earlyStop && { earlyStop: numbersOf(earlyStop) } };
  const best = earlyStop?.best?.weights;
  if (best !== undefined) tensors.push(...parameterSpecs(architecture).map(({ name, shape }) => ({ name: bestName(name), shape: [...shape], values: best[name]! })));
  return encodeWeights(tensors, { [ENTRY]: JSON.stringify({ schemaVersion: SCHEMA_VERSION, task, ...loop }) });
}

const numbersOf = ({ curve, since, best }: EarlyStopState): EarlyStopNumbers => ({ curve, since, ...best && { best: { step: best.step, loss: best.loss } } });

/** A loss without a number is NaN, which JSON writes as null. */
const pointsOf = (curve: readonly LossPoint[]): LossPoint[] => curve.map(point => ({ step: point.step, loss: (point.loss as number | null) ?? Number.NaN }));

function shaped(tensors: ReadonlyMap<string, TensorData>, name: string, shape: readonly number[]): Float32Array {
  const tensor = tensors.get(name);
  if (tensor === undefined || tensor.shape.join() !== shape.join()) throw damaged(`${name} is ${tensor === undefined ? 'missing' : `of shape [${tensor.shape.join()}]`}`);
  return tensor.values;
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
  const { schemaVersion, task: of, step, lossCurve, lossSum, lossCount, wentBackTo, earlyStop } = written;
  if (schemaVersion !== SCHEMA_VERSION) throw damaged(`it is of schema ${schemaVersion ?? 'none'}, and this release reads ${SCHEMA_VERSION}`);
  if (of !== task) throw damaged(`it is of the task ${of ?? 'none'}`);
  if (step === undefined || lossCurve === undefined || lossSum === undefined || lossCount === undefined) throw damaged('it lacks numbers of its loop');
  if ((earlyStop === undefined) !== (settings.earlyStop === undefined)) throw damaged('it lacks what early stop measured, or has it without being asked');
  const variables = Object.fromEntries(Object.entries(stepVariables(architecture, settings)).map(([name, { shape }]) => [name, shaped(tensors, name, shape)]));
  return {
    step, variables, lossCurve: pointsOf(lossCurve), lossSum, lossCount, ...wentBackTo === undefined ? {} : { wentBackTo },
    ...earlyStop && {
      earlyStop: {
        curve: pointsOf(earlyStop.curve), since: earlyStop.since,
        ...earlyStop.best && { best: { ...earlyStop.best, weights: Object.fromEntries(parameterSpecs(architecture).map(({ name, shape }) => [name, shaped(tensors, bestName(name), shape)])) } },
      },
    },
  };
}
