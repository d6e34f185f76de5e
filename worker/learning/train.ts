/**
 * The training loop: batches in, averaged weights out, with the event loop free between steps.
 * Not for: choosing batches, storing weights and checkpoints, evaluating.
 * Invariants:
 *   1. A training's result is a pure function of architecture, settings, what it begins with, batches and the steps between checkpoints (one
 *      machine type, fixed threads), wherever it was interrupted and resumed. Those steps matter only where it diverges.
 *   2. Whatever ends it, the session is freed.
 *
 * Where many steps in a row have no finite loss, or no finite gradient, the training goes back to its last checkpoint, once,
 * and on from there at half the rate. A checkpoint is taken after a step that was finite: what it holds could be gone on from.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { AlumnusError, invariant } from '../../proto/errors.ts';
import { compile, loadTensorFlow } from '../tensorflow/index.ts';
import { stepSeed } from './draws.ts';
import { learningRateAt } from './schedules.ts';
import { handedBack, initialState, trainingStep } from './step.ts';
import { HeldOutLoss, isOver, measured, nothingMeasured, type HeldOut } from './early-stop.ts';
import type { Architecture } from '../../recipe/index.ts';
import type { Batch, LossPoint, TensorData, TrainingProgress, TrainingSettings, TrainingState } from './types.ts';

/** One bad batch is skipped; as many as this in a row are no accident, because a masked step changes nothing but the batch. */
export const maskedStepsMax = 10;

/** What a training that goes back multiplies every later rate by. */
export const wentBackFactor = 0.5;

/** Points of the loss curve where the caller does not say how often. */
const reportsDefault = 100;

export interface TrainingHooks {
  onProgress?(progress: TrainingProgress): void;
  signal?: AbortSignal;
  /** Steps between two reports, which are also the points of the loss curve. Default: a hundredth of the training. */
  everySteps?: number;
  /** The weights of step 0, running statistics among them: of fine-tuning. Default: drawn from the seed. */
  begin?: readonly TensorData[] | undefined;
  /** What early stop measures on; needed where the settings have it. */
  heldOut?: HeldOut | undefined;
  /** Where to begin instead of at the first step. */
  resume?: TrainingState | undefined;
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
  /** Mean over the last report's steps. */
  finalLoss: number;
  lossCurve: LossPoint[];
  /** Steps done. */
  steps: number;
  /** Of early stop: the step whose weights these are, whether it ended the training, and what was measured. */
  earlyStop?: { bestStep: number; stopped: boolean; curve: LossPoint[] };
  /** The step that it once went back to, to go on at a lower rate. */
  wentBackTo?: number;
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
  const { fineTuning, earlyStop } = settings;
  require(fineTuning === undefined || (fineTuning.freeze >= 0 && fineTuning.freeze <= 1), 'freeze lies in [0, 1]');
  require(earlyStop === undefined || (Number.isInteger(earlyStop.everySteps) && earlyStop.everySteps >= 1 && Number.isInteger(earlyStop.patience) && earlyStop.patience >= 1 && earlyStop.minDelta >= 0), 'early stop has everySteps and patience of at least 1, and minDelta of at least 0');
}

const stopped = (signal: AbortSignal, step: number): AlumnusError =>
  new AlumnusError('CANCELLED', `training was cancelled at step ${step}`, { cause: signal.reason });

/**
 * Trains from scratch or from given weights, or on from a checkpoint.
 * @param nextBatch the batch of step 0 to steps - 1, asked for in order; a training that goes back asks again.
 * @throws AlumnusError TRAINING_DIVERGED, CANCELLED, RECIPE_INVALID, ENGINE_UNAVAILABLE
 */
