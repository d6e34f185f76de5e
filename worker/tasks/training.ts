/**
 * What a TrainSpec means, for the task kinds that are a training (train.ts) or a part of one (replica.ts, merge.ts): architecture,
 * settings, data and teacher; and a training's checkpoints in the store.
 * Not for: the loop over steps (../learning), what is written where a training ends (each kind's own file).
 */
import { AlumnusError, invariant, toAlumnusError } from '../../proto/errors.ts';
import { parameterCount, type Architecture, type Distill, type Recipe } from '../../recipe/index.ts';
import type { ObjectRef, PartRef, TrainSpec } from '../../proto/gen/alumnus/v1/task.ts';
import { canonicalJson, sha256 } from '../../store/index.ts';
import { readSelection, trueLabels, type BatchPlan, type Distilled, type SelectedPart, type Source } from '../data/index.ts';
import { decodeCheckpoint, encodeCheckpoint, knownModel, trainingNoise, type TrainingSettings, type TrainingState } from '../learning/index.ts';
import { aboutOf, CHECKPOINT_STEP, required, shapeOf, type TaskContext } from './context.ts';
import type { TrainedDocument } from './model.ts';

/** The recipe's part that a training was given, as it travels. */
type TrainingJson = Pick<Recipe['training'], 'optimizer' | 'schedule' | 'ema_decay' | 'label_smoothing' | 'clip_norm'> & {
  steps: number; batch_labeled: number; batch_unlabeled: number; noise: Recipe['noise'];
  /** Of fine-tuning. */
  freeze?: number;
  /** `seed`: of the images held out, the same for all trainings of a run. */
  early_stop?: NonNullable<Recipe['training']['early_stop']> & { seed: number };
  /** Of a student that its teacher is distilled into. */
  distill?: Distill;
};

/** Steps between two reports of a training at least. */
export const PROGRESS_EVERY_STEPS = 20;

export interface Training {
  /** A digest of all that the training is a function of: its parts and what they leave for one another know each other by it. */
  readonly name: string;
  readonly architecture: Architecture;
  readonly settings: TrainingSettings;
  readonly parameters: number;
  readonly labeled: PartRef;
  readonly selected: SelectedPart | undefined;
  readonly distilled: Distilled | undefined;
  /** The model document of the teacher that labels within the step. */
  readonly online: ObjectRef | undefined;
  /** Which of the labeled images it is measured on, and does not learn from. */
  readonly held: { readonly share: number; readonly seed: number } | undefined;
  /** The digest of the model whose labels it learns from, empty where it has none. */
  readonly teacher: string;
  /** But for the task and the lineage of the run, what the model document will say. */
  readonly document: Pick<TrainedDocument, 'architecture' | 'classNames' | 'parameters'> & { readonly lineage: Pick<TrainedDocument['lineage'], 'labeled' | 'reviewed' | 'selection' | 'training'> };
}

/** @throws AlumnusError USAGE, CODE_OUTDATED, and the store's */
export async function trainingOf({ store }: TaskContext, spec: TrainSpec, seed: number): Promise<Training> {
  if (spec.labelKind !== 'soft' && spec.labelKind !== 'hard') throw new AlumnusError('USAGE', `labels are "soft" or "hard", not "${spec.labelKind}"`, { where: 'labels.kind' });
  const training = JSON.parse(spec.trainingJson) as TrainingJson;
  const model = required(spec.model, 'model');
  const architecture: Architecture = { model: { name: model.name, options: model.options }, input: shapeOf(spec.image), classes: spec.classNames.length };
  knownModel(architecture);
  const parameters = parameterCount(architecture);
  const labeled = required(spec.labeled, 'labeled');
  const selected: SelectedPart | undefined = spec.unlabeled === undefined || spec.selection === undefined ? undefined
    : {
      unlabeled: spec.unlabeled, selection: spec.selection, pseudoLabels: spec.pseudoLabels,
      ...(spec.truth === undefined ? { kind: spec.labelKind } : { kind: 'hard', instead: await trueLabels(store, spec.truth, { classes: architecture.classes, noise: spec.labelNoise ?? 0, seed }) }),
    };
  const distilled = distilledOf(training, spec);
  return {
    distilled, online: distilled?.teacher === 'online' ? spec.distill?.teacher : undefined,
    name: sha256(canonicalJson({ train: spec, seed })), architecture, parameters, labeled, selected,
    settings: settingsOf(training, seed),
    held: training.early_stop === undefined ? undefined : { share: training.early_stop.holdout, seed: training.early_stop.seed },
    teacher: selected === undefined ? '' : (await readSelection(store, selected.selection)).teacher,
    document: { architecture, classNames: spec.classNames, parameters, lineage: { labeled: labeled.manifestSha256, reviewed: labeled.reviewed?.sha256, selection: spec.selection?.sha256 ?? '', training } },
  };
}

function distilledOf({ distill }: TrainingJson, spec: TrainSpec): Distilled | undefined {
  if (distill === undefined) return undefined;
  const { labels } = required(spec.distill, 'distill');
  return distill.teacher === 'online' ? { teacher: 'online' } : { teacher: 'stored', labels };
}

/** What batches are made by, beside the parts. */
export const planOf = ({ settings, distilled }: Training): BatchPlan => ({ batchLabeled: settings.batchLabeled, batchUnlabeled: settings.batchUnlabeled, seed: settings.seed, distilled });

/** Where the task reads the training's data from. */
export const sourceOf = ({ store, cacheFolder, signal }: TaskContext, { architecture: { input, classes } }: Training): Source => ({ store, shape: shapeOf(input), classes, cacheFolder, signal });

/** The newest checkpoint of the task that is whole; undefined where there is none. @throws the store's errors that may pass. */
export async function resumable({ store, task, note }: TaskContext, { architecture, settings }: Training): Promise<TrainingState | undefined> {
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
export async function keep(context: TaskContext, { architecture, settings, teacher }: Training, state: TrainingState): Promise<void> {
  const { store, task } = context;
  try {
    const ref = await store.putAddressed(task.outputPrefix, encodeCheckpoint(architecture, settings, state, task.taskId), { extension: '.checkpoint', metadata: stateAbout(context, teacher, state.step) });
    context.checkpoint({ step: state.step, ref });
  } catch (thrown) {
    context.note(`the checkpoint of step ${state.step} could not be kept: ${toAlumnusError(thrown).message}`);
  }
}

/** What a training's state in the store says of itself: as every output, and the steps done. */
export const stateAbout = (context: TaskContext, teacher: string, step: number): Record<string, string> => ({ ...aboutOf(context, teacher), [CHECKPOINT_STEP]: String(step) });

/** To the worker's log. */
export const noteWentBack = ({ note }: TaskContext) => (from: number, to: number): void => note(`no finite loss up to step ${from}: goes back to step ${to}, and on at a lower learning rate`);

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
    distillation: training.distill,
    earlyStop: training.early_stop === undefined ? undefined : { everySteps: training.early_stop.every_steps, patience: training.early_stop.patience, minDelta: training.early_stop.min_delta },
  };
}
