/**
 * A small residual network with batch normalization before each convolution (He et al. 2016, arXiv 1603.05027; the
 * widths of Zagoruyko and Komodakis, arXiv 1605.07146) and stochastic depth with linear decay (Huang et al. 2016,
 * arXiv 1603.09382, equation 4). Three stages; the second and third halve the resolution.
 * Not for: images whose sides are below 4.
 */
import type { Layers } from './layers.ts';
import type { Model } from './model.ts';

const stages = 3;

/**
 * The chance that block `block` (1 to `blocks`) survives: p_l = 1 - (l / L)(1 - p_L), where `lastSurvival` is p_L.
 */
export const survivalProbability = (block: number, blocks: number, lastSurvival: number): number => 1 - (block / blocks) * (1 - lastSurvival);

/** Two 3x3 convolutions, each after a normalization and a rectifier; `dropout` lies between them, as in wide networks. */
export function preactivationBlock<T>(layers: Layers<T>, x: T, name: string, { filters, stride, survival, dropout = 0 }: { filters: number; stride: number; survival: number; dropout?: number }): T {
  const activated = layers.relu(layers.batchNormalization(x, `${name}/normalization_1`));
  // Where the shape changes, the shortcut is a projection of the activated input.
  const same = stride === 1 && layers.channels(x) === filters;
  const shortcut = same ? x : layers.convolution(activated, `${name}/projection`, { filters, size: 1, stride });
  const first = layers.convolution(activated, `${name}/convolution_1`, { filters, size: 3, stride });
  const between = layers.dropout(layers.relu(layers.batchNormalization(first, `${name}/normalization_2`)), name, dropout);
  const second = layers.convolution(between, `${name}/convolution_2`, { filters, size: 3 });
  // Only an identity shortcut may lose its branch, as in the published EfficientNet.
  return layers.residual(shortcut, second, name, same ? survival : 1);
}

export const residual: Model = {
  name: 'residual',
  family: 'residual',
  options: {
    width: { default: 16, min: 1, max: 1024, integer: true, size: true, what: 'filters of the first stage; each next stage has twice as many' },
    blocks: { default: 2, min: 1, max: 64, integer: true, size: true, what: 'residual blocks a stage' },
    survival: { default: 0.8, min: 0.1, max: 1, integer: false, what: 'chance that the last block survives a training step; the others by linear decay' },
    dropout: { default: 0.5, min: 0, max: 0.9, integer: false, what: 'dropout before the logits' },
  },
  build(layers, images, options, classes) {
    const blocks = options['blocks']!;
    let x = layers.convolution(images, 'stem', { filters: options['width']!, size: 3 });
    for (let stage = 0; stage < stages; stage++) {
      for (let index = 0; index < blocks; index++) {
        const survival = survivalProbability(stage * blocks + index + 1, stages * blocks, options['survival']!);
        x = preactivationBlock(layers, x, `stage_${stage + 1}/block_${index + 1}`, { filters: options['width']! * 2 ** stage, stride: stage > 0 && index === 0 ? 2 : 1, survival });
      }
    }
    x = layers.globalAverage(layers.relu(layers.batchNormalization(x, 'final')));
    return layers.dense(layers.dropout(x, 'features', options['dropout']!), 'logits', { units: classes, logits: true });
  },
};
