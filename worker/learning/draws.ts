/**
 * Random draws within a step. Each is a pure function of the run's seed, the step and the draw's own name, so a step
 * can be repeated, and two draws of one step never share a number.
 * Not for: initial weights (random.ts).
 */
import { invariant } from '../../proto/errors.ts';
import { operations } from '../tensorflow/index.ts';
import type { Tensor, TensorFlow } from '../tensorflow/index.ts';
import { seedFor } from './random.ts';

export interface Draws {
  /** Uniform float32 in [0, 1). */
  uniform(name: string, shape: readonly number[]): Tensor;
  /** Beta(alpha, alpha), float32 in [0, 1], alpha > 0: a / (a + b) of two Gamma(alpha) draws. */
  beta(name: string, shape: readonly number[], alpha: number): Tensor;
}

/** `seed`: int32 `[2]`, an input of the step: a hash of the run's seed, and the step. */
export function seededDraws(engine: TensorFlow, seed: Tensor): Draws {
  const { tf } = engine;
  const names = new Set<string>();
  const seedOf = (name: string): Tensor => {
    invariant(!names.has(name), `the draw ${name} is made once a step`);
    names.add(name);
    return tf.add(seed, tf.tensor1d([seedFor(0, name), 0], 'int32'));
  };
  return {
    uniform: (name, shape) => operations.randomUniform(engine, shape, seedOf(name)),
    beta(name, shape, alpha) {
      const [a, b] = [operations.randomGamma(engine, shape, alpha, seedOf(`${name}/a`)), operations.randomGamma(engine, shape, alpha, seedOf(`${name}/b`))];
      const sum = tf.add(a, b);
      // Of a small alpha both may fall under the least float32. The quotient is then 0 or 1, equally likely; to whoever mixes two samples that come in no order it is the same.
      return tf.where(tf.greater(sum, 0), tf.div(a, sum), tf.ones([...shape]));
    },
  };
}

/** What a step is fed as `seed`. */
export const stepSeed = (seed: number, step: number): Int32Array => Int32Array.of(seedFor(seed, 'step'), step);
