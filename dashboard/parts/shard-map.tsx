/** Thousands of shards as cells, each with what is with it: drawn, since so many elements would be slow. The arrows go through it as the pointer does; Enter opens. */
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import type { CellState, ShardCell } from '../../proto/page.ts';
import { integer, percent } from '../format.ts';
import { colors, useTheme } from '../theme.ts';
import { useWidth } from './media.ts';

export const cellStates: readonly CellState[] = ['leased', 'waiting', 'retrying', 'done', 'quarantined'];
export const cellWords: Readonly<Record<CellState, string>> = { leased: 'at work', waiting: 'waiting', retrying: 'failed, waits to be tried again', done: 'done', quarantined: 'quarantined' };

/** The largest at which all are in sight. */
const SIZES = [22, 18, 14, 11, 9, 7, 5, 4, 3];
const HEIGHT_MAX = 340;
/** Smaller cells have no room for how much is done. */
const TOLD_SIZE_MIN = 7;

export type Cells = readonly (readonly [name: string, cell: ShardCell])[];

export function countCells(cells: Cells): Readonly<Record<CellState, number>> {
  const counts = { leased: 0, waiting: 0, retrying: 0, done: 0, quarantined: 0 };
  for (const [, [state]] of cells) counts[state] += 1;
  return counts;
}

export function ShardMap({ cells, chosen, onOpen }: { readonly cells: Cells; readonly chosen?: string | undefined; onOpen(name: string): void }) {
  const frame = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const width = useWidth(frame);
  const theme = useTheme();
  const [at, setAt] = useState(-1);
  const size = SIZES.find((each) => Math.ceil(cells.length / Math.max(1, Math.floor(width / each))) * each <= HEIGHT_MAX) ?? 3;
  const columns = Math.max(1, Math.floor(width / size));
  const height = Math.ceil(cells.length / columns) * size;
  const paint = useMemo(() => colors(['done', 'leased', 'waiting', 'retrying', 'quarantined', 'ink', 'leased-soft']), [theme, matchMedia('(prefers-color-scheme: dark)').matches]);
  const counts = countCells(cells);

  useEffect(() => {
    const element = canvas.current;
    const context = element?.getContext('2d');
    if (element === null || context === null || context === undefined || width === 0) return;
    const ratio = devicePixelRatio;
    element.width = width * ratio;
    element.height = height * ratio;
    context.scale(ratio, ratio);
    const gap = size >= 7 ? 1.5 : size >= 5 ? 1 : 0.5;
    cells.forEach(([name, [state, , done]], index) => {
      const [x, y, side] = [(index % columns) * size, Math.floor(index / columns) * size, size - gap];
      context.fillStyle = state === 'leased' && size >= TOLD_SIZE_MIN ? paint['leased-soft'] : paint[state];
      context.fillRect(x, y, side, side);
      if (state === 'leased' && size >= TOLD_SIZE_MIN) {
        context.fillStyle = paint.leased;
        const filled = side * Math.max(0.15, done ?? 0);
        context.fillRect(x, y + side - filled, side, filled);
      }
      if (state === 'quarantined' && size >= TOLD_SIZE_MIN) {
        context.strokeStyle = '#fff';
        context.lineWidth = 1.2;
        context.beginPath();
        context.moveTo(x + 2, y + 2);
        context.lineTo(x + side - 2, y + side - 2);
        context.stroke();
      }
      if (index === at || name === chosen) {
        context.strokeStyle = paint.ink;
        context.lineWidth = 2;
        context.strokeRect(x - 0.5, y - 0.5, side + 1, side + 1);
      }
    });
  }, [cells, width, at, chosen, paint, size]);

  const cellAt = (event: MouseEvent): number => {
    const box = canvas.current?.getBoundingClientRect();
    if (box === undefined) return -1;
    const index = Math.floor((event.clientY - box.top) / size) * columns + Math.floor((event.clientX - box.left) / size);
    return index < cells.length ? index : -1;
  };
  const steps: Readonly<Record<string, number>> = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns };
  const seen = cells[at];
  const told = seen === undefined ? '' : tell(seen);
  return (
    <div ref={frame} class="shard-map">
      <canvas ref={canvas} style={{ width: `${width}px`, height: `${height}px` }} tabIndex={0} role="img"
        aria-label={`${integer(cells.length)} shards: ${cellStates.filter((state) => counts[state] > 0).map((state) => `${integer(counts[state])} ${cellWords[state]}`).join(', ')}`}
        data-cells={cells.length} data-columns={columns} data-size={size}
        onMouseMove={(event) => setAt(cellAt(event))} onMouseLeave={() => setAt(-1)}
        onClick={(event) => {
          const cell = cells[cellAt(event)];
          if (cell !== undefined) onOpen(cell[0]);
        }}
        onKeyDown={(event) => {
          const step = steps[event.key];
          if (step !== undefined) {
            event.preventDefault();
            setAt(Math.max(0, Math.min(cells.length - 1, (at < 0 ? (step > 0 ? -step : 0) : at) + step)));
          } else if (event.key === 'Enter' && seen !== undefined) onOpen(seen[0]);
        }} />
      <p class="shard-told" role="status">{told || <span class="muted">Point at a shard, or go through them with the arrows.</span>}</p>
    </div>
  );
}

const tell = ([name, [state, worker, done]]: Cells[number]): string => `${name}: ${cellWords[state]}${worker === undefined ? '' : `, worker ${worker}`}${done === undefined ? '' : `, ${percent(done, 0)}`}`;

export const ShardLegend = ({ cells }: { readonly cells: Cells }) => {
  const counts = countCells(cells);
  return <ul class="legend" aria-label="Shards">{cellStates.map((state) => <li key={state} data-state={state} data-count={counts[state]}><i class={`swatch swatch-${state}`} /> {cellWords[state]} <b class="figure">{integer(counts[state])}</b></li>)}</ul>;
};
