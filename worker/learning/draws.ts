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
}

/** `seed`: int32 `[2]`, an input of the step: a hash of the run's seed, and the step. */
export function seededDraws(engine: TensorFlow, seed: Tensor): Draws {
  const names = new Set<string>();
  return {
    uniform(name, shape) {
      invariant(!names.has(name), `the draw ${name} is made once a step`);
      names.add(name);
      const own = engine.tf.tensor1d([seedFor(0, name), 0], 'int32');
      return operations.randomUniform(engine, shape, engine.tf.add(seed, own));
    },
  };
}

/** What a step is fed as `seed`. */
export const stepSeed = (seed: number, step: number): Int32Array => Int32Array.of(seedFor(seed, 'step'), step);
