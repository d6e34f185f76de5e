/**
 * Teachers from elsewhere, from their URL to what they predict. The models are tests/fixtures/foreign, written by TensorFlow, onnx
 * and by hand; what they must predict was computed in numpy (make.py there, which also says what is awkward about each).
 */
import { cpSync, mkdtempSync, readFileSync, rmSync, truncateSync, unlinkSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { encodePng } from '../../../dataset/index.ts';
import { writeTar } from '../../../dataset/tar.ts';
import { errorTable, type ErrorCode } from '../../../proto/errors.ts';
import { Stage, type ImageSpec, type ImportResult, type ObjectRef, type ShardRef, type Task } from '../../../proto/gen/alumnus/v1/task.ts';
import { canonicalJson, recipeSchema } from '../../../recipe/index.ts';
import { openStore, sha256, type ObjectStore } from '../../../store/index.ts';
import { identityOf, predictorOf, readModel, type ForeignDocument } from '../../../worker/tasks/model.ts';
import { runTask } from '../../../worker/tasks/index.ts';
import { loadTensorFlow } from '../../../worker/tensorflow/index.ts';

const fixtures = join(import.meta.dirname, '../../fixtures/foreign');
const expected = JSON.parse(readFileSync(join(fixtures, 'expected.json'), 'utf8')) as Record<'patterns' | 'colors', { images: number[][]; logProbabilities: number[][]; logProbabilities402: number[][] }>;
const strokes = ['across', 'upright', 'falling', 'rising'];
const gray: ImageSpec = { height: 12, width: 12, channels: 1 };
const rgb: ImageSpec = { height: 8, width: 8, channels: 3 };
/** As make.py scales pixels. */
const patternsInput = { mean: 0.3, std: 0.5 };
const colorsInput = { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };

let folder: string;
let store: ObjectStore;
let probes: Record<1 | 3, ShardRef>;
let server: Server;
const asked: string[] = [];

beforeAll(async () => {
  loadTensorFlow({ threads: 1 });
  folder = mkdtempSync(join(tmpdir(), 'alumnus-import-'));
  store = await openStore(`file://${folder}/store`);
  const shard = async (images: number[][], shape: { height: number; width: number; channels: 1 | 3 }): Promise<ShardRef> => {
    const entries = images.map((pixels, at) => ({ name: `${at}.png`, bytes: encodePng(Uint8Array.from(pixels), shape) }));
    return { name: 'labeled-000000', ref: await store.putAddressed('datasets/few/labeled', writeTar(entries), { extension: '.tar' }), samples: images.length };
  };
  probes = { 1: await shard(expected.patterns.images, { ...gray, channels: 1 }), 3: await shard(expected.colors.images, { ...rgb, channels: 3 }) };
  server = createServer((request, response) => {
    const path = new URL(request.url ?? '', 'http://host').pathname;
    asked.push(path);
    if (path.startsWith('/broken')) return void response.writeHead(503).end();
    if (path.startsWith('/closed')) return void response.writeHead(403).end();
    try {
      response.end(readFileSync(join(fixtures, path)));
    } catch {
      response.writeHead(404).end('no such file');
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
});
afterAll(async () => {
  await new Promise((resolve) => server.close(resolve));
  rmSync(folder, { recursive: true });
});

const at = (path: string): string => pathToFileURL(join(fixtures, path)).href;
const web = (path: string): string => `http://127.0.0.1:${(server.address() as AddressInfo).port}/${path}`;

interface Wish { readonly url: string; readonly format?: string; readonly input?: object; readonly output?: object }

async function imported(teacher: Wish, image = gray, classNames = strokes): Promise<ImportResult> {
  const { models } = recipeSchema.parse({ name: 'birds', rounds: 1, data: { dataset: 'birds' }, models: { ladder: [{ model: 'cnn' }], teacher } });
  const taskId = `i0.train.teacher.t0-${sha256(canonicalJson({ models, image, classNames })).slice(0, 16)}`;
  const task: Task = {
    taskId, runId: 'birds-1', iteration: 0, stage: Stage.TRAIN, subject: 'teacher', try: 0, seed: 1, affinity: [], outputPrefix: `runs/birds-1/${taskId}`, work: 0, checkpointSteps: 0, checkpoints: [],
    spec: { $case: 'import', value: { teacherJson: canonicalJson(models.teacher), image, classNames, probe: probes[image.channels === 3 ? 3 : 1] } },
  };
  const result = await runTask({ task, store, cacheFolder: '', signal: new AbortController().signal, progress: () => undefined, checkpoint: () => undefined, note: () => undefined, onDevice: (body) => body() });
  if (result.$case !== 'import') throw new Error('an import answers an import');
  return result.value;
}

const documentOf = async ({ model }: ImportResult): Promise<ForeignDocument> => (await readModel(store, model as ObjectRef)) as ForeignDocument;

/** Batches of two: the last one is padded. */
async function predictions({ model }: ImportResult, of: 'patterns' | 'colors'): Promise<number[][]> {
  const { images } = expected[of];
  const predictor = await predictorOf(store, model as ObjectRef, 2);
  const flat = await predictor.logProbabilities(Uint8Array.from(images.flat()), images.length);
  const classes = flat.length / images.length;
  return images.map((_, row) => [...flat.subarray(row * classes, (row + 1) * classes)]);
}

function expectClose(given: number[][], wanted: number[][]): void {
  expect(given.map((row) => row.length)).toEqual(wanted.map((row) => row.length));
  // numpy computes in float64 and the models in float32; the figures of the file end at 1e-6.
  expect(Math.max(...given.flatMap((row, y) => row.map((value, x) => Math.abs(value - (wanted[y]?.[x] ?? Number.NaN)))))).toBeLessThan(2e-5);
}

describe('a teacher from elsewhere predicts what numpy computes', () => {
  // Trained numbers by hand: 5 x 5 x 4 + 4 + 4 x 4 + 4 = 124; the graph's weights also hold the two axes of a mean, which are no float.
  test.each([
    ['a SavedModel', 'patterns-savedmodel', 'savedmodel', 124],
    ['a TF.js model in layers format', 'patterns-layers', 'tfjs', 124],
    ['a TF.js graph model, by its model.json', 'patterns-graph/model.json', 'tfjs', 124],
    ['an ONNX model, by its file', 'patterns.onnx', 'onnx', 124],
  ])('%s', async (_, path, format, parameters) => {
    const result = await imported({ url: at(path), input: patternsInput });
    expectClose(await predictions(result, 'patterns'), expected.patterns.logProbabilities);
    expect(result.parameters).toBe(parameters);
    const document = await documentOf(result);
    expect(document).toMatchObject({ schemaVersion: 2, kind: 'foreign', format, classNames: strokes, parameters, input: { height: 12, width: 12, channels: 1, layout: format === 'onnx' ? 'nchw' : 'nhwc', range: [0, 1], mean: [0.3], std: [0.5] }, output: { kind: 'logits', outputs: 4 } });
    expect(result.notes).toEqual(['its outputs are taken for logits, as those of 5 images look', 'its 4 outputs are taken for the data\'s classes in their order: across, upright, falling, rising']);
  });

  test('every byte lies in the store by its digest, below the task, and nothing else is needed to predict', async () => {
    const copy = join(folder, 'copy');
    cpSync(join(fixtures, 'patterns-savedmodel'), copy, { recursive: true });
    const result = await imported({ url: pathToFileURL(copy).href, input: patternsInput });
    rmSync(copy, { recursive: true });
    const { files } = await documentOf(result);
    expect(files.map(({ path }) => path).sort()).toEqual(['saved_model.pb', 'variables/variables.data-00000-of-00001', 'variables/variables.index']);
    for (const { path, ref } of files) {
      expect(sha256(readFileSync(join(fixtures, 'patterns-savedmodel', path)))).toBe(ref.sha256);
      expect(ref.key).toBe(`${(result.model as ObjectRef).key.split('/').slice(0, 3).join('/')}/${ref.sha256}.model`);
    }
    expectClose(await predictions(result, 'patterns'), expected.patterns.logProbabilities);
  });

  test('the same files with the same settings are the same model, wherever they lay: its labels are found again', async () => {
    const copy = join(folder, 'elsewhere');
    cpSync(join(fixtures, 'patterns-layers'), copy, { recursive: true });
    const [one, two, other] = await Promise.all([{ url: at('patterns-layers'), input: patternsInput }, { url: pathToFileURL(copy).href, input: patternsInput }, { url: at('patterns-layers') }].map((teacher) => imported(teacher).then(documentOf)));
    expect(identityOf(two!)).toEqual(identityOf(one!));
    expect(two!.lineage.url).not.toBe(one!.lineage.url);
    expect(identityOf(other!)).not.toEqual(identityOf(one!));
  });

  test('an ONNX model that is awkward in every way: two images a call, resized, channels first, probabilities, weights beside it', async () => {
    const result = await imported({ url: at('colors'), input: colorsInput }, rgb, ['a', 'b', 'c', 'd', 'e', 'f']);
    expectClose(await predictions(result, 'colors'), expected.colors.logProbabilities);
    expect(await documentOf(result)).toMatchObject({ input: { name: 'input', height: 6, width: 5, channels: 3, layout: 'nchw', batch: 2 }, output: { name: 'shares', kind: 'probabilities', outputs: 6 } });
    expect((await documentOf(result)).files.map(({ path }) => path)).toEqual(['model.onnx', 'model.onnx.data']);
    // 90 pixels by 6 classes.
    expect(result.parameters).toBe(540);
    expect(result.notes).toContain('images of 8x8 are resized to the 6x5 that it takes, bilinearly');
    expect(result.notes).toContain('it takes 2 images a call, whatever labels.batch_size says');
  });

  test('of a model with more classes than the data its own are taken, by name or by index, and sum to 1', async () => {
    const byName = await imported({ url: at('colors/model.onnx'), input: colorsInput, output: { classes: ['red', 'green', 'blue', 'cyan', 'white', 'black'] } }, rgb, ['white', 'red', 'blue']);
    const byIndex = await imported({ url: at('colors/model.onnx'), input: colorsInput, output: { indices: [4, 0, 2], kind: 'probabilities' } }, rgb, ['x', 'y', 'z']);
    for (const result of [byName, byIndex]) expectClose(await predictions(result, 'colors'), expected.colors.logProbabilities402);
    expect(byIndex.notes).toContain('of its 6 classes the 3 of the data are taken, and their probabilities made to sum to 1');
  });

  test('over http every format that needs no listing is found, and its other files with it', async () => {
    for (const url of [web('patterns-savedmodel/'), web('patterns-layers'), web('patterns-graph/model.json'), web('patterns.onnx?signature=secret')]) {
      const result = await imported({ url, input: patternsInput });
      expectClose(await predictions(result, 'patterns'), expected.patterns.logProbabilities);
      expect(JSON.stringify(await documentOf(result))).not.toContain('secret');
    }
    expect(asked).toContain('/patterns-savedmodel/variables/variables.data-00000-of-00001');
    const colors = await imported({ url: web('colors'), input: colorsInput }, rgb, ['a', 'b', 'c', 'd', 'e', 'f']);
    expectClose(await predictions(colors, 'colors'), expected.colors.logProbabilities);
  });
});

describe('what does not fit is one error that names both sides', () => {
  const failure = async (teacher: Wish, image = gray, classNames = strokes): Promise<{ code: ErrorCode; message: string }> =>
    imported(teacher, image, classNames).then(() => ({ code: 'INTERNAL', message: 'it was imported' }), ({ code, message }: { code: ErrorCode; message: string }) => ({ code, message }));
  const broken = (from: string, change: (copy: string) => void): string => {
    const copy = mkdtempSync(join(folder, 'broken-'));
    cpSync(join(fixtures, from), join(copy, from), { recursive: true });
    change(join(copy, from));
    return pathToFileURL(join(copy, from)).href;
  };

  test.each<[string, () => Wish, ImageSpec, string[], ErrorCode, RegExp]>([
    ['a wrong number of classes', () => ({ url: at('patterns.onnx') }), gray, ['zero', 'one', 'two'], 'TEACHER_UNSUITABLE', /^the model tells 4 classes, and the data has 3 \(zero, one, two\): name the model's classes in output\.classes/],
    ['images of the wrong channels', () => ({ url: at('patterns-savedmodel') }), rgb, strokes, 'TEACHER_UNSUITABLE', /^the model takes images of 1 channels \(its input images is \[any, 12, 12, 1\], nhwc\), and those of the data have 3$/],
    ['a size that the model has not', () => ({ url: at('patterns-layers'), input: { height: 24 } }), gray, strokes, 'TEACHER_UNSUITABLE', /^the recipe says 24, and the model's input .+ is \[any, 12, 12, 1\] \(nhwc\), of which that is 12$/],
    ['an input that is not there', () => ({ url: at('patterns.onnx'), input: { name: 'pixels' } }), gray, strokes, 'TEACHER_UNSUITABLE', /^the model has no input "pixels"; it has images$/],
    ['an output that is not there', () => ({ url: at('patterns-savedmodel'), output: { name: 'scores' } }), gray, strokes, 'TEACHER_UNSUITABLE', /^the model has no output "scores"; it has logits$/],
    ['an index beyond the outputs', () => ({ url: at('patterns.onnx'), output: { indices: [0, 1, 2, 4] } }), gray, strokes, 'TEACHER_UNSUITABLE', /^output 4 is asked for, and the model tells 4 classes \(0 to 3\)$/],
    ['logits that are called probabilities', () => ({ url: at('patterns.onnx'), input: patternsInput, output: { kind: 'probabilities' } }), gray, strokes, 'TEACHER_UNSUITABLE', /^the recipe says probabilities, and the model's outputs are not within 0 and 1$/],
    ['probabilities that are called logits', () => ({ url: at('colors'), input: colorsInput, output: { kind: 'logits' } }), rgb, [...'abcdef'], 'TEACHER_UNSUITABLE', /are probabilities already/],
    ['no such folder', () => ({ url: at('nothing/here') }), gray, strokes, 'TEACHER_NOT_FOUND', /nothing\/here.*: there is no such folder/],
    ['a folder without a model', () => ({ url: pathToFileURL(join(fixtures, 'patterns-savedmodel/variables')).href }), gray, strokes, 'TEACHER_NOT_FOUND', /holds none of saved_model\.pb, model\.json and a file that ends in \.onnx$/],
    ['weights that are missing', () => ({ url: broken('patterns-layers', (copy) => unlinkSync(join(copy, 'weights.bin'))) }), gray, strokes, 'TEACHER_NOT_FOUND', /there is no file weights\.bin$/],
    ['weights that are cut short', () => ({ url: broken('patterns-layers', (copy) => truncateSync(join(copy, 'weights.bin'), 100)) }), gray, strokes, 'TEACHER_UNREADABLE', /^TF\.js cannot load the model: /],
    ['a SavedModel without its variables', () => ({ url: broken('patterns-savedmodel', (copy) => rmSync(join(copy, 'variables'), { recursive: true })) }), gray, strokes, 'TEACHER_UNREADABLE', /^saved_model\.pb has variables, and variables\/variables\.index with their values is not beside it$/],
    ['a SavedModel whose values are cut short', () => ({ url: broken('patterns-savedmodel', (copy) => truncateSync(join(copy, 'variables/variables.data-00000-of-00001'), 64)) }), gray, strokes, 'TEACHER_UNREADABLE', /^TensorFlow cannot load the SavedModel: /],
    ['text that is called ONNX', () => ({ url: broken('patterns.onnx', (copy) => writeFileSync(copy, 'not a model at all')) }), gray, strokes, 'TEACHER_UNREADABLE', /^the file is no ONNX model: /],
    ['a model.json that names a file elsewhere', () => ({ url: broken('patterns-layers', (copy) => {
      const json = join(copy, 'model.json');
      writeFileSync(json, readFileSync(json, 'utf8').replace('weights.bin', '../weights.bin'));
    }) }), gray, strokes, 'TEACHER_UNREADABLE', /names a file "\.\.\/weights\.bin", which is not one below its own folder$/],
    ['two formats in one folder', () => ({ url: broken('patterns-layers', (copy) => cpSync(join(fixtures, 'patterns.onnx'), join(copy, 'patterns.onnx'))) }), gray, strokes, 'TEACHER_UNREADABLE', /holds models in the formats tfjs and onnx: say which in models\.teacher\.format$/],
    ['a server that has no such file', () => ({ url: web('absent.onnx') }), gray, strokes, 'TEACHER_NOT_FOUND', /\/absent\.onnx|there is no file absent\.onnx/],
    ['a server that lets nobody in', () => ({ url: web('closed.onnx') }), gray, strokes, 'TEACHER_NOT_FOUND', /the server answers 403 Forbidden$/],
    ['a server that is ill', () => ({ url: web('broken.onnx') }), gray, strokes, 'TEACHER_UNREACHABLE', /the server answers 503$/],
    ['a server that is not there', () => ({ url: 'http://127.0.0.1:9/model.onnx' }), gray, strokes, 'TEACHER_UNREACHABLE', /^http:\/\/127\.0\.0\.1:9\/model\.onnx: /],
  ])('%s', async (_, teacher, image, classNames, code, message) => {
    expect(await failure(teacher(), image, classNames)).toEqual({ code, message: expect.stringMatching(message) as string });
  });

  test('a teacher cannot be tried again into fitting; one that was not reached can', () => {
    for (const code of ['TEACHER_NOT_FOUND', 'TEACHER_UNREADABLE', 'TEACHER_UNSUITABLE'] as const) expect(errorTable[code].kind).toBe('terminal');
    expect(errorTable.TEACHER_UNREACHABLE.kind).toBe('retryable');
  });
});

test('the remedy and the tests name one version of ONNX Runtime', () => {
  const { devDependencies } = JSON.parse(readFileSync(join(import.meta.dirname, '../../../package.json'), 'utf8')) as { devDependencies: Record<string, string> };
  expect(errorTable.ONNX_UNAVAILABLE.remedy).toContain(`onnxruntime-node@${devDependencies['onnxruntime-node']}`);
});
