/**
 * How far each model's confidence can be trusted, and from which confidence on its labels are kept: the figures of a run, for
 * `run describe` and the report. Nothing is decided here.
 */
import type { LabelThreshold, ModelView, RunView } from '../proto/gen/alumnus/v1/operator.ts';
import type { Score } from '../proto/gen/alumnus/v1/task.ts';
import { integer, none, percent } from './format.ts';
import { table } from './output.ts';

export interface ConfidenceRow {
  readonly title: string;
  /** Least confidence of the labels that it learned from, and why that. */
  readonly kept: string;
  /** Calibration error as it is, the temperature that fits validation, and the error with it; of the test split, too. */
  readonly error: string;
  readonly temperature: string;
  readonly scaled: string;
  readonly testError: string;
  readonly testScaled: string;
}

export const confidenceHead = ['iteration', 'labels kept from', 'calibration error', 'temperature', 'error with it', 'test error', 'with it'] as const;

export const confidenceLegend =
  'Labels kept from: the least confidence of the teacher\'s labels that the model learned from. Calibration error: how far confidence lies from the share that is right on validation, by 15 bins. Temperature: logits divided by it fit validation best; above 1 the model is too sure of itself, below 1 not sure enough. Labels are written without it.';

/** With digits to tell neighboring thresholds near 1 apart, and no more. */
const confidenceText = (confidence: number): string => String(Number(confidence.toFixed(confidence > 0.99 ? 6 : 3)));

export function thresholdText(threshold: LabelThreshold | undefined): string {
  if (threshold === undefined) return none;
  const { confidence, measured } = threshold;
  if (measured === undefined) return confidenceText(confidence);
  const seen = `${integer(measured.correct)} of ${integer(measured.total)} right on validation, at least ${percent(measured.least)}`;
  return `${confidenceText(confidence)}, ${measured.reached ? `for a precision of ${measured.wanted}: ${seen}` : `the best there is, short of a precision of ${measured.wanted}: ${seen}`}`;
}

const errorText = (score: Score | undefined): string => (score === undefined || score.total === 0 ? none : score.calibrationError.toFixed(3));
const scaledText = (score: Score | undefined): string => (score === undefined || score.total === 0 ? none : score.calibrationErrorScaled?.toFixed(3) ?? none);

function row(title: string, kept: string, model: ModelView | undefined): ConfidenceRow {
  return {
    title, kept, error: errorText(model?.validation), temperature: model?.calibration?.temperature.toPrecision(3) ?? none, scaled: scaledText(model?.validation),
    testError: errorText(model?.test), testScaled: scaledText(model?.test),
  };
}

/** One row an iteration that has a threshold or was evaluated, then the control. */
export function confidenceRows(view: RunView): ConfidenceRow[] {
  const rows = view.iterations.flatMap((each) => {
    const title = `${each.iteration}${each.try > 0 ? ` (try ${each.try + 1})` : ''}`;
    return [row(title, thresholdText(each.threshold), each.model), ...(each.fineTuned?.validation === undefined ? [] : [row(`${title} fine-tuned`, none, each.fineTuned)])];
  });
  if (view.control?.validation !== undefined) rows.push(row('control', none, view.control));
  if (view.controlFineTuned?.validation !== undefined) rows.push(row('control fine-tuned', none, view.controlFineTuned));
  return rows.filter((each) => each.kept !== none || each.error !== none);
}

const cells = (each: ConfidenceRow): string[] => [each.title, each.kept, each.error, each.temperature, each.scaled, each.testError, each.testScaled];

export function confidenceSummary(view: RunView): string {
  const rows = confidenceRows(view);
  return rows.length === 0 ? '' : `${table(confidenceHead, rows.map(cells), [2, 3, 4, 5, 6])}\n\n${confidenceLegend}`;
}
