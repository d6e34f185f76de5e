/** What a run does of distillation: who is told of which teacher, what is labeled for it, what can't be done without, and what changes nothing. */
import { describe, expect, test } from 'vitest';
import { decide, openTasks, stateFromJson, stateToJson, type RunState } from '../../../coordinator/run/index.ts';
import type { Task, TrainSpec } from '../../../proto/gen/alumnus/v1/task.ts';
import type { RecipeInput } from '../../../recipe/index.ts';
import { answer, makeData, makeRecipe, type AnswerWishes } from './work.ts';

const stored = { distill: { temperature: 4 } } as const;
const online = { distill: { teacher: 'online', targets: 'hard' } } as const;
// What zod infers of a choice with options has no literal form (a model's name is no number), so it is read as it would be written.
const shrinking: Partial<RecipeInput> = { models: JSON.parse('{ "ladder": [{ "model": "cnn", "width": 32 }, { "model": "cnn", "width": 8 }] }') as RecipeInput['models'] };

const submitted = (training: RecipeInput['training'], recipe: Partial<RecipeInput> = {}): RunState =>
  decide(undefined, { kind: 'submit', runId: 'run', recipe: makeRecipe({ control: true, training, ...recipe }), data: makeData() }, 0).state;
const done = (state: RunState, task: Task, wishes: AnswerWishes = {}): RunState => decide(state, { kind: 'complete', task, workerId: 'w1', result: answer(task, wishes) }, 0).state;

/** A run that nothing disturbs: its end, and every task that was open, in that order. */
function played(training: RecipeInput['training'], recipe: Partial<RecipeInput> = {}): { state: RunState; tasks: Task[] } {
  let state = submitted(training, recipe);
  const tasks = new Map<string, Task>();
  for (let open = openTasks(state); open.length > 0; open = openTasks(state)) {
    for (const task of open) if (!tasks.has(task.taskId)) tasks.set(task.taskId, task);
    state = done(state, open[0]!);
    expect(stateFromJson(stateToJson(state))).toEqual(state);
  }
  return { state, tasks: [...tasks.values()] };
}
const nameOf = (task: Task): string => task.taskId.replace(/\.t0-[0-9a-f]*$/, '');
const found = (tasks: readonly Task[], name: string): Task => tasks.find((task) => nameOf(task) === name)!;
const trainOf = (task: Task): TrainSpec => (task.spec as { value: TrainSpec }).value;
const wishOf = (task: Task): unknown => (JSON.parse(trainOf(task).trainingJson) as { distill?: unknown }).distill;
const ofLabels = (tasks: readonly Task[]): string[] => tasks.filter((task) => task.spec?.$case === 'label').map(nameOf);

