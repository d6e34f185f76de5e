/**
 * Charts as inline SVG, in the page's own colors, so that they follow light and dark. Drawn 400 units wide: on a phone
 * they are shown at about that many pixels, on a desk somewhat larger, and stay readable on both.
 * Color is never the only difference: lines differ in dash or mark, and every mark has its figures as a title.
 */
import { integer, percent } from '../format.ts';
import { wilson, type Proportion } from '../statistics.ts';
import { html, type Markup } from './html.ts';

export const WIDTH = 400;
export const LEFT = 46;
export const RIGHT = 10;
export const TOP = 10;
export const BOTTOM = 30;

export const f = (value: number): string => value.toFixed(1);

/** Round values from below `low` to above `high`, about `wanted` of them. */
export function niceTicks(low: number, high: number, wanted = 5): number[] {
  const span = high > low ? high - low : Math.abs(high) || 1;
  const rough = span / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = ([1, 2, 2.5, 5, 10].find((factor) => factor * power >= rough * 0.999) ?? 10) * power;
  const ticks: number[] = [];
  for (let index = Math.floor(low / step + 1e-9); ; index += 1) {
    const tick = Number((index * step).toPrecision(12));
    ticks.push(tick);
    if (tick >= high - step * 1e-9) return ticks;
  }
}

/** Decimals that ticks of shares need to be told in percent as they are: steps may be halves and quarters of a point. */
export const percentDigits = (ticks: readonly number[]): number => [0, 1].find((digits) => ticks.every((tick) => Math.abs(tick - Number(tick.toFixed(digits + 2))) < 1e-9)) ?? 2;

export interface LegendEntry {
  readonly name: string;
  readonly className: string;
  readonly mark: 'circle' | 'square' | 'dash' | 'line' | 'box';
  readonly opacity?: number;
}

export function legend(entries: readonly LegendEntry[]): Markup {
  const swatch = (entry: LegendEntry): Markup => {
    const opacity = entry.opacity ?? 1;
    switch (entry.mark) {
      case 'circle':
        return html`<line class="stroke ${entry.className}" x1="0" y1="6" x2="22" y2="6" opacity="${opacity}"/><circle class="fill ${entry.className}" cx="11" cy="6" r="3.5" opacity="${opacity}"/>`;
      case 'square':
        return html`<line class="stroke ${entry.className}" x1="0" y1="6" x2="22" y2="6" stroke-dasharray="5 3"/><rect class="fill ${entry.className}" x="7.5" y="2.5" width="7" height="7"/>`;
      case 'dash':
        return html`<line class="stroke ${entry.className}" x1="0" y1="6" x2="22" y2="6" stroke-dasharray="2 3"/>`;
      case 'line':
        return html`<line class="stroke ${entry.className}" x1="0" y1="6" x2="22" y2="6" opacity="${opacity}"/>`;
      case 'box':
        return html`<rect class="fill ${entry.className}" x="4" y="1" width="12" height="10" opacity="${opacity}"/>`;
    }
  };
  return html`<ul class="legend">${entries.map((entry) => html`<li><svg width="22" height="12" viewBox="0 0 22 12" aria-hidden="true">${swatch(entry)}</svg> ${entry.name}</li>`)}</ul>`;
}

export function frame(label: string, height: number, body: Markup): Markup {
  return html`<svg class="chart" viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="${label}">${body}</svg>`;
}

export const yGrid = (ticks: readonly number[], y: (value: number) => number, name: (value: number) => string): Markup =>
  html`${ticks.map((tick) => html`<line class="grid" x1="${LEFT}" y1="${f(y(tick))}" x2="${WIDTH - RIGHT}" y2="${f(y(tick))}"/><text class="tick" x="${LEFT - 6}" y="${f(y(tick) + 4)}" text-anchor="end">${name(tick)}</text>`)}`;

export interface AccuracyPoint {
  readonly title: string;
  readonly validation: Proportion | undefined;
  readonly test: Proportion | undefined;
}

const told = (what: string, value: Proportion): string => {
  const interval = wilson(value.correct, value.total);
  return `${what}: ${percent(value.correct / value.total, 2)} (${integer(value.correct)} of ${integer(value.total)}; 95 % interval ${percent(interval.low, 2)} to ${percent(interval.high, 2)})`;
};

