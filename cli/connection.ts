/**
 * Which coordinator is meant, and how it is reached: for each setting the flag, else the context that a flag names, else the
 * environment, else the context that ALUMNUS_CONTEXT or `config use-context` names, else the default.
 * Invariant: TLS files and token of a context that nobody named for this command go to that context's own address alone.
 */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { AlumnusError } from '../proto/errors.ts';
import { checkedToken, type ClientAccess, type ClientTls } from '../proto/credentials.ts';
import type { NamedContext } from './config.ts';
import { coordinatorAddress } from './home.ts';

type Environment = Readonly<Record<string, string | undefined>>;

export interface ConnectionFlags {
  address?: string;
  context?: string;
  tls?: true;
  tlsCa?: string;
  tokenFile?: string;
  insecureToken?: true;
}

export interface Connection extends ClientAccess {
  /** `host:port`, several with commas between them. */
  readonly address: string;
  /** The context that it comes from; absent where flags and environment say all. */
  readonly context?: string;
}

/** @throws AlumnusError USAGE */
export async function connectionOf({ env }: { readonly env: Environment }, flags: ConnectionFlags): Promise<Connection> {
  const elsewhere = flags.address ?? (env['ALUMNUS_ADDRESS'] || undefined);
  const wanted = flags.context ?? (env['ALUMNUS_CONTEXT'] || undefined);
  const { name, named } = await chosenContext(env, wanted, elsewhere !== undefined);
  const first = flags.context === undefined ? {} : named;
  const address = coordinatorAddress({}, flags.address ?? first.address ?? (env['ALUMNUS_ADDRESS'] || undefined) ?? named.address);
  const ca = flags.tlsCa ?? first.tls?.ca ?? (env['ALUMNUS_TLS_CA'] || undefined) ?? named.tls?.ca;
  const tls = flags.tls === true || ca !== undefined || named.tls !== undefined ? await tlsOf({ ...named.tls, ca }) : undefined;
  const token = await tokenOf(flags, first, env, named);
  return { address, ...(name === undefined ? {} : { context: name }), ...(tls === undefined ? {} : { tls }), ...(token === undefined ? {} : { token }), insecureToken: flags.insecureToken === true };
}

/** The file is not looked at where nothing of it would count. */
async function chosenContext(env: Environment, wanted: string | undefined, elsewhere: boolean): Promise<{ name: string | undefined; named: NamedContext }> {
  if (wanted === undefined && elsewhere) return { name: undefined, named: {} };
  const { configFile, contextNamed, loadConfig } = await import('./config.ts');
  const file = configFile(env);
  if (wanted === undefined && !existsSync(file)) return { name: undefined, named: {} };
  const config = await loadConfig(file);
  const name = wanted ?? config.currentContext;
  return { name, named: name === undefined ? {} : contextNamed(config, name) };
}

async function tlsOf(files: { ca?: string | undefined; cert?: string | undefined; key?: string | undefined; serverName?: string | undefined }): Promise<ClientTls> {
  const read = async (file: string | undefined): Promise<Buffer | undefined> => (file === undefined ? undefined : await readSetting(file));
  const [ca, cert, key] = await Promise.all([read(files.ca), read(files.cert), read(files.key)]);
  return { ...(ca === undefined ? {} : { ca }), ...(cert === undefined ? {} : { cert }), ...(key === undefined ? {} : { key }), ...(files.serverName === undefined ? {} : { serverName: files.serverName }) };
}

async function tokenOf(flags: ConnectionFlags, first: NamedContext, env: Environment, named: NamedContext): Promise<string | undefined> {
  const ofFile = async (file: string): Promise<string> => checkedToken((await readSetting(file)).toString('utf8'), file);
  const ofContext = async ({ token, tokenFile }: NamedContext): Promise<string | undefined> => token ?? (tokenFile === undefined ? undefined : await ofFile(tokenFile));
  if (flags.tokenFile !== undefined) return ofFile(flags.tokenFile);
  return await ofContext(first) ?? (env['ALUMNUS_TOKEN'] ? checkedToken(env['ALUMNUS_TOKEN'], 'ALUMNUS_TOKEN') : await ofContext(named));
}

/** @throws AlumnusError USAGE */
const readSetting = (file: string): Promise<Buffer> => readFile(resolve(file)).catch((thrown: unknown) => {
  throw new AlumnusError('USAGE', thrown instanceof Error && 'code' in thrown && thrown.code === 'ENOENT' ? 'there is no such file' : 'the file cannot be read', { where: file, cause: thrown });
});

/** For a command that is told next: the flags again that say which coordinator is meant, a blank before each. */
export const connectionAgain = ({ address, context, tls, tlsCa, tokenFile, insecureToken }: ConnectionFlags): string => [
  context === undefined ? '' : ` --context ${context}`, address === undefined ? '' : ` --address ${address}`, tls === true ? ' --tls' : '',
  tlsCa === undefined ? '' : ` --tls-ca ${tlsCa}`, tokenFile === undefined ? '' : ` --token-file ${tokenFile}`, insecureToken === true ? ' --insecure-token' : '',
].join('');
