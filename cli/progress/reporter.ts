/**
 * Shows views as they come: on a terminal a block that is redrawn in place below the lasting lines, elsewhere a plain
 * line at each change and, unless the run is paused, at least every few seconds.
 * Invariant: lasting lines are never overwritten; `end` leaves the cursor below everything.
 */
import type { RunView } from '../../proto/gen/alumnus/v1/operator.ts';
import type { Sink } from '../context.ts';
import { LabelingRate } from './rate.ts';
import { TaskRestarts } from './restarts.ts';
import { movedOn, newsBetween, paint, progressBlock, progressLine, progressText } from './view.ts';

/** Without a terminal, the longest silence while there is progress. */
const LINE_MS = 5_000;
/** Redraws a second are bounded: views may come faster than a person reads. */
const REDRAW_MS = 100;

/** Up `lines`, to the first column, and clear to the end of the screen. */
const rewind = (lines: number): string => (lines === 0 ? '' : `\u001b[${lines}F\u001b[0J`);

export class ProgressReporter {
  readonly #sink: Sink;
  readonly #now: () => number;
  readonly #rate = new LabelingRate();
  readonly #restarts = new TaskRestarts();
  #view: RunView | undefined;
  #drawn = 0;
  #drawnAt = -Infinity;
  #lineAt = -Infinity;
  #text = '';

  constructor(sink: Sink, now: () => number = () => performance.now()) {
    this.#sink = sink;
    this.#now = now;
  }

  update(told: RunView): void {
    const view = this.#rate.apply(told);
    const news = [...newsBetween(this.#view, view), ...this.#restarts.apply(view)];
    const moved = movedOn(this.#view, view);
    this.#view = view;
    if (this.#sink.isTerminal) {
      if (news.length === 0 && !moved && this.#now() - this.#drawnAt < REDRAW_MS) return;
      this.#redraw(news);
      return;
    }
    for (const line of news) this.#sink.write(`${line}\n`);
    const text = progressText(view);
    // A paused run may wait for a person for days.
    const stands = view.summary?.state === 'paused' && text === this.#text;
    if (moved || (!stands && this.#now() - this.#lineAt >= LINE_MS)) {
      this.#text = text;
      this.#sink.write(`${progressLine(view)}\n`);
      this.#lineAt = this.#now();
    }
  }

  /** A lasting line of somebody else's, above the block. */
  note(line: string): void {
    if (this.#sink.isTerminal && this.#view !== undefined) this.#redraw(line.split('\n'));
    else this.#sink.write(`${line}\n`);
  }

  /** Takes the block away; the lasting lines stay. */
  end(): void {
    if (this.#drawn > 0) this.#sink.write(rewind(this.#drawn));
    this.#drawn = 0;
  }

  #redraw(lasting: readonly string[]): void {
    if (this.#view === undefined) return;
    const block = progressBlock(this.#view, this.#sink.columns, paint(this.#sink.color));
    const text = [...lasting, ...block].map((line) => `${line}\n`).join('');
    this.#sink.write(`${rewind(this.#drawn)}${text}`);
    this.#drawn = block.length;
    this.#drawnAt = this.#now();
  }
}
