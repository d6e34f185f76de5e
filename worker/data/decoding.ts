/**
 * One decoding job: what goes to a thread and comes back, and the work itself, which is the same on a thread and on this one.
 * Bytes travel in one buffer that changes hands: nothing is copied between threads.
 */
import { decodeImage, resizedImage, type ImageShape } from '../../dataset/index.ts';
import { toAlumnusError, type ErrorCode } from '../../proto/errors.ts';

/** Said to a thread instead of a job: it ends when what it has is decoded. */
export const END = 'end';

export interface DecodeRequest {
  readonly id: number;
  readonly shape: ImageShape;
  /** Of each image, for errors: `<shard>/<key>.<extension>`. */
  readonly names: readonly string[];
  /** The encoded images one behind the other, and how many bytes each has. */
  readonly encoded: ArrayBuffer;
  readonly lengths: Uint32Array;
  /** Whether each may have another shape, and gets this one. */
  readonly anyShape: readonly boolean[];
}

export interface DecodeReply {
  readonly id: number;
  /** `[images, height, width, channels]`; absent where one could not be decoded: `failed` is then the first such in order. */
  readonly pixels?: ArrayBuffer;
  readonly failed?: { readonly code: ErrorCode; readonly message: string; readonly where: string };
}

/** Images that libvips decodes at the same time for one job: it has threads of its own, and small images leave them idle between. */
const AT_ONCE = 4;

export async function decodeAll({ id, shape, names, encoded, lengths, anyShape }: DecodeRequest): Promise<DecodeReply> {
  const size = shape.height * shape.width * shape.channels;
  const buffer = new ArrayBuffer(names.length * size);
  const pixels = new Uint8Array(buffer);
  const failures: { readonly at: number; readonly thrown: unknown }[] = [];
  let next = 0;
  let offset = 0;
  const line = async (): Promise<void> => {
    while (next < names.length && failures.length === 0) {
      const [at, from] = [next, offset];
      next += 1;
      offset += lengths[at] ?? 0;
      try {
        const decode = anyShape[at] === true ? resizedImage : decodeImage;
        pixels.set(await decode(new Uint8Array(encoded, from, lengths[at]), shape, names[at] ?? ''), at * size);
      } catch (thrown) {
        failures.push({ at, thrown });
      }
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, line));
  // Which of several bad images is named does not depend on which was decoded first: all before it were tried.
  const [first] = failures.sort((a, b) => a.at - b.at);
  if (first === undefined) return { id, pixels: buffer };
  const { code, message, where } = toAlumnusError(first.thrown, names[first.at]);
  return { id, failed: { code, message, where } };
}
