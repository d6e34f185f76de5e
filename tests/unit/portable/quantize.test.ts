/**
 * Quantized kernels. Expected numbers were computed in numpy: `s = np.abs(w).max(axis=…) / 127; np.rint(w / s)` for int8, `w.astype(np.float16)` for float16.
 */
import { expect, it } from 'vitest';
import { dequantizedWeights, inOrder, portableGraph, quantized } from '../../../worker/portable/index.ts';
import { architectureOf, weightsOf } from './models.ts';

it('int8 has a scale for each channel of the output', () => {
  // w = [[0.5, -2.54], [-1.27, 0.3]], axis 1: s = [0.01, 0.02]
  const { stored, factor } = quantized(Float32Array.of(0.5, -2.54, -1.27, 0.3), [2, 2], 1, 'int8');
  expect([...stored.values]).toEqual([50, -127, -127, 15]);
  expect([...factor!]).toEqual([Math.fround(0.01), Math.fround(0.02)]);
});

it('int8 of a depthwise kernel, [height, width, channels, 1], and of a channel of zeros', () => {
  // w = [[[[1], [0], [-3]], [[-0.5], [0], [1.5]]]], axis 2: s = [1 / 127, -, 3 / 127]; np.rint(-63.5) = -64, np.rint(63.5) = 64
  const { stored, factor } = quantized(Float32Array.of(1, 0, -3, -0.5, 0, 1.5), [1, 2, 3, 1], 2, 'int8');
  expect([...stored.values]).toEqual([127, 0, -127, -64, 0, 64]);
  expect(factor![1]).toBe(1);
});

it('float16 rounds to nearest', () => {
  // np.array([0.1, -1/3, 65504, 1e-8], np.float32).astype(np.float16).view(np.uint16)
  expect([...quantized(Float32Array.of(0.1, -1 / 3, 65504, 1e-8), [4], 0, 'float16').stored.values]).toEqual([0x2e66, 0xb555, 0x7bff, 0]);
  expect(() => quantized(Float32Array.of(7e4), [1], 0, 'float16')).toThrow(expect.objectContaining({ code: 'EXPORT_IMPOSSIBLE' }) as Error);
});

it('of a model the kernels change, each by no more than half a step, and nothing else does', () => {
  const architecture = architectureOf('efficientnet-b0', { width: 0.1, depth: 0.1 });
  const weights = weightsOf(architecture);
  const changed = dequantizedWeights(architecture, weights, 'int8');
  for (const [at, { name, values }] of weights.entries()) {
    const largest = Math.max(...values.map(Math.abs));
    const moved = Math.max(...values.map((value, index) => Math.abs(value - changed[at]!.values[index]!)));
    if (name.endsWith('/kernel')) expect(moved, name).toBeLessThanOrEqual(largest / 254 * 1.0001);
    else expect(moved, name).toBe(0);
  }
  expect(weights.some(({ values }, at) => values.some((value, index) => value !== changed[at]!.values[index]))).toBe(true);
});

it('every kernel of a graph is in the scheme that was asked for', () => {
  const architecture = architectureOf('deit-tiny', { patch: 4, width: 24, depth: 2 });
  const schemes = inOrder(portableGraph(architecture, weightsOf(architecture), 'int8')).flatMap(node => ('kernel' in node ? [node.kernel.stored.scheme] : []));
  // Patches, four dense layers a block, two heads.
  expect(schemes).toEqual(Array.from({ length: 1 + 2 * 4 + 2 }, () => 'int8'));
});
