/** A training that replicas share, task by task as an engine does them: what they write, what they say of it, and what they make of what is wrong. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { prepareSubmission } from '../../../coordinator/api/submission.ts';
import { decide, openTasks, type RunState } from '../../../coordinator/run/index.ts';
import { AlumnusError } from '../../../proto/errors.ts';
import type { Checkpoint, MergeResult, MergeSpec, ObjectRef, ReplicaResult, ReplicaSpec, Task, TrainResult, TrainSpec } from '../../../proto/gen/alumnus/v1/task.ts';
import type { Progress } from '../../../proto/gen/alumnus/v1/worker.ts';
import { stageName } from '../../../proto/stages.ts';
import { parameterSpecs } from '../../../recipe/index.ts';
import { openStore, type ObjectStore } from '../../../store/index.ts';
import { Turnstile } from '../../../worker/engine/turnstile.ts';
import { decodeCheckpoint, decodeMerged, decodeWeights, encodeCheckpoint } from '../../../worker/learning/index.ts';
import type { TaskContext } from '../../../worker/tasks/context.ts';
import { runTask } from '../../../worker/tasks/index.ts';
import { readTrained } from '../../../worker/tasks/model.ts';
import { trainingOf, type Training } from '../../../worker/tasks/training.ts';
import { loadTensorFlow } from '../../../worker/tensorflow/index.ts';
import { patternsHome, patternsRecipe } from '../../harness/patterns.ts';

const RUN = 'patterns-shared';
/** Of the student's schedule, and of a round. */
const STEPS = 24;
const LOCAL_STEPS = 10;

let home: Awaited<ReturnType<typeof patternsHome>>;
let store: ObjectStore;
/** The student's training, as one worker alone would do it. */
let whole: Task;
let spec: TrainSpec;
let teacher: string;
/** Shards that were read from the store. */
let shardsRead = 0;

const device = new Turnstile();
const { binding } = loadTensorFlow({ threads: 1 });
/** Compiled programs that are open. */
const open = (): number => binding.getNumOfSavedModels();

interface Watched { signal?: AbortSignal; progress?: Progress[]; checkpoints?: Checkpoint[]; notes?: string[]; beforeDevice?: () => void }
const contextOf = (task: Task, watched: Watched = {}): TaskContext => ({
  // Nothing decoded is kept on disk, so that whoever opens the data reads them.
  task, store, cacheFolder: '', signal: watched.signal ?? new AbortController().signal,
  progress: (each) => void watched.progress?.push(each), checkpoint: (each) => void watched.checkpoints?.push(each), note: (line) => void watched.notes?.push(line),
  onDevice: (body) => {
    watched.beforeDevice?.();
    return device.pass(body);
  },
});
const run = (task: Task, watched?: Watched): ReturnType<typeof runTask> => runTask(contextOf(task, watched));

beforeAll(async () => {
  home = await patternsHome();
  const opened = await openStore(`file://${home.home}/store`);
  store = new Proxy(opened, {
    get(target, name) {
      const value = Reflect.get(target, name) as unknown;
      if (typeof value !== 'function') return value;
      return (...args: unknown[]): unknown => {
        if ((name === 'get' || name === 'stream') && (args[0] as ObjectRef).key.endsWith('.tar')) shardsRead += 1;
        return (value as (...args: unknown[]) => unknown).apply(target, args);
      };
    },
  });
  const { recipe, data } = await prepareSubmission(store, patternsRecipe({ rounds: 1, control: false }).replace('steps: 30', 'steps: 20').replace('steps: 80', `steps: ${STEPS}`));
  let state: RunState = decide(undefined, { kind: 'submit', runId: RUN, recipe, data }, 0).state;
  while (stageName(state.stage) !== 'train' || openTasks(state)[0]?.iteration !== 1) {
    for (const task of openTasks(state)) ({ state } = decide(state, { kind: 'complete', task, workerId: 'w1', result: { result: await run(task), deviceMs: 5 } }, 0));
  }
  [whole] = openTasks(state) as [Task];
  if (whole.spec?.$case !== 'train') throw new Error('the run waits for its student');
  spec = whole.spec.value;
  teacher = (await trainingOf(contextOf(whole), spec, whole.seed)).teacher;
});
afterAll(() => home.remove());

const named = (name: string): Pick<Task, 'taskId' | 'outputPrefix' | 'subject'> => ({ taskId: `${whole.taskId}-${name}`, outputPrefix: `${whole.outputPrefix}-${name}`, subject: `student.${name}` });

