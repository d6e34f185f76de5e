/**
 * Registered shards: WebDataset tars of somebody else's, read where they lie. Their samples get keys of ours, and their
 * images the dataset's shape on reading. Not for: finding and counting them (register.ts).
 * Invariants:
 *  1. Keys are a function of the tar's bytes: no two tars share one, whatever their entries and the shards are called.
 *  2. Nothing of a tar is handed out before its digest was checked, as with shards of ours.
 */
import { AlumnusError, toAlumnusError } from '../proto/errors.ts';
import { openPlace, sha256, type ObjectReader, type ObjectRef, type ObjectStore } from '../store/index.ts';
import { decodeImage, resizedImage } from './images.ts';
import type { DatasetShard, ImageShape } from './manifest.ts';
import { isSampleKey, readShard, SHARD_BYTES_MAX, type ShardSample } from './shards.ts';
import { samplesIn } from './sources/webdataset.ts';
import { bufferSource, readTar } from './tar.ts';

/** Of the tar's digest, so many hex digits begin each key: 48 bits. */
const TAR_DIGITS = 12;
/** Of an entry's name that cannot be part of a key. */
const NAME_DIGITS = 20;

const places = new Map<string, Promise<ObjectReader>>();

/** What reads a place; each is opened once a process. @throws AlumnusError as `openPlace` */
export function readerAt(location: string): Promise<ObjectReader> {
  const known = places.get(location);
  if (known !== undefined) return known;
  const opened = openPlace(location);
  places.set(location, opened);
  opened.catch(() => places.delete(location));
  return opened;
}

/** The key of a sample: `<12 digits of the tar's digest>_<its own>`, where its own may stand in a key, else of its own's digest. */
export function registeredKey(tarSha256: string, own: string): string {
  const key = `${tarSha256.slice(0, TAR_DIGITS)}_${own}`;
  return isSampleKey(key) ? key : `${tarSha256.slice(0, TAR_DIGITS)}_${sha256(own).slice(0, NAME_DIGITS)}`;
}

/** An object at a place as a person finds it: without the URL's parameters. */
export const placedName = (location: string, key: string): string => `${location.replace(/\?.*$/s, '')}/${key}`;

/** A shard as manifests and tasks name it. */
export interface PlacedShard {
  readonly ref: ObjectRef;
  readonly location?: string | undefined;
}

/**
 * The samples of a shard of ours or a registered one, in its order.
 * @throws AlumnusError OBJECT_NOT_FOUND, DIGEST_MISMATCH, SHARD_CORRUPT; as `openPlace`
 */
export async function* shardSamples(store: ObjectStore, { ref, location }: PlacedShard): AsyncIterable<ShardSample> {
  if (location === undefined) {
    yield* readShard(store, ref);
    return;
  }
  const where = placedName(location, ref.key);
  if (ref.bytes > SHARD_BYTES_MAX) throw new AlumnusError('SHARD_CORRUPT', `the tar has ${ref.bytes} bytes, more than ${SHARD_BYTES_MAX}`, { where });
  const content = await (await readerAt(location)).get(ref).catch((thrown: unknown) => {
    const { code, message, cause } = toAlumnusError(thrown, where);
    throw new AlumnusError(code, message, { where, cause });
  });
  for await (const { key, image } of samplesIn(readTar(bufferSource(content), where), where, false)) {
    yield { key: registeredKey(ref.sha256, key), extension: image.extension, bytes: image.encoded };
  }
}

/** Pixels `[height, width, channels]` of a shard's sample. Images of registered shards have any shape and get the dataset's. @throws AlumnusError IMAGE_CORRUPT */
export const samplePixels = ({ location }: Pick<DatasetShard, 'location'>, bytes: Uint8Array, shape: ImageShape, where: string): Promise<Uint8Array> =>
  location === undefined ? decodeImage(bytes, shape, where) : resizedImage(bytes, shape, where);
