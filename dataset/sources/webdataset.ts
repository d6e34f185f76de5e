/**
 * Existing WebDataset tars: entries that share a key (the path up to the first dot of its last part) are one sample, an
 * image (.png, .jpg, .jpeg) with a label beside it: `.cls` (an index or a class's name) or `.json` (a field `label`,
 * `class` or `cls`). Samples without a label are unlabeled. Other extensions are passed over.
 */
import { open } from 'node:fs/promises';
import { basename } from 'node:path';
import { AlumnusError } from '../../proto/errors.ts';
import type { SourceLabel } from '../classes.ts';
import { imageExtension, type ImageExtension } from '../images.ts';
import { readTar, type ByteSource, type TarEntry } from '../tar.ts';
import { unreadable } from './idx-format.ts';
import { ownDataDefaults, type Pool, type Source, type SourceSample } from './source.ts';

export interface WebDatasetFiles {
  readonly shards: readonly string[];
  readonly test?: readonly string[] | undefined;
  readonly unlabeled?: readonly string[] | undefined;
}

/** Reads ahead by this, so that small entries do not cost a system call each. */
const WINDOW_BYTES = 4 * 1024 * 1024;

/** A key that leads out of its archive is harmless here, since nothing is extracted, but says the archive is crafted. */
const climbs = (name: string): boolean => name.startsWith('/') || name.split('/').includes('..') || /[\p{Cc}\\]/u.test(name);

async function* entries(path: string): AsyncIterable<TarEntry> {
  let file;
  try {
    file = await open(path, 'r');
  } catch (thrown) {
    throw unreadable(path, `the file cannot be read: ${thrown instanceof Error ? thrown.message : String(thrown)}`, thrown);
  }
  let window = Buffer.alloc(0);
  let windowStart = 0;
  const source: ByteSource = {
    async read(start, end) {
      if (start < windowStart || end > windowStart + window.byteLength) {
        // A new buffer each time: entries handed out keep their window.
        const next = Buffer.allocUnsafe(Math.max(WINDOW_BYTES, end - start));
        let filled = 0;
        for (let last = -1; filled < next.byteLength && last !== 0; filled += last) last = (await file.read(next, filled, next.byteLength - filled, start + filled)).bytesRead;
        window = next.subarray(0, filled);
        windowStart = start;
      }
      return window.subarray(start - windowStart, end - windowStart);
    },
  };
  try {
    yield* readTar(source, path);
  } finally {
    await file.close();
  }
}

function labelOf(entry: TarEntry, extension: string, where: string): SourceLabel | undefined {
  const content = Buffer.from(entry.bytes).toString('utf8').trim();
  const corrupt = (reason: string): AlumnusError => new AlumnusError('SHARD_CORRUPT', `the label ${JSON.stringify(entry.name)} ${reason}`, { where });
  if (extension === 'cls') {
    if (content === '') throw corrupt('is empty');
    return /^-?\d+$/.test(content) ? Number(content) : content;
  }
  let value: unknown;
  try {
    value = JSON.parse(content);
  } catch {
    throw corrupt('is not JSON');
  }
  if (typeof value === 'number' || typeof value === 'string') return value;
  if (typeof value !== 'object' || value === null) return undefined;
  const fields: Record<string, unknown> = { ...value };
  const found = fields['label'] ?? fields['class'] ?? fields['cls'];
  return typeof found === 'number' || typeof found === 'string' ? found : undefined;
}

export interface WebDatasetSample {
  /** The entries' path up to the first dot of its last part. */
  readonly key: string;
  readonly image: { readonly encoded: Uint8Array; readonly extension: ImageExtension };
  readonly label: SourceLabel | undefined;
}

/**
 * The samples of an archive that have an image, in its order. @param where names the archive in errors
 * @param labeled whether labels are read at all: beside images that are taken without, they may be of any form
 * @throws AlumnusError SHARD_CORRUPT
 */
export async function* samplesIn(archive: AsyncIterable<TarEntry>, where: string, labeled: boolean): AsyncIterable<WebDatasetSample> {
  let key: string | undefined;
  let image: WebDatasetSample['image'] | undefined;
  let label: SourceLabel | undefined;
  function* finished(): Iterable<WebDatasetSample> {
    if (key !== undefined && image !== undefined) yield { key, image, label };
  }
  for await (const entry of archive) {
    if (climbs(entry.name)) throw new AlumnusError('SHARD_CORRUPT', `the entry ${JSON.stringify(entry.name)} at byte ${entry.offset} leads out of the archive`, { where });
    const [, own = '', extension = ''] = /^((?:.*\/)?[^/.]*)\.([^/]*)$/.exec(entry.name) ?? [];
    if (own !== key) {
      yield* finished();
      [key, image, label] = [own, undefined, undefined];
    }
    const kind = imageExtension(entry.name);
    // Of `k.jpg` and `k.mask.png` the first is the image, whatever their order; alone, `k.seg.png` is.
    if (kind !== undefined && image !== undefined && extension.includes('.')) continue;
    if (kind !== undefined) image = { encoded: entry.bytes, extension: kind };
    else if (labeled && (extension === 'cls' || extension === 'json')) label = labelOf(entry, extension, where) ?? label;
  }
  yield* finished();
}

async function* samplesOf(path: string, pool: Pool): AsyncIterable<SourceSample> {
  for await (const { key, image, label } of samplesIn(entries(path), path, pool !== 'unlabeled')) {
    const origin = `${basename(path)}/${key}`;
    yield label === undefined ? { origin, pool: 'unlabeled', image } : { origin, pool, label, image };
  }
}

export function webDatasetSource(files: WebDatasetFiles): Source {
  if (files.shards.length === 0) throw new AlumnusError('DATASET_SOURCE_UNREADABLE', 'no tar file was named', { where: 'webdataset' });
  return {
    name: `webdataset:${basename(files.shards[0] ?? '')}${files.shards.length > 1 ? ` and ${files.shards.length - 1} more` : ''}`,
    defaults: ownDataDefaults,
    notes: [],
    async *samples() {
      for (const path of files.shards) yield* samplesOf(path, 'train');
      for (const path of files.test ?? []) yield* samplesOf(path, 'test');
      for (const path of files.unlabeled ?? []) yield* samplesOf(path, 'unlabeled');
    },
  };
}
