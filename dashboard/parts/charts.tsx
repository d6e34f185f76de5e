/** Charts as SVG in the page's own colors. Lines differ in dash or mark too, and each mark has its figures as a title. */
import type { ComponentChildren } from 'preact';
import { useRef } from 'preact/hooks';
import { percent, shareOf, wilson, type Counted } from '../format.ts';
import { useWidth } from './media.ts';

const LEFT = 52;
const RIGHT = 20;
const TOP = 10;
const BOTTOM = 26;

/** Round values from below `low` to above `high`, about `wanted` of them. */
export function ticksOf(low: number, high: number, wanted = 4): number[] {
  const span = high > low ? high - low : Math.abs(high) || 1;
  const power = 10 ** Math.floor(Math.log10(span / wanted));
  const step = ([1, 2, 2.5, 5, 10].find((factor) => factor * power >= (span / wanted) * 0.999) ?? 10) * power;
  const ticks: number[] = [];
  for (let index = Math.floor(low / step + 1e-9); ticks.length < 40; index += 1) {
    const tick = Number((index * step).toPrecision(12));
    ticks.push(tick);
    if (tick >= high - step * 1e-9) break;
  }
  return ticks;
}

interface FrameProps {
  readonly label: string;
  readonly height?: number;
  children(width: number, height: number): ComponentChildren;
}

/** As wide as there is room. */
export function Chart({ label, height = 220, children }: FrameProps) {
  const frame = useRef<HTMLDivElement>(null);
  const width = useWidth(frame);
  return <div ref={frame} class="chart" style={{ minHeight: `${height}px` }}>{width > 0 && <svg width={width} height={height} role="img" aria-label={label}>{children(width, height)}</svg>}</div>;
}

interface Scale {
  (value: number): number;
}

const Grid = ({ ticks, y, width, name }: { readonly ticks: readonly number[]; readonly y: Scale; readonly width: number; name(tick: number): string }) => (
  <>{ticks.map((tick) => <g key={tick}><line class="grid" x1={LEFT} x2={width - RIGHT} y1={y(tick)} y2={y(tick)} /><text class="tick" x={LEFT - 7} y={y(tick) + 4} text-anchor="end">{name(tick)}</text></g>)}</>
);

export interface RoundPoint {
  readonly title: string;
  readonly student: Counted | undefined;
  /** Who taught it. */
  readonly teacher: Counted | undefined;
  readonly test: Counted | undefined;
  readonly href: string;
}

const told = (what: string, score: Counted): string => {
  const { low, high } = wilson(score);
  return `${what}: ${percent(score.correct / score.total, 2)}, ${score.correct} of ${score.total}; 95 % interval ${percent(low, 2)} to ${percent(high, 2)}`;
};

