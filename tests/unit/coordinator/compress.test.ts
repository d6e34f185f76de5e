/** What is measured, what must be told of it, and which model is chosen. Shares and sizes are worked by hand beside each case. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { accuracyKept, compressionWarnings, chosenOf, keptOf, modelsToMeasure, smallestWithin, teacherErrors, type Form } from '../../../coordinator/run/compress.ts';
import { decide, openTasks, stateFromJson, stateToJson, type RunState } from '../../../coordinator/run/index.ts';
import { runView } from '../../../coordinator/api/views.ts';
import { schemaVersionOf } from '../../../coordinator/journal/index.ts';
import type { Event } from '../../../proto/gen/alumnus/v1/events.ts';
import type { MeasureResult, Task } from '../../../proto/gen/alumnus/v1/task.ts';
import { measuredOf } from '../../../proto/subjects.ts';
import type { RecipeInput } from '../../../recipe/index.ts';
import { Scene } from './scene.ts';
import { answer, makeData, makeRecipe, type AnswerWishes } from './work.ts';

const form = (name: string, weights: string, bytes: number, right: number, total = 100): Form => ({ name, weights, bytes, validation: { wrong: total - right, total } });
const teacher = { wrong: 10, total: 100 };

describe('the rule', () => {
  test('the smallest that keeps enough, whatever its order', () => {
    // The teacher has 90 right: 0.9 of that are 81.
    const forms = [form('student', 'float32', 4000, 95), form('student', 'int8', 1000, 82), form('small', 'float32', 900, 81), form('small', 'int8', 300, 80)];
    for (const order of [forms, forms.toReversed()]) expect(smallestWithin(order, teacher, 0.9)).toMatchObject({ name: 'small', weights: 'float32' });
    expect(smallestWithin(forms, teacher, 80 / 90)).toMatchObject({ name: 'small', weights: 'int8' });
    expect(smallestWithin(forms, teacher, 1)).toMatchObject({ name: 'student', weights: 'float32' });
  });

  test('none where none keeps enough; of equal bytes the better, then the earlier', () => {
    expect(smallestWithin([form('small', 'int8', 300, 89)], teacher, 1)).toBeUndefined();
    expect(smallestWithin([], teacher, 0.1)).toBeUndefined();
    expect(smallestWithin([form('a', 'int8', 300, 90), form('b', 'int8', 300, 91), form('c', 'int8', 300, 91)], teacher, 1)).toMatchObject({ name: 'b' });
  });

  test('a share that is reached exactly is reached: 98 of 100 keep 0.98, 49 of 50, too', () => {
    expect(accuracyKept({ wrong: 2, total: 100 }, { wrong: 0, total: 100 })).toBe(0.98);
    expect(smallestWithin([form('a', 'int8', 300, 98)], { wrong: 0, total: 100 }, 0.98)).toMatchObject({ name: 'a' });
    expect(smallestWithin([form('a', 'int8', 300, 49)], { wrong: 50, total: 100 }, 0.98)).toMatchObject({ name: 'a' });
  });

  test('what is chosen keeps enough, and nothing smaller does', () => {
    fc.assert(fc.property(fc.array(fc.record({ bytes: fc.integer({ min: 1, max: 50 }), right: fc.nat(100) }), { maxLength: 20 }), fc.integer({ min: 1, max: 100 }), fc.double({ min: 0.01, max: 1, noNaN: true }), (drawn, right, kept) => {
      const forms = drawn.map((each, at) => form(String(at), 'int8', each.bytes, each.right));
      const of = { wrong: 100 - right, total: 100 };
      const chosen = smallestWithin(forms, of, kept);
      const within = forms.filter((each) => (100 - each.validation.wrong) / right >= kept);
      expect(chosen === undefined).toBe(within.length === 0);
      if (chosen === undefined) return;
      expect(within).toContain(chosen);
      expect(chosen.bytes).toBe(Math.min(...within.map(({ bytes }) => bytes)));
    }));
  });
});

test('accuracy kept is told of every split, and a warning where corrupted images lose a point more than clean ones', () => {
  const of = teacherErrors({
    evaluation: undefined, paired: [], calibration: undefined, confidence: [],
    validation: { correct: 960, total: 1000, classes: [], calibrationError: 0 }, test: { correct: 900, total: 1000, classes: [], calibrationError: 0 },
    corruption: { scores: [{ name: 'fog', frames: 0, validation: { wrong: 300, total: 1000 }, test: { wrong: 500, total: 1000 } }, { name: 'shear', frames: 0, validation: { wrong: 100, total: 1000 }, test: { wrong: 300, total: 1000 } }, { name: 'rotate_sequence', frames: 9, validation: { wrong: 1, total: 8 }, test: { wrong: 1, total: 8 } }] },
  })!;
  // Sequences are no accuracy.
  expect(of).toEqual({ validation: { wrong: 40, total: 1000 }, test: { wrong: 100, total: 1000 }, corruptedValidation: { wrong: 400, total: 2000 }, corruptedTest: { wrong: 800, total: 2000 } });
  const measured = (corruptedRight: number): MeasureResult => ({
    parameters: 1, multiplyAdds: 1, device: '', threads: 1, predictions: 1, latencyP50Ms: 1, latencyP95Ms: 1, memoryPeak: 1, memoryWithoutModel: 1,
    weights: [{ weights: 'int8', bytes: {}, validation: { wrong: 1000 - 912, total: 1000 }, test: { wrong: 1000 - 855, total: 1000 }, corruptedValidation: { wrong: 2000 - 1200, total: 2000 }, corruptedTest: { wrong: 2000 - corruptedRight, total: 2000 } }],
  });
  // 912 / 960 = 0.95; 855 / 900 = 0.95; 1200 / 1600 = 0.75; of 1,200 right on corrupted test images 1,128 are 0.94, and 1,129 are more.
  expect(keptOf(measured(1128), of, 0.95)).toEqual([{ weights: 'int8', validation: 0.95, test: 0.95, corruptedValidation: 0.75, corruptedTest: 0.94, within: true, fallsFaster: true }]);
  expect(keptOf(measured(1129), of, 0.951)[0]).toMatchObject({ within: false, fallsFaster: false });
  // Without corrupted test images validation's tell: 0.75 against 0.95.
  const [weights] = measured(1128).weights;
  expect(keptOf({ ...measured(1128), weights: [{ ...weights!, corruptedTest: undefined }] }, of, 0.95)[0]).toMatchObject({ fallsFaster: true });
  expect(keptOf({ ...measured(1128), weights: [{ ...weights!, corruptedTest: undefined, corruptedValidation: undefined }] }, of, 0.95)[0]).toMatchObject({ fallsFaster: false });
});

const wanted: Partial<RecipeInput> = { compress: { accuracy_kept: 0.9 }, comparisons: [{ name: 'small', model: { model: 'cnn', width: 8 } as never }, { name: 'alone', labels: 'none' }, { name: 'truth', labels: 'truth' }], control: true };

/** Plays a run to its end, the first open task each time. */
function played(recipe: Partial<RecipeInput>, wishes: (task: Task) => AnswerWishes = () => ({}), corrupted: string[] = []): { state: RunState; tasks: Task[]; events: Event[] } {
  let { state, events } = decide(undefined, { kind: 'submit', runId: 'run', recipe: makeRecipe(recipe), data: makeData({ truth: true, corrupted }) }, 0);
  const tasks: Task[] = [];
  for (let open = openTasks(state); open.length > 0; open = openTasks(state)) {
    const [task] = open as [Task];
    tasks.push(task);
    const next = decide(state, { kind: 'complete', task, workerId: 'w1', result: answer(task, wishes(task)) }, 0);
    events = [...events, ...next.events];
    ({ state } = next);
    expect(stateFromJson(stateToJson(state))).toEqual(state);
  }
  return { state, tasks, events };
}

