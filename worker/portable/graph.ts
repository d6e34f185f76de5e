/**
 * A model's prediction as a graph of its layers, from images as bytes to probabilities, for whoever writes it in another tool's format: a fourth
 * reading of `Layers<T>`, T = node. It needs no TensorFlow, and fixes no batch. Normalization by given statistics is folded into the kernel before it.
 * Not for: running it; a back end for each format (savedmodel.ts, tfjs.ts, onnx.ts) writes its operations.
 * Invariants:
 *  1. In exact numbers it equals `cleanLayers` on images divided by 255.
 *  2. A kernel is stored as `Kernel.stored`, of the scheme that was asked for, and `factor` a channel of its output; their product is what `dequantized` gives, times what was folded in.
 *  3. A node's shape is that of one sample: [height, width, channels], [tokens, features] or [features].
 */
import { AlumnusError, invariant } from '../../proto/errors.ts';
import { buildModel, normalizationEpsilon, parameterName, parameterSpecs, type Architecture, type Layers, type WeightScheme } from '../../recipe/index.ts';
import type { TensorData } from '../learning/index.ts';
import { channelsOf, dequantized, quantized, type Stored } from './quantize.ts';

/** Numbers that stay float32: biases, statistics' remains, tokens and positions. */
export interface Constant { readonly name: string; readonly shape: readonly number[]; readonly values: Float32Array }

/** A kernel: [height, width, in, out], [height, width, channels, 1] or [in, out]. */
export interface Kernel {
  readonly name: string;
  readonly shape: readonly number[];
  readonly stored: Stored;
  /** A number for each channel of the output, which stands in `axis` of the kernel. Absent: 1. */
  readonly factor?: Float32Array;
  readonly axis: number;
}

interface At { readonly shape: readonly number[] }
export type Node = At & (
  /** Images [height, width, channels] as bytes, divided by 255. */
  | { readonly operation: 'images' }
  /** Padding SAME, as TensorFlow pads. */
  | { readonly operation: 'convolution'; readonly x: Node; readonly kernel: Kernel; readonly bias?: Constant; readonly stride: number; readonly depthwise: boolean }
  | { readonly operation: 'dense'; readonly x: Node; readonly kernel: Kernel; readonly bias: Constant }
  /** Constants of the shape of a sample or of its last axes. */
  | { readonly operation: 'times' | 'plus'; readonly x: Node; readonly constant: Constant }
  | { readonly operation: 'layerNormalization'; readonly x: Node; readonly scale: Constant; readonly offset: Constant; readonly epsilon: number }
  | { readonly operation: 'relu' | 'swish' | 'gelu' | 'globalAverage' | 'softmax' | 'logSoftmax' | 'reshape'; readonly x: Node }
  | { readonly operation: 'gate'; readonly x: Node; readonly logits: Node }
  | { readonly operation: 'maxPool'; readonly x: Node; readonly size: 2 | 3 }
  /** A token of zeros ahead of the others. */
  | { readonly operation: 'prepend'; readonly x: Node }
  | { readonly operation: 'token'; readonly x: Node; readonly index: number }
  | { readonly operation: 'attention'; readonly x: Node; readonly heads: number }
  | { readonly operation: 'sum' | 'mean'; readonly a: Node; readonly b: Node }
);

/** What leaves: both [classes] a sample. */
export interface PortableGraph { readonly probabilities: Node; readonly logProbabilities: Node }

/** Names of input and outputs in every format. */
export const names = { images: 'images', probabilities: 'probabilities', logProbabilities: 'log_probabilities' } as const;

/** What a node is computed from. */
export function inputsOf(node: Node): readonly Node[] {
  if ('a' in node) return [node.a, node.b];
  if (!('x' in node)) return [];
  return 'logits' in node ? [node.x, node.logits] : [node.x];
}

/** Every node that an output needs, each after what it is computed from. */
export function inOrder({ probabilities, logProbabilities }: PortableGraph): Node[] {
  const found = new Set<Node>();
  // A stack of our own: the deepest model is some thousand nodes deep.
  const stack: { node: Node; entered: boolean }[] = [{ node: logProbabilities, entered: false }, { node: probabilities, entered: false }];
  for (let top = stack.pop(); top !== undefined; top = stack.pop()) {
    if (found.has(top.node)) continue;
    if (top.entered) found.add(top.node);
    else stack.push({ node: top.node, entered: true }, ...inputsOf(top.node).toReversed().map(node => ({ node, entered: false })));
  }
  return [...found];
}

