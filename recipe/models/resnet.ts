/**
 * Residual networks of 18 to 152 layers (He et al. 2015, arXiv 1512.03385, table 1), with the stride of a bottleneck in
 * its 3x3 convolution, as torchvision's `resnet50` has it, and stochastic depth with linear decay (Huang et al. 2016,
 * arXiv 1603.09382). Made for images of 224x224; `stem: 3` is the variant for small ones: a 3x3 stem without stride, no
 * pooling (pytorch-cifar's). Convolutions pad as TensorFlow does, so at a stride one pixel lies elsewhere than in torchvision.
 */
import type { Layers } from './layers.ts';
import { choice, type Model } from './model.ts';
import { survivalProbability } from './residual.ts';

/** Blocks in each of the four stages. */
const stagesOf: Readonly<Record<number, readonly number[]>> = { 18: [2, 2, 2, 2], 34: [3, 4, 6, 3], 50: [3, 4, 6, 3], 101: [3, 4, 23, 3], 152: [3, 8, 36, 3] };
/** From this depth on a block is a bottleneck, which gives four times its filters. */
const bottleneckDepth = 50;

function block<T>(layers: Layers<T>, x: T, name: string, { filters, stride, survival, bottleneck }: { filters: number; stride: number; survival: number; bottleneck: boolean }): T {
  const normalized = (x: T, part: string, filters: number, size: number, stride = 1): T =>
    layers.batchNormalization(layers.convolution(x, `${name}/${part}`, { filters, size, stride }), `${name}/${part}/normalization`);
  const channels = bottleneck ? 4 * filters : filters;
  let branch: T;
  if (bottleneck) {
    branch = layers.relu(normalized(x, 'convolution_1', filters, 1));
    branch = layers.relu(normalized(branch, 'convolution_2', filters, 3, stride));
    branch = normalized(branch, 'convolution_3', channels, 1);
  } else {
    branch = layers.relu(normalized(x, 'convolution_1', filters, 3, stride));
    branch = normalized(branch, 'convolution_2', channels, 3);
  }
  const same = stride === 1 && layers.channels(x) === channels;
  const shortcut = same ? x : normalized(x, 'projection', channels, 1, stride);
  return layers.relu(layers.residual(shortcut, branch, name, same ? survival : 1));
}

export const resNet: Model = {
  name: 'resnet',
  family: 'resnet',
  options: {
    depth: choice([18, 34, 50, 101, 152], 50, 'layers', true),
    stem: choice([3, 7], 7, '7: a 7x7 convolution and a pooling, each with stride 2, for images of 224x224; 3: a 3x3 convolution, for those of 32x32'),
    width: { default: 64, min: 1, max: 1024, integer: true, size: true, what: 'filters of the first stage; each next stage has twice as many' },
    survival: { default: 0.8, min: 0.1, max: 1, integer: false, what: 'chance that the last block survives a training step; the others by linear decay' },
    dropout: { default: 0, min: 0, max: 0.9, integer: false, what: 'dropout before the logits' },
  },
  build(layers, images, options, classes) {
    const stages = stagesOf[options['depth']!]!;
    const bottleneck = options['depth']! >= bottleneckDepth;
    const blocks = stages.reduce((sum, count) => sum + count, 0);
    const large = options['stem'] === 7;
    let x = layers.convolution(images, 'stem', { filters: options['width']!, size: options['stem']!, stride: large ? 2 : 1 });
    x = layers.relu(layers.batchNormalization(x, 'stem/normalization'));
    if (large) x = layers.maxPool(x, 3);
    let done = 0;
    stages.forEach((count, stage) => {
      for (let index = 0; index < count; index++) {
        done++;
        x = block(layers, x, `stage_${stage + 1}/block_${index + 1}`, {
          filters: options['width']! * 2 ** stage, stride: stage > 0 && index === 0 ? 2 : 1, bottleneck,
          survival: survivalProbability(done, blocks, options['survival']!),
        });
      }
    });
    return layers.dense(layers.dropout(layers.globalAverage(x), 'features', options['dropout']!), 'logits', { units: classes, logits: true });
  },
};
