/**
 * A run of real trainings, task by task: fine-tuned at a larger size and stopped early, with everything a model is then used for at the size that it takes,
 * and what cannot be refused when it is submitted.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { prepareSubmission } from '../../../coordinator/api/submission.ts';
import { decide, openTasks, type RunState } from '../../../coordinator/run/index.ts';
import type { AlumnusError } from '../../../proto/errors.ts';
import type { Checkpoint, Task, TrainResult } from '../../../proto/gen/alumnus/v1/task.ts';
import { frozenParameters } from '../../../recipe/index.ts';
import { openStore, type ObjectStore } from '../../../store/index.ts';
import { decodeWeights } from '../../../worker/learning/index.ts';
import { readTrained, type TrainedDocument } from '../../../worker/tasks/model.ts';
import { runTask } from '../../../worker/tasks/index.ts';
import { loadTensorFlow } from '../../../worker/tensorflow/index.ts';
import { patternsHome, patternsRecipe } from '../../harness/patterns.ts';

let home: Awaited<ReturnType<typeof patternsHome>>;
let store: ObjectStore;
let state: RunState;
let recipeText: string;
const tasks = new Map<string, Task>();
const notes: string[] = [];
const checkpoints = new Map<string, Checkpoint[]>();

const run = (task: Task): ReturnType<typeof runTask> =>
  runTask({
    task, store, cacheFolder: `${home.home}/cache`, signal: new AbortController().signal, progress: () => undefined, note: (line) => notes.push(`${task.subject}: ${line}`), onDevice: (body) => body(),
    checkpoint: (checkpoint) => checkpoints.set(task.taskId, [checkpoint, ...checkpoints.get(task.taskId) ?? []]),
  });

beforeAll(async () => {
  loadTensorFlow({ threads: 1 });
  home = await patternsHome();
  store = await openStore(`file://${home.home}/store`);
  recipeText = patternsRecipe({ rounds: 1, control: true })
    .replace(/ladder:\n(.*)\n.*\n/, 'ladder:\n    - { model: vit-tiny, patch: 4, width: 12, depth: 2, heads: 3, dropout: 0.1 }\n')
    .replace('ema_decay: 0.8', `ema_decay: 0.8
  checkpoint_steps: 4
  fine_tune: { steps: 12, batch_labeled: 8, image: { height: 16, width: 20 }, freeze: 0.5, teaches: true }
  early_stop: { every_steps: 5, patience: 1, min_delta: 0.05, holdout: 0.2 }`)
    .replace('student: { steps: 80', 'student: { steps: 60');
  const { recipe, data } = await prepareSubmission(store, recipeText);
  ({ state } = decide(undefined, { kind: 'submit', runId: 'patterns-tuned', recipe: { ...recipe, guards: { class_share_least: 0, class_share_most: 1, calibration_error_most: 1 }, labels: { ...recipe.labels, balance: 'none', threshold: 0 } }, data }, 0));
  for (let open = openTasks(state); open.length > 0; open = openTasks(state)) {
    const [task] = open as [Task];
    tasks.set(task.taskId.replace(/\.t0-.*/, ''), task);
    ({ state } = decide(state, { kind: 'complete', task, workerId: 'w1', result: { result: await run(task), deviceMs: 5 } }, 0));
  }
}, 240_000);
afterAll(() => home.remove());

const documentOf = async (result: TrainResult | undefined): Promise<TrainedDocument> => readTrained(store, result!.model!);
const weightsOf = async ({ weights }: TrainedDocument): Promise<Map<string, Float32Array>> => new Map(decodeWeights(await store.get(weights)).map(({ name, values }) => [name, values]));

test('the run ends well, and each training was fine-tuned', () => {
  expect(state.reason).toBe('');
  expect(state.phase).toBe('succeeded');
  expect([...tasks.keys()].filter((name) => name.includes('fine-tuned'))).toEqual([
    'i0.train.student.fine-tuned', 'i0.evaluate.student.fine-tuned', 'i1.train.student.fine-tuned', 'i1.evaluate.student.fine-tuned', 'i1.train.control.fine-tuned', 'i1.evaluate.control.fine-tuned',
  ]);
});

test('a fine-tuned model is one of its own that names what it began with, takes the larger size, and has its frozen parts to the bit', async () => {
  for (const { student, fineTuned } of state.iterations) {
    const [before, after] = [await documentOf(student?.result), await documentOf(fineTuned?.result)];
    expect(after.lineage.begin).toBe(student?.result.model?.sha256);
    expect(before.lineage.begin).toBeUndefined();
    expect([before.architecture.input, before.resizes]).toEqual([{ height: 12, width: 12, channels: 1 }, undefined]);
    expect([after.architecture.input, after.resizes]).toEqual([{ height: 16, width: 20, channels: 1 }, true]);
    const [old, tuned, frozen] = [await weightsOf(before), await weightsOf(after), frozenParameters(after.architecture, 0.5)];
    const same = [...tuned].filter(([name, values]) => name !== 'tokens/positions' && Buffer.compare(Buffer.from(values.buffer), Buffer.from(old.get(name)!.buffer)) === 0).map(([name]) => name);
    expect(frozen.has('tokens/positions')).toBe(true);
    expect(new Set(same)).toEqual(new Set([...frozen].filter((name) => name !== 'tokens/positions')));
    // A class token, then 3 x 3 patches that became 4 x 5.
    expect([old.get('tokens/positions')!.length, tuned.get('tokens/positions')!.length]).toEqual([10 * 12, 21 * 12]);
    expect(tuned.get('tokens/positions')!.subarray(0, 12)).toEqual(old.get('tokens/positions')!.subarray(0, 12));
  }
});

