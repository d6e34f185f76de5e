/** Whole commands, against a coordinator that answers by script over real gRPC. */
import { mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Server, ServerCredentials, type handleUnaryCall } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createProgram } from '../../../cli/program.ts';
import { Context } from '../../../cli/context.ts';
import { AlumnusError, type ErrorCode } from '../../../proto/errors.ts';
import { statusOf } from '../../../proto/status.ts';
import { OperatorServiceService, type ChangeBudgetRequest, type OperatorServiceServer, type ReconcileResponse, type RunView } from '../../../proto/gen/alumnus/v1/operator.ts';
import { openStore } from '../../../store/index.ts';
import { modelNames, readyRecipe, readyRecipeNames } from '../../../recipe/index.ts';
import { Stage } from '../../../proto/gen/alumnus/v1/task.ts';
import { recorder, run } from './console.ts';
import { finishedRun, pausedRun, runningRun } from './fixture.ts';

const refuse = (code: ErrorCode, message: string, where: string) => statusOf(new AlumnusError(code, message, { where }));

const submitted: string[] = [];
const budgets: ChangeBudgetRequest[] = [];
const view = finishedRun();

const behind = (at: number) => `manifest ${at} of term ${at + 1} (1a2b3c4d5e6f) was left by a leader that did not get to journal it`;

/** What a coordinator answers of one run, or of all. */
function reconciled(runId: string): ReconcileResponse {
  const row = { runId, verdict: 'agrees', factsRestored: 0, resultsTaken: 0, checkpointsTaken: 0, tasksOpen: 3, notes: [] as string[], state: 'running', iteration: 1, stage: Stage.TRAIN };
  if (runId === '') return { runs: [], objectsSeen: 0 };
  if (runId === 'nope') return { runs: [{ ...row, verdict: 'unreadable', tasksOpen: 0, state: '', iteration: 0, stage: Stage.UNSPECIFIED }], objectsSeen: 0 };
  if (runId === 'torn') return { runs: [{ ...row, verdict: 'unreadable', tasksOpen: 0, state: '', iteration: 0, stage: Stage.UNSPECIFIED, notes: ['manifest 0 is damaged'] }], objectsSeen: 4 };
  if (runId === 'split') return { runs: [{ ...row, verdict: 'diverged' }], objectsSeen: 9 };
  return { runs: [{ ...row, notes: ['a.record is not used', ...Array.from({ length: 11 }, (_, at) => behind(at))] }], objectsSeen: 9 };
}

const answerRun: handleUnaryCall<{ runId: string }, RunView> = (call, callback) =>
  call.request.runId === 'mnist-4f2a91' ? callback(null, view) : callback(refuse('RUN_NOT_FOUND', 'there is no such run', call.request.runId));

