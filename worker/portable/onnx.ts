/**
 * A portable graph as an ONNX model, operator set 17: input `images`, uint8 [batch, height, width, channels] of any batch; outputs `probabilities` and
 * `log_probabilities` [batch, classes]. Class names stand in its metadata (`class_names`, JSON). Inside, images are [batch, channels, height, width], since ONNX convolves nothing else.
 * Not for: models above 2 GiB, which would need files beside it.
 * Operators: github.com/onnx/onnx, docs/Operators.md. Field numbers: onnx/onnx.proto3.
 */
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { inOrder, names, type Constant, type Kernel, type Node, type PortableGraph } from './graph.ts';
import { refuseTooLarge } from './savedmodel.ts';

/** LayerNormalization is of 17; ONNX Runtime reads it since 1.12 (2022). */
const operatorSet = 17;
/** That ONNX 1.12, which brought operator set 17, writes. */
const irVersion = 8;

/** TensorProto.DataType */
const dataType = { float32: 1, uint8: 2, int8: 3, int64: 7, float16: 10 } as const;
/** AttributeProto.AttributeType */
const attributeType = { float: 1, int: 2, ints: 7 } as const;

type Attributes = Readonly<Record<string, { readonly float: number } | { readonly int: number } | readonly number[]>>;
type TypedArray = Float32Array | Uint16Array | Int8Array | BigInt64Array;

/** @param metadata texts that travel in the model */
export function onnxModel(graph: PortableGraph, imageShape: readonly number[], classNames: readonly string[], metadata: Readonly<Record<string, string>>): Uint8Array {
  const file = new GraphFile();
  const written = new Map<Node, string>();
  const of = (node: Node): string => written.get(node)!;
  const write = (node: Node): string => writeNode(file, node, of);
  for (const node of inOrder(graph)) written.set(node, write(node));
  for (const [name, node] of [[names.probabilities, graph.probabilities], [names.logProbabilities, graph.logProbabilities]] as const) file.node('Identity', [of(node)], {}, name);
  const output = (name: string): Parameters<GraphFile['model']>[1][number] => ({ name, dataType: dataType.float32, shape: ['batch', classNames.length] });
  return file.model(
    [{ name: names.images, dataType: dataType.uint8, shape: ['batch', ...imageShape] }],
    [output(names.probabilities), output(names.logProbabilities)],
    { class_names: JSON.stringify(classNames), ...metadata },
  );
}