describe('a run that compresses', () => {
  test('measures every model once, last of all; what learned from true labels is told and cannot be chosen', () => {
    const { state, tasks } = played(wanted);
    expect(state.phase).toBe('succeeded');
    const measured = tasks.filter((task) => measuredOf(task) !== undefined);
    expect(measured.map((task) => measuredOf(task))).toEqual(['teacher', 'student', 'control', 'comparison.small', 'comparison.alone', 'comparison.truth']);
    expect(tasks.slice(-6)).toEqual(measured);
    expect(modelsToMeasure(state).map(({ name, alone, eligible }) => [name, alone, eligible])).toEqual([['teacher', true, true], ['student', false, true], ['control', true, true], ['small', false, true], ['alone', true, true], ['truth', false, false]]);
    // All weights of all models are as good here: the fewest bytes are those of truth, which is not asked.
    const sized = played(wanted, (task) => ({ validationRight: 900, bytes: measuredOf(task) === 'comparison.truth' ? 100 : measuredOf(task) === 'comparison.small' ? 400 : 4000 }));
    expect(chosenOf(sized.state)).toMatchObject({ name: 'small', weights: 'int8', bytes: 100 });
  });

  test('weights of a kind that keep too little are passed over for larger ones', () => {
    // Of 1,000 the teacher has 900 right, so that 0.9 of it is 810: 809 are one too few.
    const choice = (lost: number) => chosenOf(played(wanted, () => ({ validationRight: 900, wrongBy: { int8: lost } })).state);
    expect(choice(90)).toMatchObject({ weights: 'int8', bytes: 1000, validation: { wrong: 190 } });
    expect(choice(91)).toMatchObject({ weights: 'float16', bytes: 2000, validation: { wrong: 100 } });
  });

  test('leaves every other task, and what is decided, as they are without', () => {
    const { compress: _, ...without } = wanted;
    const [withIt, bare] = [played(wanted), played(without)];
    expect(withIt.tasks.filter((task) => measuredOf(task) === undefined)).toEqual(bare.tasks);
    expect(withIt.state.best).toEqual(bare.state.best);
    expect(bare.state.measurements.isEmpty()).toBe(true);
    expect(schemaVersionOf(withIt.events)).toBe(4);
    const measured = withIt.events.filter(({ fact }) => fact?.$case === 'taskCompleted' && fact.value.result?.result?.$case === 'measure');
    expect(schemaVersionOf(measured)).toBe(4);
    expect(schemaVersionOf(played({}).events)).toBe(1);
  });

  test('test and corrupted images, times and memory choose nothing', () => {
    const choices = [0, 1000].map((any) => {
      const { state } = played(wanted, (task) => ({ validationRight: 850 + (measuredOf(task) ?? '').length, testRight: any, corruptedTestWrong: any, corruptedWrong: any }), ['fog']);
      return chosenOf(state);
    });
    expect(choices[0]).toBeDefined();
    expect(choices[0]).toEqual(choices[1]);
  });

  test('the corrupted images are measured without sequences, and a choice that generalizes worse is told', () => {
    const of = (corruptedTestWrong: number): RunState => played(wanted, (task) => ({ validationRight: 900, testRight: 900, corruptedTestWrong: measuredOf(task) === undefined ? 200 : corruptedTestWrong }), ['fog', 'rotate_sequence']).state;
    const task = played(wanted, () => ({}), ['fog', 'rotate_sequence']).tasks.find((each) => each.spec?.$case === 'measure')!;
    expect(task.spec?.$case === 'measure' && task.spec.value.corrupted?.parts.map(({ name }) => name)).toEqual(['fog']);
    // Three kinds of weights; validation, test, and both of fog: 1,000 images each.
    expect(task.work).toBe(3 * 4 * 1000);
    expect(compressionWarnings(of(200))).toEqual([]);
    // 780 of 800 are 97.5 %.
    expect(compressionWarnings(of(220))).toEqual(['compression costs generalization: teacher in int8, which was chosen, keeps 100.0 % of its teacher\'s accuracy on clean test images and only 97.5 % on corrupted ones']);
  });

  test('a choice that there is not is told', () => {
    const { state } = played({ compress: { accuracy_kept: 1, weights: ['int8'] } }, (task) => (measuredOf(task) === undefined ? { validationRight: 900 } : { validationRight: 890 }));
    expect(chosenOf(state)).toBeUndefined();
    expect(compressionWarnings(state)[0]).toContain('no model keeps 100.0 % of its teacher\'s accuracy');
  });

  test('of models that are fine-tuned those are measured that are gated', () => {
    for (const teaches of [true, false]) {
      const { state, tasks } = played({ ...wanted, training: { fine_tune: { steps: 60, batch_labeled: 8, teaches } } });
      const models = tasks.flatMap((task) => (task.spec?.$case === 'measure' ? [task.spec.value.model?.sha256] : []));
      const small = state.comparisons.get('comparison.small');
      expect(models).toContain((teaches ? small?.fineTuned : small?.trained)?.result.model?.sha256);
      expect(models).toContain((teaches ? state.iterations[1]?.fineTuned : state.iterations[1]?.student)?.result.model?.sha256);
      expect(models).not.toContain((teaches ? small?.trained : small?.fineTuned)?.result.model?.sha256);
    }
  });

  test('a result that leaves out what was asked is refused', () => {
    let { state } = decide(undefined, { kind: 'submit', runId: 'run', recipe: makeRecipe({ compress: {} }), data: makeData({ corrupted: ['fog'] }) }, 0);
    let task: Task | undefined;
    while ((task = openTasks(state).find((each) => each.spec?.$case === 'measure')) === undefined) ({ state } = decide(state, { kind: 'complete', task: openTasks(state)[0]!, workerId: 'w1', result: answer(openTasks(state)[0]!) }, 0));
    const measured = task;
    const good = answer(measured);
    const told = (change: (value: MeasureResult) => MeasureResult) => () => {
      if (good.result?.$case !== 'measure') throw new Error('it is a measurement');
      return decide(state, { kind: 'complete', task: measured, workerId: 'w1', result: { ...good, result: { ...good.result, value: change(good.result.value) } } }, 0);
    };
    const each = (change: Partial<MeasureResult['weights'][number]>) => told((value) => ({ ...value, weights: value.weights.map((weights) => ({ ...weights, ...change })) }));
    expect(told((value) => ({ ...value, weights: value.weights.slice(1) }))).toThrow('the result is of weights in float16, int8, and float32, float16, int8 were asked for');
    expect(each({ bytes: { savedmodel: 5 } })).toThrow('how many bytes');
    expect(each({ validation: { wrong: 1, total: 999 } })).toThrow('does not count all predictions');
    expect(each({ test: undefined })).toThrow('does not count all predictions');
    expect(each({ corruptedValidation: undefined })).toThrow('corrupted images');
    expect(told((value) => value)().state.measurements.has('teacher')).toBe(true);
  });
});

