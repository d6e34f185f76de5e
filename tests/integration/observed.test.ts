/**
 * One run as its logs and its trace tell it: submitted by the command line, done by real processes, with an engine that dies and a leader that is killed on the way.
 * The spans are what a real receiver of the protocol was sent; what they must say is taken from the journal.
 */
import { execFileSync } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Stage } from '../../proto/gen/alumnus/v1/task.ts';
import { stageName } from '../../proto/stages.ts';
import { isBeside } from '../../proto/subjects.ts';
import { acceptSpan, runSpan, stageSpan, submitSpan } from '../../proto/trace.ts';
import { Cluster } from '../harness/cluster.ts';
import { runCommand, type Ran } from '../harness/command.ts';
import { evidenceOf, type Evidence } from '../harness/evidence.ts';
import { Receiver, type Span } from '../harness/otlp.ts';
import { patternsHome, patternsRecipe } from '../harness/patterns.ts';

const RUN = 'patterns-observed';
const JSON_LOG = ['--log-format', 'json', '--log-level', 'debug'];

let template: Awaited<ReturnType<typeof patternsHome>>;
let cluster: Cluster;
let receiver: Receiver;
let evidence: Evidence;
let submitted: Ran;
const before = { ...process.env };

const attempts = (): Span[] => receiver.spans.filter(({ service }) => service === 'alumnus-worker');
const named = (name: string): Span[] => receiver.spans.filter((span) => span.name === name);

/** In iteration 1. */
const stageBefore: Partial<Record<Stage, string>> = { [Stage.LABEL]: 'promote 0', [Stage.SELECT]: 'label 1', [Stage.TRAIN]: 'select 1', [Stage.EVALUATE]: 'train 1' };

