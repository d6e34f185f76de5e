/**
 * A recipe as a plan, before it is submitted: its data looked up as a submission's is, its tasks by the rules that will decide, their time by what tasks of
 * earlier runs took. Reads the object store only; needs no journal.
 */
import { AlumnusError } from '../proto/errors.ts';
import type { ObjectStore } from '../store/index.ts';
import { prepareSubmission } from './api/submission.ts';
import { factsInBucket } from './history.ts';
import { acceptedTasks, learnModel, planRun, rateKey, unitsOf, type KnownModels, type PlannedTasks, type Rates, type RunPlan } from './run/index.ts';

export interface PlanRequest {
  readonly recipe: string;
  /** At least 1. */
  readonly workers: number;
  /** Earlier runs whose tasks tell how long such tasks take, the newest first. */
  readonly runs: readonly string[];
}

export interface PlanTold {
  readonly name: string;
  readonly rounds: number;
  readonly workers: number;
  readonly groups: readonly (Omit<PlannedTasks, 'deviceMs'> & { readonly deviceMs?: number })[];
  readonly tasks: number;
  readonly bytesRead: number;
  readonly bytesWritten: number;
  /** Of the groups whose time is known; absent where none is. */
  readonly deviceMs?: number;
  /** Absent where a group's time is not known. */
  readonly wallMs?: number;
  /** Earlier runs that the times are from. */
  readonly measuredIn: readonly string[];
  /** What the run would be taken in spite of, and what of earlier runs could not be used. */
  readonly notes: readonly string[];
}

/** @throws AlumnusError as a submission does */
export async function planOf(store: ObjectStore, { recipe: text, workers, runs }: PlanRequest): Promise<PlanTold> {
  const { recipe, data } = await prepareSubmission(store, text);
  const { rates, measuredIn, notes } = await measuredRates(store, runs);
  const { groups, wallMs }: RunPlan = planRun({ recipe, data, workers, rates });
  const sum = (of: (group: PlannedTasks) => number): number => groups.reduce((total, group) => total + of(group), 0);
  const timed = groups.filter(({ deviceMs }) => deviceMs !== undefined);
  return {
    name: recipe.name, rounds: recipe.rounds, workers,
    groups: groups.map(({ deviceMs, ...group }) => ({ ...group, ...(deviceMs === undefined ? {} : { deviceMs }) })),
    tasks: sum((group) => group.tasks), bytesRead: sum((group) => group.bytesRead), bytesWritten: sum((group) => group.bytesWritten),
    ...(timed.length === 0 ? {} : { deviceMs: timed.reduce((total, group) => total + (group.deviceMs ?? 0), 0) }), ...(wallMs === undefined ? {} : { wallMs }),
    measuredIn, notes: [...data.warnings, ...notes],
  };
}

/** How long tasks took on the devices that did them. A run that this release cannot retell teaches nothing. */
async function measuredRates(store: ObjectStore, runs: readonly string[]): Promise<{ rates: Rates; measuredIn: string[]; notes: string[] }> {
  const rates = new Map<string, { deviceMs: number; units: number }>();
  const measuredIn: string[] = [];
  const notes: string[] = [];
  for (const runId of runs) {
    try {
      const { facts } = await factsInBucket(store, runId);
      const data = facts[0]?.fact?.$case === 'runSubmitted' ? facts[0].fact.value.data : undefined;
      if (data === undefined) continue;
      const models: KnownModels = new Map();
      for (const { task, result } of acceptedTasks(facts)) {
        if (task === undefined) continue;
        const key = rateKey(task, models);
        const known = rates.get(key) ?? { deviceMs: 0, units: 0 };
        rates.set(key, { deviceMs: known.deviceMs + (result?.deviceMs ?? 0), units: known.units + unitsOf(task, data) });
        learnModel(models, task, result);
      }
      measuredIn.push(runId);
    } catch (thrown) {
      if (!(thrown instanceof AlumnusError)) throw thrown;
      notes.push(`run ${runId} tells no times: ${thrown.message}`);
    }
  }
  return { rates, measuredIn, notes };
}
