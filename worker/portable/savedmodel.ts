/**
 * A portable graph as a TensorFlow SavedModel: `saved_model.pb`, weights as constants in it, without variables. Its signature `serving_default` takes
 * `images`, uint8 [batch, height, width, channels] of any batch, and gives `probabilities` and `log_probabilities` [batch, classes]; its signature `class_names` takes nothing and gives their names.
 * Not for: training on; models above 2 GiB, which protocol buffers cannot hold.
 */
import { AlumnusError } from '../../proto/errors.ts';
import { attribute, attributeKind, dataTypeCode, GraphWriter, type AttributeValue } from '../tensorflow/index.ts';
import { names, type Kernel, type PortableGraph } from './graph.ts';
import { constantNode, factorNode, tensorFlowNodes, timesFactor, type AddNode, type Attribute } from './tensorflow.ts';

/** What a message of protocol buffers holds, of all that is written beside the weights a little less. */
export const MESSAGE_BYTES_MAX = 2 ** 31 - 1;

function kernelNode(kernel: Kernel, add: AddNode): string {
  const { name, shape, stored: { scheme, values } } = kernel;
  const constant = constantNode(add, name, { type: scheme, shape, values });
  if (scheme === 'float32') return constant;
  const full = add('Cast', [constant], { SrcT: { kind: 'type', value: scheme }, DstT: { kind: 'type', value: 'float32' }, Truncate: { kind: 'bool', value: false } });
  return timesFactor(add, full, factorNode(add, kernel));
}

function written(name: string, given: Attribute): AttributeValue {
  switch (given.kind) {
    case 'type': return attribute.type(dataTypeCode[given.value]);
    case 'ints': return attribute.recorded({ name, type: attributeKind.int, value: given.value });
    default: return attribute.recorded({ name, type: attributeKind[given.kind], value: given.value });
  }
}

/** @throws AlumnusError EXPORT_IMPOSSIBLE */
export function savedModel(graph: PortableGraph, imageShape: readonly number[], classNames: readonly string[]): Uint8Array {
  const writer = new GraphWriter();
  const nodes = tensorFlowNodes(graph, kernelNode);
  refuseTooLarge(nodes.reduce((sum, { constant }) => sum + (constant?.values.byteLength ?? 0), 0), 'a SavedModel without variables');
  for (const { name, operation, inputs, attributes, constant } of nodes) {
    writer.node(operation, inputs, {
      ...Object.fromEntries(Object.entries(attributes).map(([key, value]) => [key, written(key, value)])),
      ...constant && { value: attribute.tensor(dataTypeCode[constant.type], constant.shape, constant.values) },
    }, name);
  }
  writer.node('Const', [], { dtype: attribute.type(dataTypeCode.string), value: attribute.strings(classNames) }, 'class_names');
  const output = (name: string): [string, { node: string; dataType: number; shape: readonly number[] }] => [name, { node: name, dataType: dataTypeCode.float32, shape: [-1, classNames.length] }];
  return writer.savedModel('serve', {
    serving_default: {
      inputs: { [names.images]: { node: names.images, dataType: dataTypeCode.uint8, shape: [-1, ...imageShape] } },
      outputs: Object.fromEntries([output(names.probabilities), output(names.logProbabilities)]),
    },
    class_names: { inputs: {}, outputs: { class_names: { node: 'class_names', dataType: dataTypeCode.string, shape: [classNames.length] } } },
  });
}

export function refuseTooLarge(bytes: number, format: string): void {
  if (bytes >= MESSAGE_BYTES_MAX) throw new AlumnusError('EXPORT_IMPOSSIBLE', `the weights are ${bytes} bytes, and ${format} holds ${MESSAGE_BYTES_MAX} at most`, { where: 'weights' });
}