const service: OperatorServiceServer = {
  getStatus: (_, callback) => callback(null, { version: '0.1.0', term: 3, storeUrl: 'file:///s', journal: 'lmdb', workers: 2, sequence: 41, role: 'leader', leaderAddress: '', notice: '' }),
  changeBudget: (call, callback) => {
    budgets.push(call.request);
    callback(null, { ...runningRun(), budget: { deviceHoursLimit: call.request.deviceHours ?? 0, deviceHoursSpent: 1.5, wallHoursLimit: call.request.wallHours ?? 0, wallHoursSpent: 0.25 } });
  },
  reconcile: (call, callback) => callback(null, reconciled(call.request.runId)),
  submitRun: (call, callback) => {
    submitted.push(call.request.recipe);
    if (call.request.recipe.includes('dataset: absent')) callback(refuse('DATASET_NOT_FOUND', 'there is no dataset "absent"', 'absent'));
    // As submission.ts: what its schema refuses, and what only the data shows.
    else if (call.request.recipe.includes('dataset: newer')) callback(refuse('RECIPE_INVALID', 'training.optimizer.name (line 8): invalid option', 'recipe'));
    else if (call.request.recipe.includes('dataset: other-classes')) callback(refuse('RECIPE_INVALID', 'its classes (a) are not those of the labeled data (b)', 'data.validation'));
    else callback(null, { runId: call.request.runId || 'mnist-4f2a91', warnings: call.request.recipe.includes('dataset: aged') ? ['nobody knows'] : [] });
  },
  listRuns: (_, callback) => callback(null, { runs: [view.summary!, { ...runningRun().summary!, runId: 'other-000001', submittedAtMs: 1 }], notice: '' }),
  getRun: answerRun,
  reviewLabels: answerRun,
  indexTars: (call) => call.end(),
  watchRun: (call) => {
    if (call.request.runId === 'paused-000001') {
      call.write(pausedRun('i0.train.student: 2 attempts failed, the last with STORE_FULL: no space is left on the device'));
      call.write(pausedRun('i0.train.student: 2 attempts failed, the last with STORE_FULL: no space is left on the device'));
      call.write(view);
      call.end();
      return;
    }
    if (call.request.runId === 'spent-000001') {
      call.write(pausedRun('its budget is spent (2.01 of 2 device hours); `alumnus run budget spent-000001 --device-hours N` raises it, and the run goes on'));
      call.write(view);
      call.end();
      return;
    }
    if (call.request.runId !== 'mnist-4f2a91') {
      call.emit('error', refuse('RUN_NOT_FOUND', 'there is no such run', call.request.runId));
      return;
    }
    call.write(runningRun());
    call.write(view);
    call.end();
  },
  pauseRun: answerRun, resumeRun: answerRun, killRun: answerRun, retryRun: answerRun, promoteModel: answerRun, rollBackRun: answerRun,
  cordonWorker: (call, callback) => callback(refuse('WORKER_NOT_FOUND', 'there is no such worker', call.request.workerId)),
  explainTask: (call, callback) => callback(refuse('TASK_NOT_FOUND', 'there is no such task', call.request.task)),
  collectGarbage: (_, callback) => callback(null, { garbage: [], keptObjects: 0, keptBytes: 0, youngObjects: 0, unknownRuns: [] }),
  listLogs: (_, callback) => callback(null, { lines: [], term: 1, dropped: 0 }),
  listEvents: (_, callback) => callback(null, { events: [], total: 0 }),
  cancelRun: (call, callback) => callback(refuse('RUN_CONFLICT', 'the run has ended', call.request.runId)),
  listWorkers: (_, callback) => callback(null, { workers: [{ workerId: 'worker-1', host: 'h', processId: 7, device: 'cpu x 2 threads', state: 'busy', lastSeenMs: Date.now(), taskIds: ['t1'], version: '0.1.0', slots: 3, cordon: '', holds: [] }] }),
};

let server: Server;
let address = '';
let folder = '';

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'alumnus-cli-'));
  server = new Server();
  server.addService(OperatorServiceService, service);
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) => (error === null ? resolve(bound) : reject(error)));
  });
  address = `127.0.0.1:${port}`;
});
afterAll(() => server.forceShutdown());

const ask = (...args: string[]) => run([...args, '--address', address]);

async function recipeFile(text: string): Promise<string> {
  const file = join(folder, `recipe-${Math.random().toString(36).slice(2)}.yaml`);
  await writeFile(file, text);
  return file;
}

const mnist = readyRecipe('mnist')!;

