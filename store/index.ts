/** The public door of `store`: immutable objects by digest, the paths of all we keep, and how their digests are made. */
import { fileURLToPath } from 'node:url';
import { AlumnusError } from '../proto/errors.ts';
import { DirectoryStore } from './directory.ts';
import type { ObjectReader, ObjectStore } from './object-store.ts';

export { canonicalJson } from '../proto/canonical.ts';
export { sha256, sha256Stream } from './digest.ts';
export { DirectoryStore, type DirectoryStoreOptions, type FileSystem } from './directory.ts';
export { checkKey } from './keys.ts';
export type { ObjectReader, ObjectRef, ObjectStore, PutOptions } from './object-store.ts';
export { observedStore, type OnOperation, type StoreOperation } from './observed.ts';
export { datasetOfManifest, paths, type PartName } from './paths.ts';

/**
 * @param url `file:///absolute/folder`, or `s3://bucket/prefix?endpoint=https://host:port&region=us-east-1&addressing=path` (docs/storage.md);
 *   the keys of the latter are in the environment
 * @param options `create`: whether a folder that is missing is made (default true); who only reads says false
 * @throws AlumnusError USAGE for any other; STORE_NOT_FOUND, STORE_UNWRITABLE, STORE_FULL; BUCKET_NOT_FOUND, STORE_DENIED, STORE_UNREACHABLE, STORE_CLOCK_SKEWED, STORE_UNTRUSTED
 */
export async function openStore(url: string, options: { readonly create?: boolean } = {}): Promise<ObjectStore> {
  return url.startsWith('s3://') ? openBucket(url) : DirectoryStore.open(folderOf(url), options);
}

/**
 * A place that is read and never written, where keys are paths below it: a plain folder, or any prefix of any bucket that the
 * environment's keys may read. @param url as for `openStore`
 * @throws AlumnusError as `openStore`; OBJECT_NOT_FOUND where a folder is not there
 */
export async function openPlace(url: string): Promise<ObjectReader> {
  return url.startsWith('s3://') ? openBucket(url) : DirectoryStore.openFolder(folderOf(url));
}

async function openBucket(url: string): Promise<ObjectStore> {
  // The client and what it needs are loaded by those who use it.
  const { openS3Store } = await import('./s3/index.ts');
  return openS3Store(url, process.env);
}

function folderOf(url: string): string {
  if (!url.startsWith('file:///')) throw new AlumnusError('USAGE', 'a store is named by a URL: write file:///path or s3://bucket/prefix?endpoint=https://host:port', { where: url });
  let root: string;
  try {
    root = fileURLToPath(url);
  } catch (thrown) {
    throw new AlumnusError('USAGE', 'the store\'s URL is not that of a folder', { where: url, cause: thrown });
  }
  return root.length > 1 ? root.replace(/\/+$/, '') : root;
}
