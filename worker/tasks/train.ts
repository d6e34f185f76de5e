/**
 * train: one model from scratch, noised. The student draws labeled and pseudo-labeled images together in each batch; the teacher of
 * iteration 0 and the control have labeled ones only. What comes out are the averaged weights.
 */
import { AlumnusError } from '../../proto/errors.ts';
import { parameterCount, type Architecture, type Recipe } from '../../recipe/index.ts';
import type { TrainResult, TrainSpec } from '../../proto/gen/alumnus/v1/task.ts';
import { train as fit, type InputNoise, type TrainingSettings } from '../learning/index.ts';
import { openBatches, type SelectedPart } from '../data/index.ts';
import { required, shapeOf, type TaskContext } from './context.ts';
import { writeModel } from './model.ts';

/** The recipe's part that a training was given, as it travels. */
type TrainingJson = Pick<Recipe['training'], 'optimizer' | 'schedule' | 'ema_decay' | 'label_smoothing'> & { steps: number; batch_labeled: number; batch_unlabeled: number; noise: Recipe['noise'] };

const PROGRESS_EVERY_STEPS = 20;
/** The curve travels in the journal: a long training has no more points than a short one has. */
const CURVE_POINTS_MAX = 1_000;

export async function train(context: TaskContext, spec: TrainSpec): Promise<TrainResult> {
  const { store, task, signal, cacheFolder } = context;
  if (spec.labelKind !== 'soft' && spec.labelKind !== 'hard') throw new AlumnusError('USAGE', `labels are "soft" or "hard", not "${spec.labelKind}"`, { where: 'labels.kind' });
  const training = JSON.parse(spec.trainingJson) as TrainingJson;
  const shape = shapeOf(spec.image);
  const model = required(spec.model, 'model');
  const architecture: Architecture = { model: { name: model.name, options: model.options }, input: shape, classes: spec.classNames.length };
  const parameters = parameterCount(architecture);
  const source = { store, shape, classes: spec.classNames.length, cacheFolder, signal };
  const labeledPart = required(spec.labeled, 'labeled');
  const selected: SelectedPart | undefined = spec.unlabeled === undefined || spec.selection === undefined ? undefined
    : { unlabeled: spec.unlabeled, selection: spec.selection, pseudoLabels: spec.pseudoLabels, kind: spec.labelKind };
  const settings = settingsOf(training, task.seed);
  const batches = await openBatches(source, { batchLabeled: settings.batchLabeled, batchUnlabeled: settings.batchUnlabeled, seed: task.seed }, labeledPart, selected);
  const trained = await context.onDevice(() =>
    fit(architecture, settings, batches.at, {
      signal, everySteps: Math.max(PROGRESS_EVERY_STEPS, Math.ceil(settings.steps / CURVE_POINTS_MAX)),
      onProgress: ({ step, steps, imagesPerSecond, loss }) => context.progress({ done: step, total: steps, unit: 'steps', rate: imagesPerSecond, loss }),
    }),
  ).finally(batches.close);
  const ref = await writeModel(
    context,
    {
      architecture, classNames: spec.classNames, parameters,
      lineage: { run: task.runId, iteration: task.iteration, task: task.taskId, labeled: labeledPart.manifestSha256, selection: spec.selection?.sha256 ?? '', training },
    },
    trained.weights,
  );
  return { model: ref, parameters, steps: trained.steps, images: trained.steps * (settings.batchLabeled + settings.batchUnlabeled), finalLoss: trained.finalLoss, curve: trained.lossCurve };
}

function settingsOf(training: TrainingJson, seed: number): TrainingSettings {
  const { optimizer, schedule } = training;
  return {
    steps: training.steps, batchLabeled: training.batch_labeled, batchUnlabeled: training.batch_unlabeled,
    optimizer: { name: optimizer.name, learningRate: optimizer.learning_rate, weightDecay: optimizer.weight_decay, momentum: optimizer.momentum },
    schedule: { name: schedule.name, warmupSteps: schedule.warmup_steps },
    emaDecay: training.ema_decay, labelSmoothing: training.label_smoothing, noise: noiseOf(training.noise.input), seed,
  };
}

const noiseOf = (noise: Recipe['noise']['input']): InputNoise =>
  noise.name === 'affine' ? { name: 'affine', degrees: noise.degrees, translatePixels: noise.translate_pixels, scale: noise.scale, flip: noise.flip } : noise;
