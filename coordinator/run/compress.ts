/**
 * Compression (`compress` in the recipe): once everything is trained each model is measured with its kernels stored in several ways, and the smallest that keeps enough of its teacher's
 * accuracy is chosen. Pure. Not for: what is measured and how (worker/tasks/measure.ts).
 * Invariants:
 *  1. Only validation chooses. Test, corrupted images, latency and memory are told.
 *  2. The choice follows from the journal alone: bytes and predictions are functions of the model, times and memory are not and are not asked.
 *  3. Nothing waits for a measurement but the run's end; without `compress` every function here answers as if there were no such thing.
 */
import { AlumnusError } from '../../proto/errors.ts';
import type { AccuracyKept } from '../../proto/gen/alumnus/v1/operator.ts';
import type { Errors, EvaluateResult, MeasureResult, MeasureSpec, ObjectRef, Task, TaskResult } from '../../proto/gen/alumnus/v1/task.ts';
import { Stage } from '../../proto/gen/alumnus/v1/task.ts';
import { COMPARED_FORMAT, isImported } from '../../recipe/index.ts';
import { besidesOf, besidesOwed, besideState } from './beside.ts';
import { candidateOf } from './fine-tune.ts';
import { currentIteration, subjects, type MeasurementState, type RunState, type Teacher } from './state.ts';

/** Of the latency: what a small device would spare, and so many predictions that the slowest twentieth are ten. */
const MEASURE_THREADS = 1;
const MEASURE_PREDICTIONS = 200;

/** A model that is measured. */
export interface CompressedOf {
  /** `teacher`, `student`, `control`, or a comparison's name. */
  readonly name: string;
  /** `teacher`, or of its training. */
  readonly subject: string;
  readonly model: ObjectRef;
  /** Of the labeled images alone. */
  readonly alone: boolean;
  /** Not of true labels that nobody else would have. */
  readonly eligible: boolean;
}

/** The teacher of the last student: what others are to keep up with. Undefined before there is one. */
export function comparedTeacher(state: RunState): Teacher | undefined {
  const { teacher } = currentIteration(state);
  return teacher && state.promoted.find(({ model }) => model.sha256 === teacher.sha256);
}

/** Those that are there by now, in the order of tables. A teacher from elsewhere is not stored as ours are, and is measured by its accuracy alone. */
export function modelsToMeasure(state: RunState): CompressedOf[] {
  const { recipe } = state;
  if (recipe.compress === undefined) return [];
  const teacher = comparedTeacher(state);
  const teaches = recipe.training.fine_tune?.teaches === true;
  const one = (name: string, subject: string, model: ObjectRef | undefined, alone: boolean, eligible = true): CompressedOf[] => (model === undefined ? [] : [{ name, subject, model, alone, eligible }]);
  return [
    ...(teacher === undefined || isImported(recipe, teacher.iteration) ? [] : one(subjects.teacher, subjects.teacher, teacher.model, teacher.iteration === 0)),
    ...(state.iteration === 0 ? [] : one(subjects.student, subjects.student, candidateOf(state, currentIteration(state)).trained?.result.model, false)),
    ...besidesOf(recipe).flatMap(({ subject, comparison }) => {
      const { trained, fineTuned } = besideState(state, subject);
      const labels = comparison?.labels ?? 'none';
      return one(comparison?.name ?? subjects.control, subject, (teaches ? fineTuned : trained)?.result.model, labels === 'none', labels !== 'truth');
    }),
  ];
}

const nothing: MeasurementState = {};

export const measurementOf = (state: RunState, subject: string): MeasurementState => state.measurements.get(subject) ?? nothing;

/** Whether models may be measured: last of all, when no training disturbs the clock any more; on one host one after the other (coordinator/scheduler). */
const mayMeasure = (state: RunState): boolean => state.recipe.compress !== undefined && state.stage === Stage.PROMOTE && besidesOwed(state).length === 0;

/** Those that wait to be measured, and that the run's end waits for. */
export const measurementsOwed = (state: RunState): CompressedOf[] => (mayMeasure(state) ? modelsToMeasure(state).filter(({ subject }) => {
  const { result, givenUp } = measurementOf(state, subject);
  return result === undefined && givenUp === undefined;
}) : []);

