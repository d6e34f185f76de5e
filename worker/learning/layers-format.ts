/**
 * Models in TF.js layers format: `model.json` and `weights.bin`, which TF.js loads in a browser or in Node, and which its
 * converters turn into Keras models. A third reading of `Layers<T>`, T = symbolic tensor, builds a `tf.LayersModel` with
 * our weights; the way back reads the weights out of such a folder again, bit for bit.
 * What a saved model is: the clean one, with its dropout layers, from images `[batch, height, width, channels]` in [0, 1] to
 * logits `[batch, classes]`. Not for: training it on there (stochastic depth has no layer in TF.js), nor models whose layers
 * TF.js does not have (attention over tokens, and what belongs to it).
 */
import { AlumnusError, invariant } from '../../proto/errors.ts';
import { buildModel, parameterName, parameterSpecs, type Architecture, type Layers } from '../../recipe/index.ts';
import { loadTensorFlow, operations } from '../tensorflow/index.ts';
import type { Tensor, TensorFlow } from '../tensorflow/index.ts';
import { statisticsMomentum } from './layers.ts';
import type { TensorData } from './types.ts';

type Symbolic = ReturnType<TensorFlow['tf']['input']>;
type LayersModel = ReturnType<TensorFlow['tf']['model']>;
type Layer = LayersModel['layers'][number];

/** Where the architecture stands in the `userDefinedMetadata` of `model.json`. */
const metadataKey = 'alumnus';

/**
 * Layers over symbolic tensors. `parameters` says for each layer of TF.js with weights, in their order, which of ours
 * they are; `undefined` for a kernel of ones.
 */
function symbolicLayers(engine: TensorFlow, model: string): { layers: Layers<Symbolic>; parameters: Map<Layer, (string | undefined)[]> } {
  const { tf } = engine;
  const parameters = new Map<Layer, (string | undefined)[]>();
  let unnamed = 0;
  // Names of our own, because those of TF.js count on through a process, and the same model shall give the same file.
  const nameOf = (kind: string): string => `${kind}_${++unnamed}`;
  const apply = (layer: Layer, x: Symbolic | Symbolic[], ...names: (string | undefined)[]): Symbolic => {
    if (names.length > 0) parameters.set(layer, names);
    return layer.apply(x) as Symbolic;
  };
  const activation = (x: Symbolic, name: 'relu' | 'swish' | 'sigmoid'): Symbolic => apply(tf.layers.activation({ activation: name, name: nameOf(name) }), x);
  const impossible = (what: string) => (): never => {
    throw new AlumnusError('RECIPE_INVALID', `${model} cannot be saved in TF.js layers format, which has no ${what}; its weights can be exported as safetensors`, { where: 'model' });
  };
  const layers: Layers<Symbolic> = {
    convolution: (x, name, { filters, size, stride = 1 }) =>
      apply(tf.layers.conv2d({ name, filters, kernelSize: size, strides: stride, padding: 'same', useBias: false }), x, parameterName.kernel(name)),
    depthwiseConvolution: (x, name, { size, stride = 1 }) =>
      apply(tf.layers.depthwiseConv2d({ name, kernelSize: size, strides: stride, padding: 'same', useBias: false }), x, parameterName.kernel(name)),
    // TF.js has no layer that only adds: each channel times one, and the bias of that.
    bias: (x, name) => apply(tf.layers.depthwiseConv2d({ name: nameOf('bias'), kernelSize: 1, depthwiseInitializer: 'ones' }), x, undefined, parameterName.bias(name)),
    dense: (x, name, { units }) => apply(tf.layers.dense({ name, units }), x, parameterName.kernel(name), parameterName.bias(name)),
    batchNormalization: (x, name) => apply(tf.layers.batchNormalization({ name, epsilon: operations.batchNormEpsilon, momentum: statisticsMomentum }), x,
      parameterName.scale(name), parameterName.offset(name), parameterName.mean(name), parameterName.variance(name)),
    relu: x => activation(x, 'relu'),
    swish: x => activation(x, 'swish'),
    gate: (x, logits) => {
      const shares = apply(tf.layers.reshape({ name: nameOf('gate_shape'), targetShape: [1, 1, logits.shape.at(-1)!] }), logits);
      return apply(tf.layers.multiply({ name: nameOf('gate') }), [x, activation(shares, 'sigmoid')]);
    },
    maxPool: (x, size = 2) => apply(tf.layers.maxPooling2d({ name: nameOf('pool'), poolSize: size, strides: 2, padding: size === 2 ? 'valid' : 'same' }), x),
    globalAverage: x => apply(tf.layers.globalAveragePooling2d({ name: nameOf('average') }), x),
    flatten: x => apply(tf.layers.flatten({ name: nameOf('flat') }), x),
    dropout: (x, name, rate) => (rate === 0 ? x : apply(tf.layers.dropout({ name: `dropout/${name}`, rate }), x)),
    residual: (shortcut, branch, name) => apply(tf.layers.add({ name: `sum/${name}` }), [shortcut, branch]),
    channels: x => x.shape.at(-1)!,
    sides: x => [x.shape[1]!, x.shape[2]!],
    layerNormalization: impossible('attention over tokens'),
    gelu: impossible('attention over tokens'),
    tokens: impossible('attention over tokens'),
    prepend: impossible('learned tokens'),
    positions: impossible('learned positions'),
    token: impossible('attention over tokens'),
    attention: impossible('attention over tokens'),
    distilled: impossible('distillation head'),
  };
  return { layers, parameters };
}

