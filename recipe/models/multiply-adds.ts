/**
 * Multiply-adds of a model's prediction of one image, by shapes alone: those of convolutions, dense layers and the two products of attention, as published counts have them
 * (torchvision's `_ops`, in units of 10^9). Not counted: normalization, activations, pooling, sums. Not for: training steps, which are some three times as many.
 */
import { declaringLayers, type Layers, type SampleShape } from './layers.ts';
import { buildModel, type Architecture } from './index.ts';

export function multiplyAdds(architecture: Architecture): number {
  let sum = 0;
  const { layers } = declaringLayers();
  const { height, width, channels } = architecture.input;
  const counting: Layers<SampleShape> = {
    ...layers,
    convolution(x, name, options) {
      const y = layers.convolution(x, name, options);
      sum += size(y) * options.size ** 2 * x[2]!;
      return y;
    },
    depthwiseConvolution(x, name, options) {
      const y = layers.depthwiseConvolution(x, name, options);
      sum += size(y) * options.size ** 2;
      return y;
    },
    dense(x, name, options) {
      const y = layers.dense(x, name, options);
      sum += size(y) * x.at(-1)!;
      return y;
    },
    attention(x, heads) {
      const y = layers.attention(x, heads);
      // Of each query with each key, and of the shares with the values.
      sum += 2 * x[0]! * size(y);
      return y;
    },
  };
  buildModel(architecture, counting, [height, width, channels]);
  return sum;
}

const size = (shape: SampleShape): number => shape.reduce((product, each) => product * each, 1);