/** Accuracy by iteration with 95 % Wilson intervals; the control as a level across all of it. */
export function accuracyChart(points: readonly AccuracyPoint[], control: { name: string; value: Proportion } | undefined): Markup {
  const height = 250;
  const all = [...points.flatMap((point) => [point.validation, point.test]), control?.value].filter((value) => value !== undefined);
  if (all.length === 0) return html`<p class="empty">Nothing is evaluated yet.</p>`;
  const intervals = all.map((value) => wilson(value.correct, value.total));
  const ticks = niceTicks(Math.min(...intervals.map((interval) => interval.low)), Math.min(1, Math.max(...intervals.map((interval) => interval.high))));
  const [low, high] = [ticks[0] ?? 0, ticks.at(-1) ?? 1];
  const y = (value: number): number => TOP + ((high - value) / (high - low)) * (height - TOP - BOTTOM);
  const slot = (WIDTH - LEFT - RIGHT) / points.length;
  const x = (index: number): number => LEFT + slot * (index + 0.5);
  const digits = percentDigits(ticks);

  const series = (kind: 'validation' | 'test', offset: number): Markup => {
    const marks = points.flatMap((point, index) => {
      const value = point[kind];
      return value === undefined ? [] : [{ point, value, at: x(index) + offset, share: value.correct / value.total }];
    });
    return html`<polyline class="stroke ${kind}" points="${marks.map((mark) => `${f(mark.at)},${f(y(mark.share))}`).join(' ')}" ${kind === 'test' ? html`stroke-dasharray="6 4"` : ''}/>
${marks.map((mark) => {
    const interval = wilson(mark.value.correct, mark.value.total);
    const at = f(mark.at);
    return html`<g><title>${told(`Iteration ${mark.point.title}, ${kind}`, mark.value)}</title><line class="stroke thin ${kind}" x1="${at}" y1="${f(y(interval.low))}" x2="${at}" y2="${f(y(interval.high))}"/><line class="stroke thin ${kind}" x1="${f(mark.at - 4)}" y1="${f(y(interval.low))}" x2="${f(mark.at + 4)}" y2="${f(y(interval.low))}"/><line class="stroke thin ${kind}" x1="${f(mark.at - 4)}" y1="${f(y(interval.high))}" x2="${f(mark.at + 4)}" y2="${f(y(interval.high))}"/>${kind === 'validation' ? html`<circle class="fill ${kind}" cx="${at}" cy="${f(y(mark.share))}" r="4"/>` : html`<rect class="fill ${kind}" x="${f(mark.at - 4)}" y="${f(y(mark.share) - 4)}" width="8" height="8"/>`}</g>`;
  })}`;
  };

  const level = control === undefined ? undefined : control.value.correct / control.value.total;
  const band = control === undefined ? undefined : wilson(control.value.correct, control.value.total);
  return frame('Accuracy by iteration', height, html`
${yGrid(ticks, y, (tick) => `${(tick * 100).toFixed(digits)} %`)}
${control !== undefined && level !== undefined && band !== undefined && html`<g><title>${told(control.name, control.value)}</title><rect class="fill control" opacity="0.14" x="${LEFT}" y="${f(y(band.high))}" width="${WIDTH - LEFT - RIGHT}" height="${f(y(band.low) - y(band.high))}"/><line class="stroke control" stroke-dasharray="2 3" x1="${LEFT}" y1="${f(y(level))}" x2="${WIDTH - RIGHT}" y2="${f(y(level))}"/></g>`}
${series('validation', -5)}
${series('test', 5)}
${points.map((point, index) => html`<text class="tick" x="${f(x(index))}" y="${height - 12}" text-anchor="middle">${points.length > 8 ? point.title : `iteration ${point.title}`}</text>`)}`);
}

export interface RatioPoint {
  readonly title: string;
  readonly validation: number | undefined;
  readonly test: number | undefined;
}

