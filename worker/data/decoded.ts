/**
 * Shards as pixels, piece by piece: downloaded, decoded on other threads some pieces ahead, and kept decoded on the worker's
 * own disk by the shard's digest, since every round labels the same shards. That is a cache and nothing more: whatever is
 * wrong with an entry, the shard is decoded again.
 * Invariant: what is ahead of its reader is bounded in bytes; a shard is never held decoded as a whole unless `decodedShard` is asked for it.
 */
import { shardSamples, type ImageShape, type ShardSample } from '../../dataset/index.ts';
import { AlumnusError } from '../../proto/errors.ts';
import type { ShardRef } from '../../proto/gen/alumnus/v1/task.ts';
import type { ObjectStore } from '../../store/index.ts';
import { ahead } from './ahead.ts';
import { CacheDraft, CacheEntry, entryPath } from './cache.ts';
import { decoders } from './decoders.ts';

/** Consecutive samples of a shard, or the whole of it. */
export interface DecodedShard {
  readonly keys: readonly string[];
  /** `[keys, height, width, channels]` */
  readonly images: Uint8Array;
}

export interface Reading {
  readonly store: ObjectStore;
  readonly shape: ImageShape;
  /** The model takes another size than the dataset has: images get `shape`, whatever size they are of. Default: another size is an error, but where a shard was registered. */
  readonly resize?: boolean | undefined;
  /** Empty: no cache. */
  readonly cacheFolder: string;
  readonly signal: AbortSignal;
  /** Decoded bytes that may be ready before they are asked for; default READ_AHEAD_BYTES. */
  readonly readAheadBytes?: number;
}

/** Three tasks may read at the same time; well within the memory of a machine that has a device. */
export const READ_AHEAD_BYTES = 256 * 1024 ** 2;
/** A piece is one job of a decoding thread: some milliseconds of work, far above the cost of handing it over. */
const PIECE_BYTES = 512 * 1024;

export const imageBytes = ({ height, width, channels }: ImageShape): number => height * width * channels;
/** Whether images of a shard are brought to the shape that is read, instead of being of it. */
export const resizes = ({ resize }: Pick<Reading, 'resize'>, { location }: Pick<ShardRef, 'location'>): boolean => resize === true || location !== undefined;
const rowsOfPiece = (shape: ImageShape): number => Math.max(1, Math.floor(PIECE_BYTES / imageBytes(shape)));
/** Pieces that may be ready before they are asked for. */
export const piecesAhead = ({ shape, readAheadBytes }: Reading): number => Math.max(2, Math.floor((readAheadBytes ?? READ_AHEAD_BYTES) / (rowsOfPiece(shape) * imageBytes(shape))));

/**
 * The samples of a shard in its order.
 * @throws AlumnusError OBJECT_NOT_FOUND, DIGEST_MISMATCH, SHARD_CORRUPT, IMAGE_CORRUPT: the shard by name, and what is wrong with it; the signal's reason
 */
export async function* decodedPieces(reading: Reading, shard: ShardRef): AsyncGenerator<DecodedShard, void, undefined> {
  const { shape, cacheFolder } = reading;
  if (shard.ref === undefined) throw new AlumnusError('SHARD_CORRUPT', 'the task names no object for the shard', { where: shard.name });
  const path = entryPath(cacheFolder, shard, shape);
  let rows = 0;
  const entry = path === undefined ? undefined : await CacheEntry.open(path, shard.samples, imageBytes(shape));
  if (entry !== undefined) {
    try {
      for await (const piece of ahead(entry.pieces(), piecesAhead(reading), reading.signal, (index) => entry.read(index))) {
        if (piece === undefined) break;
        rows += piece.keys.length;
        yield piece;
      }
    } finally {
      await entry.close();
    }
    if (rows === shard.samples) return;
  }
  // What was given from a damaged entry was whole: the rest follows from the store.
  const draft = path === undefined || rows > 0 ? undefined : new CacheDraft(cacheFolder, path, rowsOfPiece(shape));
  let skip = rows;
  try {
    for await (const piece of fromStore(reading, shard)) {
      await draft?.add(piece);
      const fresh = skip === 0 ? piece : rowsFrom(piece, Math.min(skip, piece.keys.length), imageBytes(shape));
      skip -= piece.keys.length - fresh.keys.length;
      if (fresh.keys.length > 0) yield fresh;
    }
    await draft?.finish();
  } finally {
    await draft?.discard();
  }
}

/** The whole of a shard. @throws as `decodedPieces` */
export async function decodedShard(reading: Reading, shard: ShardRef): Promise<DecodedShard> {
  const keys: string[] = [];
  const images = new Uint8Array(shard.samples * imageBytes(reading.shape));
  for await (const piece of decodedPieces(reading, shard)) {
    images.set(piece.images, keys.length * imageBytes(reading.shape));
    for (const key of piece.keys) keys.push(key);
  }
  return { keys, images };
}

/** The same samples in batches of `rows`, the last of which may have fewer. */
export async function* inBatches(pieces: AsyncIterable<DecodedShard>, rows: number): AsyncGenerator<DecodedShard, void, undefined> {
  let keys: string[] = [];
  let images = new Uint8Array(0);
  let size = 0;
  for await (const piece of pieces) {
    for (let from = 0; from < piece.keys.length;) {
      const take = Math.min(rows - keys.length, piece.keys.length - from);
      size = piece.images.length / piece.keys.length;
      if (keys.length === 0) images = new Uint8Array(rows * size);
      images.set(piece.images.subarray(from * size, (from + take) * size), keys.length * size);
      for (const key of piece.keys.slice(from, from + take)) keys.push(key);
      from += take;
      if (keys.length < rows) continue;
      yield { keys, images };
      keys = [];
    }
  }
  if (keys.length > 0) yield { keys, images: images.subarray(0, keys.length * size) };
}

const rowsFrom = ({ keys, images }: DecodedShard, row: number, size: number): DecodedShard => ({ keys: keys.slice(row), images: images.subarray(row * size) });

async function* fromStore(reading: Reading, shard: ShardRef): AsyncGenerator<DecodedShard, void, undefined> {
  const { shape, signal } = reading;
  let rows = 0;
  const pieces = ahead(samplesOf(reading, shard), piecesAhead(reading), signal, async (samples, within) => {
    const names = samples.map(({ key, extension }) => `${shard.name}/${key}.${extension}`);
    return { keys: samples.map(({ key }) => key), images: await decoders.decode({ shape, names, images: samples.map(({ bytes }) => bytes), anyShape: samples.map(() => resizes(reading, shard)) }, within) };
  });
  for await (const piece of pieces) {
    rows += piece.keys.length;
    if (rows > shard.samples) throw new AlumnusError('SHARD_CORRUPT', `the manifest counts ${shard.samples} samples and there are more`, { where: shard.name });
    yield piece;
  }
  if (rows !== shard.samples) throw new AlumnusError('SHARD_CORRUPT', `the manifest counts ${shard.samples} samples and there are ${rows}`, { where: shard.name });
}

async function* samplesOf({ store, shape }: Reading, shard: ShardRef): AsyncGenerator<ShardSample[], void, undefined> {
  if (shard.ref === undefined) return;
  let samples: ShardSample[] = [];
  for await (const sample of shardSamples(store, { ref: shard.ref, location: shard.location })) {
    samples.push(sample);
    if (samples.length < rowsOfPiece(shape)) continue;
    yield samples;
    samples = [];
  }
  if (samples.length > 0) yield samples;
}
