/**
 * A portable graph in TensorFlow's operations, as SavedModels and TF.js graph models both hold them. Images are [batch, height, width, channels] of any
 * batch, and bytes: uint8 in a SavedModel, int32 in TF.js, which has no smaller whole numbers.
 * Not for: bytes on disk (savedmodel.ts, tfjs.ts).
 * Attributes are those of tensorflow/core/ops/{nn,math,array}_ops.cc.
 */
import { inOrder, names, type Constant, type Kernel, type Node, type PortableGraph } from './graph.ts';

export type NumberType = 'float32' | 'float16' | 'int32' | 'int8' | 'uint8';
export type Attribute =
  | { readonly kind: 'type'; readonly value: NumberType }
  | { readonly kind: 'string'; readonly value: string }
  | { readonly kind: 'float' | 'int'; readonly value: number }
  | { readonly kind: 'bool'; readonly value: boolean }
  | { readonly kind: 'ints'; readonly value: readonly number[] }
  /** -1: any. */
  | { readonly kind: 'shape'; readonly value: readonly number[] };

export interface Values { readonly type: NumberType; readonly shape: readonly number[]; readonly values: Float32Array | Int32Array | Uint16Array | Int8Array }

/** `constant`: of a Const, which has the attribute dtype beside it. */
export interface OperationNode {
  readonly name: string;
  readonly operation: string;
  readonly inputs: readonly string[];
  readonly attributes: Readonly<Record<string, Attribute>>;
  readonly constant?: Values;
}

const type = (value: NumberType): Attribute => ({ kind: 'type', value });
const float = { T: type('float32') };
const indexed = { ...float, Tidx: type('int32') };
const string = (value: string): Attribute => ({ kind: 'string', value });
const bool = (value: boolean): Attribute => ({ kind: 'bool', value });
const ints = (...value: number[]): Attribute => ({ kind: 'ints', value });
const channelsLast = { data_format: string('NHWC') };

/**
 * Its last two nodes are the outputs, by their names.
 * @param kernelOf writes the numbers of a kernel as the format stores them, and gives the name of the node that they are in float32
 */
