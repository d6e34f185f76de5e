/** A run's history out of its object store, told by the coordinator's own program for it: no coordinator need run. */
import { invariant } from '../proto/errors.ts';
import { RunHistory, type IterationHistory, type ModelHistory } from '../proto/gen/alumnus/v1/history.ts';
import type { Context } from './context.ts';
import { countedProgress } from './dataset-import.ts';
import { ask } from './helper.ts';

export interface HistoryQuestion {
  readonly storeUrl: string;
  /** Empty: the run that has the model. */
  readonly run: string;
  /** Digest of a model document or of weights, or its beginning; empty: none in particular. */
  readonly model: string;
  /** Whether the tasks that made the model are wanted. */
  readonly tasks?: boolean;
}

/** @throws AlumnusError RUN_NOT_FOUND, MODEL_NOT_FOUND, USAGE, CODE_OUTDATED, CANCELLED, and the store's */
export async function historyOf(context: Context, { storeUrl, run, model, tasks = false }: HistoryQuestion): Promise<RunHistory> {
  const progress = countedProgress(context, 'object store');
  let history: RunHistory | undefined;
  try {
    await ask({
      program: 'coordinator', file: 'history-main', arguments: ['--store', storeUrl], request: { run, model, tasks }, signal: context.signal,
      onLine: (line) => {
        if ('history' in line) history = RunHistory.fromJSON(line.history);
        else progress.update(Number(line['objects']), 0, 'objects looked at');
      },
    });
  } finally {
    progress.end();
  }
  invariant(history !== undefined, 'the program told a history before it ended well');
  return history;
}

/** A model of a run. */
export interface ModelOfRun {
  readonly model: ModelHistory;
  /** The iteration that trained it, or whose labels it learned from beside the stages; undefined of one that learned from none there. */
  readonly from: IterationHistory | undefined;
  readonly fineTuned: boolean;
  /** Of what was trained beside the stages: `control`, or the comparison's name. */
  readonly beside?: string;
}

export function modelsOf({ iterations, control, controlFineTuned, comparisons }: RunHistory): ModelOfRun[] {
  const told = (model: ModelHistory | undefined, fineTuned: boolean, from: IterationHistory | undefined, beside?: string): ModelOfRun[] =>
    (model?.model === undefined ? [] : [{ model, from, fineTuned, ...(beside === undefined ? {} : { beside }) }]);
  return [
    ...iterations.flatMap((from) => [...told(from.student, false, from), ...told(from.fineTuned, true, from)]),
    ...told(control, false, undefined, 'control'), ...told(controlFineTuned, true, undefined, 'control'),
    ...comparisons.flatMap(({ name, model, fineTuned, iteration }) => {
      // All tries of an iteration have its selection.
      const from = iterations.findLast((each) => each.iteration === iteration);
      return [...told(model, false, from, name), ...told(fineTuned, true, from, name)];
    }),
  ];
}

/** Whether of an iteration's two models the fine-tuned one was gated. */
export function fineTunedTeaches({ recipeJson }: RunHistory): boolean {
  const { training } = JSON.parse(recipeJson) as { training?: { fine_tune?: { teaches?: boolean } } };
  return training?.fine_tune?.teaches === true;
}

export const modelNamed = (history: RunHistory, sha256: string): ModelOfRun | undefined => modelsOf(history).find(({ model }) => model.model?.sha256 === sha256);
