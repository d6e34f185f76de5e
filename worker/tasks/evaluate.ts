/**
 * evaluate: one model, in a stream, on the validation split, which decides, and on the test split, which is only reported; paired with
 * the present teacher on the same validation samples, the counts that the promotion gate reads; and how far its confidence can be
 * trusted: the temperature that fits validation, and right predictions by confidence. Where the recipe names corrupted images, also how
 * many of those it gets wrong, and on how many frames of perturbation sequences it changes its mind; and of a model with two heads what
 * each is worth by itself.
 */
import { invariant } from '../../proto/errors.ts';
import type { Calibration, ConfidenceBin, EvaluateResult, EvaluateSpec, HeadScore, PairedCounts, PartRef, Score } from '../../proto/gen/alumnus/v1/task.ts';
import { canonicalJson, sha256, type ObjectStore } from '../../store/index.ts';
import { calibrationError, confidencesAt, discordant, fitTemperature, negativeLogLikelihood, scoreByClass } from '../learning/index.ts';
import { confidenceBins } from '../data/index.ts';
import { putJson, required, type TaskContext } from './context.ts';
import { corruptionScores, judged, type Judge, type Judged } from './judging.ts';
import { headsOf, predictorOf, readModel } from './model.ts';

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
  const judge: Judge = { context, model: await readModel(store, ref), batchSize: spec.batchSize, predictor: () => predictorOf(store, ref, spec.batchSize), done: { samples: 0 } };
  const validation = await judged(judge, required(spec.validation, 'validation'));
  const temperature = fitTemperature(validation);
  const calibration: Calibration = { temperature, loss: negativeLogLikelihood(validation), lossScaled: negativeLogLikelihood(validation, temperature) };
  const confidence = confidenceBins(validation.logOdds, validation.right);
  const decided = documentOf(validation, temperature);
  const test = spec.test === undefined ? undefined : documentOf(await judged(judge, spec.test), temperature);
  const document: EvaluationDocument = { schemaVersion: 1, model: ref.sha256, validation: decided, ...(test === undefined ? {} : { test }), calibration, confidence };
  const evaluation = await putJson(context, canonicalJson(document));
  const paired = spec.baseline === undefined ? [] : await pair(store, spec, validation, decided);
  const corruption = spec.corrupted === undefined ? {} : { corruption: { scores: await corruptionScores(judge, spec.corrupted.parts) } };
  return { evaluation, validation: decided.score, test: test?.score, paired, calibration, confidence, ...corruption, ...(await headScores(judge, spec)) };
}

/** Each class by itself would double what the journal holds of an evaluation, and nobody asks. */
async function headScores(judge: Judge, spec: EvaluateSpec): Promise<Pick<EvaluateResult, 'heads'>> {
  const scores: HeadScore[] = [];
  for (const head of headsOf(judge.model)) {
    const own: Judge = { ...judge, predictor: () => predictorOf(judge.context.store, required(spec.model, 'model'), spec.batchSize, head) };
    const scoreOn = async (part: PartRef): Promise<Score> => {
      const of = await judged(own, part);
      return { correct: of.right.reduce((sum, each) => sum + each, 0), total: of.keys.length, classes: [], calibrationError: calibrationError(confidencesAt(of, of.predictions, 1), of.right) };
    };
    scores.push({ head, validation: await scoreOn(required(spec.validation, 'validation')), test: spec.test === undefined ? undefined : await scoreOn(spec.test) });
  }
  return scores.length === 0 ? {} : { heads: { scores } };
}

function documentOf(evaluated: Judged, temperature: number): SplitDocument {
  const { dataset, keys, predictions, right, truth, classes } = evaluated;
  const score: Score = {
    correct: right.reduce((sum, each) => sum + each, 0), total: keys.length, classes: scoreByClass(predictions, truth, classes).map((count, at) => ({ class: at, ...count })),
    calibrationError: calibrationError(confidencesAt(evaluated, predictions, 1), right), calibrationErrorScaled: calibrationError(confidencesAt(evaluated, predictions, temperature), right),
  };
  return { dataset, samples: keys.length, keys: sha256(keys.join('\n')), predictions: encode(predictions), score };
}

/** Counts on the whole split, then on fixed subsets of the sizes asked for: the same subsets for every model of a run. */
async function pair(store: ObjectStore, spec: EvaluateSpec, student: Judged, { keys }: SplitDocument): Promise<PairedCounts[]> {
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
