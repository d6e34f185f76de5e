/** Tasks of a coordinator whose code is newer than the worker's: what is missing here is said by name, as what it is, and costs no task its place. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { prepareSubmission } from '../../../coordinator/api/submission.ts';
import { decide, openTasks } from '../../../coordinator/run/index.ts';
import { errorTable, exitCode, type AlumnusError } from '../../../proto/errors.ts';
import type { Task, TrainSpec } from '../../../proto/gen/alumnus/v1/task.ts';
import { canonicalJson } from '../../../recipe/index.ts';
import { openStore, type ObjectStore } from '../../../store/index.ts';
import { readModel } from '../../../worker/tasks/model.ts';
import { runTask } from '../../../worker/tasks/index.ts';
import { loadTensorFlow } from '../../../worker/tensorflow/index.ts';
import { patternsHome, patternsRecipe } from '../../harness/patterns.ts';

let home: Awaited<ReturnType<typeof patternsHome>>;
let store: ObjectStore;
let training: Task;

beforeAll(async () => {
  loadTensorFlow({ threads: 1 });
  home = await patternsHome();
  store = await openStore(`file://${home.home}/store`);
  const { recipe, data } = await prepareSubmission(store, patternsRecipe({ rounds: 1, control: false }));
  [training] = openTasks(decide(undefined, { kind: 'submit', runId: 'patterns-newer', recipe, data }, 0).state) as [Task];
});
afterAll(() => home.remove());

/** The first training, as a newer coordinator would hand it out. */
function newer(change: (spec: TrainSpec, json: Record<string, Record<string, unknown>>) => void): Task {
  if (training.spec?.$case !== 'train') throw new Error('the run begins with a training');
  const spec = structuredClone(training.spec.value);
  const json = JSON.parse(spec.trainingJson) as Record<string, Record<string, unknown>>;
  change(spec, json);
  return { ...training, spec: { $case: 'train', value: { ...spec, trainingJson: JSON.stringify(json) } } };
}
const failure = async (task: Task): Promise<AlumnusError | undefined> =>
  runTask({ task, store, cacheFolder: `${home.home}/cache`, signal: new AbortController().signal, progress: () => undefined, checkpoint: () => undefined, note: () => undefined, onDevice: (body) => body() })
    .then(() => undefined, (thrown: unknown) => thrown as AlumnusError);

test.each<[string, Parameters<typeof newer>[0], string]>([
  ['an optimizer', (_, json) => { json['optimizer']!['name'] = 'lion'; }, 'has no optimizer "lion"'],
  ['an optimizer that an object would seem to have', (_, json) => { json['optimizer']!['name'] = 'constructor'; }, 'has no optimizer "constructor"'],
  ['a schedule', (_, json) => { json['schedule']!['name'] = 'linear'; }, 'has no schedule "linear"'],
  ['an input noise', (_, json) => { json['noise']!['input'] = { name: 'grain', pixel_amplitude: 32 }; }, 'has no input noise "grain"'],
  ['a model', (spec) => { spec.model!.name = 'mobilenet-v2'; }, 'has no model "mobilenet-v2"'],
  ['an option of a model', (spec) => { spec.model!.options = { groups: 2 }; }, 'makes no such model (cnn has no option "groups"; it has width, dense, dropout_features, dropout)'],
])('%s that this code does not have fails the attempt as outdated code', async (_, change, what) => {
  expect(await failure(newer(change))).toMatchObject({ code: 'CODE_OUTDATED', message: `this worker's code ${what}: restart the worker on the code that the coordinator runs` });
});

test('a trained model that this code cannot make is said so by whatever reads it', async () => {
  const document = canonicalJson({ schemaVersion: 1, architecture: { model: { name: 'mobilenet-v2', options: {} }, input: { height: 8, width: 8, channels: 1 }, classes: 2 }, classNames: ['a', 'b'], parameters: 1, weights: { key: 'x', sha256: '0', bytes: 1 } });
  const ref = await store.putAddressed('runs/r/t', Buffer.from(document), { extension: '.json' });
  await expect(readModel(store, ref)).rejects.toMatchObject({ code: 'CODE_OUTDATED', message: expect.stringContaining('has no model "mobilenet-v2"') as string });
});

// coordinator/run/decide.ts gives no shard up for its surroundings, which it knows by this exit code; another worker may have the code.
test('counts as trouble of the surroundings, and another worker may do better', () => {
  expect(errorTable.CODE_OUTDATED).toMatchObject({ kind: 'retryable', exit: exitCode.environment });
});
