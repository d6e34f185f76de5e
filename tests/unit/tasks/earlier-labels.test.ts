/** A run over a newer version of its dataset: the same teacher labels the new shards, and what it labeled before is taken over. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { prepareSubmission } from '../../../coordinator/api/submission.ts';
import { decide, openTasks, type RunState } from '../../../coordinator/run/index.ts';
import { appendDataset, encodePng } from '../../../dataset/index.ts';
import { Stage, type LabelResult, type ObjectRef, type Task } from '../../../proto/gen/alumnus/v1/task.ts';
import { openStore, type ObjectStore } from '../../../store/index.ts';
import { readLabelTable } from '../../../worker/data/index.ts';
import { runTask } from '../../../worker/tasks/index.ts';
import { loadTensorFlow } from '../../../worker/tensorflow/index.ts';
import { tableMetadata } from '../../harness/evidence.ts';
import { DATASET, patternsHome, patternsRecipe, SHARDS } from '../../harness/patterns.ts';
import { tarOf } from '../dataset/fixture.ts';

interface Labeled {
  readonly task: Task;
  readonly result: LabelResult;
  /** How often the device was asked for. */
  readonly onDevice: number;
}

let home: Awaited<ReturnType<typeof patternsHome>>;
let store: ObjectStore;
let place: string;

/** Ends a run's first label stage. */
async function label(runId: string, change = (text: string): string => text): Promise<{ state: RunState; labeled: Map<string, Labeled> }> {
  const { recipe, data } = await prepareSubmission(store, change(patternsRecipe({ rounds: 1, control: false }).replace('steps: 30', 'steps: 5')));
  let state: RunState = decide(undefined, { kind: 'submit', runId, recipe, data }, 0).state;
  const labeled = new Map<string, Labeled>();
  while (state.stage !== Stage.SELECT) {
    for (const task of openTasks(state)) {
      const each = await work(task);
      if (each.result.$case === 'label') labeled.set(task.subject, { task, result: each.result.value, onDevice: each.onDevice });
      ({ state } = decide(state, { kind: 'complete', task, workerId: 'w', result: { result: each.result, deviceMs: 1 } }, 0));
    }
  }
  return { state, labeled };
}

async function work(task: Task): Promise<{ result: Awaited<ReturnType<typeof runTask>>; onDevice: number }> {
  let onDevice = 0;
  const result = await runTask({
    task, store, cacheFolder: '', signal: new AbortController().signal, progress: () => undefined, checkpoint: () => undefined, note: () => undefined,
    onDevice: (body) => {
      onDevice += 1;
      return body();
    },
  });
  return { result, onDevice };
}

const columns = async (ref: ObjectRef | undefined): Promise<object> => {
  if (ref === undefined) throw new Error('a label task has labels');
  const { keys, classes, logOdds, logProbabilities } = await readLabelTable(await store.get(ref), ref.key);
  return { keys: Array.from(keys), classes: Array.from(classes), logOdds: Array.from(logOdds), logProbabilities: Array.from(logProbabilities, (list) => Array.from(list)) };
};

beforeAll(async () => {
  loadTensorFlow({ threads: 1 });
  home = await patternsHome();
  store = await openStore(`file://${home.home}/store`);
  place = join(home.home, 'tars');
  mkdirSync(place);
  const shape = { height: 12, width: 12, channels: 1 } as const;
  const image = (value: number): Uint8Array => encodePng(new Uint8Array(144).fill(value), shape);
  writeFileSync(join(place, 'new.tar'), await tarOf({ '0.png': image(10), '1.png': image(200), '2.png': image(90) }));
});
afterAll(() => home.remove());

describe('a run over a newer version', () => {
  test('labels the new shard alone, and has the other labels as they were, as outputs of its own', async () => {
    const first = await label('first');
    expect([...first.labeled.values()].map(({ onDevice }) => onDevice)).toEqual(Array<number>(SHARDS).fill(1));
    await appendDataset(store, DATASET, { location: pathToFileURL(place).href, part: 'unlabeled' });
    const second = await label('second');
    expect([...second.labeled].filter(([, { onDevice }]) => onDevice > 0).map(([shard]) => shard)).toEqual([`unlabeled-${String(SHARDS).padStart(6, '0')}`]);
    expect(second.labeled.size).toBe(SHARDS + 1);
    for (const [shard, { task, result }] of second.labeled) {
      expect(result.labels?.key.startsWith(`${task.outputPrefix}/`)).toBe(true);
      const about = await tableMetadata(store, result.labels as ObjectRef);
      expect(about).toMatchObject({ 'alumnus.run': 'second', 'alumnus.task': task.taskId, 'alumnus.teacher': task.spec?.$case === 'label' ? task.spec.value.teacher?.sha256 : '' });
      const before = first.labeled.get(shard);
      if (before === undefined) continue;
      expect(await columns(result.labels)).toEqual(await columns(before.result.labels));
      expect(result.tally?.sha256).toBe(before.result.tally?.sha256);
    }
  });

  test('a teacher with other weights labels everything', async () => {
    const other = await label('other', (text) => text.replace(/^seed: \d+$/m, 'seed: 77'));
    expect([...other.labeled.values()].map(({ onDevice }) => onDevice)).toEqual(Array<number>(SHARDS + 1).fill(1));
  });

  test('labels that are gone or damaged are made again', async () => {
    const pointers: string[] = [];
    for await (const { key } of store.list('labels/')) pointers.push(key);
    expect(pointers.length).toBeGreaterThan(SHARDS);
    const third = await label('third');
    const [shard, { task }] = [...third.labeled][0] as [string, Labeled];
    for (const key of pointers) {
      const { labels } = JSON.parse(Buffer.from((await store.getNamed(key))?.content ?? []).toString('utf8')) as { labels: ObjectRef };
      await store.delete(labels.key);
    }
    const fourth = await label('fourth');
    expect([...fourth.labeled.values()].map(({ onDevice }) => onDevice)).toEqual(Array<number>(SHARDS + 1).fill(1));
    expect(await columns(fourth.labeled.get(shard)?.result.labels)).toEqual(await columns(third.labeled.get(shard)?.result.labels));
    expect(task.subject).toBe(shard);
  });
});
