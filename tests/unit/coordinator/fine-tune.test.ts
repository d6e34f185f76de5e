/** What a run does of fine-tuning and early stop: its tasks, who is compared with whom, who teaches, and what changes nothing. */
import { describe, expect, test } from 'vitest';
import { decide, openTasks, stateFromJson, stateToJson, type RunState } from '../../../coordinator/run/index.ts';
import type { EvaluateSpec, Task, TrainSpec } from '../../../proto/gen/alumnus/v1/task.ts';
import type { RecipeInput } from '../../../recipe/index.ts';
import { runView } from '../../../coordinator/api/views.ts';
import { Fold } from '../../../coordinator/fold.ts';
import { Leader } from '../../../coordinator/leader.ts';
import { MemoryStore } from '../../simulation/store.ts';
import { MemoryDisk } from './memory-journal.ts';
import { answer, makeData, makeRecipe, type AnswerWishes } from './work.ts';

const tuned = { steps: 60, batch_labeled: 8, freeze: 0.5 };

/** A run of one round with a control that nothing disturbs: its end, and every task that was open, in that order. */
function played(training: RecipeInput['training'], wishes: (task: Task) => AnswerWishes = () => ({}), recipe: Partial<RecipeInput> = {}): { state: RunState; tasks: Task[] } {
  let state: RunState = decide(undefined, { kind: 'submit', runId: 'run', recipe: makeRecipe({ control: true, training, ...recipe }), data: makeData() }, 0).state;
  const tasks = new Map<string, Task>();
  for (let open = openTasks(state); open.length > 0; open = openTasks(state)) {
    for (const task of open) if (!tasks.has(task.taskId)) tasks.set(task.taskId, task);
    ({ state } = decide(state, { kind: 'complete', task: open[0]!, workerId: 'w1', result: answer(open[0]!, wishes(open[0]!)) }, 0));
    // A snapshot at any time gives the same state.
    expect(stateFromJson(stateToJson(state))).toEqual(state);
  }
  return { state, tasks: [...tasks.values()] };
}
const nameOf = (task: Task): string => task.taskId.replace(/\.t0-[0-9a-f]*$/, '');
const found = (tasks: readonly Task[], name: string): Task => tasks.find((task) => nameOf(task) === name)!;
const trainOf = (task: Task): TrainSpec => (task.spec as { value: TrainSpec }).value;
const evaluateOf = (task: Task): EvaluateSpec => (task.spec as { value: EvaluateSpec }).value;
const jsonOf = (task: Task): Record<string, unknown> => JSON.parse(trainOf(task).trainingJson) as Record<string, unknown>;

test('a recipe without either has the very tasks that it had before there were any', () => {
  // The ids of the release before, of the same recipe and data (commit 534b83c).
  expect(played(undefined).tasks.map((task) => task.taskId)).toEqual([
    'i0.train.student.t0-5038c5d1600e7cb6', 'i1.train.control.t0-a32ba27b32b1d866', 'i0.evaluate.student.t0-c9d30e8f2b2fd895',
    'i1.label.shard-00000.t0-1039cfa82a052cb2', 'i1.label.shard-00001.t0-507feb98c8c5a2ae', 'i1.label.shard-00002.t0-9f4bfc792c37a219',
    'i1.select.selection.t0-9d5d6f8710b6d5b5', 'i1.train.student.t0-bcbe1468b9dd0ac3', 'i1.evaluate.student.t0-76638fc6120fddb4', 'i1.evaluate.control.t0-f51e2d4cfa9a3d64',
  ]);
});

