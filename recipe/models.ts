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
const rate = (value: number, meaning: string): ModelOption => ({ default: value, min: 0, max: 0.95, integer: false, size: false, meaning });

export const models: Readonly<Record<string, Readonly<Record<string, ModelOption>>>> = {
  cnn: {
    width: size(16, 4, 256, 'Channels of the first convolution; the second has twice as many.'),
    dense: size(128, 8, 4096, 'Units of the hidden dense layer.'),
    dropout_features: rate(0.25, 'Share of the flattened features dropped in training.'),
    dropout: rate(0.5, 'Share of the dense units dropped in training.'),
  },
  residual: {
    width: size(16, 4, 256, 'Channels of the first stage; each later stage doubles them.'),
    blocks: size(2, 1, 12, 'Residual blocks a stage.'),
    stages: size(2, 1, 4, 'Stages; each but the first halves the resolution.'),
    dropout: rate(0.3, 'Share of the pooled features dropped in training.'),
    stochastic_depth: rate(0.2, 'Share of the last block\'s samples that skip its branch; grows linearly from the first block.'),
  },
};