/** Multiples by iteration, about 1; the control's as a level across all of it. @param label what is drawn */
export function ratioChart(label: string, points: readonly RatioPoint[], control: number | undefined): Markup {
  const height = 220;
  const values = [...points.flatMap((point) => [point.validation, point.test]), control].filter((value) => value !== undefined);
  if (values.length === 0) return html`<p class="empty">Nothing is evaluated yet.</p>`;
  const ticks = niceTicks(0, Math.max(1, ...values));
  const high = ticks.at(-1) ?? 1;
  const y = (value: number): number => TOP + ((high - value) / high) * (height - TOP - BOTTOM);
  const slot = (WIDTH - LEFT - RIGHT) / points.length;
  const x = (index: number): number => LEFT + slot * (index + 0.5);
  const series = (kind: 'validation' | 'test'): Markup => {
    const marks = points.flatMap((point, index) => (point[kind] === undefined ? [] : [{ title: point.title, value: point[kind], at: x(index) }]));
    return html`<polyline class="stroke ${kind}" points="${marks.map(({ at, value }) => `${f(at)},${f(y(value))}`).join(' ')}" ${kind === 'test' ? html`stroke-dasharray="6 4"` : ''}/>
${marks.map(({ title, value, at }) => html`<g><title>Iteration ${title}, ${kind}: ${value.toFixed(3)}</title>${kind === 'validation' ? html`<circle class="fill ${kind}" cx="${f(at)}" cy="${f(y(value))}" r="4"/>` : html`<rect class="fill ${kind}" x="${f(at - 4)}" y="${f(y(value) - 4)}" width="8" height="8"/>`}</g>`)}`;
  };
  return frame(label, height, html`
${yGrid(ticks, y, (tick) => String(tick))}
${control !== undefined && html`<g><title>Control: ${control.toFixed(3)}</title><line class="stroke control" stroke-dasharray="2 3" x1="${LEFT}" y1="${f(y(control))}" x2="${WIDTH - RIGHT}" y2="${f(y(control))}"/></g>`}
${series('validation')}
${series('test')}
${points.map((point, index) => html`<text class="tick" x="${f(x(index))}" y="${height - 12}" text-anchor="middle">${points.length > 8 ? point.title : `iteration ${point.title}`}</text>`)}`);
}

export interface LossLine {
  readonly name: string;
  readonly control: boolean;
  /** From faint (first) to full (last), 0 to 1. */
  readonly opacity: number;
  readonly points: readonly { readonly step: number; readonly loss: number }[];
}

/** The one point of a training too short for a second; a line of it would not be seen. */
const lonePoint = (className: string, opacity: string, at: { x: number; y: number }): Markup => html`<circle class="fill ${className}" opacity="${opacity}" cx="${f(at.x)}" cy="${f(at.y)}" r="4"/>`;

/** More than the eye can tell apart on this width. */
const CURVE_POINTS_MAX = 200;

/** Mean loss over equal pieces of the curve, so that a long training neither bloats the page nor hides its course. */
export function thin(points: readonly { readonly step: number; readonly loss: number }[], max = CURVE_POINTS_MAX): { step: number; loss: number }[] {
  const finite = points.filter((point) => Number.isFinite(point.loss));
  if (finite.length <= max) return [...finite];
  return Array.from({ length: max }, (_, index) => {
    const piece = finite.slice(Math.floor((index * finite.length) / max), Math.floor(((index + 1) * finite.length) / max));
    return { step: piece.at(-1)?.step ?? 0, loss: piece.reduce((sum, point) => sum + point.loss, 0) / Math.max(1, piece.length) };
  });
}

export function lossChart(lines: readonly LossLine[]): Markup {
  const height = 220;
  const drawn = lines.map((line) => ({ ...line, points: thin(line.points) })).filter((line) => line.points.length > 0);
  if (drawn.length === 0) return html`<p class="empty">No training has reported its losses yet.</p>`;
  const losses = drawn.flatMap((line) => line.points.map((point) => point.loss));
  const stepMax = Math.max(...drawn.map((line) => line.points.at(-1)?.step ?? 1));
  const ticks = niceTicks(0, Math.max(...losses, 1e-6));
  const high = ticks.at(-1) ?? 1;
  const y = (value: number): number => TOP + ((high - value) / high) * (height - TOP - BOTTOM);
  const x = (step: number): number => LEFT + (step / stepMax) * (WIDTH - LEFT - RIGHT);
  const steps = niceTicks(0, stepMax, 4).filter((step) => step <= stepMax);
  return frame('Loss of each training by step', height, html`
${yGrid(ticks, y, (tick) => String(tick))}
${drawn.map((line) => html`<g><title>${line.name}: last loss ${(line.points.at(-1)?.loss ?? 0).toFixed(3)}</title>${line.points.length === 1 ? line.points.map((point) => lonePoint(line.control ? 'control' : 'validation', line.control ? '1' : f2(line.opacity), { x: x(point.step), y: y(point.loss) })) : html`<polyline class="stroke ${line.control ? 'control' : 'validation'}" opacity="${line.control ? 1 : f2(line.opacity)}" ${line.control ? html`stroke-dasharray="2 3"` : ''} points="${line.points.map((point) => `${f(x(point.step))},${f(y(point.loss))}`).join(' ')}"/>`}</g>`)}
${steps.map((step) => html`<text class="tick" x="${f(x(step))}" y="${height - 12}" text-anchor="${step === 0 ? 'start' : x(step) > WIDTH - 40 ? 'end' : 'middle'}">${step === 0 ? '0 steps' : integer(step)}</text>`)}`);
}

