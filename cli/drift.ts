/** How labels changed from one teacher to the next: the figures of a run, for `run describe` and the report. Nothing is decided here. */
import type { IterationView, RunView } from '../proto/gen/alumnus/v1/operator.ts';
import { integer, none, percent } from './format.ts';
import { table } from './output.ts';

export interface DriftRow {
  readonly title: string;
  readonly compared: string;
  readonly flips: string;
  readonly confidence: string;
  readonly precision: string;
  /** The most frequent pairs of classes. */
  readonly pairs: string;
  readonly shards: string;
  readonly alarm: boolean;
}

/** Of pairs and shards, so many are shown; `-o json` has ten, the document that it names has all. */
const SHOWN_MAX = 3;

export const driftHead = ['iteration', 'labels compared', 'another class', 'mean confidence', 'precision on validation', 'most frequent', 'shards with most'] as const;

export const driftLegend =
  'Labels of each teacher against those of the one before, kept or not. Precision on validation: of the teacher\'s predictions at or above its threshold, the share that is right, before and now. Where confidence rises and that does not, the run warns: a student may be confirming its own errors.';

const fromTo = (before: string, after: string): string => `${before} → ${after}`;
const precisionOf = (correct: number, total: number): string => (total === 0 ? none : percent(correct / total, 2));

function row({ iteration, try: attempt, selection, precisionDrift: precision }: IterationView, classNames: readonly string[]): DriftRow[] {
  const drift = selection?.drift;
  if (drift === undefined) return [];
  const name = (at: number): string => classNames[at] ?? String(at);
  return [{
    title: `${iteration}${attempt > 0 ? ` (try ${attempt + 1})` : ''}`, compared: integer(drift.samples),
    flips: drift.samples === 0 ? none : `${integer(drift.flips)} (${percent(drift.flips / drift.samples, 2)})`,
    confidence: drift.samples === 0 ? none : fromTo(percent(drift.confidenceBefore, 2), percent(drift.confidenceAfter, 2)),
    precision: precision === undefined ? none : `${fromTo(precisionOf(precision.correctBefore, precision.totalBefore), precisionOf(precision.correctAfter, precision.totalAfter))}${precision.alarm ? ' !' : ''}`,
    pairs: drift.classes.slice(0, SHOWN_MAX).map(({ from, to, samples }) => `${fromTo(name(from), name(to))} ${integer(samples)}`).join(', ') || none,
    shards: drift.shards.filter(({ flips }) => flips > 0).slice(0, SHOWN_MAX).map(({ shard, samples, flips }) => `${shard} ${percent(flips / samples)}`).join(', ') || none,
    alarm: precision?.alarm === true,
  }];
}

/** One row an iteration whose labels were compared. */
export const driftRows = (view: RunView): DriftRow[] => view.iterations.flatMap((each) => row(each, view.data?.classNames ?? []));

export const driftCells = (each: DriftRow): string[] => [each.title, each.compared, each.flips, each.confidence, each.precision, each.pairs, each.shards];

export function driftSummary(view: RunView): string {
  const rows = driftRows(view);
  return rows.length === 0 ? '' : `${table(driftHead, rows.map(driftCells), [1, 2])}\n\n${driftLegend}`;
}
