/** Where things lie on this machine, and which coordinator is meant, when no flag says so. */
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { AlumnusError } from '../proto/errors.ts';

type Environment = Readonly<Record<string, string | undefined>>;

export const DEFAULT_ADDRESS = '127.0.0.1:7700';

/** `--home`, else ALUMNUS_HOME, else the place that the XDG base directory specification names for user data. */
export function homeFolder(env: Environment, flag?: string): string {
  if (flag !== undefined) return resolve(flag);
  if (env['ALUMNUS_HOME']) return resolve(env['ALUMNUS_HOME']);
  return join(env['XDG_DATA_HOME'] || join(env['HOME'] || homedir(), '.local', 'share'), 'alumnus');
}

export const storeFolder = (home: string): string => join(home, 'store');

/** Begins as a URL does. A folder of such a name is written with `./` in front. */
const LIKE_URL = /^[a-z][a-z0-9+.-]*:/i;

/**
 * `--store`, else the store of `--home`, else ALUMNUS_STORE, else the store of the home folder. A path is taken as a directory store.
 * @throws AlumnusError USAGE for what looks like a URL and is none of a store: `s3:/alumnus` must not become a folder
 */
export function storeUrl(env: Environment, flags: { store?: string; home?: string }): string {
  const named = flags.store ?? (flags.home === undefined ? env['ALUMNUS_STORE'] : undefined);
  if (named === undefined || named === '') return pathToFileURL(storeFolder(homeFolder(env, flags.home))).href;
  return urlOf(named, flags.store === undefined ? 'ALUMNUS_STORE' : '--store');
}

/** @throws AlumnusError USAGE for what looks like a URL and is none of ours: a typing error would else be a folder's name. */
function urlOf(named: string, where: string): string {
  if (/^(s3:\/\/|file:\/\/\/)/.test(named)) return named;
  if (LIKE_URL.test(named)) {
    throw new AlumnusError('USAGE', `"${named}" is no store: write s3://BUCKET/PREFIX?endpoint=https://HOST:PORT, file:///FOLDER, or a folder (with ./ in front where its name has a colon)`, { where });
  }
  return pathToFileURL(resolve(named)).href;
}

/**
 * A place that somebody names, as the URL by which workers find it. A path is a folder; a bucket without parameters is one
 * at the server of our own bucket, where we have one.
 */
export function placeUrl(named: string, ownUrl: string): string {
  const url = urlOf(named, 'PLACE');
  const parameters = url.startsWith('s3://') && !url.includes('?') && ownUrl.startsWith('s3://') ? /\?.*$/.exec(ownUrl)?.[0] ?? '' : '';
  return `${url.replace(/\/+(?=\?|$)/, '')}${parameters}`;
}

/** `--journal`, else, unless `--home` is given, ALUMNUS_JOURNAL; undefined for the journal of the home folder. */
export function journalUrl(env: Environment, flags: { journal?: string; home?: string }): string | undefined {
  return flags.journal ?? (flags.home === undefined ? env['ALUMNUS_JOURNAL'] || undefined : undefined);
}

/** What `--home` goes before: variables that are set and not looked at. */
export function passedOver(env: Environment, flags: { store?: string; journal?: string; home?: string }): string[] {
  if (flags.home === undefined) return [];
  return [...(flags.store === undefined && env['ALUMNUS_STORE'] ? ['ALUMNUS_STORE'] : []), ...(flags.journal === undefined && env['ALUMNUS_JOURNAL'] ? ['ALUMNUS_JOURNAL'] : [])];
}

/** The coordinators, with commas between them. @throws AlumnusError USAGE unless each reads host:port. */
export function coordinatorAddress(env: Environment, flag?: string): string {
  const addresses = (flag ?? (env['ALUMNUS_ADDRESS'] || DEFAULT_ADDRESS)).split(',').map((each) => each.trim());
  for (const address of addresses) {
    const match = /^(?:\[[0-9a-fA-F:.]+\]|[^\s:/]+):(\d{1,5})$/.exec(address);
    if (match === null || Number(match[1]) > 65_535) throw new AlumnusError('USAGE', `"${address}" is not an address: write host:port, such as ${DEFAULT_ADDRESS}; several with commas between them`);
  }
  return addresses.join(',');
}
