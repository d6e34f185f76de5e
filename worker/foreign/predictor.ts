/**
 * A predictor over a model from elsewhere: images of the data are made what the model takes by one compiled program, the
 * model runs in its own library, and what it gives becomes log-probabilities of the data's classes.
 * Invariant: the program is the same for every format, so a model gives the same labels whatever it was saved as.
 */
import { invariant } from '../../proto/errors.ts';
import type { ImageShape } from '../../recipe/index.ts';
import { eachBatch, type Predictor } from '../learning/index.ts';
import { laterStep } from '../measured.ts';
import { compile, loadTensorFlow, operations, type Program, type Tensor4D, type TensorFlow } from '../tensorflow/index.ts';
import type { ForeignInput, ForeignOutput } from './agreement.ts';
import type { ForeignModel, Values } from './model.ts';

/**
 * Input: images uint8 `[batch, height, width, channels]` of the data. Output: prepared, as the model takes them.
 * Resizing is bilinear with half-pixel centers and no antialiasing: TensorFlow's `tf.image.resize`, and PyTorch's `interpolate` with neither
 * `align_corners` nor `antialias`.
 */
function preparation(engine: TensorFlow, image: ImageShape, input: ForeignInput, batch: number): Program {
  const { tf } = engine;
  const { height, width, layout, range: [low, high], mean, std } = input;
  const scale = std.map((each) => (high - low) / 255 / each);
  const offset = std.map((each, channel) => (low - (mean[channel] ?? 0)) / each);
  return {
    name: 'preparation',
    variables: {},
    inputs: { images: { shape: [batch, image.height, image.width, image.channels], dataType: 'uint8' } },
    run(_, { images }) {
      const pixels = operations.fromBytes(engine, images!) as Tensor4D;
      const sized = image.height === height && image.width === width ? pixels : tf.image.resizeBilinear(pixels, [height, width], false, true);
      const scaled = tf.add(tf.mul(sized, tf.tensor1d(scale)), tf.tensor1d(offset));
      return { outputs: { prepared: layout === 'nchw' ? tf.transpose(scaled, [0, 3, 1, 2]) : scaled }, updates: {} };
    },
  };
}

/** What the model gives, whole batches of `rows` images. */
export interface RawOutput {
  /** Images a call. */
  readonly rows: number;
  /** Values `[rows, …]` of `images` `[rows, height, width, channels]` of the data. */
  run(images: Uint8Array): Promise<Values>;
  dispose(): void;
}

/** The model behind its preparation: `batchSize` images a call, or as many as it always takes. */
export function outputOf(model: ForeignModel, input: ForeignInput, output: string, image: ImageShape, batchSize: number): RawOutput {
  const rows = input.batch ?? batchSize;
  const executable = compile(loadTensorFlow(), preparation(loadTensorFlow(), image, input, rows));
  const { height, width, channels } = input;
  const shape = input.layout === 'nchw' ? [rows, channels, height, width] : [rows, height, width, channels];
  return {
    rows,
    run: (images) => model.run(input.name, { values: executable.run({ images })['prepared'] as Float32Array, shape }, output),
    dispose: () => executable.dispose(),
  };
}

export function createForeignPredictor(model: ForeignModel, input: ForeignInput, output: ForeignOutput, image: ImageShape, batchSize: number): Predictor {
  const raw = outputOf(model, input, output.name, image, batchSize);
  const imageSize = image.height * image.width * image.channels;
  const classes = output.indices?.length ?? output.outputs;
  return {
    async logProbabilities(images, count) {
      const result = new Float32Array(count * classes);
      await eachBatch(images, count, imageSize, raw.rows, async (batch, rows, start) => {
        const { values } = await laterStep('predict', rows, () => raw.run(batch));
        invariant(values.length === raw.rows * output.outputs, `${raw.rows} images have ${raw.rows * output.outputs} outputs, not ${values.length}`);
        writeLogProbabilities(values, rows, output, result.subarray(start * classes));
      });
      return result;
    },
    dispose() {
      raw.dispose();
      model.dispose();
    },
  };
}

/** Of float32, the least that is not rounded further: the logarithm of a probability that came out as 0 is that of this. */
const PROBABILITY_LEAST = 2 ** -126;

/**
 * Log-probabilities `[rows, classes]` of the data's classes, of outputs `[rows, outputs]`: the log-softmax of their logits, or the logarithm
 * of their probabilities made to sum to 1.
 */
export function writeLogProbabilities(values: Float32Array, rows: number, { kind, outputs, indices }: ForeignOutput, into: Float32Array): void {
  const classes = indices?.length ?? outputs;
  for (let row = 0; row < rows; row += 1) {
    const of = (each: number): number => {
      const value = values[row * outputs + (indices?.[each] ?? each)] ?? Number.NaN;
      return kind === 'logits' ? value : Math.log(value < PROBABILITY_LEAST ? PROBABILITY_LEAST : value);
    };
    let most = -Infinity;
    for (let each = 0; each < classes; each += 1) most = Math.max(most, of(each));
    let sum = 0;
    for (let each = 0; each < classes; each += 1) sum += Math.exp(of(each) - most);
    const norm = most + Math.log(sum);
    for (let each = 0; each < classes; each += 1) into[row * classes + each] = of(each) - norm;
  }
}
