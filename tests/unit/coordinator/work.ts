/**
 * What tests of the coordinator need in place of users, data sets and workers: a small recipe, data that is named by
 * digest only, and the answer to any task as a pure function of its specification.
 */
import { createHash } from 'node:crypto';
import type { Event, RunData } from '../../../proto/gen/alumnus/v1/events.ts';
import type { ConfidenceBin, ObjectRef, PairedCounts, PartRef, Score, Task, TaskResult, TrainResult, TrainSpec } from '../../../proto/gen/alumnus/v1/task.ts';
import { evolve, type RunState } from '../../../coordinator/run/index.ts';
import { canonicalJson, recipeSchema, type Recipe, type RecipeInput } from '../../../recipe/index.ts';

export const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');

const ref = (key: string, content: string): ObjectRef => ({ key, sha256: sha256(content), bytes: content.length });

export const shardName = (index: number): string => `shard-${String(index).padStart(5, '0')}`;

function part(name: string, shards: number, samplesPerShard: number, labeled: boolean): PartRef {
  return {
    dataset: `digits#${name}`,
    manifestSha256: sha256(`manifest of ${name} ${shards}`),
    shards: Array.from({ length: shards }, (_, index) => ({ name: shardName(index), ref: ref(`shards/${name}/${index}`, `${name} ${index}`), samples: samplesPerShard })),
    labels: labeled ? ref(`labels/${name}`, `labels of ${name}`) : undefined,
    samples: shards * samplesPerShard,
  };
}

export interface DataWishes {
  readonly shards?: number;
  readonly truth?: boolean;
  readonly test?: boolean;
  /** Corruptions of validation and test, by name; those that end in `_sequence` have frames. */
  readonly corrupted?: readonly string[];
}

export const makeData = ({ shards = 3, truth = false, test = true, corrupted = [] }: DataWishes = {}): RunData => ({
  image: { height: 28, width: 28, channels: 1 },
  classNames: ['zero', 'one', 'two'],
  labeled: part('labeled', 1, 30, true),
  unlabeled: part('unlabeled', shards, 100, false),
  validation: part('validation', 1, 1000, true),
  test: test ? part('test', 1, 1000, true) : undefined,
  truth: truth ? ref('truth', 'truth') : undefined,
  warnings: [],
  ...(corrupted.length === 0 ? {} : {
    corrupted: { parts: corrupted.map((name) => ({ name, validation: part(`validation of ${name}`, 1, 1000, true), test: test ? part(`test of ${name}`, 1, 1000, true) : undefined, frames: name.endsWith('_sequence') ? 10 : 0, againstFirst: false })) },
  }),
});

export const makeRecipe = (wishes: Partial<RecipeInput> = {}): Recipe =>
  recipeSchema.parse({ name: 'digits', rounds: 1, data: { dataset: 'digits' }, models: { ladder: [{ model: 'cnn' }] }, ...wishes });

/** What a test may want a worker to have measured; what it leaves out follows from the task's specification. */
export interface AnswerWishes {
  readonly parameters?: number;
  readonly studentOnlyRight?: number;
  readonly teacherOnlyRight?: number;
  readonly validationRight?: number;
  readonly testRight?: number;
  /** Wrong ones of 1,000 on every corruption. */
  readonly corruptedWrong?: number;
  readonly corruptedTestWrong?: number;
  /** Classes that no pseudo-label names. */
  readonly emptyClasses?: readonly number[];
  /** Eligible pseudo-labels of each class, from the first on. */
  readonly eligible?: readonly number[];
  /** Images of each class in validation, from the first on; none: validation tells no classes. */
  readonly truth?: readonly number[];
  readonly calibrationError?: number;
  /** Validation by confidence; without it the wrong ones are where confidence is low. */
  readonly confidence?: readonly ConfidenceBin[];
  /** Of a measurement: of float32 weights, as ONNX; and predictions that weights of a kind get wrong beyond the others. */
  readonly bytes?: number;
  readonly wrongBy?: Readonly<Record<string, number>>;
  readonly deviceMs?: number;
  /** Near-duplicates in a shard that is looked through. */
  readonly near?: number;
  /** Stands for a device that doesn't repeat itself to the bit. */
  readonly salt?: string;
}

