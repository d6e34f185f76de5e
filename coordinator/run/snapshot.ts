/**
 * A run's state as text and back, for snapshots. Maps and numbers that JSON has no words for are written under keys of
 * their own, so that reading needs no list of which fields they are; the recipe is read again from its own text, so that
 * fields which a later release adds mean what their absence meant, and so with the fields of the state. Data that lies in
 * the bucket is not written again. Invariant: stateFromJson(stateToJson(state), state.data) equals state.
 */
import { isMap, Map as ImmutableMap } from 'immutable';
import { invariant } from '../../proto/errors.ts';
import type { RunData } from '../../proto/gen/alumnus/v1/events.ts';
import { journalledRecipe, type Recipe } from '../../recipe/index.ts';
import type { Budget, RunState } from './state.ts';

/** No field of ours begins with `$`. */
const MAP_KEY = '$map';
const NUMBER_KEY = '$number';

/** JSON.stringify would ask each map for its own JSON form before a replacer saw it. */
function plain(value: unknown): unknown {
  if (typeof value === 'number' && !Number.isFinite(value)) return { [NUMBER_KEY]: String(value) };
  if (typeof value !== 'object' || value === null) return value;
  if (isMap(value)) return { [MAP_KEY]: [...value.entries()].map(([key, each]) => [key, plain(each)]) };
  if (Array.isArray(value)) return value.map(plain);
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, plain(each)]));
}

export function stateToJson(state: RunState): string {
  const { recipe: _recipe, data, ...rest } = state;
  return JSON.stringify(plain(state.dataRef === undefined ? { ...rest, data } : rest));
}

/** @param data of a state whose data lies in the bucket */
export function stateFromJson(text: string, data?: RunData): RunState {
  const rest = JSON.parse(text, (_, value: unknown) => {
    if (typeof value !== 'object' || value === null) return value;
    if (MAP_KEY in value) return ImmutableMap(value[MAP_KEY] as [string, unknown][]);
    return NUMBER_KEY in value ? Number(value[NUMBER_KEY]) : value;
  }) as Earlier;
  const recipe = journalledRecipe(rest.recipeJson);
  const known = rest.data ?? data;
  invariant(known !== undefined, `the state of run ${rest.runId} is read with its data`);
  return { ...rest, data: { ...known, warnings: known.warnings ?? [] }, recipe, project: rest.project ?? '', storedBytes: rest.storedBytes ?? 0, pauseRule: rest.pauseRule ?? '', pausedBy: rest.pausedBy ?? '', checkpoints: rest.checkpoints ?? ImmutableMap(), comparisons: rest.comparisons ?? ImmutableMap(), measurements: rest.measurements ?? ImmutableMap(), fingerprints: rest.fingerprints ?? ImmutableMap(), reviews: rest.reviews ?? [], rounds: rest.rounds ?? ImmutableMap(), budget: budgetOf(rest, recipe) };
}

type Later = 'project' | 'storedBytes' | 'pauseRule' | 'pausedBy' | 'budget' | 'checkpoints' | 'rounds' | 'comparisons' | 'measurements' | 'fingerprints' | 'reviews';
/** As a release before projects, budgets, checkpoints, rounds, comparisons, measurements, near-duplicates, reviews, or warnings of the data, wrote it; without data where that lies in the bucket. */
type Earlier = Omit<RunState, 'recipe' | 'data' | Later> & Partial<Pick<RunState, Later>> & { readonly data?: Omit<RunState['data'], 'warnings'> & Partial<Pick<RunState['data'], 'warnings'>> };

/** Nobody counted what a run spent before there were budgets; from the snapshot on it is. */
function budgetOf(rest: Earlier, recipe: Recipe): Budget {
  // JSON leaves out what is undefined.
  if (rest.budget !== undefined) return { ...rest.budget, runningSinceMs: rest.budget.runningSinceMs };
  return { deviceHours: recipe.budget.device_hours, wallHours: recipe.budget.wall_hours, deviceMsSpent: 0, wallMsSpent: 0, runningSinceMs: rest.phase === 'running' ? rest.submittedAtMs : undefined };
}
