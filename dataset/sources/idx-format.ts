/**
 * IDX files, the format of MNIST and its kin: a magic number, the sizes, then unsigned bytes; gzipped or not.
 * Source: the format's description beside the MNIST database (magic 0x00000800 + dimensions, sizes big-endian).
 */
import { readFile, stat } from 'node:fs/promises';
import { gunzipSync } from 'node:zlib';
import { AlumnusError } from '../../proto/errors.ts';

const UNSIGNED_BYTE = 0x08;
/** A file is read whole; MNIST's largest has 45 MiB. */
const FILE_BYTES_MAX = 2 ** 31 - 1;

export interface Idx {
  /** `[samples]` of labels, `[samples, height, width]` or `[samples, height, width, channels]` of images. */
  readonly sizes: readonly number[];
  readonly data: Uint8Array;
}

export const unreadable = (where: string, reason: string, cause?: unknown): AlumnusError => new AlumnusError('DATASET_SOURCE_UNREADABLE', reason, { where, cause });

/** @throws AlumnusError DATASET_SOURCE_UNREADABLE naming the file */
export async function readIdx(path: string): Promise<Idx> {
  let file: Buffer;
  try {
    const { size } = await stat(path);
    if (size > FILE_BYTES_MAX) throw unreadable(path, `the file has ${size} bytes, more than ${FILE_BYTES_MAX}`);
    file = await readFile(path);
    if (file[0] === 0x1f && file[1] === 0x8b) file = gunzipSync(file, { maxOutputLength: FILE_BYTES_MAX });
  } catch (thrown) {
    if (thrown instanceof AlumnusError) throw thrown;
    throw unreadable(path, `the file cannot be read: ${thrown instanceof Error ? thrown.message : String(thrown)}`, thrown);
  }
  const dimensions = file[3] ?? 0;
  const start = 4 + 4 * dimensions;
  if (file[0] !== 0 || file[1] !== 0 || file[2] !== UNSIGNED_BYTE || dimensions === 0 || file.byteLength < start) throw unreadable(path, 'the file is not IDX of unsigned bytes');
  const sizes = Array.from({ length: dimensions }, (_, at) => file.readUInt32BE(4 + 4 * at));
  const expected = sizes.reduce((product, size) => product * size, 1);
  const data = file.subarray(start);
  if (data.byteLength !== expected) throw unreadable(path, `the file holds ${data.byteLength} bytes after its header, which says ${expected} (${sizes.join(' x ')}): it is cut off or damaged`);
  return { sizes, data };
}
