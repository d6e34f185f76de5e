/**
 * Vision transformers (Dosovitskiy et al. 2020, arXiv 2010.11929) in the sizes of DeiT (Touvron et al. 2020,
 * arXiv 2012.12877): patches as tokens, learned positions, normalization before each branch, stochastic depth with linear
 * decay. `vit-*` have a class token; `deit-*` a distillation token with a head of its own beside it. Figures and rules are
 * those of the published code (facebookresearch/deit, models.py, and the timm that it builds on).
 * Not for: images whose sides the patch does not divide.
 */
import { AlumnusError } from '../../proto/errors.ts';
import type { Layers } from './layers.ts';
import { variant, type Model } from './model.ts';

/** Of the weights of every dense layer, as in the published code. */
const deviation = 0.02;
/** Units of a block's hidden layer for each feature of a token. */
const hiddenRatio = 4;

function block<T>(layers: Layers<T>, x: T, name: string, { width, heads, dropout, survival }: { width: number; heads: number; dropout: number; survival: number }): T {
  let branch = layers.dense(layers.layerNormalization(x, `${name}/attention/normalization`), `${name}/attention/queries_keys_values`, { units: 3 * width, deviation });
  branch = layers.dense(layers.attention(branch, heads), `${name}/attention/projection`, { units: width, deviation });
  const attended = layers.residual(x, layers.dropout(branch, `${name}/attention`, dropout), `${name}/attention`, survival);
  branch = layers.gelu(layers.dense(layers.layerNormalization(attended, `${name}/hidden/normalization`), `${name}/hidden`, { units: hiddenRatio * width, deviation }));
  branch = layers.dense(layers.dropout(branch, `${name}/hidden`, dropout), `${name}/output`, { units: width, deviation });
  return layers.residual(attended, layers.dropout(branch, `${name}/output`, dropout), `${name}/output`, survival);
}

function invalid(reason: string): never {
  throw new AlumnusError('RECIPE_INVALID', reason, { where: 'model' });
}

const visionTransformer = (family: 'vit' | 'deit'): Model => ({
  name: `${family}-tiny`,
  family,
  ...(family === 'deit' && { distillationToken: true }),
  options: {
    patch: { default: 16, min: 1, max: 64, integer: true, what: 'side of a patch in pixels, which divides the sides of the images: 16 for 224x224, 4 for 28x28 and 32x32' },
    width: { default: 192, min: 3, max: 4096, integer: true, size: true, what: 'features of a token' },
    depth: { default: 12, min: 1, max: 64, integer: true, size: true, what: 'blocks' },
    heads: { default: 3, min: 1, max: 64, integer: true, what: 'heads of attention, which divide the width' },
    dropout: { default: 0, min: 0, max: 0.9, integer: false, what: 'dropout after the positions and every dense layer of a block' },
    survival: { default: 0.9, min: 0.1, max: 1, integer: false, what: 'chance that the branches of the last block survive a training step; those of the first always do, the others by linear decay' },
  },
  build(layers, images, options, classes) {
    const [patch, width, depth, heads, dropout] = [options['patch']!, options['width']!, options['depth']!, options['heads']!, options['dropout']!];
    if (width % heads !== 0) invalid(`${heads} heads do not divide a width of ${width}`);
    const [height, across] = layers.sides(images);
    if (height % patch !== 0 || across % patch !== 0) invalid(`patches of ${patch} do not divide images of ${height}x${across}: choose another \`patch\``);
    // The published code leaves this kernel as PyTorch starts a convolution: uniform, with the variance 1 / (3 fan-in).
    let x = layers.convolution(images, 'patches', { filters: width, size: patch, stride: patch, deviation: 1 / (patch * Math.sqrt(3 * layers.channels(images))) });
    x = layers.tokens(layers.bias(x, 'patches'));
    if (family === 'deit') x = layers.prepend(x, 'distillation');
    x = layers.dropout(layers.positions(layers.prepend(x, 'class'), 'tokens'), 'tokens', dropout);
    for (let index = 0; index < depth; index++) {
      x = block(layers, x, `block_${index + 1}`, { width, heads, dropout, survival: 1 - (1 - options['survival']!) * index / Math.max(1, depth - 1) });
    }
    x = layers.layerNormalization(x, 'final');
    const logits = layers.dense(layers.token(x, 0), 'logits', { units: classes, deviation });
    return family === 'vit' ? logits : layers.distilled(logits, layers.dense(layers.token(x, 1), 'distillation_logits', { units: classes, deviation }));
  },
});

const sizes: readonly (readonly [string, number, number])[] = [['tiny', 192, 3], ['small', 384, 6], ['base', 768, 12]];

export const visionTransformers: readonly Model[] = [visionTransformer('vit'), visionTransformer('deit')]
  .flatMap(model => sizes.map(([size, width, heads]) => variant(model, `${model.family}-${size}`, { width, heads })));
