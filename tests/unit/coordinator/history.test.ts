/** A run's history by its facts and out of the bucket: which tasks made which model, as they were granted, and how a model is found by its digest. */
import { describe, expect, test } from 'vitest';
import { readHistory } from '../../../coordinator/history.ts';
import { factsOf, readManifests, writeManifest } from '../../../coordinator/manifests.ts';
import { acceptedTasks, decide, historyOf, openTasks, tasksBehind, type RunState } from '../../../coordinator/run/index.ts';
import type { Event } from '../../../proto/gen/alumnus/v1/events.ts';
import type { AcceptedTask } from '../../../proto/gen/alumnus/v1/history.ts';
import type { ObjectRef, Task } from '../../../proto/gen/alumnus/v1/task.ts';
import type { RecipeInput } from '../../../recipe/index.ts';
import { MemoryStore } from '../../simulation/store.ts';
import { answer, makeData, makeRecipe, type AnswerWishes } from './work.ts';

const RUN = 'run';

interface Played {
  readonly events: Event[];
  readonly state: RunState;
  /** As whoever leads would have them: granted, done, accepted. */
  readonly accepted: AcceptedTask[];
}

function played(recipe: Partial<RecipeInput>, wishes: (task: Task) => AnswerWishes = () => ({}), fleet = 2): Played {
  const first = decide(undefined, { kind: 'submit', runId: RUN, recipe: makeRecipe(recipe), data: makeData(), fleet }, 0);
  let { state } = first;
  const events = [...first.events];
  const accepted: AcceptedTask[] = [];
  // The last open one goes first, so that stages and the control are mixed.
  for (let task = openTasks(state).at(-1); task !== undefined; task = openTasks(state).at(-1)) {
    const result = answer(task, wishes(task));
    const decided = decide(state, { kind: 'complete', task, workerId: `w-${accepted.length}`, result, fleet }, accepted.length);
    accepted.push({ task, result, workerId: `w-${accepted.length}` });
    events.push(...decided.events);
    ({ state } = decided);
  }
  expect(state.phase).toBe('succeeded');
  return { events, state, accepted };
}

/** Subjects with their iteration and try, the labels' aside. */
const namesOf = (tasks: readonly AcceptedTask[]): string[] => tasks.filter(({ task }) => task?.spec?.$case !== 'label').map(({ task }) => task!.taskId.replace(/-[0-9a-f]*$/, ''));
const labelsOf = (tasks: readonly AcceptedTask[]): string[] => tasks.filter(({ task }) => task?.spec?.$case === 'label').map(({ task }) => task!.taskId.replace(/-[0-9a-f]*$/, '')).sort();
const modelIn = ({ accepted }: Played, name: string): ObjectRef => {
  const done = accepted.find(({ task }) => task?.taskId.startsWith(`${name}-`))?.result?.result;
  const model = done?.$case === 'train' ? done.value.model : done?.$case === 'merge' ? done.value.trained?.model : undefined;
  if (model === undefined) throw new Error(`${name} wrote a model`);
  return model;
};
const behind = (run: Played, name: string): AcceptedTask[] => tasksBehind(run.state, acceptedTasks(run.events), modelIn(run, name));
const LABELS = ['shard-00000', 'shard-00001', 'shard-00002'];

describe('tasks are told as they were granted', () => {
  test.each<[string, Partial<RecipeInput>]>([
    ['of a plain run', { rounds: 2, control: true }],
    ['of fine-tuning', { rounds: 1, control: true, training: { fine_tune: { steps: 60, batch_labeled: 8, teaches: true } } }],
    ['of a shared training', { rounds: 1, control: true, training: { replicas: 2, teacher: { steps: 250 }, student: { steps: 250 }, sharing: { local_steps: 100 } } }],
  ])('%s, with the results that counted', (_, recipe) => {
    const run = played(recipe);
    expect(acceptedTasks(run.events)).toEqual(run.accepted);
  });

  test('one that this release would not grant is not told', () => {
    const run = played({ rounds: 0 });
    const forged = run.events.map((event): Event => (event.fact?.$case !== 'taskCompleted' ? event : { ...event, fact: { $case: 'taskCompleted', value: { ...event.fact.value, place: { ...event.fact.value.place!, taskId: 'i0.train.student.t0-0000000000000000' } } } }));
    expect(() => acceptedTasks(forged)).toThrow(expect.objectContaining({ code: 'CODE_OUTDATED', where: 'i0.train.student.t0-0000000000000000' }) as Error);
  });
});