function writeNode(file: GraphFile, node: Node, of: (node: Node) => string): string {
  const unary = (operator: string, x: string): string => file.node(operator, [x]);
  const binary = (operator: 'Add' | 'Mul', a: string, b: string): string => file.node(operator, [a, b]);
  const reshape = (x: string, ...shape: number[]): string => file.node('Reshape', [x, file.whole(shape)]);
  const transpose = (x: string, ...order: number[]): string => file.node('Transpose', [x], { perm: order });
  /** A number a channel stands beside height and width, in images. */
  const full = ({ name, shape, values }: Constant): string => file.tensor(name, node.shape.length === 3 && shape.length === 1 ? [...shape, 1, 1] : shape, values);
  const scalar = (value: number): string => file.tensor('number', [], Float32Array.of(value));
  const last = { axis: { int: -1 } };
  switch (node.operation) {
    case 'images': return binary('Mul', transpose(file.node('Cast', [names.images], { to: { int: dataType.float32 } }), 0, 3, 1, 2), scalar(1 / 255));
    case 'convolution': {
      const { x, kernel, bias, stride, depthwise } = node;
      const [size = 1, across = 1, channels = 1] = kernel.shape;
      // Of [height, width, in, out] and [height, width, channels, 1]: channels of the output, inputs of each, height, width.
      const weights = kernelOf(file, kernel, depthwise ? [2, 3, 0, 1] : [3, 2, 0, 1], 0);
      const inputs = [of(x), weights, ...bias === undefined ? [] : [file.tensor(bias.name, bias.shape, bias.values)]];
      return file.node('Conv', inputs, { kernel_shape: [size, across], strides: [stride, stride], pads: padding(x.shape, size, stride), group: { int: depthwise ? channels : 1 } });
    }
    case 'dense': return binary('Add', file.node('MatMul', [of(node.x), kernelOf(file, node.kernel, [0, 1], 1)]), file.tensor(node.bias.name, node.bias.shape, node.bias.values));
    case 'times': return binary('Mul', of(node.x), full(node.constant));
    case 'plus': return binary('Add', of(node.x), full(node.constant));
    case 'layerNormalization': return file.node('LayerNormalization', [of(node.x), full(node.scale), full(node.offset)], { ...last, epsilon: { float: node.epsilon } });
    case 'relu': return unary('Relu', of(node.x));
    case 'swish': return binary('Mul', of(node.x), unary('Sigmoid', of(node.x)));
    case 'gelu': return binary('Mul', binary('Mul', binary('Add', unary('Erf', binary('Mul', of(node.x), scalar(Math.SQRT1_2))), scalar(1)), scalar(0.5)), of(node.x));
    case 'globalAverage': return file.node('ReduceMean', [of(node.x)], { axes: [2, 3], keepdims: { int: 0 } });
    case 'softmax': return file.node('Softmax', [of(node.x)], last);
    case 'logSoftmax': return file.node('LogSoftmax', [of(node.x)], last);
    case 'reshape': return reshape(node.x.shape.length === 3 ? transpose(of(node.x), 0, 2, 3, 1) : of(node.x), -1, ...node.shape);
    case 'gate': return binary('Mul', of(node.x), reshape(unary('Sigmoid', of(node.logits)), -1, node.shape[2]!, 1, 1));
    case 'maxPool': return file.node('MaxPool', [of(node.x)], { kernel_shape: [node.size, node.size], strides: [2, 2], pads: node.size === 2 ? [0, 0, 0, 0] : padding(node.x.shape, node.size, 2) });
    case 'prepend': return file.node('Pad', [of(node.x), file.whole([0, 1, 0, 0, 0, 0])]);
    case 'token': return file.node('Gather', [of(node.x), file.tensor('place', [], BigInt64Array.of(BigInt(node.index)))], { axis: { int: 1 } });
    case 'attention': {
      const [tokens, width] = node.shape as [number, number];
      const size = width / node.heads;
      const part = (at: number, ...order: number[]): string =>
        transpose(reshape(file.node('Slice', [of(node.x), file.whole([at * width]), file.whole([(at + 1) * width]), file.whole([2])]), -1, tokens, node.heads, size), ...order);
      // Queries and values [batch, heads, tokens, size], keys with the last two the other way round.
      const [queries, keys, values] = [part(0, 0, 2, 1, 3), part(1, 0, 2, 3, 1), part(2, 0, 2, 1, 3)];
      const shares = file.node('Softmax', [file.node('MatMul', [binary('Mul', queries, scalar(1 / Math.sqrt(size))), keys])], last);
      return reshape(transpose(file.node('MatMul', [shares, values]), 0, 2, 1, 3), -1, tokens, width);
    }
    case 'sum': return binary('Add', of(node.a), of(node.b));
    case 'mean': return binary('Mul', binary('Add', of(node.a), of(node.b)), scalar(0.5));
  }
}

/** TensorFlow's SAME: the pixel that two sides cannot share comes after. Of height and width: both before, then both after. */
function padding([height = 0, width = 0]: readonly number[], size: number, stride: number): number[] {
  const sides = [height, width].map((side) => {
    const whole = Math.max(0, (Math.ceil(side / stride) - 1) * stride + size - side);
    return [Math.floor(whole / 2), Math.ceil(whole / 2)] as const;
  });
  return [...sides.map(([before]) => before), ...sides.map(([, after]) => after)];
}

/** A kernel with its axes in `order`, as float32 by the time it is used; the channels of its output are then at `axis`. */
function kernelOf(file: GraphFile, { name, shape, stored, factor }: Kernel, order: readonly number[], axis: number): string {
  const ordered = order.map(at => shape[at]!);
  const given = file.tensor(name, ordered, transposed(stored.values, shape, order));
  if (stored.scheme === 'float32') return given;
  // Not DequantizeLinear: from its level "extended" on ONNX Runtime (1.30) then computes with activations of 8 bits as well, and predictions move by up to 0.6 percent.
  const full = file.node('Cast', [given], { to: { int: dataType.float32 } });
  return factor === undefined ? full : file.node('Mul', [full, file.tensor(`${name}/factor`, ordered.map((size, at) => (at === axis ? size : 1)), factor)]);
}

function transposed<Values extends Float32Array | Uint16Array | Int8Array>(values: Values, shape: readonly number[], order: readonly number[]): Values {
  if (order.every((axis, at) => axis === at)) return values;
  const strides = shape.map((_, axis) => shape.slice(axis + 1).reduce((product, size) => product * size, 1));
  const [sizes, steps] = [order.map(axis => shape[axis]!), order.map(axis => strides[axis]!)];
  const result = values.slice() as Values;
  const index = sizes.map(() => 0);
  let from = 0;
  for (let to = 0; to < values.length; to++) {
    result[to] = values[from]!;
    for (let axis = sizes.length - 1; axis >= 0; axis--) {
      index[axis]! += 1;
      from += steps[axis]!;
      if (index[axis]! < sizes[axis]!) break;
      from -= sizes[axis]! * steps[axis]!;
      index[axis] = 0;
    }
  }
  return result;
}

