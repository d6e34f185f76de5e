/** What a run does of comparisons: when each is open, what it is given, what waits for it, and that it decides nothing. */
import { describe, expect, test } from 'vitest';
import { runView } from '../../../coordinator/api/views.ts';
import { Fold } from '../../../coordinator/fold.ts';
import { Leader } from '../../../coordinator/leader.ts';
import { decide, openTasks, stateFromJson, stateToJson, type RunState } from '../../../coordinator/run/index.ts';
import type { EvaluateSpec, Task, TrainSpec } from '../../../proto/gen/alumnus/v1/task.ts';
import { besideOf, isBeside, isFineTuned, partOf, partSubject } from '../../../proto/subjects.ts';
import { Stage } from '../../../proto/gen/alumnus/v1/task.ts';
import { recipeSchema, type RecipeInput } from '../../../recipe/index.ts';
import { MemoryStore } from '../../simulation/store.ts';
import { MemoryDisk } from './memory-journal.ts';
import { answer, makeData, makeRecipe, type AnswerWishes } from './work.ts';

const comparisons: NonNullable<RecipeInput['comparisons']> = [
  { name: 'alone', labels: 'none', model: { model: 'cnn', width: 8 } as never },
  { name: 'soft', kind: 'soft', noise: { input: { name: 'none' } }, steps: 70 },
  { name: 'truth', labels: 'truth' },
  { name: 'noise-20', labels: 'truth', label_noise: 0.2 },
];
const wanted: Partial<RecipeInput> = { control: true, labels: { kind: 'hard' }, comparisons };

const nameOf = (task: Task): string => task.taskId.replace(/\.t\d+-[0-9a-f]*$/, '');
const besides = (state: RunState): string[] => openTasks(state).filter(isBeside).map(nameOf);
const trainOf = (task: Task): TrainSpec => (task.spec as { value: TrainSpec }).value;
const evaluateOf = (task: Task): EvaluateSpec => (task.spec as { value: EvaluateSpec }).value;

/** Plays a run to its end, the first open task each time. */
function played(recipe: Partial<RecipeInput>, wishes: (task: Task) => AnswerWishes = () => ({})): { state: RunState; tasks: Map<string, Task>; order: string[] } {
  let state: RunState = decide(undefined, { kind: 'submit', runId: 'run', recipe: makeRecipe(recipe), data: makeData({ truth: true }) }, 0).state;
  const tasks = new Map<string, Task>();
  const order: string[] = [];
  for (let open = openTasks(state); open.length > 0; open = openTasks(state)) {
    for (const task of open) tasks.set(nameOf(task), task);
    const [task] = open as [Task];
    order.push(nameOf(task));
    ({ state } = decide(state, { kind: 'complete', task, workerId: 'w1', result: answer(task, wishes(task)) }, 0));
    expect(stateFromJson(stateToJson(state))).toEqual(state);
  }
  return { state, tasks, order };
}