describe('behind a model are', () => {
  test('its labels, its selection and its training; behind the first teacher and the control a training alone', () => {
    const run = played({ rounds: 2, control: true });
    expect(namesOf(behind(run, 'i2.train.student.t0'))).toEqual(['i2.select.selection.t0', 'i2.train.student.t0']);
    expect(labelsOf(behind(run, 'i1.train.student.t0'))).toEqual(LABELS.map((shard) => `i1.label.${shard}.t0`));
    for (const alone of ['i0.train.student.t0', 'i2.train.control.t0']) expect(behind(run, alone).map(({ task }) => task?.taskId.replace(/-[0-9a-f]*$/, ''))).toEqual([alone]);
  });

  test('labels of the iteration before, where the teacher stayed', () => {
    const run = played({ rounds: 2 }, (task) => (task.iteration === 1 ? { studentOnlyRight: 0, teacherOnlyRight: 90 } : { studentOnlyRight: 50, teacherOnlyRight: 10 }));
    expect(run.state.iterations[1]?.decision).toBe('refused');
    expect(labelsOf(behind(run, 'i2.train.student.t0'))).toEqual(LABELS.map((shard) => `i1.label.${shard}.t0`));
    expect(namesOf(behind(run, 'i2.train.student.t0'))).toEqual(['i2.select.selection.t0', 'i2.train.student.t0']);
  });

  test('of a try that was refused its own training, by the labels and the selection of all tries', () => {
    const run = played({ rounds: 1, promotion: { on_refusal: 'retry' } }, (task) => (task.try === 0 ? { studentOnlyRight: 0, teacherOnlyRight: 90 } : { studentOnlyRight: 50, teacherOnlyRight: 10 }));
    expect(run.state.refusedTries).toHaveLength(1);
    for (const attempt of ['t0', 't1']) expect(namesOf(behind(run, `i1.train.student.${attempt}`))).toEqual(['i1.select.selection.t0', `i1.train.student.${attempt}`]);
    expect(historyOf(run.state).iterations.map(({ iteration, try: attempt, decision }) => [iteration, attempt, decision])).toEqual([[0, 0, 'promoted'], [1, 0, 'refused'], [1, 1, 'promoted']]);
  });

  test('a fine-tuned model: the training that it began with, too', () => {
    const run = played({ rounds: 1, control: true, training: { fine_tune: { steps: 60, batch_labeled: 8, teaches: true } } });
    expect(namesOf(behind(run, 'i1.train.student.fine-tuned.t0'))).toEqual(['i1.select.selection.t0', 'i1.train.student.t0', 'i1.train.student.fine-tuned.t0']);
    expect(namesOf(behind(run, 'i1.train.student.t0'))).toEqual(['i1.select.selection.t0', 'i1.train.student.t0']);
    expect(namesOf(behind(run, 'i1.train.control.fine-tuned.t0'))).toEqual(['i1.train.control.t0', 'i1.train.control.fine-tuned.t0']);
  });

  test('a shared training in all its rounds, and none of the control\'s', () => {
    const run = played({ rounds: 1, control: true, training: { replicas: 2, teacher: { steps: 250 }, student: { steps: 250 }, sharing: { local_steps: 100 } } });
    const names = namesOf(behind(run, 'i1.train.student.r0002.merge.t0'));
    expect([...names].sort()).toEqual(['i1.select.selection.t0', ...['r0000', 'r0001', 'r0002'].flatMap((round) => ['k0', 'k1', 'merge'].map((part) => `i1.train.student.${round}.${part}.t0`))]);
    expect(namesOf(behind(run, 'i1.train.control.r0002.merge.t0'))).toHaveLength(9);
  });

  test('a comparison: the labels and the selection that it learned from and its own training; one of no labels its training alone', () => {
    const run = played({ rounds: 1, control: true, comparisons: [{ name: 'again', kind: 'hard' }, { name: 'alone', labels: 'none' }] });
    expect(namesOf(behind(run, 'i1.train.comparison.again.t0'))).toEqual(['i1.select.selection.t0', 'i1.train.comparison.again.t0']);
    expect(labelsOf(behind(run, 'i1.train.comparison.again.t0'))).toEqual(LABELS.map((shard) => `i1.label.${shard}.t0`));
    expect(behind(run, 'i1.train.comparison.alone.t0').map(({ task }) => task?.subject)).toEqual(['comparison.alone']);
    expect(historyOf(run.state).comparisons.map(({ name, model, iteration }) => [name, model?.model, iteration])).toEqual([['again', modelIn(run, 'i1.train.comparison.again.t0'), 1], ['alone', modelIn(run, 'i1.train.comparison.alone.t0'), undefined]]);
  });

  test('of a model that no result names: nothing', () => {
    const run = played({ rounds: 0 });
    expect(() => tasksBehind(run.state, run.accepted, { key: 'runs/run/other', sha256: 'f'.repeat(64), bytes: 1 })).toThrow(expect.objectContaining({ code: 'MODEL_NOT_FOUND' }) as Error);
  });
});

