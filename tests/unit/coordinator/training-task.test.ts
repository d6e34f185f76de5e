/** What a training is handed of its recipe, and what its task's id covers. */
import { expect, test } from 'vitest';
import { decide, openTasks, type RunState } from '../../../coordinator/run/index.ts';
import type { Task } from '../../../proto/gen/alumnus/v1/task.ts';
import type { RecipeInput } from '../../../recipe/index.ts';
import { answer, makeData, makeRecipe } from './work.ts';

/** The trainings of a run of one round with a control, in the order in which they are first open. */
function trainingsOf(training: RecipeInput['training']): Task[] {
  let state: RunState = decide(undefined, { kind: 'submit', runId: 'run', recipe: makeRecipe({ control: true, training }), data: makeData() }, 0).state;
  const trainings = new Map<string, Task>();
  for (let open = openTasks(state); open.length > 0; open = openTasks(state)) {
    for (const task of open) if (task.spec?.$case === 'train') trainings.set(task.taskId, task);
    ({ state } = decide(state, { kind: 'complete', task: open[0]!, workerId: 'w1', result: answer(open[0]!) }, 0));
  }
  return [...trainings.values()];
}
const jsonOf = (task: Task): { schedule: Record<string, unknown> } => (task.spec?.$case === 'train' ? JSON.parse(task.spec.value.trainingJson) as ReturnType<typeof jsonOf> : { schedule: {} });

test('epochs of a decay become steps by the labeled images and the phase\'s labeled batch; the control decays as the student does', () => {
  const trainings = trainingsOf({ schedule: { name: 'exponential', decay_epochs: 2.4 }, teacher: { batch_labeled: 6 }, student: { batch_labeled: 4, batch_unlabeled: 12 } });
  // 30 labeled images (work.ts): 2.4 x 30 / 6 and 2.4 x 30 / 4.
  expect(trainings.map((task) => [`${task.iteration} ${task.subject}`, jsonOf(task).schedule])).toEqual([
    ['0 student', { name: 'exponential', warmup_steps: 0, decay_steps: 12 }],
    ['1 control', { name: 'exponential', warmup_steps: 0, decay_steps: 18 }],
    ['1 student', { name: 'exponential', warmup_steps: 0, decay_steps: 18 }],
  ]);
});

test('steps between checkpoints are told beside the specification: they are no input, and change no task\'s id', () => {
  const [every100, none] = [trainingsOf({ checkpoint_steps: 100 }), trainingsOf({ checkpoint_steps: 0 })];
  expect(every100.map((task) => task.checkpointSteps)).toEqual([100, 100, 100]);
  expect(none.map((task) => task.checkpointSteps)).toEqual([0, 0, 0]);
  expect(every100.map((task) => task.taskId)).toEqual(none.map((task) => task.taskId));
  expect(trainingsOf({ clip_norm: 1 }).map((task) => task.taskId)).not.toEqual(none.map((task) => task.taskId));
});