async function replica(over: Partial<ReplicaSpec>, watched?: Watched, task: Partial<Task> = {}): Promise<{ task: Task; result: ReplicaResult }> {
  const value: ReplicaSpec = { train: spec, seed: whole.seed, round: 0, replica: 0, firstStep: 0, steps: LOCAL_STEPS, firstBatch: 0, merged: undefined, optimizer: undefined, ...over };
  const made: Task = { ...whole, ...named(`r${value.round}.k${value.replica}`), spec: { $case: 'replica', value }, ...task };
  const result = await run(made, watched);
  if (result.$case !== 'replica') throw new Error('a replica answers as one');
  return { task: made, result: result.value };
}

async function merge(over: Partial<MergeSpec>, watched?: Watched): Promise<{ task: Task; result: MergeResult }> {
  const value: MergeSpec = { train: spec, seed: whole.seed, round: 0, firstStep: 0, steps: LOCAL_STEPS, merged: undefined, inputs: [], outerLearningRate: 0.7, outerMomentum: 0.9, last: false, images: 0, ...over };
  const task: Task = { ...whole, ...named(`r${value.round}.merge`), spec: { $case: 'merge', value } };
  const result = await run(task, watched);
  if (result.$case !== 'merge') throw new Error('a merge answers as one');
  return { task, result: result.value };
}

interface Shared { readonly replicas: { task: Task; result: ReplicaResult }[][]; readonly merges: { task: Task; result: MergeResult }[]; readonly trained: TrainResult }

/** The whole training in rounds of 10, 10 and 4 steps. @param replicas of each round; who has a number above all of the round before joins. */
async function inRounds(replicas: readonly number[], watched?: Watched, last = true): Promise<Shared> {
  const [done, merges]: [Shared['replicas'], Shared['merges']] = [[], []];
  let firstBatch = 0;
  for (const [round, count] of replicas.entries()) {
    const firstStep = round * LOCAL_STEPS;
    const steps = Math.min(LOCAL_STEPS, STEPS - firstStep);
    const merged = merges.at(-1)?.result.merged;
    const results: { task: Task; result: ReplicaResult }[] = [];
    for (let k = 0; k < count; k += 1) results.push(await replica({ round, replica: k, firstStep, steps, firstBatch: firstBatch + k * steps, merged, optimizer: done.at(-1)?.[k]?.result.state }, watched));
    firstBatch += count * steps;
    done.push(results);
    merges.push(await merge({
      round, firstStep, steps, merged, last: last && round === replicas.length - 1, images: firstBatch * 32,
      inputs: results.map(({ result: { state, loss } }, at) => ({ replica: at, state, loss })),
    }, watched));
  }
  const trained = merges.at(-1)?.result.trained;
  if (last !== (trained !== undefined)) throw new Error('the last merge writes the model');
  return { replicas: done, merges, trained: trained! };
}

const weightsOf = async ({ model }: TrainResult): Promise<ObjectRef> => (await readTrained(store, model!)).weights;
const training = (): Promise<Training> => trainingOf(contextOf(whole), spec, whole.seed);
const error = (work: Promise<unknown>): Promise<string> => work.then(() => 'none', (thrown: unknown) => (thrown instanceof AlumnusError ? `${thrown.code} ${thrown.message}` : String(thrown)));

test('a training in rounds of one replica is the plain training: the same weights to the byte', async () => {
  const plain = await run(whole);
  if (plain.$case !== 'train') throw new Error('a training makes a model');
  const { trained } = await inRounds([1, 1, 1]);
  expect((await weightsOf(trained)).sha256).toBe((await weightsOf(plain.value)).sha256);
  const { parameters, steps, images } = plain.value;
  expect(trained).toMatchObject({ parameters, steps, images });
});