/** Accuracy on validation by iteration: each student beside the teacher that it learned from, with 95 % intervals. */
export function AccuracyChart({ rounds, control }: { readonly rounds: readonly RoundPoint[]; readonly control: Counted | undefined }) {
  const scores = [...rounds.flatMap(({ student, teacher, test }) => [student, teacher, test]), control].filter((score) => score !== undefined && score.total > 0) as Counted[];
  if (scores.length === 0) return <p class="empty">No model is evaluated yet.</p>;
  const intervals = scores.map(wilson);
  const ticks = ticksOf(Math.min(...intervals.map(({ low }) => low)), Math.min(1, Math.max(...intervals.map(({ high }) => high))));
  const [low, high] = [ticks[0] ?? 0, Math.min(1, ticks.at(-1) ?? 1)];
  const digits = ticks.every((tick) => Math.abs(tick * 100 - Math.round(tick * 100)) < 1e-6) ? 0 : 1;
  return (
    <>
      <ul class="legend">
        <li><svg width="24" height="12" aria-hidden="true"><line class="stroke student" x1="0" x2="24" y1="6" y2="6" /><circle class="fill student" cx="12" cy="6" r="4" /></svg> student, validation</li>
        <li><svg width="24" height="12" aria-hidden="true"><path class="stroke teacher" d="M4 6h16" /><path class="fill teacher" d="M12 1 17 6 12 11 7 6Z" /></svg> its teacher, validation</li>
        {rounds.some(({ test }) => shareOf(test) !== undefined) && <li><svg width="24" height="12" aria-hidden="true"><line class="stroke test" x1="0" x2="24" y1="6" y2="6" stroke-dasharray="5 3" /><rect class="fill test" x="9" y="3" width="6" height="6" /></svg> student, test (reported only)</li>}
        {control !== undefined && control.total > 0 && <li><svg width="24" height="12" aria-hidden="true"><line class="stroke control" x1="0" x2="24" y1="6" y2="6" stroke-dasharray="2 3" /></svg> control, validation</li>}
      </ul>
      <Chart label="Accuracy by iteration" height={230}>{(width, height) => {
        const y: Scale = (value) => TOP + ((high - value) / (high - low || 1)) * (height - TOP - BOTTOM);
        const slot = (width - LEFT - RIGHT) / rounds.length;
        const x = (index: number): number => LEFT + slot * (index + 0.5);
        const line = (of: 'student' | 'test', by: number): string => rounds.flatMap((round, index) => {
          const share = shareOf(round[of]);
          return share === undefined ? [] : [`${x(index) + by},${y(share)}`];
        }).join(' ');
        const whisker = (score: Counted, at: number, name: string) => {
          const interval = wilson(score);
          return <line class={`stroke thin ${name}`} x1={at} x2={at} y1={y(interval.low)} y2={y(interval.high)} />;
        };
        const level = shareOf(control);
        return (
          <>
            <Grid ticks={ticks.filter((tick) => tick <= 1)} y={y} width={width} name={(tick) => percent(tick, digits)} />
            {level !== undefined && control !== undefined && <line class="stroke control" x1={LEFT} x2={width - RIGHT} y1={y(level)} y2={y(level)} stroke-dasharray="2 3"><title>{told('Control, validation', control)}</title></line>}
            <polyline class="stroke test" points={line('test', 9)} stroke-dasharray="5 3" />
            <polyline class="stroke student" points={line('student', 0)} />
            {rounds.map(({ title, student, teacher, test, href }, index) => {
              const at = x(index);
              const [own, taught, tested] = [shareOf(student), shareOf(teacher), shareOf(test)];
              return (
                <a key={title} href={href} aria-label={`Iteration ${title}`}>
                  <rect class="hit" x={at - slot / 2} y={TOP} width={slot} height={height - TOP - 4} />
                  {taught !== undefined && teacher !== undefined && <g>{whisker(teacher, at - 9, 'teacher')}<path class="fill teacher" d={`M${at - 9} ${y(taught) - 5}l5 5-5 5-5-5Z`} /><title>{told(`Teacher of iteration ${title}`, teacher)}</title></g>}
                  {tested !== undefined && test !== undefined && <g>{whisker(test, at + 9, 'test')}<rect class="fill test" x={at + 5} y={y(tested) - 4} width="8" height="8" /><title>{told(`Iteration ${title}, test`, test)}</title></g>}
                  {own !== undefined && student !== undefined && <g>{whisker(student, at, 'student')}<circle class="fill student" cx={at} cy={y(own)} r="4.5" /><title>{told(`Iteration ${title}, validation`, student)}</title></g>}
                  <text class="tick" x={at} y={height - 7} text-anchor="middle">{slot > 84 ? `iteration ${title}` : title}</text>
                </a>
              );
            })}
          </>
        );
      }}</Chart>
    </>
  );
}

export interface LossLine {
  readonly name: string;
  readonly steps: readonly number[];
  readonly losses: readonly number[];
  /** `live`: it is being trained now. */
  readonly kind: 'live' | 'past' | 'control';
  /** Default 1. */
  readonly opacity?: number;
}

export function LossChart({ lines, stepsMax, label }: { readonly lines: readonly LossLine[]; readonly stepsMax: number; readonly label: string }) {
  const losses = lines.flatMap((line) => line.losses);
  if (losses.length === 0) return <p class="empty">No loss is told yet.</p>;
  const ticks = ticksOf(Math.min(0, ...losses), Math.max(...losses));
  const [low, high] = [ticks[0] ?? 0, ticks.at(-1) ?? 1];
  const steps = ticksOf(0, Math.max(stepsMax, 1));
  const most = Math.max(stepsMax, 1);
  return (
    <Chart label={label} height={210}>{(width, height) => {
      const y: Scale = (value) => TOP + ((high - value) / (high - low || 1)) * (height - TOP - BOTTOM);
      const x: Scale = (step) => LEFT + (step / most) * (width - LEFT - RIGHT);
      return (
        <>
          <Grid ticks={ticks} y={y} width={width} name={(tick) => String(tick)} />
          {steps.filter((step) => step <= most).map((step) => <text key={step} class="tick" x={x(step)} y={height - 7} text-anchor="middle">{step}</text>)}
          {lines.map((line) => (
            <g key={line.name} opacity={line.opacity}>
              <polyline class={`stroke loss-${line.kind}`} points={line.steps.map((step, at) => `${x(step).toFixed(1)},${y(line.losses[at] ?? 0).toFixed(1)}`).join(' ')} stroke-dasharray={line.kind === 'control' ? '3 3' : undefined}><title>{line.name}</title></polyline>
              {line.kind === 'live' && line.steps.length > 0 && <circle class="fill loss-live" cx={x(line.steps.at(-1) ?? 0)} cy={y(line.losses.at(-1) ?? 0)} r="3.5"><title>{`${line.name}: step ${line.steps.at(-1)}, loss ${line.losses.at(-1)?.toFixed(4)}`}</title></circle>}
            </g>
          ))}
        </>
      );
    }}</Chart>
  );
}

