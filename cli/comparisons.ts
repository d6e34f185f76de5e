/**
 * The recipe's comparisons as rows: each beside the last student, which all of them change in one way. Figures are the coordinator's;
 * the difference on test is of two proportions (cli/statistics.ts), that on validation is paired, image by image.
 */
import type { ComparisonView, IterationView, ModelView, RunView } from '../proto/gen/alumnus/v1/operator.ts';
import { duration, integer, none, percent, plain, points, pValue } from './format.ts';
import { table } from './output.ts';
import { difference, scored, share, type Difference, type Proportion } from './statistics.ts';

export interface ComparisonRow {
  readonly name: string;
  readonly what: string;
  readonly model: string;
  readonly parameters: number;
  /** That its training saw, fine-tuning included, copies and repetitions counted. */
  readonly images: number;
  /** Of its training, fine-tuning included, in milliseconds. */
  readonly deviceMs: number;
  readonly validation: Proportion | undefined;
  readonly test: Proportion | undefined;
  /** Expected calibration error on test, or on validation where there is no test split; 0 to 1. */
  readonly calibrationError: number | undefined;
  /** This model minus the last student, on test, as shares, with the 95 % interval. */
  readonly difference: Difference | undefined;
  /** Validation images that only this model, and only the student, got right, and what McNemar's exact test says. */
  readonly paired: { readonly onlyThis: number; readonly onlyStudent: number; readonly pValue: number } | undefined;
  /** Why there are no figures: `waits`, or what went wrong. */
  readonly state: string;
}

/** The trainings that led to the model that is gated, which is that of the last. */
export const trainingsOf = ({ fineTunedTeaches }: RunView, { model, fineTuned }: Pick<IterationView, 'model' | 'fineTuned'>): (ModelView | undefined)[] => (fineTunedTeaches ? [model, fineTuned] : [model]);

/** The last student that was evaluated, as `trainingsOf`: what comparisons are compared with. */
function lastStudent(view: RunView): (ModelView | undefined)[] {
  const evaluated = view.iterations.filter((each: IterationView) => each.iteration > 0).map((each) => trainingsOf(view, each)).filter((trainings) => scored(trainings.at(-1)?.validation) !== undefined);
  return evaluated.at(-1) ?? [];
}

type Told = Pick<ComparisonView, 'name' | 'what' | 'paired' | 'pValue' | 'givenUp'> & { readonly trainings: readonly (ModelView | undefined)[] };

function rowOf({ name, what, trainings, paired, pValue: p, givenUp }: Told, student: ModelView | undefined): ComparisonRow {
  const model = trainings.at(-1);
  const sum = (of: (training: ModelView) => number): number => trainings.reduce((total, training) => total + (training === undefined ? 0 : of(training)), 0);
  const [test, own] = [scored(model?.test), scored(student?.test)];
  const judged = model?.test ?? model?.validation;
  return {
    name, what, model: model?.label ?? '', parameters: model?.parameters ?? 0, images: sum(({ images }) => images), deviceMs: sum(({ trainMs }) => trainMs), validation: scored(model?.validation), test, calibrationError: scored(judged) === undefined ? undefined : judged?.calibrationError,
    difference: model === student || test === undefined || own === undefined ? undefined : difference(test, own),
    paired: paired === undefined || p === undefined ? undefined : { onlyThis: paired.studentOnlyRight, onlyStudent: paired.teacherOnlyRight, pValue: p },
    state: givenUp !== '' ? `given up: ${givenUp}` : scored(model?.validation) === undefined ? 'waits' : '',
  };
}

/** The last student first, then the control, then the recipe's comparisons in its order; empty where it has none. */
export function comparisonRows(view: RunView): ComparisonRow[] {
  if (view.comparisons.length === 0) return [];
  const trained = lastStudent(view);
  const student = trained.at(-1);
  const bare = { paired: undefined, pValue: undefined, givenUp: '' };
  return [
    rowOf({ ...bare, name: 'student', what: 'the last student, which the others are compared with', trainings: trained }, student),
    ...(view.control === undefined ? [] : [rowOf({ ...bare, name: 'control', what: 'the labeled images alone', trainings: trainingsOf(view, { model: view.control, fineTuned: view.controlFineTuned }) }, student)]),
    ...view.comparisons.map((each) => rowOf({ ...each, trainings: trainingsOf(view, each) }, student)),
  ];
}

const differenceText = (interval: Difference): string => `${points(interval.value)} (${points(interval.low)} to ${points(interval.high)})`;
const pairedText = ({ onlyThis, onlyStudent, pValue: p }: NonNullable<ComparisonRow['paired']>): string => `${integer(onlyThis)} against ${integer(onlyStudent)}, ${pValue(p)}`;

/** As a terminal shows them; empty where the recipe has none. */
export function comparisonText(view: RunView): string {
  const rows = comparisonRows(view);
  if (rows.length === 0) return '';
  const accuracy = (value: Proportion | undefined): string => (value === undefined ? none : percent(share(value), 2));
  return `${table(
    ['comparison', 'what', 'model', 'parameters', 'images seen', 'device time', 'validation', 'test', 'ECE', 'test, against the student', 'validation, paired'],
    rows.map((row) => [
      plain(row.name), row.state === '' ? plain(row.what) : `${plain(row.what)}; ${plain(row.state)}`, plain(row.model), row.parameters > 0 ? integer(row.parameters) : none, row.images > 0 ? integer(row.images) : none, row.deviceMs > 0 ? duration(row.deviceMs) : none, accuracy(row.validation), accuracy(row.test),
      row.calibrationError === undefined ? none : percent(row.calibrationError, 1), row.difference === undefined ? none : differenceText(row.difference), row.paired === undefined ? none : pairedText(row.paired),
    ]),
    [3, 4, 5, 6, 7, 8],
  )}\nComparisons decide nothing. Differences in points with their 95 % interval; paired: images that only the comparison, and only the student, got right, and p of McNemar's exact test.`;
}
