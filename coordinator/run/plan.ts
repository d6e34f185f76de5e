/**
 * What a run comes to before it is submitted: the very rules that will decide, played with results that promote every student. So the number of tasks is
 * right where nothing goes wrong; time is as good as the rates that are given. Pure. Not for: where rates come from (coordinator/plan.ts).
 * Invariant: a plan holds counts alone, not tasks: a run of a hundred thousand shards fits.
 */
import { createHash } from 'node:crypto';
import { invariant } from '../../proto/errors.ts';
import type { RunData } from '../../proto/gen/alumnus/v1/events.ts';
import type { ImageSpec, ObjectRef, PairedCounts, PartRef, Score, Task, TaskResult, TrainResult, TrainSpec } from '../../proto/gen/alumnus/v1/task.ts';
import { partOf } from '../../proto/subjects.ts';
import { parameterCount, type Recipe } from '../../recipe/index.ts';
import { decide } from './decide.ts';
import { isEnded, type RunState } from './state.ts';
import { openTasks } from './tasks.ts';

export type TaskKind = NonNullable<Task['spec']>['$case'];

/** What takes about as long for each unit of it: a kind of task, of one model, for images of one size. */
export type Rates = ReadonlyMap<string, { readonly deviceMs: number; readonly units: number }>;

export interface PlannedTasks {
  readonly iteration: number;
  readonly kind: TaskKind;
  /** Of a training or an evaluation: whose. Empty for shards. */
  readonly subject: string;
  tasks: number;
  /** Of input, each shard once a task: what a training streams it reads again each epoch. */
  bytesRead: number;
  /** About: tables before they are compressed, weights, checkpoints. */
  bytesWritten: number;
  /** Undefined where no rate is known for one of them. */
  deviceMs: number | undefined;
}

export interface RunPlan {
  readonly groups: readonly PlannedTasks[];
  /** Undefined where a rate is not known. */
  readonly wallMs: number | undefined;
}

export interface PlanWishes {
  readonly recipe: Recipe;
  readonly data: RunData;
  /** At least 1. */
  readonly workers: number;
  readonly rates: Rates;
}

/** Far beyond any run: what plays longer is a defect. */
const STEPS_MAX = 5_000_000;
/** Bytes of a label beside its probabilities: key, class, log-odds. */
const LABEL_BYTES = 32;
/** A checkpoint holds weights, averages, and the optimizer's state. */
const CHECKPOINT_COPIES = 3;
const WEIGHT_BYTES = 4;

/** Models by the digest of their documents: what they are called, and how many parameters they have. */
export type KnownModels = Map<string, { readonly label: string; readonly parameters: number }>;

const sizeOf = (image: ImageSpec | undefined): string => (image === undefined ? '' : `${image.height}x${image.width}x${image.channels}`);
const trainSpecOf = ({ spec }: Task): TrainSpec | undefined => (spec?.$case === 'train' ? spec.value : spec?.$case === 'replica' || spec?.$case === 'merge' ? spec.value.train : undefined);
const labelOf = (train: TrainSpec | undefined): string => `${train?.model?.name ?? ''} ${Object.entries(train?.model?.options ?? {}).sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, value]) => `${name}=${value}`).join(' ')} ${sizeOf(train?.image)}`;

/** The model that a task is about. */
function modelOf({ spec }: Task): ObjectRef | undefined {
  switch (spec?.$case) {
    case 'label': return spec.value.teacher;
    case 'evaluate':
    case 'measure': return spec.value.model;
    default: return undefined;
  }
}

/** What a task's time is measured by. */
export function rateKey(task: Task, models: KnownModels): string {
  const kind = task.spec?.$case ?? '';
  const train = trainSpecOf(task);
  if (kind === 'merge') return `${kind} ${labelOf(train)}`;
  // A replica's steps are a training's.
  if (train !== undefined) return `train ${labelOf(train)}`;
  const model = modelOf(task);
  return model === undefined ? kind : `${kind} ${models.get(model.sha256)?.label ?? ''}`;
}