const f2 = (value: number): string => value.toFixed(2);

const ROW = 24;
/** Longer class names are cut in the drawing; the whole name is in the title. */
const NAME_CHARACTERS = 14;
const NAME_WIDTH = 104;

const shortName = (name: string): string => (name.length <= NAME_CHARACTERS ? name : `${name.slice(0, NAME_CHARACTERS - 1)}…`);

export interface PrecisionRow {
  readonly name: string;
  readonly marks: readonly { readonly iteration: string; readonly opacity: number; readonly value: Proportion }[];
}

/** One row a class, one mark an iteration. */
export function precisionChart(rows: readonly PrecisionRow[]): Markup {
  const shares = rows.flatMap((row) => row.marks.map((mark) => mark.value.correct / mark.value.total));
  if (shares.length === 0) return html`<p class="empty">Not known: this data has no true labels to measure against.</p>`;
  // Where every label is right the axis still needs a width.
  const ticks = niceTicks(Math.min(...shares, 0.99), 1, 4);
  const [low, high] = [ticks[0] ?? 0, ticks.at(-1) ?? 1];
  const height = rows.length * ROW + 30;
  const x = (value: number): number => NAME_WIDTH + 8 + ((value - low) / (high - low)) * (WIDTH - NAME_WIDTH - 8 - 24);
  return frame('Share of the kept pseudo-labels that is right, by class', height, html`
${ticks.map((tick) => html`<line class="grid" x1="${f(x(tick))}" y1="4" x2="${f(x(tick))}" y2="${height - 24}"/><text class="tick" x="${f(x(tick))}" y="${height - 8}" text-anchor="middle">${(tick * 100).toFixed(percentDigits(ticks))} %</text>`)}
${rows.map((row, index) => {
    const y = 4 + ROW * (index + 0.5);
    const marks = row.marks.map((mark) => ({ ...mark, at: x(mark.value.correct / mark.value.total) }));
    const ends = marks.map((mark) => mark.at);
    return html`<text class="name" x="${NAME_WIDTH}" y="${f(y + 4)}" text-anchor="end">${shortName(row.name)}<title>${row.name}</title></text><line class="stroke thin validation" opacity="0.35" x1="${f(Math.min(...ends))}" y1="${f(y)}" x2="${f(Math.max(...ends))}" y2="${f(y)}"/>${marks.map((mark) => html`<circle class="fill validation" cx="${f(mark.at)}" cy="${f(y)}" r="4.5" opacity="${f2(mark.opacity)}"><title>${row.name}, iteration ${mark.iteration}: ${percent(mark.value.correct / mark.value.total)} (${integer(mark.value.correct)} of ${integer(mark.value.total)})</title></circle>`)}`;
  })}`);
}

export interface BalanceRow {
  readonly name: string;
  readonly labeled: number;
  readonly kept: number;
  readonly rows: number;
}

/** One pair of bars a class: what the teacher said, and what the student trains on. */
export function balanceChart(classes: readonly BalanceRow[]): Markup {
  if (classes.length === 0) return html`<p class="empty">No selection has been made yet.</p>`;
  const ticks = niceTicks(0, Math.max(...classes.flatMap((each) => [each.labeled, each.rows]), 1), 4);
  const high = ticks.at(-1) ?? 1;
  const height = classes.length * (ROW + 2) + 30;
  const x = (value: number): number => NAME_WIDTH + 8 + (value / high) * (WIDTH - NAME_WIDTH - 8 - 24);
  return frame('Pseudo-labels by class before and after selection', height, html`
${ticks.map((tick) => html`<line class="grid" x1="${f(x(tick))}" y1="4" x2="${f(x(tick))}" y2="${height - 24}"/><text class="tick" x="${f(x(tick))}" y="${height - 8}" text-anchor="middle">${integer(tick)}</text>`)}
${classes.map((each, index) => {
    const y = 4 + (ROW + 2) * index;
    return html`<g><title>${each.name}: the teacher gave this class to ${integer(each.labeled)}; ${integer(each.kept)} kept, ${integer(each.rows)} rows with copies</title><text class="name" x="${NAME_WIDTH}" y="${f(y + ROW / 2 + 4)}" text-anchor="end">${shortName(each.name)}</text><rect class="fill control" opacity="0.55" x="${f(x(0))}" y="${f(y + 3)}" width="${f(x(each.labeled) - x(0))}" height="8"/><rect class="fill validation" x="${f(x(0))}" y="${f(y + 13)}" width="${f(x(each.rows) - x(0))}" height="8"/></g>`;
  })}`);
}