/** Its kernel's output stands along this axis. */
const outputAxis = (shape: readonly number[], depthwise: boolean): number => (depthwise ? 2 : shape.length - 1);

/**
 * @param scheme of the kernels; everything else stays float32
 * @throws AlumnusError DIGEST_MISMATCH where the weights are not the architecture's
 */
export function portableGraph(architecture: Architecture, weights: readonly TensorData[], scheme: WeightScheme = 'float32'): PortableGraph {
  const specs = new Map(parameterSpecs(architecture).map(spec => [spec.name, spec]));
  const given = new Map(weights.map(tensor => [tensor.name, tensor]));
  const weight = (name: string): Constant => {
    const [tensor, spec] = [given.get(name), specs.get(name)];
    invariant(spec !== undefined, `the model declares ${name}`);
    if (tensor?.shape.join() !== spec.shape.join()) {
      throw new AlumnusError('DIGEST_MISMATCH', `the weights hold ${tensor === undefined ? 'no' : `[${tensor.shape.join()}] for`} ${name}, and the model ${architecture.model.name} needs [${spec.shape.join()}]`, { where: 'weights' });
    }
    return { name, shape: spec.shape, values: tensor.values };
  };
  const kernel = (layer: string, depthwise = false): Kernel => {
    const { name, shape, values } = weight(parameterName.kernel(layer));
    const axis = outputAxis(shape, depthwise);
    return { name, shape, axis, ...quantized(values, shape, axis, scheme) };
  };
  const convolution = (x: Node, name: string, { stride, depthwise }: { stride: number; depthwise: boolean }): Node => {
    const weights = kernel(name, depthwise);
    return { operation: 'convolution', x, kernel: weights, stride, depthwise, shape: [Math.ceil(x.shape[0]! / stride), Math.ceil(x.shape[1]! / stride), weights.shape[weights.axis]!] };
  };
  const plus = (x: Node, constant: Constant): Node => ({ operation: 'plus', x, constant, shape: x.shape });

  const layers: Layers<Node> = {
    convolution: (x, name, { stride = 1 }) => convolution(x, name, { stride, depthwise: false }),
    depthwiseConvolution: (x, name, { stride = 1 }) => convolution(x, name, { stride, depthwise: true }),
    bias(x, name) {
      const bias = weight(parameterName.bias(name));
      return x.operation === 'convolution' && x.bias === undefined ? { ...x, bias } : plus(x, bias);
    },
    dense(x, name, { units }) {
      return { operation: 'dense', x, kernel: kernel(name), bias: weight(parameterName.bias(name)), shape: [...x.shape.slice(0, -1), units] };
    },
    batchNormalization(x, name) {
      const [scale, offset, mean, variance] = [parameterName.scale(name), parameterName.offset(name), parameterName.mean(name), parameterName.variance(name)].map(each => weight(each).values) as [Float32Array, Float32Array, Float32Array, Float32Array];
      const shape = [scale.length];
      const factor = scale.map((value, channel) => value / Math.sqrt(variance[channel]! + normalizationEpsilon.batch));
      const remains = (before: Float32Array | undefined): Float32Array => offset.map((value, channel) => value + ((before?.[channel] ?? 0) - mean[channel]!) * factor[channel]!);
      if (x.operation === 'convolution') return { ...x, kernel: scaledKernel(x.kernel, factor), bias: { name: parameterName.bias(name), shape, values: remains(x.bias?.values) } };
      const scaled: Node = { operation: 'times', x, constant: { name: parameterName.scale(name), shape, values: factor }, shape: x.shape };
      return plus(scaled, { name: parameterName.offset(name), shape, values: remains(undefined) });
    },
    layerNormalization: (x, name) => ({ operation: 'layerNormalization', x, scale: weight(parameterName.scale(name)), offset: weight(parameterName.offset(name)), epsilon: normalizationEpsilon.layer, shape: x.shape }),
    relu: x => ({ operation: 'relu', x, shape: x.shape }),
    swish: x => ({ operation: 'swish', x, shape: x.shape }),
    gelu: x => ({ operation: 'gelu', x, shape: x.shape }),
    gate: (x, logits) => ({ operation: 'gate', x, logits, shape: x.shape }),
    maxPool(x, size = 2) {
      const half = size === 2 ? Math.floor : Math.ceil;
      return { operation: 'maxPool', x, size, shape: [half(x.shape[0]! / 2), half(x.shape[1]! / 2), x.shape[2]!] };
    },
    globalAverage: x => ({ operation: 'globalAverage', x, shape: [x.shape[2]!] }),
    flatten: x => ({ operation: 'reshape', x, shape: [x.shape.reduce((product, size) => product * size, 1)] }),
    tokens: x => ({ operation: 'reshape', x, shape: [x.shape[0]! * x.shape[1]!, x.shape[2]!] }),
    // Zeros and a sum, because a constant cannot be repeated for a batch that is not known.
    prepend(x, name) {
      const [tokens, features] = x.shape as [number, number];
      const shape = [tokens + 1, features];
      const values = new Float32Array(shape[0]! * features);
      values.set(weight(parameterName.token(name)).values);
      return plus({ operation: 'prepend', x, shape }, { name: parameterName.token(name), shape, values });
    },
    positions: (x, name) => plus(x, weight(parameterName.positions(name))),
    token: (x, index) => ({ operation: 'token', x, index, shape: [x.shape[1]!] }),
    attention: (x, heads) => ({ operation: 'attention', x, heads, shape: [x.shape[0]!, x.shape[1]! / 3] }),
    dropout: x => x,
    residual: (shortcut, branch) => ({ operation: 'sum', a: shortcut, b: branch, shape: branch.shape }),
    distilled: (classLogits, distillationLogits) => ({ operation: 'mean', a: classLogits, b: distillationLogits, shape: classLogits.shape }),
    channels: x => x.shape.at(-1)!,
    sides: x => [x.shape[0]!, x.shape[1]!],
  };

  const { height, width, channels } = architecture.input;
  const logits = buildModel(architecture, layers, { operation: 'images', shape: [height, width, channels] });
  return {
    probabilities: { operation: 'softmax', x: logits, shape: logits.shape },
    logProbabilities: { operation: 'logSoftmax', x: logits, shape: logits.shape },
  };
}