/** How much of it a task is: images where it sees images. */
export function unitsOf(task: Task, data: RunData): number {
  const { spec, work } = task;
  switch (spec?.$case) {
    case 'train':
    case 'replica': {
      const { batch_labeled: labeled = 0, batch_unlabeled: unlabeled = 0 } = JSON.parse(trainSpecOf(task)?.trainingJson ?? '{}') as { batch_labeled?: number; batch_unlabeled?: number };
      return work * (labeled + unlabeled);
    }
    case 'label': return spec.value.shard?.samples ?? 0;
    case 'select':
    case 'audit': return data.unlabeled?.samples ?? 0;
    case 'fingerprint':
    case 'evaluate':
    case 'measure': return work;
    default: return 1;
  }
}

/** Remembers the model that a task's result names. */
export function learnModel(models: KnownModels, task: Task, result: TaskResult | undefined): void {
  const trained = result?.result?.$case === 'train' ? result.result.value : result?.result?.$case === 'merge' ? result.result.value.trained : undefined;
  if (trained?.model !== undefined) models.set(trained.model.sha256, { label: labelOf(trainSpecOf(task)), parameters: trained.parameters });
  if (result?.result?.$case === 'import' && result.result.value.model !== undefined && task.spec?.$case === 'import') {
    // By what was imported: its document's digest covers the run.
    models.set(result.result.value.model.sha256, { label: `imported ${createHash('sha256').update(task.spec.value.teacherJson).digest('hex')}`, parameters: result.result.value.parameters ?? 0 });
  }
}

const bytesOf = (part: PartRef | undefined): number => (part?.shards ?? []).reduce((sum, { ref }) => sum + (ref?.bytes ?? 0), 0);

function bytesRead({ spec }: Task, tables: number, weights: number): number {
  switch (spec?.$case) {
    case 'label': return (spec.value.shard?.ref?.bytes ?? 0) + weights;
    case 'fingerprint': return spec.value.against === undefined ? bytesOf(spec.value.validation) + bytesOf(spec.value.test) : spec.value.shard?.ref?.bytes ?? 0;
    case 'select':
    case 'audit': return tables;
    case 'train':
    case 'replica': {
      const train = spec.$case === 'train' ? spec.value : spec.value.train;
      return bytesOf(train?.labeled) + bytesOf(train?.unlabeled);
    }
    case 'evaluate':
    case 'measure': return weights + bytesOf(spec.value.validation) + bytesOf(spec.value.test) + (spec.value.corrupted?.parts ?? []).reduce((sum, each) => sum + bytesOf(each.validation) + bytesOf(each.test), 0);
    default: return 0;
  }
}

const tableBytes = (samples: number, data: RunData): number => samples * (2 * data.classNames.length + LABEL_BYTES);

function bytesWritten(task: Task, data: RunData, parameters: number): number {
  const weights = parameters * WEIGHT_BYTES;
  switch (task.spec?.$case) {
    case 'label': return tableBytes(task.spec.value.shard?.samples ?? 0, data);
    case 'train': return weights + (task.checkpointSteps === 0 ? 0 : Math.floor(task.work / task.checkpointSteps)) * CHECKPOINT_COPIES * weights;
    case 'replica':
    case 'merge': return CHECKPOINT_COPIES * weights;
    default: return 0;
  }
}

