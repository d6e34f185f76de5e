/**
 * A plain convolutional network for small images: two 3x3 convolutions, each with a rectifier and 2x2 max pooling, one
 * hidden layer, dropout before and after it. Not for: images whose sides are below 4.
 */
import type { Model } from './model.ts';

export const cnn: Model = {
  name: 'cnn',
  family: 'cnn',
  options: {
    width: { default: 16, min: 1, max: 1024, integer: true, size: true, what: 'filters of the first convolution; the second has twice as many' },
    dense: { default: 128, min: 1, max: 8192, integer: true, size: true, what: 'units of the hidden layer' },
    dropout_features: { default: 0.25, min: 0, max: 0.9, integer: false, what: 'dropout after the convolutions' },
    dropout: { default: 0.5, min: 0, max: 0.9, integer: false, what: 'dropout before the logits' },
  },
  build(layers, images, options, classes) {
    let x = images;
    for (const [name, filters] of [['convolution_1', options['width']!], ['convolution_2', 2 * options['width']!]] as const) {
      // Pooled before bias and rectifier: the same values to the bit, a quarter of the work.
      x = layers.relu(layers.bias(layers.maxPool(layers.convolution(x, name, { filters, size: 3 })), name));
    }
    x = layers.dropout(layers.flatten(x), 'features', options['dropout_features']!);
    x = layers.relu(layers.dense(x, 'hidden', { units: options['dense']! }));
    return layers.dense(layers.dropout(x, 'hidden', options['dropout']!), 'logits', { units: classes, logits: true });
  },
};