/** The kernel times `factor`, a number for each channel of its output. Full numbers are multiplied; others keep theirs, and a factor beside them that is not negative. */
function scaledKernel(kernel: Kernel, factor: Float32Array): Kernel {
  const { shape, axis, stored } = kernel;
  const channelOf = channelsOf(shape, axis);
  if (stored.scheme === 'float32') return { ...kernel, stored: { scheme: 'float32', values: stored.values.map((value, at) => value * factor[channelOf(at)]!) } };
  if (stored.scheme === 'float16') return { ...kernel, factor: factor.map((value, channel) => value * (kernel.factor?.[channel] ?? 1)) };
  // ONNX wants scales that are positive; -128 is not used, so every number has its opposite.
  return {
    ...kernel, factor: factor.map((value, channel) => Math.abs(value) * (kernel.factor?.[channel] ?? 1)),
    stored: { scheme: 'int8', values: stored.values.map((value, at) => (factor[channelOf(at)]! < 0 ? -value : value)) },
  };
}

/**
 * A model's weights as they are after quantization, in float32: whoever predicts with them measures what quantization costs. An export of the same
 * scheme computes with the same kernels, up to the rounding of what is folded into them.
 * Throws as `portableGraph`.
 */
export function dequantizedWeights(architecture: Architecture, weights: readonly TensorData[], scheme: WeightScheme): TensorData[] {
  const axes = new Map(inOrder(portableGraph(architecture, weights)).flatMap(node => ('kernel' in node ? [[node.kernel.name, node.kernel.axis]] : [])));
  return weights.map((tensor) => {
    const axis = axes.get(tensor.name);
    return axis === undefined ? tensor : { ...tensor, values: dequantized(quantized(tensor.values, tensor.shape, axis, scheme), tensor.shape, axis) };
  });
}
