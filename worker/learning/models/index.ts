/**
 * The models by name. Adding one is a file beside this and a line in `models`.
 * Nothing here needs TensorFlow.
 */
import { AlumnusError } from '../../../proto/errors.ts';
import { declaringLayers } from '../layers.ts';
import type { Layers, ParameterSpec } from '../layers.ts';
import type { Architecture, ModelChoice } from '../types.ts';
import { cnn } from './cnn.ts';
import type { Model } from './model.ts';
import { residual } from './residual.ts';

const models: readonly Model[] = [cnn, residual];

export const modelNames: string[] = models.map(model => model.name);

const find = (name: string): Model | undefined => models.find(model => model.name === name);

/** Why a choice is no model of ours; empty if it is one. */
export function validateModelOptions(choice: ModelChoice): string[] {
  const model = find(choice.name);
  if (model === undefined) return [`there is no model ${JSON.stringify(choice.name)}; there is ${modelNames.join(', ')}`];
  return Object.entries(choice.options).flatMap(([name, value]) => {
    const range = Object.hasOwn(model.options, name) ? model.options[name] : undefined;
    if (range === undefined) return [`${model.name} has no option ${JSON.stringify(name)}; it has ${Object.keys(model.options).join(', ')}`];
    if (range.integer && !Number.isInteger(value)) return [`${model.name}.${name} is a whole number, not ${value}`];
    if (!(value >= range.min && value <= range.max)) return [`${model.name}.${name} lies between ${range.min} and ${range.max}, not ${value}`];
    return [];
  });
}

/** @throws AlumnusError RECIPE_INVALID */
function resolve(choice: ModelChoice): { model: Model; options: Record<string, number> } {
  const reasons = validateModelOptions(choice);
  const model = find(choice.name);
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
