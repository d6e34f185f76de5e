/** `run export` to other tools' formats and `run measure`, through the command line, of a run by real processes. */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { runCommand, type Ran } from '../harness/command.ts';
import { Cluster } from '../harness/cluster.ts';
import { patternsHome, patternsRecipe } from '../harness/patterns.ts';

const RUN = 'strokes';
let template: Awaited<ReturnType<typeof patternsHome>>;
let cluster: Cluster;
beforeAll(async () => {
  template = await patternsHome();
  cluster = await Cluster.create({ template: template.home });
  cluster.keep();
  await cluster.start();
  await cluster.submit(patternsRecipe({ rounds: 1, control: false, more: 'compress: { accuracy_kept: 0.5 }\n' }), RUN);
  await cluster.settled(RUN, 'succeeded');
});
afterAll(async () => {
  await cluster.remove();
  await template.remove();
});

const alumnus = (...args: string[]): Promise<Ran> => runCommand([...args, '--address', cluster.address]);

test('a page, its samples and its model', async () => {
  const to = join(cluster.folder, 'web');
  const exported = await alumnus('run', 'export', RUN, '--format', 'tfjs-graph', '--weights', 'float16', '--page', '--samples', '3', '--to', to);
  // What the recipe's compress chose is another one, or other weights: whoever exports the best is told.
  expect(exported).toMatchObject({ code: 0, err: expect.stringMatching(/^This is the best model; --model chosen exports .* in int8\.\n$/) as string });
  expect(exported.out.split('\n')[0]).toBe(join(to, 'model.json'));
  expect((await readdir(to)).sort()).toEqual(['README.md', 'document.json', 'index.html', 'model.json', 'page.css', 'page.js', 'samples', 'tfjs', 'weights-1-of-1.bin']);
  expect((await readdir(join(to, 'samples'))).sort()).toEqual(['1.png', '2.png', '3.png']);
  const model = JSON.parse(await readFile(join(to, 'model.json'), 'utf8')) as { userDefinedMetadata: { classNames: string[]; alumnus: { lineage: { run: string } } } };
  expect(model.userDefinedMetadata).toMatchObject({ classNames: ['across', 'upright', 'falling', 'rising'], alumnus: { weightScheme: 'float16', lineage: { run: RUN } } });
});

test('an ONNX model of int8 weights takes any batch', async () => {
  const to = join(cluster.folder, 'onnx');
  expect(await alumnus('run', 'export', RUN, '--format', 'onnx', '--weights', 'int8', '--to', to)).toMatchObject({ code: 0, out: `${['model.onnx', 'document.json', 'README.md'].map((name) => join(to, name)).join('\n')}\n` });
  const session = await InferenceSession.create(join(to, 'model.onnx'));
  const { architecture: { input: { height, width, channels } } } = JSON.parse(await readFile(join(to, 'document.json'), 'utf8')) as { architecture: { input: { height: number; width: number; channels: number } } };
  const { probabilities } = await session.run({ images: new Tensor('uint8', new Uint8Array(2 * height * width * channels), [2, height, width, channels]) });
  expect(probabilities?.dims).toEqual([2, 4]);
  expect(await readFile(join(to, 'README.md'), 'utf8')).toContain('kernels in int8');
});

test('what does not go together is refused, and nothing is written', async () => {
  const to = join(cluster.folder, 'nothing');
  expect(await alumnus('run', 'export', RUN, '--format', 'onnx', '--page', '--to', to)).toMatchObject({ code: 2, err: expect.stringContaining('--page goes with --format tfjs-graph') as string });
  expect(await alumnus('run', 'export', RUN, '--weights', 'int8', '--to', to)).toMatchObject({ code: 2, err: expect.stringContaining('--weights int8 goes with') as string });
  await expect(readdir(to)).rejects.toMatchObject({ code: 'ENOENT' });
});

test('what the run measured, each model in a process of its own, chooses the smallest file, and that very file is exported', async () => {
  const { compression } = JSON.parse((await alumnus('run', 'describe', RUN, '-o', 'json')).out) as { compression: { chosen: { name: string; weights: string }; models: { name: string; measured: { memoryPeak: number; memoryWithoutModel: number; latencyP50Seconds: number; device: string; weights: { weights: string; bytes: Record<string, number>; validation: { total: number }; test: { total: number } }[] } }[] } };
  expect(compression.models.map(({ name }) => name)).toEqual(['teacher', 'student']);
  const files = compression.models.flatMap(({ name, measured }) => measured.weights.map(({ weights, bytes }) => ({ name, weights, bytes: bytes['onnx']! }))).sort((a, b) => a.bytes - b.bytes);
  // Half of the teacher's accuracy any of them keeps.
  expect(compression.chosen).toEqual({ name: files[0]!.name, weights: files[0]!.weights });
  expect(compression.chosen.weights).toBe('int8');
  for (const { measured } of compression.models) {
    expect(measured.weights.map((each) => [each.weights, each.validation.total, each.test.total])).toEqual(['float32', 'float16', 'int8'].map((weights) => [weights, 100, 100]));
    expect(measured.latencyP50Seconds).toBeGreaterThan(0);
    expect(measured.memoryPeak).toBeGreaterThan(measured.memoryWithoutModel);
    expect(measured.device).not.toBe('');
  }
  const to = join(cluster.folder, 'chosen');
  expect(await alumnus('run', 'export', RUN, '--model', 'chosen', '--to', to)).toMatchObject({ code: 0, out: `${['model.onnx', 'document.json', 'README.md'].map((name) => join(to, name)).join('\n')}\n`, err: '' });
  expect((await readFile(join(to, 'model.onnx'))).byteLength).toBe(files[0]!.bytes);
  expect(await readFile(join(to, 'README.md'), 'utf8')).toContain('kernels in int8');
  expect(await alumnus('run', 'export', RUN, '--model', 'nobody', '--to', to)).toMatchObject({ err: expect.stringContaining('there are chosen, teacher, student') as string });
});

test('a model is measured', async () => {
  const told = await alumnus('run', 'measure', RUN, '--times', '20', '-o', 'json');
  expect(told).toMatchObject({ code: 0 });
  const measured = JSON.parse(told.out) as { parameters: number; multiplyAdds: number; bytes: Record<string, Record<string, number>>; latencyP50Seconds: number; latencyP95Seconds: number; memoryBytes: { peak: number; withoutModel: number }; threads: number; device: string };
  expect(measured).toMatchObject({ threads: 1, device: expect.stringMatching(/./) as string });
  expect(Object.keys(measured.bytes).sort()).toEqual(['onnx', 'savedmodel', 'tfjs-graph']);
  // A file holds at least its weights, four bytes each, and of int8 less than of float16.
  for (const sizes of Object.values(measured.bytes)) {
    expect(sizes['float32']).toBeGreaterThan(4 * measured.parameters);
    expect(sizes['float16']).toBeLessThan(sizes['float32']!);
    expect(sizes['int8']).toBeLessThan(sizes['float16']!);
  }
  expect(measured.multiplyAdds).toBeGreaterThan(measured.parameters / 2);
  expect(measured.latencyP50Seconds).toBeGreaterThan(0);
  expect(measured.latencyP95Seconds).toBeGreaterThanOrEqual(measured.latencyP50Seconds);
  expect(measured.memoryBytes.peak).toBeGreaterThanOrEqual(measured.memoryBytes.withoutModel);
});
