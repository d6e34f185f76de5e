/**
 * Kernels in fewer bytes, and back. What is quantized are the weights alone, and they are computed with as float32 again: smaller files, the same speed.
 * float16 halves the bytes: each number is rounded to the nearest, ties to even.
 * int8 quarters them: symmetric, a scale for each channel of the output, whole numbers from -127 to 127 and no zero point, scale = max |w| / 127, as
 * TensorFlow Lite's specification has it for weights (ai.google.dev/edge/litert/models/quantization_spec, "Symmetric vs asymmetric", "Per-axis") and Krishnamoorthi 2018
 * (arXiv 1806.08342, section 2.2). Biases, normalization, tokens and positions stay float32.
 * Not for: quantized arithmetic, activations.
 */
import { decodeFloat16, encodeFloat16 } from '../../dataset/index.ts';
import { AlumnusError } from '../../proto/errors.ts';
import type { WeightScheme } from '../../recipe/index.ts';

/** `float16`: their bits. */
export type Stored =
  | { readonly scheme: 'float32'; readonly values: Float32Array }
  | { readonly scheme: 'float16'; readonly values: Uint16Array }
  | { readonly scheme: 'int8'; readonly values: Int8Array };

/** The largest whole number of int8 whose opposite is one, too. */
const wholeMax = 127;

/** Numbers above are infinite in float16, and so are those that round to the next one. */
const float16Max = 65504;

/** Which channel along `axis` the number at a place of a kernel belongs to. */
export function channelsOf(shape: readonly number[], axis: number): (at: number) => number {
  const after = shape.slice(axis + 1).reduce((product, size) => product * size, 1);
  const count = shape[axis]!;
  return at => Math.floor(at / after) % count;
}

/**
 * @param axis of `shape`, along which the channels of the output stand
 * @throws AlumnusError EXPORT_IMPOSSIBLE
 */
export function quantized(values: Float32Array, shape: readonly number[], axis: number, scheme: WeightScheme): { readonly stored: Stored; readonly factor?: Float32Array } {
  if (scheme === 'float32') return { stored: { scheme, values } };
  if (scheme === 'float16') {
    const beyond = values.find(value => Math.abs(value) > float16Max);
    if (beyond !== undefined) throw new AlumnusError('EXPORT_IMPOSSIBLE', `float16 holds numbers up to ${float16Max}, and a weight is ${beyond}`, { where: 'weights' });
    const halves = new Uint16Array(values.length);
    encodeFloat16(values, halves);
    return { stored: { scheme, values: halves } };
  }
  const channelOf = channelsOf(shape, axis);
  const factor = new Float32Array(shape[axis]!);
  values.forEach((value, at) => { factor[channelOf(at)] = Math.max(factor[channelOf(at)]!, Math.abs(value)); });
  // A channel of zeros has any scale; ONNX and TensorFlow Lite refuse 0.
  factor.forEach((largest, channel) => { factor[channel] = largest === 0 ? 1 : largest / wholeMax; });
  return { stored: { scheme, values: Int8Array.from(values, (value, at) => Math.max(-wholeMax, Math.min(wholeMax, roundedToEven(value / factor[channelOf(at)]!)))) }, factor };
}

function roundedToEven(value: number): number {
  const below = Math.floor(value);
  const rest = value - below;
  return rest < 0.5 || (rest === 0.5 && below % 2 === 0) ? below : below + 1;
}

/** The float32 numbers that a quantized kernel stands for. */
export function dequantized({ stored, factor }: { readonly stored: Stored; readonly factor?: Float32Array }, shape: readonly number[], axis: number): Float32Array {
  if (stored.scheme === 'float32') return stored.values;
  if (stored.scheme === 'float16') return decodeFloat16(stored.values);
  const channelOf = channelsOf(shape, axis);
  return Float32Array.from(stored.values, (value, at) => value * factor![channelOf(at)]!);
}
