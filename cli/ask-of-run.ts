/** A question about a run that the worker's programs answer from its history and its object store: `explain` and `review`. */
import { RunHistory } from '../proto/gen/alumnus/v1/history.ts';
import type { Context } from './context.ts';
import { countedProgress } from './dataset-import.ts';
import { plain } from './format.ts';
import { ask } from './helper.ts';
import { historyOf } from './history.ts';

export interface QuestionOfRun {
  readonly run: string;
  readonly storeUrl: string;
  /** Of the worker's programs. */
  readonly file: string;
  /** What is asked beside the history. */
  readonly request: object;
  onLine(line: Readonly<Record<string, unknown>>): void;
}

/** Its progress is shown. @throws AlumnusError as `historyOf` and `ask` */
export async function askOfRun(context: Context, { run, storeUrl, file, request, onLine }: QuestionOfRun): Promise<void> {
  const history = await historyOf(context, { storeUrl, run, model: '' });
  for (const note of history.notes) context.note(plain(note));
  const progress = countedProgress(context, run);
  try {
    await ask({
      program: 'worker', file, arguments: ['--store', storeUrl], request: { history: RunHistory.toJSON(history), ...request }, signal: context.signal,
      onLine: (line) => {
        onLine(line);
        const { done, total, label } = (line['progress'] ?? {}) as { done?: number; total?: number; label?: string };
        if (label !== undefined) progress.update(done ?? 0, total ?? 0, label);
      },
    });
  } finally {
    progress.end();
  }
}