/** @throws AlumnusError as `decide` for a run that the recipe cannot be */
export function planRun({ recipe, data, workers, rates }: PlanWishes): RunPlan {
  const groups = new Map<string, PlannedTasks>();
  const models: KnownModels = new Map();
  const tables = tableBytes(data.unlabeled?.samples ?? 0, data);
  /** Ends of what the workers do, and what of it is not known to take how long. */
  let underWay: { readonly task: Task; readonly endMs: number }[] = [];
  let atMs = 0;
  let known = true;
  let waiting: Task[] = [];
  const begun = new Set<string>();
  let { state } = decide(undefined, { kind: 'submit', runId: 'plan', recipe: undisturbed(recipe), data, fleet: workers }, 0);
  const derive = (): void => {
    waiting = openTasks(state).filter(({ taskId }) => !begun.has(taskId));
  };
  derive();

  const begin = (task: Task): void => {
    begun.add(task.taskId);
    const rate = rates.get(rateKey(task, models));
    const deviceMs = rate === undefined || rate.units === 0 ? undefined : (rate.deviceMs / rate.units) * unitsOf(task, data);
    known &&= deviceMs !== undefined;
    const train = trainSpecOf(task);
    const parameters = train === undefined ? 0 : parametersOf(train);
    const kind = task.spec?.$case ?? 'label';
    const subject = kind === 'label' || kind === 'fingerprint' || kind === 'select' ? '' : partOf(task)?.training ?? task.subject;
    const key = `${task.iteration} ${kind} ${subject}`;
    const group = groups.get(key) ?? { iteration: task.iteration, kind, subject, tasks: 0, bytesRead: 0, bytesWritten: 0, deviceMs: 0 };
    groups.set(key, group);
    const about = modelOf(task);
    group.tasks += 1;
    group.bytesRead += bytesRead(task, tables, (about === undefined ? 0 : models.get(about.sha256)?.parameters ?? 0) * WEIGHT_BYTES);
    group.bytesWritten += bytesWritten(task, data, parameters);
    group.deviceMs = group.deviceMs === undefined || deviceMs === undefined ? undefined : group.deviceMs + deviceMs;
    underWay.push({ task, endMs: atMs + (deviceMs ?? 1) });
  };

  // Rules see the time go by, or at one and the same moment every replica but the first would be late.
  for (let step = 0; !isEnded(state.phase); step += 1) {
    invariant(step < STEPS_MAX, 'a run ends');
    // A guard asks a person, who goes on.
    if (state.phase === 'paused') {
      ({ state } = decide(state, { kind: 'resume', fleet: workers }, step + 1));
      derive();
      continue;
    }
    for (; underWay.length < workers && waiting.length > 0;) begin(waiting.shift() as Task);
    const next = underWay.reduce<{ readonly task: Task; readonly endMs: number } | undefined>((least, each) => (least === undefined || each.endMs < least.endMs ? each : least), undefined);
    invariant(next !== undefined, 'a run that goes on has work');
    underWay = underWay.filter((each) => each !== next);
    atMs = next.endMs;
    const result = idealResult(next.task, state);
    learnModel(models, next.task, result);
    const { events, state: after } = decide(state, { kind: 'complete', task: next.task, workerId: 'plan', result, fleet: workers }, step + 1);
    state = after;
    // One shard of many leaves what is open as it was, but for itself.
    const alone = events.length === 1 && (next.task.spec?.$case === 'label' || next.task.spec?.$case === 'fingerprint') && waiting.length > 0;
    if (!alone) derive();
  }
  return { groups: [...groups.values()].sort((a, b) => a.iteration - b.iteration), wallMs: known ? atMs : undefined };
}

/** Budgets would pause what is to be foreseen, and here no replica is a straggler. How long one is waited for is no input of any task. */
function undisturbed({ budget, training, ...recipe }: Recipe): Recipe {
  const { sharing } = training;
  return { ...recipe, budget: { ...budget, device_hours: 0, wall_hours: 0 }, training: sharing === undefined ? training : { ...training, sharing: { ...sharing, straggler_wait: 100 } } };
}

function parametersOf({ model, image, classNames }: TrainSpec): number {
  if (model === undefined || image === undefined) return 0;
  return parameterCount({ model: { name: model.name, options: model.options }, input: { height: image.height, width: image.width, channels: image.channels === 1 ? 1 : 3 }, classes: classNames.length });
}

