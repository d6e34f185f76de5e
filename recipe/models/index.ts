/**
 * The models by name. Adding one is a file beside this and a line in `models`: recipes may name it, its options are
 * checked, its parameters counted, and workers train it. Nothing here needs TensorFlow.
 */
import { AlumnusError } from '../../proto/errors.ts';
import { declaringLayers } from './layers.ts';
import type { Layers, ParameterSpec } from './layers.ts';
import { cnn } from './cnn.ts';
import { efficientNets } from './efficientnet.ts';
import { rangeProblem, type Model } from './model.ts';
import { resNet } from './resnet.ts';
import { residual } from './residual.ts';
import { visionTransformers } from './vision-transformer.ts';
import { wideResNet } from './wide-resnet.ts';

export interface ImageShape { height: number; width: number; channels: number }

/** A model by name with its own numbers, e.g. `{ name: 'cnn', options: { width: 16 } }`; what is left out has a default. */
export interface NamedModel { name: string; options: Record<string, number> }

export interface Architecture { model: NamedModel; input: ImageShape; classes: number }

const models: readonly Model[] = [cnn, residual, resNet, wideResNet, ...efficientNets, ...visionTransformers];

export const modelNames: string[] = models.map(model => model.name);

/** The model of that name, or undefined. */
export const findModel = (name: string): Model | undefined => models.find(model => model.name === name);

/** Why a choice is no model of ours; empty if it is one. */
export function validateModelOptions(choice: NamedModel): string[] {
  const model = findModel(choice.name);
  if (model === undefined) return [`there is no model ${JSON.stringify(choice.name)}; there is ${modelNames.join(', ')}`];
  return Object.entries(choice.options).flatMap(([name, value]) => {
    const range = Object.hasOwn(model.options, name) ? model.options[name] : undefined;
    if (range === undefined) return [`${model.name} has no option ${JSON.stringify(name)}; it has ${Object.keys(model.options).join(', ')}`];
    const problem = rangeProblem(range, value);
    return problem === undefined ? [] : [`${model.name}.${name} ${problem}, not ${value}`];
  });
}

/** @throws AlumnusError RECIPE_INVALID */
function resolve(choice: NamedModel): { model: Model; options: Record<string, number> } {
  const reasons = validateModelOptions(choice);
  const model = findModel(choice.name);
  if (model === undefined || reasons.length > 0) throw new AlumnusError('RECIPE_INVALID', reasons.join('; '), { where: 'model' });
  return { model, options: { ...Object.fromEntries(Object.entries(model.options).map(([name, range]) => [name, range.default])), ...choice.options } };
}

export function buildModel<T>(architecture: Architecture, layers: Layers<T>, images: T): T {
  const { model, options } = resolve(architecture.model);
  return model.build(layers, images, options, architecture.classes);
}

/** The model's parameters in the order in which it declares them. */
export function parameterSpecs(architecture: Architecture): ParameterSpec[] {
  const { height, width, channels } = architecture.input;
  const { layers, parameters } = declaringLayers();
  buildModel(architecture, layers, [height, width, channels]);
  return parameters;
}

/** Numbers that gradients train; running statistics are not counted. */
export function parameterCount(architecture: Architecture): number {
  return parameterSpecs(architecture)
    .filter(spec => spec.role !== 'statistic')
    .reduce((sum, spec) => sum + spec.shape.reduce((product, size) => product * size, 1), 0);
}

export { normalizationEpsilon, parameterName, type Layers, type ParameterSpec } from './layers.ts';
export { rangeProblem, type Model, type OptionRange } from './model.ts';