const score = (correct: number, total: number, { truth = [], calibrationError = 0 }: AnswerWishes = {}): Score =>
  ({ correct, total, classes: truth.map((each, index) => ({ class: index, correct: each, total: each })), calibrationError });

/** Of 1,000: 250 unsure ones with seven tenths of what is wrong, 250 rather sure ones with a quarter, 500 with the rest. */
function byConfidence(right: number): ConfidenceBin[] {
  const wrong = 1000 - right;
  const [unsure, rather] = [Math.min(250, Math.floor(0.7 * wrong)), Math.min(250, Math.floor(0.25 * wrong))];
  return [{ confidence: 0.25, correct: 250 - unsure, total: 250 }, { confidence: 0.75, correct: 250 - rather, total: 250 }, { confidence: 0.9375, correct: 500 - (wrong - unsure - rather), total: 500 }];
}

/** What a worker says of a training that begins with a model, learns from true labels, is distilled from one, or is measured on images held out. */
const trainedAsAsked = ({ begin, truth, distill, trainingJson }: TrainSpec, steps: number): Pick<TrainResult, 'begunSha256' | 'truthSha256' | 'bestStep' | 'distilledSha256'> =>
  ({ begunSha256: begin?.sha256, truthSha256: truth?.sha256, distilledSha256: distill?.teacher?.sha256, bestStep: trainingJson.includes('"early_stop"') ? steps : undefined });

