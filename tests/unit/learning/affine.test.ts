/** Affine noise against bilinear sampling written out in plain numbers. */
import { beforeAll, expect, it } from 'vitest';
import { seededDraws } from '../../../worker/learning/draws.ts';
import { affine } from '../../../worker/learning/noise/affine.ts';
import { loadTensorFlow } from '../../../worker/tensorflow/index.ts';
import type { TensorFlow } from '../../../worker/tensorflow/index.ts';

let engine: TensorFlow;
beforeAll(() => { engine = loadTensorFlow({ threads: 2 }); });

const [batch, height, width] = [6, 9, 7];
const images = Float32Array.from({ length: batch * height * width }, (_, index) => (index * index * 7 + index * 13) % 256);
const seed = [11, 5];

function noised(wishes: { degrees: number; translatePixels: number; scale: number; flip?: boolean }): Float32Array {
  const noise = { flip: false, ...wishes };
  const { tf } = engine;
  return tf.tidy(() => affine(engine, tf.tensor4d(images, [batch, height, width, 1]), { name: 'affine', ...noise }, seededDraws(engine, tf.tensor1d(seed, 'int32'))).dataSync() as Float32Array);
}

it('is nothing at zero', () => {
  expect(noised({ degrees: 0, translatePixels: 0, scale: 0 })).toEqual(images);
});

it.each([false, true])('rotates and scales about the center, then moves, and fills with black; mirrored: %s', (flip) => {
  const noise = { degrees: 40, translatePixels: 2, scale: 0.2, flip };
  const { tf } = engine;
  const draw = (name: string): number[] => tf.tidy(() => [...seededDraws(engine, tf.tensor1d(seed, 'int32')).uniform(`affine/${name}`, [batch, 1]).dataSync()].map(u => 2 * u - 1));
  const [angles, scales, movesX, movesY] = [draw('angle'), draw('scale'), draw('x'), draw('y')];
  const flips = tf.tidy(() => [...seededDraws(engine, tf.tensor1d(seed, 'int32')).uniform('affine/flip', [batch, 1]).dataSync()].map(u => flip && u < 0.5));
  expect(new Set(flips).size).toBe(flip ? 2 : 1);
  // Four amounts from four draws of their own.
  expect(new Set([angles, scales, movesX, movesY].map(values => values.join())).size).toBe(4);
  const result = noised(noise);
  const [centerX, centerY] = [(width - 1) / 2, (height - 1) / 2];
  for (let image = 0; image < batch; image++) {
    const pixel = (x: number, y: number): number => (x < 0 || y < 0 || x >= width || y >= height ? 0 : images[(image * height + y) * width + (flips[image] ? width - 1 - x : x)]!);
    const angle = angles[image]! * noise.degrees * Math.PI / 180, factor = 1 + scales[image]! * noise.scale;
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const [dx, dy] = [x - centerX, y - centerY];
        const sourceX = (Math.cos(angle) * dx - Math.sin(angle) * dy) / factor + centerX + movesX[image]! * noise.translatePixels;
        const sourceY = (Math.sin(angle) * dx + Math.cos(angle) * dy) / factor + centerY + movesY[image]! * noise.translatePixels;
        const [left, top] = [Math.floor(sourceX), Math.floor(sourceY)];
        const [right, below] = [sourceX - left, sourceY - top];
        const expected = (1 - below) * ((1 - right) * pixel(left, top) + right * pixel(left + 1, top)) + below * ((1 - right) * pixel(left, top + 1) + right * pixel(left + 1, top + 1));
        expect(Math.abs(result[(image * height + y) * width + x]! - expected)).toBeLessThan(0.01);
      }
    }
  }
});
