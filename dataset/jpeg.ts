/**
 * JPEG for what a shard mostly holds: 8-bit gray or YCbCr without a profile or an orientation. libjpeg-turbo as WebAssembly: the
 * same library that sharp has, and the same pixels to the bit, at a seventh of the processor time for one of 64 x 64, since sharp builds a
 * pipeline for each. Everything else JPEG can be, and every image that does not decode, is left to sharp (images.ts).
 * Source: ITU-T T.81, annex B (markers).
 */
import load, { type Decoder } from '@cornerstonejs/codec-libjpeg-turbo-8bit/decodewasmjs';
import type { ImageShape } from './manifest.ts';

/** Beyond, the pipeline is not what counts, and the decoder's memory would not shrink again. */
const PIXELS_MAX = 2048 * 2048;
const [SOF_BASELINE, SOF_PROGRESSIVE, DHT, SOI, SOS, DQT, DRI, APP0, COM] = [0xc0, 0xc2, 0xc4, 0xd8, 0xda, 0xdb, 0xdd, 0xe0, 0xfe];
const PLAIN: ReadonlySet<number | undefined> = new Set([SOF_BASELINE, SOF_PROGRESSIVE, DHT, DQT, DRI, APP0, COM]);

let loading: Promise<new () => Decoder> | undefined;
let decoder: Decoder | undefined;

/** Undefined for an image that this decoder leaves to another: any marker that could change what pixels mean. */
function plainShape(bytes: Uint8Array): ImageShape | undefined {
  const file = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (file.byteLength < 4 || file[0] !== 0xff || file[1] !== SOI) return undefined;
  let shape: ImageShape | undefined;
  for (let at = 2; at + 4 <= file.byteLength && file[at] === 0xff;) {
    const marker = file[at + 1];
    if (marker === SOS) return shape;
    if (!PLAIN.has(marker)) return undefined;
    if (marker === SOF_BASELINE || marker === SOF_PROGRESSIVE) {
      if (shape !== undefined || at + 10 > file.byteLength || file[at + 4] !== 8) return undefined;
      const [height, width, components] = [file.readUInt16BE(at + 5), file.readUInt16BE(at + 7), file[at + 9]];
      if ((components !== 1 && components !== 3) || height * width === 0 || height * width > PIXELS_MAX) return undefined;
      shape = { height, width, channels: components };
    }
    at += 2 + file.readUInt16BE(at + 2);
  }
  return undefined;
}

/** The pixels `[height, width, channels]` of a plain JPEG; undefined where another decoder must say what it is, or what is wrong with it. */
export async function decodeJpeg(bytes: Uint8Array): Promise<{ pixels: Uint8Array; shape: ImageShape } | undefined> {
  const shape = plainShape(bytes);
  if (shape === undefined) return undefined;
  loading ??= load().then(({ JPEGDecoder }) => JPEGDecoder);
  const Jpeg = await loading;
  // From here on without a pause: there is one decoder, and images that are decoded at the same time share it.
  decoder ??= new Jpeg();
  try {
    decoder.getEncodedBuffer(bytes.byteLength).set(bytes);
    decoder.decode();
    const { width, height, componentCount } = decoder.getFrameInfo();
    const pixels = new Uint8Array(decoder.getDecodedBuffer());
    return width === shape.width && height === shape.height && componentCount === shape.channels && pixels.length === width * height * componentCount ? { pixels, shape } : undefined;
  } catch {
    decoder.delete();
    decoder = undefined;
    return undefined;
  }
}
