/** Small variants of every family of recipe/models, with weights in which no number is that of a fresh model. */
import { parameterSpecs, type Architecture } from '../../../recipe/index.ts';
import type { TensorData } from '../../../worker/learning/index.ts';
import { initialWeights } from '../../../worker/learning/step.ts';

export const small: readonly (readonly [name: string, options: Record<string, number>])[] = [
  ['cnn', { width: 4, dense: 16 }], ['residual', { width: 4, blocks: 1 }], ['resnet', { depth: 18, width: 4 }], ['resnet', { depth: 50, width: 2, stem: 3 }],
  ['wide-resnet', { depth: 10, width: 1 }], ['efficientnet-b0', { width: 0.1, depth: 0.1 }], ['vit-tiny', { patch: 4, width: 24, depth: 2 }], ['deit-tiny', { patch: 4, width: 24, depth: 2 }],
];

/** Neither side is the other, nor even: padding and order show. */
export const architectureOf = (name: string, options: Record<string, number>): Architecture =>
  ({ model: { name, options }, input: /^(vit|deit)/.test(name) ? { height: 12, width: 16, channels: 3 } : { height: 13, width: 18, channels: 3 }, classes: 5 });

/** Normalization scales of both signs. */
export const weightsOf = (architecture: Architecture): TensorData[] => {
  const initial = initialWeights(architecture, 5);
  return parameterSpecs(architecture).map(({ name, shape, role }, place) => ({
    name, shape: [...shape],
    values: role === 'weight' ? initial[name]! : initial[name]!.map((value, index) => (role === 'norm' && value === 1 && (index + place) % 5 === 0 ? -1 : 1) * (value + 0.3 * ((index * 7 + place) % 11) / 11)),
  }));
};

export const imagesOf = ({ input: { height, width, channels } }: Architecture, count: number): Uint8Array =>
  Uint8Array.from({ length: count * height * width * channels }, (_, at) => (Math.imul(at + 1, 2654435761) >>> 25) + 40 * (Math.floor(at / (height * width * channels)) % 4));
