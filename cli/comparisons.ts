/**
 * The recipe's comparisons as rows: each beside the last student, which all of them change in one way. Figures are the coordinator's;
 * the difference on test is of two proportions (cli/statistics.ts), that on validation is paired, image by image.
 */
import type { Agreement, ComparisonView, IterationView, ModelView, RunView } from '../proto/gen/alumnus/v1/operator.ts';
import type { Recipe } from '../recipe/index.ts';
import { integer, none, percent, plain, points } from './format.ts';
import { table } from './output.ts';
import { difference, errorReduction, scored, share, type Difference, type Proportion } from './statistics.ts';

export interface ComparisonRow {
  readonly name: string;
  readonly what: string;
  readonly model: string;
  readonly parameters: number;
  /** That its training saw, copies and repetitions counted. */
  readonly images: number;
  /** Of its training, in milliseconds. */
  readonly deviceMs: number;
  readonly validation: Proportion | undefined;
  readonly test: Proportion | undefined;
  /** Expected calibration error on test, or on validation where there is no test split; 0 to 1. */
  readonly calibrationError: number | undefined;
  /** With the last student's teacher, right or wrong: on test, or on validation where there is no test split. */
  readonly agreement: Proportion | undefined;
  /** On which split `agreement` and `calibrationError` are, and the errors below. */
  readonly split: 'validation' | 'test';
  /** Errors that the control makes and this model does not, as a share of the control's; undefined of the control itself, and without one. */
  readonly fewerErrors: ReturnType<typeof errorReduction>;
  /** This model minus the last student, on test, as shares, with the 95 % interval. */
  readonly difference: Difference | undefined;
  /** Validation images that only this model, and only the student, got right, and what McNemar's exact test says. */
  readonly paired: { readonly onlyThis: number; readonly onlyStudent: number; readonly pValue: number } | undefined;
  /** Why there are no figures: `waits`, or what went wrong. */
  readonly state: string;
}

interface Trained {
  readonly model?: ModelView | undefined;
  readonly fineTuned?: ModelView | undefined;
}

/** The trainings that led to the model that is gated, which is that of the last. */
export const trainingsOf = ({ fineTunedTeaches }: RunView, { model, fineTuned }: Trained): (ModelView | undefined)[] => (fineTunedTeaches ? [model, fineTuned] : [model]);

/** Of a model and the same after fine-tuning, the one that is gated. */
export const gated = (view: RunView, of: Trained | undefined): ModelView | undefined => trainingsOf(view, of ?? {}).at(-1);

const lastStudentIteration = (view: RunView): IterationView | undefined => view.iterations.filter(({ iteration }) => iteration > 0).findLast((each) => scored(gated(view, each)?.validation) !== undefined);

/** The last student that was evaluated: what comparisons are compared with. */
export const lastStudent = (view: RunView): ModelView | undefined => gated(view, lastStudentIteration(view));

/** The last iteration that has a teacher: whose labels the control and the comparisons are told beside. */
export const lastTaught = ({ iterations }: RunView): IterationView | undefined => iterations.findLast(({ iteration, teacherSha256 }) => iteration > 0 && teacherSha256 !== '');

function lastTeacherIteration(view: RunView): IterationView | undefined {
  const sha256 = lastStudentIteration(view)?.teacherSha256 ?? '';
  return sha256 === '' ? undefined : view.iterations.find((each) => trainingsOf(view, each).some((model) => model?.model?.sha256 === sha256));
}

/** The model that taught the last student. */
export const lastTeacher = (view: RunView): ModelView | undefined => gated(view, lastTeacherIteration(view));

/** On test, or on validation where there is no test split. */
export const judged = (model: ModelView | undefined): { split: 'validation' | 'test'; score: ModelView['test'] } => (scored(model?.test) === undefined ? { split: 'validation', score: model?.validation } : { split: 'test', score: model?.test });

/** As a proportion, of which the images with the same class are the right ones. */
export const agreed = (agreement: Agreement | undefined): Proportion | undefined => scored(agreement && { correct: agreement.same, total: agreement.total });

type Told = Pick<ComparisonView, 'name' | 'what' | 'paired' | 'pValue' | 'givenUp'> & { readonly trainings: readonly (ModelView | undefined)[] };

