/**
 * PNG for what a shard mostly holds: 8-bit gray or RGB, not interlaced. Measured on 28 x 28 gray: 10 to 40 times as fast
 * as pngjs and sharp, which spend their time on set-up. Everything else PNG can be is left to sharp (images.ts).
 * Source: PNG specification, third edition: sections 5 (chunks), 9 (filters), 10 (compression).
 */
import { constants, crc32, deflateSync, inflateSync } from 'node:zlib';
import type { ImageShape } from './manifest.ts';

const SIGNATURE = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
const COLOR_GRAY = 0;
const COLOR_RGB = 2;
/** Length, type and CRC around a chunk's data. */
const CHUNK_FRAME_BYTES = 12;
const HEADER_BYTES = 13;
/** Above any image of a training set; bounds what a crafted header can make us allocate. */
const PIXEL_BYTES_MAX = 256 * 1024 * 1024;

export class PngError extends Error {}

function chunk(type: string, data: Uint8Array): Buffer {
  const framed = Buffer.alloc(CHUNK_FRAME_BYTES + data.byteLength);
  framed.writeUInt32BE(data.byteLength, 0);
  framed.write(type, 4, 'latin1');
  framed.set(data, 8);
  framed.writeUInt32BE(crc32(framed.subarray(4, 8 + data.byteLength)), 8 + data.byteLength);
  return framed;
}

/** Up to here rows are stored as they are; beyond, each byte less its prediction (Paeth), which halves photographs. */
const UNFILTERED_PIXELS_MAX = 64 * 64;

/**
 * Run lengths and Huffman codes only. The general strategy searches matches by a hash that zlib's builds choose by processor,
 * so its bytes, and with them a dataset's digest, would differ between machines. On digits it is as small and three times as
 * fast. The small window and tables are most of that: setting them up is what a small image costs.
 */
const SMALL = { strategy: constants.Z_RLE, windowBits: 10, memLevel: 5 };
const LARGE = { strategy: constants.Z_RLE, windowBits: 15, memLevel: 9 };

/** @param pixels `[height, width, channels]`, one byte each. The same pixels give the same bytes. */
export function encodePng(pixels: Uint8Array, shape: ImageShape): Uint8Array {
  const stride = shape.width * shape.channels;
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt32BE(shape.width, 0);
  header.writeUInt32BE(shape.height, 4);
  header[8] = 8;
  header[9] = shape.channels === 1 ? COLOR_GRAY : COLOR_RGB;
  const small = shape.height * shape.width <= UNFILTERED_PIXELS_MAX;
  const rows = Buffer.alloc(shape.height * (stride + 1));
  for (let y = 0; y < shape.height; y += 1) {
    const to = y * (stride + 1);
    if (small) rows.set(pixels.subarray(y * stride, (y + 1) * stride), to + 1);
    else filterRow(pixels, y, stride, shape.channels, rows, to);
  }
  return Buffer.concat([SIGNATURE, chunk('IHDR', header), chunk('IDAT', deflateSync(rows, small ? SMALL : LARGE)), chunk('IEND', Buffer.alloc(0))]);
}

/** Writes row `y` with filter 4. */
function filterRow(pixels: Uint8Array, y: number, stride: number, pixelBytes: number, rows: Uint8Array, to: number): void {
  rows[to] = 4;
  const from = y * stride;
  for (let x = 0; x < stride; x += 1) {
    const left = x < pixelBytes ? 0 : (pixels[from + x - pixelBytes] ?? 0);
    const up = y === 0 ? 0 : (pixels[from + x - stride] ?? 0);
    const upLeft = x < pixelBytes || y === 0 ? 0 : (pixels[from + x - stride - pixelBytes] ?? 0);
    rows[to + 1 + x] = (pixels[from + x] ?? 0) - paeth(left, up, upLeft);
  }
}

/**
 * The pixels `[height, width, channels]` of an 8-bit gray or RGB PNG that is not interlaced; undefined for any other
 * image, which this decoder leaves to another.
 * @throws PngError where the file is such a PNG, but damaged.
 */