describe('fine-tuning', () => {
  test('follows each training, begins with its model, and is of labeled images alone, without noise', () => {
    const { tasks } = played({ fine_tune: { ...tuned, image: { height: 32, width: 40 } }, optimizer: { learning_rate: 0.02 }, schedule: { name: 'exponential', warmup_steps: 5 }, checkpoint_steps: 20, label_smoothing: 0.1 });
    expect(tasks.filter((task) => task.spec?.$case !== 'label').map(nameOf)).toEqual([
      'i0.train.student', 'i1.train.control', 'i0.train.student.fine-tuned', 'i0.evaluate.student', 'i0.evaluate.student.fine-tuned', 'i1.select.selection',
      'i1.train.student', 'i1.train.student.fine-tuned', 'i1.evaluate.student', 'i1.evaluate.student.fine-tuned', 'i1.train.control.fine-tuned', 'i1.evaluate.control', 'i1.evaluate.control.fine-tuned',
    ]);
    for (const name of ['i0.train.student', 'i1.train.student', 'i1.train.control']) {
      const [before, after] = [found(tasks, name), found(tasks, `${name}.fine-tuned`)];
      const trained = answer(before).result;
      expect(trainOf(after).begin).toEqual(trained?.$case === 'train' ? trained.value.model : undefined);
      expect([trainOf(after).unlabeled, trainOf(after).selection, trainOf(after).pseudoLabels]).toEqual([undefined, undefined, []]);
      expect(trainOf(after).image).toEqual({ height: 32, width: 40, channels: 1 });
      expect(trainOf(before).begin).toBeUndefined();
      expect(trainOf(before).image).toEqual({ height: 28, width: 28, channels: 1 });
      expect([after.work, after.checkpointSteps]).toEqual([60, 20]);
      expect(after.seed).not.toBe(before.seed);
      expect(jsonOf(after)).toEqual({
        optimizer: { name: 'adamw', learning_rate: 0.002, weight_decay: 0.0001, momentum: 0.9 }, schedule: { name: 'cosine', warmup_steps: 0 }, ema_decay: 0.995, label_smoothing: 0.1,
        steps: 60, batch_labeled: 8, batch_unlabeled: 0, noise: { input: { name: 'none' } }, freeze: 0.5,
      });
    }
  });

  test('changes no task that is there without it, where the model before it teaches', () => {
    const [without, with_] = [played(undefined).tasks, played({ fine_tune: tuned }).tasks].map((tasks) => new Set(tasks.map((task) => task.taskId)));
    expect([...without!].filter((id) => !with_!.has(id))).toEqual([]);
    expect(with_!.size).toBe(without!.size + 6);
  });

  test.each([false, true])('one of an iteration\'s two models is paired with the teacher, gated, promoted and labels; teaches: %s', (teaches) => {
    // Of the two the one that doesn't teach has the better test and validation: only the other decides.
    const wishes = (task: Task): AnswerWishes => (task.subject === 'student' || task.subject === 'student.fine-tuned'
      ? { studentOnlyRight: 30, teacherOnlyRight: 10, validationRight: (task.subject === 'student.fine-tuned') === teaches ? 850 : 900, parameters: task.subject === 'student.fine-tuned' ? 99_999 : 1000 } : {});
    const { state, tasks } = played({ fine_tune: { ...tuned, teaches } }, wishes);
    const candidate = teaches ? 'student.fine-tuned' : 'student';
    const modelOf = (iteration: number): string | undefined => { const each = state.iterations[iteration]!; return (teaches ? each.fineTuned : each.student)?.result.model?.sha256; };
    expect(state.promoted.map((each) => [each.iteration, each.model.sha256, each.parameters])).toEqual([[0, modelOf(0), 1000], [1, modelOf(1), 1000]]);
    expect(state.iterations[1]?.teacher?.sha256).toBe(modelOf(0));
    expect(state.best?.model.sha256).toBe(modelOf(0));
    const labels = tasks.filter((task) => task.spec?.$case === 'label');
    expect(new Set(labels.map((task) => (task.spec?.$case === 'label' ? task.spec.value.teacher?.sha256 : ''))).size).toBe(1);
    for (const task of tasks) {
      if (task.spec?.$case !== 'evaluate') continue;
      expect([nameOf(task), evaluateOf(task).baseline !== undefined]).toEqual([nameOf(task), nameOf(task) === `i1.evaluate.${candidate}`]);
    }
    expect(state.phase).toBe('succeeded');
  });

  test('is taken only from who did it: a worker of an earlier release trains from scratch, and says no model that it began with', () => {
    let { state } = decide(undefined, { kind: 'submit', runId: 'run', recipe: makeRecipe({ training: { fine_tune: tuned } }), data: makeData() }, 0);
    const [training] = openTasks(state);
    ({ state } = decide(state, { kind: 'complete', task: training!, workerId: 'w1', result: answer(training!) }, 0));
    const [task] = openTasks(state);
    const { result } = answer(task!);
    if (result?.$case !== 'train') throw new Error('it is a training');
    const complete = (begunSha256: string | undefined): unknown => decide(state, { kind: 'complete', task: task!, workerId: 'w1', result: { deviceMs: 1, result: { $case: 'train', value: { ...result.value, begunSha256 } } } }, 0);
    expect(() => complete(undefined)).toThrow('the worker is of an earlier release');
    expect(() => complete('0'.repeat(64))).toThrow('the worker is of an earlier release');
    expect(complete(trainOf(task!).begin?.sha256)).toBeDefined();
  });

  test('a retry begins with the model of its own try', () => {
    const promotion = { on_refusal: 'retry', tries_max: 2 } as const;
    const { state, tasks } = played({ fine_tune: { ...tuned, teaches: true } }, (task) => ({ salt: task.taskId, studentOnlyRight: 2, teacherOnlyRight: 90 }), { promotion, control: false });
    const trainings = tasks.filter((task) => task.spec?.$case === 'train' && task.iteration === 1);
    expect(trainings.map((task) => [task.subject, task.try])).toEqual([['student', 0], ['student.fine-tuned', 0], ['student', 1], ['student.fine-tuned', 1]]);
    expect(trainOf(trainings[3]!).begin?.sha256).toBe(state.iterations[1]?.student?.result.model?.sha256);
    expect(trainOf(trainings[3]!).begin?.sha256).not.toBe(trainOf(trainings[1]!).begin?.sha256);
  });
});

