/**
 * A program of its own: whether the native TensorFlow library loads here and computes, for `alumnus doctor`. Writes one line of JSON,
 * `{ library: { threads, works } }`. Ends with the error table's code and a sentence of it on stderr.
 */
import { answer, tell } from '../proto/program.ts';
import { loadTensorFlow } from './tensorflow/index.ts';

answer(async () => {
  const { tf, threads } = loadTensorFlow();
  // Loaded is not yet usable: one operation through it.
  const sum = await tf.add(1, 1).array();
  tell({ library: { threads, works: sum === 2 } });
});
