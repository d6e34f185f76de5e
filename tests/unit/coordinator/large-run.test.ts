/**
 * A run over 10,000 shards (10 million images), the control plane only: no image is there, and workers' answers are a
 * function of their tasks. What is asserted are bytes: of facts, of messages, of objects. gRPC's clients have their default
 * limit of 4 MiB a message here, so every call that succeeds is below.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { credentials } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { serve } from '../../../coordinator/api/index.ts';
import { Fold } from '../../../coordinator/fold.ts';
import { GROUP_BYTES_MAX, openEmbedded, type Journal } from '../../../coordinator/journal/index.ts';
import { Leader } from '../../../coordinator/leader.ts';
import { reconcile } from '../../../coordinator/reconcile.ts';
import { hydrate, INLINE_BYTES_MAX } from '../../../coordinator/run-data.ts';
import { evolve, isEnded, openTasks, type RunState } from '../../../coordinator/run/index.ts';
import { writeManifest, type DatasetPart } from '../../../dataset/manifest.ts';
import { Event } from '../../../proto/gen/alumnus/v1/events.ts';
import { OperatorServiceClient, RunView, type SubmitRunRequest, type SubmitRunResponse, type GetRunRequest } from '../../../proto/gen/alumnus/v1/operator.ts';
import { Stage, type Task } from '../../../proto/gen/alumnus/v1/task.ts';
import { AcquireResponse, WorkerServiceClient, type AcquireRequest, type CompleteRequest, type CompleteResponse, type RegisterRequest, type RegisterResponse } from '../../../proto/gen/alumnus/v1/worker.ts';
import { DirectoryStore } from '../../../store/index.ts';
import { withSpecification } from '../../../worker/tasks/specification.ts';
import { MemoryDisk } from './memory-journal.ts';
import { answer, sha256 } from './work.ts';

const SHARDS = 10_000;
const SAMPLES = 1_000;
const RUN = 'large';
const RECIPE = 'name: large\nrounds: 1\ncontrol: false\ndata: { dataset: large }\nmodels: { ladder: [{ model: cnn, width: 4 }] }\n';

const home = mkdtempSync(join(tmpdir(), 'alumnus-large-'));
const store = await DirectoryStore.open(join(home, 'store'));
const clock = { now: () => Date.now(), sleep: () => new Promise<void>(() => undefined) };
let journal: Journal;
let leader: Leader;
let server: Awaited<ReturnType<typeof serve>>;
let operator: OperatorServiceClient;
let worker: WorkerServiceClient;

const ref = (key: string) => ({ key: `datasets/large/${key}`, sha256: sha256(key), bytes: 100_000_000 });
const part = (name: string, shards: number, labeled: boolean): DatasetPart => ({
  samples: shards * SAMPLES, shards: Array.from({ length: shards }, (_, at) => ({ name: `${name}-${String(at).padStart(6, '0')}`, ref: ref(`${name}/${sha256(`${name} ${at}`)}.tar`), samples: SAMPLES })),
  ...(labeled ? { labels: ref(`${name}/labels.parquet`), classCounts: [SAMPLES / 2, SAMPLES / 2] } : {}),
});

/** A leader of this journal, and what it serves. */
async function lead(): Promise<void> {
  journal = await openEmbedded(join(home, 'journal'));
  const fold = await Fold.load(journal, store);
  leader = new Leader({ journal, fold, store, term: await journal.begin(), leaseMs: 600_000, clock, snapshotEvents: 5_000 });
  server = await serve({ leading: { leader: () => leader, leaderAddress: '', journal, trouble: '' }, store, storeUrl: 'file:///nowhere', listen: '127.0.0.1:0', version: 'test' });
  operator = new OperatorServiceClient(server.address, credentials.createInsecure());
  worker = new WorkerServiceClient(server.address, credentials.createInsecure());
}

async function end(): Promise<void> {
  operator.close();
  worker.close();
  await server.close();
  await journal.close();
}