describe('comparisons', () => {
  test('those of no labels are open from the start, the others once the last selection is there; they are evaluated after the last gate', () => {
    let state: RunState = decide(undefined, { kind: 'submit', runId: 'run', recipe: makeRecipe({ ...wanted, rounds: 2 }), data: makeData({ truth: true }) }, 0).state;
    const seen = new Map<string, string[]>();
    for (let open = openTasks(state); open.length > 0; open = openTasks(state)) {
      seen.set(`${state.iteration}/${state.stage}`, besides(state));
      // What is of a stage first: nothing of it waits for what is beside it.
      const task = open.find((each) => !isBeside(each)) ?? open[0]!;
      ({ state } = decide(state, { kind: 'complete', task, workerId: 'w1', result: answer(task) }, 0));
    }
    const early = ['i2.train.control', 'i2.train.comparison.alone'];
    for (const place of [`0/${Stage.TRAIN}`, `1/${Stage.LABEL}`, `1/${Stage.EVALUATE}`, `2/${Stage.LABEL}`, `2/${Stage.SELECT}`]) expect(seen.get(place)).toEqual(early);
    for (const place of [`2/${Stage.TRAIN}`, `2/${Stage.EVALUATE}`]) expect(seen.get(place)).toEqual([...early, 'i2.train.comparison.soft', 'i2.train.comparison.truth', 'i2.train.comparison.noise-20']);
    expect(seen.get(`2/${Stage.PROMOTE}`)).toEqual(['i2.evaluate.comparison.noise-20']);
    expect(state.phase).toBe('succeeded');
    expect([...state.comparisons.keys()].sort()).toEqual(['comparison.alone', 'comparison.noise-20', 'comparison.soft', 'comparison.truth']);
    expect(state.comparisons.every((each) => each.evaluation?.validation?.total === 1000)).toBe(true);
  });

  test('each is given the student\'s seed, selection and training, but for what it changes', () => {
    const { tasks } = played(wanted);
    const student = trainOf(tasks.get('i1.train.student')!);
    const json = JSON.parse(student.trainingJson) as Record<string, unknown>;
    const of = (name: string): { task: Task; spec: TrainSpec; json: Record<string, unknown> } => {
      const task = tasks.get(`i1.train.comparison.${name}`)!;
      return { task, spec: trainOf(task), json: JSON.parse(trainOf(task).trainingJson) as Record<string, unknown> };
    };
    for (const name of ['alone', 'soft', 'truth', 'noise-20']) expect(of(name).task.seed).toBe(tasks.get('i1.train.student')!.seed);
    expect(tasks.get('i1.train.control')!.seed).not.toBe(tasks.get('i1.train.student')!.seed);

    expect(of('soft').spec).toEqual({ ...student, labelKind: 'soft', trainingJson: of('soft').spec.trainingJson });
    expect(of('soft').json).toEqual({ ...json, noise: { input: { name: 'none' } }, steps: 70 });
    expect(of('soft').task.work).toBe(70);

    expect(of('truth').spec).toEqual({ ...student, truth: makeData({ truth: true }).truth });
    expect(of('noise-20').spec).toEqual({ ...student, truth: makeData({ truth: true }).truth, labelNoise: 0.2 });

    const control = trainOf(tasks.get('i1.train.control')!);
    expect(of('alone').spec).toEqual({ ...control, model: { name: 'cnn', options: { ...control.model!.options, width: 8 } } });
    expect([of('alone').spec.unlabeled, of('alone').spec.selection, of('alone').spec.pseudoLabels]).toEqual([undefined, undefined, []]);
    // True labels are named nowhere else.
    for (const [name, task] of tasks) if (task.spec?.$case === 'train') expect(trainOf(task).truth !== undefined).toBe(name.endsWith('.truth') || name.endsWith('.noise-20'));
  });

  test('each is paired with the last model that was gated; the control with none', () => {
    const { tasks, state } = played(wanted);
    const student = state.iterations[1]?.evaluation?.evaluation;
    for (const name of ['alone', 'soft', 'truth', 'noise-20']) expect(evaluateOf(tasks.get(`i1.evaluate.comparison.${name}`)!).baseline).toEqual(student);
    expect(evaluateOf(tasks.get('i1.evaluate.control')!).baseline).toBeUndefined();
    const tuned = played({ ...wanted, training: { fine_tune: { steps: 60, batch_labeled: 8, teaches: true } } });
    expect(evaluateOf(tuned.tasks.get('i1.evaluate.comparison.soft.fine-tuned')!).baseline).toEqual(tuned.state.iterations[1]?.fineTunedEvaluation?.evaluation);
    expect(tuned.state.comparisons.every((each) => each.fineTunedEvaluation !== undefined)).toBe(true);
  });

  test('nothing that they measure changes what the run decides', () => {
    const [low, high] = [0, 1000].map((right) => played({ ...wanted, rounds: 2 }, (task) => (isBeside(task) ? { validationRight: right, testRight: right, parameters: 1 } : {})));
    const decided = ({ state }: { state: RunState }) => [state.best, state.promoted.map((each) => each.model), state.iterations.map((each) => [each.decision, each.gate])];
    expect(decided(low!)).toEqual(decided(high!));
    const { tasks: without, state } = played({ labels: { kind: 'hard' }, rounds: 2 });
    expect(state.best).toEqual(low!.state.best);
    for (const [name, task] of without) expect(low!.tasks.get(name)).toEqual(task);
  });

  test('one that keeps failing is given up alone; a person who resumes asks for another go', () => {
    let state: RunState = decide(undefined, { kind: 'submit', runId: 'run', recipe: makeRecipe({ ...wanted, tolerance: { attempts: 1 } }), data: makeData({ truth: true }) }, 0).state;
    const alone = openTasks(state).find((task) => task.subject === 'comparison.alone')!;
    const fail = (task: Task) => ({ kind: 'fail' as const, task, workerId: 'w1', code: 'ENGINE_CRASHED', message: 'died', counts: true, fleet: 1, heldMs: 0 });
    ({ state } = decide(state, fail(alone), 0));
    expect(state.phase).toBe('running');
    expect(state.comparisons.get('comparison.alone')?.givenUp).toContain('ENGINE_CRASHED');
    expect(besides(state)).toEqual(['i1.train.control']);
    expect(() => decide(state, { kind: 'complete', task: alone, workerId: 'w1', result: answer(alone) }, 0)).toThrow('closed');
    ({ state } = decide(state, { kind: 'pause', reason: 'by hand' }, 0));
    ({ state } = decide(state, { kind: 'resume' }, 0));
    expect(besides(state)).toEqual(['i1.train.control', 'i1.train.comparison.alone']);
  });

  test('a run that stops before its last iteration leaves out those that would learn from its labels', () => {
    const { state, order } = played({ ...wanted, rounds: 2, promotion: { on_refusal: 'stop' } }, (task) => (task.iteration === 1 && task.subject === 'student' ? { studentOnlyRight: 0, teacherOnlyRight: 300 } : {}));
    expect([state.phase, state.iteration, state.best?.iteration]).toEqual(['succeeded', 1, 0]);
    expect(order.filter((name) => name.includes('comparison'))).toEqual(['i2.train.comparison.alone', 'i2.evaluate.comparison.alone']);
  });

  test('a student that is tried again leaves what is beside it as it is', () => {
    const { state, order } = played({ ...wanted, promotion: { on_refusal: 'retry', tries_max: 2 } }, (task) => (task.subject === 'student' && task.iteration === 1 ? { studentOnlyRight: 0, teacherOnlyRight: 300 } : {}));
    expect([state.try, state.phase]).toEqual([1, 'succeeded']);
    expect(order.filter((name) => name === 'i1.train.comparison.soft')).toHaveLength(1);
    expect(order.filter((name) => name === 'i1.evaluate.comparison.soft')).toHaveLength(1);
  });

  test('they are shared by several workers as any training is', () => {
    const { state, order } = played({ ...wanted, comparisons: comparisons.slice(1, 2), training: { replicas: 2, student: { steps: 100 }, teacher: { steps: 100 }, sharing: { local_steps: 50 } } });
    expect(state.phase).toBe('succeeded');
    expect(order.filter((name) => name.includes('soft'))).toEqual([
      'i1.train.comparison.soft.r0000.k0', 'i1.train.comparison.soft.r0000.k1', 'i1.train.comparison.soft.r0000.merge', 'i1.train.comparison.soft.r0001.k0', 'i1.train.comparison.soft.r0001.k1', 'i1.train.comparison.soft.r0001.merge', 'i1.evaluate.comparison.soft',
    ]);
    // 70 steps by its own wish: the second round has what is left.
    expect(state.comparisons.get('comparison.soft')?.trained?.result.steps).toBe(70);
  });

  test('a worker of an earlier release, which knows no true labels, is found out by its result', () => {
    let state: RunState = decide(undefined, { kind: 'submit', runId: 'run', recipe: makeRecipe({ comparisons: comparisons.slice(2, 3) }), data: makeData({ truth: true }) }, 0).state;
    let task: Task | undefined;
    while ((task = openTasks(state).find((each) => each.subject === 'comparison.truth')) === undefined) {
      const [open] = openTasks(state) as [Task];
      ({ state } = decide(state, { kind: 'complete', task: open, workerId: 'w1', result: answer(open) }, 0));
    }
    const result = answer(task);
    if (result.result?.$case !== 'train') throw new Error('it is a training');
    const old = { ...result, result: { ...result.result, value: { ...result.result.value, truthSha256: undefined } } };
    expect(() => decide(state, { kind: 'complete', task, workerId: 'w1', result: old }, 0)).toThrow('learned from the teacher\'s labels');
    expect(decide(state, { kind: 'complete', task, workerId: 'w1', result }, 0).state.comparisons.get('comparison.truth')?.trained).toBeDefined();
  });
});

