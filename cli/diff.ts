/**
 * Two recipes, or two runs, held against one another: fields that differ, and results side by side. Pure. Not for: whether a difference of results is one
 * (`run describe` tells intervals).
 */
import type { ModelView, RunView } from '../proto/gen/alumnus/v1/operator.ts';
import type { Score } from '../proto/gen/alumnus/v1/task.ts';
import { duration, integer, none, percent } from './format.ts';
import { table } from './output.ts';

export interface Difference {
  /** Such as `training.student.steps`, `models.ladder[0].width`. */
  readonly path: string;
  /** Absent where that side has no such field. */
  readonly a?: unknown;
  readonly b?: unknown;
}

export interface ResultPair {
  readonly name: string;
  readonly as: 'share' | 'count' | 'seconds' | 'word';
  readonly a?: number | string;
  readonly b?: number | string;
}

function leaves(value: unknown, path = ''): [string, unknown][] {
  if (Array.isArray(value)) return value.length === 0 ? [[path, []]] : value.flatMap((each, at) => leaves(each, `${path}[${at}]`));
  if (typeof value !== 'object' || value === null) return [[path, value]];
  return Object.entries(value).flatMap(([name, field]) => leaves(field, path === '' ? name : `${path}.${name}`));
}

/** Fields in the order of the first, those that only the second has behind them. */
export function differences(a: unknown, b: unknown): Difference[] {
  const [left, right] = [new Map(leaves(a)), new Map(leaves(b))];
  return [...new Set([...left.keys(), ...right.keys()])].flatMap((path): Difference[] => {
    const sides = { ...(left.has(path) ? { a: left.get(path) } : {}), ...(right.has(path) ? { b: right.get(path) } : {}) };
    return JSON.stringify(sides.a) === JSON.stringify(sides.b) ? [] : [{ path, ...sides }];
  });
}

const shareOf = (score: Score | undefined): number | undefined => (score === undefined || score.total === 0 ? undefined : score.correct / score.total);

type Result = Omit<ResultPair, 'a' | 'b'> & { readonly value: number | string | undefined };

function resultsOf(view: RunView): Result[] {
  const { summary, budget } = view;
  const of = (name: string, model: ModelView | undefined): Result[] => [
    { name: `${name}, model`, as: 'word', value: model?.label || undefined }, { name: `${name}, validation`, as: 'share', value: shareOf(model?.validation) }, { name: `${name}, test`, as: 'share', value: shareOf(model?.test) },
  ];
  // Of several tries the last.
  const last = new Map(view.iterations.map((each) => [each.iteration, each]));
  return [
    { name: 'state', as: 'word', value: summary?.state },
    { name: 'best iteration', as: 'count', value: view.bestModel === undefined ? undefined : view.bestIteration },
    ...[...last.values()].flatMap((each): Result[] => [
      ...of(`iteration ${each.iteration}`, view.fineTunedTeaches ? each.fineTuned : each.model),
      { name: `iteration ${each.iteration}, labels kept`, as: 'count', value: each.selection?.kept },
      { name: `iteration ${each.iteration}, labels kept that are right`, as: 'share', value: each.audit === undefined || each.audit.kept === 0 ? undefined : each.audit.keptRight / each.audit.kept },
      { name: `iteration ${each.iteration}, decision`, as: 'word', value: each.decision || undefined },
    ]),
    ...of('control', view.fineTunedTeaches ? view.controlFineTuned : view.control),
    ...view.comparisons.flatMap((each) => of(each.name, view.fineTunedTeaches ? each.fineTuned : each.model)),
    { name: 'device time', as: 'seconds', value: budget === undefined ? undefined : budget.deviceHoursSpent * 3600 },
    { name: 'wall time', as: 'seconds', value: budget === undefined ? undefined : budget.wallHoursSpent * 3600 },
  ];
}

/** In the order of the longer run; what neither has is left out. */
export function resultPairs(a: RunView, b: RunView): ResultPair[] {
  const [left, right] = [resultsOf(a), resultsOf(b)];
  const [longer, shorter] = left.length >= right.length ? [left, right] : [right, left];
  const named = new Map([...longer, ...shorter].map((each) => [each.name, each]));
  const valueIn = (results: readonly Result[], name: string): number | string | undefined => results.find((each) => each.name === name)?.value;
  return [...named.values()].flatMap(({ name, as }): ResultPair[] => {
    const [ours, theirs] = [valueIn(left, name), valueIn(right, name)];
    return ours === undefined && theirs === undefined ? [] : [{ name, as, ...(ours === undefined ? {} : { a: ours }), ...(theirs === undefined ? {} : { b: theirs }) }];
  });
}

const fieldText = (value: unknown): string => (value === undefined ? none : typeof value === 'string' ? value : JSON.stringify(value));

function valueText(as: ResultPair['as'], value: number | string | undefined): string {
  if (value === undefined) return none;
  if (typeof value === 'string') return value;
  return as === 'share' ? percent(value, 2) : as === 'seconds' ? duration(value * 1000) : integer(value);
}

export const differencesText = (rows: readonly Difference[], a: string, b: string): string =>
  (rows.length === 0 ? 'The recipes say the same.' : table(['field', a, b], rows.map((row) => [row.path, fieldText(row.a), fieldText(row.b)])));

export const resultsText = (rows: readonly ResultPair[], a: string, b: string): string => table(['result', a, b], rows.map((row) => [row.name, valueText(row.as, row.a), valueText(row.as, row.b)]), [1, 2]);
