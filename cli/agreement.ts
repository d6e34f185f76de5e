/**
 * On how many images a model says what its teacher says, right or wrong: counted from the predictions that evaluations keep in the store, so
 * that runs of any release have it and no fact is needed for it. Not for: who is right on how many (the coordinator's, from the same
 * predictions), nor for what a coordinator tells, which reads none of them.
 * Invariant: predictions are compared only where both evaluations name the same images in the same order.
 */
import { z } from 'zod';
import { AlumnusError, toAlumnusError } from '../proto/errors.ts';
import type { Agreement, ModelView, RunView } from '../proto/gen/alumnus/v1/operator.ts';
import type { ObjectRef } from '../proto/gen/alumnus/v1/task.ts';
import { openStore } from '../store/index.ts';
import { isCompared, lastTaught } from './comparisons.ts';
import { pause } from './pause.ts';

/** A bucket that does not answer from here must not hold up what the coordinator told. */
const READ_MS_MAX = 20_000;
/** Far above predictions of millions of images; bounds what a wrong reference can cost. */
const EVALUATION_BYTES_MAX = 64 * 1024 * 1024;

const split = z.object({
  /** Digest of the images' keys, in order. */
  keys: z.string(),
  /** Uint16 little-endian, base64, one class an image. */
  predictions: z.base64(),
});

/** As far as it is read of what the evaluate task writes. */
const evaluationDocument = z.object({ schemaVersion: z.literal(1), validation: split, test: split.optional() });

export type Predictions = z.infer<typeof split>;

/** Undefined where the two are of other images. */
export function agreementOf(own: Predictions | undefined, teacher: Predictions | undefined): Agreement | undefined {
  if (own === undefined || teacher === undefined || own.keys !== teacher.keys) return undefined;
  const [ours, theirs] = [Buffer.from(own.predictions, 'base64'), Buffer.from(teacher.predictions, 'base64')];
  const total = ours.length / 2;
  let same = 0;
  for (let row = 0; row < total; row += 1) if (ours.readUInt16LE(row * 2) === theirs.readUInt16LE(row * 2)) same += 1;
  return { same, total };
}

const isThere = (ref: ObjectRef | undefined): ref is ObjectRef => ref !== undefined && ref.sha256 !== '';

/** The evaluation of the model that taught, as it was promoted. */
const evaluationOf = ({ iterations }: RunView, teacherSha256: string): ObjectRef | undefined =>
  iterations.flatMap((each) => [each.model, each.fineTuned]).find((model) => isThere(model?.model) && model.model.sha256 === teacherSha256)?.evaluation;

/**
 * The view with the agreement of every evaluated model with its teacher. Where predictions cannot be read there is none, and `missing` says why.
 * @param storeUrl where this machine reaches the run's objects
 */
export async function withAgreement(view: RunView, storeUrl: string): Promise<{ view: RunView; missing: string[] }> {
  const last = lastTaught(view)?.teacherSha256 ?? '';
  if (!isThere(evaluationOf(view, last))) return { view, missing: [] };
  const late = new AbortController();
  try {
    const waited = pause(READ_MS_MAX, late.signal).then(() => {
      throw new AlumnusError('STORE_UNREACHABLE', `it did not answer within ${READ_MS_MAX / 1000} s`, { where: storeUrl });
    });
    return { view: await Promise.race([filledIn(view, last, storeUrl), waited]), missing: [] };
  } catch (thrown) {
    return { view, missing: [`The predictions cannot be read from here, so agreement with the teacher is left out: ${toAlumnusError(thrown, storeUrl).message}.`] };
  } finally {
    late.abort();
  }
}

/** The same where a table of the terminal shows it: a run that compares nothing asks for no store. Throws nothing. */
export const withShownAgreement = (view: RunView): ReturnType<typeof withAgreement> => (isCompared(view) ? withAgreement(view, view.storeUrl) : Promise.resolve({ view, missing: [] }));

async function filledIn(view: RunView, last: string, storeUrl: string): Promise<RunView> {
  const store = await openStore(storeUrl, { create: false });
  const read = new Map<string, Promise<z.infer<typeof evaluationDocument>>>();
  const predictionsOf = (ref: ObjectRef): Promise<z.infer<typeof evaluationDocument>> => {
    const known = read.get(ref.key) ?? (async () => {
      if (ref.bytes > EVALUATION_BYTES_MAX) throw new Error(`${ref.key} is larger than ${EVALUATION_BYTES_MAX} bytes`);
      return evaluationDocument.parse(JSON.parse(Buffer.from(await store.get(ref)).toString('utf8')));
    })();
    read.set(ref.key, known);
    return known;
  };
  const told = async (model: ModelView | undefined, teacherSha256: string): Promise<ModelView | undefined> => {
    const [own, teacher] = [model?.evaluation, evaluationOf(view, teacherSha256)];
    if (model === undefined || !isThere(own) || !isThere(teacher)) return model;
    const [ours, theirs] = await Promise.all([predictionsOf(own), predictionsOf(teacher)]);
    return { ...model, teacherAgreement: { validation: agreementOf(ours.validation, theirs.validation), test: agreementOf(ours.test, theirs.test) } };
  };
  const both = async <Of extends { model?: ModelView | undefined; fineTuned?: ModelView | undefined }>(of: Of, teacher: string): Promise<Of> => ({ ...of, model: await told(of.model, teacher), fineTuned: await told(of.fineTuned, teacher) });
  const [iterations, comparisons, control, controlFineTuned] = await Promise.all([
    Promise.all(view.iterations.map((each) => both(each, each.teacherSha256))), Promise.all(view.comparisons.map((each) => both(each, last))), told(view.control, last), told(view.controlFineTuned, last),
  ]);
  return { ...view, iterations, comparisons, control, controlFineTuned };
}
