/**
 * A model on images whose classes are known: its predictions, in a stream, and what is right of them. Not for: what is made of that (evaluate.ts, measure.ts).
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { AlumnusError } from '../../proto/errors.ts';
import type { CorruptedPart, CorruptionScore, Errors, PartRef } from '../../proto/gen/alumnus/v1/task.ts';
import { argmax, flips, type Predicted, type Predictor } from '../learning/index.ts';
import { inBatches, labeledPieces, topOf, type LabeledPiece } from '../data/index.ts';
import { shapeOf, type TaskContext } from './context.ts';
import { resizeOf, signatureOf, type ModelDocument } from './model.ts';

export interface Judge {
  readonly context: TaskContext;
  readonly model: ModelDocument;
  readonly batchSize: number;
  /** Asked for on the device, once a part. */
  predictor(): Promise<Predictor>;
  /** Images that the task has predicted so far, for its progress. */
  readonly done: { samples: number };
}

export interface Judged extends Predicted {
  readonly dataset: string;
  readonly keys: readonly string[];
  readonly predictions: Uint16Array;
  /** 1 where the prediction is the true class, else 0. */
  readonly right: Uint8Array;
  /** Of the prediction, float32 as in label tables. */
  readonly logOdds: Float32Array;
}

/** @throws AlumnusError TRAINING_DIVERGED where it gives no finite probability; as reading shards and predicting */
export async function judged({ context, model, batchSize, predictor, done }: Judge, part: PartRef): Promise<Judged> {
  const { store, signal, cacheFolder } = context;
  const { input, classes } = signatureOf(model);
  const keys: string[] = [];
  const truth = new Uint16Array(part.samples);
  const logProbabilities = new Float32Array(part.samples * classes);
  // Batches cross the ends of shards: a split's predictions don't depend on how it was cut.
  const pieces = async function* (): AsyncGenerator<LabeledPiece, void, undefined> {
    let seen = 0;
    for await (const piece of labeledPieces({ store, shape: shapeOf(input), resize: resizeOf(model), classes, cacheFolder, signal }, part)) {
      truth.set(piece.classes, seen);
      seen += piece.keys.length;
      yield piece;
    }
  };
  const batches = inBatches(pieces(), batchSize);
  try {
    let next = await batches.next();
    await context.onDevice(async () => {
      const own = await predictor();
      const startMs = performance.now();
      for (; next.done !== true; next = await batches.next()) {
        const { keys: these, images } = next.value;
        logProbabilities.set(await own.logProbabilities(images, these.length), keys.length * classes);
        for (const key of these) keys.push(key);
        done.samples += these.length;
        // What is predicted twice, as by a head alone, comes on top of the work that the task was told of.
        context.progress({ done: Math.min(done.samples, context.task.work), total: context.task.work, unit: 'images', rate: keys.length / ((performance.now() - startMs) / 1000), loss: 0 });
        await nextTurn();
      }
    });
  } finally {
    await batches.return();
  }
  const predictions = argmax(logProbabilities, keys.length, classes);
  const right = Uint8Array.from(predictions, (value, row) => (value === truth[row] ? 1 : 0));
  const logOdds = Float32Array.from(keys, (key, row) => {
    const { logOdds: value } = topOf(logProbabilities.subarray(row * classes, (row + 1) * classes));
    if (Number.isNaN(value)) throw new AlumnusError('TRAINING_DIVERGED', `the model gives no finite probability for ${key}`, { where: part.dataset });
    return value;
  });
  return { dataset: part.dataset, keys, logProbabilities, truth, classes, predictions, right, logOdds };
}

export const errorsOf = ({ right }: Pick<Judged, 'right'>): Errors => ({ wrong: right.reduce((sum, each) => sum + 1 - each, 0), total: right.length });

/** Of each corruption the wrong predictions, of each sequence the changed ones. */
export async function corruptionScores(judge: Judge, parts: readonly CorruptedPart[]): Promise<CorruptionScore[]> {
  const scores: CorruptionScore[] = [];
  for (const { name, validation, test, frames, againstFirst } of parts) {
    const errorsOn = async (part: PartRef | undefined): Promise<Errors | undefined> => {
      if (part === undefined) return undefined;
      const of = await judged(judge, part);
      return frames === 0 ? errorsOf(of) : flips(of.predictions, frames, againstFirst);
    };
    scores.push({ name, frames, validation: await errorsOn(validation), test: await errorsOn(test) });
  }
  return scores;
}