test('replicas write all that the next round and a reader ask, merges the model and its lineage', async () => {
  const progress: Progress[] = [];
  const { replicas, merges, trained } = await inRounds([2, 3, 2], { progress });
  const { architecture, settings, name } = await training();
  let place = 0;
  for (const [round, results] of replicas.entries()) {
    const steps = Math.min(LOCAL_STEPS, STEPS - round * LOCAL_STEPS);
    const until = round * LOCAL_STEPS + steps;
    for (const [k, { task, result }] of results.entries()) {
      expect(result).toMatchObject({ steps, images: steps * 32, wentBackToStep: undefined });
      expect(Number.isFinite(result.loss)).toBe(true);
      expect(result.state?.key).toBe(`${task.outputPrefix}/${result.state?.sha256}.replica`);
      expect(await store.metadata(result.state!.key)).toMatchObject({ 'alumnus.task': task.taskId, 'alumnus.stage': 'train', 'alumnus.subject': `student.r${round}.k${k}`, 'alumnus.teacher': teacher, 'alumnus.step': String(until) });
      const state = decodeCheckpoint(await store.get(result.state!), architecture, settings, name);
      // Who joined in round 1 has made its first 10 updates; the others all of the training's.
      const joined = k === 2 ? LOCAL_STEPS : 0;
      expect([state.step, state.variables['optimizer/count']![0]]).toEqual([until, until - joined]);
    }
    place += results.length * steps;
    const { task, result } = merges[round]!;
    expect(result.merged?.key).toBe(`${task.outputPrefix}/${result.merged?.sha256}.merged`);
    expect(await store.metadata(result.merged!.key)).toMatchObject({ 'alumnus.subject': `student.r${round}.merge`, 'alumnus.teacher': teacher, 'alumnus.step': String(until) });
    const merged = decodeMerged(await store.get(result.merged!), architecture, name);
    expect([merged.step, merged.lossCurve.length, merged.rounds.length]).toEqual([until, round + 1, round + 1]);
    expect(result.trained === undefined).toBe(round < 2);
  }
  const rounds = replicas.map((results, round) => ({ step: Math.min(STEPS, (round + 1) * LOCAL_STEPS), replicas: results.map(({ result }, k) => ({ replica: k, state: result.state?.sha256 })) }));
  const losses = replicas.map((results) => results.reduce((sum, { result }) => sum + result.loss, 0) / results.length);
  expect(trained).toMatchObject({ steps: STEPS, images: place * 32, finalLoss: losses[2], wentBackToStep: undefined });
  expect(trained.curve).toEqual([10, 20, 24].map((step, round) => ({ step, loss: losses[round] })));
  const document = await readTrained(store, trained.model!);
  expect(document).toMatchObject({ parameters: trained.parameters, classNames: spec.classNames, lineage: { run: RUN, iteration: 1, task: merges[2]!.task.taskId, selection: spec.selection?.sha256, rounds } });
  expect(await store.metadata(trained.model!.key)).toMatchObject({ 'alumnus.teacher': teacher });
  // The averages of the last merge are the model.
  const last = decodeMerged(await store.get(merges[2]!.result.merged!), architecture, name);
  for (const { name: parameter, values } of decodeWeights(await store.get(document.weights))) expect(values).toEqual(last.variables[`ema/${parameter}`] ?? last.variables[parameter]);
  // Steps of the round in a replica, replicas in a merge.
  expect(progress.filter(({ unit }) => unit === 'steps').every(({ done, total }) => done >= 1 && done <= total && total <= LOCAL_STEPS)).toBe(true);
  expect(progress.filter(({ unit }) => unit === 'replicas').map(({ done, total }) => `${done}/${total}`)).toEqual(['1/2', '2/2', '1/3', '2/3', '3/3', '1/2', '2/2']);
});

test('another attempt writes the same bytes, also one that goes on from a checkpoint in the round', async () => {
  const checkpoints: Checkpoint[] = [];
  const first = await replica({ firstBatch: 40 }, { checkpoints }, { checkpointSteps: 4 });
  expect(checkpoints.map(({ step }) => step)).toEqual([4, 8]);
  const notes: string[] = [];
  const again = await replica({ firstBatch: 40 }, { notes }, { checkpoints: [checkpoints[1]!] });
  expect(notes).toEqual(['goes on from the checkpoint of step 8']);
  expect(again.result).toEqual(first.result);
  const inputs = [{ replica: 0, state: first.result.state, loss: 1 }, { replica: 1, state: (await replica({ replica: 1, firstBatch: 50 })).result.state, loss: 2 }];
  expect((await merge({ inputs })).result).toEqual((await merge({ inputs })).result);
});