describe('an error is one sentence on stderr, with its exit code and nothing on stdout', () => {
  const expectSentence = (ran: { code: number; out: string; err: string }, code: number, pattern: RegExp): void => {
    expect(ran.out).toBe('');
    expect(ran.err.trim().split('\n')).toHaveLength(1);
    expect(ran.err).toMatch(pattern);
    expect(ran.code).toBe(code);
  };

  test('no coordinator', async () => {
    const port = await new Promise<number>((resolve) => {
      const closed = createServer().listen(0, '127.0.0.1', () => {
        const bound = closed.address();
        closed.close(() => resolve(typeof bound === 'object' && bound !== null ? bound.port : 0));
      });
    });
    expectSentence(await run(['run', 'list', '--address', `127.0.0.1:${port}`]), 5, new RegExp(`^error: 127\\.0\\.0\\.1:${port}: no coordinator answers there\\. .*\`alumnus coordinator\`.* \\[UNREACHABLE\\]$`, 'm'));
  });
  test.each([['describe'], ['watch'], ['wait'], ['report'], ['pause']])('an unknown run, of run %s', async (verb) => {
    expectSentence(await ask('run', verb, 'nobody/€'), 3, /^error: nobody\/€: there is no such run\. List the runs with `alumnus run list`\. \[RUN_NOT_FOUND\]$/m);
  });
  test('a recipe with a wrong field, with path, line and reason, before anything is submitted', async () => {
    const before = submitted.length;
    const file = await recipeFile(mnist.replace('seed: 1', 'seed: one'));
    expectSentence(await ask('run', 'submit', file), 2, /: seed \(line \d+\): .*\[RECIPE_INVALID\]$/m);
    expectSentence(await run(['recipe', 'validate', file]), 2, /: seed \(line \d+\): .*\[RECIPE_INVALID\]$/m);
    expect(submitted).toHaveLength(before);
  });
  test('a recipe with several wrong fields, each on a line of its own below the sentence', async () => {
    const file = await recipeFile(mnist.replace('seed: 1', 'seed: one\nsede: 1').replace('width: 32', 'width: "a\\nb"'));
    for (const ran of [await run(['recipe', 'validate', file]), await ask('run', 'submit', file)]) {
      const [sentence, ...problems] = ran.err.trimEnd().split('\n');
      expect(sentence).toBe(`error: ${file}: 3 problems. Correct the named fields and run \`alumnus recipe validate\` again. [RECIPE_INVALID]`);
      expect(problems).toEqual([
        expect.stringMatching(/^ {2}seed \(line \d+\): invalid input/),
        expect.stringMatching(/^ {2}models\.ladder\[2\]\.width \(line \d+\): /),
        expect.stringMatching(/^ {2}sede \(line \d+\): is not a field of a recipe$/),
      ]);
      expect(ran).toMatchObject({ code: 2, out: '' });
    }
  });
  test('a ladder that shrinks', async () => {
    expectSentence(await run(['recipe', 'validate', await recipeFile(mnist.replace('width: 32', 'width: 8'))]), 2, /models\.ladder\[2\]\.width \(line \d+\): shrinks from 28 to 8.*\[RECIPE_LADDER_SHRINKS\]$/m);
  });
  test('a dataset that is not there', async () => {
    expectSentence(await ask('run', 'submit', await recipeFile(mnist.replace('dataset: mnist ', 'dataset: absent '))), 3, /^error: absent: there is no dataset "absent"\. .*\[DATASET_NOT_FOUND\]$/m);
  });
  test('a recipe that is valid here and not to the coordinator\'s code', async () => {
    expectSentence(await ask('run', 'submit', await recipeFile(mnist.replace('dataset: mnist ', 'dataset: newer '))), 8,
      /the coordinator refuses a recipe that is valid here \(training\.optimizer\.name \(line 8\): invalid option\): it runs other code than this command, and should be restarted on it\. .*\[CODE_OUTDATED\]$/m);
  });
  test('a recipe that does not fit its data, which only the coordinator can tell', async () => {
    expectSentence(await ask('run', 'submit', await recipeFile(mnist.replace('dataset: mnist ', 'dataset: other-classes '))), 2, /^error: data\.validation: its classes \(a\) are not .*\[RECIPE_INVALID\]$/m);
  });
  test('a run that has ended already', async () => expectSentence(await ask('run', 'cancel', 'mnist-4f2a91'), 4, /\[RUN_CONFLICT\]$/m));
  test('a command there is none of', async () => expectSentence(await run(['rnu']), 2, /^error: unknown command 'rnu' \(did you mean run\?\)\. .*\[USAGE\]$/m));
  test('a flag there is none of', async () => expectSentence(await run(['run', 'list', '--outptu', 'json']), 2, /unknown option '--outptu' \(did you mean --output\?\)/));
  test('an argument that is missing', async () => expectSentence(await run(['run', 'describe']), 2, /missing required argument 'run'/));
  test('a file that is not there', async () => expectSentence(await run(['recipe', 'validate', join(folder, 'absent.yaml')]), 2, /absent\.yaml: there is no such file/));
  test('an address that is none', async () => expectSentence(await run(['status', '--address', 'localhost']), 2, /"localhost" is not an address/));
  test('an output form there is none of', async () => expectSentence(await ask('run', 'list', '-o', 'xml'), 2, /there is no output form "xml"; there are table, wide, json, jsonl, yaml, name/));
  test('a ready recipe there is none of', async () => expectSentence(await run(['recipe', 'init', 'cifar']), 2, /there are .*fashion-mnist, mnist/));
});

