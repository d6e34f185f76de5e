/**
 * The models a recipe may name and the options each takes. This table is what a recipe is checked against before any
 * worker sees it; how a model is built stands in worker/learning/models, one file a model.
 * Invariant: options marked `size` only ever grow the model, so a ladder of one model grows if each of them does.
 */

export interface ModelOption {
  readonly default: number;
  readonly min: number;
  readonly max: number;
  readonly integer: boolean;
  /** Whether a larger value makes a model with more parameters. */
  readonly size: boolean;
  readonly meaning: string;
}

const size = (value: number, min: number, max: number, meaning: string): ModelOption => ({ default: value, min, max, integer: true, size: true, meaning });
const rate = (value: number, meaning: string): ModelOption => ({ default: value, min: 0, max: 0.9, integer: false, size: false, meaning });

export const models: Readonly<Record<string, Readonly<Record<string, ModelOption>>>> = {
  cnn: {
    width: size(16, 1, 1024, 'Filters of the first convolution; the second has twice as many.'),
    dense: size(128, 1, 8192, 'Units of the hidden layer.'),
    dropout_features: rate(0.25, 'Share of the flattened features dropped in training.'),
    dropout: rate(0.5, 'Share of the dense units dropped in training.'),
  },
  residual: {
    width: size(16, 1, 1024, 'Filters of the first stage; each of the two next stages has twice as many.'),
    blocks: size(2, 1, 64, 'Residual blocks a stage.'),
    survival: { default: 0.8, min: 0.1, max: 1, integer: false, size: false, meaning: 'Chance that the last block survives a training step; the others by linear decay (stochastic depth).' },
    dropout: rate(0.5, 'Dropout before the logits.'),
  },
};