test('the data are read and the step is compiled once for all rounds, and both are let go when other work comes', async () => {
  await run(whole);
  const before = open();
  shardsRead = 0;
  // Two rounds of three.
  await inRounds([1, 2], undefined, false);
  const once = shardsRead;
  // The labeled shard, and each unlabeled one.
  expect(once).toBeGreaterThan(12);
  expect(open()).toBe(before + 1);
  // Two at a time share them, and the end of one leaves them to the other.
  const abort = new AbortController();
  const [cancelled, other] = await Promise.all([error(replica({ replica: 4 }, { signal: abort.signal, beforeDevice: () => abort.abort(new AlumnusError('LEASE_LOST', 'given up')) })), error(replica({ replica: 5, firstBatch: 90 }))]);
  expect([cancelled.split(' ')[0], other]).toEqual(['CANCELLED', 'none']);
  await replica({ replica: 6, firstBatch: 100 });
  expect([shardsRead, open()]).toEqual([once, before + 1]);
  // After the last merge there is no other round.
  const { result: { state, loss } } = await replica({ steps: STEPS });
  expect(open()).toBe(before + 1);
  await merge({ steps: STEPS, last: true, inputs: [{ replica: 0, state, loss }] });
  expect(open()).toBe(before);
  await replica({});
  expect([shardsRead, open()]).toEqual([2 * once, before + 1]);
  await run(whole);
  expect(open()).toBe(before);
  // After a failure, too: at this rate nothing is finite for long.
  const json = JSON.parse(spec.trainingJson) as { optimizer: object };
  const wild: TrainSpec = { ...spec, trainingJson: JSON.stringify({ ...json, optimizer: { ...json.optimizer, learning_rate: 1e30 } }) };
  expect(await error(replica({ train: wild, steps: STEPS - 1 }))).toContain('TRAINING_DIVERGED the loss or a gradient was not finite in 10 steps in a row');
  expect(open()).toBe(before);
});

test('a replica that went back says so once; from the merge on all go on at the lower rate', async () => {
  const { architecture, settings, name } = await training();
  const results = [await replica({}), await replica({ replica: 1, firstBatch: 10 })];
  const inputs = await Promise.all(results.map(async ({ task, result }, k) => {
    const state = decodeCheckpoint(await store.get(result.state!), architecture, settings, name);
    const changed = k === 0 ? state : { ...state, wentBackTo: 4 };
    return { replica: k, loss: 1, state: await store.putAddressed(task.outputPrefix, encodeCheckpoint(architecture, settings, changed, name), { extension: '.replica', metadata: {} }) };
  }));
  const { result: { merged } } = await merge({ inputs });
  const { result: { merged: without } } = await merge({ inputs: results.map(({ result: { state } }, k) => ({ replica: k, loss: 1, state })) });
  const next = { round: 1, firstStep: 10, firstBatch: 20 };
  const [slow, fast] = [await replica({ ...next, merged }), await replica({ ...next, merged: without })];
  const stateOf = async ({ result }: typeof slow): Promise<ReturnType<typeof decodeCheckpoint>> => decodeCheckpoint(await store.get(result.state!), architecture, settings, name);
  expect([slow.result.wentBackToStep, (await stateOf(slow)).wentBackTo, (await stateOf(fast)).wentBackTo]).toEqual([undefined, 4, undefined]);
  const [weight] = parameterSpecs(architecture);
  expect((await stateOf(slow)).variables[weight!.name]).not.toEqual((await stateOf(fast)).variables[weight!.name]);
  const { result: { trained } } = await merge({ round: 1, firstStep: 10, steps: 10, merged, last: true, inputs: [{ replica: 0, loss: 1, state: slow.result.state }] });
  expect(trained?.wentBackToStep).toBe(4);
});

test('what is not of this training and round is refused, by its name', async () => {
  const { result: { state } } = await replica({});
  const other = await replica({ seed: whole.seed + 1 });
  const { result: { merged } } = await merge({ inputs: [{ replica: 0, state, loss: 1 }] });
  const input = (ref: ObjectRef | undefined): MergeSpec['inputs'] => [{ replica: 0, state: ref, loss: 1 }];
  expect(await error(merge({ inputs: input(other.result.state) }))).toContain('DIGEST_MISMATCH the weights are damaged: it is of the task');
  expect(await error(merge({ firstStep: 10, merged, inputs: input(state) }))).toBe('DIGEST_MISMATCH the state is of step 10, and the round needs step 20');
  expect(await error(merge({ firstStep: 20, steps: 4, merged, inputs: input(state) }))).toBe('DIGEST_MISMATCH the state is of step 10, and the round needs step 20');
  expect(await error(replica({ firstStep: 10, merged, optimizer: merged }))).toContain('DIGEST_MISMATCH');
  expect(await error(replica({ firstStep: 20, steps: 4, merged }))).toBe('DIGEST_MISMATCH the state is of step 10, and the round needs step 20');
  expect(await error(replica({ firstStep: 20, steps: 10 }))).toBe('USAGE the round ends with step 30, and the training has 24');
  expect(await error(merge({}))).toBe('USAGE a merge has one replica at least');
});
