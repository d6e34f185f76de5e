/** Runs of real trainings, task by task: students distilled from a stored and from an online teacher, in a model with a token and in one without. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { prepareSubmission } from '../../../coordinator/api/submission.ts';
import { decide, openTasks, type RunState } from '../../../coordinator/run/index.ts';
import type { Checkpoint, Task, TrainSpec } from '../../../proto/gen/alumnus/v1/task.ts';
import { openStore, type ObjectStore } from '../../../store/index.ts';
import { openBatches } from '../../../worker/data/index.ts';
import { runTask } from '../../../worker/tasks/index.ts';
import { readTrained } from '../../../worker/tasks/model.ts';
import { planOf, sourceOf, trainingOf } from '../../../worker/tasks/training.ts';
import { loadTensorFlow } from '../../../worker/tensorflow/index.ts';
import { patternsHome, patternsRecipe } from '../../harness/patterns.ts';

let home: Awaited<ReturnType<typeof patternsHome>>;
let store: ObjectStore;
beforeAll(async () => {
  loadTensorFlow({ threads: 1 });
  home = await patternsHome();
  store = await openStore(`file://${home.home}/store`);
});
afterAll(() => home.remove());

const contextOf = (task: Task, keep: (checkpoint: Checkpoint) => void = () => undefined): Parameters<typeof runTask>[0] => ({
  task, store, cacheFolder: `${home.home}/cache`, signal: new AbortController().signal, progress: () => undefined, note: () => undefined, onDevice: (body) => body(), checkpoint: keep,
});

interface Played { readonly state: RunState; readonly tasks: readonly Task[]; readonly student: Task; readonly checkpoints: readonly Checkpoint[] }

async function played(name: string, student: string, training: string, teacher = '{ model: cnn, width: 8, dense: 32 }'): Promise<Played> {
  const { recipe, data } = await prepareSubmission(store, patternsRecipe({ rounds: 1, control: false })
    .replace(/ladder:\n.*\n.*\n/, `ladder:\n    - ${teacher}\n    - ${student}\n`)
    .replace('ema_decay: 0.8', `ema_decay: 0.8\n  checkpoint_steps: 30\n  ${training}`)
    .replace('labels: { batch_size: 50 }', 'labels: { batch_size: 50, threshold: 0, balance: none }\nguards: { class_share_least: 0, class_share_most: 1, calibration_error_most: 1 }'));
  let { state } = decide(undefined, { kind: 'submit', runId: name, recipe, data }, 0);
  const [tasks, checkpoints]: [Task[], Checkpoint[]] = [[], []];
  for (let open = openTasks(state); open.length > 0; open = openTasks(state)) {
    const [task] = open as [Task];
    tasks.push(task);
    const keep = (checkpoint: Checkpoint): void => void (task.iteration === 1 && checkpoints.unshift(checkpoint));
    ({ state } = decide(state, { kind: 'complete', task, workerId: 'w1', result: { result: await runTask(contextOf(task, keep)), deviceMs: 5 } }, 0));
  }
  return { state, tasks, checkpoints, student: tasks.find(({ iteration, spec }) => iteration === 1 && spec?.$case === 'train')! };
}

const specOf = ({ spec }: Task): TrainSpec => (spec as { value: TrainSpec }).value;

describe.each([
  ['stored', '{ model: cnn, width: 4, dense: 16 }', 'distill: { temperature: 4 }', { teacher: 'stored', targets: 'soft', temperature: 4, share: 0.5, head: 'class' }],
  ['online', '{ model: deit-tiny, patch: 4, width: 12, depth: 2, heads: 2, dropout: 0.1 }', 'distill: { teacher: online, targets: hard, head: token }', { teacher: 'online', targets: 'hard', temperature: 1, share: 0.5, head: 'token' }],
] as const)('a student of a teacher that is %s', (kind, model, training, wish) => {
  let run: Played;
  beforeAll(async () => { run = await played(`distilled-${kind}`, model, training); }, 240_000);

  test('is trained, evaluated and says whom it learned from', async () => {
    expect([run.state.phase, run.state.reason]).toEqual(['succeeded', '']);
    const [first, second] = run.state.iterations;
    expect(second?.student?.result.distilledSha256).toBe(first?.student?.result.model?.sha256);
    expect(second?.evaluation?.validation?.total).toBe(100);
    const document = await readTrained(store, second!.student!.result.model!);
    expect((document.lineage.training as { distill: unknown }).distill).toEqual(wish);
    // One of four classes would be 25; a transformer learns nothing in 80 steps.
    if (kind === 'stored') for (const each of [first, second]) expect(each?.evaluation?.validation?.correct).toBeGreaterThan(40);
    const labels = run.tasks.filter(({ spec }) => spec?.$case === 'label');
    expect(labels.filter(({ subject }) => subject.startsWith('labeled.')).map(({ work }) => work)).toEqual(kind === 'stored' ? [40] : []);
    // Only unlabeled ones are selected from.
    expect(Number(second?.selection?.labeled)).toBe(600);
  });

  test('learns true labels where they are known, and its teacher\'s word of every image where that is stored', async () => {
    const context = contextOf(run.student);
    const of = await trainingOf(context, specOf(run.student), run.student.seed);
    const batches = await openBatches(sourceOf(context, of), planOf(of), of.labeled, of.selected);
    const { targets } = await batches.at(3);
    batches.close();
    const width = kind === 'stored' ? 8 : 4;
    expect(targets).toHaveLength(32 * width);
    for (let row = 0; row < 32; row += 1) {
      const [truth, said] = [targets.subarray(row * width, row * width + 4), targets.subarray(row * width + 4, (row + 1) * width)];
      expect(truth.reduce((sum, value) => sum + value, 0)).toBe(row < 8 ? 1 : 0);
      // Float16 of log-probabilities.
      if (kind === 'stored') expect(said.reduce((sum, value) => sum + Math.exp(value), 0)).toBeCloseTo(1, 2);
    }
  });

  test('comes out the same, to the byte, where it goes on from a checkpoint', async () => {
    expect(run.checkpoints.map(({ step }) => step)).toEqual([60, 30]);
    for (const checkpoint of run.checkpoints) {
      const again = await runTask(contextOf({ ...run.student, checkpoints: [checkpoint] }));
      expect(again).toEqual({ $case: 'train', value: run.state.iterations[1]?.student?.result });
    }
  });

  test('has another teacher, another student', async () => {
    const spec = specOf(run.student);
    const other = { ...spec, distill: { teacher: run.state.iterations[1]!.student!.result.model, labels: spec.distill!.labels } };
    const again = await runTask(contextOf({ ...run.student, taskId: `${run.student.taskId}x`, outputPrefix: `${run.student.outputPrefix}x`, spec: { $case: 'train', value: other } }));
    const weights = async (sha256: { key: string; sha256: string; bytes: number } | undefined): Promise<string> => (await readTrained(store, sha256!)).weights.sha256;
    const [before, after] = [await weights(run.state.iterations[1]!.student!.result.model), again.$case === 'train' ? await weights(again.value.model) : ''];
    // A stored teacher's word is in its tables, whoever is named.
    expect(before === after).toBe(kind === 'stored');
  });
});

test('an online teacher of images of another size is refused by the worker as well', async () => {
  const { student, state } = await played('distilled-size', '{ model: residual, width: 4, blocks: 1 }', 'distill: { teacher: online }\n  fine_tune: { steps: 4, batch_labeled: 8, image: { height: 16, width: 16 } }', '{ model: residual, width: 4, blocks: 1 }');
  expect(state.phase).toBe('succeeded');
  const larger = state.iterations[1]!.fineTuned!.result.model;
  const spec: TrainSpec = { ...specOf(student), distill: { teacher: larger, labels: [] } };
  await expect(runTask(contextOf({ ...student, spec: { $case: 'train', value: spec } }))).rejects.toMatchObject({ code: 'USAGE', message: 'the teacher takes images of 16x16x1 and tells 4 classes, its student has 12x12x1 and 4: distill it stored' });
}, 240_000);