/** What a worker would report if all went as one hopes: each student far better than its teacher, each class labeled alike. */
function idealResult(task: Task, state: RunState): TaskResult {
  const { data } = state;
  const classes = data.classNames.length;
  const output = (name: string): ObjectRef => {
    const sha256 = createHash('sha256').update(`${task.taskId} ${name}`).digest('hex');
    return { key: `${task.outputPrefix}/${sha256}`, sha256, bytes: 0 };
  };
  const total = data.unlabeled?.samples ?? 0;
  const each = Math.max(1, Math.floor(total / classes));
  /** Falls from iteration to iteration, so that nobody is refused for it. */
  const wrongOf = (samples: number): number => Math.floor(samples / 2 ** (task.iteration + 1));
  const score = (part: PartRef | undefined): Score => ({ correct: (part?.samples ?? 0) - wrongOf(part?.samples ?? 0), total: part?.samples ?? 0, classes: [], calibrationError: 0 });
  const errors = (part: PartRef | undefined, frames = 0): { wrong: number; total: number } | undefined => part && { wrong: wrongOf(part.samples * Math.max(1, frames)), total: part.samples * Math.max(1, frames) };
  const trained = (train: TrainSpec | undefined, steps: number): TrainResult => ({
    model: output('model'), parameters: train === undefined ? 0 : parametersOf(train), steps, images: 0, finalLoss: 0, curve: [], heldOutCurve: [],
    begunSha256: train?.begin?.sha256, truthSha256: train?.truth?.sha256, distilledSha256: train?.distill?.teacher?.sha256, bestStep: train?.trainingJson.includes('"early_stop"') ? steps : undefined,
  });
  const result = ((): NonNullable<TaskResult['result']> => {
    switch (task.spec?.$case) {
      case 'label': return { $case: 'label', value: { labels: output('labels'), tally: output('tally'), samples: task.spec.value.shard?.samples ?? 0 } };
      case 'select': {
        const { leftOut, drift } = task.spec.value;
        return {
          $case: 'select',
          value: {
            selection: output('selection'), labeled: total, kept: each * classes, rows: each * classes, classes: Array.from({ length: classes }, (_, at) => ({ class: at, eligible: each, kept: each, rows: each, labeled: each })),
            ...(leftOut === undefined ? {} : { leftOut: 0 }), ...(drift === undefined ? {} : { drift: { drift: output('drift'), samples: total, flips: 0, confidenceBefore: 1, confidenceAfter: 1, classes: [], shards: [] } }),
          },
        };
      }
      case 'train': return { $case: 'train', value: trained(task.spec.value, task.work) };
      case 'replica': {
        const { train } = task.spec.value;
        return { $case: 'replica', value: { state: output('state'), steps: task.work, images: 0, loss: 0, distilledSha256: train?.distill?.teacher?.sha256, truthSha256: train?.truth?.sha256 } };
      }
      case 'merge': {
        const { train, last, firstStep, steps } = task.spec.value;
        return { $case: 'merge', value: { merged: output('merged'), trained: last ? trained(train, firstStep + steps) : undefined } };
      }
      case 'import': return { $case: 'import', value: { model: output('model'), parameters: undefined, notes: [] } };
      case 'evaluate': {
        const { validation, test, baseline, pairedSubsets, corrupted } = task.spec.value;
        const samples = validation?.samples ?? 0;
        const counts = (of: number): PairedCounts => ({ samples: of, studentOnlyRight: Math.ceil(of / 2), teacherOnlyRight: 0 });
        return {
          $case: 'evaluate',
          value: {
            evaluation: output('evaluation'), validation: score(validation), test: test && score(test), calibration: { temperature: 1, loss: 0, lossScaled: 0 }, confidence: [{ confidence: 0.5, correct: samples, total: samples }],
            paired: baseline === undefined ? [] : [counts(samples), ...pairedSubsets.map(counts)],
            ...(corrupted === undefined ? {} : { corruption: { scores: corrupted.parts.map(({ name, frames, validation: of, test: tested }) => ({ name, frames, validation: errors(of, frames), test: errors(tested, frames) })) } }),
          },
        };
      }
      case 'audit': return { $case: 'audit', value: { audit: output('audit'), keptRight: total, kept: total, labeledRight: total, labeled: total, classes: [] } };
      case 'fingerprint': {
        const { against, shard } = task.spec.value;
        return { $case: 'fingerprint', value: { fingerprints: against === undefined ? output('fingerprints') : undefined, near: undefined, samples: shard?.samples ?? task.work, nearValidation: 0, nearTest: 0, nearAny: 0 } };
      }
      case 'measure': {
        const { validation, test, weights, threads, predictions, corrupted } = task.spec.value;
        const parts = corrupted?.parts ?? [];
        const all = (of: 'validation' | 'test'): { wrong: number; total: number } | undefined => (parts.length === 0 || parts.some((each_) => each_[of] === undefined) ? undefined : { wrong: 0, total: parts.reduce((sum, each_) => sum + (each_[of]?.samples ?? 0), 0) });
        return {
          $case: 'measure',
          value: {
            parameters: 1, multiplyAdds: 1, device: 'plan', threads, predictions, latencyP50Ms: 1, latencyP95Ms: 1, memoryPeak: 1, memoryWithoutModel: 1,
            weights: weights.map((scheme) => ({ weights: scheme, bytes: { onnx: 1 }, validation: errors(validation), test: errors(test), corruptedValidation: all('validation'), corruptedTest: all('test') })),
          },
        };
      }
      default: throw new Error('invariant broken: a run\'s task says what is to be done');
    }
  })();
  return { result, deviceMs: 0 };
}
