/**
 * Decoded shards on the worker's own disk, by the shard's digest: decoding is the dearest part of labeling small images,
 * and every round reads the same shards. A cache and nothing more: whatever is wrong with an entry, the shard is decoded again.
 */
import { randomUUID } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { samplePixels, shardSamples, type ImageShape } from '../../dataset/index.ts';
import { AlumnusError } from '../../proto/errors.ts';
import type { ShardRef } from '../../proto/gen/alumnus/v1/task.ts';
import { sha256, type ObjectStore } from '../../store/index.ts';

export interface DecodedShard {
  readonly keys: readonly string[];
  /** `[keys, height, width, channels]` */
  readonly images: Uint8Array;
}

/** What one worker's cache may hold; the least recently used entries go first. */
const CACHE_BYTES_MAX = 4 * 1024 ** 3;
/** The cache is swept once in so many new entries. */
const SWEEP_EVERY = 64;
let written = 0;

/**
 * @param cacheFolder empty: no cache.
 * @throws AlumnusError OBJECT_NOT_FOUND, DIGEST_MISMATCH, SHARD_CORRUPT, IMAGE_CORRUPT: the shard by name, and what is wrong with it
 */
export async function decodedShard(store: ObjectStore, shard: ShardRef, shape: ImageShape, cacheFolder: string): Promise<DecodedShard> {
  const { ref, location } = shard;
  if (ref === undefined) throw new AlumnusError('SHARD_CORRUPT', 'the task names no object for the shard', { where: shard.name });
  // A tar of ours has other keys where somebody registers it.
  const file = cacheFolder === '' ? undefined : join(cacheFolder, `${ref.sha256}-${shape.height}x${shape.width}x${shape.channels}${location === undefined ? '' : '-registered'}`);
  const cached = file === undefined ? undefined : await readEntry(file, shape);
  if (cached !== undefined) return cached;
  const size = shape.height * shape.width * shape.channels;
  const keys: string[] = [];
  const images = new Uint8Array(shard.samples * size);
  for await (const sample of shardSamples(store, { ref, location })) {
    const pixels = await samplePixels({ location }, sample.bytes, shape, `${shard.name}/${sample.key}.${sample.extension}`);
    if (keys.length >= shard.samples) throw new AlumnusError('SHARD_CORRUPT', `the manifest counts ${shard.samples} samples and there are more`, { where: shard.name });
    images.set(pixels, keys.length * size);
    keys.push(sample.key);
  }
  if (keys.length !== shard.samples) throw new AlumnusError('SHARD_CORRUPT', `the manifest counts ${shard.samples} samples and there are ${keys.length}`, { where: shard.name });
  if (file !== undefined) await writeEntry(cacheFolder, file, { keys, images });
  return { keys, images };
}

/** An entry: sha256 of the rest (64 hex characters), a line of keys as JSON, the pixels. */
async function readEntry(file: string, shape: ImageShape): Promise<DecodedShard | undefined> {
  try {
    const bytes = await readFile(file);
    const rest = bytes.subarray(64);
    if (sha256(rest) !== bytes.toString('latin1', 0, 64)) return undefined;
    const line = rest.indexOf(10);
    const keys = JSON.parse(rest.toString('utf8', 0, line)) as string[];
    const images = new Uint8Array(rest.subarray(line + 1));
    if (images.length !== keys.length * shape.height * shape.width * shape.channels) return undefined;
    await utimes(file, new Date(), new Date());
    return { keys, images };
  } catch {
    return undefined;
  }
}

async function writeEntry(folder: string, file: string, shard: DecodedShard): Promise<void> {
  try {
    await mkdir(folder, { recursive: true });
    const rest = Buffer.concat([Buffer.from(`${JSON.stringify(shard.keys)}\n`), shard.images]);
    const temporary = `${file}.${randomUUID()}.new`;
    await writeFile(temporary, Buffer.concat([Buffer.from(sha256(rest), 'latin1'), rest]));
    await rename(temporary, file);
    written += 1;
    if (written % SWEEP_EVERY === 0) await sweep(folder);
  } catch {
    // No room, no right to write: the worker goes on without a cache.
  }
}

async function sweep(folder: string): Promise<void> {
  const names = await readdir(folder);
  const entries = await Promise.all(names.map(async (name) => ({ path: join(folder, name), info: await stat(join(folder, name)) })));
  let bytes = entries.reduce((sum, entry) => sum + entry.info.size, 0);
  for (const entry of entries.sort((a, b) => a.info.mtimeMs - b.info.mtimeMs)) {
    if (bytes <= CACHE_BYTES_MAX) return;
    await rm(entry.path, { force: true });
    bytes -= entry.info.size;
  }
}