describe('reading', () => {
  test('lists runs as a table, the newest first', async () => {
    const ran = await ask('run', 'list');
    expect(ran.code).toBe(0);
    expect(ran.err).toBe('');
    const lines = ran.out.trim().split('\n');
    expect(lines[0]).toMatch(/^RUN +STATE +ITERATION/);
    expect(lines[1]).toMatch(/^mnist-4f2a91 +succeeded +3 of 3 +– +96\.4 %/);
    expect(lines[2]).toMatch(/^other-000001 +running +2 of 3 +label/);
  });
  test('answers programs in JSON with apiVersion and kind, stages by name', async () => {
    const listed = JSON.parse((await ask('run', 'list', '-o', 'json')).out);
    expect(listed).toMatchObject({ apiVersion: 'alumnus/v1', kind: 'RunSummaryList' });
    expect(listed.items[1]).toMatchObject({ runId: 'other-000001', stage: 'label' });
    const described = JSON.parse((await ask('run', 'describe', 'mnist-4f2a91', '-o', 'json')).out);
    expect(described).toMatchObject({ apiVersion: 'alumnus/v1', kind: 'Run', recipe: { name: 'mnist' }, summary: { state: 'succeeded' } });
    expect(described.iterations[3].model.test.correct).toBe(9650);
  });
  test('answers in lines of JSON, in YAML and by name', async () => {
    const lines = (await ask('run', 'list', '-o', 'jsonl')).out.trim().split('\n').map((line) => JSON.parse(line));
    expect(lines.map((line) => [line.kind, line.runId])).toEqual([['RunSummary', 'mnist-4f2a91'], ['RunSummary', 'other-000001']]);
    expect((await ask('run', 'list', '-o', 'yaml')).out).toMatch(/^apiVersion: alumnus\/v1\nkind: RunSummaryList\nitems:\n/);
    expect((await ask('run', 'list', '-o', 'name')).out).toBe('mnist-4f2a91\nother-000001\n');
  });
  test('describes data, iterations and findings', async () => {
    const { out } = await ask('run', 'describe', 'mnist-4f2a91');
    expect(out).toContain('54,900 images, mnist-100-s1#unlabeled, manifest dddddddddddd');
    expect(out).toContain('beats the control');
  });
  test('shows workers and status', async () => {
    expect((await ask('worker', 'list')).out).toMatch(/worker-1 +busy +h +7 +cpu x 2 threads/);
    expect(JSON.parse((await ask('status', '-o', 'json')).out)).toMatchObject({ kind: 'Status', term: 3, workers: 2 });
  });
  test('takes the address from the environment', async () => {
    expect((await run(['status', '-o', 'name'], { ALUMNUS_ADDRESS: address })).out).toBe(`${address}\n`);
  });
});

describe('reconcile', () => {
  test('of a run that nobody knows ends with 3, of one whose manifests are damaged with its row', async () => {
    const ran = await ask('reconcile', 'nope');
    expect(ran).toMatchObject({ code: 3, out: '' });
    expect(ran.err).toMatch(/^error: nope: neither the journal nor the object store knows such a run\. .*\[RUN_NOT_FOUND\]\n$/);
    expect(await ask('reconcile', 'torn')).toMatchObject({ code: 0, out: expect.stringMatching(/^torn +not restored: .*manifest 0 is damaged$/m) });
  });
  test('of a run that has diverged says so by that word, counts nothing as to be done, and ends with 4 and what to do', async () => {
    for (const dry of [[], ['--dry-run']]) {
      const ran = await ask('reconcile', 'split', ...dry);
      expect(ran.out).toMatch(/^split +diverged: the journal went on otherwise than the manifests, and (will stand|stands) +– +– +– +– +running/m);
      expect(ran.code).toBe(4);
      expect(ran.err).toMatch(/^error: split: diverged: the journal stands .*cancel the run and submit its recipe anew, or restore the journal .*\[RUN_CONFLICT\]\n$/);
    }
  });
  test('tells what changes of leaders left behind in one line, and programs all of it', async () => {
    const ran = await ask('reconcile', 'mnist-4f2a91');
    expect(ran).toMatchObject({ code: 0, err: expect.stringMatching(/^Next:\n {2}alumnus run list /) as string });
    expect(ran.out).toContain('11 manifests were left by leaders that did not get to journal them: harmless');
    expect(ran.out).toContain('a.record is not used');
    expect(ran.out).not.toContain('1a2b3c4d5e6f');
    expect(JSON.parse((await ask('reconcile', 'mnist-4f2a91', '-o', 'json')).out).items[0].notes).toHaveLength(12);
  });
});