function rowOf({ name, what, trainings, paired, pValue: p, givenUp }: Told, student: ModelView | undefined, control: ModelView | undefined): ComparisonRow {
  const model = trainings.at(-1);
  const sum = (of: (training: ModelView) => number): number => trainings.reduce((total, training) => total + (training === undefined ? 0 : of(training)), 0);
  const [test, own] = [scored(model?.test), scored(student?.test)];
  const { split, score } = judged(model);
  const [ours, alone] = [scored(score), scored(control?.[split])];
  return {
    name, what, model: model?.label ?? '', parameters: model?.parameters ?? 0, images: sum(({ images }) => images), deviceMs: sum(({ trainMs }) => trainMs), validation: scored(model?.validation), test, calibrationError: ours === undefined ? undefined : score?.calibrationError,
    agreement: agreed(model?.teacherAgreement?.[split]), split,
    fewerErrors: model === control || ours === undefined || alone === undefined ? undefined : errorReduction(ours, alone),
    difference: model === student || test === undefined || own === undefined ? undefined : difference(test, own),
    paired: paired === undefined || p === undefined ? undefined : { onlyThis: paired.studentOnlyRight, onlyStudent: paired.teacherOnlyRight, pValue: p },
    state: givenUp !== '' ? `given up: ${givenUp}` : scored(model?.validation) === undefined ? 'waits' : '',
  };
}

/** A run whose recipe has neither comparisons nor distillation is told by its iterations alone. */
export const isCompared = (view: RunView): boolean => view.comparisons.length > 0 || recipeOf(view)?.training.distill !== undefined;

/** The last student's teacher first, then that student, the control, and the recipe's comparisons in its order; empty where the recipe neither compares nor distills. */
export function comparisonRows(view: RunView): ComparisonRow[] {
  if (!isCompared(view)) return [];
  const control: Trained = { model: view.control, fineTuned: view.controlFineTuned };
  const row = (told: Omit<Told, 'trainings'>, trained: Trained): ComparisonRow => rowOf({ ...told, trainings: trainingsOf(view, trained) }, lastStudent(view), gated(view, control));
  const stage = (name: string, what: string, trained: Trained | undefined): ComparisonRow => row({ name, what, paired: undefined, pValue: undefined, givenUp: '' }, trained ?? {});
  const teacher = lastTeacherIteration(view);
  return [
    // What is known of its own agreement is with who taught it, another model.
    ...(teacher === undefined ? [] : [{ ...stage('teacher', 'whom the last student learned from', teacher), agreement: undefined }]),
    stage('student', 'the last student, which the others are compared with', lastStudentIteration(view)),
    ...(gated(view, control) === undefined ? [] : [stage('control', 'the labeled images alone', control)]),
    ...view.comparisons.map((each) => row(each, each)),
  ];
}

/** The recipe as it was journalled, defaults filled in; undefined of a view that has none. */
export function recipeOf({ recipeJson }: RunView): Recipe | undefined {
  const recipe = JSON.parse(recipeJson === '' ? '{}' : recipeJson) as Partial<Recipe>;
  return recipe.training === undefined ? undefined : recipe as Recipe;
}

/** Such as `24.6 % fewer errors (95 % interval 18.2 % to 30.5 %)`; where the interval holds none, both its ends are told by name. */
export function fewerErrorsText({ value, interval }: NonNullable<ComparisonRow['fewerErrors']>): string {
  const of = (reduction: number): string => `${percent(Math.abs(reduction))} ${reduction < 0 ? 'more' : 'fewer'}`;
  const bounds = interval === undefined ? '' : interval.low <= 0 && interval.high >= 0 ? ` (95 % interval ${of(interval.low)} to ${of(interval.high)}: no difference is shown)`
    : ` (95 % interval ${[interval.low, interval.high].map(Math.abs).sort((a, b) => a - b).map((end) => percent(end)).join(' to ')})`;
  return `${of(value)} errors${bounds}`;
}

const differenceText = (interval: Difference): string => `${points(interval.value)} (${points(interval.low)} to ${points(interval.high)})`;

/** As a terminal shows them; empty where the recipe has none. */
export function comparisonText(view: RunView): string {
  const rows = comparisonRows(view);
  if (rows.length === 0) return '';
  const accuracy = (value: Proportion | undefined): string => (value === undefined ? none : percent(share(value), 2));
  return `${table(
    ['comparison', 'model', 'parameters', 'validation', 'test', 'ECE', 'agrees', 'fewer errors', 'test, against the student'],
    rows.map((row) => [
      plain(row.name), plain(row.model), row.parameters > 0 ? integer(row.parameters) : none, accuracy(row.validation), accuracy(row.test), row.calibrationError === undefined ? none : percent(row.calibrationError, 1),
      accuracy(row.agreement), row.fewerErrors === undefined ? none : percent(row.fewerErrors.value), row.difference === undefined ? none : differenceText(row.difference),
    ]),
    [2, 3, 4, 5, 6, 7],
  )}\n${rows.map((row) => `${plain(row.name)}: ${plain(row.what)}${row.state === '' ? '' : `; ${plain(row.state)}`}`).join('\n')}
Comparisons decide nothing. Agrees: with the teacher, right or wrong. Fewer errors: than the control makes. Differences in points with their 95 % interval. What each saw and took, and paired tests: in the report, and with -o json.`;
}