test('of replicas, too, whoever learned from other labels is found out', () => {
  let state: RunState = decide(undefined, { kind: 'submit', runId: 'run', recipe: makeRecipe({ comparisons: comparisons.slice(2, 3), training: { replicas: 2, student: { steps: 100 }, teacher: { steps: 100 }, sharing: { local_steps: 50 } } }), data: makeData({ truth: true }) }, 0).state;
  let task: Task | undefined;
  while ((task = openTasks(state).find((each) => each.subject === 'comparison.truth.r0000.k0')) === undefined) {
    const [open] = openTasks(state) as [Task];
    ({ state } = decide(state, { kind: 'complete', task: open, workerId: 'w1', result: answer(open) }, 0));
  }
  const result = answer(task);
  if (result.result?.$case !== 'replica') throw new Error('it is a replica');
  const old = { ...result, result: { ...result.result, value: { ...result.result.value, truthSha256: undefined } } };
  expect(() => decide(state, { kind: 'complete', task, workerId: 'w1', result: old }, 0)).toThrow('learned from the teacher\'s labels');
  expect(decide(state, { kind: 'complete', task, workerId: 'w1', result }, 0).state.rounds.find(({ training }) => training.subject === 'comparison.truth')?.current?.results.size).toBe(1);
});

test('what is beside the stages is known by stage and subject', () => {
  const train = (subject: string): { stage: Stage; subject: string } => ({ stage: Stage.TRAIN, subject });
  expect(['control', 'control.r0001.k0', 'control.fine-tuned', 'comparison.t-4', 'comparison.t-4.fine-tuned', 'comparison.t-4.r0002.merge', 'student', 'student.fine-tuned', 'comparisons'].map((subject) => besideOf(train(subject))))
    .toEqual(['control', 'control', 'control', 'comparison.t-4', 'comparison.t-4', 'comparison.t-4', undefined, undefined, undefined]);
  expect(besideOf({ stage: Stage.LABEL, subject: 'comparison.t-4' })).toBeUndefined();
  expect(isFineTuned(train('comparison.t-4.fine-tuned'))).toBe(true);
  expect(partOf(train(partSubject({ training: 'comparison.t-4', round: 3, replica: 1 })))).toEqual({ training: 'comparison.t-4', round: 3, replica: 1 });
});

