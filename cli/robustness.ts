/**
 * How models bear corrupted images: a row a corruption, a column a model, for `run describe` and the report. Figures are the coordinator's
 * (coordinator/run/robustness.ts says how they come about); nothing is decided here.
 */
import type { ModelView, RobustnessFigures, RobustnessView, RunView } from '../proto/gen/alumnus/v1/operator.ts';
import type { Errors } from '../proto/gen/alumnus/v1/task.ts';
import { none, plain } from './format.ts';
import { table } from './output.ts';

export type Split = 'validation' | 'test';

export interface RobustnessRow {
  readonly name: string;
  readonly kind: 'error' | 'mean' | 'normalized';
  /** One a column; shares of 0 to 1, but for `normalized`: multiples. */
  readonly cells: readonly { readonly [split in Split]: number | undefined }[];
}

export interface RobustnessTable {
  /** `iteration 0`, … as a person counts them, `control`, and comparisons by their names. */
  readonly columns: readonly string[];
  readonly corruptions: readonly RobustnessRow[];
  /** Empty where the set has no perturbation sequences. */
  readonly sequences: readonly RobustnessRow[];
}

export const MCE = 'mCE, normalized by iteration 0\'s teacher';
export const MFR = 'mFR, normalized by iteration 0\'s teacher';

export const robustnessLegend =
  'Share of wrong predictions on the images of validation (which may gate) and test (reported only), each corrupted as MNIST-C has it. mCE: mean over the corruptions of a model\'s error by that of iteration 0\'s teacher, which therefore has 1; below 1 is more robust. It is normalized by this run\'s own first teacher, so mCEs of different runs are not to be compared.';
export const sequenceLegend = 'Flips: share of the frames of perturbation sequences at which a model changes its mind. mFR: mean of those by iteration 0\'s teacher\'s.';

export interface RobustModel {
  readonly title: string;
  readonly kind: 'iteration' | 'control' | 'comparison';
  /** Of what trains beside the stages the run's last. */
  readonly iteration: number;
  readonly robustness: RobustnessView;
}

/** What the best model's robustness came to, and the control's beside it: figures without an interval, so nothing is claimed. Empty where nothing corrupted was measured. */
export function robustnessFinding(view: RunView, bestIteration: number): string {
  const models = robustModels(view);
  const best = models.findLast(({ kind, iteration }) => kind === 'iteration' && iteration === bestIteration)?.robustness;
  const control = models.find(({ kind }) => kind === 'control')?.robustness;
  const split: Split = best?.test === undefined ? 'validation' : 'test';
  const [own, other] = [best?.[split]?.meanCorruptionError, control?.[split]?.meanCorruptionError];
  if (own === undefined) return '';
  return `On corrupted ${split} images the best model (iteration ${bestIteration}) has an mCE of ${own.toFixed(3)}${other === undefined ? '' : `, the control ${other.toFixed(3)}`}, normalized by iteration 0's teacher, which has 1.`;
}

/** The models that were measured: of each iteration and try the one that is gated, the control, and the comparisons. */
export function robustModels(view: RunView): RobustModel[] {
  const last = view.summary?.rounds ?? 0;
  const of = (title: string, kind: RobustModel['kind'], iteration: number, model: ModelView | undefined): RobustModel[] => (model?.robustness === undefined ? [] : [{ title, kind, iteration, robustness: model.robustness }]);
  return [
    ...view.iterations.flatMap((each) => of(`${each.iteration}${each.try > 0 ? ` (try ${each.try + 1})` : ''}`, 'iteration', each.iteration, view.fineTunedTeaches && each.fineTuned !== undefined ? each.fineTuned : each.model)),
    ...of('control', 'control', last, view.fineTunedTeaches ? view.controlFineTuned : view.control),
    ...view.comparisons.flatMap((each) => of(each.name, 'comparison', last, view.fineTunedTeaches ? each.fineTuned : each.model)),
  ];
}

const rate = (errors: Errors | undefined): number | undefined => (errors === undefined || errors.total === 0 ? undefined : errors.wrong / errors.total);

/** Undefined where nothing corrupted was measured. */
export function robustnessTable(view: RunView): RobustnessTable | undefined {
  const models = robustModels(view);
  const [first] = models;
  if (first === undefined) return undefined;
  const figure = (name: string, kind: RobustnessRow['kind'], pick: (figures: RobustnessFigures) => number | undefined): RobustnessRow =>
    ({ name, kind, cells: models.map(({ robustness: { validation, test } }) => ({ validation: validation && pick(validation), test: test && pick(test) })) });
  const rows = (sequences: boolean): RobustnessRow[] => first.robustness.scores.filter(({ frames }) => (frames > 0) === sequences).map(({ name }) => ({
    name: name.replace(/_sequence$/, '').replaceAll('_', ' '), kind: 'error',
    cells: models.map(({ robustness }) => {
      const score = robustness.scores.find((each) => each.name === name);
      return { validation: rate(score?.validation), test: rate(score?.test) };
    }),
  }));
  const sequences = rows(true);
  return {
    columns: models.map(({ title, kind }) => (kind === 'iteration' ? `iteration ${title}` : title)),
    corruptions: [...rows(false), figure('mean error', 'mean', ({ meanError }) => meanError), figure(MCE, 'normalized', ({ meanCorruptionError }) => meanCorruptionError)],
    sequences: sequences.length === 0 ? [] : [...sequences, figure('mean flips', 'mean', ({ meanFlipProbability }) => meanFlipProbability), figure(MFR, 'normalized', ({ meanFlipRate }) => meanFlipRate)],
  };
}

/** Of a gate: how the student's mean corruption error stood to its teacher's; undefined where nothing was corrupted. */
export const gateRatio = (ratio: number | undefined): string | undefined => (ratio === undefined ? undefined : `corrupted × ${ratio.toFixed(3)}`);

export const robustnessText = (value: number | undefined, kind: RobustnessRow['kind']): string => (value === undefined ? none : kind === 'normalized' ? value.toFixed(3) : `${(100 * value).toFixed(2)} %`);

export function robustnessSummary(view: RunView): string {
  const found = robustnessTable(view);
  if (found === undefined) return '';
  const { columns, corruptions, sequences } = found;
  const tested = corruptions.some(({ cells }) => cells.some(({ test }) => test !== undefined));
  const text = (head: string, rows: readonly RobustnessRow[]): string => table(
    [head, ...columns.map(plain)],
    rows.map(({ name, kind, cells }) => [name, ...cells.map(({ validation, test }) => `${robustnessText(validation, kind)}${tested ? ` | ${robustnessText(test, kind)}` : ''}`)]), columns.map((_, at) => at + 1),
  );
  const split = tested ? 'validation | test' : 'validation';
  return [text(`errors, ${split}`, corruptions), robustnessLegend, ...(sequences.length === 0 ? [] : [text(`flips, ${split}`, sequences), sequenceLegend])].join('\n\n');
}