const logit = (share: number): number => Math.log(share / (1 - share));
/** Where confidences are written below an axis of log-odds. */
const MARKS = [0.01, 0.1, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999];

export interface Binned {
  readonly from: number;
  readonly width: number;
}

/** The bins from the first to the last that any class has, and one around. */
export function sightOf(bins: readonly number[]): readonly [first: number, last: number] {
  const first = bins.findIndex((count) => count > 0);
  return first < 0 ? [0, bins.length - 1] : [Math.max(0, first - 1), Math.min(bins.length - 1, bins.findLastIndex((count) => count > 0) + 1)];
}

/** Labels by confidence, on an axis of log-odds, with the threshold. */
export function ConfidenceChart({ bins, binned: { from, width: binWidth }, threshold }: { readonly bins: readonly number[]; readonly binned: Binned; readonly threshold: number | undefined }) {
  const [first, last] = sightOf(bins);
  const most = Math.max(1, ...bins);
  const ticks = ticksOf(0, most, 3);
  const high = ticks.at(-1) ?? 1;
  return (
    <Chart label="Pseudo-labels by confidence" height={190}>{(width, height) => {
      const [low, above] = [from + first * binWidth, from + (last + 1) * binWidth];
      const x: Scale = (logOdds) => LEFT + ((logOdds - low) / (above - low)) * (width - LEFT - RIGHT);
      const top = TOP + 8;
      const y: Scale = (value) => top + (1 - value / high) * (height - top - BOTTOM);
      const cut = threshold === undefined || threshold <= 0 || threshold >= 1 ? undefined : logit(threshold);
      return (
        <>
          <Grid ticks={ticks} y={y} width={width} name={(tick) => (tick >= 10_000 ? `${tick / 1000} k` : String(tick))} />
          {bins.map((count, bin) => {
            if (bin < first || bin > last || count === 0) return null;
            const [begin, end] = [from + bin * binWidth, from + (bin + 1) * binWidth];
            // The threshold lies within a bin: both of its sides are shown.
            const edge = Math.min(end, Math.max(begin, cut ?? begin));
            return (
              <g key={bin}>
                <title>{`${count} labels of confidence ${percent(1 / (1 + Math.exp(-begin)), 2)} to ${percent(1 / (1 + Math.exp(-end)), 2)}`}</title>
                {edge > begin && <rect class="fill dropped" x={x(begin) + 0.5} y={y(count)} width={Math.max(0.5, x(edge) - x(begin) - 0.5)} height={Math.max(1, y(0) - y(count))} />}
                {edge < end && <rect class="fill kept" x={x(edge) + 0.5} y={y(count)} width={Math.max(0.5, x(end) - x(edge) - 1)} height={Math.max(1, y(0) - y(count))} />}
              </g>
            );
          })}
          {MARKS.filter((mark) => logit(mark) > low && logit(mark) < above).map((mark) => <text key={mark} class="tick" x={x(logit(mark))} y={height - 7} text-anchor="middle">{percent(mark, Math.max(0, Math.ceil(-Math.log10(1 - mark)) - 2))}</text>)}
          {cut !== undefined && cut >= low && cut <= above && <g class="threshold"><line x1={x(cut)} x2={x(cut)} y1={4} y2={y(0)} /><text x={x(cut) + 5} y={12}>threshold {percent(threshold ?? 0)}</text></g>}
        </>
      );
    }}</Chart>
  );
}

/** One class's labels by confidence, as a strip: the darker, the more. */
export function Strip({ bins, sight: [first, last], threshold, binned: { from, width } }: { readonly bins: readonly number[]; readonly sight: readonly [number, number]; readonly threshold: number | undefined; readonly binned: Binned }) {
  const most = Math.max(1, ...bins);
  const count = last - first + 1;
  const cut = threshold === undefined || threshold <= 0 || threshold >= 1 ? undefined : (logit(threshold) - from) / width - first;
  return (
    <svg class="strip" viewBox={`0 0 ${count} 10`} preserveAspectRatio="none" aria-hidden="true">
      {bins.slice(first, last + 1).map((each, at) => each > 0 && <rect key={at} class="fill kept" x={at} y="0" width="1" height="10" opacity={0.12 + 0.88 * Math.sqrt(each / most)} />)}
      {cut !== undefined && cut > 0 && cut < count && <line class="strip-threshold" x1={cut} x2={cut} y1="0" y2="10" />}
    </svg>
  );
}
