/**
 * Images: encoded bytes to pixels `[height, width, channels]` and, at import, to the dataset's own shape.
 * Plain PNGs and JPEGs take the fast ways (png.ts, jpeg.ts); every other kind of either goes through sharp.
 */
import sharp from 'sharp';
import { AlumnusError } from '../proto/errors.ts';
import { decodeJpeg } from './jpeg.ts';
import type { ImageShape } from './manifest.ts';
import { decodePng, encodePng, PngError } from './png.ts';

export type ImageExtension = 'png' | 'jpg';

/** The extension an image is stored under; undefined for a file that is none we read. */
export function imageExtension(name: string): ImageExtension | undefined {
  if (/\.png$/i.test(name)) return 'png';
  return /\.jpe?g$/i.test(name) ? 'jpg' : undefined;
}

interface Decoded {
  readonly pixels: Uint8Array;
  readonly shape: ImageShape;
}

const same = (a: ImageShape, b: ImageShape): boolean => a.height === b.height && a.width === b.width && a.channels === b.channels;
const corrupt = (where: string, reason: string, cause: unknown): AlumnusError => new AlumnusError('IMAGE_CORRUPT', `the image ${reason}`, { where, cause });
const firstLine = (thrown: unknown): string => (thrown instanceof Error ? thrown.message : String(thrown)).split('\n')[0]?.trim() ?? '';

/**
 * Every image is decoded once, and several at the same time: a cache of operations and threads within one image cost more than
 * they bring.
 */
sharp.cache(false);
sharp.concurrency(1);

/** `failOn: 'truncated'`: a damaged image is an error, not half a picture over gray. */
const open = (bytes: Uint8Array) => sharp(bytes, { failOn: 'truncated' }).rotate();

/** Undefined for what sharp must decode. */
async function decodePlain(bytes: Uint8Array, where: string): Promise<Decoded | undefined> {
  try {
    return decodePng(bytes) ?? (await decodeJpeg(bytes));
  } catch (thrown) {
    if (thrown instanceof PngError) throw corrupt(where, thrown.message, thrown);
    throw thrown;
  }
}

async function decodeAs(bytes: Uint8Array, shape: ImageShape | undefined, where: string): Promise<Decoded> {
  const plain = await decodePlain(bytes, where);
  return plain !== undefined && (shape === undefined || same(plain.shape, shape)) ? plain : decodeBySharp(bytes, { resize: shape, channels: shape?.channels }, where);
}

/** Without `channels`, as many as the image has: 1 for gray, 3 for everything else. */
async function decodeBySharp(bytes: Uint8Array, options: { readonly resize?: ImageShape | undefined; readonly channels?: 1 | 3 | undefined }, where: string): Promise<Decoded> {
  try {
    let image = open(bytes);
    const channels = options.channels ?? ((await image.metadata()).channels === 1 ? 1 : 3);
    if (options.resize !== undefined) image = image.resize(options.resize.width, options.resize.height, { fit: 'fill' });
    image = image.removeAlpha().toColorspace(channels === 1 ? 'b-w' : 'srgb');
    const { data, info } = await image.raw({ depth: 'uchar' }).toBuffer({ resolveWithObject: true });
    if (info.channels !== channels) throw new Error(`decodes to ${info.channels} channels where ${channels} are expected`);
    return { pixels: data, shape: { height: info.height, width: info.width, channels } };
  } catch (thrown) {
    throw corrupt(where, `cannot be decoded: ${firstLine(thrown)}`, thrown);
  }
}

/**
 * Pixels `[height, width, channels]` of a stored image.
 * @param where names the image in the error.
 * @throws AlumnusError IMAGE_CORRUPT where it is damaged, or not of the dataset's shape.
 */
export async function decodeImage(bytes: Uint8Array, shape: ImageShape, where = 'image'): Promise<Uint8Array> {
  // In one pass: asking for an image's own channels first takes nearly as long as decoding it.
  const decoded = (await decodePlain(bytes, where)) ?? (await decodeBySharp(bytes, { channels: shape.channels }, where));
  if (decoded.shape.height !== shape.height || decoded.shape.width !== shape.width) {
    throw corrupt(where, `is ${decoded.shape.width} x ${decoded.shape.height} where the dataset's are ${shape.width} x ${shape.height}`, undefined);
  }
  return decoded.shape.channels === shape.channels ? decoded.pixels : (await decodeBySharp(bytes, { channels: shape.channels }, where)).pixels;
}

/** Pixels `[height, width, channels]` of an image of any shape, brought to this one as import does. @throws AlumnusError IMAGE_CORRUPT */
export const resizedImage = async (bytes: Uint8Array, shape: ImageShape, where: string): Promise<Uint8Array> => (await decodeAs(bytes, shape, where)).pixels;

/** The shape an image has by itself: 1 channel for gray, 3 for everything else. @throws AlumnusError IMAGE_CORRUPT */
export async function shapeOf(bytes: Uint8Array, where: string): Promise<ImageShape> {
  return (await decodeAs(bytes, undefined, where)).shape;
}

/**
 * An image as a shard stores it: its own bytes where they have the dataset's shape, else resized (Lanczos 3, aspect not
 * kept), with alpha removed and orientation applied, as PNG. `resized` says which.
 * @throws AlumnusError IMAGE_CORRUPT
 */
export async function conformImage(bytes: Uint8Array, extension: ImageExtension, shape: ImageShape, where: string): Promise<{ bytes: Uint8Array; extension: ImageExtension; pixels: Uint8Array; resized: boolean }> {
  const decoded = await decodeAs(bytes, undefined, where);
  if (same(decoded.shape, shape)) return { bytes, extension, pixels: decoded.pixels, resized: false };
  const { pixels } = await decodeAs(bytes, shape, where);
  return { bytes: encodePng(pixels, shape), extension: 'png', pixels, resized: true };
}

export { encodePng };