describe('distillation', () => {
  test.each([['stored', stored], ['online', online]] as const)('is of students alone: not of iteration 0, the control, or fine-tuning; %s', (_, training) => {
    const { state, tasks } = played({ ...training, fine_tune: { steps: 10 } }, shrinking);
    expect(state.phase).toBe('succeeded');
    const teacher = state.iterations[0]?.student?.result.model;
    expect(teacher).toBeDefined();
    for (const task of tasks.filter(({ spec }) => spec?.$case === 'train')) {
      const is = nameOf(task) === 'i1.train.student';
      expect([nameOf(task), trainOf(task).distill?.teacher, wishOf(task) !== undefined]).toEqual([nameOf(task), is ? teacher : undefined, is]);
    }
    expect(wishOf(found(tasks, 'i1.train.student'))).toEqual({ share: 0.5, head: 'class', ...(training === stored ? { teacher: 'stored', targets: 'soft', temperature: 4 } : { teacher: 'online', targets: 'hard', temperature: 1 }) });
  });

  test('changes no task but the student\'s training and what follows from it; a stored teacher labels the labeled shards, too', () => {
    const ids = (training: RecipeInput['training']): string[] => played(training).tasks.map(({ taskId }) => taskId);
    const plain = ids(undefined);
    const of = (all: readonly string[]): string[] => all.filter((id) => !plain.includes(id)).map((id) => id.replace(/\.t0-[0-9a-f]*$/, ''));
    expect(of(ids(stored))).toEqual(['i1.label.labeled.shard-00000', 'i1.train.student', 'i1.evaluate.student']);
    expect(of(ids(online))).toEqual(['i1.train.student', 'i1.evaluate.student']);
    // Of the same labels and seed, and with another temperature another training.
    expect(new Set([stored, { distill: { temperature: 8 } }, online].map((training) => ids(training).find((id) => id.startsWith('i1.train.student')))).size).toBe(3);
  });

  test('what was said of labeled shards reaches the student\'s training, and neither selection nor its pseudo-labels', () => {
    const { tasks } = played(stored);
    const label = found(tasks, 'i1.label.labeled.shard-00000');
    expect(label.spec?.$case === 'label' ? label.spec.value.shard : undefined).toEqual(makeData().labeled?.shards[0]);
    const written = answer(label).result;
    const student = trainOf(found(tasks, 'i1.train.student'));
    expect(student.distill?.labels).toEqual([{ shard: 'shard-00000', labels: written?.$case === 'label' ? written.value.labels : undefined, tally: undefined }]);
    const select = found(tasks, 'i1.select.selection');
    const shards = select.spec?.$case === 'select' ? select.spec.value.shards.map(({ shard }) => shard) : [];
    expect(shards).toEqual(['shard-00000', 'shard-00001', 'shard-00002']);
    expect(student.pseudoLabels.map(({ shard }) => shard)).toEqual(shards);
    expect(student.pseudoLabels[0]?.labels).not.toEqual(student.distill?.labels[0]?.labels);
    expect(trainOf(found(played(online).tasks, 'i1.train.student')).distill?.labels).toEqual([]);
  });

  test('labels no labeled shard where its students see none', () => {
    expect(ofLabels(played({ ...stored, student: { batch_labeled: 0 }, fine_tune: { steps: 10 } }).tasks)).toEqual(['i1.label.shard-00000', 'i1.label.shard-00001', 'i1.label.shard-00002']);
  });

  test('a teacher that stays has said it all: the next iteration labels nothing again, a new teacher everything', () => {
    const again = (kept: boolean): string[] => {
      let state = submitted(stored, { rounds: 2, control: false });
      const tasks: Task[] = [];
      for (let open = openTasks(state); open.length > 0; open = openTasks(state)) {
        tasks.push(open[0]!);
        state = done(state, open[0]!, kept ? { studentOnlyRight: 2, teacherOnlyRight: 90 } : { studentOnlyRight: 90, teacherOnlyRight: 2 });
      }
      expect(state.phase).toBe('succeeded');
      return ofLabels(tasks).filter((name) => name.startsWith('i2.'));
    };
    expect(again(true)).toEqual([]);
    expect(again(false).sort()).toEqual(['i2.label.labeled.shard-00000', 'i2.label.shard-00000', 'i2.label.shard-00001', 'i2.label.shard-00002']);
  });

  test('a labeled shard that can\'t be labeled pauses the run, where an unlabeled one is quarantined; whoever resumes gives it another go', () => {
    let state = submitted(stored, { control: false, tolerance: { quarantined_share: 0.5 } });
    for (let open = openTasks(state); open[0]?.stage !== 1; open = openTasks(state)) state = done(state, open[0]!);
    const fail = (subject: string): void => {
      for (const workerId of ['w1', 'w2', 'w3']) {
        const task = openTasks(state).find((each) => each.subject === subject)!;
        ({ state } = decide(state, { kind: 'fail', task, workerId, code: 'IMAGE_CORRUPT', message: 'broken', counts: true, fleet: 5, heldMs: 0 }, 0));
      }
    };
    fail('shard-00001');
    expect([state.phase, [...state.iterations[1]!.quarantined.keys()]]).toEqual(['running', ['shard-00001']]);
    fail('labeled.shard-00000');
    expect([state.phase, [...state.iterations[1]!.quarantined.keys()]]).toEqual(['paused', ['shard-00001']]);
    expect(state.reason).toContain('i1.label.labeled.shard-00000');
    ({ state } = decide(state, { kind: 'resume' }, 0));
    for (let open = openTasks(state); open.length > 0; open = openTasks(state)) state = done(state, open[0]!);
    expect(state.phase).toBe('succeeded');
    expect(state.iterations[1]!.labels.has('labeled.shard-00000')).toBe(true);
  });

  test('is taken only from who did it: a worker of an earlier release trains on labels alone, and names no teacher', () => {
    let state = submitted(online, { control: false });
    for (let open = openTasks(state); nameOf(open[0]!) !== 'i1.train.student'; open = openTasks(state)) state = done(state, open[0]!);
    const [task] = openTasks(state);
    const { result } = answer(task!);
    if (result?.$case !== 'train') throw new Error('it is a training');
    const complete = (distilledSha256: string | undefined): unknown => decide(state, { kind: 'complete', task: task!, workerId: 'w1', result: { deviceMs: 1, result: { $case: 'train', value: { ...result.value, distilledSha256 } } } }, 0);
    expect(() => complete(undefined)).toThrow('the worker is of an earlier release');
    expect(() => complete('0'.repeat(64))).toThrow('the worker is of an earlier release');
    expect(complete(trainOf(task!).distill?.teacher?.sha256)).toBeDefined();
  });

  test('a student may have fewer parameters than its teacher, and only then', () => {
    expect(played(stored, shrinking).state.iterations[1]?.student?.result.parameters).toBe(8000);
    let state = submitted(undefined, { control: false });
    for (let open = openTasks(state); open.length > 0; open = openTasks(state)) state = done(state, open[0]!, { parameters: state.iteration === 0 ? 32_000 : 8000 });
    expect(state.reason).toContain('RECIPE_LADDER_SHRINKS');
  });

  test('is asked of every replica of a shared training, and each has to say whom it distilled', () => {
    const shared = { ...online, student: { steps: 100 }, replicas: 2, sharing: { local_steps: 50 } };
    const { state, tasks } = played(shared, { control: false });
    expect(state.phase).toBe('succeeded');
    const teacher = state.iterations[0]?.student?.result.model?.sha256;
    const replicas = tasks.flatMap(({ iteration, spec }) => (spec?.$case === 'replica' ? [[iteration, spec.value.train?.distill?.teacher?.sha256]] : []));
    expect(replicas.filter(([iteration]) => iteration === 1)).toEqual(Array(4).fill([1, teacher]));
    expect(replicas.every(([iteration, sha256]) => iteration === 1 || sha256 === undefined)).toBe(true);
    let open = submitted(shared, { control: false });
    while (openTasks(open)[0]!.iteration === 0 || openTasks(open)[0]!.spec?.$case !== 'replica') open = done(open, openTasks(open)[0]!);
    const [task] = openTasks(open);
    const { result } = answer(task!);
    if (result?.$case !== 'replica') throw new Error('it is a replica');
    expect(() => decide(open, { kind: 'complete', task: task!, workerId: 'w1', result: { deviceMs: 1, result: { $case: 'replica', value: { ...result.value, distilledSha256: undefined } } } }, 0)).toThrow('the worker is of an earlier release');
  });
});
