/** The public door of `store`: immutable objects by digest, the paths of all we keep, and how their digests are made. */
import { fileURLToPath } from 'node:url';
import { AlumnusError } from '../proto/errors.ts';
import { DirectoryStore } from './directory.ts';
import type { ObjectStore } from './object-store.ts';

export { canonicalJson } from '../proto/canonical.ts';
export { sha256 } from './digest.ts';
export { DirectoryStore, type DirectoryStoreOptions, type FileSystem } from './directory.ts';
export { checkKey } from './keys.ts';
export type { ObjectRef, ObjectStore, PutOptions } from './object-store.ts';
export { datasetOfManifest, paths, type PartName } from './paths.ts';

/** @param url `file:///absolute/folder`. @throws AlumnusError USAGE for any other, STORE_UNWRITABLE, STORE_FULL */
export async function openStore(url: string): Promise<ObjectStore> {
  if (url.startsWith('s3://')) throw new AlumnusError('USAGE', 'this release keeps objects in a folder; stores of the S3 kind come with a later one: write file:///path', { where: url });
  if (!url.startsWith('file:///')) throw new AlumnusError('USAGE', 'a store is named by a URL: write file:///path', { where: url });
  let root: string;
  try {
    root = fileURLToPath(url);
  } catch (thrown) {
    throw new AlumnusError('USAGE', 'the store\'s URL is not that of a folder', { where: url, cause: thrown });
  }
  return DirectoryStore.open(root.length > 1 ? root.replace(/\/+$/, '') : root);
}
