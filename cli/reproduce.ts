/**
 * A model made again: the tasks that its run's facts tell of are done once more by the worker's own program for it, in a scratch folder that is gone
 * afterwards, and digests are compared. Nothing is written to the run's store.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AcceptedTask } from '../proto/gen/alumnus/v1/history.ts';
import type { Machine } from '../proto/gen/alumnus/v1/record.ts';
import type { Reproduction } from '../proto/told.ts';
import type { Context } from './context.ts';
import { countedProgress } from './dataset-import.ts';
import { duration, plural } from './format.ts';
import { ask } from './helper.ts';
import type { NamedModel } from './model-name.ts';
import { facts } from './output.ts';

export interface Wishes {
  readonly labels: boolean;
  readonly weights: boolean;
  /** Computing threads; undefined: as the record of the training says, else all cores. */
  readonly threads: number | undefined;
}

/** A part of what made the model. `absent`: it has no such part; `unchecked`: it was not asked for. */
export interface Part {
  readonly part: 'labels' | 'selection' | 'weights';
  readonly verdict: 'same' | 'differs' | 'failed' | 'unchecked' | 'absent';
  readonly tasks: number;
  /** Device time of the accepted results. */
  readonly deviceMs: number;
}

export interface ModelReproduced {
  readonly run: string;
  readonly model: string;
  readonly parts: readonly Part[];
  /** Absent where nothing was done again. */
  readonly machine?: Machine;
  readonly tasks: readonly Reproduction[];
}

const partOfKind: Readonly<Record<Reproduction['kind'], Part['part']>> = { label: 'labels', select: 'selection', train: 'weights', replica: 'weights', merge: 'weights', import: 'weights' };

const kindOf = ({ task }: AcceptedTask): Reproduction['kind'] => (task?.spec?.$case ?? 'train') as Reproduction['kind'];

/** @param named with the tasks that made it @throws AlumnusError as the program: ENGINE_UNAVAILABLE, CANCELLED, the store's */
export async function reproduceModel(context: Context, { history, sha256 }: NamedModel, storeUrl: string, wishes: Wishes): Promise<ModelReproduced> {
  const wanted = (part: Part['part']): boolean => part === 'selection' || wishes[part];
  const all = [...history.tasks];
  const chosen = all.filter((each) => wanted(partOfKind[kindOf(each)]));
  const done: Reproduction[] = [];
  let machine: Machine | undefined;
  if (chosen.length > 0) machine = await doAgain(context, storeUrl, chosen, wishes.threads, (each) => done.push(each));
  const parts = (['labels', 'selection', 'weights'] as const).map((part): Part => {
    const own = all.filter((each) => partOfKind[kindOf(each)] === part);
    const verdicts = done.filter(({ kind }) => partOfKind[kind] === part).map(({ verdict }) => verdict);
    const verdict = own.length === 0 ? 'absent' : verdicts.length === 0 ? 'unchecked' : verdicts.includes('failed') ? 'failed' : verdicts.includes('differs') ? 'differs' : 'same';
    return { part, verdict, tasks: own.length, deviceMs: own.reduce((sum, { result }) => sum + (result?.deviceMs ?? 0), 0) };
  });
  return { run: history.runId, model: sha256, parts, tasks: done, ...(machine === undefined ? {} : { machine }) };
}

async function doAgain(context: Context, storeUrl: string, tasks: readonly AcceptedTask[], threads: number | undefined, onDone: (each: Reproduction) => void): Promise<Machine | undefined> {
  const release = context.hold();
  const scratch = await mkdtemp(join(tmpdir(), 'alumnus-reproduce-'));
  let machine: Machine | undefined;
  const progress = countedProgress(context, 'reproducing');
  try {
    await ask({
      program: 'worker', file: 'reproduce', arguments: ['--store', storeUrl, '--scratch', scratch, '--threads', String(threads ?? 0)],
      request: { tasks: tasks.map((each) => AcceptedTask.toJSON(each)) }, signal: context.signal,
      onLine: (line) => {
        if ('machine' in line) machine = line.machine as Machine;
        if ('reproduction' in line) onDone(line.reproduction as Reproduction);
        const { done, total, label } = (line['progress'] ?? {}) as { done?: number; total?: number; label?: string };
        if (label !== undefined) progress.update(done ?? 0, total ?? 0, label);
      },
    });
    return machine;
  } finally {
    progress.end();
    await rm(scratch, { recursive: true, force: true, maxRetries: 3 });
    release();
  }
}

export const isReproduced = ({ parts }: ModelReproduced): boolean => parts.every(({ verdict }) => verdict !== 'differs' && verdict !== 'failed');

const partTexts: Readonly<Record<Part['part'], { flag: string; what: string; absent: string }>> = {
  labels: { flag: '--labels', what: 'labeling again', absent: 'none: it learned from labeled images alone' },
  selection: { flag: '', what: '', absent: 'none: it learned from labeled images alone' },
  weights: { flag: '--weights', what: 'training again', absent: 'none' },
};

function partText({ part, verdict, tasks, deviceMs }: Part): string {
  const { flag, what, absent } = partTexts[part];
  switch (verdict) {
    case 'absent': return absent;
    case 'same': return `the same digests, of ${plural(tasks, 'task')}`;
    case 'differs': return 'DIFFERS';
    case 'failed': return 'could not be made again';
    case 'unchecked': return `not checked: ${flag} does it, ${what} takes about ${duration(deviceMs)} on a device as the run had`;
  }
}

export const machineText = ({ processor, platform, threads, version }: Machine): string => `${processor === '' ? platform : `${processor}, ${platform}`}, ${plural(threads, 'thread')}, release ${version}`;

/** What must be equal for weights to be so. */
const MUST_BE_EQUAL = 'Weights come out the same to the bit with the same release on the same kind of machine with as many computing threads; a run of replicas also with each replica so.';

export function reproducedText(reproduced: ModelReproduced): string {
  const { run, model, parts, tasks, machine } = reproduced;
  const troubles = tasks.filter(({ verdict }) => verdict !== 'same');
  const trainings = tasks.filter(({ kind }) => partOfKind[kind] === 'weights');
  const before = trainings.at(-1)?.machine;
  const sections = [
    facts([['Model', `sha256 ${model}`], ['Run', run], ...parts.map((part): [string, string] => [`${part.part[0]?.toUpperCase() ?? ''}${part.part.slice(1)}`, partText(part)])]),
    ...troubles.map(({ taskId, outputs, note }) => facts([
      ['Task', taskId],
      ...outputs.filter(({ accepted, again }) => accepted !== again).flatMap(({ name, accepted, again }): [string, string][] => [[`${name} accepted`, `sha256 ${accepted}`], [`${name} again`, `sha256 ${again}`]]),
      ['Note', note],
    ])),
    trainings.length === 0 ? '' : facts([
      ['Trained on', before === undefined ? 'not recorded: the record is of an earlier release, or gone' : machineText(before)],
      ['Again on', machine === undefined ? '' : machineText(machine)],
    ]),
    trainings.some(({ verdict }) => verdict === 'differs') ? MUST_BE_EQUAL : '',
  ];
  return sections.filter((section) => section !== '').join('\n\n');
}

