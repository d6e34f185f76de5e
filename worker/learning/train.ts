/**
 * The training loop: batches in, averaged weights out, with the event loop free between steps.
 * Not for: choosing batches, storing weights and checkpoints, evaluating.
 * Invariants:
 *   1. A training's result is a pure function of architecture, settings, what it begins with, batches and the steps between checkpoints (one
 *      machine type, fixed threads), wherever it was interrupted and resumed. Those steps matter only where it diverges.
 *   2. Whatever ends it, the session is freed, unless the caller brought it.
 *   3. A part of a training, with the places that its steps have in the order of the data, is the same loop with another beginning and
 *      end: parts that follow one another with the whole's places are the whole.
 *
 * Where many steps in a row have no finite loss, or no finite gradient, the training goes back to its last checkpoint, once,
 * and on from there at half the rate. A checkpoint is taken after a step that was finite: what it holds could be gone on from.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { AlumnusError, invariant } from '../../proto/errors.ts';
import { step as measuredStep } from '../measured.ts';
import { compile, loadTensorFlow, type Executable } from '../tensorflow/index.ts';
import { stepSeed } from './draws.ts';
import { learningRateAt } from './schedules.ts';
import { averagedWeights, initialState, trainingStep } from './step.ts';
import { HeldOutLoss, isOver, measured, nothingMeasured, type HeldOut } from './early-stop.ts';
import type { Architecture } from '../../recipe/index.ts';
import type { Batch, LossPoint, OnlineTeacher, TensorData, TrainingProgress, TrainingSettings, TrainingState } from './types.ts';

/** One bad batch is skipped; as many as this in a row are no accident, because a masked step changes nothing but the batch. */
export const maskedStepsMax = 10;

/** What a training that goes back multiplies every later rate by. */
export const wentBackFactor = 0.5;

/** Points of the loss curve where the caller does not say how often. */
const reportsDefault = 100;

export interface TrainingHooks {
  onProgress?(progress: TrainingProgress): void;
  signal?: AbortSignal;
  /** Steps between two reports. Default: a hundredth of the training. */
  everySteps?: number;
  /** Steps between two points of the loss curve, a multiple of `everySteps`, which is the default; the end has a point in any case. */
  pointSteps?: number;
  /** The weights of step 0, running statistics among them: of fine-tuning. Default: drawn from the seed. */
  begin?: readonly TensorData[] | undefined;
  /** Whom the settings distill within the step; needed where they do, unless `compiled` is given. */
  teacher?: OnlineTeacher | undefined;
  /** What early stop measures on; needed where the settings have it. */
  heldOut?: HeldOut | undefined;
  /** Where to begin instead of at the first step. */
  resume?: TrainingState | undefined;
  /** Of a part: the steps that are done when it ends, at most the schedule's. Default: all of them. */
  until?: number;
  /** The step's place in the order of the data, which its noise is drawn from, too. Default: the step itself. */
  placeOf?(step: number): number;
  /** `compileStep` of this architecture and these settings, for a caller that trains again; it stays open. */
  compiled?: CompiledStep | undefined;
  /** Steps between two checkpoints, counted from the first step; 0, the default: none but the start. */
  checkpointSteps?: number;
  /** Takes a checkpoint while the training goes on; the next one waits for it, and so does the end. Must not reject. */
  onCheckpoint?(state: TrainingState): Promise<void>;
  /** Told when the training goes back. */
  onWentBack?(from: number, to: number): void;
}

export interface Trained {
  /** Moving average of the weights, and batch normalization's running statistics. */
  weights: TensorData[];
  /** Of the curve's last point; NaN where no loss was finite. */
  finalLoss: number;
  lossCurve: LossPoint[];
  /** Steps done. */
  steps: number;
  /** Of early stop: the step whose weights these are, whether it ended the training, and what was measured. */
  earlyStop?: { bestStep: number; stopped: boolean; curve: LossPoint[] };
  /** The step that it once went back to, to go on at a lower rate. */
  wentBackTo?: number;
  /** After the last step: what a training that goes on from there resumes. */
  state: TrainingState;
}