/** The model as a `tf.LayersModel` without our weights, and whose its weights are. */
function symbolicModel(engine: TensorFlow, architecture: Architecture): { model: LayersModel; parameters: Map<Layer, (string | undefined)[]> } {
  const { height, width, channels } = architecture.input;
  const { layers, parameters } = symbolicLayers(engine, architecture.model.name);
  const images = engine.tf.input({ shape: [height, width, channels], name: 'images' });
  const logits = buildModel(architecture, layers, images);
  return { model: engine.tf.model({ inputs: images, outputs: logits, name: architecture.model.name }), parameters };
}

/**
 * Writes `model.json` and `weights.bin` into `folder`, which is made where it is missing. Needs an engine process.
 * @throws AlumnusError RECIPE_INVALID where TF.js has no such layers; DIGEST_MISMATCH where the weights are another model's; ENGINE_UNAVAILABLE
 */
export async function saveLayersFormat(architecture: Architecture, weights: readonly TensorData[], folder: string): Promise<void> {
  const engine = loadTensorFlow();
  const given = new Map(weights.map(tensor => [tensor.name, tensor]));
  const { model, parameters } = symbolicModel(engine, architecture);
  try {
    engine.tf.tidy(() => {
      for (const [layer, names] of parameters) {
        layer.setWeights(layer.getWeights().map((own: Tensor, index) => {
          const name = names[index];
          if (name === undefined) return own;
          const tensor = given.get(name);
          if (tensor?.shape.join() !== own.shape.join()) throw new AlumnusError('DIGEST_MISMATCH', `the weights hold ${tensor === undefined ? 'no' : `[${tensor.shape.join()}] for`} ${name}, and ${architecture.model.name} needs [${own.shape.join()}]`, { where: 'weights' });
          return engine.tf.tensor(tensor.values, tensor.shape);
        }));
      }
    });
    model.setUserDefinedMetadata({ [metadataKey]: { architecture } });
    await model.save(`file://${folder}`);
  } finally {
    model.dispose();
  }
}

/** The architecture of a model that `saveLayersFormat` wrote, as it says itself; undefined of any other. */
export const savedArchitecture = (model: Pick<LayersModel, 'getUserDefinedMetadata'>): Architecture | undefined =>
  (model.getUserDefinedMetadata() as Record<string, { architecture?: Architecture } | undefined> | undefined)?.[metadataKey]?.architecture;

/**
 * The architecture and weights of a folder that `saveLayersFormat` wrote. Needs an engine process.
 * @throws AlumnusError OBJECT_NOT_FOUND where there is no such model; DIGEST_MISMATCH where it is another's; ENGINE_UNAVAILABLE
 */
export async function loadLayersFormat(folder: string): Promise<{ architecture: Architecture; weights: TensorData[] }> {
  const engine = loadTensorFlow();
  let saved: LayersModel;
  try {
    saved = await engine.tf.loadLayersModel(`file://${folder}/model.json`);
  } catch (cause) {
    throw new AlumnusError('OBJECT_NOT_FOUND', `there is no model in TF.js layers format: ${cause instanceof Error ? cause.message : String(cause)}`, { where: folder, cause });
  }
  try {
    const architecture = savedArchitecture(saved);
    if (architecture === undefined) throw new AlumnusError('DIGEST_MISMATCH', 'the model does not name its architecture, so it was not saved by Alumnus', { where: folder });
    const { model, parameters } = symbolicModel(engine, architecture);
    const values = new Map<string, Float32Array>();
    for (const [layer, names] of parameters) {
      saved.getLayer(layer.name).getWeights().forEach((tensor, index) => {
        const name = names[index];
        if (name !== undefined) values.set(name, tensor.dataSync().slice() as Float32Array);
      });
    }
    model.dispose();
    const weights = parameterSpecs(architecture).map(({ name, shape }) => {
      const found = values.get(name);
      invariant(found !== undefined, `the saved model holds ${name}`);
      return { name, shape: [...shape], values: found };
    });
    return { architecture, weights };
  } finally {
    saved.dispose();
  }
}