export function tensorFlowNodes(graph: PortableGraph, kernelOf: (kernel: Kernel, add: AddNode) => string): OperationNode[] {
  const nodes: OperationNode[] = [];
  const taken = new Map<string, number>();
  const add: AddNode = (operation, inputs, attributes, { name = operation, constant } = {}) => {
    const count = taken.get(name) ?? 0;
    taken.set(name, count + 1);
    const unique = count === 0 ? name : `${name}_${count}`;
    nodes.push({ name: unique, operation, inputs, attributes, ...constant === undefined ? {} : { constant } });
    return unique;
  };
  const whole = (...values: number[]): string => wholeConstant(add, values, [values.length]);
  const full = ({ name, shape, values }: Pick<Constant, 'name' | 'shape' | 'values'>): string => constantNode(add, name, { type: 'float32', shape, values });
  const scalar = (value: number): string => full({ name: 'number', shape: [], values: Float32Array.of(value) });
  const unary = (operation: string, x: string): string => add(operation, [x], float);
  const binary = (operation: 'AddV2' | 'Mul' | 'Sub', a: string, b: string): string => add(operation, [a, b], float);
  const reshape = (x: string, ...shape: number[]): string => add('Reshape', [x, whole(...shape)], { ...float, Tshape: type('int32') });
  const transpose = (x: string, ...order: number[]): string => add('Transpose', [x, whole(...order)], { ...float, Tperm: type('int32') });
  const slice = (x: string, begin: number[], size: number[]): string => add('Slice', [x, whole(...begin), whole(...size)], { ...float, Index: type('int32') });
  const mean = (x: string, axes: number[], keep: boolean): string => add('Mean', [x, whole(...axes)], { ...indexed, keep_dims: bool(keep) });
  const bias = (x: string, constant: Constant): string => add('BiasAdd', [x, full(constant)], { ...float, ...channelsLast });
  const batchProduct = (a: string, b: string, transposed: boolean): string => add('BatchMatMulV2', [a, b], { ...float, adj_x: bool(false), adj_y: bool(transposed) });

  const written = new Map<Node, string>();
  const of = (node: Node): string => written.get(node)!;
  const write = (node: Node): string => {
    switch (node.operation) {
      case 'images': {
        const bytes = add('Placeholder', [], { dtype: type('uint8'), shape: { kind: 'shape', value: [-1, ...node.shape] } }, { name: names.images });
        return binary('Mul', add('Cast', [bytes], { SrcT: type('uint8'), DstT: type('float32'), Truncate: bool(false) }), scalar(1 / 255));
      }
      case 'convolution': {
        const shared = { ...float, strides: ints(1, node.stride, node.stride, 1), padding: string('SAME'), ...channelsLast, dilations: ints(1, 1, 1, 1), explicit_paddings: ints() };
        const sum = node.depthwise
          ? add('DepthwiseConv2dNative', [of(node.x), kernelOf(node.kernel, add)], shared)
          : add('Conv2D', [of(node.x), kernelOf(node.kernel, add)], { ...shared, use_cudnn_on_gpu: bool(true) });
        return node.bias === undefined ? sum : bias(sum, node.bias);
      }
      case 'dense': {
        // A product of two axes: all tokens of the batch one below the other.
        const rows = node.shape.length === 1 ? of(node.x) : reshape(of(node.x), -1, node.x.shape.at(-1)!);
        const sum = bias(add('MatMul', [rows, kernelOf(node.kernel, add)], { ...float, transpose_a: bool(false), transpose_b: bool(false) }), node.bias);
        return node.shape.length === 1 ? sum : reshape(sum, -1, ...node.shape);
      }
      case 'times': return binary('Mul', of(node.x), full(node.constant));
      case 'plus': return binary('AddV2', of(node.x), full(node.constant));
      case 'layerNormalization': {
        const centered = binary('Sub', of(node.x), mean(of(node.x), [-1], true));
        const variance = mean(unary('Square', centered), [-1], true);
        const normalized = binary('Mul', centered, unary('Rsqrt', binary('AddV2', variance, scalar(node.epsilon))));
        return binary('AddV2', binary('Mul', normalized, full(node.scale)), full(node.offset));
      }
      case 'relu': return unary('Relu', of(node.x));
      case 'swish': return binary('Mul', of(node.x), unary('Sigmoid', of(node.x)));
      case 'gelu': {
        const twice = binary('AddV2', unary('Erf', binary('Mul', of(node.x), scalar(Math.SQRT1_2))), scalar(1));
        return binary('Mul', binary('Mul', twice, scalar(0.5)), of(node.x));
      }
      case 'globalAverage': return mean(of(node.x), [1, 2], false);
      case 'softmax': return unary('Softmax', of(node.x));
      case 'logSoftmax': return unary('LogSoftmax', of(node.x));
      case 'reshape': return reshape(of(node.x), -1, ...node.shape);
      case 'gate': return binary('Mul', of(node.x), reshape(unary('Sigmoid', of(node.logits)), -1, 1, 1, node.shape[2]!));
      case 'maxPool': return add('MaxPool', [of(node.x)], { ...float, ksize: ints(1, node.size, node.size, 1), strides: ints(1, 2, 2, 1), padding: string(node.size === 2 ? 'VALID' : 'SAME'), ...channelsLast, explicit_paddings: ints() });
      case 'prepend': return add('Pad', [of(node.x), wholeConstant(add, [0, 0, 1, 0, 0, 0], [3, 2])], { ...float, Tpaddings: type('int32') });
      case 'token': return reshape(slice(of(node.x), [0, node.index, 0], [-1, 1, -1]), -1, node.shape[0]!);
      case 'attention': {
        const [tokens, width] = node.shape as [number, number];
        const size = width / node.heads;
        // [batch, heads, tokens, size]
        const [queries, keys, values] = [0, 1, 2].map(part => transpose(reshape(slice(of(node.x), [0, 0, part * width], [-1, -1, width]), -1, tokens, node.heads, size), 0, 2, 1, 3)) as [string, string, string];
        const shares = unary('Softmax', batchProduct(binary('Mul', queries, scalar(1 / Math.sqrt(size))), keys, true));
        return reshape(transpose(batchProduct(shares, values, false), 0, 2, 1, 3), -1, tokens, width);
      }
      case 'sum': return binary('AddV2', of(node.a), of(node.b));
      case 'mean': return binary('Mul', binary('AddV2', of(node.a), of(node.b)), scalar(0.5));
    }
  };
  for (const node of inOrder(graph)) written.set(node, write(node));
  for (const [name, node] of [[names.probabilities, graph.probabilities], [names.logProbabilities, graph.logProbabilities]] as const) add('Identity', [of(node)], float, { name });
  return nodes;
}

/** Adds a node and returns its name, which is the one that is asked for if that is free. */
export type AddNode = (operation: string, inputs: readonly string[], attributes: Readonly<Record<string, Attribute>>, options?: { readonly name?: string; readonly constant?: Values }) => string;

export const constantNode = (add: AddNode, name: string, constant: Values): string => add('Const', [], { dtype: type(constant.type) }, { name, constant });
const wholeConstant = (add: AddNode, values: readonly number[], shape: readonly number[]): string => constantNode(add, 'shape', { type: 'int32', shape, values: Int32Array.from(values) });

/** A kernel's factors as they are multiplied with it. */
export function factorNode(add: AddNode, { name, shape, axis, factor }: Kernel): string | undefined {
  return factor && constantNode(add, `${name}/factor`, { type: 'float32', shape: shape.map((size, at) => (at < axis ? 1 : at === axis ? size : 1)), values: factor });
}

export const timesFactor = (add: AddNode, kernel: string, factor: string | undefined): string => (factor === undefined ? kernel : add('Mul', [kernel, factor], float));