function checkSettings(settings: TrainingSettings): void {
  const require = (holds: boolean, what: string): void => {
    if (!holds) throw new AlumnusError('RECIPE_INVALID', what, { where: 'training' });
  };
  require(Number.isInteger(settings.steps) && settings.steps >= 1, 'steps is a whole number of at least 1');
  require(Number.isInteger(settings.batchLabeled) && settings.batchLabeled >= 0, 'batchLabeled is a whole number of at least 0');
  require(Number.isInteger(settings.batchUnlabeled) && settings.batchUnlabeled >= 0, 'batchUnlabeled is a whole number of at least 0');
  require(settings.batchLabeled + settings.batchUnlabeled >= 1, 'a batch holds at least one sample');
  require(settings.emaDecay >= 0 && settings.emaDecay < 1, 'emaDecay lies in [0, 1)');
  require(settings.labelSmoothing >= 0 && settings.labelSmoothing < 1, 'labelSmoothing lies in [0, 1)');
  require(settings.clipNorm >= 0, 'clipNorm is at least 0');
  require(Number.isSafeInteger(settings.seed), 'seed is a safe integer');
  const { fineTuning, earlyStop, distillation } = settings;
  require(distillation === undefined || (distillation.temperature > 0 && distillation.share >= 0 && distillation.share <= 1), 'distillation has a temperature above 0 and a share in [0, 1]');
  require(fineTuning === undefined || (fineTuning.freeze >= 0 && fineTuning.freeze <= 1), 'freeze lies in [0, 1]');
  require(earlyStop === undefined || (Number.isInteger(earlyStop.everySteps) && earlyStop.everySteps >= 1 && Number.isInteger(earlyStop.patience) && earlyStop.patience >= 1 && earlyStop.minDelta >= 0), 'early stop has everySteps and patience of at least 1, and minDelta of at least 0');
}

const stopped = (signal: AbortSignal, step: number): AlumnusError =>
  new AlumnusError('CANCELLED', `training was cancelled at step ${step}`, { cause: signal.reason });

/** A training step as one graph, with its variables. */
export type CompiledStep = Executable;

/** The training step as one graph. Of the settings it depends on neither seed nor steps. @throws AlumnusError RECIPE_INVALID, ENGINE_UNAVAILABLE */
export function compileStep(architecture: Architecture, settings: TrainingSettings, teacher?: OnlineTeacher): CompiledStep {
  checkSettings(settings);
  const engine = loadTensorFlow();
  return compile(engine, trainingStep(engine, architecture, settings, teacher));
}

/**
 * Trains from scratch or from given weights, or on from a checkpoint.
 * @param nextBatch the batch of a place, that of step 0 to steps - 1 where nothing else is said, asked for in order; a training that goes back asks again.
 * @throws AlumnusError TRAINING_DIVERGED, CANCELLED, RECIPE_INVALID, ENGINE_UNAVAILABLE
 */
