/**
 * Every verb of the command line on a real coordinator and a worker, and what it tells programs held against the schema of its kind (`alumnus schema`).
 * One cluster, one small run; the cases go one after another, and later ones stand on what earlier ones made. Needs dist/.
 * A new verb without a case here fails the last test.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { dirname, join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { Validator } from '@cfworker/json-schema';
import type { Command } from 'commander';
import { PNG } from 'pngjs';
import { pack } from 'tar-stream';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Context } from '../../cli/context.ts';
import { kindSchema } from '../../cli/kinds/index.ts';
import { createProgram } from '../../cli/program.ts';
import { factsInBucket } from '../../coordinator/history.ts';
import { acceptedTasks } from '../../coordinator/run/index.ts';
import { openStore } from '../../store/index.ts';
import { Cluster } from '../harness/cluster.ts';
import { commandLine, runCommand, type Ran } from '../harness/command.ts';
import { patternsHome, patternsRecipe } from '../harness/patterns.ts';
import { recorder } from '../unit/cli/console.ts';

const RUN = 'patterns-000001';
const SECRET = 'hunter2hunter2';
let patterns: Awaited<ReturnType<typeof patternsHome>>;
let cluster: Cluster;
let recipe = '';
const file = (name: string): string => join(cluster.folder, name);
/** Of a recipe that takes longer than a test, to be steered. */
let steered = '';

type Told = Record<string, unknown> & { readonly items?: readonly Record<string, unknown>[] };

const environment = (): Record<string, string> => ({ HOME: cluster.folder, XDG_CONFIG_HOME: join(cluster.folder, 'config'), ALUMNUS_ADDRESS: cluster.address, ALUMNUS_STORE: `file://${join(cluster.home, 'store')}` });
const alumnus = (args: readonly string[], more: Record<string, string> = {}): Promise<Ran> => runCommand(args, { ...environment(), ...more });

/** Each line of JSON a document of this kind, or of one of a list. */
function expectKind(kind: string, told: unknown, what: string): void {
  const { valid, errors } = new Validator(kindSchema(kind) as object, '2020-12').validate(told);
  expect(errors.map(({ instanceLocation, error }) => `${instanceLocation}: ${error}`), `${what}: ${JSON.stringify(told).slice(0, 400)}`).toEqual([]);
  expect(valid).toBe(true);
}

/** Runs it with `-o json`, which must be of the kind. @param code 0 unless said otherwise */
async function json(kind: string, args: readonly string[], code = 0): Promise<Told> {
  const ran = await alumnus([...args, '-o', 'json']);
  expect(ran.code, `${args.join(' ')}\n${ran.err}`).toBe(code);
  const told = JSON.parse(ran.out) as Told;
  expectKind(kind, told, args.join(' '));
  return told;
}

/** In all other forms, too: as a table and wider, a document a line, YAML, names. */
async function allForms(kind: string, args: readonly string[]): Promise<Told> {
  const told = await json(kind, args);
  const [table, wide, lines, yaml, names] = await Promise.all(['table', 'wide', 'jsonl', 'yaml', 'name'].map((form) => alumnus([...args, '-o', form])));
  for (const ran of [table, wide, lines, yaml, names]) expect(ran?.code).toBe(0);
  const rows = told.items?.length ?? 1;
  for (const line of lines!.out.trimEnd().split('\n')) expectKind(kind.replace(/List$/, ''), JSON.parse(line), args.join(' '));
  expect(lines!.out.trimEnd().split('\n')).toHaveLength(rows);
  expect(names!.out.trimEnd().split('\n')).toHaveLength(rows);
  expect(yaml!.out).toMatch(new RegExp(`^apiVersion: alumnus/v1\nkind: ${kind}\n`));
  expect(table!.out.trimEnd().split('\n').length).toBeGreaterThanOrEqual(kind.endsWith('List') ? rows + 1 : 1);
  // eslint-disable-next-line no-control-regex -- colors and redraws begin with it
  for (const ran of [table, wide]) expect(ran!.out).not.toMatch(/\u001b/);
  return told;
}