describe('a budget', () => {
  test('is shown without a flag, and changed by flags; what is not named stays', async () => {
    const shown = await ask('run', 'budget', 'mnist-4f2a91');
    expect(shown.out).toMatch(/^Run +mnist-4f2a91\nState +succeeded\nDevice time +2 m 40 s spent, no limit\nWall time +4 m 42 s of 0\.5 h spent \(15\.7 %\)\n$/);
    expect(budgets).toEqual([]);
    const changed = await ask('run', 'budget', 'mnist-4f2a91', '--device-hours', '40.5');
    expect(changed.out).toMatch(/State +running\nDevice time +1 h 30 m of 40\.5 h spent \(3\.7 %\)\nWall time +15 m 0 s spent, no limit\n$/);
    expect(budgets).toEqual([{ runId: 'mnist-4f2a91', deviceHours: 40.5, wallHours: undefined }]);
    await ask('run', 'budget', 'mnist-4f2a91', '--wall-hours', '0');
    expect(budgets.at(-1)).toEqual({ runId: 'mnist-4f2a91', deviceHours: undefined, wallHours: 0 });
  });
  test('is told programs in hours', async () => {
    expect(JSON.parse((await ask('run', 'budget', 'mnist-4f2a91', '-o', 'json')).out)).toMatchObject({ apiVersion: 'alumnus/v1', kind: 'RunBudget', runId: 'mnist-4f2a91', wallHoursLimit: 0.5, wallHoursSpent: 282 / 3600 });
  });
  test('is described with its run', async () => expect((await ask('run', 'describe', 'mnist-4f2a91')).out).toMatch(/\nWall time +4 m 42 s of 0\.5 h spent/));
  test('takes no hours that are none', async () => {
    const ran = await ask('run', 'budget', 'mnist-4f2a91', '--device-hours', 'many');
    expect([ran.code, ran.out]).toEqual([2, '']);
    expect(ran.err).toMatch(/--device-hours.*Hours are expected, such as 40 or 1\.5; 0 is no limit/);
  });
});

