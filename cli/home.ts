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

/** `--store`, else ALUMNUS_STORE, else the store of the home folder. A path is taken as a directory store. */
export function storeUrl(env: Environment, flags: { store?: string; home?: string }): string {
  const named = flags.store ?? (flags.home === undefined ? env['ALUMNUS_STORE'] : undefined);
  if (named === undefined || named === '') return pathToFileURL(storeFolder(homeFolder(env, flags.home))).href;
  return /^[a-z][a-z0-9+.-]*:\/\//.test(named) ? named : pathToFileURL(resolve(named)).href;
}

/**
 * A place that somebody names, as the URL by which workers find it. A path is a folder; a bucket without parameters is one
 * at the server of our own bucket, where we have one.
 */
export function placeUrl(named: string, ownUrl: string): string {
  const url = /^[a-z][a-z0-9+.-]*:\/\//.test(named) ? named : pathToFileURL(resolve(named)).href;
  const parameters = url.startsWith('s3://') && !url.includes('?') && ownUrl.startsWith('s3://') ? /\?.*$/.exec(ownUrl)?.[0] ?? '' : '';
  return `${url.replace(/\/+(?=\?|$)/, '')}${parameters}`;
}

/** `--journal`, else ALUMNUS_JOURNAL; undefined for the journal of the home folder. */
export function journalUrl(env: Environment, flag?: string): string | undefined {
  return flag ?? (env['ALUMNUS_JOURNAL'] || undefined);
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