export function measureSpec({ recipe, data }: RunState, model: ObjectRef): MeasureSpec {
  const corrupted = data.corrupted?.parts.filter(({ frames }) => frames === 0) ?? [];
  return {
    model, validation: data.validation, test: data.test, ...(corrupted.length === 0 ? {} : { corrupted: { parts: corrupted } }), weights: [...(recipe.compress?.weights ?? [])],
    batchSize: recipe.labels.batch_size, threads: MEASURE_THREADS, predictions: MEASURE_PREDICTIONS,
  };
}

/** Images that the task predicts. */
export function imagesOf({ validation, test, corrupted, weights }: MeasureSpec): number {
  const parts = [validation, test, ...(corrupted?.parts.flatMap((each) => [each.validation, each.test]) ?? [])];
  return weights.length * parts.reduce((sum, part) => sum + (part?.samples ?? 0), 0);
}

/** @throws AlumnusError USAGE where a result leaves out what was asked, so that it could be neither compared nor told */
export function mustMeasureAsAsked({ spec, taskId }: Task, { $case, value }: NonNullable<TaskResult['result']>): void {
  if (spec?.$case !== 'measure' || $case !== 'measure') return;
  const { validation, test, corrupted, weights } = spec.value;
  const bad = (what: string): AlumnusError => new AlumnusError('USAGE', what, { where: taskId });
  if (value.weights.map((each) => each.weights).join() !== weights.join()) throw bad(`the result is of weights in ${value.weights.map((each) => each.weights).join(', ') || 'nothing'}, and ${weights.join(', ')} were asked for`);
  const total = (errors: Errors | undefined): number => errors?.total ?? 0;
  for (const { weights: scheme, ...each } of value.weights) {
    if (!((each.bytes[COMPARED_FORMAT] ?? 0) > 0)) throw bad(`the result does not say how many bytes weights in ${scheme} take`);
    if (total(each.validation) !== (validation?.samples ?? 0) || total(each.test) !== (test?.samples ?? 0)) throw bad(`the result does not count all predictions of weights in ${scheme}`);
    if (corrupted !== undefined && total(each.corruptedValidation) === 0) throw bad(`the result counts no predictions of weights in ${scheme} on corrupted images`);
  }
}

const right = ({ wrong, total }: Errors): number => total - wrong;

/** Accuracy by the teacher's, on the same images; as a quotient of counts: 98 of 100 is 0.98 to the bit. 1 where the teacher has nothing right. */
export const accuracyKept = (own: Errors, teacher: Errors): number => (right(teacher) === 0 ? 1 : right(own) / right(teacher));

/** A model with its kernels stored in one way. */
export interface Form {
  readonly name: string;
  readonly weights: string;
  /** On disk. */
  readonly bytes: number;
  readonly validation: Errors;
}

/** The smallest that keeps so much of the teacher's accuracy; of equals the better one, then the earlier. Undefined where none does. */
export function smallestWithin(forms: readonly Form[], teacher: Errors, kept: number): Form | undefined {
  let best: Form | undefined;
  for (const form of forms) {
    if (accuracyKept(form.validation, teacher) < kept) continue;
    if (best === undefined || form.bytes < best.bytes || (form.bytes === best.bytes && right(form.validation) > right(best.validation))) best = form;
  }
  return best;
}

/**
 * How much less of its teacher's accuracy a model keeps on corrupted images than on clean ones before that is told: a point. Model and teacher see the same images, and so most of what
 * chance does to them cancels; what is told are the figures of these images, not a test.
 */
const GENERALIZATION_LOST = 0.01;

/** As a measurement has them, of the teacher, from its evaluation: it is compared as it labels. */
export interface TeacherErrors {
  readonly validation: Errors;
  readonly test: Errors | undefined;
  readonly corruptedValidation: Errors | undefined;
  readonly corruptedTest: Errors | undefined;
}

