/**
 * replica: one of several workers' part of one round of a training that they share. It begins with the merged weights, makes the round's steps
 * on its own share of the data, and leaves the whole of its state: of that, merge.ts takes weights and statistics, and the next round's
 * replica the optimizer. With one replica a round and no steps left out, rounds are the plain training to the bit.
 */
import { AlumnusError } from '../../proto/errors.ts';
import type { ReplicaResult, ReplicaSpec } from '../../proto/gen/alumnus/v1/task.ts';
import { decodeCheckpoint, decodeMerged, encodeCheckpoint, mergedAtStart, replicaVariables, train as fit, type Merged, type TrainingState } from '../learning/index.ts';
import { required, type TaskContext } from './context.ts';
import { withPrepared } from './prepared.ts';
import { keep, noteWentBack, PROGRESS_EVERY_STEPS, resumable, stateAbout, trainingOf, type Training } from './training.ts';

export async function replica(context: TaskContext, spec: ReplicaSpec): Promise<ReplicaResult> {
  const { store, task, signal } = context;
  const { firstStep, steps, firstBatch } = spec;
  const training = await trainingOf(context, required(spec.train, 'train'), spec.seed);
  const { architecture, settings, teacher } = training;
  const [until, endBatch] = [firstStep + steps, firstBatch + steps];
  if (steps < 1 || until > settings.steps) throw new AlumnusError('USAGE', `the round ends with step ${until}, and the training has ${settings.steps}`, { where: 'replica' });
  const trained = await withPrepared(context, training, async (prepared) => {
    const resume = (await resumable(context, training)) ?? (await roundStart(context, spec, training));
    await prepared.opened;
    return context.onDevice(() =>
      fit(architecture, settings, (place) => prepared.at(place, endBatch), {
        signal, resume, until, placeOf: (step) => firstBatch + step - firstStep, compiled: prepared.step(), checkpointSteps: task.checkpointSteps,
        onCheckpoint: (state) => keep(context, training, state),
        onWentBack: noteWentBack(context),
        everySteps: PROGRESS_EVERY_STEPS,
        pointSteps: Infinity,
        onProgress: ({ step, imagesPerSecond, loss }) => context.progress({ done: step - firstStep, total: steps, unit: 'steps', rate: imagesPerSecond, loss }),
      }),
    );
  });
  if (!Number.isFinite(trained.finalLoss)) throw new AlumnusError('TRAINING_DIVERGED', `no step from ${firstStep} to ${until} had a finite loss`, { where: 'training' });
  const state = await store.putAddressed(task.outputPrefix, encodeCheckpoint(architecture, settings, trained.state, training.name), { extension: '.replica', metadata: stateAbout(context, teacher, until) });
  // What an earlier round went back to was told by its own replica.
  const wentBack = trained.wentBackTo !== undefined && trained.wentBackTo >= firstStep ? trained.wentBackTo : undefined;
  return { state, steps, images: steps * (settings.batchLabeled + settings.batchUnlabeled), loss: trained.finalLoss, wentBackToStep: wentBack, distilledSha256: spec.train?.distill?.teacher?.sha256, truthSha256: spec.train?.truth?.sha256 };
}

/** The training's state where the round begins, its loss still without a step. */
async function roundStart({ store }: TaskContext, spec: ReplicaSpec, training: Training): Promise<TrainingState> {
  const { architecture, settings, name } = training;
  const merged = await mergedBefore(store, spec, training);
  const optimizer = spec.optimizer === undefined ? undefined : await store.get(spec.optimizer).then((bytes) => decodeCheckpoint(bytes, architecture, settings, name));
  if (optimizer !== undefined) mustBeOf(spec.firstStep, optimizer.step, spec.optimizer?.key);
  return {
    step: spec.firstStep, variables: replicaVariables(architecture, settings, merged.variables, optimizer?.variables), lossCurve: [], lossSum: 0, lossCount: 0,
    ...(merged.wentBackTo === undefined ? {} : { wentBackTo: merged.wentBackTo }),
  };
}

/** What the merge before the round wrote. @throws AlumnusError DIGEST_MISMATCH where it is not of this training and step; the store's */
export async function mergedBefore(store: TaskContext['store'], { merged, firstStep }: Pick<ReplicaSpec, 'merged' | 'firstStep'>, { architecture, settings, name }: Training): Promise<Merged> {
  const before = merged === undefined ? mergedAtStart(architecture, settings.seed) : decodeMerged(await store.get(merged), architecture, name);
  mustBeOf(firstStep, before.step, merged?.key);
  return before;
}

export function mustBeOf(step: number, found: number, where = 'replica'): void {
  if (found !== step) throw new AlumnusError('DIGEST_MISMATCH', `the state is of step ${found}, and the round needs step ${step}`, { where });
}
