/** Importing a dataset with its progress shown; what `dataset import` and `demo` share. */
import { importDataset, openSource, type Imported, type ImportOptions, type SourceFiles, type SourceKind } from '../dataset/index.ts';
import type { ObjectStore } from '../store/index.ts';
import type { Context } from './context.ts';
import { bytes, duration, integer, percent, plain } from './format.ts';
import { bar } from './progress/view.ts';

/** Without a terminal, the longest silence while images are read. */
const LINE_MS = 5_000;
const REDRAW_MS = 100;

export interface SourceRequest {
  readonly kind: SourceKind;
  readonly files: SourceFiles;
}

/** Shows how far something that takes a while is: one line redrawn on a terminal, now and then a line elsewhere. */
export function countedProgress(context: Context, what: string, words?: (done: number, total: number) => string): { update: (done: number, total: number, label: string) => void; end: () => void } {
  const { err } = context;
  let shownAt = -Infinity;
  let shownLabel = '';
  return {
    update: (done, total, label) => {
      const now = performance.now();
      if (label === shownLabel && now - shownAt < (err.isTerminal ? REDRAW_MS : LINE_MS)) return;
      shownAt = now;
      shownLabel = label;
      const known = total > 0 && total >= done;
      const count = words !== undefined ? words(done, total) : known ? `${integer(done)} of ${integer(total)}` : integer(done);
      if (!err.isTerminal) return err.write(`${what}: ${label}, ${count}\n`);
      const drawn = bar(known ? done / total : 0);
      err.write(`\r\u001b[K${`${what}: ${label} ${drawn.full}${drawn.empty} ${known && words === undefined ? percent(done / total, 0) : count}`.slice(0, Math.max(20, err.columns - 1))}`);
    },
    end: () => {
      if (err.isTerminal) err.write('\r\u001b[K');
    },
  };
}

/** As `countedProgress`, of bytes: with their rate since the start, and the time that the rest takes at it. */
export function transferProgress(context: Context, what: string): { update: (done: number, total: number, label: string) => void; end: () => void } {
  let since: { readonly ms: number; readonly done: number } | undefined;
  return countedProgress(context, what, (done, total) => {
    const now = performance.now();
    since ??= { ms: now, done };
    const perMs = (done - since.done) / (now - since.ms);
    return `${bytes(done)} of ${bytes(total)}${perMs > 0 ? `, ${bytes(perMs * 1000)}/s, ${duration((total - done) / perMs)} left` : ''}`;
  });
}

/** @throws AlumnusError as `importDataset`, CANCELLED when interrupted. */
export async function runImport(context: Context, store: ObjectStore, request: SourceRequest, options: ImportOptions): Promise<Imported> {
  const progress = countedProgress(context, `importing ${options.name}`);
  const release = context.hold();
  try {
    if (request.kind === 'mnist' || request.kind === 'fashion-mnist') context.note(`importing ${options.name}: fetching the images where they are not in the cache yet`);
    const source = await openSource(request.kind, request.files);
    const imported = await importDataset(store, source, { ...options, signal: context.signal }, progress.update);
    progress.end();
    for (const note of imported.notes) context.note(`  ${plain(note)}`);
    return imported;
  } finally {
    progress.end();
    release();
  }
}
