/**
 * merge: the replicas of a round become the weights that the next round begins with, by one outer step; after the last round also the
 * training's model. It reads states one after another and needs no device.
 */
import { AlumnusError } from '../../proto/errors.ts';
import type { MergeResult, MergeSpec, TrainResult } from '../../proto/gen/alumnus/v1/task.ts';
import { averagedWeights, decodeCheckpoint, encodeMerged, outerStep, type Merged, type TrainingState } from '../learning/index.ts';
import { required, type TaskContext } from './context.ts';
import { writeModel } from './model.ts';
import { letGo } from './prepared.ts';
import { mergedBefore, mustBeOf } from './replica.ts';
import { stateAbout, trainingOf, type Training } from './training.ts';

export async function merge(context: TaskContext, spec: MergeSpec): Promise<MergeResult> {
  const { store, task } = context;
  const { firstStep, steps, inputs } = spec;
  if (inputs.length === 0) throw new AlumnusError('USAGE', 'a merge has one replica at least', { where: 'inputs' });
  const training = await trainingOf(context, required(spec.train, 'train'), spec.seed);
  const { architecture, settings, name, teacher } = training;
  if (spec.last) letGo(name);
  const before = await mergedBefore(store, spec, training);
  let wentBackTo = before.wentBackTo;
  const states = async function* (): AsyncGenerator<TrainingState['variables']> {
    for await (const state of replicaStates(context, spec, training)) {
      if (before.wentBackTo === undefined && state.wentBackTo !== undefined) wentBackTo = Math.min(wentBackTo ?? Infinity, state.wentBackTo);
      yield state.variables;
    }
  };
  const variables = await outerStep(architecture, before.variables, states(), { learningRate: spec.outerLearningRate, momentum: spec.outerMomentum, emaDecay: settings.emaDecay, firstStep, steps });
  const step = firstStep + steps;
  const merged: Merged = {
    step, variables,
    lossCurve: [...before.lossCurve, { step, loss: inputs.reduce((sum, { loss }) => sum + loss, 0) / inputs.length }],
    rounds: [...before.rounds, { step, replicas: inputs.map(({ replica, state }) => ({ replica, state: required(state, 'state').sha256 })) }],
    ...(wentBackTo === undefined ? {} : { wentBackTo }),
  };
  const ref = await store.putAddressed(task.outputPrefix, encodeMerged(architecture, merged, name), { extension: '.merged', metadata: stateAbout(context, teacher, step) });
  return { merged: ref, trained: spec.last ? await finish(context, spec, training, merged) : undefined };
}

/** Whole, and of this training and round, or an error that names the object. */
async function* replicaStates({ store, signal, progress }: TaskContext, { inputs, firstStep, steps }: MergeSpec, { architecture, settings, name }: Training): AsyncGenerator<TrainingState> {
  for (const [at, { state }] of inputs.entries()) {
    signal.throwIfAborted();
    const ref = required(state, 'state');
    const read = decodeCheckpoint(await store.get(ref), architecture, settings, name);
    mustBeOf(firstStep + steps, read.step, ref.key);
    yield read;
    progress({ done: at + 1, total: inputs.length, unit: 'replicas', rate: 0, loss: 0 });
  }
}

async function finish(context: TaskContext, { images, train }: MergeSpec, { architecture, settings, parameters, teacher, document }: Training, { step, variables, lossCurve, rounds, wentBackTo }: Merged): Promise<TrainResult> {
  const { runId: run, iteration, taskId } = context.task;
  const model = await writeModel(context, { ...document, lineage: { run, iteration, task: taskId, ...document.lineage, rounds } }, averagedWeights(architecture, settings, variables), teacher);
  return { model, parameters, steps: step, images, finalLoss: lossCurve.at(-1)?.loss ?? Number.NaN, curve: [...lossCurve], wentBackToStep: wentBackTo, heldOutCurve: [], distilledSha256: train?.distill?.teacher?.sha256, truthSha256: train?.truth?.sha256 };
}
