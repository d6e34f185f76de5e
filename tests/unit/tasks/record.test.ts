/** What the bucket says without a journal: one whole small run, each task done as an engine does it. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { prepareSubmission } from '../../../coordinator/api/submission.ts';
import { outputsOf } from '../../../proto/outputs.ts';
import { decide, openTasks, type RunState } from '../../../coordinator/run/index.ts';
import { TaskRecord } from '../../../proto/gen/alumnus/v1/record.ts';
import type { ObjectRef, Task, TaskResult } from '../../../proto/gen/alumnus/v1/task.ts';
import { RECORD_SCHEMA_VERSION } from '../../../proto/record.ts';
import { stageName } from '../../../proto/stages.ts';
import { openStore, type ObjectStore } from '../../../store/index.ts';
import { readSelection } from '../../../worker/data/index.ts';
import { teacherOf } from '../../../worker/tasks/context.ts';
import { runTask, writeRecord } from '../../../worker/tasks/index.ts';
import { loadTensorFlow } from '../../../worker/tensorflow/index.ts';
import { tableMetadata } from '../../harness/evidence.ts';
import { patternsHome, patternsRecipe } from '../../harness/patterns.ts';

const RUN = 'patterns-records';
const WORKER = 'worker-1';

interface Done {
  readonly task: Task;
  readonly teacherSha256: string;
  readonly result: TaskResult;
  readonly record: ObjectRef;
  /** Every object below the task's prefix but its record, when the record was about to be written. */
  readonly outputs: readonly string[];
}

let home: Awaited<ReturnType<typeof patternsHome>>;
let store: ObjectStore;
const done: Done[] = [];

async function keysBelow(prefix: string): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of store.list(`${prefix}/`)) keys.push(key);
  return keys;
}

async function work(task: Task, workerId = WORKER): Promise<Done> {
  const made = await runTask({ task, store, cacheFolder: `${home.home}/cache`, signal: new AbortController().signal, progress: () => undefined, checkpoint: () => undefined, note: () => undefined, onDevice: (body) => body() });
  const outputs = (await keysBelow(task.outputPrefix)).filter((key) => !key.endsWith('.record'));
  const result = { result: made, deviceMs: 5 };
  return { task, teacherSha256: teacherOf(task), result, outputs, record: await writeRecord(store, task, workerId, result) };
}

beforeAll(async () => {
  loadTensorFlow({ threads: 1 });
  home = await patternsHome();
  store = await openStore(`file://${home.home}/store`);
  const text = patternsRecipe({ rounds: 1, control: false }).replace('steps: 30', 'steps: 20').replace('steps: 80', 'steps: 10');
  const { recipe, data } = await prepareSubmission(store, text);
  let state: RunState = decide(undefined, { kind: 'submit', runId: RUN, recipe, data }, 0).state;
  for (let open = openTasks(state); open.length > 0; open = openTasks(state)) {
    for (const task of open) {
      const each = await work(task);
      done.push(each);
      ({ state } = decide(state, { kind: 'complete', task, workerId: WORKER, result: each.result }, 0));
    }
  }
});
afterAll(() => home.remove());

const kindOf = ({ task }: Pick<Done, 'task'>): string => task.spec?.$case ?? '';

test('the run had every kind of task', () => expect([...new Set(done.map(kindOf))].sort()).toEqual(['audit', 'evaluate', 'label', 'select', 'train']));

test('a record gives back the result and the task\'s place, and names outputs that are there', async () => {
  for (const { task, result, record, teacherSha256, outputs } of done) {
    expect(record.key).toBe(`${task.outputPrefix}/${record.sha256}.record`);
    const read = TaskRecord.decode(await store.get(record));
    const { taskId, iteration, stage, subject, try: attempt } = task;
    expect(read).toEqual({ schemaVersion: RECORD_SCHEMA_VERSION, place: { taskId, iteration, stage, subject, try: attempt }, runId: RUN, workerId: WORKER, teacherSha256, result });
    const named = outputsOf(read.result!.result);
    expect(named.length).toBeGreaterThan(0);
    for (const output of named) {
      expect(outputs).toContain(output.key);
      await store.get(output);
    }
  }
});

