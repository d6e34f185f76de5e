/**
 * What a run amounts to, as the terminal's table and the report both tell it: one row an iteration, the control, and
 * the findings in plain sentences. Figures are the coordinator's; nothing here is decided again.
 * Invariant: a finding never says more than its interval allows, and a control that wins is named as winner.
 */
import type { Gate } from '../proto/gen/alumnus/v1/events.ts';
import type { GateWith, IterationView, ModelView, RunView } from '../proto/gen/alumnus/v1/operator.ts';
import type { ImageSpec } from '../proto/gen/alumnus/v1/task.ts';
import { agreed, comparisonText, trainingsOf } from './comparisons.ts';
import { deitText } from './deit.ts';
import { distillationFindings } from './distillation.ts';
import { compressionFinding, compressionText } from './compression.ts';
import { duration, integer, none, percent, points, pValue } from './format.ts';
import { table } from './output.ts';
import { remedyOf } from './remedy.ts';
import { gateRatio, robustnessFinding } from './robustness.ts';
import { difference, errorReduction, scored, share, type Proportion } from './statistics.ts';

export interface FewerGate {
  readonly samples: number;
  readonly gate: Gate;
  readonly promoted: boolean;
}

export interface SummaryRow {
  /** `0`, `1`, … as a person counts; `control` for the control; a second try is marked. */
  readonly title: string;
  readonly iteration: number | undefined;
  readonly model: string;
  readonly parameters: number;
  /** Of training, its mean over the last steps that were reported together; undefined where none was. */
  readonly loss: number | undefined;
  readonly kept: number | undefined;
  readonly labeled: number | undefined;
  readonly rows: number | undefined;
  /** Of the labels kept, how many are right: known only where the true labels are. */
  readonly precision: Proportion | undefined;
  readonly validation: Proportion | undefined;
  readonly test: Proportion | undefined;
  /** On validation with its teacher, right or wrong. */
  readonly agreement: Proportion | undefined;
  readonly gate: Gate | undefined;
  readonly fewer: readonly FewerGate[];
  /** `promoted`, `refused`, or empty. */
  readonly decision: string;
  readonly best: boolean;
  readonly fineTuned: boolean;
  /** Where models are fine-tuned: the other one of the two, which is evaluated and decides nothing. */
  readonly other: SummaryRow | undefined;
}

export interface Summary {
  /** Of the models that were gated, one an iteration and try; and the control that they are compared with. */
  readonly rows: readonly SummaryRow[];
  readonly control: SummaryRow | undefined;
  /** The same with their others, as a table lists them. */
  readonly all: readonly SummaryRow[];
  /** The run's outcome: the best model by validation. */
  readonly best: IterationView | undefined;
  readonly findings: readonly string[];
}

function fewerGates(gates: readonly GateWith[]): FewerGate[] {
  return gates.flatMap(({ gate, promoted }) => (gate === undefined ? [] : [{ samples: gate.samples, gate, promoted }]));
}

type Scored = Pick<SummaryRow, 'model' | 'parameters' | 'loss' | 'validation' | 'test' | 'agreement'>;

/** @param size what the data's images have: a model that takes others says so */
const scoredModel = (model: ModelView | undefined, size: ImageSpec | undefined): Scored => {
  const image = model?.image;
  const other = image !== undefined && size !== undefined && (image.height !== size.height || image.width !== size.width) ? ` at ${image.height}x${image.width}` : '';
  return { model: `${model?.label ?? ''}${other}`, parameters: model?.parameters ?? 0, loss: model?.curve.at(-1)?.loss, validation: scored(model?.validation), test: scored(model?.test), agreement: agreed(model?.teacherAgreement?.validation) };
};

/** The row of a model that decides nothing. */
const otherRow = (title: string, iteration: number | undefined, fineTuned: boolean, model: ModelView | undefined, size: ImageSpec | undefined): SummaryRow | undefined => (model === undefined || model.parameters === 0 ? undefined : {
  title: fineTuned ? `${title} fine-tuned` : title, iteration, ...scoredModel(model, size), kept: undefined, labeled: undefined, rows: undefined, precision: undefined,
  gate: undefined, fewer: [], decision: '', best: false, fineTuned, other: undefined,
});