test('time left has the measurements, each as long as an evaluation for each way to store weights', async () => {
  const scene = new Scene();
  const leader = await scene.lead(600_000);
  await leader.command('run', { kind: 'submit', runId: 'run', recipe: makeRecipe({ rounds: 1, control: false, compress: {} }), data: makeData() });
  const secondsLeft = (): number => runView(leader, leader.run('run'), 'file:///store').secondsLeft;
  const open = (): Task => leader.scheduler.tasksOf('run')[0]!.task;
  const complete = (task: Task): Promise<unknown> => leader.command('run', { kind: 'complete', task, workerId: 'w1', result: answer(task, { deviceMs: 1000 }) });
  while (open().spec?.$case !== 'measure') await complete(open());
  // The teacher and the student, in float32, float16 and int8, a second each.
  expect(secondsLeft()).toBe(6);
  scene.register(leader, 1, 'w1');
  const [lease] = leader.grant('w1', 1, []);
  leader.scheduler.renew('w1', [{ leaseId: lease?.leaseId, taskId: lease?.task?.taskId ?? '', progress: { done: 500, total: 2000, unit: 'images', rate: 1, loss: 0 }, checkpoint: undefined }], 0);
  expect(secondsLeft()).toBe(5.25);
  await complete(open());
  expect(secondsLeft()).toBe(3);
});
