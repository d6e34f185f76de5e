/** The public door of the S3 engine: from a URL and an environment to a store whose bucket has answered. */
import { credentialsFrom, parseS3Url } from './location.ts';
import { S3Store, type S3StoreOptions } from './store.ts';

export { S3Store, type S3StoreOptions } from './store.ts';
export { PART_BYTES } from './upload.ts';

/** @throws AlumnusError USAGE, STORE_DENIED, BUCKET_NOT_FOUND, STORE_UNREACHABLE, STORE_CLOCK_SKEWED, STORE_UNTRUSTED */
export async function openS3Store(url: string, env: Readonly<Record<string, string | undefined>>, options: S3StoreOptions = {}): Promise<S3Store> {
  const location = parseS3Url(url);
  return S3Store.open(location, credentialsFrom(env, url), options);
}
