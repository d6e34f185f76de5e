/**
 * train: one model from scratch, noised. The student draws labeled and pseudo-labeled images together in each batch; the teacher of
 * iteration 0 and the control have labeled ones only. Or fine-tuning: on from a trained model, on labeled images without noise. What comes out are the averaged weights.
 */
import type { TrainResult, TrainSpec } from '../../proto/gen/alumnus/v1/task.ts';
import { holdOut, openBatches } from '../data/index.ts';
import { train as fit } from '../learning/index.ts';
import { beginning } from './beginning.ts';
import type { TaskContext } from './context.ts';
import { writeModel } from './model.ts';
import { onlineTeacher } from './online-teacher.ts';
import { keep, noteWentBack, planOf, PROGRESS_EVERY_STEPS, resumable, sourceOf, trainingOf } from './training.ts';

/** The curve travels in the journal: a long training has no more points than a short one has. */
const CURVE_POINTS_MAX = 1_000;

export async function train(context: TaskContext, spec: TrainSpec): Promise<TrainResult> {
  const { store, task, signal } = context;
  const training = await trainingOf(context, spec, task.seed);
  const { architecture, settings, parameters, teacher, document, held } = training;
  const online = await onlineTeacher(store, training);
  const begin = spec.begin === undefined ? undefined : await beginning(store, spec.begin, architecture);
  const source = { ...sourceOf(context, training), resize: begin?.resizes };
  const resume = await resumable(context, training);
  const heldOut = held === undefined ? undefined : await holdOut(source, training.labeled, held);
  const batches = await openBatches(source, { ...planOf(training), leftOut: heldOut }, training.labeled, training.selected);
  const trained = await context.onDevice(() =>
    fit(architecture, settings, (step) => batches.at(step, settings.steps), {
      signal, begin: begin?.weights, teacher: online, heldOut, resume, checkpointSteps: task.checkpointSteps,
      onCheckpoint: (state) => keep(context, training, state),
      onWentBack: noteWentBack(context),
      everySteps: Math.max(PROGRESS_EVERY_STEPS, Math.ceil(settings.steps / CURVE_POINTS_MAX)),
      onProgress: ({ step, steps, imagesPerSecond, loss }) => context.progress({ done: step, total: steps, unit: 'steps', rate: imagesPerSecond, loss }),
    }),
  ).finally(batches.close);
  const ref = await writeModel(
    context, { ...document, resizes: begin?.resizes, lineage: { run: task.runId, iteration: task.iteration, task: task.taskId, ...document.lineage, begin: spec.begin?.sha256 } },
    trained.weights, teacher,
  );
  const { steps, finalLoss, lossCurve, wentBackTo, earlyStop } = trained;
  if (earlyStop?.stopped === true) context.note(`stops early after step ${steps}: the loss on the images held out was least at step ${earlyStop.bestStep}, whose weights it hands back`);
  return {
    model: ref, parameters, steps, images: steps * (settings.batchLabeled + settings.batchUnlabeled), finalLoss, curve: lossCurve, wentBackToStep: wentBackTo,
    begunSha256: spec.begin?.sha256, truthSha256: spec.truth?.sha256, bestStep: earlyStop?.bestStep, stoppedAtStep: earlyStop?.stopped === true ? steps : undefined, heldOutCurve: earlyStop?.curve ?? [],
    distilledSha256: spec.distill?.teacher?.sha256,
  };
}
