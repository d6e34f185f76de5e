/**
 * A run's history out of the object store alone: its manifests are its facts, folded as a coordinator folds them. Reads only; needs no
 * journal and no coordinator. What the run did since its last manifest (the stage under way) is not told.
 */
import { AlumnusError } from '../proto/errors.ts';
import type { Event } from '../proto/gen/alumnus/v1/events.ts';
import type { RunHistory } from '../proto/gen/alumnus/v1/history.ts';
import type { ObjectRef } from '../proto/gen/alumnus/v1/task.ts';
import { paths, type ObjectStore } from '../store/index.ts';
import { factsOf, readManifests } from './manifests.ts';
import { hydrate } from './run-data.ts';
import { acceptedTasks, evolve, historyOf, tasksBehind, type RunState } from './run/index.ts';

/** A model document or its weights, below the task that wrote them. */
const MODEL = /^runs\/([^/]+)\/(i\d+\.train\.[^/]+)\/([0-9a-f]{64})\.(?:json|weights)$/;
const DIGEST = /^[0-9a-f]{6,64}$/;
/** Of a digest that names several objects, so many are told. */
const TOLD_MAX = 5;

export interface HistoryRequest {
  /** Empty: the run that has the model. */
  readonly run: string;
  /** Digest, or its beginning, of a model document or of weights; empty: none in particular. */
  readonly model: string;
  /** Whether the tasks that made the model are told. */
  readonly tasks: boolean;
}

/** @throws AlumnusError RUN_NOT_FOUND, MODEL_NOT_FOUND, USAGE (no digest, or one of several models), CODE_OUTDATED, and the store's */
export async function readHistory(store: ObjectStore, request: HistoryRequest, onProgress: (objects: number) => void = () => undefined): Promise<RunHistory> {
  const found = request.model === '' ? undefined : await findModel(store, request.run, request.model, onProgress);
  const runId = found?.runId ?? request.run;
  const { facts, notes } = await factsInBucket(store, runId);
  let state: RunState | undefined;
  for (const fact of facts) state = evolve(state, fact);
  if (state === undefined) throw new AlumnusError('RUN_NOT_FOUND', `the object store holds no manifest of such a run${notes.length === 0 ? '' : ` that can be used: ${notes.join('; ')}`}`, { where: runId });
  const history = historyOf(state);
  const wanted = found === undefined ? undefined : modelBelow(history, found.prefix, found.key);
  const tasks = request.tasks && wanted !== undefined ? tasksBehind(state, acceptedTasks(facts), wanted) : [];
  return { ...history, wanted, tasks, notes: [...notes] };
}

/** Of a run its facts as far as its manifests go; none where it has none. @returns also which manifests were not used, and why */
export async function factsInBucket(store: ObjectStore, runId: string): Promise<{ facts: Event[]; notes: readonly string[] }> {
  const { chain, notes } = await readManifests(store, runId);
  return { facts: await Promise.all(factsOf(chain).map((fact) => hydrate(store, fact))), notes };
}

async function findModel(store: ObjectStore, run: string, digest: string, onProgress: (objects: number) => void): Promise<{ runId: string; prefix: string; key: string }> {
  if (!DIGEST.test(digest)) throw new AlumnusError('USAGE', 'a model is named by the sha256 of its document or of its weights, or by 6 or more of its first digits', { where: digest });
  const found = new Map<string, { runId: string; prefix: string; key: string }>();
  let objects = 0;
  for await (const { key } of store.list(run === '' ? paths.runs : paths.run(run))) {
    objects += 1;
    onProgress(objects);
    const [, runId = '', taskId = '', sha256 = ''] = MODEL.exec(key) ?? [];
    if (sha256 !== '' && sha256.startsWith(digest)) found.set(sha256, { runId, prefix: paths.taskOutput(runId, taskId), key });
  }
  const [one, ...more] = found.values();
  if (one === undefined) throw new AlumnusError('MODEL_NOT_FOUND', `no training ${run === '' ? 'in the object store' : `of run ${run}`} wrote a model or weights of this sha256`, { where: digest });
  if (more.length > 0) throw new AlumnusError('USAGE', `${found.size} models begin so: ${[...found.keys()].slice(0, TOLD_MAX).join(', ')}`, { where: digest });
  return one;
}

/** The accepted model of the task below which the object lies. @throws AlumnusError MODEL_NOT_FOUND */
function modelBelow({ iterations, control, controlFineTuned, comparisons, runId }: RunHistory, prefix: string, key: string): ObjectRef {
  const models = [...iterations.flatMap(({ student, fineTuned }) => [student, fineTuned]), control, controlFineTuned, ...comparisons.flatMap(({ model: own, fineTuned }) => [own, fineTuned])].flatMap((each) => each?.model ?? []);
  const model = models.find((each) => each.key === key) ?? models.find((each) => each.key.startsWith(`${prefix}/`) && key.endsWith('.weights'));
  if (model === undefined) throw new AlumnusError('MODEL_NOT_FOUND', `it lies in the object store, but run ${runId} took no result that names it: another attempt's counted, or its manifest is still to come`, { where: key });
  return model;
}
