/**
 * Folders of PNG and JPEG files. Sub-folders name classes; a flat folder is unlabeled. What is hidden (a name that
 * begins with a dot) and files that are no images are passed over and counted; a link is followed as the system does.
 */
import { readdir, readFile, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { AlumnusError } from '../../proto/errors.ts';
import { imageExtension } from '../images.ts';
import { ENTRY_BYTES_MAX } from '../tar.ts';
import { unreadable } from './idx-format.ts';
import { ownDataDefaults, type Pool, type Source, type SourceSample } from './source.ts';

export interface Folders {
  /** Class sub-folders, or a flat folder of unlabeled images. */
  readonly path: string;
  /** Class sub-folders of the test split. */
  readonly test?: string | undefined;
  /** A flat folder of unlabeled images. */
  readonly unlabeled?: string | undefined;
}

interface Listing {
  readonly folders: string[];
  readonly images: string[];
  readonly others: number;
}

const isFolder = async (path: string): Promise<boolean> => (await stat(path)).isDirectory();

async function listing(path: string): Promise<Listing> {
  const folders: string[] = [];
  const images: string[] = [];
  let others = 0;
  try {
    for (const name of (await readdir(path)).sort()) {
      if (name.startsWith('.')) continue;
      if (imageExtension(name) !== undefined) images.push(name);
      else if (await isFolder(join(path, name))) folders.push(name);
      else others += 1;
    }
  } catch (thrown) {
    throw unreadable(path, `the folder cannot be read: ${thrown instanceof Error ? thrown.message : String(thrown)}`, thrown);
  }
  return { folders, images, others };
}

async function image(path: string, name: string): Promise<SourceSample['image']> {
  const extension = imageExtension(name);
  if (extension === undefined) throw new Error('invariant broken: only images are read');
  let encoded: Uint8Array;
  try {
    const { size } = await stat(path);
    if (size > ENTRY_BYTES_MAX) throw new AlumnusError('IMAGE_CORRUPT', `the image has ${size} bytes, more than ${ENTRY_BYTES_MAX}`, { where: path });
    encoded = await readFile(path);
  } catch (thrown) {
    if (thrown instanceof AlumnusError) throw thrown;
    throw unreadable(path, `the file cannot be read: ${thrown instanceof Error ? thrown.message : String(thrown)}`, thrown);
  }
  return { encoded, extension };
}

export async function folderSource(folders: Folders): Promise<Source> {
  const root = await listing(folders.path);
  const notes: string[] = [];
  if (root.folders.length > 0 && root.images.length > 0) throw unreadable(folders.path, `the folder holds ${root.images.length} images beside ${root.folders.length} class folders: put them in a class folder, or in a folder of their own`);
  if (root.folders.length === 0 && root.images.length === 0) throw unreadable(folders.path, 'the folder holds neither class folders nor PNG or JPEG images');
  const count = (others: number, path: string): void => { if (others > 0) notes.push(`${others} entries of ${path} that are neither PNG nor JPEG were passed over`); };

  async function* labeled(path: string, pool: Pool): AsyncIterable<SourceSample> {
    const own = await listing(path);
    count(own.others, path);
    for (const label of own.folders) {
      const inside = await listing(join(path, label));
      count(inside.others + inside.folders.length, join(path, label));
      for (const name of inside.images) yield { origin: `${label}/${name}`, pool, label, image: await image(join(path, label, name), name) };
    }
  }
  async function* flat(path: string): AsyncIterable<SourceSample> {
    const own = await listing(path);
    count(own.others + own.folders.length, path);
    for (const name of own.images) yield { origin: name, pool: 'unlabeled', image: await image(join(path, name), name) };
  }
  return {
    name: `folder:${basename(folders.path)}`,
    defaults: ownDataDefaults,
    notes,
    ...(root.folders.length === 0 ? {} : { classes: root.folders }),
    async *samples() {
      if (root.folders.length === 0) yield* flat(folders.path);
      else yield* labeled(folders.path, 'train');
      if (folders.test !== undefined) yield* labeled(folders.test, 'test');
      if (folders.unlabeled !== undefined) yield* flat(folders.unlabeled);
    },
  };
}