test('what is shown tells both models with what they take, how far the stage is, and what is left of trainings and evaluations', async () => {
  const [journal, store] = [new MemoryDisk().open(), new MemoryStore()];
  const leader = new Leader({ journal, fold: await Fold.load(journal, store), store, term: await journal.begin(), leaseMs: 600_000, clock: { now: () => 0, sleep: () => new Promise<void>(() => undefined) } });
  await leader.command('run', { kind: 'submit', runId: 'run', recipe: makeRecipe({ training: { fine_tune: { ...tuned, image: { height: 56, width: 56 } } } }), data: makeData() });
  const complete = async (subject: string): Promise<void> => {
    // As the scheduler has it: a task that nobody may be granted is none.
    const { task } = leader.scheduler.tasksOf('run').find((each) => each.task.subject === subject)!;
    await leader.command('run', { kind: 'complete', task, workerId: 'w1', result: answer(task, { deviceMs: 1000 }) });
  };
  const shown = (): unknown[] => { const view = runView(leader, leader.run('run'), 'file:///store'); return [view.stageDone, view.stageTotal, Math.round(view.secondsLeft * 1e6) / 1e6, view.fineTunedTeaches]; };
  expect(shown()).toEqual([0, 2, -1, false]);
  await complete('student');
  // 32,000 images took a second: 2 ms a step of 64. Left: 2,500 of the student, and two fine-tunings of 60 steps, each 8 x 4 / 128 of a student's by images and pixels: 15.
  expect(shown()).toEqual([1, 2, 5.06, false]);
  await complete('student.fine-tuned');
  expect(shown()).toEqual([0, 2, 5.03, false]);
  await complete('student.fine-tuned');
  // An evaluation took a second; there are three more.
  expect(shown()).toEqual([1, 2, 8.03, false]);
  leader.scheduler.register({ workerId: 'w1', host: 'h', processId: 1, device: 'd', slots: 1, version: 'v' }, [], 0);
  const [lease] = leader.grant('w1', 1, []);
  leader.scheduler.renew('w1', [{ leaseId: lease?.leaseId, taskId: lease?.task?.taskId ?? '', progress: { done: 500, total: 2000, unit: 'images', rate: 1, loss: 0 }, checkpoint: undefined }], 0);
  expect(shown()).toEqual([1, 2, 7.78, false]);
  await complete('student');
  expect(shown()[2]).toBe(7.03);
  const [first] = runView(leader, leader.run('run'), 'file:///store').iterations;
  expect([first?.model?.image, first?.fineTuned?.image]).toEqual([{ height: 28, width: 28, channels: 1 }, { height: 56, width: 56, channels: 1 }]);
  expect([first?.model?.steps, first?.fineTuned?.steps, first?.fineTuned?.validation?.total, first?.decision]).toEqual([1000, 60, 1000, 'promoted']);
});

describe('early stop', () => {
  const early_stop = { every_steps: 50, patience: 2, min_delta: 0.01, holdout: 0.2 };

  test('reaches every training of a run, with one seed for the images held out', () => {
    const trainings = played({ early_stop, fine_tune: tuned }).tasks.filter((task) => task.spec?.$case === 'train');
    expect(trainings).toHaveLength(6);
    // int.from_bytes(hashlib.sha256(b'1/hold-out').digest()[:4], 'big') >> 1, for the recipe's seed of 1
    expect(trainings.map((task) => jsonOf(task)['early_stop'])).toEqual(trainings.map(() => ({ ...early_stop, seed: 2039759994 })));
  });

  test('an epoch is of the images that are trained on', () => {
    const { tasks } = played({ early_stop, schedule: { name: 'exponential', decay_epochs: 2.5 }, teacher: { batch_labeled: 6 } });
    // 30 labeled images (work.ts), a fifth held out: 2.5 x 24 / 6.
    expect(jsonOf(found(tasks, 'i0.train.student'))['schedule']).toEqual({ name: 'exponential', warmup_steps: 0, decay_steps: 10 });
  });

  test('is taken only from who measured', () => {
    const { state } = decide(undefined, { kind: 'submit', runId: 'run', recipe: makeRecipe({ training: { early_stop } }), data: makeData() }, 0);
    const [task] = openTasks(state);
    const { result } = answer(task!);
    if (result?.$case !== 'train') throw new Error('it is a training');
    expect(() => decide(state, { kind: 'complete', task: task!, workerId: 'w1', result: { deviceMs: 1, result: { $case: 'train', value: { ...result.value, bestStep: undefined } } } }, 0)).toThrow('the worker is of an earlier release');
  });
});