const submit = (request: SubmitRunRequest): Promise<SubmitRunResponse> => promisify<SubmitRunRequest, SubmitRunResponse>(operator.submitRun.bind(operator))(request);
const view = (): Promise<RunView> => promisify<GetRunRequest, RunView>(operator.getRun.bind(operator))({ runId: RUN });
const acquire = (): Promise<AcquireResponse> => promisify<AcquireRequest, AcquireResponse>(worker.acquire.bind(worker))({ workerId: 'w', max: 4, waitMs: 20_000, holds: [] });
const register = (): Promise<RegisterResponse> => promisify<RegisterRequest, RegisterResponse>(worker.register.bind(worker))({ workerId: 'w', host: 'h', processId: 1, device: 'd', slots: 4, held: [], version: 'test' });
const report = (request: CompleteRequest): Promise<CompleteResponse> => promisify<CompleteRequest, CompleteResponse>(worker.complete.bind(worker))(request);

/** Does the tasks that are leased now, as a worker would. */
async function work(): Promise<{ message: number; tasks: Task[] }> {
  const leases = await acquire();
  const tasks = await Promise.all(leases.leases.map(({ task }) => withSpecification(store, task as Task)));
  for (const [at, task] of tasks.entries()) expect(await report({ workerId: 'w', leaseId: leases.leases[at]?.leaseId, taskId: task.taskId, result: answer(task) })).toMatchObject({ accepted: true });
  return { message: AcquireResponse.encode(leases).finish().byteLength, tasks };
}

const facts = async (): Promise<Event[]> => {
  const all: Event[] = [];
  for await (const group of journal.read(0)) all.push(...group.events);
  return all;
};

beforeAll(async () => {
  const classes = ['cat', 'dog'];
  await writeManifest(store, { schemaVersion: 1, name: 'large', classes, image: { height: 28, width: 28, channels: 1 }, parts: { labeled: part('labeled', 1, true), unlabeled: part('unlabeled', SHARDS, false), validation: part('validation', 1, true) } });
  await lead();
  await register();
});
afterAll(async () => {
  await end();
  rmSync(home, { recursive: true, force: true });
});

