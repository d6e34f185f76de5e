/** One call of a model that TensorFlow runs: images in, one output back, and no tensor left behind. */
import { loadTensorFlow, type Tensor } from '../tensorflow/index.ts';
import { refused, type Values } from './model.ts';

/** @throws AlumnusError TEACHER_UNSUITABLE where the model refuses the images */
export async function runTensorFlow(images: Values, predict: (images: Tensor) => Readonly<Record<string, Tensor>>, output: string): Promise<Values> {
  const { tf } = loadTensorFlow();
  const given = tf.tensor(images.values, [...images.shape], 'float32');
  let outputs: Readonly<Record<string, Tensor>> = {};
  try {
    outputs = predict(given);
    const chosen = outputs[output];
    if (chosen === undefined) throw new Error(`there is no output ${output}`);
    return { values: Float32Array.from(await chosen.data()), shape: chosen.shape };
  } catch (thrown) {
    throw refused(thrown);
  } finally {
    for (const tensor of [given, ...Object.values(outputs)]) tensor.dispose();
  }
}
