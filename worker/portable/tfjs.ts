/**
 * A portable graph as a TF.js graph model, for browsers and Node: `model.json` with the operations, and its weights in files beside it, which TF.js turns into
 * float32 as it loads them. int8 kernels are TF.js's own 8 bits, of scale 1 and least number -127, times their factors in the graph, since TF.js itself knows one scale a tensor.
 * Not for: TF.js's layers format (learning/layers-format.ts).
 * Sources: tfjs-converter docs and src/operations/operation_mapper.ts (the graph is a GraphDef in JSON), tfjs-core src/io/{types,io_utils}.ts (the weights' manifest).
 */
import { names, type Kernel, type PortableGraph } from './graph.ts';
import { constantNode, factorNode, tensorFlowNodes, timesFactor, type AddNode, type Attribute, type NumberType, type OperationNode } from './tensorflow.ts';

/** As tfjs-converter cuts them: what browsers cache of one file. */
const FILE_BYTES = 4 * 1024 * 1024;
/** int8 becomes uint8 with this added. */
const leastWhole = -127;

const typeNames: Readonly<Record<NumberType, string>> = { float32: 'DT_FLOAT', float16: 'DT_HALF', int32: 'DT_INT32', int8: 'DT_INT8', uint8: 'DT_UINT8' };

const kernelNode = (kernel: Kernel, add: AddNode): string =>
  timesFactor(add, constantNode(add, kernel.name, { type: kernel.stored.scheme, shape: kernel.shape, values: kernel.stored.values }), factorNode(add, kernel));

const base64 = (text: string): string => Buffer.from(text, 'utf8').toString('base64');
const shapeOf = (shape: readonly number[]): object => ({ dim: shape.map(size => ({ size: String(size) })) });

function written(given: Attribute): object {
  switch (given.kind) {
    case 'type': return { type: typeNames[given.value] };
    case 'string': return { s: base64(given.value) };
    case 'float': return { f: given.value };
    case 'int': return { i: String(given.value) };
    case 'bool': return { b: given.value };
    case 'ints': return { list: { i: given.value.map(String) } };
    case 'shape': return { shape: shapeOf(given.value) };
  }
}

/** An entry of the manifest and its bytes. Whatever it is stored as, the tensor is float32 or int32. */
function entryOf({ name, constant }: OperationNode): { entry: object; bytes: Uint8Array } | undefined {
  if (constant === undefined) return undefined;
  const { shape, values } = constant;
  if (constant.type === 'int8') {
    return { entry: { name, shape, dtype: 'float32', quantization: { dtype: 'uint8', scale: 1, min: leastWhole, original_dtype: 'float32' } }, bytes: Uint8Array.from(values, value => value - leastWhole) };
  }
  const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  if (constant.type === 'float16') return { entry: { name, shape, dtype: 'float32', quantization: { dtype: 'float16', original_dtype: 'float32' } }, bytes };
  return { entry: { name, shape, dtype: constant.type }, bytes };
}

/** Files by name, `model.json` last. */
export function tfjsGraph(graph: PortableGraph, imageShape: readonly number[], classNames: readonly string[], metadata: Readonly<Record<string, unknown>>): { name: string; content: Uint8Array | string }[] {
  const nodes = tensorFlowNodes(graph, kernelNode);
  const entries = nodes.map(entryOf).filter(each => each !== undefined);
  const all = Buffer.concat(entries.map(({ bytes }) => bytes));
  const count = Math.max(1, Math.ceil(all.length / FILE_BYTES));
  const files = Array.from({ length: count }, (_, at) => ({ name: `weights-${at + 1}-of-${count}.bin`, content: all.subarray(at * FILE_BYTES, (at + 1) * FILE_BYTES) }));
  // To TF.js a constant is what the manifest says of it.
  const typeOf = ({ constant }: OperationNode): Attribute => ({ kind: 'type', value: constant?.type === 'int32' ? 'int32' : 'float32' });
  const output = (name: string): [string, object] => [name, { name: `${name}:0`, dtype: 'DT_FLOAT', tensorShape: shapeOf([-1, classNames.length]) }];
  const model = {
    format: 'graph-model', generatedBy: 'Alumnus', convertedBy: null,
    signature: {
      inputs: { [names.images]: { name: `${names.images}:0`, dtype: 'DT_INT32', tensorShape: shapeOf([-1, ...imageShape]) } },
      outputs: Object.fromEntries([output(names.probabilities), output(names.logProbabilities)]),
    },
    userDefinedMetadata: { classNames, ...metadata },
    modelTopology: {
      node: nodes.map((node) => {
        const attributes = node.constant === undefined ? node.attributes : { dtype: typeOf(node) };
        return {
          name: node.name, op: node.operation, ...node.inputs.length > 0 && { input: node.inputs },
          attr: {
            ...Object.fromEntries(Object.entries(attributes).map(([key, value]) => [key, written(asInTfjs(value))])),
            ...node.constant && { value: { tensor: { dtype: node.constant.type === 'int32' ? 'DT_INT32' : 'DT_FLOAT', tensorShape: shapeOf(node.constant.shape) } } },
          },
        };
      }),
      library: {}, versions: {},
    },
    weightsManifest: [{ paths: files.map(({ name }) => name), weights: entries.map(({ entry }) => entry) }],
  };
  return [...files, { name: 'model.json', content: JSON.stringify(model) }];
}

/** The bytes of images are int32 in TF.js. */
const asInTfjs = (value: Attribute): Attribute => (value.kind === 'type' && value.value === 'uint8' ? { kind: 'type', value: 'int32' } : value);
