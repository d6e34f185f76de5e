/**
 * evaluate: one model, in a stream, on the validation split, which decides, and on the test split, which is only reported; paired with
 * the present teacher on the same validation samples, the counts that the promotion gate reads; and how far its confidence can be
 * trusted: the temperature that fits validation, and right predictions by confidence. Where the recipe names corrupted images, also how
 * many of those it gets wrong, and on how many frames of perturbation sequences it changes its mind; and of a model with two heads what
 * each is worth by itself.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { AlumnusError, invariant } from '../../proto/errors.ts';
import type { Calibration, ConfidenceBin, CorruptedPart, CorruptionScore, CorruptionScores, Errors, EvaluateResult, EvaluateSpec, HeadScore, PairedCounts, PartRef, Score } from '../../proto/gen/alumnus/v1/task.ts';
import { canonicalJson, sha256, type ObjectStore } from '../../store/index.ts';
import { argmax, calibrationError, confidencesAt, discordant, fitTemperature, flips, negativeLogLikelihood, scoreByClass, type Predicted } from '../learning/index.ts';
import { confidenceBins, inBatches, labeledPieces, topOf, type LabeledPiece } from '../data/index.ts';
import { putJson, required, shapeOf, type TaskContext } from './context.ts';
import { headsOf, predictorOf, readModel, resizeOf, signatureOf, type ModelDocument } from './model.ts';

interface SplitDocument {
  readonly dataset: string;
  readonly samples: number;
  /** Digest of the keys in order: predictions of two models are paired only where it is the same. */
  readonly keys: string;
  /** Uint16 little-endian, base64, one class a sample. */
  readonly predictions: string;
  readonly score: Score;
}

interface EvaluationDocument {
  readonly schemaVersion: 1;
  readonly model: string;
  readonly validation: SplitDocument;
  readonly test?: SplitDocument;
  /** Fitted on validation; a document of an earlier release has none, nor bins. */
  readonly calibration: Calibration;
  readonly confidence: readonly ConfidenceBin[];
}

const encode = (predictions: Uint16Array): string => {
  const bytes = Buffer.alloc(predictions.length * 2);
  predictions.forEach((value, row) => bytes.writeUInt16LE(value, row * 2));
  return bytes.toString('base64');
};

function decode(text: string): Uint16Array {
  const bytes = Buffer.from(text, 'base64');
  return Uint16Array.from({ length: bytes.length / 2 }, (_, row) => bytes.readUInt16LE(row * 2));
}

export async function evaluate(context: TaskContext, spec: EvaluateSpec): Promise<EvaluateResult> {
  const { store } = context;
  const ref = required(spec.model, 'model');
  const model = await readModel(store, ref);
  const done = { samples: 0 };
  const validation = await predict(context, spec, model, required(spec.validation, 'validation'), done);
  const temperature = fitTemperature(validation);
  const calibration: Calibration = { temperature, loss: negativeLogLikelihood(validation), lossScaled: negativeLogLikelihood(validation, temperature) };
  const confidence = confidenceBins(validation.logOdds, validation.right);
  const decided = documentOf(validation, temperature);
  const test = spec.test === undefined ? undefined : documentOf(await predict(context, spec, model, spec.test, done), temperature);
  const document: EvaluationDocument = { schemaVersion: 1, model: ref.sha256, validation: decided, ...(test === undefined ? {} : { test }), calibration, confidence };
  const evaluation = await putJson(context, canonicalJson(document));
  const paired = spec.baseline === undefined ? [] : await pair(store, spec, validation, decided);
  const corruption = spec.corrupted === undefined ? {} : { corruption: await corruptionScores(context, spec, model, spec.corrupted.parts, done) };
  return { evaluation, validation: decided.score, test: test?.score, paired, calibration, confidence, ...corruption, ...(await headScores(context, spec, model, done)) };
}

/** Each class by itself would double what the journal holds of an evaluation, and nobody asks. */
async function headScores(context: TaskContext, spec: EvaluateSpec, model: ModelDocument, done: { samples: number }): Promise<Pick<EvaluateResult, 'heads'>> {
  const scores: HeadScore[] = [];
  for (const head of headsOf(model)) {
    const scoreOn = async (part: PartRef): Promise<Score> => {
      const evaluated = await predict(context, spec, model, part, done, head);
      return { correct: evaluated.right.reduce((sum, each) => sum + each, 0), total: evaluated.keys.length, classes: [], calibrationError: calibrationError(confidencesAt(evaluated, evaluated.predictions, 1), evaluated.right) };
    };
    scores.push({ head, validation: await scoreOn(required(spec.validation, 'validation')), test: spec.test === undefined ? undefined : await scoreOn(spec.test) });
  }
  return scores.length === 0 ? {} : { heads: { scores } };
}

