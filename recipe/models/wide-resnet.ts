/**
 * Wide residual networks (Zagoruyko and Komodakis 2016, arXiv 1605.07146): three stages of 16 k, 32 k and 64 k filters,
 * blocks with normalization before each convolution, dropout between the two. WRN-28-10 is `depth: 28, width: 10`.
 * Made for images of 32x32. Not for: images whose sides are below 4.
 */
import { choice, type Model } from './model.ts';
import { preactivationBlock, survivalProbability } from './residual.ts';

const stages = 3;
/** A stem, three stages of n blocks with two convolutions each, three projections: depth = 6n + 4. */
const depths = [10, 16, 22, 28, 34, 40, 46, 52, 58, 64, 70, 76, 82, 88, 94, 100] as const;

export const wideResNet: Model = {
  name: 'wide-resnet',
  family: 'wide-resnet',
  options: {
    depth: choice(depths, 28, 'convolutions one after another: 6n + 4 for n blocks a stage', true),
    width: { default: 10, min: 1, max: 32, integer: true, size: true, what: 'factor k that widens every stage' },
    dropout: { default: 0, min: 0, max: 0.9, integer: false, what: 'dropout between the two convolutions of a block' },
    survival: { default: 0.8, min: 0.1, max: 1, integer: false, what: 'chance that the last block survives a training step; the others by linear decay' },
  },
  build(layers, images, options, classes) {
    const blocks = (options['depth']! - 4) / 6;
    let x = layers.convolution(images, 'stem', { filters: 16, size: 3 });
    for (let stage = 0; stage < stages; stage++) {
      for (let index = 0; index < blocks; index++) {
        x = preactivationBlock(layers, x, `stage_${stage + 1}/block_${index + 1}`, {
          filters: 16 * options['width']! * 2 ** stage, stride: stage > 0 && index === 0 ? 2 : 1, dropout: options['dropout']!,
          survival: survivalProbability(stage * blocks + index + 1, stages * blocks, options['survival']!),
        });
      }
    }
    return layers.dense(layers.globalAverage(layers.relu(layers.batchNormalization(x, 'final'))), 'logits', { units: classes, logits: true });
  },
};
