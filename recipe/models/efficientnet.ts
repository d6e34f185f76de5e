/**
 * EfficientNet (Tan and Le 2019, arXiv 1905.11946), B0 to B7 and the L2 of Noisy Student (Xie et al. 2020,
 * arXiv 1911.04252): one network, its width and depth scaled together. Figures and rules are those of the published code
 * (tensorflow/tpu, models/official/efficientnet). Each variant was made for one resolution (docs/models.md) and takes any;
 * `stem_stride: 1` keeps small images from shrinking to nothing.
 */
import type { Layers } from './layers.ts';
import { choice, variant, type Model } from './model.ts';

/** `blocks_args` of efficientnet_builder.py. */
const stages = [
  { repeats: 1, size: 3, stride: 1, expansion: 1, filters: 16 },
  { repeats: 2, size: 3, stride: 2, expansion: 6, filters: 24 },
  { repeats: 2, size: 5, stride: 2, expansion: 6, filters: 40 },
  { repeats: 3, size: 3, stride: 2, expansion: 6, filters: 80 },
  { repeats: 3, size: 5, stride: 1, expansion: 6, filters: 112 },
  { repeats: 4, size: 5, stride: 2, expansion: 6, filters: 192 },
  { repeats: 1, size: 3, stride: 1, expansion: 6, filters: 320 },
] as const;
const stemFilters = 32;
const headFilters = 1280;
const squeezeRatio = 0.25;
/** Filters come in multiples of this. */
const filtersDivisor = 8;

/** `round_filters` of efficientnet_model.py: to the nearest multiple, but never down by more than 10 percent. */
function scaledFilters(filters: number, width: number): number {
  const wanted = filters * width;
  const rounded = Math.max(filtersDivisor, Math.floor((wanted + filtersDivisor / 2) / filtersDivisor) * filtersDivisor);
  return rounded < 0.9 * wanted ? rounded + filtersDivisor : rounded;
}

/** MBConv: expand, convolve each channel by itself, squeeze-and-excite, project (`MBConvBlock` of efficientnet_model.py). */
function block<T>(layers: Layers<T>, x: T, name: string, { size, stride, expansion, filters, survival }: { size: number; stride: number; expansion: number; filters: number; survival: number }): T {
  const channels = layers.channels(x);
  let branch = x;
  if (expansion !== 1) {
    branch = layers.convolution(branch, `${name}/expand`, { filters: channels * expansion, size: 1 });
    branch = layers.swish(layers.batchNormalization(branch, `${name}/expand/normalization`));
  }
  branch = layers.depthwiseConvolution(branch, `${name}/depthwise`, { size, stride });
  branch = layers.swish(layers.batchNormalization(branch, `${name}/depthwise/normalization`));
  const squeezed = layers.swish(layers.dense(layers.globalAverage(branch), `${name}/squeeze`, { units: Math.max(1, Math.floor(channels * squeezeRatio)) }));
  branch = layers.gate(branch, layers.dense(squeezed, `${name}/excite`, { units: channels * expansion, logits: true }));
  branch = layers.batchNormalization(layers.convolution(branch, `${name}/project`, { filters, size: 1 }), `${name}/project/normalization`);
  return stride === 1 && channels === filters ? layers.residual(x, branch, name, survival) : branch;
}

const efficientNet: Model = {
  name: 'efficientnet-b0',
  family: 'efficientnet',
  options: {
    width: { default: 1, min: 0.1, max: 8, integer: false, size: true, what: 'factor of the filters' },
    depth: { default: 1, min: 0.1, max: 8, integer: false, size: true, what: 'factor of the blocks a stage' },
    stem_stride: choice([1, 2], 2, 'stride of the first convolution: 1 for small images'),
    survival: { default: 0.8, min: 0.1, max: 1, integer: false, what: 'stochastic depth: block i of L survives a training step with the chance 1 - (1 - survival) i / L, i from 0' },
    dropout: { default: 0.2, min: 0, max: 0.9, integer: false, what: 'dropout before the logits' },
  },
  build(layers, images, options, classes) {
    const [width, depth] = [options['width']!, options['depth']!];
    const scaled = stages.map(stage => ({ ...stage, repeats: Math.ceil(stage.repeats * depth), filters: scaledFilters(stage.filters, width) }));
    const blocks = scaled.reduce((sum, { repeats }) => sum + repeats, 0);
    let x = layers.convolution(images, 'stem', { filters: scaledFilters(stemFilters, width), size: 3, stride: options['stem_stride']! });
    x = layers.swish(layers.batchNormalization(x, 'stem/normalization'));
    let done = 0;
    scaled.forEach(({ repeats, stride, ...stage }, index) => {
      for (let repeat = 0; repeat < repeats; repeat++) {
        const survival = 1 - (1 - options['survival']!) * done / blocks;
        x = block(layers, x, `stage_${index + 1}/block_${repeat + 1}`, { ...stage, stride: repeat === 0 ? stride : 1, survival });
        done++;
      }
    });
    x = layers.convolution(x, 'head', { filters: scaledFilters(headFilters, width), size: 1 });
    x = layers.globalAverage(layers.swish(layers.batchNormalization(x, 'head/normalization')));
    return layers.dense(layers.dropout(x, 'features', options['dropout']!), 'logits', { units: classes, logits: true });
  },
};

/** `efficientnet_params` of efficientnet_builder.py: width, depth, dropout. */
const published: readonly (readonly [string, number, number, number])[] = [
  ['b0', 1, 1, 0.2], ['b1', 1, 1.1, 0.2], ['b2', 1.1, 1.2, 0.3], ['b3', 1.2, 1.4, 0.3], ['b4', 1.4, 1.8, 0.4],
  ['b5', 1.6, 2.2, 0.4], ['b6', 1.8, 2.6, 0.5], ['b7', 2, 3.1, 0.5], ['l2', 4.3, 5.3, 0.5],
];

export const efficientNets: readonly Model[] = published.map(([name, width, depth, dropout]) => variant(efficientNet, `efficientnet-${name}`, { width, depth, dropout }));