export async function train(architecture: Architecture, settings: TrainingSettings, nextBatch: (place: number) => Batch | Promise<Batch>, hooks: TrainingHooks = {}): Promise<Trained> {
  checkSettings(settings);
  const until = hooks.until ?? settings.steps;
  const placeOf = hooks.placeOf ?? (step => step);
  const batchSize = settings.batchLabeled + settings.batchUnlabeled;
  const everySteps = hooks.everySteps ?? Math.max(1, Math.floor(settings.steps / reportsDefault));
  const pointSteps = hooks.pointSteps ?? everySteps;
  const checkpointSteps = hooks.checkpointSteps ?? 0;
  const dueAfter = (step: number): number => checkpointSteps === 0 ? Infinity : (Math.floor(step / checkpointSteps) + 1) * checkpointSteps;

  const { earlyStop } = settings;
  invariant((settings.fineTuning === undefined) === (hooks.begin === undefined), 'fine-tuning begins with weights, other trainings don\'t');
  invariant(earlyStop === undefined || hooks.heldOut !== undefined, 'early stop has something to measure on');
  const executable = hooks.compiled ?? compileStep(architecture, settings, hooks.teacher);
  const heldOutLoss = earlyStop === undefined || hooks.heldOut === undefined ? undefined : new HeldOutLoss(architecture, hooks.heldOut, batchSize);
  let saving: Promise<void> = Promise.resolve();
  try {
    const begin = hooks.begin === undefined ? undefined : Object.fromEntries(hooks.begin.map(({ name, values }) => [name, values]));
    let last: TrainingState = hooks.resume ?? { step: 0, variables: initialState(architecture, settings, begin), lossCurve: [], lossSum: 0, lossCount: 0, ...earlyStop && { earlyStop: nothingMeasured } };
    let { step, lossSum, lossCount } = last;
    let lossCurve = [...last.lossCurve];
    let early = last.earlyStop, stopsHere = false;
    let masked = 0, due = dueAfter(step), reportedStep = step, reportedAt = performance.now();
    executable.write(last.variables);
    while (step < until && !stopsHere) {
      // The engine process answers its worker between steps.
      await nextTurn();
      if (hooks.signal?.aborted) throw stopped(hooks.signal, step);
      const place = placeOf(step);
      const { images, targets } = await nextBatch(place);
      const learningRate = learningRateAt(step, settings) * (last.wentBackTo === undefined ? 1 : wentBackFactor);
      const outputs = measuredStep('train', batchSize, () => executable.run({ images, targets, rate: Float32Array.of(learningRate), seed: stepSeed(settings.seed, place) }));
      if (outputs['finite']![0] === 1) {
        masked = 0;
        lossSum += outputs['loss']![0]!;
        lossCount++;
      } else if (++masked === maskedStepsMax) {
        if (last.wentBackTo !== undefined) {
          throw new AlumnusError('TRAINING_DIVERGED', `the loss or a gradient was not finite in ${maskedStepsMax} steps in a row, the last of them step ${step}, also after the training had gone back to step ${last.wentBackTo} and on at ${wentBackFactor} of the learning rate`, { where: 'training' });
        }
        hooks.onWentBack?.(step, last.step);
        last = { ...last, wentBackTo: last.step };
        ({ step, lossSum, lossCount } = last);
        lossCurve = [...last.lossCurve];
        early = last.earlyStop;
        executable.write(last.variables);
        masked = 0;
        due = dueAfter(step);
        reportedStep = step;
        reportedAt = performance.now();
        continue;
      }
      step++;
      if (earlyStop !== undefined && early !== undefined && heldOutLoss !== undefined && (step % earlyStop.everySteps === 0 || step === settings.steps)) {
        const weights = averagedWeights(architecture, settings, executable.read());
        early = measured(early, step, await heldOutLoss.of(weights), weights, earlyStop);
        stopsHere = step < settings.steps && isOver(early, earlyStop);
      }
      if (step % everySteps === 0 || step === until || stopsHere) {
        const now = performance.now();
        // Between two reports every step may have been masked, without so many in a row.
        const loss = lossCount > 0 ? lossSum / lossCount : lossCurve.at(-1)?.loss ?? Number.NaN;
        if (step % pointSteps === 0 || step === until || stopsHere) {
          lossCurve.push({ step, loss });
          lossSum = 0;
          lossCount = 0;
        }
        hooks.onProgress?.({ step, steps: settings.steps, loss, learningRate, imagesPerSecond: (step - reportedStep) * batchSize * 1000 / (now - reportedAt) });
        reportedStep = step;
        reportedAt = now;
      }
      if (step >= due && masked === 0 && step < until && !stopsHere) {
        last = { ...last, step, variables: executable.read(), lossCurve: [...lossCurve], lossSum, lossCount, ...early && { earlyStop: early } };
        due = dueAfter(step);
        await saving;
        saving = hooks.onCheckpoint?.(last) ?? Promise.resolve();
      }
    }
    await saving;
    const wentBack = last.wentBackTo === undefined ? {} : { wentBackTo: last.wentBackTo };
    const state: TrainingState = { step, variables: executable.read(), lossCurve: [...lossCurve], lossSum, lossCount, ...wentBack, ...early && { earlyStop: early } };
    const ended = averagedWeights(architecture, settings, state.variables);
    const best = early?.best;
    const weights = best === undefined ? ended : ended.map(({ name, shape, values }) => ({ name, shape, values: best.weights[name] ?? values }));
    return {
      weights, finalLoss: lossCurve.at(-1)?.loss ?? Number.NaN, lossCurve, steps: step, ...wentBack, state,
      ...early && { earlyStop: { bestStep: best?.step ?? step, stopped: stopsHere, curve: [...early.curve] } },
    };
  } finally {
    heldOutLoss?.dispose();
    if (hooks.compiled === undefined) executable.dispose();
  }
}
