/** A plan against runs that are played: as many tasks of each kind, whatever the recipe asks for. */
import { describe, expect, test } from 'vitest';
import { decide, isEnded, openTasks, planRun, rateKey, type RunState } from '../../../coordinator/run/index.ts';
import type { RunData } from '../../../proto/gen/alumnus/v1/events.ts';
import type { Recipe, RecipeInput } from '../../../recipe/index.ts';
import { answer, makeData, makeRecipe, type DataWishes } from './work.ts';

/** What a run really comes to that promotes each student: tasks by iteration and kind. */
function played(wished: Recipe, data: RunData, fleet: number): Record<string, number> {
  // Here, too, every replica is waited for.
  const { training } = wished;
  const recipe = training.sharing === undefined ? wished : { ...wished, training: { ...training, sharing: { ...training.sharing, straggler_wait: 100 } } };
  const counts: Record<string, number> = {};
  let state: RunState = decide(undefined, { kind: 'submit', runId: 'r', recipe, data, fleet }, 0).state;
  for (let step = 0; step < 5_000 && !isEnded(state.phase); step += 1) {
    const [task] = openTasks(state);
    if (task === undefined) throw new Error(`the run is ${state.phase}: ${state.reason}`);
    const key = `${task.iteration} ${task.spec?.$case}`;
    counts[key] = (counts[key] ?? 0) + 1;
    const result = answer(task, { studentOnlyRight: 500, teacherOnlyRight: 0, parameters: 1000, validationRight: 700 + 50 * task.iteration, corruptedWrong: 400 - 100 * task.iteration, eligible: [50, 50, 50] });
    ({ state } = decide(state, { kind: 'complete', task, workerId: 'w', result, fleet }, step + 1));
  }
  expect(state.phase).toBe('succeeded');
  return counts;
}

function planned(recipe: Recipe, data: RunData, workers: number): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { iteration, kind, tasks } of planRun({ recipe, data, workers, rates: new Map() }).groups) counts[`${iteration} ${kind}`] = (counts[`${iteration} ${kind}`] ?? 0) + tasks;
  return counts;
}

const cases: readonly [string, Partial<RecipeInput>, DataWishes?, number?][] = [
  ['one round', {}],
  ['three rounds, a control and an audit', { rounds: 3, control: true }, { shards: 40, truth: true }],
  ['no control', { rounds: 2, control: false }],
  ['near-duplicates', { rounds: 2, data: { dataset: 'digits', near_duplicates: {} } }],
  ['corrupted sets', { data: { dataset: 'digits', corrupted: 'digits-c' } }, { corrupted: ['fog', 'snow'] }],
  ['fine-tuning that teaches', { rounds: 2, training: { fine_tune: { steps: 10, teaches: true } } }],
  ['fine-tuning that does not', { training: { fine_tune: { steps: 10, teaches: false } } }],
  ['three replicas', { training: { teacher: { steps: 40 }, student: { steps: 60 }, replicas: 3, sharing: { local_steps: 20 } } }, {}, 3],
  ['as many replicas as there are workers', { training: { teacher: { steps: 40 }, student: { steps: 60 }, replicas: 'auto', sharing: { local_steps: 20 } } }, {}, 4],
  ['distillation with labels of the labeled part', { training: { distill: { teacher: 'stored' } } } as never],
  ['comparisons', { rounds: 2, comparisons: [{ name: 'truth', labels: 'truth' }, { name: 'small', model: { model: 'cnn', width: 4 } }] } as never, { truth: true }],
];

describe.each(cases)('a plan of %s', (_, wishes, data = {}, workers = 2) => {
  test('has the tasks that the run then has', () => {
    const [recipe, runData] = [makeRecipe(wishes), makeData(data)];
    const counts = planned(recipe, runData, workers);
    expect(counts).toEqual(played(recipe, runData, workers));
    expect(Object.keys(counts).length).toBeGreaterThan(4);
  });
});

describe('time', () => {
  const [recipe, data] = [makeRecipe({ control: false, training: { teacher: { steps: 10, batch_labeled: 10 }, student: { steps: 10, batch_labeled: 10, batch_unlabeled: 30 } } }), makeData({ shards: 7, test: false })];

  test('is not known while a rate is not', () => {
    const plan = planRun({ recipe, data, workers: 2, rates: new Map() });
    expect([plan.wallMs, new Set(plan.groups.map(({ deviceMs }) => deviceMs))]).toEqual([undefined, new Set([undefined])]);
  });
  test('is units by rates, and on a fleet the longest way through the stages', () => {
    const keys = new Set<string>();
    const spy = new Map() as Map<string, { deviceMs: number; units: number }>;
    spy.get = (key) => (keys.add(key), { deviceMs: 1, units: 1 });
    const { groups, wallMs } = planRun({ recipe, data, workers: 2, rates: spy });
    // 100 and 400 images trained on, 7 shards of 100 labeled, 1,000 evaluated twice, 700 labels selected from.
    expect(groups.map(({ iteration, kind, deviceMs }) => [iteration, kind, deviceMs])).toEqual([[0, 'train', 100], [0, 'evaluate', 1000], [1, 'label', 700], [1, 'select', 700], [1, 'train', 400], [1, 'evaluate', 1000]]);
    // Two workers label seven shards in four turns; the rest is one after another.
    expect(wallMs).toBe(100 + 1000 + 4 * 100 + 700 + 400 + 1000);
    expect([...keys].filter((key) => key.startsWith('train'))).toHaveLength(1);
    expect([...keys].find((key) => key.startsWith('label'))).toBe(`label ${[...keys].find((key) => key.startsWith('train'))!.slice('train '.length)}`);
  });
  test('depends on the model, and on the size of its images', () => {
    const [task] = openTasks(decide(undefined, { kind: 'submit', runId: 'r', recipe, data }, 0).state);
    expect(rateKey(task!, new Map())).toMatch(/^train cnn .*width=\d+ 28x28x1$/);
  });
});

test('many shards are planned without deriving them anew for each', () => {
  const recipe = makeRecipe({ control: false });
  const data = makeData({ shards: 5_000 });
  expect(planned(recipe, data, 50)['1 label']).toBe(5_000);
});
