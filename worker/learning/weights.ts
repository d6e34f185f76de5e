/**
 * Weights as bytes and back, in the safetensors format (github.com/huggingface/safetensors, "Format"), which other
 * tools read. The same weights give the same bytes: tensors by name, header without whitespace but its padding.
 * Not for: storing them.
 */
import { AlumnusError, invariant } from '../../proto/errors.ts';
import type { TensorData } from './types.ts';

const lengthBytes = 8;
const alignment = 8;
/** A header is a few hundred bytes a tensor; safetensors itself refuses more than 100 MB. */
const headerBytesMax = 100_000_000;
/** What safetensors calls the one entry of a header that is no tensor. */
const metadataName = '__metadata__';

const elements = (shape: readonly number[]): number => shape.reduce((product, size) => product * size, 1);
const byName = (a: { name: string }, b: { name: string }): number => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0);

/** @param metadata texts that travel in the header, as the format's `__metadata__`. */
export function encodeWeights(weights: readonly TensorData[], metadata?: Readonly<Record<string, string>>): Uint8Array {
  const sorted = [...weights].sort(byName);
  const header: Record<string, unknown> = metadata === undefined ? {} : { [metadataName]: metadata };
  let end = 0;
  for (const { name, shape, values } of sorted) {
    invariant(!Object.hasOwn(header, name), `weight ${name} is encoded once`);
    invariant(values.length === elements(shape), `weight ${name} has as many values as its shape`);
    header[name] = { dtype: 'F32', shape, data_offsets: [end, end + values.byteLength] };
    end += values.byteLength;
  }
  const text = new TextEncoder().encode(JSON.stringify(header));
  const headerLength = Math.ceil(text.length / alignment) * alignment;
  const bytes = new Uint8Array(lengthBytes + headerLength + end);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(headerLength), true);
  bytes.fill(0x20, lengthBytes, lengthBytes + headerLength);
  bytes.set(text, lengthBytes);
  let offset = lengthBytes + headerLength;
  for (const { values } of sorted) {
    bytes.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength), offset);
    offset += values.byteLength;
  }
  return bytes;
}

export const damaged = (what: string, cause?: unknown): AlumnusError => new AlumnusError('DIGEST_MISMATCH', `the weights are damaged: ${what}`, { where: 'weights', cause });

function readHeader(bytes: Uint8Array): { header: Record<string, unknown>; start: number } {
  if (bytes.length < lengthBytes) throw damaged('they are shorter than their header');
  const headerLength = Number(new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getBigUint64(0, true));
  const start = lengthBytes + headerLength;
  if (headerLength > headerBytesMax || start > bytes.length) throw damaged('the header does not fit');
  let header: unknown;
  try {
    header = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes.subarray(lengthBytes, start)));
  } catch (cause) {
    throw damaged('the header is no JSON', cause);
  }
  if (typeof header !== 'object' || header === null) throw damaged('the header is no object');
  return { header: header as Record<string, unknown>, start };
}

/** The texts that were written beside the weights. @throws AlumnusError DIGEST_MISMATCH */
export function readMetadata(bytes: Uint8Array): Readonly<Record<string, string>> {
  const metadata = readHeader(bytes).header[metadataName] ?? {};
  if (typeof metadata !== 'object' || !Object.values(metadata).every(value => typeof value === 'string')) throw damaged('the header\'s metadata is no texts');
  return metadata as Record<string, string>;
}

/** @throws AlumnusError DIGEST_MISMATCH where the bytes are not what `encodeWeights` writes. */
export function decodeWeights(bytes: Uint8Array): TensorData[] {
  const { header, start } = readHeader(bytes);
  let end = 0;
  const weights = Object.entries(header).filter(([name]) => name !== metadataName).map(([name, entry]) => {
    const { dtype, shape, data_offsets: offsets } = (entry ?? {}) as { dtype?: unknown; shape?: unknown; data_offsets?: unknown };
    const sizes = Array.isArray(shape) && shape.every(size => Number.isInteger(size) && size >= 0) ? shape as number[] : undefined;
    if (dtype !== 'F32' || sizes === undefined || !Array.isArray(offsets)) throw damaged(`the entry of ${name}`);
    const [from, to] = offsets as number[];
    if (from === undefined || to === undefined || to - from !== 4 * elements(sizes) || from < 0 || start + to > bytes.length) throw damaged(`the place of ${name}`);
    end = Math.max(end, to);
    // Copied, because a Float32Array needs its own alignment, and because nobody may change what others hold; through
    // Uint8Array, because the slice of a Buffer is a window on the whole of its memory.
    return { name, shape: sizes, values: new Float32Array(new Uint8Array(bytes.subarray(start + from, start + to)).buffer) };
  });
  if (start + end !== bytes.length) throw damaged('bytes are left over');
  return weights;
}