beforeAll(async () => {
  template = await patternsHome();
  receiver = await Receiver.start();
  Object.assign(process.env, { OTEL_EXPORTER_OTLP_ENDPOINT: receiver.endpoint, OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json', OTEL_BSP_SCHEDULE_DELAY: '200', OTEL_RESOURCE_ATTRIBUTES: 'deployment.environment=test' });
  cluster = await Cluster.create({ template: template.home });
  cluster.keep();
  await cluster.startCoordinator(JSON_LOG);
  const file = join(cluster.folder, 'recipe.yaml');
  await writeFile(file, patternsRecipe({ rounds: 2 }));
  submitted = await runCommand(['run', 'submit', file, '--run-id', RUN, '--address', cluster.address]);
  for (const id of ['worker-1', 'worker-2']) cluster.startWorker(id, undefined, JSON_LOG);
  const busy = cluster.workers.get('worker-1');
  await cluster.waitForRun(RUN, (view) => view.tasks.some(({ workerId }) => workerId === 'worker-1'), 'worked on');
  if (busy === undefined || !await cluster.killEngine(busy)) throw new Error('an engine was there to kill');
  await cluster.waitForRun(RUN, (view) => view.summary?.iteration === 1, 'labeled');
  // What a killed process has not sent yet is lost; while the run is paused no stage ends, and all that did is on its way.
  await cluster.call((client, callback) => client.pauseRun({ runId: RUN, reason: '' }, callback));
  const stage = (await cluster.run(RUN)).summary?.stage ?? Stage.UNSPECIFIED;
  await cluster.waitForRun(RUN, () => named(stageBefore[stage] ?? '').length === 1, `told to have ended ${stageBefore[stage] ?? ''}`);
  await cluster.killCoordinator();
  await cluster.startCoordinator(JSON_LOG);
  await cluster.resume(RUN);
  await cluster.settled(RUN, 'succeeded');
  await cluster.stop();
  evidence = await evidenceOf(cluster.home, RUN);
});
afterAll(async () => {
  for (const name of Object.keys(process.env)) if (name.startsWith('OTEL_') && before[name] === undefined) delete process.env[name];
  await cluster?.remove();
  await receiver?.close();
  await template?.remove();
});

describe('the trace of a run', () => {
  test('is one, and from the command to each attempt every span has its parent in it', () => {
    expect(submitted, submitted.err).toMatchObject({ code: 0 });
    expect([...new Set(receiver.spans.map(({ traceId }) => traceId))]).toEqual([runSpan(RUN).traceId]);
    const ids = receiver.spans.map(({ spanId }) => spanId);
    expect(new Set(ids).size).toBe(ids.length);
    expect(receiver.spans.filter(({ parent }) => !ids.includes(parent)).map(({ name }) => name)).toEqual(['run submit']);
    expect(named('run submit')).toMatchObject([{ service: 'alumnus-cli', spanId: submitSpan(RUN).spanId, parent: '', attributes: { 'alumnus.run': RUN } }]);
    expect(named('SubmitRun')).toMatchObject([{ service: 'alumnus-coordinator', spanId: acceptSpan(RUN).spanId, parent: submitSpan(RUN).spanId, error: '' }]);
    expect(named('run')).toMatchObject([{ service: 'alumnus-coordinator', spanId: runSpan(RUN).spanId, parent: acceptSpan(RUN).spanId, attributes: { 'alumnus.run': RUN, 'alumnus.outcome': 'succeeded' } }]);
  });

  test('has each stage from the fact that begins it to the one that ends it, though another led when it ended', () => {
    const facts = evidence.events.flatMap(({ atMs, fact }): { atMs: number; iteration: number | undefined; stage: Stage | undefined }[] => {
      switch (fact?.$case) {
        case 'runSubmitted': return [{ atMs, iteration: 0, stage: Stage.TRAIN }];
        case 'stageEntered': return [{ atMs, iteration: fact.value.iteration, stage: fact.value.stage }];
        case 'studentPromoted':
        case 'studentRefused': return [{ atMs, iteration: undefined, stage: Stage.PROMOTE }];
        case 'runSucceeded': return [{ atMs, iteration: undefined, stage: undefined }];
        default: return [];
      }
    });
    let iteration = 0;
    const expected = facts.slice(0, -1).map(({ atMs, stage, ...fact }, at) => {
      iteration = fact.iteration ?? iteration;
      return { name: `${stageName(stage ?? Stage.UNSPECIFIED)} ${iteration}`, startMs: atMs, endMs: facts[at + 1]?.atMs };
    });
    const stages = receiver.spans.filter(({ service, parent }) => service === 'alumnus-coordinator' && parent === runSpan(RUN).spanId);
    const byStart = (a: { startMs: number; endMs: number | undefined }, b: { startMs: number; endMs: number | undefined }): number => a.startMs - b.startMs || (a.endMs ?? 0) - (b.endMs ?? 0);
    expect(stages.map(({ name, startMs, endMs }) => ({ name, startMs, endMs })).sort(byStart)).toEqual(expected.sort(byStart));
    expect(named('label 1')).toHaveLength(1);
    expect(named('run')[0]).toMatchObject({ startMs: facts[0]?.atMs, endMs: facts.at(-1)?.atMs });
  });

  test('has each accepted result as an attempt of its stage, with who did it', () => {
    const done = new Map(attempts().filter(({ attributes }) => attributes['alumnus.outcome'] === 'done').map((span) => [span.attributes['alumnus.task'], span]));
    expect([...done.keys()].map(String).sort()).toEqual(evidence.completions.map(({ taskId }) => taskId).sort());
    for (const { taskId, iteration, stage, subject, workerId } of evidence.completions) {
      const span = done.get(taskId);
      expect(span, taskId).toMatchObject({
        error: '', parent: (isBeside({ stage, subject }) ? runSpan(RUN) : stageSpan(RUN, { iteration, stage, try: 0 })).spanId,
        attributes: { 'alumnus.run': RUN, 'alumnus.iteration': iteration, 'alumnus.stage': stageName(stage), 'alumnus.subject': subject, 'alumnus.worker': workerId, 'alumnus.lease': expect.stringMatching(/^\d+\.\d+$/), 'alumnus.attempt': expect.any(Number) },
      });
      expect(span!.endMs).toBeGreaterThanOrEqual(span!.startMs);
    }
    expect(evidence.completions.some((each) => isBeside(each))).toBe(true);
  });

  test('has the attempt that an engine\'s death cost as one that failed, and the next with its number', () => {
    const failed = attempts().filter(({ attributes }) => attributes['alumnus.outcome'] === 'failed');
    expect(failed.length).toBeGreaterThan(0);
    for (const { error, attributes } of failed) expect([error, attributes['alumnus.error']]).toEqual([expect.stringContaining('ENGINE_CRASHED'), 'ENGINE_CRASHED']);
    const [{ attributes }] = failed as [Span];
    const again = attempts().filter((span) => span.attributes['alumnus.task'] === attributes['alumnus.task'] && span.attributes['alumnus.outcome'] === 'done');
    expect(again.map((span) => span.attributes['alumnus.attempt'])).toEqual([1]);
  });
});

test('of OpenTelemetry\'s packages nothing is loaded where no endpoint is set', () => {
  const program = `import { createRequire } from 'node:module';
    const { openTraces } = await import(${JSON.stringify(fileURLToPath(new URL('../../dist/telemetry/index.js', import.meta.url)))});
    await openTraces({ service: 's', version: '1', env: process.env, log: () => {} });
    process.stdout.write(String(Object.keys(createRequire(import.meta.url).cache).filter((file) => /@opentelemetry\\/(sdk|exporter|otlp|resources)/.test(file)).length));`;
  const loaded = (env: Record<string, string>): number => Number(execFileSync(process.execPath, ['--input-type=module', '-e', program], { cwd: fileURLToPath(new URL('../..', import.meta.url)), env: { PATH: process.env.PATH, ...env }, encoding: 'utf8' }));
  expect(loaded({})).toBe(0);
  expect(loaded({ OTEL_EXPORTER_OTLP_ENDPOINT: receiver.endpoint })).toBeGreaterThan(5);
});

describe('a log of JSON', () => {
  interface Line {
    readonly level: string;
    readonly program: string;
    readonly msg: string;
    readonly run?: string;
    readonly task?: string;
    readonly worker?: string;
    readonly term?: number;
  }
  const linesOf = (name: string): Line[] => cluster.log(name).trimEnd().split('\n').map((line) => JSON.parse(line) as Line);

  test('is an object a line, all of it, with the program', () => {
    for (const name of ['coordinator', 'worker-1', 'worker-2']) {
      for (const line of linesOf(name)) expect(line).toMatchObject({ program: name.replace(/-\d$/, ''), level: expect.any(String), msg: expect.any(String), time: expect.stringMatching(/Z$/) });
    }
  });

  test('says of an attempt run, task and worker on both sides, and of a leader its term', () => {
    const { taskId = '', workerId = '' } = evidence.completions.find(({ stage }) => stage === Stage.SELECT) ?? {};
    const about = { run: RUN, task: taskId, worker: workerId };
    expect(linesOf('coordinator')).toContainEqual(expect.objectContaining({ ...about, term: 2, level: 'debug', msg: `grants ${taskId} to worker ${workerId}` }));
    expect(linesOf(workerId).filter(({ task }) => task === taskId)).toEqual([expect.objectContaining({ ...about, msg: `begins ${taskId}` }), expect.objectContaining({ ...about, msg: `did ${taskId}` })]);
    const failed = linesOf('worker-1').filter(({ msg }) => msg.includes('ENGINE_CRASHED'));
    expect(failed.length).toBeGreaterThan(0);
    for (const line of failed) expect(line).toMatchObject({ level: 'warn', run: RUN, task: expect.any(String), worker: 'worker-1', code: 'ENGINE_CRASHED' });
    expect(linesOf('coordinator').filter(({ msg }) => msg.startsWith('leads term')).map(({ term }) => term)).toEqual([1, 2]);
  });
});
