/** Labeling on a thread of its own, which only the compiled program has: the same bytes as on one thread, and a task's end whatever becomes of the thread. */
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { prepareSubmission } from '../../coordinator/api/submission.ts';
import { decide, openTasks, type RunState } from '../../coordinator/run/index.ts';
import { Stage, type Task } from '../../proto/gen/alumnus/v1/task.ts';
import { openStore, type ObjectStore } from '../../store/index.ts';
import type { LabelThread } from '../../worker/engine/label-thread.ts';
import type { FromEngine } from '../../worker/engine/messages.ts';
import type { Turnstile } from '../../worker/engine/turnstile.ts';
import type { runTask } from '../../worker/tasks/index.ts';
import { machineOf } from '../../worker/tasks/record.ts';
import type { loadTensorFlow } from '../../worker/tensorflow/index.ts';
import { patternsHome, patternsRecipe, SHARDS } from '../harness/patterns.ts';

const built = <Module>(path: string): Promise<Module> => import(pathToFileURL(`${process.cwd()}/dist/${path}`).href) as Promise<Module>;

let home: Awaited<ReturnType<typeof patternsHome>>;
let store: ObjectStore;
let url: string;
let tasks: Task[];
let Thread: typeof LabelThread;
let Turns: typeof Turnstile;
let run: (task: Task) => ReturnType<typeof runTask>;

beforeAll(async () => {
  ({ LabelThread: Thread } = await built<{ LabelThread: typeof LabelThread }>('worker/engine/label-thread.js'));
  ({ Turnstile: Turns } = await built<{ Turnstile: typeof Turnstile }>('worker/engine/turnstile.js'));
  const onOneThread = await built<{ runTask: typeof runTask }>('worker/tasks/index.js');
  (await built<{ loadTensorFlow: typeof loadTensorFlow }>('worker/tensorflow/index.js')).loadTensorFlow({ threads: 1 });
  home = await patternsHome();
  url = `file://${home.home}/store`;
  store = await openStore(url);
  run = (task) => onOneThread.runTask({ task, store, cacheFolder: '', signal: new AbortController().signal, progress: () => undefined, checkpoint: () => undefined, note: () => undefined, onDevice: (body) => body() });
  const { recipe, data } = await prepareSubmission(store, patternsRecipe({ rounds: 1, control: false }).replace('steps: 30', 'steps: 5'));
  let state: RunState = decide(undefined, { kind: 'submit', runId: 'labels', recipe, data }, 0).state;
  while (state.stage !== Stage.LABEL) {
    for (const task of openTasks(state)) ({ state } = decide(state, { kind: 'complete', task, workerId: 'w', result: { result: await run(task), deviceMs: 1 } }, 0));
  }
  tasks = openTasks(state);
});
afterAll(() => home.remove());

it('labels all shards, two at a time, to the bytes of one thread; tasks of a thread that ends fail, and the next one gets a new thread', async () => {
  const machine = machineOf(1);
  const ends = new Map<number, FromEngine>();
  let heard: () => void = () => undefined;
  const thread = new Thread({
    cacheFolder: `${home.home}/cache`, workerId: 'w1', machine, turnstile: new Turns(),
    send: (message) => {
      if (message.kind !== 'done' && message.kind !== 'failed') return;
      ends.set(message.id, message);
      heard();
    },
  });
  const ended = async (ids: readonly number[]): Promise<void> => {
    while (!ids.every((id) => ends.has(id))) await new Promise<void>((resolve) => (heard = resolve));
  };
  try {
    const ids = tasks.map((_, at) => at);
    for (let id = 0; id < tasks.length; id += 2) {
      const pair = ids.slice(id, id + 2);
      for (const each of pair) thread.run({ kind: 'run', id: each, task: tasks[each]!, storeUrl: url });
      await ended(pair);
    }
    for await (const { key } of store.list('labels/')) await store.delete(key);
    expect(ids).toHaveLength(SHARDS);
    // Under the same prefix equal bytes are the same object.
    for (const id of ids) expect(ends.get(id)).toMatchObject({ kind: 'done', result: { result: await run(tasks[id]!) } });

    for (const id of [100, 101]) thread.run({ kind: 'run', id, task: tasks[0]!, storeUrl: url });
    await thread.close();
    await ended([100, 101]);
    for (const id of [100, 101]) expect(ends.get(id)).toMatchObject({ kind: 'failed', code: 'ENGINE_CRASHED' });
    thread.run({ kind: 'run', id: 102, task: tasks[0]!, storeUrl: url });
    await ended([102]);
    expect(ends.get(102)).toMatchObject({ kind: 'done' });
  } finally {
    await thread.close();
  }
});