const message = (writer: BinaryWriter, field: number, body: (writer: BinaryWriter) => void): void => {
  writer.tag(field, WireType.LengthDelimited).fork();
  body(writer);
  writer.join();
};
const text = (writer: BinaryWriter, field: number, value: string): BinaryWriter => writer.tag(field, WireType.LengthDelimited).string(value);
const number = (writer: BinaryWriter, field: number, value: number): BinaryWriter => writer.tag(field, WireType.Varint).int64(value);

interface Value { readonly name: string; readonly dataType: number; readonly shape: readonly (number | string)[] }

/** A GraphProto on its way. Names are its own, counted. */
class GraphFile {
  readonly #nodes: Uint8Array[] = [];
  readonly #tensors: Uint8Array[] = [];
  readonly #taken = new Map<string, number>();
  #bytes = 0;

  #unique(name: string): string {
    const count = this.#taken.get(name) ?? 0;
    this.#taken.set(name, count + 1);
    return count === 0 ? name : `${name}_${count}`;
  }

  /** Returns the name of its output, which is the only one. */
  node(operator: string, inputs: readonly string[], attributes: Attributes = {}, output = this.#unique(operator)): string {
    const writer = new BinaryWriter();
    for (const input of inputs) text(writer, 1, input);
    text(writer, 2, output);
    text(writer, 3, output);
    text(writer, 4, operator);
    for (const [name, value] of Object.entries(attributes)) {
      message(writer, 5, (attribute) => {
        text(attribute, 1, name);
        if ('float' in value) number(attribute.tag(2, WireType.Bit32).float(value.float), 20, attributeType.float);
        else if ('int' in value) number(number(attribute, 3, value.int), 20, attributeType.int);
        else {
          for (const each of value) number(attribute, 8, each);
          number(attribute, 20, attributeType.ints);
        }
      });
    }
    this.#nodes.push(writer.finish());
    return output;
  }

  tensor(name: string, shape: readonly number[], values: TypedArray): string {
    const unique = this.#unique(name);
    this.#bytes += values.byteLength;
    refuseTooLarge(this.#bytes, 'an ONNX model in one file');
    const type = values instanceof Float32Array ? dataType.float32 : values instanceof Uint16Array ? dataType.float16 : values instanceof Int8Array ? dataType.int8 : dataType.int64;
    const writer = new BinaryWriter();
    for (const size of shape) number(writer, 1, size);
    number(writer, 2, type);
    text(writer, 8, unique);
    writer.tag(9, WireType.LengthDelimited).bytes(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
    this.#tensors.push(writer.finish());
    return unique;
  }

  whole(values: readonly number[]): string {
    return this.tensor('shape', [values.length], BigInt64Array.from(values, BigInt));
  }

  /** The bytes of a ModelProto. */
  model(inputs: readonly Value[], outputs: readonly Value[], metadata: Readonly<Record<string, string>>): Uint8Array {
    const value = ({ name, dataType: type, shape }: Value) => (writer: BinaryWriter): void => {
      text(writer, 1, name);
      // TypeProto.tensor_type 1: elem_type 1, shape 2, its dim 1 with dim_value 1 or dim_param 2.
      message(writer, 2, typed => message(typed, 1, (tensor) => {
        number(tensor, 1, type);
        message(tensor, 2, dimensions => shape.forEach(size => message(dimensions, 1, (dimension) => {
          if (typeof size === 'number') number(dimension, 1, size);
          else text(dimension, 2, size);
        })));
      }));
    };
    const writer = new BinaryWriter();
    number(writer, 1, irVersion);
    text(writer, 2, 'Alumnus');
    message(writer, 7, (graph) => {
      for (const node of this.#nodes) graph.tag(1, WireType.LengthDelimited).bytes(node);
      text(graph, 2, 'prediction');
      for (const tensor of this.#tensors) graph.tag(5, WireType.LengthDelimited).bytes(tensor);
      for (const input of inputs) message(graph, 11, value(input));
      for (const output of outputs) message(graph, 12, value(output));
    });
    message(writer, 8, set => number(set, 2, operatorSet));
    for (const [key, said] of Object.entries(metadata)) {
      message(writer, 14, (entry) => {
        text(entry, 1, key);
        text(entry, 2, said);
      });
    }
    return writer.finish();
  }
}