function iterationRow(run: RunView, view: IterationView, bestIteration: number | undefined): SummaryRow {
  const { selection, audit } = view;
  const teaches = run.fineTunedTeaches;
  const size = run.data?.image;
  const title = `${view.iteration}${view.try > 0 ? ` (try ${view.try + 1})` : ''}`;
  return {
    title: teaches ? `${title} fine-tuned` : title,
    iteration: view.iteration,
    ...scoredModel(teaches ? view.fineTuned : view.model, size),
    kept: selection?.kept, labeled: selection?.labeled, rows: selection?.rows,
    precision: audit !== undefined && audit.kept > 0 ? { correct: audit.keptRight, total: audit.kept } : undefined,
    gate: view.gate, fewer: fewerGates(view.gatesWithFewer),
    decision: view.decision,
    best: view.iteration === bestIteration && view.decision === 'promoted',
    fineTuned: teaches,
    other: otherRow(title, view.iteration, !teaches, teaches ? view.model : view.fineTuned, size),
  };
}

const isScored = (model: ModelView | undefined): boolean => model?.validation !== undefined || model?.test !== undefined;

function controlRow(run: RunView): SummaryRow | undefined {
  const teaches = run.fineTunedTeaches;
  const rows = [run.control, run.controlFineTuned].map((model, at) => (isScored(model) ? otherRow('control', undefined, at === 1, model, run.data?.image) : undefined));
  const [own, other] = teaches ? [rows[1], rows[0]] : rows;
  return own === undefined ? undefined : { ...own, other };
}

/** A row and its other, the fine-tuned one last. */
const both = (row: SummaryRow): SummaryRow[] => (row.other === undefined ? [row] : row.fineTuned ? [row.other, row] : [row, row.other]);

export function summarize(view: RunView): Summary {
  const succeeded = view.summary?.state === 'succeeded';
  const bestIteration = succeeded || view.bestModel !== undefined ? view.bestIteration : undefined;
  const rows = view.iterations.filter(({ model }) => (model?.parameters ?? 0) > 0 || (model?.model?.sha256 ?? '') !== '').map((iteration) => iterationRow(view, iteration, bestIteration));
  const control = controlRow(view);
  const best = view.iterations.findLast((iteration) => iteration.iteration === bestIteration && iteration.decision === 'promoted');
  return { rows, control, all: [...rows, ...(control === undefined ? [] : [control])].flatMap(both), best, findings: findings(view, rows, control) };
}

/** The split that two models are compared on: test where there is one, since validation chose the best. */
function compared(a: SummaryRow, b: SummaryRow): { name: string; a: Proportion; b: Proportion } | undefined {
  if (a.test !== undefined && b.test !== undefined) return { name: 'test', a: a.test, b: b.test };
  if (a.validation !== undefined && b.validation !== undefined) return { name: 'validation', a: a.validation, b: b.validation };
  return undefined;
}

function compareSentence(subject: string, object: string, a: Proportion, b: Proportion, split: string): string {
  const delta = difference(a, b);
  const interval = `95 % interval ${points(delta.low)} to ${points(delta.high)}`;
  const figures = `${percent(share(a))} against ${percent(share(b))} on ${integer(a.total)} ${split} images, ${points(delta.value)} points (${interval})`;
  if (delta.low > 0) {
    const fewer = errorReduction(a, b)?.value;
    return `${subject} beats ${object}: ${figures}${fewer === undefined ? '' : `, ${percent(fewer, 0)} fewer errors`}.`;
  }
  if (delta.high < 0) return `${subject} does NOT beat ${object}, which is better: ${figures}.`;
  return `${subject} is not shown to beat ${object}: ${figures}; the interval includes zero.`;
}

