/**
 * What a part of a training needs beside its weights, kept from one round to the next in the same engine: the training's data as
 * batches, and its compiled step. A round may take seconds, and so may either of the two.
 * Not for: a whole training, which opens both once.
 * Invariants:
 *  1. What is kept is a function of its training alone, so that who finds it does what who makes it does.
 *  2. What a task uses stays open, whatever other tasks do; an abort ends the waiting of its own task and nothing else.
 *  3. After a failure, once the training is done, and once the engine has other work, nothing is kept that nobody uses.
 */
import type { ObjectStore } from '../../store/index.ts';
import { openBatches, orAborted, type Batches, type TrainingBatch } from '../data/index.ts';
import { compileStep, type CompiledStep, type OnlineTeacher } from '../learning/index.ts';
import type { TaskContext } from './context.ts';
import { onlineTeacher } from './online-teacher.ts';
import { planOf, sourceOf, type Training } from './training.ts';

/** Replicas of a student and of what trains beside it may take turns on a worker. */
const KEPT_MAX = 2;

interface Kept {
  readonly training: string;
  readonly store: ObjectStore;
  readonly abort: AbortController;
  readonly batches: Promise<Batches>;
  readonly teacher: Promise<OnlineTeacher | undefined>;
  step: CompiledStep | undefined;
  users: number;
}

/** The one used last stands last. */
let kept: Kept[] = [];

export interface Prepared {
  /** Resolves when the data are read, and what else the step needs. @throws as `openBatches` and `onlineTeacher` */
  readonly opened: Promise<unknown>;
  /** @param end the place behind the last one that this task asks for. */
  at(place: number, end: number): Promise<TrainingBatch>;
  /** Once `opened` has resolved; on the device only. */
  step(): CompiledStep;
}

export async function withPrepared<Result>(context: TaskContext, training: Training, work: (prepared: Prepared) => Promise<Result>): Promise<Result> {
  const mine = take(context, training);
  const batches = orAborted(mine.batches, context.signal);
  let teacher: OnlineTeacher | undefined;
  const opened = Promise.all([batches, orAborted(mine.teacher, context.signal)]).then(([, online]) => { teacher = online; });
  opened.catch(() => undefined);
  let failed = true;
  try {
    const result = await work({
      opened,
      at: async (place, end) => orAborted((await batches).at(place, end), context.signal),
      step: () => (mine.step ??= compileStep(training.architecture, training.settings, teacher)),
    });
    failed = false;
    return result;
  } finally {
    mine.users -= 1;
    // One that was told to stop says nothing about what it used.
    if (failed && !context.signal.aborted) free((each) => each === mine);
  }
}

/** Frees what no task uses. @param training of this one alone; default: of all */
export const letGo = (training?: string): void => free((each) => training === undefined || each.training === training);

function free(which: (each: Kept) => boolean): void {
  const [gone, stay] = [kept.filter((each) => each.users === 0 && which(each)), kept.filter((each) => each.users > 0 || !which(each))];
  kept = stay;
  for (const { abort, step } of gone) {
    abort.abort();
    step?.dispose();
  }
}

function take(context: TaskContext, training: Training): Kept {
  const found = kept.find((each) => each.training === training.name && each.store === context.store) ?? open(context, training);
  kept = [...kept.filter((each) => each !== found), found];
  found.users += 1;
  const surplus = kept.filter((each) => each.users === 0).slice(0, Math.max(0, kept.length - KEPT_MAX));
  free((each) => surplus.includes(each));
  return found;
}

function open(context: TaskContext, training: Training): Kept {
  const abort = new AbortController();
  // Of its own: it outlives the task that opens it.
  const source = { ...sourceOf(context, training), signal: abort.signal };
  const batches = openBatches(source, planOf(training), training.labeled, training.selected);
  const teacher = onlineTeacher(context.store, training);
  for (const each of [batches, teacher]) each.catch(() => undefined);
  return { training: training.name, store: context.store, abort, batches, teacher, step: undefined, users: 0 };
}
