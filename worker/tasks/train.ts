/**
 * train: one model from scratch, noised. The student draws labeled and pseudo-labeled images together in each batch; the teacher of
 * iteration 0 and the control have labeled ones only. Or fine-tuning: on from a trained model, on labeled images without noise. What comes out are the averaged weights.
 */
import { AlumnusError, invariant, toAlumnusError } from '../../proto/errors.ts';
import { parameterCount, type Architecture, type Recipe } from '../../recipe/index.ts';
import type { TrainResult, TrainSpec } from '../../proto/gen/alumnus/v1/task.ts';
import { decodeCheckpoint, encodeCheckpoint, train as fit, trainingNoise, type TrainingSettings, type TrainingState } from '../learning/index.ts';
import { holdOut, openBatches, readSelection, type SelectedPart } from '../data/index.ts';
import { beginning } from './beginning.ts';
import { aboutOf, CHECKPOINT_STEP, required, shapeOf, type TaskContext } from './context.ts';
import { writeModel } from './model.ts';

/** The recipe's part that a training was given, as it travels. */
type TrainingJson = Pick<Recipe['training'], 'optimizer' | 'schedule' | 'ema_decay' | 'label_smoothing' | 'clip_norm'> & {
  steps: number; batch_labeled: number; batch_unlabeled: number; noise: Recipe['noise'];
  /** Of fine-tuning. */
  freeze?: number;
  /** `seed`: of the images held out, the same for all trainings of a run. */
  early_stop?: NonNullable<Recipe['training']['early_stop']> & { seed: number };
};

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
  const begin = spec.begin === undefined ? undefined : await beginning(store, spec.begin, architecture);
  const source = { store, shape, resize: begin?.resizes, classes: spec.classNames.length, cacheFolder, signal };
  const labeledPart = required(spec.labeled, 'labeled');
  const selected: SelectedPart | undefined = spec.unlabeled === undefined || spec.selection === undefined ? undefined
    : { unlabeled: spec.unlabeled, selection: spec.selection, pseudoLabels: spec.pseudoLabels, kind: spec.labelKind };
  const teacher = selected === undefined ? '' : (await readSelection(store, selected.selection)).teacher;
  const settings = settingsOf(training, task.seed);
  const resume = await resumable(context, architecture, settings);
  const { early_stop: early } = training;
  const heldOut = early === undefined ? undefined : await holdOut(source, labeledPart, { share: early.holdout, seed: early.seed });
  const batches = await openBatches(source, { batchLabeled: settings.batchLabeled, batchUnlabeled: settings.batchUnlabeled, seed: task.seed, leftOut: heldOut }, labeledPart, selected);
  const trained = await context.onDevice(() =>
    fit(architecture, settings, batches.at, {
      signal, begin: begin?.weights, heldOut, resume, checkpointSteps: task.checkpointSteps,
      onCheckpoint: (state) => keep(context, architecture, settings, state, teacher),
      onWentBack: (from, to) => context.note(`no finite loss up to step ${from}: goes back to step ${to}, and on at a lower learning rate`),
      everySteps: Math.max(PROGRESS_EVERY_STEPS, Math.ceil(settings.steps / CURVE_POINTS_MAX)),
      onProgress: ({ step, steps, imagesPerSecond, loss }) => context.progress({ done: step, total: steps, unit: 'steps', rate: imagesPerSecond, loss }),
    }),
  ).finally(batches.close);
  const ref = await writeModel(
    context,
    {
      architecture, classNames: spec.classNames, parameters, resizes: begin?.resizes,
      lineage: { run: task.runId, iteration: task.iteration, task: task.taskId, labeled: labeledPart.manifestSha256, selection: spec.selection?.sha256 ?? '', training, begin: spec.begin?.sha256 },
    },
    trained.weights,
    teacher,
  );
  const { steps, finalLoss, lossCurve, wentBackTo, earlyStop } = trained;
  if (earlyStop?.stopped === true) context.note(`stops early after step ${steps}: the loss on the images held out was least at step ${earlyStop.bestStep}, whose weights it hands back`);
  return {
    model: ref, parameters, steps, images: steps * (settings.batchLabeled + settings.batchUnlabeled), finalLoss, curve: lossCurve, wentBackToStep: wentBackTo,
    begunSha256: spec.begin?.sha256, bestStep: earlyStop?.bestStep, stoppedAtStep: earlyStop?.stopped === true ? steps : undefined, heldOutCurve: earlyStop?.curve ?? [],
  };
}

/** The newest checkpoint that is whole; undefined where the training begins. @throws the store's errors that may pass. */
async function resumable({ store, task, note }: TaskContext, architecture: Architecture, settings: TrainingSettings): Promise<TrainingState | undefined> {
  for (const { step, ref } of task.checkpoints) {
    try {
      const state = decodeCheckpoint(await store.get(required(ref, 'checkpoint')), architecture, settings, task.taskId);
      invariant(state.step === step, `the checkpoint of step ${step} is of step ${state.step}`);
      note(`goes on from the checkpoint of step ${step}`);
      return state;
    } catch (thrown) {
      const error = toAlumnusError(thrown, ref?.key);
      if (error.retryable) throw error;
      note(`the checkpoint of step ${step} can't be used (${error.message}): an earlier one is, or the training begins anew`);
    }
  }
  return undefined;
}

/** Written and verified, then told. A store that does not take it costs steps where this attempt is lost, and not the attempt. */
async function keep(context: TaskContext, architecture: Architecture, settings: TrainingSettings, state: TrainingState, teacher: string): Promise<void> {
  const { store, task } = context;
  try {
    const metadata = { ...aboutOf(context, teacher), [CHECKPOINT_STEP]: String(state.step) };
    const ref = await store.putAddressed(task.outputPrefix, encodeCheckpoint(architecture, settings, state, task.taskId), { extension: '.checkpoint', metadata });
    context.checkpoint({ step: state.step, ref });
  } catch (thrown) {
    context.note(`the checkpoint of step ${state.step} could not be kept: ${toAlumnusError(thrown).message}`);
  }
}

/** Of the published code (`build_optimizer`, `build_learning_rate`): what a recipe means that does not say. */
const DEFAULTS = { rmspropDecay: 0.9, rmspropEpsilon: 0.001, decayFactor: 0.97 } as const;

function settingsOf(training: TrainingJson, seed: number): TrainingSettings {
  const { optimizer, schedule } = training;
  return {
    steps: training.steps, batchLabeled: training.batch_labeled, batchUnlabeled: training.batch_unlabeled,
    optimizer: {
      name: optimizer.name, learningRate: optimizer.learning_rate, weightDecay: optimizer.weight_decay, momentum: optimizer.momentum,
      decay: optimizer.decay ?? DEFAULTS.rmspropDecay, epsilon: optimizer.epsilon ?? DEFAULTS.rmspropEpsilon,
    },
    schedule: { name: schedule.name, warmupSteps: schedule.warmup_steps, decayFactor: schedule.decay_factor ?? DEFAULTS.decayFactor, decaySteps: schedule.decay_steps ?? 0 },
    emaDecay: training.ema_decay, labelSmoothing: training.label_smoothing, clipNorm: training.clip_norm ?? 0, ...trainingNoise(training.noise), seed,
    fineTuning: training.freeze === undefined ? undefined : { freeze: training.freeze },
    earlyStop: training.early_stop === undefined ? undefined : { everySteps: training.early_stop.every_steps, patience: training.early_stop.patience, minDelta: training.early_stop.min_delta },
  };
}