/** A run in a bucket by two manifests, and its models as objects. */
async function bucketOf(run: Played): Promise<MemoryStore> {
  const store = new MemoryStore();
  const half = run.events.length >> 1;
  const written = await writeManifest(store, RUN, undefined, run.events.slice(0, half), 1);
  if (written.$case !== 'manifestWritten' || written.value.manifest === undefined) throw new Error('a manifest is written');
  await writeManifest(store, RUN, { ref: written.value.manifest, number: 0, facts: written.value.facts }, run.events.slice(half), 1);
  return store;
}

describe('out of the bucket', () => {
  const request = (model: string, run = RUN, tasks = false) => ({ model, run, tasks });

  test('a run is told as its facts tell it', async () => {
    const run = played({ rounds: 1, control: true });
    const store = await bucketOf(run);
    expect(factsOf((await readManifests(store, RUN)).chain)).toHaveLength(run.events.length + 2);
    expect(await readHistory(store, request(''))).toEqual(historyOf(run.state));
    await expect(readHistory(store, request('', 'nobody'))).rejects.toMatchObject({ code: 'RUN_NOT_FOUND', where: 'nobody' });
  });

  test('a model is found by the digest of its document or of its weights, or its beginning, in any run', async () => {
    const run = played({ rounds: 1 });
    const store = await bucketOf(run);
    // The documents' own bytes are of no concern here: what the facts name lies below these keys.
    const trained = run.accepted.find(({ task }) => task?.taskId.startsWith('i1.train.student'))!.task!;
    const weights = await store.putAddressed(trained.outputPrefix, Buffer.from('weights'), { extension: '.weights' });
    const wanted = modelIn(run, 'i1.train.student.t0');
    for (const where of [RUN, '']) {
      const found = await readHistory(store, request(weights.sha256.slice(0, 12), where, true));
      expect(found.wanted).toEqual(wanted);
      expect(namesOf(found.tasks)).toEqual(['i1.select.selection.t0', 'i1.train.student.t0']);
    }
    await expect(readHistory(store, request('f'.repeat(64), ''))).rejects.toMatchObject({ code: 'MODEL_NOT_FOUND' });
    await expect(readHistory(store, request('abc', ''))).rejects.toMatchObject({ code: 'USAGE' });
  });

  test('what another attempt wrote is not the run\'s, and a beginning of two models is none', async () => {
    const run = played({ rounds: 1 });
    const store = await bucketOf(run);
    const { outputPrefix } = run.accepted[0]!.task!;
    const other = await store.putAddressed(outputPrefix, Buffer.from('a model of nobody'), { extension: '.json' });
    await expect(readHistory(store, request(other.sha256))).rejects.toMatchObject({ code: 'MODEL_NOT_FOUND', message: expect.stringContaining('took no result that names it') as string });
    // Found by hashlib: both digests begin with these six digits.
    for (const text of ['other 1845', 'other 4923']) await store.putAddressed(outputPrefix, Buffer.from(text), { extension: '.json' });
    await expect(readHistory(store, request('4c4a54'))).rejects.toMatchObject({ code: 'USAGE', message: expect.stringMatching(/^2 models begin so/) as string });
  });
});