/** Differences with their intervals, one row each, around 0. Values are shares; the axis is in points. */
export function intervalChart(label: string, rows: readonly { readonly name: string; readonly value: number; readonly low: number; readonly high: number }[]): Markup {
  const ROW = 22;
  const NAMES = 120;
  const height = TOP + rows.length * ROW + BOTTOM;
  const ticks = niceTicks(Math.min(0, ...rows.map((row) => row.low)), Math.max(0, ...rows.map((row) => row.high)), 4);
  const [low, high] = [ticks[0] ?? 0, ticks.at(-1) ?? 1];
  const x = (value: number): number => NAMES + ((value - low) / (high - low)) * (WIDTH - NAMES - RIGHT);
  const digits = percentDigits(ticks);
  const points = (value: number): string => `${value > 0 ? '+' : ''}${(value * 100).toFixed(digits)}`;
  return frame(label, height, html`
${ticks.map((tick) => html`<line class="grid" x1="${f(x(tick))}" y1="${TOP}" x2="${f(x(tick))}" y2="${height - BOTTOM}"/><text class="tick" x="${f(x(tick))}" y="${height - 12}" text-anchor="${tick === high ? 'end' : 'middle'}">${points(tick)}</text>`)}
<line class="stroke control" x1="${f(x(0))}" y1="${TOP}" x2="${f(x(0))}" y2="${height - BOTTOM}"/>
${rows.map((row, at) => {
    const y = f(TOP + ROW * (at + 0.5));
    return html`<g><title>${row.name}: ${(row.value * 100).toFixed(2)} points (${(row.low * 100).toFixed(2)} to ${(row.high * 100).toFixed(2)})</title><text class="name" x="${NAMES - 8}" y="${f(TOP + ROW * (at + 0.5) + 4)}" text-anchor="end">${row.name.length > 18 ? `${row.name.slice(0, 17)}…` : row.name}</text><line class="stroke validation" x1="${f(x(row.low))}" y1="${y}" x2="${f(x(row.high))}" y2="${y}"/><circle class="fill validation" cx="${f(x(row.value))}" cy="${y}" r="4"/></g>`;
  })}`);
}

export interface HeatCell {
  readonly name: string;
  readonly across: number;
  readonly down: number;
  readonly judged: Proportion;
}

/** Errors of models over two settings, a column and a row a value, with 95 % intervals. Its figure stands in each cell: the shade says nothing by itself. */
export function heatMap(label: string, axes: { readonly across: string; readonly down: string }, cells: readonly HeatCell[]): Markup {
  const ROW = 44;
  const NAMES = 84;
  const [columns, rows] = [(cell: HeatCell) => cell.across, (cell: HeatCell) => cell.down].map((of) => [...new Set(cells.map(of))].sort((a, b) => a - b)) as [number[], number[]];
  const errors = cells.map(({ judged }) => 1 - judged.correct / judged.total);
  const [least, most] = [Math.min(...errors), Math.max(...errors)];
  const column = (WIDTH - NAMES - RIGHT) / columns.length;
  const height = TOP + rows.length * ROW + BOTTOM;
  // In narrow columns the intervals are in the titles alone.
  const told = column >= 76;
  return frame(label, height, html`
${rows.map((value, row) => html`<text class="name" x="${NAMES - 8}" y="${f(TOP + ROW * (row + 0.5) + 4)}" text-anchor="end">${axes.down} ${value}</text>`)}
${columns.map((value, at) => html`<text class="name" x="${f(NAMES + column * (at + 0.5))}" y="${height - 10}" text-anchor="middle">${axes.across} ${value}</text>`)}
${rows.flatMap((down, row) => columns.map((across, at) => {
    const cell = cells.find((each) => each.across === across && each.down === down);
    const [x, y] = [NAMES + column * at + 2, TOP + ROW * row + 2];
    if (cell === undefined) return html`<rect class="hollow" x="${f(x)}" y="${f(y)}" width="${f(column - 4)}" height="${ROW - 4}"/>`;
    const { correct, total } = cell.judged;
    const interval = wilson(total - correct, total);
    const error = 1 - correct / total;
    // From a tint to one on which the page's ink is still read, in light and dark.
    const shade = 0.08 + (most === least ? 0 : (0.42 * (error - least)) / (most - least));
    return html`<g><title>${cell.name}: error ${percent(error, 2)} (${integer(total - correct)} of ${integer(total)}; 95 % interval ${percent(interval.low, 2)} to ${percent(interval.high, 2)})</title><rect class="fill test" opacity="${f2(shade)}" x="${f(x)}" y="${f(y)}" width="${f(column - 4)}" height="${ROW - 4}"/><text class="name" x="${f(x + (column - 4) / 2)}" y="${f(y + (told ? 18 : 25))}" text-anchor="middle">${percent(error, 2)}</text>${told && html`<text class="tick" x="${f(x + (column - 4) / 2)}" y="${f(y + 33)}" text-anchor="middle">${(100 * interval.low).toFixed(1)} to ${(100 * interval.high).toFixed(1)}</text>`}</g>`;
  }))}`);
}

