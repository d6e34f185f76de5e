/** Models in other tools' formats: TensorFlow, TF.js and ONNX Runtime predict with them what our predictor does. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { InferenceSession, Tensor as OnnxTensor } from 'onnxruntime-node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { modelNames, type Architecture } from '../../../recipe/index.ts';
import { createPredictor, type TensorData } from '../../../worker/learning/index.ts';
import { dequantizedWeights, onnxModel, portableGraph, savedModel, tfjsGraph, type PortableGraph, type WeightScheme } from '../../../worker/portable/index.ts';
import { dataTypeCode, loadTensorFlow, type TensorFlow } from '../../../worker/tensorflow/index.ts';
import { architectureOf, imagesOf, small, weightsOf } from './models.ts';

let engine: TensorFlow;
beforeAll(() => { engine = loadTensorFlow({ threads: 2 }); });
const folder = mkdtempSync(join(tmpdir(), 'portable-'));
afterAll(() => rmSync(folder, { recursive: true }));

const classNames = ['a', 'b', 'c', 'd', 'é'];
interface Predicted { probabilities: Float32Array; logProbabilities: Float32Array }
type Run = (graph: PortableGraph, architecture: Architecture, images: Uint8Array, count: number) => Promise<Predicted>;
const shapeOf = ({ input: { height, width, channels } }: Architecture): number[] => [height, width, channels];

const formats: Readonly<Record<string, Run>> = {
  async savedmodel(graph, architecture, images, count) {
    writeFileSync(join(folder, 'saved_model.pb'), savedModel(graph, shapeOf(architecture), classNames));
    const session = engine.binding.loadSavedModel(folder, 'serve');
    const id = engine.binding.createTensor([count, ...shapeOf(architecture)], dataTypeCode.uint8, images);
    const [probabilities, logProbabilities] = engine.binding.runSavedModel(session, [id], 'images:0', 'probabilities:0,log_probabilities:0').map(({ id }) => engine.binding.tensorDataSync(id) as Float32Array);
    engine.binding.deleteSavedModel(session);
    return { probabilities: probabilities!, logProbabilities: logProbabilities! };
  },
  async 'tfjs-graph'(graph, architecture, images, count) {
    for (const { name, content } of tfjsGraph(graph, shapeOf(architecture), classNames, {})) writeFileSync(join(folder, name), content);
    const { tf } = engine;
    const model = await tf.loadGraphModel(`file://${folder}/model.json`);
    const [probabilities, logProbabilities] = tf.tidy(() => (model.execute({ images: tf.tensor(Int32Array.from(images), [count, ...shapeOf(architecture)], 'int32') }, ['probabilities', 'log_probabilities']) as ReturnType<typeof tf.tensor>[]).map(tensor => tensor.dataSync() as Float32Array));
    expect((model as unknown as { metadata: { classNames: string[] } }).metadata.classNames).toEqual(classNames);
    model.dispose();
    return { probabilities: probabilities!, logProbabilities: logProbabilities! };
  },
  async onnx(graph, architecture, images, count) {
    const session = await InferenceSession.create(onnxModel(graph, shapeOf(architecture), classNames, {}));
    const results = await session.run({ images: new OnnxTensor('uint8', images, [count, ...shapeOf(architecture)]) });
    await session.release();
    return { probabilities: results['probabilities']!.data as Float32Array, logProbabilities: results['log_probabilities']!.data as Float32Array };
  },
};

async function predicted(architecture: Architecture, weights: readonly TensorData[], images: Uint8Array, count: number): Promise<Float32Array> {
  const predictor = await createPredictor(architecture, weights, count);
  const values = await predictor.logProbabilities(images, count);
  predictor.dispose();
  return values;
}
const distance = (ours: Float32Array, theirs: Float32Array): number => Math.hypot(...ours.map((value, at) => value - theirs[at]!)) / Math.hypot(...ours);

it('small variants of every family are exported', () => {
  const families = (names: readonly string[]): string[] => [...new Set(names.map(name => name.split('-')[0]!))].sort();
  expect(families(small.map(([name]) => name))).toEqual(families(modelNames));
});

describe.each(Object.entries(formats))('%s', (_, run) => {
  it.each(small)('predicts as the worker does, any batch: %s %j', async (name, options) => {
    const architecture = architectureOf(name, options);
    const weights = weightsOf(architecture);
    for (const count of [1, 3]) {
      const images = imagesOf(architecture, count);
      const ours = await predicted(architecture, weights, images, count);
      const { probabilities, logProbabilities } = await run(portableGraph(architecture, weights), architecture, images, count);
      expect(new Set(ours).size).toBeGreaterThan(4);
      // Sums in another order, and 32 bits.
      expect(distance(ours, logProbabilities)).toBeLessThan(1e-5);
      expect(distance(ours.map(Math.exp), probabilities)).toBeLessThan(1e-5);
    }
  });

  it.each((['float16', 'int8'] as WeightScheme[]).flatMap(scheme => small.map(([name, options]) => [scheme, name, options] as const)))('of %s weights predicts as the worker does with what they stand for: %s %j', async (scheme, name, options) => {
    const architecture = architectureOf(name, options);
    const weights = weightsOf(architecture);
    const images = imagesOf(architecture, 2);
    const ours = await predicted(architecture, dequantizedWeights(architecture, weights, scheme), images, 2);
    const { logProbabilities } = await run(portableGraph(architecture, weights, scheme), architecture, images, 2);
    expect(distance(ours, logProbabilities)).toBeLessThan(1e-5);
    // And quantization shows: the same numbers would mean that none was done.
    expect(distance(await predicted(architecture, weights, images, 2), logProbabilities)).toBeGreaterThan(scheme === 'int8' ? 1e-4 : 1e-6);
  });
});
