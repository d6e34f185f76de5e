/**
 * The user's own settings: named contexts, each a coordinator with its address, TLS files and token, and which of them is meant
 * when none is named. One YAML file, readable by its owner alone.
 * Invariants: (1) the file is replaced in one move; (2) a token leaves this page only as the one that a connection carries, or redacted.
 */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { parse, stringify } from 'yaml';
import { z } from 'zod';
import { AlumnusError, toAlumnusError } from '../proto/errors.ts';
import { API_VERSION } from '../proto/machine.ts';
import { writeWhole } from './write-file.ts';

const tlsSchema = z.strictObject({
  /** Files, absolute. All absent: TLS by the authorities that Node.js trusts. */
  ca: z.string().optional(),
  cert: z.string().optional(),
  key: z.string().optional(),
  serverName: z.string().optional(),
});

const contextSchema = z.strictObject({
  address: z.string().optional(),
  tls: tlsSchema.optional(),
  token: z.string().optional(),
  /** Read anew for each command, so that whoever renews it need not come here. */
  tokenFile: z.string().optional(),
});

const configSchema = z.strictObject({
  apiVersion: z.literal(API_VERSION),
  kind: z.literal('Config'),
  currentContext: z.string().optional(),
  contexts: z.record(z.string(), contextSchema),
});

export type Config = z.infer<typeof configSchema>;
export type NamedContext = z.infer<typeof contextSchema>;

const OWNER_ALONE = 0o600;
const REDACTED = 'REDACTED';

/** Where the XDG base directory specification wants a user's settings. */
export const configFile = (env: Readonly<Record<string, string | undefined>>): string => join(env['XDG_CONFIG_HOME'] || join(env['HOME'] || homedir(), '.config'), 'alumnus', 'config.yaml');

const NONE: Config = { apiVersion: API_VERSION, kind: 'Config', contexts: {} };

/** Without a file there are no contexts. @throws AlumnusError USAGE for a file that does not read */
export async function loadConfig(file: string): Promise<Config> {
  if (!existsSync(file)) return NONE;
  const text = await readFile(file, 'utf8').catch((thrown: unknown) => {
    throw toAlumnusError(thrown, file);
  });
  let value: unknown;
  try {
    value = parse(text);
  } catch (thrown) {
    // What the parser cites may be a token.
    throw new AlumnusError('USAGE', 'it is no YAML: correct it, or remove it and begin anew with `alumnus config set-context`', { where: file, cause: thrown });
  }
  const parsed = configSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new AlumnusError('USAGE', `${issue?.path.map(String).join('.') || 'the file'}: ${issue?.code === 'unrecognized_keys' ? `there is no field ${issue.keys.join(', ')}` : issue?.message ?? 'not what is expected'}`, { where: file });
}

export const saveConfig = (file: string, config: Config): Promise<void> => writeWhole(file, stringify(config), OWNER_ALONE);

/** @throws AlumnusError USAGE */
export function contextNamed({ contexts }: Config, name: string): NamedContext {
  const named = Object.hasOwn(contexts, name) ? contexts[name] : undefined;
  if (named !== undefined) return named;
  const known = Object.keys(contexts);
  throw new AlumnusError('USAGE', `there is no context "${name}"; ${known.length === 0 ? 'make one with `alumnus config set-context`' : `there are ${known.join(', ')}`}`, { where: '--context' });
}

export const redactedContext = (context: NamedContext): NamedContext => ({ ...context, ...(context.token === undefined ? {} : { token: REDACTED }) });

export const redactedConfig = (config: Config): Config => ({ ...config, contexts: Object.fromEntries(Object.entries(config.contexts).map(([name, context]) => [name, redactedContext(context)])) });