describe(`a run over ${SHARDS} shards`, () => {
  test('is submitted; the journal holds its data by digest, and the fact is small', async () => {
    await submit({ recipe: RECIPE, runId: RUN });
    const [submitted] = await facts();
    if (submitted?.fact?.$case !== 'runSubmitted') throw new Error('the first fact is the submission');
    expect(submitted.fact.value.data).toBeUndefined();
    expect(Event.encode(submitted).finish().byteLength).toBeLessThan(4 * 1024);
    expect(submitted.fact.value.dataRef?.key).toBe(`runs/${RUN}/data/${submitted.fact.value.dataRef?.sha256 ?? ''}.data`);
    // 10,000 names, keys and digests: 1.9 MB, where a fact of LMDB takes 64 MB and one of NATS less than 1 MiB.
    expect(submitted.fact.value.dataRef?.bytes).toBeGreaterThan(1024 * 1024);
    const folded = evolve(undefined, await hydrate(store, submitted));
    expect(folded.data.unlabeled?.shards.length).toBe(SHARDS);
    expect(folded.data).toEqual(leader.run(RUN).data);
  });

  test('is shown without its shards', async () => {
    const shown = await view();
    expect(shown.data?.unlabeled).toMatchObject({ samples: SHARDS * SAMPLES, shards: [] });
    expect(RunView.encode(shown).finish().byteLength).toBeLessThan(16 * 1024);
  });

  test('its shards are leased by value, each message a few hundred bytes', async () => {
    expect((await work()).tasks.map(({ stage }) => stage)).toEqual([Stage.TRAIN]);
    expect((await work()).tasks.map(({ stage }) => stage)).toEqual([Stage.EVALUATE]);
    const labeling = await work();
    expect(labeling.tasks.map(({ subject }) => subject)).toEqual(['unlabeled-000000', 'unlabeled-000001', 'unlabeled-000002', 'unlabeled-000003']);
    expect(labeling.message).toBeLessThan(4 * 1024);
    expect((await view()).stageTotal).toBe(SHARDS);
  });

  test('half labeled, it is snapshotted, and folded from the snapshot it is what it was; the state holds no list of shards', async () => {
    const labels = openTasks(leader.run(RUN));
    expect(labels.length).toBe(SHARDS - 4);
    for (let at = 0; at < 6_000; at += 500) await Promise.all(labels.slice(at, at + 500).map((task) => leader.command(RUN, { kind: 'complete', task, workerId: 'w', result: answer(task) })));
    // The snapshot is written beside: the journal drops what it covers when it is there.
    while ((await journal.snapshot()) === undefined) await new Promise((resolve) => setTimeout(resolve, 20));
    const before = leader.run(RUN);
    await end();
    await lead();
    expect(journal.lastSequence).toBeGreaterThan(6_000);
    expect(known(leader.run(RUN))).toEqual(known(before));
    let states = 0;
    for await (const { key, bytes } of store.list(`journal/runs/${RUN}`)) {
      expect(key).toMatch(/\.state$/);
      // What is there of some 5,000 labels, in the state and as facts that no manifest holds yet.
      expect(bytes).toBeLessThan(10 * 1024 * 1024);
      states += 1;
    }
    expect(states).toBeGreaterThan(0);
    await register();
  });

  test('selection and training are leased by reference, and name every shard of labels and images', async () => {
    const rest = openTasks(leader.run(RUN));
    for (let at = 0; at < rest.length; at += 500) await Promise.all(rest.slice(at, at + 500).map((task) => leader.command(RUN, { kind: 'complete', task, workerId: 'w', result: answer(task) })));
    expect(leader.run(RUN).stage).toBe(Stage.SELECT);
    const selecting = await work();
    const [select] = selecting.tasks;
    expect(select?.spec?.$case === 'select' ? select.spec.value.shards.length : 0).toBe(SHARDS);
    expect(selecting.message).toBeLessThan(1024);
    expect(select?.specRef?.bytes).toBeGreaterThan(3 * 1024 * 1024);
    expect(select?.specRef?.key.startsWith(`${select.outputPrefix}/`)).toBe(true);
    const training = await work();
    const [train] = training.tasks;
    expect(train?.spec?.$case === 'train' ? [train.spec.value.unlabeled?.shards.length, train.spec.value.pseudoLabels.length] : []).toEqual([SHARDS, SHARDS]);
    expect(training.message).toBeLessThan(1024);
    // By value it would not fit a message.
    expect(train?.specRef?.bytes).toBeGreaterThan(4 * 1024 * 1024);
    await work();
    expect(leader.run(RUN).phase).toBe('succeeded');
  });

  test('no fact and no group is larger than a small run\'s', async () => {
    for await (const group of journal.read((await journal.snapshot())?.sequence ?? 0)) {
      expect(group.events.reduce((sum, event) => sum + Event.encode(event).finish().byteLength, 0)).toBeLessThan(GROUP_BYTES_MAX);
      for (const event of group.events) expect(Event.encode(event).finish().byteLength).toBeLessThan(INLINE_BYTES_MAX);
    }
  });

  test('it is given back from the bucket alone', async () => {
    const lost = await Fold.load(new MemoryDisk().open(), store);
    const shared = new MemoryDisk().open();
    const second = new Leader({ journal: shared, fold: lost, store, term: await shared.begin(), leaseMs: 600_000, clock });
    const { runs } = await reconcile(second, { runId: '', apply: true });
    expect(runs).toMatchObject([{ runId: RUN, verdict: 'restored', notes: [] }]);
    expect(isEnded(second.run(RUN).phase)).toBe(true);
    expect(known(second.run(RUN))).toEqual(known(leader.run(RUN)));
  });
});

/** All but the maps' inner order: a state is equal whichever way its labels came. */
const known = ({ iterations, ...rest }: RunState): object => ({ ...rest, iterations: iterations.map(({ labels, ...each }) => ({ ...each, labels: labels.toJS() })) });