describe('following', () => {
  test('submit prints the run on stdout and the next commands on stderr', async () => {
    const file = await recipeFile(mnist);
    const ran = await ask('run', 'submit', file);
    const [, runId] = /^Submitted run (mnist-[0-9a-f]{6})\.\n$/.exec(ran.out) ?? [];
    expect(runId).toBeDefined();
    expect(ran.err).toContain(`alumnus run watch ${runId} --address ${address}`);
    expect(ran.err).toMatch(/^What it takes, as far as that is known:\nTRAINING .*\niteration 0 /);
    expect((await ask('run', 'submit', file, '-o', 'name')).err).not.toContain('What it takes');
    expect((await ask('run', 'submit', file, '-o', 'name')).out).toMatch(/^mnist-[0-9a-f]{6}\n$/);
    expect(submitted.at(-1)).toBe(mnist);
  });

  test('what a run is taken in spite of is said beside its name', async () => {
    const ran = await ask('run', 'submit', await recipeFile(mnist.replace('dataset: mnist ', 'dataset: aged ')), '--run-id', 'mnist-4f2a91', '-o', 'name');
    expect(ran).toMatchObject({ code: 0, out: 'mnist-4f2a91\n' });
    expect(ran.err).toContain('warning: nobody knows\n');
  });
  test('submit --watch says that the run is taken before anything else', async () => {
    const ran = await ask('run', 'submit', await recipeFile(mnist.replace('dataset: mnist ', 'dataset: aged ')), '--run-id', 'mnist-4f2a91', '--watch');
    expect(ran.err).toMatch(/^Submitted run mnist-4f2a91\. .*\nwarning: nobody knows\nWhat it takes/);
    expect(ran.err.split('\n').slice(-4)).toEqual(['Next:', `  alumnus run report mnist-4f2a91 --address ${address}`, `  alumnus run export mnist-4f2a91 --address ${address} --to ./model`, '']);
  });
  test('watch puts progress on stderr and the table on stdout', async () => {
    const ran = await ask('run', 'watch', 'mnist-4f2a91');
    expect(ran.code).toBe(0);
    expect(ran.err).toContain('14 of 28 shards labeled');
    expect(ran.err).not.toContain('\u001b');
    expect(ran.out).toContain('The best model (iteration 3) beats the control');
  });
  test('watch says once what to do about a pause, and how the run goes on', async () => {
    const { err } = await ask('run', 'watch', 'paused-000001');
    expect(err.match(/what to do: Free space/g)).toHaveLength(1);
    expect(err.match(/alumnus run resume paused-000001/g)).toHaveLength(1);
  });
  test('watch of a run whose budget is spent says how it is raised, and nothing of a resume that would be refused', async () => {
    const { err } = await ask('run', 'watch', 'spent-000001');
    expect(err.match(/alumnus run budget spent-000001 --device-hours N/g)).toHaveLength(1);
    expect(err).not.toContain('alumnus run resume');
  });
  test('watch as lines of JSON gives every view and no progress', async () => {
    const ran = await ask('run', 'watch', 'mnist-4f2a91', '-o', 'jsonl');
    expect(ran.out.trim().split('\n').map((line) => JSON.parse(line).summary.state)).toEqual(['running', 'succeeded']);
    expect(ran.err).toBe('');
  });
  test('wait says how it ended', async () => expect(await ask('run', 'wait', 'mnist-4f2a91')).toEqual({ code: 0, out: 'Run mnist-4f2a91 succeeded.\n', err: '' }));
  test('report writes one file, prints its path last, and says what it could not read', async () => {
    const [out, store] = [join(folder, 'report.html'), join(folder, 'empty-store')];
    await openStore(pathToFileURL(store).href, { create: true });
    const ran = await ask('run', 'report', 'mnist-4f2a91', '--out', out, '--store', store);
    expect(ran.out).toBe(`${out}\n`);
    expect(ran.err).toContain('The audit of iteration 1 cannot be read');
    const { err } = await ask('run', 'report', 'mnist-4f2a91', '--out', out, '--store', pathToFileURL(join(folder, 'no-store')).href);
    for (const sentence of ['The object store cannot be read from here', 'agreement with the teacher is left out']) expect(err).toContain(sentence);
    expect(await readFile(out, 'utf8')).toContain('96.50 %');
    expect(await ask('run', 'report', 'mnist-4f2a91', '--out', out, '--store', 's3:/alumnus')).toMatchObject({ code: 2, out: '', err: expect.stringContaining('"s3:/alumnus" is no store') });
    expect((await ask('run', 'report', 'mnist-4f2a91', '--out', '-')).out).toMatch(/^<!doctype html>/);
  });
  test('beside a report lies the run for programs', async () => {
    const out = join(folder, 'beside.html');
    expect((await ask('run', 'report', 'mnist-4f2a91', '--out', out)).out).toBe(`${out}\n`);
    expect(JSON.parse(await readFile(join(folder, 'beside.json'), 'utf8'))).toEqual(JSON.parse((await ask('run', 'describe', 'mnist-4f2a91', '-o', 'json')).out));
  });
});