export async function train(architecture: Architecture, settings: TrainingSettings, nextBatch: (step: number) => Batch | Promise<Batch>, hooks: TrainingHooks = {}): Promise<Trained> {
  checkSettings(settings);
  const { earlyStop } = settings;
  invariant((settings.fineTuning === undefined) === (hooks.begin === undefined), 'fine-tuning begins with weights, other trainings don\'t');
  invariant(earlyStop === undefined || hooks.heldOut !== undefined, 'early stop has something to measure on');
  const engine = loadTensorFlow();
  const program = trainingStep(engine, architecture, settings);
  const batchSize = settings.batchLabeled + settings.batchUnlabeled;
  const everySteps = hooks.everySteps ?? Math.max(1, Math.floor(settings.steps / reportsDefault));
  const checkpointSteps = hooks.checkpointSteps ?? 0;
  const dueAfter = (step: number): number => checkpointSteps === 0 ? Infinity : (Math.floor(step / checkpointSteps) + 1) * checkpointSteps;

  const executable = compile(engine, program);
  const heldOutLoss = earlyStop === undefined || hooks.heldOut === undefined ? undefined : new HeldOutLoss(architecture, hooks.heldOut, batchSize);
  let saving: Promise<void> = Promise.resolve();
  try {
    const begin = hooks.begin === undefined ? undefined : Object.fromEntries(hooks.begin.map(({ name, values }) => [name, values]));
    let last: TrainingState = hooks.resume ?? { step: 0, variables: initialState(architecture, settings, program, begin), lossCurve: [], lossSum: 0, lossCount: 0, ...earlyStop && { earlyStop: nothingMeasured } };
    let { step, lossSum, lossCount } = last;
    let lossCurve = [...last.lossCurve];
    let early = last.earlyStop, stopsHere = false;
    let masked = 0, due = dueAfter(step), reportedStep = step, reportedAt = performance.now();
    executable.write(last.variables);
    while (step < settings.steps && !stopsHere) {
      // The engine process answers its worker between steps.
      await nextTurn();
      if (hooks.signal?.aborted) throw stopped(hooks.signal, step);
      const { images, targets } = await nextBatch(step);
      const learningRate = learningRateAt(step, settings) * (last.wentBackTo === undefined ? 1 : wentBackFactor);
      const outputs = executable.run({ images, targets, rate: Float32Array.of(learningRate), seed: stepSeed(settings.seed, step) });
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
        const weights = handedBack(architecture, settings, executable.read());
        early = measured(early, step, await heldOutLoss.of(weights), weights, earlyStop);
        stopsHere = step < settings.steps && isOver(early, earlyStop);
      }
      if (step % everySteps === 0 || step === settings.steps || stopsHere) {
        const now = performance.now();
        // Between two reports every step may have been masked, without so many in a row.
        const loss = lossCount > 0 ? lossSum / lossCount : lossCurve.at(-1)?.loss ?? Number.NaN;
        lossCurve.push({ step, loss });
        hooks.onProgress?.({ step, steps: settings.steps, loss, learningRate, imagesPerSecond: (step - reportedStep) * batchSize * 1000 / (now - reportedAt) });
        lossSum = 0;
        lossCount = 0;
        reportedStep = step;
        reportedAt = now;
      }
      if (step >= due && masked === 0 && step < settings.steps && !stopsHere) {
        last = { ...last, step, variables: executable.read(), lossCurve: [...lossCurve], lossSum, lossCount, ...early && { earlyStop: early } };
        due = dueAfter(step);
        await saving;
        saving = hooks.onCheckpoint?.(last) ?? Promise.resolve();
      }
    }
    await saving;
    const ended = handedBack(architecture, settings, executable.read());
    const best = early?.best;
    const weights = best === undefined ? ended : ended.map(({ name, shape, values }) => ({ name, shape, values: best.weights[name] ?? values }));
    return {
      weights, finalLoss: lossCurve.at(-1)!.loss, lossCurve, steps: step, ...last.wentBackTo === undefined ? {} : { wentBackTo: last.wentBackTo },
      ...early && { earlyStop: { bestStep: best?.step ?? step, stopped: stopsHere, curve: [...early.curve] } },
    };
  } finally {
    heldOutLoss?.dispose();
    executable.dispose();
  }
}