async function corruptionScores(context: TaskContext, spec: EvaluateSpec, model: ModelDocument, parts: readonly CorruptedPart[], done: { samples: number }): Promise<CorruptionScores> {
  const scores: CorruptionScore[] = [];
  for (const { name, validation, test, frames, againstFirst } of parts) {
    const errorsOn = async (part: PartRef | undefined): Promise<Errors | undefined> => {
      if (part === undefined) return undefined;
      const { predictions, right } = await predict(context, spec, model, part, done);
      return frames === 0 ? { wrong: right.reduce((sum, each) => sum + 1 - each, 0), total: right.length } : flips(predictions, frames, againstFirst);
    };
    scores.push({ name, frames, validation: await errorsOn(validation), test: await errorsOn(test) });
  }
  return { scores };
}

interface Evaluated extends Predicted {
  readonly dataset: string;
  readonly keys: readonly string[];
  readonly predictions: Uint16Array;
  /** 1 where the prediction is the true class, else 0. */
  readonly right: Uint8Array;
  /** Of the prediction, float32 as in label tables. */
  readonly logOdds: Float32Array;
}

async function predict(context: TaskContext, spec: EvaluateSpec, model: ModelDocument, part: PartRef, done: { samples: number }, head?: 'class' | 'distillation'): Promise<Evaluated> {
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
  const batches = inBatches(pieces(), spec.batchSize);
  try {
    let next = await batches.next();
    await context.onDevice(async () => {
      const predictor = await predictorOf(store, required(spec.model, 'model'), spec.batchSize, head);
      const startMs = performance.now();
      for (; next.done !== true; next = await batches.next()) {
        const { keys: own, images } = next.value;
        logProbabilities.set(await predictor.logProbabilities(images, own.length), keys.length * classes);
        for (const key of own) keys.push(key);
        done.samples += own.length;
        // What heads say by themselves comes on top of the work that the task was told of.
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

function documentOf(evaluated: Evaluated, temperature: number): SplitDocument {
  const { dataset, keys, predictions, right, truth, classes } = evaluated;
  const score: Score = {
    correct: right.reduce((sum, each) => sum + each, 0), total: keys.length, classes: scoreByClass(predictions, truth, classes).map((count, at) => ({ class: at, ...count })),
    calibrationError: calibrationError(confidencesAt(evaluated, predictions, 1), right), calibrationErrorScaled: calibrationError(confidencesAt(evaluated, predictions, temperature), right),
  };
  return { dataset, samples: keys.length, keys: sha256(keys.join('\n')), predictions: encode(predictions), score };
}

/** Counts on the whole split, then on fixed subsets of the sizes asked for: the same subsets for every model of a run. */
async function pair(store: ObjectStore, spec: EvaluateSpec, student: Evaluated, { keys }: SplitDocument): Promise<PairedCounts[]> {
  const baseline = JSON.parse(Buffer.from(await store.get(required(spec.baseline, 'baseline'))).toString('utf8')) as EvaluationDocument;
  invariant(baseline.validation.keys === keys, 'student and teacher were evaluated on the same validation samples');
  const teacher = decode(baseline.validation.predictions);
  const ranked = student.keys.map((key, row) => ({ hash: sha256(`${SUBSET_SALT}/${key}`), row })).sort((a, b) => (a.hash < b.hash ? -1 : 1));
  const count = (rows: ReadonlySet<number> | undefined): PairedCounts => discordant(student.predictions, teacher, student.truth, (row) => rows === undefined || rows.has(row));
  const subsets = spec.pairedSubsets.filter((size) => size < student.keys.length);
  return [count(undefined), ...subsets.map((size) => count(new Set(ranked.slice(0, size).map(({ row }) => row))))];
}

/** Fixed: a subset stands for a team's smaller split, which wouldn't change between rounds. */
const SUBSET_SALT = 'validation-subset';