function findings(view: RunView, rows: readonly SummaryRow[], control: SummaryRow | undefined): string[] {
  const said: string[] = [];
  const first = rows.find((row) => row.iteration === 0);
  const best = rows.find((row) => row.best);
  if (best !== undefined && control !== undefined) {
    const pair = compared(best, control);
    if (pair !== undefined) {
      const other = best.model === control.model ? '' : `, which is ${control.model} and not the best model's ${best.model},`;
      said.push(compareSentence(`The best model (iteration ${best.title})`, `the control${other}`.replace(/,$/, ''), pair.a, pair.b, pair.name));
    }
  }
  if (best !== undefined && first !== undefined && best !== first) {
    const pair = compared(best, first);
    if (pair !== undefined) said.push(compareSentence(`The best model (iteration ${best.title})`, 'the first teacher', pair.a, pair.b, pair.name));
  }
  if (best?.iteration !== undefined && best.iteration > 0 && best !== first) {
    const price = priceOfGain(view, first, best);
    if (price !== '') said.push(price);
  }
  if (best?.other !== undefined) {
    const [tuned, before] = best.fineTuned ? [best, best.other] : [best.other, best];
    const pair = compared(tuned, before);
    if (pair !== undefined) said.push(compareSentence(`The fine-tuned model of iteration ${String(best.iteration)}`, 'the one that it began with', pair.a, pair.b, pair.name));
  }
  said.push(...distillationFindings(view));
  const robust = best?.iteration === undefined ? '' : robustnessFinding(view, best.iteration);
  if (robust !== '') said.push(robust);
  const compressed = compressionFinding(view);
  if (compressed !== '') said.push(compressed);
  const stopped = stoppedEarly(view);
  if (stopped !== '') said.push(stopped);
  if (best !== undefined && best.iteration === 0 && rows.length > 1) {
    const refused = rows.filter((row) => row.iteration !== 0 && row.decision === 'refused');
    // One that was refused may have been better on clean images, and not so bearing of corrupted ones.
    said.push(refused.length === rows.length - 1
      ? `No student passed the gate, and the run returns the first teacher. ${refused.map((row) => `Iteration ${row.title}: ${row.gate?.reason ?? ''}.`).join(' ')}`
      : `No student ${refused.length === 0 ? '' : 'that passed the gate '}was better on validation than the first teacher: the run returns the first teacher.`);
  }
  if (view.summary?.state === 'succeeded' && control === undefined) said.push(view.control === undefined ? 'No control was trained: set `control: true` in the recipe to learn what the unlabeled images were worth.' : 'The control was given up; the warnings say why. Without it nobody knows what the unlabeled images were worth.');
  const [labeled, validation] = [view.data?.labeled?.samples ?? 0, view.data?.validation?.samples ?? 0];
  if (labeled > 0 && validation > 0) {
    const fewer = [...new Set(rows.flatMap((row) => row.fewer.map((gate) => gate.samples)))].sort((a, b) => a - b);
    const second = fewer.length === 0 ? '' : `; the second row of each gate shows what ${fewer.map(integer).join(' and ')} would tell`;
    said.push(`Validation has ${integer(validation)} labels${validation > labeled ? `, more than the ${integer(labeled)} trained on` : ` beside the ${integer(labeled)} trained on`}${second}.`);
  }
  return said;
}

/** What each point over the first teacher took: images that students learned from and saw, and time of devices, by all iterations up to the best. Empty where nothing was gained. */
function priceOfGain(view: RunView, first: SummaryRow | undefined, best: SummaryRow): string {
  const pair = first === undefined ? undefined : compared(best, first);
  const gained = pair === undefined ? 0 : 100 * (share(pair.a) - share(pair.b));
  const students = view.iterations.filter((each) => each.iteration > 0 && each.iteration <= (best.iteration ?? 0));
  if (pair === undefined || gained <= 0 || students.length === 0) return '';
  const trainings = students.flatMap((each) => trainingsOf(view, each));
  const deviceMs = trainings.reduce((sum, each) => sum + (each?.trainMs ?? 0), 0);
  const seen = trainings.reduce((sum, each) => sum + (each?.images ?? 0), 0);
  return `What a point of ${pair.name} accuracy over the first teacher took, of ${gained.toFixed(2)} gained: ${duration(deviceMs / gained)} of training and ${integer(seen / gained)} images seen by students; ${integer(best.kept ?? 0)} pseudo-labels were kept for the best one.`;
}

/** Which trainings ended before their last step, and whose weights they handed back; empty where none did. */
function stoppedEarly(view: RunView): string {
  const models: (readonly [string, ModelView | undefined])[] = [
    ...view.iterations.flatMap((each) => [[`iteration ${each.iteration}${each.try > 0 ? ` (try ${each.try + 1})` : ''}`, each.model], [`iteration ${each.iteration} fine-tuned`, each.fineTuned]] as const),
    ['the control', view.control], ['the control fine-tuned', view.controlFineTuned],
  ];
  const told = models.flatMap(([title, model]) => (model?.stoppedAtStep === undefined ? [] : [`${title} after step ${integer(model.stoppedAtStep)} (weights of step ${integer(model.bestStep ?? 0)})`]));
  return told.length === 0 ? '' : `Stopped early by the loss on images held out: ${told.join(', ')}.`;
}

