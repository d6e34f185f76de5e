/** Exported models in the hands of others: TensorFlow and ONNX Runtime for Python load them by what their README says, and predict what our predictor does. */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, expect, it } from 'vitest';
import { createPredictor } from '../../worker/learning/index.ts';
import { dequantizedWeights, portableFiles, type PortableFormat, type WeightScheme } from '../../worker/portable/index.ts';
import { loadTensorFlow } from '../../worker/tensorflow/index.ts';
import { pythonOfExports } from './python.ts';
import { architectureOf, imagesOf, small, weightsOf } from '../unit/portable/models.ts';

const folder = mkdtempSync(join(tmpdir(), 'exports-'));
afterAll(() => rmSync(folder, { recursive: true }));
const program = fileURLToPath(new URL('exports.py', import.meta.url));

interface Told { classNames: string[]; probabilities: number[][]; logProbabilities: number[][]; metadata: Record<string, string> }
const count = 3;
const classNames = ['zero', 'one', 'two', 'Ünïcode', 'a "b"'];
const chosen = small.filter(([name]) => ['cnn', 'wide-resnet', 'efficientnet-b0', 'deit-tiny'].includes(name));
const cases = chosen.flatMap(([name, options]) => (['savedmodel', 'onnx'] as const).flatMap((format) => (['float32', 'float16', 'int8'] as const).map((scheme) => ({ name, options, format, scheme }))));

it('SavedModels and ONNX models predict in Python what the worker predicts, and know their classes', async (context) => {
  const set = await pythonOfExports();
  if ('reason' in set) return context.skip(set.reason);
  loadTensorFlow({ threads: 2 });
  const written = await Promise.all(cases.map((each) => write(each)));
  const { stdout } = await promisify(execFile)(set.python.interpreter, [program, ...written.map(({ place }) => place)], { maxBuffer: 2 ** 26, env: { ...process.env, ...set.python.env, TF_CPP_MIN_LOG_LEVEL: '3', CUDA_VISIBLE_DEVICES: '' } });
  const told = JSON.parse(stdout) as Told[];
  expect(told).toHaveLength(cases.length);
  for (const [at, { name, options, format, scheme }] of cases.entries()) {
    const architecture = architectureOf(name, options);
    const predictor = await createPredictor(architecture, dequantizedWeights(architecture, weightsOf(architecture), scheme), count);
    const ours = [...await predictor.logProbabilities(imagesOf(architecture, count), count)];
    predictor.dispose();
    const { probabilities, logProbabilities, metadata, classNames: names } = told[at]!;
    const title = `${format} ${scheme} ${name}`;
    expect(names, title).toEqual(classNames);
    expect(distance(ours, logProbabilities.flat()), title).toBeLessThan(1e-5);
    expect(distance(ours.map(Math.exp), probabilities.flat()), title).toBeLessThan(1e-5);
    if (format === 'onnx') expect(metadata, title).toMatchObject({ 'alumnus.document': written[at]!.digest, 'alumnus.weightScheme': scheme });
  }
}, 20 * 60_000);

const distance = (ours: readonly number[], theirs: readonly number[]): number => Math.hypot(...ours.map((value, at) => value - theirs[at]!)) / Math.hypot(...ours);

async function write({ name, options, format, scheme }: { name: string; options: Record<string, number>; format: PortableFormat; scheme: WeightScheme }): Promise<{ place: string; digest: string }> {
  const place = join(folder, `${name}-${format}-${scheme}`);
  const architecture = architectureOf(name, options);
  const document = Buffer.from(JSON.stringify({ schemaVersion: 1, architecture, classNames, weights: { sha256: 'ab'.repeat(32) }, lineage: { run: 'r' } }));
  const { height, width, channels } = architecture.input;
  const files = await portableFiles(document, weightsOf(architecture), { format, scheme });
  for (const { name: file, content } of [...files, { name: 'images.bin', content: imagesOf(architecture, count) }, { name: 'shape.json', content: JSON.stringify([count, height, width, channels]) }]) {
    mkdirSync(dirname(join(place, file)), { recursive: true });
    writeFileSync(join(place, file), content);
  }
  return { place, digest: createHash('sha256').update(document).digest('hex') };
}