/** The result of a task. Equal specifications give equal results, whichever worker does it and however often. */
export function answer(task: Task, wishes: AnswerWishes = {}): TaskResult {
  const digest = sha256(canonicalJson({ spec: task.spec, seed: task.seed, salt: wishes.salt }));
  const drawn = (at: number, below: number): number => Number.parseInt(digest.slice(at * 6, at * 6 + 6), 16) % below;
  const output = (name: string): ObjectRef => {
    const sum = sha256(`${name} ${digest}`);
    return { key: `${task.outputPrefix}/${sum}`, sha256: sum, bytes: 1 + drawn(0, 1000) };
  };
  const deviceMs = wishes.deviceMs ?? 1000;
  switch (task.spec?.$case) {
    case 'index':
      return { deviceMs, result: { $case: 'index', value: { sha256: output('index').sha256, samples: 1 } } };
    case 'label':
      return { deviceMs, result: { $case: 'label', value: { labels: output('labels'), tally: output('tally'), samples: task.spec.value.shard?.samples ?? 0 } } };
    case 'select': {
      const classes = Array.from({ length: task.spec.value.classes }, (_, index) => {
        const eligible = wishes.emptyClasses?.includes(index) === true ? 0 : wishes.eligible?.[index] ?? 10 + drawn(1 + index, 10);
        return { class: index, eligible, kept: eligible, rows: eligible, labeled: eligible };
      });
      const rows = classes.reduce((sum, each) => sum + each.rows, 0);
      return { deviceMs, result: { $case: 'select', value: { selection: output('selection'), labeled: rows, kept: rows, rows, classes, ...(task.spec.value.leftOut === undefined ? {} : { leftOut: 3 }) } } };
    }
    case 'train': {
      const width = task.spec.value.model?.options.width ?? 1;
      return { deviceMs, result: { $case: 'train', value: { model: output('model'), parameters: wishes.parameters ?? width * 1000, steps: task.work, images: task.work * 32, finalLoss: 0.5, curve: [], heldOutCurve: [], ...trainedAsAsked(task.spec.value, task.work) } } };
    }
    case 'replica':
      return { deviceMs, result: { $case: 'replica', value: { state: output('state'), steps: task.work, images: task.work * 32, loss: 0.5 + drawn(1, 100) / 1000, distilledSha256: task.spec.value.train?.distill?.teacher?.sha256, truthSha256: task.spec.value.train?.truth?.sha256 } } };
    case 'merge': {
      const { train, last, firstStep, steps, images } = task.spec.value;
      const trained = { model: output('model'), parameters: wishes.parameters ?? (train?.model?.options.width ?? 1) * 1000, steps: firstStep + steps, images, finalLoss: 0.5, curve: [], heldOutCurve: [] };
      return { deviceMs, result: { $case: 'merge', value: { merged: output('merged'), trained: last ? trained : undefined } } };
    }
    case 'evaluate': {
      const counts = (samples: number): PairedCounts => ({ samples, studentOnlyRight: wishes.studentOnlyRight ?? 10 + drawn(1, 30), teacherOnlyRight: wishes.teacherOnlyRight ?? 10 + drawn(2, 30) });
      const right = wishes.validationRight ?? 800 + drawn(3, 150);
      return {
        deviceMs,
        result: {
          $case: 'evaluate',
          value: {
            evaluation: output('evaluation'), validation: score(right, 1000, wishes), calibration: undefined, confidence: [...(wishes.confidence ?? byConfidence(right))],
            test: task.spec.value.test === undefined ? undefined : score(wishes.testRight ?? 800 + drawn(4, 150), 1000),
            paired: task.spec.value.baseline === undefined ? [] : [counts(1000), ...task.spec.value.pairedSubsets.map(counts)],
            ...(task.spec.value.corrupted === undefined ? {} : {
              corruption: {
                scores: task.spec.value.corrupted.parts.map(({ name, frames, test }, at) => ({
                  name, frames, validation: { wrong: wishes.corruptedWrong ?? 100 + drawn(at % 8, 400), total: 1000 }, test: test === undefined ? undefined : { wrong: wishes.corruptedTestWrong ?? 100 + drawn(at % 8, 300), total: 1000 },
                })),
              },
            }),
          },
        },
      };
    }
    case 'import':
      return { deviceMs, result: { $case: 'import', value: { model: output('model'), parameters: wishes.parameters, notes: [] } } };
    case 'fingerprint': {
      const { against, shard } = task.spec.value;
      const near = against === undefined ? 0 : wishes.near ?? 0;
      return {
        deviceMs,
        result: { $case: 'fingerprint', value: { fingerprints: against === undefined ? output('fingerprints') : undefined, near: near === 0 ? undefined : output('near'), samples: shard?.samples ?? task.work, nearValidation: near, nearTest: 0, nearAny: near } },
        };
      }
    case 'measure': {
      const { validation, test, corrupted, weights, threads, predictions } = task.spec.value;
      const wrong = 1000 - (wishes.validationRight ?? 800 + drawn(3, 150));
      const corruptions = corrupted?.parts.length ?? 0;
      return {
        deviceMs,
        result: {
          $case: 'measure',
          value: {
            parameters: wishes.parameters ?? 1000, multiplyAdds: 5000, device: 'test', threads, predictions, latencyP50Ms: 1, latencyP95Ms: 2, memoryPeak: 3000, memoryWithoutModel: 2000,
            weights: weights.map((scheme) => {
              const bytes = (wishes.bytes ?? 4000) / ({ float32: 1, float16: 2, int8: 4 }[scheme] ?? 1);
              const lost = wishes.wrongBy?.[scheme] ?? 0;
              return {
                weights: scheme, bytes: { savedmodel: bytes + 30, onnx: bytes, 'tfjs-graph': bytes + 20 }, validation: { wrong: wrong + lost, total: validation?.samples ?? 0 },
                test: test === undefined ? undefined : { wrong: 1000 - (wishes.testRight ?? 800) + lost, total: test.samples },
                corruptedValidation: corruptions === 0 ? undefined : { wrong: corruptions * (wishes.corruptedWrong ?? 200), total: corruptions * 1000 },
                corruptedTest: corruptions === 0 || test === undefined ? undefined : { wrong: corruptions * (wishes.corruptedTestWrong ?? 200), total: corruptions * 1000 },
              };
            }),
          },
        },
      };
    }
    case 'audit':
      return { deviceMs, result: { $case: 'audit', value: { audit: output('audit'), keptRight: 25, kept: 30, labeledRight: 250, labeled: 300, classes: [] } } };
    case undefined:
      throw new Error('invariant broken: a task says what is to be done');
  }
}

/** The state after these facts, folded from nothing. */
export function fold(events: readonly Event[]): RunState | undefined {
  let state: RunState | undefined;
  for (const event of events) state = evolve(state, event);
  return state;
}