/** Why `ended` is not `succeeded`, or empty. */
export function outcome(view: RunView): string {
  const { state = '', reason = '', runId = '' } = view.summary ?? {};
  if (state === 'succeeded') return '';
  return `Run ${runId} ${state === 'running' ? 'is still running' : `${state === 'paused' ? 'is paused' : state === 'failed' ? 'failed' : `was ${state}`}`}${reason === '' ? '' : `: ${reason}`}.`;
}

/** Below this width the cells are broken into lines of their own. */
const WIDE_COLUMNS = 136;

const proportion = (value: Proportion | undefined): string => (value === undefined ? none : percent(share(value), 2));

const counts = (gate: Gate): string => `b ${integer(gate.studentOnlyRight)}, c ${integer(gate.teacherOnlyRight)}`;

function gateCell(row: SummaryRow, separator: string): string {
  if (row.gate === undefined) return none;
  const lines = [`${counts(row.gate)}${separator}${pValue(row.gate.pValue)}`];
  for (const fewer of row.fewer) lines.push(`of ${integer(fewer.samples)}: ${counts(fewer.gate)}${separator}${pValue(fewer.gate.pValue)}`);
  const ratio = gateRatio(row.gate.corruptionRatio);
  if (ratio !== undefined) lines.push(ratio);
  return lines.join('\n');
}

function decisionCell(row: SummaryRow): string {
  const lines = [`${row.decision === '' ? none : row.decision}${row.best ? ' *' : ''}`];
  for (const fewer of row.fewer) lines.push(fewer.promoted ? 'promoted' : 'refused');
  return lines.join('\n');
}

/** The table and what follows from it, for a terminal `columns` wide. @param losses whether the table has them, too */
export function summaryText(view: RunView, columns: number, losses = false): string {
  const summary = summarize(view);
  const narrow = columns < WIDE_COLUMNS;
  const [space, comma] = narrow ? ['\n', '\n'] : [' ', ', '];
  const lines: string[] = [];
  const { all } = summary;
  if (all.length > 0) {
    lines.push(table(
      ['iteration', 'model', 'parameters', ...(losses ? ['last loss'] : []), 'labels kept', 'precision', 'validation', 'test', 'gate', 'decision'],
      all.map((row) => [
        row.title.replace(' fine-tuned', `${space}fine-tuned`),
        row.model.replace(' ', space),
        row.parameters > 0 ? integer(row.parameters) : none,
        ...(losses ? [row.loss?.toFixed(3) ?? none] : []),
        row.kept === undefined || row.labeled === undefined ? none : `${integer(row.kept)}${space}of ${integer(row.labeled)}${row.rows === undefined ? '' : `${comma}${integer(row.rows)} rows`}`,
        proportion(row.precision), proportion(row.validation), proportion(row.test),
        gateCell(row, comma), decisionCell(row),
      ]),
      losses ? [2, 3, 5, 6, 7] : [2, 4, 5, 6],
    ), '');
    const legend = [
      'Rows count copies: classes with too few labels repeat theirs. Precision: of the labels kept, the share that is right.',
      ...(summary.rows.some((row) => row.gate !== undefined) ? ['Gate: b only the student right, c only the teacher right, on the same validation images; p of McNemar\'s exact test.'] : []),
      ...(summary.rows.some((row) => row.gate?.corruptionRatio !== undefined) ? ['Corrupted: the student\'s mean corruption error on validation by its teacher\'s, both normalized by iteration 0\'s teacher.'] : []),
      ...(summary.rows.some((row) => row.other !== undefined) ? [`Fine-tuned: on from the model above it, on the labeled images without noise; ${view.fineTunedTeaches ? 'it is gated, promoted and labels' : 'it is evaluated, and the one above is gated and labels'}.`] : []),
      ...(summary.rows.some((row) => row.best) ? ['* the best by validation, which the run returns.'] : []),
    ];
    lines.push(...legend, '');
  }
  for (const beside of [deitText(view), comparisonText(view), compressionText(view)]) if (beside !== '') lines.push(beside, '');
  for (const finding of summary.findings) lines.push(finding);
  for (const warning of view.warnings) lines.push(`Warning: ${warning}`);
  const bad = outcome(view);
  if (bad !== '') lines.push([bad, remedyOf(view.summary)].filter((sentence) => sentence !== '').join(' '));
  const { submittedAtMs = 0, endedAtMs = 0 } = view.summary ?? {};
  if (endedAtMs > 0) lines.push(`Took ${duration(endedAtMs - submittedAtMs)} from submission to end.`);
  return lines.join('\n');
}
