/** Multiply-adds against published counts. */
import { expect, test } from 'vitest';
import { multiplyAdds } from '../../../recipe/index.ts';

const of = (name: string, options: Record<string, number>, side: number, channels = 3, classes = 1000): number =>
  multiplyAdds({ model: { name, options }, input: { height: side, width: side, channels }, classes });

// 10^9, torchvision/models/{resnet,efficientnet,vision_transformer}.py, `_ops`, at the resolutions that they were measured at.
test.each([
  ['resnet', { depth: 18 }, 224, 1.814], ['resnet', { depth: 50 }, 224, 4.089], ['resnet', { depth: 152 }, 224, 11.514],
  ['efficientnet-b0', {}, 224, 0.386], ['vit-base', {}, 224, 17.564],
] as const)('%s %j at %i: %d G', (name, options, side, published) => {
  expect(of(name, options, side) / 1e9).toBeCloseTo(published, 3);
});

test('cnn, by hand', () => {
  // 28 x 28 x 9 x 1 x 16, 14 x 14 x 9 x 16 x 32, (7 x 7 x 32) x 128, 128 x 10
  expect(of('cnn', { width: 16, dense: 128 }, 28, 1, 10)).toBe(112_896 + 903_168 + 200_704 + 1_280);
});