test('every object of every kind of task says all that a reader without a journal asks', async () => {
  const teacher = done.find((each) => kindOf(each) === 'select')?.teacherSha256 ?? '';
  for (const { task, teacherSha256, record, outputs } of done) {
    const about: Record<string, string> = {
      'alumnus.schema': String(RECORD_SCHEMA_VERSION), 'alumnus.run': RUN, 'alumnus.iteration': String(task.iteration), 'alumnus.stage': stageName(task.stage), 'alumnus.subject': task.subject,
      'alumnus.try': String(task.try), 'alumnus.task': task.taskId, 'alumnus.seed': String(task.seed), ...(teacherSha256 === '' ? {} : { 'alumnus.teacher': teacherSha256 }),
    };
    expect(await store.metadata(record.key)).toEqual(about);
    // Whose labels a student learned from is the selection's to say, not its specification's.
    if (kindOf({ task }) === 'train' && task.iteration > 0) about['alumnus.teacher'] = teacher;
    const names = [...Object.keys(about), ...(kindOf({ task }) === 'label' ? ['alumnus.shard'] : [])].sort();
    expect(outputs.length).toBeGreaterThan(0);
    for (const key of outputs) {
      const said = await store.metadata(key);
      expect(said, key).toMatchObject(about);
      expect(Object.keys(said).sort(), key).toEqual(names);
    }
  }
});

test('labels and the selection name the one teacher; what has none names none', async () => {
  const teacher = done.find((each) => kindOf(each) === 'select')?.teacherSha256 ?? '';
  const trained = done.find((each) => kindOf(each) === 'train' && each.task.iteration === 0)?.result.result;
  expect(trained?.$case === 'train' ? trained.value.model?.sha256 : '').toBe(teacher);
  for (const each of done) expect(each.teacherSha256, each.task.taskId).toBe(['label', 'select'].includes(kindOf(each)) ? teacher : '');
  const selected = done.find((each) => kindOf(each) === 'select')?.result.result;
  if (selected?.$case !== 'select' || selected.value.selection === undefined) throw new Error('the run has a selection');
  expect((await readSelection(store, selected.value.selection)).teacher).toBe(teacher);
});

test('an evaluation counts every validation prediction by confidence, and tells the same of calibration as its document', async () => {
  const evaluations = done.filter((each) => kindOf(each) === 'evaluate');
  expect(evaluations.length).toBeGreaterThan(1);
  for (const { result } of evaluations) {
    if (result.result?.$case !== 'evaluate' || result.result.value.evaluation === undefined) throw new Error('an evaluation has a document');
    const { evaluation, validation, test: reported, calibration, confidence } = result.result.value;
    const sum = (of: (bin: (typeof confidence)[number]) => number): number => confidence.reduce((total, bin) => total + of(bin), 0);
    expect([sum((bin) => bin.correct), sum((bin) => bin.total)]).toEqual([validation?.correct, validation?.total]);
    expect(calibration?.lossScaled).toBeLessThanOrEqual(calibration?.loss ?? NaN);
    const document = JSON.parse(Buffer.from(await store.get(evaluation)).toString('utf8')) as { calibration: unknown; confidence: unknown; validation: { score: unknown }; test: { score: unknown } };
    expect([document.calibration, document.confidence, document.validation.score, document.test.score]).toEqual([calibration, confidence, validation, reported]);
    for (const score of [validation, reported]) for (const error of [score?.calibrationError, score?.calibrationErrorScaled]) expect(error).toBeLessThan(1);
  }
});

test('another worker\'s attempt gives the same outputs to the byte, and a record of its own', async () => {
  const first = done.find((each) => kindOf(each) === 'label')!;
  const again = await work(first.task, 'worker-2');
  expect(again.outputs).toEqual(first.outputs);
  expect(again.record.key).not.toBe(first.record.key);
  const labels = first.result.result?.$case === 'label' ? first.result.result.value.labels : undefined;
  expect(JSON.stringify(await tableMetadata(store, labels!))).not.toContain('worker');
});