async function ok(args: readonly string[], more: Record<string, string> = {}): Promise<Ran> {
  const ran = await alumnus(args, more);
  expect(ran.code, `${args.join(' ')}\n${ran.err}`).toBe(0);
  return ran;
}

/** Pictures of 28 x 28, no two alike. */
function pictures(folder: string, classes: readonly string[], each: number): string {
  for (const [kind, name] of classes.entries()) {
    mkdirSync(join(folder, name), { recursive: true });
    for (let at = 0; at < each; at += 1) {
      const png = new PNG({ width: 28, height: 28, colorType: 0 });
      for (let pixel = 0; pixel < 28 * 28; pixel += 1) png.data.set([0, 1, 2].map(() => (pixel * (kind + 3) + at * 7) % 256).concat(255), pixel * 4);
      writeFileSync(join(folder, name, `${at}.png`), PNG.sync.write(png, { colorType: 0 }));
    }
  }
  return folder;
}

async function tarOf(path: string, images: string, classes: readonly string[]): Promise<string> {
  const tar = pack();
  for (const [label, name] of classes.entries()) {
    for (const image of readdirSync(join(images, name))) {
      const key = `${name}-${image.replace('.png', '')}`;
      tar.entry({ name: `${key}.png` }, readFileSync(join(images, name, image)));
      tar.entry({ name: `${key}.cls` }, String(label));
    }
  }
  tar.finalize();
  const parts: Buffer[] = [];
  for await (const part of tar) parts.push(part as Buffer);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, Buffer.concat(parts));
  return path;
}

beforeAll(async () => {
  patterns = await patternsHome();
  cluster = await Cluster.create({ template: patterns.home });
  cluster.keep();
  recipe = file('patterns.yaml');
  writeFileSync(recipe, patternsRecipe({ rounds: 1 }));
  await cluster.start(['worker-1']);
});
afterAll(async () => {
  await cluster.remove();
  await patterns.remove();
});

