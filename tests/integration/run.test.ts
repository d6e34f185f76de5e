/** Whole runs by real processes, undisturbed: what they journal, what they store, and that they can be repeated to the byte. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { evolve, openTasks, type RunState } from '../../coordinator/run/index.ts';
import { Stage, type PartRef, type Task } from '../../proto/gen/alumnus/v1/task.ts';
import type { RunView } from '../../proto/gen/alumnus/v1/operator.ts';
import { Cluster, useClusters } from '../harness/cluster.ts';
import { digestsOf, evidenceOf, iterationsWithSelection, labelsIn, problemsOf, refsIn, selectionOf, selectResult, tableMetadata, type Evidence } from '../harness/evidence.ts';
import { LABELED, patternsHome, patternsRecipe, SHARDS, UNLABELED, VALIDATION } from '../harness/patterns.ts';

const RUN = 'patterns-undisturbed';
const ROUNDS = 2;

useClusters();
let template: Awaited<ReturnType<typeof patternsHome>>;
let cluster: Cluster;
let view: RunView;
let evidence: Evidence;
let metrics: string;

/** One run for all that is only read; each test that changes something makes its own. */
beforeAll(async () => {
  template = await patternsHome();
  cluster = await Cluster.create({ template: template.home });
  await cluster.start(undefined, ['--metrics', '127.0.0.1:0']);
  await cluster.submit(patternsRecipe({ rounds: ROUNDS }), RUN);
  view = await cluster.settled(RUN, 'succeeded');
  metrics = await (await fetch(`http://${cluster.metrics}/metrics`)).text();
  await cluster.stop();
  evidence = await evidenceOf(cluster.home, RUN);
  // Its home outlives the first test: `afterAll` removes it.
  cluster.keep();
});
afterAll(async () => {
  await cluster.remove();
  await template.remove();
});

/** Every task that was ever open, by folding the journal as a coordinator does. */
function everyTask(): Task[] {
  const tasks = new Map<string, Task>();
  let state: RunState | undefined;
  for (const event of evidence.events) {
    state = evolve(state, event);
    for (const task of openTasks(state)) tasks.set(task.taskId, task);
  }
  return [...tasks.values()];
}

const digestsOfPart = (part: PartRef | undefined): string[] => [...(part?.shards.map((shard) => shard.ref?.sha256 ?? '') ?? []), ...(part?.labels === undefined ? [] : [part.labels.sha256])];

/** The run's last fact, the one about the manifest that holds it aside. */
const lastOf = ({ events }: Evidence) => events.filter(({ fact }) => fact?.$case !== 'manifestWritten').at(-1)?.fact;

test('a run with two workers succeeds, and leaves nothing twice, missing or damaged', async () => {
  expect(await problemsOf(evidence)).toEqual([]);
  expect(evidence.failures).toEqual([]);
  expect(view.iterations.map((each) => each.decision)).not.toContain('');
  expect(lastOf(evidence)?.$case).toBe('runSucceeded');
});

test('its metrics count what the journal holds', () => {
  const value = (series: string): number => Number(metrics.split('\n').find((line) => line.startsWith(`${series} `))?.slice(series.length + 1));
  expect(value('alumnus_images_labeled_total')).toBe(ROUNDS * UNLABELED);
  expect([value('alumnus_runs{state="succeeded"}'), value('alumnus_runs_ended_total{state="succeeded"}'), value('alumnus_leader'), value('alumnus_leader_changes_total')]).toEqual([1, 1, 1, 1]);
  expect(value('alumnus_journal_facts_total')).toBe(evidence.events.length);
  const decisions = view.iterations.map(({ decision }) => decision);
  for (const decision of ['promoted', 'refused']) expect(value(`alumnus_students_total{decision="${decision}"}`)).toBe(decisions.filter((each) => each === decision).length);
  for (const kind of ['label', 'select', 'train', 'evaluate']) {
    const done = evidence.events.filter(({ fact }) => fact?.$case === 'taskCompleted' && fact.value.result?.result?.$case === kind).length;
    expect([kind, value(`alumnus_task_run_seconds_count{kind="${kind}",stage="${kind}"}`)]).toEqual([kind, done]);
    // A grant that was taken back, or lost, has waited again.
    expect(value(`alumnus_task_wait_seconds_count{kind="${kind}",stage="${kind}"}`)).toBeGreaterThanOrEqual(done);
  }
  expect(value('alumnus_journal_append_seconds_count')).toBeGreaterThan(0);
  expect(value('alumnus_store_operation_seconds_count{operation="putAddressed"}')).toBeGreaterThan(0);
});

test('each shard is labeled exactly once an iteration, and both workers had a part in it', () => {
  const labeled = evidence.completions.filter((each) => each.stage === Stage.LABEL);
  const iterations = [...new Set(labeled.map((each) => each.iteration))];
  expect(iterations).toContain(1);
  for (const iteration of iterations) expect(labeled.filter((each) => each.iteration === iteration).map((each) => each.subject).sort()).toEqual(Array.from({ length: SHARDS }, (_, at) => `unlabeled-${String(at).padStart(6, '0')}`));
  expect([...new Set(evidence.completions.map((each) => each.workerId))].sort()).toEqual(['worker-1', 'worker-2']);
});