test('the one that teaches labels, and is paired with the student, at the size that it takes', () => {
  const [first, second] = state.iterations;
  const label = tasks.get('i1.label.unlabeled-000000') ?? [...tasks.values()].find((task) => task.spec?.$case === 'label');
  expect(label?.spec?.$case === 'label' ? label.spec.value.teacher?.sha256 : '').toBe(first?.fineTuned?.result.model?.sha256);
  expect(second?.fineTunedEvaluation?.paired[0]?.samples).toBe(100);
  expect(second?.evaluation?.paired).toEqual([]);
  for (const each of [first, second]) for (const evaluation of [each?.evaluation, each?.fineTunedEvaluation]) expect([evaluation?.validation?.total, evaluation?.test?.total]).toEqual([100, 100]);
  expect(state.control.fineTunedEvaluation?.test?.total).toBe(100);
});

test('trainings stop early, say so, and hand back the weights of their best measurement', () => {
  const results = [...state.iterations.flatMap(({ student, fineTuned }) => [student, fineTuned]), state.control.trained, state.control.fineTuned].map((each) => each!.result);
  const stopped = results.filter((result) => result.stoppedAtStep !== undefined);
  expect(stopped.length).toBeGreaterThan(0);
  for (const result of results) {
    const least = result.heldOutCurve.find(({ step }) => step === result.bestStep)!;
    expect(Math.min(...result.heldOutCurve.map(({ loss }) => loss))).toBeGreaterThanOrEqual(least.loss - 0.05);
    expect(result.steps).toBe(result.stoppedAtStep ?? result.heldOutCurve.at(-1)!.step);
    // Measurements lie 5 steps apart, and the patience is one.
    if (result.stoppedAtStep !== undefined) expect(result.stoppedAtStep).toBe(result.bestStep! + 5);
  }
  expect(notes.filter((note) => note.includes('stops early'))).toHaveLength(stopped.length);
});

test('a task that is done again from its checkpoint, or from its start, gives the same bytes', async () => {
  const kept = [...tasks.values()].filter((task) => (checkpoints.get(task.taskId)?.length ?? 0) > 0);
  expect(kept.some((task) => task.subject === 'student.fine-tuned') && kept.some((task) => task.subject === 'student')).toBe(true);
  for (const task of kept) {
    const again = await run({ ...task, checkpoints: checkpoints.get(task.taskId)!.slice(0, 1) });
    const before = [...state.iterations.flatMap((each) => [each.student, each.fineTuned]), state.control.trained, state.control.fineTuned].find((each) => each?.result.model?.key.startsWith(task.outputPrefix));
    expect(again.$case === 'train' ? again.value : undefined).toEqual(before?.result);
  }
  const tuning = tasks.get('i1.train.student.fine-tuned')!;
  const again = await run(tuning);
  expect(again.$case === 'train' ? again.value : undefined).toEqual(state.iterations[1]?.fineTuned?.result);
});

test('a student may train on pseudo-labels alone, and is then fine-tuned on the labeled images', async () => {
  const [training, tuning] = [tasks.get('i1.train.student')!, tasks.get('i1.train.student.fine-tuned')!];
  if (training.spec?.$case !== 'train' || tuning.spec?.$case !== 'train') throw new Error('they are trainings');
  const json = JSON.parse(training.spec.value.trainingJson) as object;
  const alone = await run({ ...training, spec: { $case: 'train', value: { ...training.spec.value, trainingJson: JSON.stringify({ ...json, batch_labeled: 0, batch_unlabeled: 32 }) } } });
  if (alone.$case !== 'train') throw new Error('a training makes a model');
  // The images held out are labeled ones all the same.
  expect(alone.value.heldOutCurve.length).toBeGreaterThan(0);
  expect(alone.value.images).toBe(32 * alone.value.steps);
  expect(alone.value.model?.sha256).not.toBe(state.iterations[1]?.student?.result.model?.sha256);
  const tuned = await run({ ...tuning, spec: { $case: 'train', value: { ...tuning.spec.value, begin: alone.value.model } } });
  expect(tuned.$case === 'train' ? [tuned.value.begunSha256, tuned.value.images] : []).toEqual([alone.value.model?.sha256, tuned.$case === 'train' ? 8 * tuned.value.steps : 0]);
});

test.each([
  ['a size that the model cannot take', 'image: { height: 16, width: 20 }', 'image: { height: 16, width: 18 }', /patches of 4 do not divide images of 16x18/],
  ['a size below the data\'s', 'image: { height: 16, width: 20 }', 'image: { height: 8, width: 12 }', /is smaller than the data's 12x12/],
  ['a model that is made for one size', 'model: vit-tiny, patch: 4, width: 12, depth: 2, heads: 3, dropout: 0.1', 'model: cnn', /a trained cnn.*hidden\/kernel/],
  ['too few images to hold any out', 'holdout: 0.2', 'holdout: 0.05', /nothing would be held out/],
])('refused on submission: %s', async (_, from, to, reason) => {
  const error = await prepareSubmission(store, recipeText.replace(from, to)).then(() => undefined, (thrown: unknown) => thrown as AlumnusError);
  expect(error?.code).toBe('RECIPE_INVALID');
  expect(error?.message).toMatch(reason);
});