test('what each changes is told in words, with its own figures, where the recipe has none', async () => {
  const [journal, store] = [new MemoryDisk().open(), new MemoryStore()];
  const leader = new Leader({ journal, fold: await Fold.load(journal, store), store, term: await journal.begin(), leaseMs: 600_000, clock: { now: () => 0, sleep: () => new Promise<void>(() => undefined) } });
  const recipe = makeRecipe({ comparisons: [
    { name: 'alone', labels: 'none', model: { model: 'cnn', width: 8 } as never }, { name: 'few', labels: 'truth', label_noise: 0.005 }, { name: 'third', labels: 'truth', label_noise: 1 / 3 },
    { name: 'quiet', noise: { input: { name: 'none' } }, steps: 70 }, { name: 'mixed', noise: { input: { name: 'affine' }, mix: { mixup_alpha: 1 } } }, { name: 'again' }, { name: 'own', kind: 'soft', what: 'in its own words' },
  ] });
  await leader.command('run', { kind: 'submit', runId: 'run', recipe, data: makeData({ truth: true }) });
  expect(runView(leader, leader.run('run'), 'file:///store').comparisons.map(({ what }) => what)).toEqual([
    'cnn width=8, the labeled images alone', 'true labels, 0.5 % of them replaced', 'true labels, 33.3 % of them replaced', 'noise: input none, 70 steps', 'noise: input affine, mix', 'the last student again', 'in its own words',
  ]);
});

describe('a recipe', () => {
  const problems = (recipe: object): string[] => {
    const parsed = recipeSchema.safeParse({ name: 'digits', rounds: 1, data: { dataset: 'digits' }, models: { ladder: [{ model: 'cnn' }] }, ...recipe });
    return parsed.success ? [] : parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`);
  };
  test('names each comparison once, and asks for what can be', () => {
    expect(problems({ comparisons })).toEqual([]);
    expect(problems({ comparisons: [{ name: 'a' }, { name: 'a' }] })).toEqual(['comparisons.1.name: a is the name of an earlier one']);
    expect(problems({ comparisons: [{ name: 'control' }] })[0]).toContain('control: true');
    expect(problems({ comparisons: [{ name: 'a.b' }] })[0]).toContain('comparisons.0.name');
    expect(problems({ comparisons: [{ name: 'a', label_noise: 0.2 }] })).toEqual(['comparisons.0.label_noise: is drawn over true labels: write labels: truth, or leave it out']);
    expect(problems({ comparisons: [{ name: 'a', labels: 'none', kind: 'soft' }] })).toEqual(['comparisons.0.kind: is of pseudo-labels, and these are others']);
    expect(problems({ training: { schedule: { warmup_steps: 50 } }, comparisons: [{ name: 'a', steps: 50 }] })).toEqual(['comparisons.0.steps: must be more than training.schedule.warmup_steps, 50']);
    expect(problems({ rounds: 0, comparisons: [{ name: 'a' }] })[0]).toContain('there is none');
    expect(problems({ comparisons: [{ name: 'a', model: { model: 'cnn', widht: 3 } }] })[0]).toContain('comparisons.0.model.widht');
  });
});