test('the scores of the view are those of the splits, and learning was learned', () => {
  const models = [...view.iterations.map((each) => each.model), view.control];
  for (const model of models) expect(Number(model?.validation?.total)).toBe(VALIDATION);
  // Of four classes; a run that guesses would prove little.
  for (const model of models) expect(Number(model?.validation?.correct)).toBeGreaterThan(0.6 * VALIDATION);
  for (const iteration of iterationsWithSelection(evidence)) expect(Number(selectResult(evidence, iteration)?.labeled)).toBe(UNLABELED);
});

test('from the final model back to the teacher: each step names the one before by digest', async () => {
  const { store, data } = evidence;
  const last = lastOf(evidence);
  if (last?.$case !== 'runSucceeded' || last.value.bestModel === undefined) throw new Error('the run succeeded');
  let model = last.value.bestModel;
  let iteration = last.value.bestIteration;
  expect(iteration).toBeGreaterThan(0);
  for (; iteration > 0;) {
    const { lineage } = JSON.parse(Buffer.from(await store.get(model)).toString('utf8')) as { lineage: { run: string; iteration: number; task: string; labeled: string; selection: string } };
    expect(lineage).toMatchObject({ run: RUN, iteration, labeled: data.labeled?.manifestSha256 });
    expect(evidence.completions.find((each) => each.taskId === lineage.task)?.result).toMatchObject({ $case: 'train', value: { model } });
    const selection = await selectionOf(evidence, iteration);
    expect(selection?.ref.sha256).toBe(lineage.selection);
    const labels = labelsIn(evidence, iteration);
    for (const part of selection?.document.parts ?? []) expect(labels.get(part.shard)?.sha256).toBe(part.labels);
    const teacher = selection?.document.teacher ?? '';
    const written = await tableMetadata(store, labels.values().next().value!);
    expect(written['alumnus.teacher']).toBe(teacher);
    // The teacher is a model of an earlier iteration, and so on down to iteration 0.
    const trained = evidence.completions.find((each) => each.result.$case === 'train' && each.result.value.model?.sha256 === teacher);
    expect(trained?.iteration).toBeLessThan(iteration);
    if (trained?.result.$case !== 'train' || trained.result.value.model === undefined) throw new Error(`the teacher of iteration ${iteration} was trained in this run`);
    model = trained.result.value.model;
    iteration = trained.iteration;
  }
  const { lineage } = JSON.parse(Buffer.from(await store.get(model)).toString('utf8')) as { lineage: { selection: string; labeled: string } };
  expect(lineage).toMatchObject({ selection: '', labeled: data.labeled?.manifestSha256 });
});

test('a label table says itself which run, iteration, task, shard and teacher it is of', async () => {
  const labels = evidence.completions.filter((each) => each.result.$case === 'label');
  expect(labels.length).toBeGreaterThanOrEqual(SHARDS);
  for (const { taskId, iteration, subject, result } of labels) {
    if (result.$case !== 'label' || result.value.labels === undefined) throw new Error('a label task wrote a table');
    const selection = await selectionOf(evidence, iteration);
    const about = { 'alumnus.run': RUN, 'alumnus.iteration': String(iteration), 'alumnus.stage': 'label', 'alumnus.subject': subject, 'alumnus.try': '0', 'alumnus.task': taskId, 'alumnus.shard': subject, 'alumnus.teacher': selection?.document.teacher };
    expect(await tableMetadata(evidence.store, result.value.labels)).toMatchObject(about);
    expect(await evidence.store.metadata(result.value.labels.key)).toMatchObject(about);
  }
});

test('no training, labeling or selection is handed the test split, the validation split or the true labels', () => {
  const { data } = evidence;
  const tasks = everyTask();
  const held = new Set([...digestsOfPart(data.test), ...digestsOfPart(data.validation), data.truth?.sha256 ?? '']);
  // Two shards and a table of labels each, and the truth: none of them is empty or another's.
  expect(held.size).toBe(2 * (2 + 1) + 1);
  expect(held).not.toContain('');
  const kinds = new Set<string>();
  for (const task of tasks) {
    const kind = task.spec?.$case ?? '';
    kinds.add(kind);
    const digests = refsIn(task.spec).map((ref) => ref.sha256);
    if (kind === 'evaluate') expect(digests).not.toContain(data.truth?.sha256);
    else if (kind === 'audit') expect(digests.filter((digest) => digestsOfPart(data.test).includes(digest) || digestsOfPart(data.validation).includes(digest))).toEqual([]);
    else expect(digests.filter((digest) => held.has(digest)), task.taskId).toEqual([]);
  }
  expect([...kinds].sort()).toEqual(['audit', 'evaluate', 'label', 'select', 'train']);
  // What trains is what was asked for: the control and the first teacher see the labeled images alone.
  for (const task of tasks) {
    if (task.spec?.$case !== 'train') continue;
    expect(task.spec.value.labeled?.samples).toBe(LABELED);
    expect(task.spec.value.unlabeled !== undefined).toBe(task.iteration > 0 && task.subject !== 'control');
  }
});

test('the same recipe and run id in another home give the same bytes: every table, selection, model and score', async () => {
  const again = await Cluster.create({ template: template.home });
  // One worker more, so that the tasks fall to others in another order.
  await again.start(['worker-1', 'worker-2', 'worker-3']);
  await again.submit(patternsRecipe({ rounds: ROUNDS }), RUN);
  await again.settled(RUN, 'succeeded');
  await again.stop();
  const second = await evidenceOf(again.home, RUN);
  expect(await problemsOf(second)).toEqual([]);
  expect(digestsOf(second)).toEqual(digestsOf(evidence));
});
