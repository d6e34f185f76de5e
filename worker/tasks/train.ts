/**
 * train: one model from scratch, noised. The student draws labeled and pseudo-labeled images together in each batch; the teacher of
 * iteration 0 and the control have labeled ones only. What comes out are the averaged weights.
 */
import type { TrainResult, TrainSpec } from '../../proto/gen/alumnus/v1/task.ts';
import { openBatches } from '../data/index.ts';
import { train as fit } from '../learning/index.ts';
import type { TaskContext } from './context.ts';
import { writeModel } from './model.ts';
import { keep, noteWentBack, PROGRESS_EVERY_STEPS, resumable, sourceOf, trainingOf } from './training.ts';

/** The curve travels in the journal: a long training has no more points than a short one has. */
const CURVE_POINTS_MAX = 1_000;

export async function train(context: TaskContext, spec: TrainSpec): Promise<TrainResult> {
  const { task, signal } = context;
  const training = await trainingOf(context, spec, task.seed);
  const { architecture, settings, parameters, teacher, document } = training;
  const resume = await resumable(context, training);
  const batches = await openBatches(sourceOf(context, training), settings, training.labeled, training.selected);
  const trained = await context.onDevice(() =>
    fit(architecture, settings, (step) => batches.at(step, settings.steps), {
      signal, resume, checkpointSteps: task.checkpointSteps,
      onCheckpoint: (state) => keep(context, training, state),
      onWentBack: noteWentBack(context),
      everySteps: Math.max(PROGRESS_EVERY_STEPS, Math.ceil(settings.steps / CURVE_POINTS_MAX)),
      onProgress: ({ step, steps, imagesPerSecond, loss }) => context.progress({ done: step, total: steps, unit: 'steps', rate: imagesPerSecond, loss }),
    }),
  ).finally(batches.close);
  const ref = await writeModel(context, { ...document, lineage: { run: task.runId, iteration: task.iteration, task: task.taskId, ...document.lineage } }, trained.weights, teacher);
  return { model: ref, parameters, steps: trained.steps, images: trained.steps * (settings.batchLabeled + settings.batchUnlabeled), finalLoss: trained.finalLoss, curve: trained.lossCurve, wentBackToStep: trained.wentBackTo };
}