export function teacherErrors({ validation, test, corruption }: EvaluateResult): TeacherErrors | undefined {
  const of = (score: { readonly correct: number; readonly total: number } | undefined): Errors | undefined => score && { wrong: score.total - score.correct, total: score.total };
  const own = of(validation);
  const together = (split: 'validation' | 'test'): Errors | undefined => corruption?.scores.filter(({ frames }) => frames === 0).map((each) => each[split]).reduce<Errors | undefined>(
    (sum, errors) => (errors === undefined ? sum : { wrong: (sum?.wrong ?? 0) + errors.wrong, total: (sum?.total ?? 0) + errors.total }), undefined);
  return own && { validation: own, test: of(test), corruptedValidation: together('validation'), corruptedTest: together('test') };
}

/** Of each way to store a model: what it keeps. */
export function keptOf({ weights }: MeasureResult, teacher: TeacherErrors, wanted: number): AccuracyKept[] {
  const kept = (own: Errors | undefined, of: Errors | undefined): number | undefined => own && of && accuracyKept(own, of);
  return weights.map(({ weights: scheme, validation, test, corruptedValidation, corruptedTest }) => {
    const share = kept(validation, teacher.validation) ?? 0;
    const [keptTest, keptCorrupted, keptCorruptedTest] = [kept(test, teacher.test), kept(corruptedValidation, teacher.corruptedValidation), kept(corruptedTest, teacher.corruptedTest)];
    // Told only, so by the split that chose nothing, where it is there.
    const [clean, corrupted] = keptTest !== undefined && keptCorruptedTest !== undefined ? [keptTest, keptCorruptedTest] : [share, keptCorrupted];
    return {
      weights: scheme, validation: share, test: keptTest, corruptedValidation: keptCorrupted, corruptedTest: keptCorruptedTest, within: share >= wanted,
      fallsFaster: corrupted !== undefined && clean - corrupted >= GENERALIZATION_LOST,
    };
  });
}

/** What is chosen; undefined until all is measured, and where nothing keeps as much. */
export function chosenOf(state: RunState): Form | undefined {
  const { compress } = state.recipe;
  const teacher = comparedTeacher(state);
  const compared = teacher && teacherErrors(teacher.evaluation);
  if (compress === undefined || compared === undefined || !mayMeasure(state) || measurementsOwed(state).length > 0) return undefined;
  const forms = modelsToMeasure(state).filter(({ eligible }) => eligible).flatMap(({ name, subject }) => (measurementOf(state, subject).result?.weights ?? []).flatMap(({ weights, bytes, validation }): Form[] =>
    (validation === undefined ? [] : [{ name, weights, bytes: bytes[COMPARED_FORMAT] ?? Infinity, validation }])));
  return smallestWithin(forms, compared.validation, compress.accuracy_kept);
}

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;

/** What a person should know of the choice, a sentence each. */
export function compressionWarnings(state: RunState): string[] {
  const { compress } = state.recipe;
  if (compress === undefined) return [];
  const models = modelsToMeasure(state);
  const warnings = models.flatMap(({ name, subject }) => {
    const { givenUp } = measurementOf(state, subject);
    return givenUp === undefined ? [] : [`the measurement of ${name} was given up, so it cannot be chosen: ${givenUp}`];
  });
  const teacher = comparedTeacher(state);
  const compared = teacher && teacherErrors(teacher.evaluation);
  if (compared === undefined || state.phase !== 'succeeded' || state.measurements.isEmpty()) return warnings;
  const chosen = chosenOf(state);
  if (chosen === undefined) return [...warnings, `no model keeps ${percent(compress.accuracy_kept)} of its teacher's accuracy on validation: none is chosen; add a larger one to the comparisons, or lower compress.accuracy_kept`];
  const result = measurementOf(state, models.find(({ name }) => name === chosen.name)?.subject ?? '').result;
  const kept = result && keptOf(result, compared, compress.accuracy_kept).find(({ weights }) => weights === chosen.weights);
  if (kept?.fallsFaster === true) {
    const [clean = 0, corrupted = 0, split] = kept.corruptedTest === undefined ? [kept.validation, kept.corruptedValidation, 'validation'] : [kept.test, kept.corruptedTest, 'test'];
    warnings.push(`compression costs generalization: ${chosen.name} in ${chosen.weights}, which was chosen, keeps ${percent(clean)} of its teacher's accuracy on clean ${split} images and only ${percent(corrupted)} on corrupted ones`);
  }
  return warnings;
}