export interface ErrorRow {
  readonly name: string;
  readonly teacher: Proportion;
  readonly student: Proportion;
  /** Of the labels kept, those that are right; undefined where nobody knows. */
  readonly kept: Proportion | undefined;
  /** The student is surely better, surely worse, or neither. */
  readonly verdict: 'better' | 'worse' | undefined;
}

/** One row a class on one axis of errors: a bar for the wrong ones among the labels kept, a square for the teacher, a circle for the student, joined by a line. */
export function errorChart(label: string, rows: readonly ErrorRow[]): Markup {
  const wrong = ({ correct, total }: Proportion): number => 1 - correct / total;
  const ticks = niceTicks(0, Math.max(...rows.flatMap(({ teacher, student, kept }) => [wrong(teacher), wrong(student), ...(kept === undefined ? [] : [wrong(kept)])]), 0.01), 4);
  const high = ticks.at(-1) ?? 1;
  const TELLS = 62;
  const height = rows.length * ROW + 44;
  const top = 18;
  const x = (value: number): number => NAME_WIDTH + 8 + (value / high) * (WIDTH - NAME_WIDTH - 8 - TELLS - 12);
  const digits = percentDigits(ticks);
  const tell = (what: string, value: Proportion): string => `${what} ${percent(wrong(value), 2)} (${integer(value.total - value.correct)} of ${integer(value.total)})`;
  return frame(label, height, html`
${rows.some(({ kept }) => kept !== undefined) && html`<text class="tick" x="${WIDTH}" y="11" text-anchor="end">precision</text>`}
${ticks.map((tick) => html`<line class="grid" x1="${f(x(tick))}" y1="${top}" x2="${f(x(tick))}" y2="${height - 24}"/><text class="tick" x="${f(x(tick))}" y="${height - 8}" text-anchor="middle">${(tick * 100).toFixed(digits)} %</text>`)}
${rows.map(({ name, teacher, student, kept, verdict }, index) => {
    const y = top + ROW * (index + 0.5);
    const [from, to] = [x(wrong(teacher)), x(wrong(student))];
    const said = [tell('teacher\'s error', teacher), tell('student\'s error', student), kept === undefined ? 'precision of the labels kept unknown' : tell('wrong among the labels kept', kept)].join(', ');
    return html`<g><title>${name}: ${said}</title><text class="name" x="${NAME_WIDTH}" y="${f(y + 4)}" text-anchor="end">${shortName(name)}</text>${kept !== undefined && html`<rect class="fill control" opacity="0.3" x="${f(x(0))}" y="${f(y - 8)}" width="${f(x(wrong(kept)) - x(0))}" height="16"/><text class="tick" x="${WIDTH}" y="${f(y + 4)}" text-anchor="end">${percent(kept.correct / kept.total)}</text>`}<line class="stroke ${verdict ?? 'control'}" x1="${f(from)}" y1="${f(y)}" x2="${f(to)}" y2="${f(y)}"/><rect class="fill test" x="${f(from - 4)}" y="${f(y - 4)}" width="8" height="8"/><circle class="fill validation" cx="${f(to)}" cy="${f(y)}" r="4.5"/></g>`;
  })}`);
}
