/**
 * The training loop: batches in, averaged weights out, with the event loop free between steps.
 * Not for: choosing batches, storing weights, evaluating.
 * Invariants: a training's result is a pure function of architecture, settings and batches (one machine type, fixed
 * threads); whatever ends it, the session is freed.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { AlumnusError, invariant } from '../../proto/errors.ts';
import { compile, loadTensorFlow } from '../tensorflow/index.ts';
import { stepSeed } from './draws.ts';
import { parameterSpecs } from '../../recipe/index.ts';
import { learningRateAt } from './schedules.ts';
import { averageName, initialState, trainingStep } from './step.ts';
import type { Architecture } from '../../recipe/index.ts';
import type { Batch, TensorData, TrainingProgress, TrainingSettings } from './types.ts';

/** One bad batch is skipped; as many as this in a row are no accident, because a masked step changes nothing but the batch. */
export const maskedStepsMax = 10;

/** Points of the loss curve where the caller does not say how often. */
const reportsDefault = 100;

export interface TrainingHooks {
  onProgress?(progress: TrainingProgress): void;
  signal?: AbortSignal;
  /** Steps between two reports, which are also the points of the loss curve. Default: a hundredth of the training. */
  everySteps?: number;
}

export interface Trained {
  /** Moving average of the weights, and batch normalization's running statistics. */
  weights: TensorData[];
  /** Mean over the last report's steps. */
  finalLoss: number;
  lossCurve: { step: number; loss: number }[];
  steps: number;
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
  require(Number.isSafeInteger(settings.seed), 'seed is a safe integer');
}

const stopped = (signal: AbortSignal, step: number): AlumnusError =>
  new AlumnusError('CANCELLED', `training was cancelled at step ${step}`, { cause: signal.reason });

/**
 * Trains from scratch.
 * @param nextBatch the batch of step 0 to steps - 1, asked for in order.
 * @throws AlumnusError TRAINING_DIVERGED, CANCELLED, RECIPE_INVALID, ENGINE_UNAVAILABLE
 */
export async function train(architecture: Architecture, settings: TrainingSettings, nextBatch: (step: number) => Batch | Promise<Batch>, hooks: TrainingHooks = {}): Promise<Trained> {
  checkSettings(settings);
  const engine = loadTensorFlow();
  const program = trainingStep(engine, architecture, settings);
  const batchSize = settings.batchLabeled + settings.batchUnlabeled;
  const everySteps = hooks.everySteps ?? Math.max(1, Math.floor(settings.steps / reportsDefault));
  const lossCurve: { step: number; loss: number }[] = [];
  let masked = 0, lossSum = 0, lossCount = 0, reportedStep = 0, reportedAt = performance.now();

  const executable = compile(engine, program);
  try {
    executable.write(initialState(architecture, settings, program));
    for (let step = 0; step < settings.steps; step++) {
      // The engine process answers its worker between steps.
      await nextTurn();
      if (hooks.signal?.aborted) throw stopped(hooks.signal, step);
      const { images, targets } = await nextBatch(step);
      const learningRate = learningRateAt(step, settings);
      const outputs = executable.run({ images, targets, rate: Float32Array.of(learningRate), seed: stepSeed(settings.seed, step) });
      if (outputs['finite']![0] === 1) {
        masked = 0;
        lossSum += outputs['loss']![0]!;
        lossCount++;
      } else if (++masked === maskedStepsMax) {
        throw new AlumnusError('TRAINING_DIVERGED', `the loss or a gradient was not finite in ${maskedStepsMax} steps in a row, the last of them step ${step}`, { where: 'training' });
      }
      const done = step + 1;
      if (done % everySteps !== 0 && done !== settings.steps) continue;
      const now = performance.now();
      // Between two reports every step may have been masked, without so many in a row.
      const loss = lossCount > 0 ? lossSum / lossCount : lossCurve.at(-1)?.loss ?? Number.NaN;
      lossCurve.push({ step: done, loss });
      hooks.onProgress?.({ step: done, steps: settings.steps, loss, learningRate, imagesPerSecond: (done - reportedStep) * batchSize * 1000 / (now - reportedAt) });
      lossSum = 0;
      lossCount = 0;
      reportedStep = done;
      reportedAt = now;
    }
    const state = executable.read();
    const weights = parameterSpecs(architecture).map(({ name, shape, role }) => {
      const values = state[role === 'statistic' ? name : averageName(name)];
      invariant(values !== undefined, `the step holds ${name}`);
      return { name, shape: [...shape], values };
    });
    return { weights, finalLoss: lossCurve.at(-1)!.loss, lossCurve, steps: settings.steps };
  } finally {
    executable.dispose();
  }
}
