/** Which model a person means: `DIGEST`, `RUN` (its best; while it runs the newest that was promoted), `RUN/ITERATION`, or `RUN/NAME` of what was trained beside the stages: `control`, or a comparison. */
import { AlumnusError } from '../proto/errors.ts';
import type { RunHistory } from '../proto/gen/alumnus/v1/history.ts';
import type { Context } from './context.ts';
import { plain } from './format.ts';
import { fineTunedTeaches, historyOf, modelNamed, modelsOf, type ModelOfRun } from './history.ts';

const DIGEST = /^[0-9a-f]{6,64}$/;

export interface NamedModel {
  readonly history: RunHistory;
  readonly model: ModelOfRun;
  readonly sha256: string;
}

/**
 * @param options `run`: where the digest is looked for alone; `tasks`: whether the tasks that made it are told
 * @throws AlumnusError MODEL_NOT_FOUND, USAGE, and as `historyOf`
 */
export async function namedModel(context: Context, named: string, options: { readonly storeUrl: string; readonly run?: string | undefined; readonly tasks?: boolean }): Promise<NamedModel> {
  const { storeUrl, tasks = false } = options;
  if (DIGEST.test(named)) return told(context, await historyOf(context, { storeUrl, run: options.run ?? '', model: named, tasks }));
  const [run = '', which = '', ...more] = named.split('/');
  if (run === '' || more.length > 0 || !/^[a-z0-9-]*$/.test(which)) throw new AlumnusError('USAGE', 'a model is named by its sha256, by RUN, RUN/ITERATION, RUN/control or RUN/COMPARISON', { where: named });
  const history = await historyOf(context, { storeUrl, run, model: '' });
  const sha256 = sha256Of(history, which);
  return told(context, tasks ? await historyOf(context, { storeUrl, run, model: sha256, tasks }) : { ...history, wanted: modelNamed(history, sha256)?.model.model });
}

/** With what of the manifests could not be used, which a person should know who relies on them. */
function told(context: Context, history: RunHistory): NamedModel {
  for (const note of history.notes) context.note(plain(note));
  const sha256 = history.wanted?.sha256 ?? '';
  const model = modelNamed(history, sha256);
  if (model === undefined) throw new AlumnusError('MODEL_NOT_FOUND', 'the run has no such model', { where: history.runId });
  return { history, model, sha256 };
}

/** Of an iteration the model that was gated: of its promoted try where there are several, else of its last. */
export function sha256Of(history: RunHistory, which: string): string {
  const where = history.runId;
  const teaches = fineTunedTeaches(history);
  if (which === '') {
    if (history.bestModel !== undefined) return history.bestModel.sha256;
    // Which of the promoted ones is best is known when the run has ended.
    const newest = history.iterations.findLast((each) => each.decision === 'promoted');
    if (newest === undefined) throw new AlumnusError('MODEL_NOT_FOUND', 'no model of the run was promoted yet', { where });
    return sha256Of(history, String(newest.iteration));
  }
  const all = modelsOf(history).filter(({ from, beside }) => (/^\d+$/.test(which) ? beside === undefined && from?.iteration === Number(which) : beside === which));
  const gated = all.filter(({ fineTuned }) => fineTuned === (teaches && all.some((each) => each.fineTuned)));
  const chosen = gated.find(({ from }) => from?.decision === 'promoted') ?? gated.at(-1);
  if (chosen?.model.model === undefined) throw new AlumnusError('MODEL_NOT_FOUND', which === 'control' ? 'the run has no trained control' : /^\d+$/.test(which) ? `iteration ${which} has no trained model` : `the run has no trained comparison ${which}`, { where });
  return chosen.model.model.sha256;
}