describe('recipes', () => {
  test('list names each that is ready, and says in a sentence what it is', async () => {
    expect((await run(['recipe', 'list', '-o', 'name'])).out.trim().split('\n')).toEqual(readyRecipeNames());
    expect((await run(['recipe', 'list'])).out).toMatch(/^deit +DeiT on MNIST: .*token\.$/m);
  });

  test('init hands out what validate takes', async () => {
    const { out } = await run(['recipe', 'init', 'fashion-mnist']);
    expect(out).toBe(readyRecipe('fashion-mnist'));
    const file = join(folder, 'fresh.yaml');
    expect((await run(['recipe', 'init', '--out', file])).code).toBe(0);
    expect((await run(['recipe', 'init', '--out', file])).err).toContain('is there already and is not overwritten');
    expect((await run(['recipe', 'validate', file])).err).toMatch(/^What it takes, as far as the recipe says it:\nTRAINING /);
    expect((await run(['recipe', 'validate', file])).out).toContain('valid: mnist, 3 rounds, cnn width=24 → cnn width=28 → cnn width=32 → cnn width=36');
    expect((await run(['recipe', 'validate', await recipeFile('{ name: a, rounds: 1, data: { dataset: b }, models: { ladder: [{ model: cnn }] } }')])).out).toContain('valid: a, 1 round, cnn → cnn');
  });
  test('validate tells programs every problem', async () => {
    const ran = await run(['recipe', 'validate', await recipeFile(mnist.replace('rounds: 3', 'rounds: -3')), '-o', 'json']);
    expect(ran.code).toBe(2);
    expect(JSON.parse(ran.out)).toMatchObject({ kind: 'RecipeValidation', valid: false, problems: [{ path: 'rounds', line: 6, reason: expect.stringContaining('>=0') }, { path: 'models.ladder' }] });
  });
  test('models lists what a recipe may name', async () => {
    const { out } = await run(['recipe', 'models']);
    // recipe/models/cnn.ts.
    expect(out).toMatch(/^MODEL +FAMILY +OPTIONS WITH THEIR DEFAULTS\ncnn +cnn +width 16, dense 128, dropout_features 0\.25, dropout 0\.5\n/);
    expect((await run(['recipe', 'models', '-o', 'name'])).out.split('\n')).toEqual([...modelNames, '']);
  });
  test('models of one name tells its options: default, range or values, and what each does', async () => {
    const { out } = await run(['recipe', 'models', 'resnet']);
    // recipe/models/resnet.ts.
    expect(out).toMatch(/\ndepth \* +50 +18, 34, 50, 101, 152 +layers\n/);
    expect(out).toMatch(/\nwidth \* +64 +1 to 1024 +filters of the first stage; /);
    expect(out).toMatch(/\nsurvival +0\.8 +0\.1 to 1, fractions too +chance that the last block survives/);
    expect((await run(['recipe', 'models', 'vit-small'])).out).toMatch(/^Model +vit-small\nFamily +vit\n/);
    expect(JSON.parse((await run(['recipe', 'models', 'resnet', '-o', 'json'])).out)).toMatchObject({ apiVersion: 'alumnus/v1', kind: 'Model', name: 'resnet', options: { depth: { default: 50, choices: [18, 34, 50, 101, 152], size: true } } });
    expect(await run(['recipe', 'models', 'transformer'])).toMatchObject({ code: 2, out: '', err: expect.stringContaining('there is no model "transformer"; there are cnn, ') });
  });
  test('schema is JSON Schema', async () => expect(JSON.parse((await run(['recipe', 'schema'])).out)).toMatchObject({ title: 'Alumnus recipe', properties: { rounds: {} } }));
});

test('every command has a summary and an example in its help', () => {
  const seen: string[] = [];
  const walk = (command: ReturnType<typeof createProgram>, path: string): void => {
    for (const child of command.commands) {
      const name = `${path} ${child.name()}`;
      seen.push(name);
      let help = '';
      child.configureOutput({ writeOut: (text) => { help += text; } });
      child.outputHelp();
      expect(help, name).toMatch(/Examples?:\n {2}alumnus /);
      expect(child.summary(), name).not.toBe('');
      walk(child, name);
    }
  };
  walk(createProgram(new Context(recorder(), recorder(), {})), 'alumnus');
  expect(seen.length).toBeGreaterThan(20);
});