/** By verb, in the order in which they run. */
const cases: Record<string, () => Promise<void>> = {
  // Before there is a run.
  'run plan': async () => {
    const told = await json('RunPlan', ['run', 'plan', recipe]);
    expect(told).toMatchObject({ name: 'patterns', rounds: 1, workers: 1, measuredIn: [] });
    expect(told).not.toHaveProperty('wallSeconds');
    expect((await ok(['run', 'plan', recipe])).out).toContain('is not known');
  },
  'run submit': async () => {
    const submitted = await alumnus(['run', 'submit', recipe, '--run-id', RUN, '-o', 'json']);
    expectKind('RunSubmitted', JSON.parse(submitted.out), 'run submit');
    expect(submitted.err).toContain(`alumnus run watch ${RUN}`);
  },
  'run watch': async () => {
    const ran = await ok(['run', 'watch', RUN, '-o', 'jsonl']);
    const lines = ran.out.trimEnd().split('\n').map((line) => JSON.parse(line) as Told);
    for (const line of lines) expectKind('Run', line, 'run watch');
    expect(lines.at(-1)).toMatchObject({ summary: { state: 'succeeded' } });
  },
  'run wait': async () => {
    await json('RunSummary', ['run', 'wait', RUN]);
    await json('RunSummary', ['run', 'wait', RUN, '--for', 'paused', '--for', 'iteration=1,succeeded']);
    expect(await alumnus(['run', 'wait', RUN, '--for', 'stage=label'])).toMatchObject({ code: 4, err: expect.stringMatching(/has succeeded, and will not be stage=label.*\[RUN_CONFLICT\]/) as string });
    expect(await alumnus(['run', 'wait', RUN, '--for', 'finished'])).toMatchObject({ code: 2, err: expect.stringContaining('there are running, paused') as string });
  },
  'run list': async () => {
    expect((await allForms('RunSummaryList', ['run', 'list'])).items).toMatchObject([{ runId: RUN, state: 'succeeded', submittedAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/) as string }]);
  },
  'run describe': async () => {
    const told = await allForms('Run', ['run', 'describe', RUN]);
    expect(JSON.stringify(told)).not.toMatch(/Ms":/);
  },
  'run budget': async () => {
    await json('RunBudget', ['run', 'budget', RUN]);
  },
  'run report': async () => {
    await ok(['run', 'report', RUN, '--out', file('report.html')]);
    expectKind('Run', JSON.parse(readFileSync(file('report.json'), 'utf8')), 'run report');
  },
  'run export': async () => {
    expect(await json('ModelExport', ['run', 'export', RUN, '--to', file('exported')])).toMatchObject({ runId: RUN });
  },
  'run measure': async () => {
    await json('ModelMeasurement', ['run', 'measure', RUN, '--times', '5']);
  },
  'run resubmit': async () => {
    // Longer than what follows takes: it is steered.
    const ran = await alumnus(['run', 'resubmit', RUN, '--set', 'training.student.steps=200000', '--set', 'name=steered', '-o', 'json']);
    const told = JSON.parse(ran.out) as Told;
    expectKind('RunSubmitted', told, 'run resubmit');
    steered = String(told['runId']);
    expect(steered).toMatch(/^steered-/);
    expect(await alumnus(['run', 'resubmit', RUN, '--set', 'training.student.stepps=1'])).toMatchObject({ code: 2, err: expect.stringContaining('steps') as string });
  },
  'run diff': async () => {
    const told = await json('RunDiff', ['run', 'diff', RUN, steered]);
    expect(told['recipe']).toEqual([{ path: 'name', a: 'patterns', b: 'steered' }, { path: 'training.student.steps', a: 80, b: 200_000 }]);
    expect(told['results']).toContainEqual(expect.objectContaining({ name: 'state', a: 'succeeded' }));
  },
  'run pause': async () => {
    await json('RunSummary', ['run', 'pause', steered]);
    await json('RunSummary', ['run', 'wait', steered, '--for', 'paused']);
  },
  'run resume': async () => {
    await json('RunSummary', ['run', 'resume', steered]);
  },
  top: async () => {
    expect(await allForms('Top', ['top'])).toMatchObject({ role: 'leader', workers: [{ workerId: 'worker-1' }] });
  },
  'worker list': async () => {
    await allForms('WorkerList', ['worker', 'list']);
  },
  'worker describe': async () => {
    // The run that is steered trains on it.
    let told: Told = {};
    await expect.poll(async () => (told = await json('WorkerDescription', ['worker', 'describe', 'worker-1']))['tasks'], { timeout: 60_000 }).toContainEqual(expect.objectContaining({ runId: steered }));
    expect(told).toMatchObject({ state: 'busy' });
    expect((await alumnus(['worker', 'describe', 'worker-9'])).code).toBe(3);
  },
  'task list': async () => {
    const [task] = (await allForms('TaskList', ['task', 'list', steered])).items ?? [];
    expect(task).toMatchObject({ state: 'leased', workerId: 'worker-1' });
  },
  'task explain': async () => {
    expect(await allForms('TaskExplanation', ['task', 'explain', 'promote', '--run', steered])).toMatchObject({ runId: steered, state: 'ahead' });
    expect(await alumnus(['task', 'explain', 'i7.train.nothing'])).toMatchObject({ code: 3, err: expect.stringContaining('[TASK_NOT_FOUND]') as string });
  },
  events: async () => {
    const told = await json('EventList', ['events', RUN, '--all']);
    expect(told.items?.[0]).toMatchObject({ runId: RUN, number: 1, event: 'runSubmitted' });
    expect(told.items?.at(-1)).toMatchObject({ event: 'runSucceeded' });
    await allForms('EventList', ['events', '--last', '5']);
  },
  'run logs': async () => {
    const told = await allForms('LogLineList', ['run', 'logs', RUN]);
    expect(told.items?.map(({ workerId }) => workerId)).toContain('worker-1');
    expect(told.items).toContainEqual(expect.objectContaining({ workerId: '', text: expect.stringContaining('succeeded') as string }));
    for (const { workerId } of (await json('LogLineList', ['run', 'logs', RUN, '--worker', 'worker-1'])).items ?? []) expect(workerId).toBe('worker-1');
  },
  'worker cordon': async () => {
    expect(await json('Worker', ['worker', 'cordon', 'worker-1'])).toMatchObject({ cordon: 'cordoned' });
  },
  'worker drain': async () => {
    expect(await json('Worker', ['worker', 'drain', 'worker-1', '--wait', '--timeout', '60'])).toMatchObject({ cordon: 'draining', taskIds: [] });
  },
  'worker uncordon': async () => {
    expect(await json('Worker', ['worker', 'uncordon', 'worker-1'])).toMatchObject({ cordon: '' });
  },
  'run rollback': async () => {
    expect(await alumnus(['run', 'rollback', steered, '--iteration', '5'])).toMatchObject({ code: 4, err: expect.stringContaining('[RUN_CONFLICT]') as string });
    expect(await json('RunSummary', ['run', 'rollback', steered, '--iteration', '0'])).toMatchObject({ state: 'running', iteration: 1 });
  },
  'run promote': async () => {
    const { bestIteration } = await cluster.run(RUN);
    expect(await json('RunSummary', ['run', 'promote', RUN, '--iteration', String(1 - bestIteration)])).toMatchObject({ state: 'succeeded' });
    expect((await ok(['run', 'promote', RUN, '--iteration', String(bestIteration)])).out).toBe(`Run ${RUN} returns that model.\n`);
  },
  'run kill': async () => {
    expect(await json('RunSummary', ['run', 'kill', steered])).toMatchObject({ state: 'cancelled' });
  },
  'run retry': async () => {
    expect(await json('RunSummary', ['run', 'retry', steered])).toMatchObject({ state: 'running' });
  },
  gc: async () => {
    // All of it is younger than a day.
    expect(await json('GarbageCollection', ['gc', '--dry-run'])).toMatchObject({ applied: false, garbage: [], unknownRuns: [] });
    expect(await json('GarbageCollection', ['gc', '--keep-labels', '1'])).toMatchObject({ applied: true, garbage: [] });
  },
  'access token': async () => {
    expect((await ok(['access', 'token', 'ana'])).out).toMatch(/^[\w-]{43}\n$/);
  },
  'access check': async () => {
    writeFileSync(file('access.yaml'), 'anonymous: viewer\n');
    expect((await ok(['access', 'check', file('access.yaml')])).out).toContain('can be used');
    writeFileSync(file('access.yaml'), 'anonymous: everybody\n');
    expect(await alumnus(['access', 'check', file('access.yaml')])).toMatchObject({ code: 2, err: expect.stringContaining('[ACCESS_INVALID]') as string });
  },
  // More that steers a run, a worker or a task comes here, while a run is under way: `steered` trains for as long as it is let.
  'run cancel': async () => {
    await json('RunSummary', ['run', 'cancel', steered, '--reason', 'seen enough']);
    expect((await alumnus(['run', 'wait', RUN, steered, '-o', 'json'])).code).toBe(1);
  },
  'recipe list': async () => {
    await allForms('ReadyRecipeList', ['recipe', 'list']);
  },
  'recipe init': async () => {
    expect((await ok(['recipe', 'init', 'mnist', '--out', file('mnist.yaml')])).err).toContain('alumnus recipe validate');
    const [photos, birds] = [(await ok(['recipe', 'init', 'photos'])).out, (await ok(['recipe', 'init', '--dataset', 'birds@2'])).out];
    expect(birds.split('\n').filter((line, at) => line !== photos.split('\n')[at])).toEqual(['name: birds', expect.stringMatching(/^ {2}dataset: birds@2 +#/)]);
    expect((await ok(['recipe', 'init', 'noisy-student', '--dataset', 'mnist-100'])).out).toMatch(/^ {2}corrupted: mnist-100-c /m);
    const refused = await alumnus(['recipe', 'init', '--dataset', 'My birds']);
    expect(refused).toMatchObject({ code: 2, err: expect.stringContaining('--dataset: "My birds" is no dataset\'s name') });
  },
  'recipe validate': async () => {
    expect(await json('RecipeValidation', ['recipe', 'validate', file('mnist.yaml')])).toMatchObject({ valid: true });
    writeFileSync(file('bad.yaml'), 'name: x\nrounds: many\n');
    expect(await json('RecipeValidation', ['recipe', 'validate', file('bad.yaml')], 2)).toMatchObject({ valid: false });
  },
  'recipe diff': async () => {
    expect(await json('RecipeDiff', ['recipe', 'diff', recipe, RUN])).toMatchObject({ differences: [] });
    expect(await json('RecipeDiff', ['recipe', 'diff', file('mnist.yaml'), RUN, '--exit-code'], 1)).not.toMatchObject({ differences: [] });
  },
  'recipe schema': async () => {
    expect(JSON.parse((await ok(['recipe', 'schema'])).out)).toHaveProperty('properties.rounds');
  },
  'recipe models': async () => {
    await allForms('ModelList', ['recipe', 'models']);
    await json('Model', ['recipe', 'models', 'resnet']);
  },
  'dataset list': async () => {
    await allForms('DatasetList', ['dataset', 'list']);
  },
  'dataset inspect': async () => {
    await allForms('Dataset', ['dataset', 'inspect', 'patterns']);
  },
  'dataset verify': async () => {
    expect((await json('DatasetProblemList', ['dataset', 'verify', 'patterns'])).items).toEqual([]);
  },
  'dataset import idx': async () => {
    await json('Dataset', ['dataset', 'import', 'idx', join(patterns.home, 'train-images'), '--labels', join(patterns.home, 'train-labels'), '--name', 'idx', '--labeled-per-class', '5', '--validation', '20', '--unlabeled-images', '20']);
  },
  'dataset import folder': async () => {
    const images = pictures(file('images'), ['left', 'right'], 12);
    await json('Dataset', ['dataset', 'import', 'folder', images, '--name', 'shapes', '--labeled-per-class', '4', '--validation', '6', '--test-images', '6']);
  },
  'dataset import webdataset': async () => {
    await json('Dataset', ['dataset', 'import', 'webdataset', await tarOf(file('tars/a.tar'), file('images'), ['left', 'right']), '--classes', 'left,right', '--name', 'tars', '--validation', '4']);
  },
  'dataset import parquet': async () => {
    await json('Dataset', ['dataset', 'import', 'parquet', join(import.meta.dirname, '../unit/dataset/parquet'), '--name', 'hub', '--labeled-per-class', '2', '--validation', '3']);
  },
  'dataset corrupt': async () => {
    expect((await json('DatasetList', ['dataset', 'corrupt', 'shapes', '--images', '2', '--sequence-images', '0'])).items).toHaveLength(15);
  },
  'dataset register': async () => {
    await json('Dataset', ['dataset', 'register', 'web', file('tars')]);
  },
  'dataset append': async () => {
    await tarOf(file('tars/b.tar'), pictures(file('more'), ['left', 'right'], 3), ['left', 'right']);
    expect(await json('Dataset', ['dataset', 'append', 'web', file('tars')])).toMatchObject({ version: 2, added: 1 });
  },
  'model list': async () => {
    const { items = [] } = await allForms('TrainedModelList', ['model', 'list', '--run', RUN]);
    expect(items.map(({ name }) => name)).toEqual([`${RUN}/0`, `${RUN}/1`, `${RUN}/control`]);
    expect(items.filter(({ best }) => best)).toHaveLength(1);
  },
  'model describe': async () => {
    expect(await json('ModelDescription', ['model', 'describe', `${RUN}/1`])).toMatchObject({ role: 'student', image: { height: 12, width: 12, channels: 1 }, classNames: ['across', 'upright', 'falling', 'rising'] });
  },
  'model lineage': async () => {
    expect(await json('Lineage', ['model', 'lineage', `${RUN}/1`])).toHaveProperty('teacher.role', 'first-teacher');
  },
  'model export': async () => {
    const { sha256 } = (await json('TrainedModelList', ['model', 'list', '--run', RUN])).items!.find(({ name }) => name === `${RUN}/control`)!;
    await json('ModelExport', ['model', 'export', String(sha256).slice(0, 12), '--run', RUN, '--to', file('control')]);
    expect(JSON.parse(readFileSync(file('control/model.json'), 'utf8'))).toMatchObject({ document: { sha256 } });
  },
  'model reproduce': async () => {
    await json('Reproduction', ['model', 'reproduce', `${RUN}/1`]);
  },
  'review export': async () => {
    await ok(['review', 'export', RUN, '--out', file('review.csv'), '--most', '5']);
  },
  'explain sample': async () => {
    const [, row = ''] = readFileSync(file('review.csv'), 'utf8').split(/\r?\n/);
    await json('SampleExplanation', ['explain', 'sample', row.split(',')[0] ?? '', '--run', RUN]);
  },
  'review import': async () => {
    const [head = '', first = ''] = readFileSync(file('review.csv'), 'utf8').split(/\r?\n/);
    const columns = head.split(',');
    const cells = first.split(',');
    cells[columns.indexOf('label')] = 'across';
    writeFileSync(file('answers.csv'), `${head}\r\n${cells.join(',')}\r\n`);
    expect(await json('ReviewImported', ['review', 'import', file('answers.csv'), '--run', RUN, '--dataset', 'patterns'])).toMatchObject({ images: 1, dataset: 'patterns@2' });
  },
  reconcile: async () => {
    expect((await json('ReconciledRunList', ['reconcile', '--dry-run'])).items).toContainEqual(expect.objectContaining({ runId: RUN, verdict: 'agrees' }));
    await allForms('ReconciledRunList', ['reconcile']);
  },
  status: async () => {
    await allForms('Status', ['status']);
    const nobody = await new Promise<string>((resolve) => {
      const server = createServer().listen(0, '127.0.0.1', () => {
        const { port } = server.address() as { port: number };
        server.close(() => resolve(`127.0.0.1:${port}`));
      });
    });
    await json('StatusList', ['status', '--address', `${cluster.address},${nobody}`]);
  },
  version: async () => {
    expect(await allForms('Version', ['version'])).toHaveProperty('coordinator.role', 'leader');
    expect(await json('Version', ['version', '--client'])).not.toHaveProperty('coordinator');
  },
  schema: async () => {
    const listed = (await ok(['schema'])).out.trimEnd().split('\n');
    for (const kind of listed) expect(kindSchema(kind), kind).toBeDefined();
    expect(JSON.parse((await ok(['schema', 'Run'])).out)).toEqual(kindSchema('Run'));
  },
  doctor: async () => {
    const { items = [] } = await allForms('CheckList', ['doctor']);
    const verdicts = Object.fromEntries(items.map(({ name, verdict }) => [name, verdict]));
    // How much disk is free, and how many files may be open, is this machine's.
    expect(verdicts).toMatchObject({ node: 'ok', 'native library': 'ok', 'home folder': 'ok', connection: 'ok', coordinator: 'ok', release: 'ok', clock: 'ok', journal: 'ok', store: 'ok', workers: 'ok' });
    expect(await json('CheckList', ['doctor', '--address', '127.0.0.1:1'], 8)).toHaveProperty('items');
    // What it wrote into the store it took away again.
    expect(readdirSync(join(cluster.home, 'store/objects'), { recursive: true }).map(String).filter((path) => path.startsWith('doctor/') && !path.endsWith('/'))).toEqual([]);
  },
  bundle: async () => {
    mkdirSync(join(cluster.folder, 'config/alumnus'), { recursive: true });
    writeFileSync(join(cluster.folder, 'config/alumnus/config.yaml'), `apiVersion: alumnus/v1\nkind: Config\ncontexts: { planted: { address: "a:1", token: "${SECRET}-context" } }\n`);
    mkdirSync(file('home/logs'), { recursive: true });
    writeFileSync(file('home/logs/coordinator.log'), `${'x'.repeat(99)}\n`.repeat(20_000) + `connects to nats://user:${SECRET}-log@host:4222 with Bearer ${SECRET}-bearer\nthe end\n`);
    const secrets = { ALUMNUS_S3_SECRET_KEY: `${SECRET}-key`, ALUMNUS_TOKEN: `${SECRET}-token`, ALUMNUS_JOURNAL: `nats://user:${SECRET}-journal@host:4222/x` };
    // A URL in a recipe may hold a signature, and a run keeps its recipe. Nothing is there: the teacher's import fails, which does not matter here.
    const foreign = patternsRecipe({ rounds: 1, control: false }).replace('models:', `models:\n  teacher: { url: "http://127.0.0.1:1/m.onnx?sig=${SECRET}-signature&X-Amz-Credential=${SECRET}-amz" }`).replace(/\n.*width: 10.*/, '');
    writeFileSync(file('foreign.yaml'), foreign);
    const planted = await alumnus(['run', 'submit', file('foreign.yaml'), '--run-id', 'planted-000001']);
    expect(planted.code, planted.err).toBe(0);
    const ran = await alumnus(['bundle', '--out', file('bundle.tar.gz'), '--home', file('home'), '-o', 'json'], secrets);
    expect(ran.code, ran.err).toBe(0);
    const told = JSON.parse(ran.out) as Told;
    expectKind('Bundle', told, 'bundle');
    expect(told['entries']).toEqual(expect.arrayContaining(['version.json', 'environment.json', 'config.yaml', 'doctor.json', 'status.json', 'workers.json', 'runs.json', `runs/${RUN}/run.json`, `runs/${RUN}/recipe.yaml`, 'logs/coordinator.log']));
    const text = gunzipSync(readFileSync(file('bundle.tar.gz'))).toString('utf8');
    expect(text).toContain('the end');
    expect(text).toContain('ALUMNUS_S3_SECRET_KEY');
    expect(text).toContain('127.0.0.1:1/m.onnx?sig=REDACTED');
    expect(text).not.toContain(SECRET);
    rmSync(join(cluster.folder, 'config'), { recursive: true });
  },
  'config set-context': async () => {
    await json('Context', ['config', 'set-context', 'here', '--address', cluster.address]);
    await json('Context', ['config', 'set-context', 'there', '--address', 'a:1', '--tls']);
  },
  'config get-contexts': async () => {
    await allForms('ContextList', ['config', 'get-contexts']);
  },
  'config current-context': async () => {
    expect(await json('Context', ['config', 'current-context'])).toMatchObject({ name: 'here' });
  },
  'config view': async () => {
    await allForms('Config', ['config', 'view']);
  },
  'config use-context': async () => {
    await json('Context', ['config', 'use-context', 'here']);
    const { ALUMNUS_ADDRESS: _, ...rest } = environment();
    expect((await runCommand(['run', 'list', '-o', 'name'], { ...rest, ALUMNUS_ADDRESS: '' })).out).toContain(RUN);
  },
  'config delete-context': async () => {
    await json('Context', ['config', 'delete-context', 'there']);
  },
  completion: async () => {
    for (const shell of ['bash', 'zsh', 'fish']) expect((await ok(['completion', shell])).out).toContain('alumnus complete --');
    // As Bash calls it when Tab is pressed behind `alumnus run des`.
    const pressed = `alumnus() { "${process.execPath}" "${commandLine}" "$@"; }; source <(alumnus completion bash); COMP_WORDS=(alumnus run des); COMP_CWORD=2; $(complete -p alumnus | sed 's/.*-F \\([^ ]*\\).*/\\1/'); echo "\${COMPREPLY[@]}"`;
    expect(execFileSync('bash', ['-c', pressed], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })).toMatch(/^describe\s*$/);
  },
  complete: async () => {
    const offered = async (...words: string[]): Promise<string[]> => (await ok(['complete', '--', ...words])).out.trimEnd().split('\n').map((line) => line.split('\t')[0] ?? '').slice(0, -1);
    expect(await offered('ru')).toEqual(['run']);
    expect(await offered('run', 'des')).toEqual(['describe']);
    expect(await offered('run', 'describe', '')).toEqual(expect.arrayContaining([RUN, steered]));
    expect(await offered('run', 'describe', RUN, '--out')).toEqual(['--output']);
    expect(await offered('run', 'list', '-o', 'j')).toEqual(['json', 'jsonl']);
    expect(await offered('dataset', 'inspect', 'pat')).toContain('patterns');
    expect(await offered('worker', 'describe', '')).toEqual(['worker-1']);
    expect(await offered('run', 'list', '--context', '')).toEqual(['here']);
  },
};

/** Verbs that go on until they are stopped, or fetch from elsewhere, and where they are tested. */
const elsewhere: Readonly<Record<string, string>> = {
  coordinator: 'cli.test.ts', worker: 'cli.test.ts', demo: 'cli.test.ts', 'dataset import mnist': 'mnist.test.ts', 'dataset import fashion-mnist': '../unit/dataset/mnist.test.ts',
};

describe('verb', () => {
  test.each(Object.keys(cases))('%s', async (verb) => cases[verb]!());

  test('run plan, after the run, says how many tasks it had, and how long such a one takes', async () => {
    const counts = (tasks: readonly { iteration: number; kind: string; tasks: number }[]): Record<string, number> => {
      const all: Record<string, number> = {};
      for (const { iteration, kind, tasks: count } of tasks) all[`${iteration} ${kind}`] = (all[`${iteration} ${kind}`] ?? 0) + count;
      return all;
    };
    const { facts } = await factsInBucket(await openStore(`file://${join(cluster.home, 'store')}`), RUN);
    const done = counts(acceptedTasks(facts).map(({ task }) => ({ iteration: task!.iteration, kind: task!.spec!.$case, tasks: 1 })));
    const told = await json('RunPlan', ['run', 'plan', recipe]);
    expect(counts(told['groups'] as never)).toEqual(done);
    expect(told).toMatchObject({ measuredIn: [RUN], tasks: Object.values(done).reduce((sum, count) => sum + count, 0) });
    expect(told['wallSeconds']).toBeGreaterThan(0);
    expect(told['deviceSeconds']).toBeGreaterThanOrEqual(told['wallSeconds'] as number - 0.001);
  });

  test('each has a case above', () => {
    const verbsOf = (command: Command, path: readonly string[]): string[] => [
      // commander knows no other way to tell a group from what acts.
      ...((command as unknown as { _actionHandler: unknown })._actionHandler === null || path.length === 0 ? [] : [path.join(' ')]),
      ...command.commands.flatMap((each) => verbsOf(each, [...path, each.name()])),
    ];
    const verbs = verbsOf(createProgram(new Context(recorder(), recorder(), {})), []);
    expect(verbs.length).toBeGreaterThan(50);
    expect(verbs.filter((verb) => cases[verb] === undefined && elsewhere[verb] === undefined)).toEqual([]);
    expect([...Object.keys(cases), ...Object.keys(elsewhere)].filter((verb) => !verbs.includes(verb))).toEqual([]);
  });
});