export function decodePng(bytes: Uint8Array): { pixels: Uint8Array; shape: ImageShape } | undefined {
  const file = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (file.byteLength < SIGNATURE.byteLength || !file.subarray(0, SIGNATURE.byteLength).equals(SIGNATURE)) return undefined;
  let shape: ImageShape | undefined;
  const data: Buffer[] = [];
  for (let at = SIGNATURE.byteLength; ;) {
    if (at + CHUNK_FRAME_BYTES > file.byteLength) throw new PngError(`ends at byte ${file.byteLength}, before its end`);
    const length = file.readUInt32BE(at);
    const end = at + CHUNK_FRAME_BYTES + length;
    if (end > file.byteLength) throw new PngError(`ends at byte ${file.byteLength}, within a chunk`);
    const type = file.toString('latin1', at + 4, at + 8);
    if (crc32(file.subarray(at + 4, end - 4)) !== file.readUInt32BE(end - 4)) throw new PngError(`has a wrong checksum in chunk ${JSON.stringify(type)} at byte ${at}`);
    const content = file.subarray(at + 8, end - 4);
    if (type === 'IHDR' && content.byteLength === HEADER_BYTES) {
      const [depth, color, , , interlace] = content.subarray(8);
      if (depth !== 8 || interlace !== 0 || (color !== COLOR_GRAY && color !== COLOR_RGB)) return undefined;
      shape = { width: content.readUInt32BE(0), height: content.readUInt32BE(4), channels: color === COLOR_GRAY ? 1 : 3 };
    }
    // Transparency, and color spaces that a general decoder converts.
    if (type === 'tRNS' || type === 'iCCP') return undefined;
    if (type === 'IDAT') data.push(content);
    if (type === 'IEND') break;
    at = end;
  }
  if (shape === undefined) throw new PngError('has no header');
  const { height, width, channels } = shape;
  const stride = width * channels;
  const expected = height * (stride + 1);
  if (height === 0 || width === 0 || expected > PIXEL_BYTES_MAX) throw new PngError(`says it is ${width} x ${height}`);
  const [first] = data;
  let rows: Buffer;
  try {
    // The size of the chunk that zlib allocates is most of what a small image costs.
    rows = inflateSync(data.length === 1 && first !== undefined ? first : Buffer.concat(data), { chunkSize: Math.max(64, expected + 1), maxOutputLength: expected + 1 });
  } catch (thrown) {
    throw new PngError('has damaged pixel data', { cause: thrown });
  }
  if (rows.byteLength !== expected) throw new PngError(`has ${rows.byteLength} bytes of pixel data where ${expected} are expected`);
  return { pixels: unfilter(rows, height, stride, channels), shape };
}

/** Undoes the row filters. @param rows `[height, 1 + stride]`, the filter's number before each row. */
function unfilter(rows: Uint8Array, height: number, stride: number, pixelBytes: number): Uint8Array {
  const pixels = new Uint8Array(height * stride);
  for (let y = 0; y < height; y += 1) {
    const from = y * (stride + 1) + 1;
    const to = y * stride;
    const filter = rows[from - 1];
    if (filter === 0) {
      pixels.set(rows.subarray(from, from + stride), to);
      continue;
    }
    if (filter === undefined || filter > 4) throw new PngError(`names filter ${filter}, which does not exist`);
    for (let x = 0; x < stride; x += 1) {
      const left = x < pixelBytes ? 0 : (pixels[to + x - pixelBytes] ?? 0);
      const up = y === 0 ? 0 : (pixels[to + x - stride] ?? 0);
      const upLeft = x < pixelBytes || y === 0 ? 0 : (pixels[to + x - stride - pixelBytes] ?? 0);
      const predicted = filter === 1 ? left : filter === 2 ? up : filter === 3 ? (left + up) >> 1 : paeth(left, up, upLeft);
      pixels[to + x] = (rows[from + x] ?? 0) + predicted;
    }
  }
  return pixels;
}

function paeth(left: number, up: number, upLeft: number): number {
  const estimate = left + up - upLeft;
  const [byLeft, byUp, byUpLeft] = [Math.abs(estimate - left), Math.abs(estimate - up), Math.abs(estimate - upLeft)];
  return byLeft <= byUp && byLeft <= byUpLeft ? left : byUp <= byUpLeft ? up : upLeft;
}
