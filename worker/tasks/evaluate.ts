/**
 * evaluate: one model, in a stream, on the validation split, which decides, and on the test split, which is only reported; and, paired with
 * the present teacher on the same validation samples, the counts that the promotion gate reads.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { invariant } from '../../proto/errors.ts';
import type { EvaluateResult, EvaluateSpec, PairedCounts, PartRef, Score } from '../../proto/gen/alumnus/v1/task.ts';
import { canonicalJson, sha256, type ObjectStore } from '../../store/index.ts';
import { argmax, calibrationError, discordant, scoreByClass } from '../learning/index.ts';
import { inBatches, labeledPieces, type LabeledPiece } from '../data/index.ts';
import { putJson, required, shapeOf, type TaskContext } from './context.ts';
import { predictorOf, readModel, type ModelDocument } from './model.ts';

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
  const validation = await split(context, spec, model, required(spec.validation, 'validation'), done);
  const test = spec.test === undefined ? undefined : await split(context, spec, model, spec.test, done);
  const document: EvaluationDocument = { schemaVersion: 1, model: ref.sha256, validation: validation.document, ...(test === undefined ? {} : { test: test.document }) };
  const evaluation = await putJson(context, canonicalJson(document));
  const paired = spec.baseline === undefined ? [] : await pair(store, spec, validation);
  return { evaluation, validation: validation.document.score, test: test?.document.score, paired };
}

interface Evaluated {
  readonly document: SplitDocument;
  readonly keys: readonly string[];
  readonly truth: Uint16Array;
  readonly predictions: Uint16Array;
}

async function split(context: TaskContext, spec: EvaluateSpec, model: ModelDocument, part: PartRef, done: { samples: number }): Promise<Evaluated> {
  const { store, signal, cacheFolder } = context;
  const { input, classes } = model.architecture;
  const keys: string[] = [];
  const truth = new Uint16Array(part.samples);
  const predictions = new Uint16Array(part.samples);
  const confidences = new Float64Array(part.samples);
  // Batches cross the ends of shards: a split's predictions don't depend on how it was cut.
  const pieces = async function* (): AsyncGenerator<LabeledPiece, void, undefined> {
    let seen = 0;
    for await (const piece of labeledPieces({ store, shape: shapeOf(input), classes, cacheFolder, signal }, part)) {
      truth.set(piece.classes, seen);
      seen += piece.keys.length;
      yield piece;
    }
  };
  const batches = inBatches(pieces(), spec.batchSize);
  try {
    let next = await batches.next();
    await context.onDevice(async () => {
      const predictor = await predictorOf(store, required(spec.model, 'model'), spec.batchSize);
      const startMs = performance.now();
      for (; next.done !== true; next = await batches.next()) {
        const { keys: own, images } = next.value;
        const logProbabilities = await predictor.logProbabilities(images, own.length);
        argmax(logProbabilities, own.length, classes).forEach((value, row) => {
          const at = keys.length + row;
          predictions[at] = value;
          confidences[at] = Math.exp(logProbabilities[row * classes + value] ?? -Infinity);
        });
        for (const key of own) keys.push(key);
        done.samples += own.length;
        context.progress({ done: done.samples, total: context.task.work, unit: 'images', rate: keys.length / ((performance.now() - startMs) / 1000), loss: 0 });
        await nextTurn();
      }
    });
  } finally {
    await batches.return();
  }
  const right = Uint8Array.from(predictions, (value, row) => (value === truth[row] ? 1 : 0));
  const byClass = scoreByClass(predictions, truth, classes);
  const score: Score = {
    correct: right.reduce((sum, each) => sum + each, 0), total: keys.length, classes: byClass.map((count, at) => ({ class: at, ...count })),
    calibrationError: calibrationError(confidences, right),
  };
  return { document: { dataset: part.dataset, samples: keys.length, keys: sha256(keys.join('\n')), predictions: encode(predictions), score }, keys, truth, predictions };
}

/** Counts on the whole split, then on fixed subsets of the sizes asked for: the same subsets for every model of a run. */
async function pair(store: ObjectStore, spec: EvaluateSpec, student: Evaluated): Promise<PairedCounts[]> {
  const baseline = JSON.parse(Buffer.from(await store.get(required(spec.baseline, 'baseline'))).toString('utf8')) as EvaluationDocument;
  invariant(baseline.validation.keys === student.document.keys, 'student and teacher were evaluated on the same validation samples');
  const teacher = decode(baseline.validation.predictions);
  const ranked = student.keys.map((key, row) => ({ hash: sha256(`${SUBSET_SALT}/${key}`), row })).sort((a, b) => (a.hash < b.hash ? -1 : 1));
  const count = (rows: ReadonlySet<number> | undefined): PairedCounts => discordant(student.predictions, teacher, student.truth, (row) => rows === undefined || rows.has(row));
  const subsets = spec.pairedSubsets.filter((size) => size < student.keys.length);
  return [count(undefined), ...subsets.map((size) => count(new Set(ranked.slice(0, size).map(({ row }) => row))))];
}

/** Fixed: a subset stands for a team's smaller split, which wouldn't change between rounds. */
const SUBSET_SALT = 'validation-subset';
