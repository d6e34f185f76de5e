/**
 * A run whose first teacher comes from elsewhere, through the command line: a TF.js model and an ONNX model of tests/fixtures/foreign
 * (made by make.py there, not by us) label, and a student learns from them. And what the command line says where one does not fit.
 */
import { createServer } from 'node:http';
import { readFile, writeFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { runCommand, type Ran } from '../harness/command.ts';
import { Cluster } from '../harness/cluster.ts';
import { evidenceOf, labelsIn, problemsOf, tableMetadata } from '../harness/evidence.ts';
import { patternsHome, patternsRecipe, SHARDS, VALIDATION } from '../harness/patterns.ts';

const fixtures = join(import.meta.dirname, '../fixtures/foreign');

let template: Awaited<ReturnType<typeof patternsHome>>;
let cluster: Cluster;
/** One cluster for all: what each run journalled is looked at when it has stopped, last. */
beforeAll(async () => {
  template = await patternsHome();
  cluster = await Cluster.create({ template: template.home });
  cluster.keep();
  await cluster.start();
});
afterAll(async () => {
  await cluster.remove();
  await template.remove();
});

const alumnus = (...args: string[]): Promise<Ran> => runCommand(args);

/** The tests' recipe with a teacher of `url` in the place of the ladder's first model. */
const recipeWith = (url: string, more = 'input: { mean: 0.3, std: 0.5 }'): string =>
  patternsRecipe({ rounds: 1, control: false }).replace(/ladder:\n\s+- .*\n/, 'ladder:\n').replace('models:\n', `models:\n  teacher: { url: "${url}", ${more} }\n`);

async function submitted(recipe: string, runId: string) {
  const file = join(cluster.folder, `${runId}.yaml`);
  await writeFile(file, recipe);
  expect(await alumnus('recipe', 'validate', file)).toMatchObject({ code: 0 });
  expect(await alumnus('run', 'submit', file, '--run-id', runId, '--address', cluster.address)).toMatchObject({ code: 0 });
  return alumnus('run', 'wait', runId, '--timeout', '120', '--address', cluster.address);
}

test('a TF.js model labels, its student is trained and compared with it, and the report tells of both', async () => {
  const runId = 'strokes-layers';
  expect(await submitted(recipeWith(pathToFileURL(join(fixtures, 'patterns-layers')).href), runId)).toMatchObject({ code: 0, out: `Run ${runId} succeeded.\n` });

  const described = await alumnus('run', 'describe', runId, '--address', cluster.address);
  expect(described.out).toContain('patterns-layers');
  expect(described.out).toContain('models.teacher: its 4 outputs are taken for the data\'s classes in their order: across, upright, falling, rising');
  const report = join(cluster.folder, 'report.html');
  expect(await alumnus('run', 'report', runId, '--out', report, '--address', cluster.address)).toMatchObject({ code: 0 });
  const page = await readFile(report, 'utf8');
  expect(page).toContain('patterns-layers (imported)');
  expect(page).not.toMatch(/NaN|undefined/);

  const view = await cluster.run(runId);
  const [teacher, student] = view.iterations;
  expect(teacher).toMatchObject({ iteration: 0, decision: 'promoted', model: { label: 'patterns-layers (imported)', parameters: 124, steps: 0 } });
  // Its filters were thought out for these strokes: on 400 drawn alike in numpy it was never wrong.
  expect(Number(teacher?.model?.validation?.correct)).toBeGreaterThan(0.95 * VALIDATION);
  expect(Number(student?.model?.validation?.total)).toBe(VALIDATION);
  expect(student?.gate).toBeDefined();
  expect(student?.teacherSha256).toBe(teacher?.model?.model?.sha256);

  const exported = await alumnus('run', 'export', runId, '--iteration', '0', '--to', join(cluster.folder, 'out'), '--address', cluster.address);
  expect(exported.code).toBe(4);
  expect(exported.err).toMatch(/the model came from elsewhere and is not exported again: take it from file:.*patterns-layers.*\[RUN_CONFLICT\]\n$/);
});

test('a student that is exported to TF.js is a teacher that predicts as it did', async () => {
  const to = join(cluster.folder, 'web');
  const exported = await alumnus('run', 'export', 'strokes-layers', '--iteration', '1', '--format', 'tfjs', '--to', to, '--address', cluster.address);
  expect(exported).toMatchObject({ code: 0, out: `${['model.json', 'weights.bin', 'document.json'].map((name) => join(to, name)).join('\n')}\n` });
  // As a model of ours takes images and gives logits, nothing need be said of either.
  expect(await submitted(recipeWith(pathToFileURL(to).href, 'format: tfjs'), 'strokes-again')).toMatchObject({ code: 0 });
  const [, student] = (await cluster.run('strokes-layers')).iterations;
  const [teacher] = (await cluster.run('strokes-again')).iterations;
  expect(teacher?.model?.parameters).toBe(student?.model?.parameters);
  expect(teacher?.model?.validation?.correct).toBe(student?.model?.validation?.correct);
  expect(teacher?.model?.validation?.classes).toEqual(student?.model?.validation?.classes);
});

test('an ONNX model over http labels as well, and is asked for once', async () => {
  const asked: (string | undefined)[] = [];
  const server = createServer((request, response) => {
    asked.push(request.url);
    void readFile(join(fixtures, request.url ?? '')).then((bytes) => response.end(bytes), () => response.writeHead(404).end());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  try {
    const onnx = await submitted(recipeWith(`http://127.0.0.1:${(server.address() as AddressInfo).port}/patterns.onnx`), 'strokes-onnx');
    expect(onnx).toMatchObject({ code: 0 });
    expect(asked).toEqual(['/patterns.onnx']);
  } finally {
    await new Promise((resolve) => server.close(resolve));
  }
  const view = await cluster.run('strokes-onnx');
  expect(view.iterations[0]).toMatchObject({ decision: 'promoted', model: { label: 'patterns.onnx (imported)', parameters: 124 } });
  expect(Number(view.iterations[0]?.model?.validation?.correct)).toBeGreaterThan(0.95 * VALIDATION);
  // 150 of each class are there.
  expect(view.iterations[1]?.selection?.classes.map((each) => each.eligible).every((eligible) => eligible > 100)).toBe(true);
});

test('a model that does not fit fails the run at once, and the command line says what to correct', async () => {
  const wait = async (recipe: string, runId: string): Promise<string> => {
    const ended = await submitted(recipe, runId);
    expect(ended.code).toBe(1);
    return ended.out;
  };
  const layers = pathToFileURL(join(fixtures, 'patterns-layers')).href;
  expect(await wait(recipeWith(pathToFileURL(join(fixtures, 'colors')).href, 'input: {}'), 'channels')).toMatch(/^Run channels failed: models\.teacher\.input\.channels: the model takes images of 3 channels .*, and those of the data have 1 \[TEACHER_UNSUITABLE\]/);
  expect(await wait(recipeWith(`${layers}-gone`), 'missing')).toMatch(/^Run missing failed: models\.teacher\.url: .*patterns-layers-gone: there is no such folder \[TEACHER_NOT_FOUND\]/);
  expect((await alumnus('run', 'describe', 'missing', '--address', cluster.address)).out).toContain('Correct models.teacher.url: every worker must be able to read what lies there.');
});

test('what needs no model is refused when the recipe is submitted', async () => {
  const file = join(cluster.folder, 'recipe.yaml');
  const layers = pathToFileURL(join(fixtures, 'patterns-layers')).href;
  await writeFile(file, recipeWith(layers, 'output: { classes: [across, upright, sideways] }'));
  const refused = await alumnus('run', 'submit', file, '--address', cluster.address);
  expect(refused.code).toBe(2);
  expect(refused.err).toContain('models.teacher.output.classes: does not name falling, rising of the data\'s classes');
  await writeFile(file, recipeWith('models/strokes').replace('labels: { batch_size: 50 }', 'labels: { batch_size: 50, noised_teacher: true }'));
  const invalid = await alumnus('recipe', 'validate', file);
  expect(invalid.code).toBe(2);
  expect(invalid.err).toMatch(/models\.teacher\.url \(line \d+\): write file:\/\/\/folder\/model/);
});

test('the journal and the store tell it: an import in the place of a training, labels of that teacher, and nothing tried twice that cannot work', async () => {
  const teacher = (await cluster.run('strokes-layers')).iterations[0]?.model?.model?.sha256;
  await cluster.stop();
  const evidence = await evidenceOf(cluster.home, 'strokes-layers');
  expect(await problemsOf(evidence)).toEqual([]);
  expect(evidence.completions.filter((each) => each.iteration === 0).map((each) => each.result.$case)).toEqual(['import', 'evaluate']);
  const labels = labelsIn(evidence, 1);
  expect(labels.size).toBe(SHARDS);
  for (const table of labels.values()) expect((await tableMetadata(evidence.store, table))['alumnus.teacher']).toBe(teacher);
  for (const runId of ['channels', 'missing']) expect((await evidenceOf(cluster.home, runId)).failures).toHaveLength(1);
});
