/** The chart of compression: accuracy kept against bytes. Not for: axes that are not logarithmic, which charts.ts has. */
import { invariant } from '../../proto/errors.ts';
import { integer, percent } from '../format.ts';
import { BOTTOM, f, frame, LEFT, niceTicks, percentDigits, RIGHT, TOP, WIDTH, yGrid } from './charts.ts';
import { html, type Markup } from './html.ts';

export interface TradeOffPoint {
  readonly name: string;
  readonly weights: string;
  readonly bytes: number;
  /** Shares of the teacher's accuracy, on validation and test. */
  readonly kept: number;
  readonly keptTest: number | undefined;
  /** Without a teacher. */
  readonly alone: boolean;
  readonly chosen: boolean;
}

/** 1, 2 and 5 times powers of ten: from the largest that is not above `low` to the smallest that is not below `high`. @param low above 0 */
export function logTicks(low: number, high: number): number[] {
  invariant(low > 0, 'nothing has no logarithm');
  const ticks: number[] = [];
  for (let power = 10 ** Math.floor(Math.log10(low)); ; power *= 10) {
    for (const factor of [1, 2, 5]) {
      const tick = factor * power;
      if (tick <= low) ticks.pop();
      ticks.push(tick);
      if (tick >= high) return ticks;
    }
  }
}

/** More names would run into one another: then the powers of ten have theirs. */
const TICKS_NAMED_MAX = 5;
/** So that no mark, nor the ring around one, is cut by the drawing's edge. */
const INSET = 10;

/** Accuracy kept against bytes on a logarithmic axis; a line joins what one model has in several kinds of weights. @param wanted share that must be kept */
export function tradeOffChart(points: readonly TradeOffPoint[], wanted: number): Markup {
  const height = 300;
  const ticks = niceTicks(Math.min(wanted, ...points.map(({ kept }) => kept)), Math.max(1, ...points.map(({ kept }) => kept)));
  const [low, high] = [ticks[0] ?? 0, ticks.at(-1) ?? 1];
  const y = (value: number): number => TOP + INSET + ((high - value) / (high - low)) * (height - TOP - BOTTOM - 2 * INSET);
  const sizes = logTicks(Math.min(...points.map(({ bytes: size }) => size)), Math.max(...points.map(({ bytes: size }) => size)));
  const [least, most] = [Math.log(sizes[0] ?? 1), Math.log(sizes.at(-1) ?? 10)];
  const x = (size: number): number => LEFT + INSET + ((Math.log(size) - least) / (most - least)) * (WIDTH - LEFT - RIGHT - 2 * INSET);
  const digits = percentDigits(ticks);
  const sizeText = (size: number): string => (size >= 1e6 ? `${size / 1e6} MB` : size >= 1000 ? `${size / 1000} kB` : `${size} B`);
  const mark = (point: TradeOffPoint): Markup => {
    const [at, up] = [x(point.bytes), y(point.kept)];
    return html`<g><title>${point.name} in ${point.weights}: ${integer(point.bytes)} bytes, keeps ${percent(point.kept, 2)} on validation${point.keptTest !== undefined && `, ${percent(point.keptTest, 2)} on test`}${point.chosen && '; chosen'}</title>${point.chosen && html`<circle class="stroke validation" cx="${f(at)}" cy="${f(up)}" r="8.5"/>`}${point.alone ? html`<rect class="fill test" x="${f(at - 4)}" y="${f(up - 4)}" width="8" height="8"/>` : html`<circle class="fill validation" cx="${f(at)}" cy="${f(up)}" r="4"/>`}</g>`;
  };
  return frame('Accuracy kept, in percent, against bytes', height, html`
${yGrid(ticks, y, (tick) => (tick * 100).toFixed(digits))}
${sizes.map((size) => html`<line class="grid" x1="${f(x(size))}" y1="${TOP}" x2="${f(x(size))}" y2="${height - BOTTOM}"/>${(sizes.length <= TICKS_NAMED_MAX || String(size).startsWith('1')) && html`<text class="tick" x="${f(x(size))}" y="${height - 12}" text-anchor="middle">${sizeText(size)}</text>`}`)}
<line class="stroke control" stroke-dasharray="2 3" x1="${LEFT}" y1="${f(y(wanted))}" x2="${WIDTH - RIGHT}" y2="${f(y(wanted))}"/>
${[...new Set(points.map(({ name }) => name))].map((name) => {
    const own = points.filter((point) => point.name === name).sort((a, b) => a.bytes - b.bytes);
    const kind = own[0]?.alone === true ? 'test' : 'validation';
    return html`<polyline class="stroke thin ${kind}" opacity="0.6" ${kind === 'test' ? html`stroke-dasharray="5 3"` : ''} points="${own.map((point) => `${f(x(point.bytes))},${f(y(point.kept))}`).join(' ')}"/>${own.map(mark)}`;
  })}`);
}
