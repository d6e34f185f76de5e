/**
 * Who may do what, and what a project may have: from one file that every coordinator is given (`--access FILE`), so that it can be kept
 * with the deployment, reviewed and rolled back like it. A caller has a role in each project: a viewer reads, an operator also steers,
 * a worker is given tasks. What belongs to no project (workers, the bucket, reconciling) belongs to FLEET. The file is read again when it
 * changes. Not for: how a token reaches us (coordinator/api).
 * Invariants:
 *  1. Tokens are kept as their sha256: who reads the file can speak for nobody.
 *  2. A file that cannot be used is an error at the start, and later changes nothing: what was read last holds.
 */
import { createHash } from 'node:crypto';
import { readFileSync, unwatchFile, watchFile } from 'node:fs';
import { parse } from 'yaml';
import { z } from 'zod';
import { AlumnusError } from '../proto/errors.ts';

export const roles = ['viewer', 'operator', 'worker'] as const;
export type Role = (typeof roles)[number];

/** In place of a project: what all of them share; and of a member's roles, every project. */
export const FLEET = '*';

/** The project of a run that was submitted without naming one. */
export const PROJECT_DEFAULT = 'default';

/** What a run says of itself that somebody may want to hear of at night. */
export const noticeKinds = ['paused', 'refused', 'failed', 'cancelled', 'done'] as const;
export type NoticeKind = (typeof noticeKinds)[number];

export interface Caller {
  /** As journalled with what they do; empty: nobody asked. */
  readonly name: string;
  /** Undefined: not even to read. @param project a project's name, or FLEET */
  roleIn(project: string): Role | undefined;
  /** In some project. */
  readonly isAnyone: boolean;
}

export interface Webhook {
  readonly url: string;
  readonly on: readonly NoticeKind[];
  /** Signs what is posted; absent: it is not signed. */
  readonly secret?: string;
}

export interface Quota {
  /** Workers that work for it at once; Infinity: no limit. */
  readonly devices: number;
  /** Of what its runs' results take in the store; Infinity: no limit. */
  readonly bytes: number;
}

export interface Access {
  /** Undefined: the token is nobody's, or there must be one. */
  callerOf(token: string | undefined): Caller | undefined;
  quotaOf(project: string): Quota;
  webhooksOf(project: string): readonly Webhook[];
  /** Undefined: every name is one. */
  readonly projects: readonly string[] | undefined;
}

const NO_QUOTA: Quota = { devices: Infinity, bytes: Infinity };

/** Nothing was said of who may do what: whoever reaches the coordinator operates it. */
export const openAccess: Access = { callerOf: () => ({ name: '', roleIn: () => 'operator', isAnyone: true }), quotaOf: () => NO_QUOTA, webhooksOf: () => [], projects: undefined };

export const PROJECT = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;

const BYTES = /^(\d+(?:\.\d+)?) ?(B|KiB|MiB|GiB|TiB|PiB)$/;
const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

const project = z.string().regex(PROJECT, 'a project\'s name is 1 to 63 of a-z, 0-9 and "-"');
const bytes = z.string().regex(BYTES, 'a number with its unit is expected, such as 200 GiB').transform((text) => {
  const [, count = '', unit = ''] = BYTES.exec(text) ?? [];
  return Number(count) * 1024 ** UNITS.indexOf(unit);
});

const schema = z.strictObject({
  anonymous: z.enum(['none', 'viewer', 'operator']).default('none').describe('Role, everywhere, of calls without a token.'),
  members: z.array(z.strictObject({
    name: z.string().min(1),
    token_sha256: z.string().regex(/^[0-9a-f]{64}$/, 'the sha256 of the token in hex is expected: `alumnus access token NAME` makes both'),
    roles: z.record(z.union([z.literal(FLEET), project]), z.enum(roles)),
  })).default([]),
  projects: z.record(project, z.strictObject({
    devices: z.number().int().min(1).optional().describe('Workers that work for its runs at once.'),
    bytes: bytes.optional().describe('Of what its runs\' results take in the store, such as 200 GiB.'),
    webhooks: z.array(z.strictObject({
      url: z.url({ protocol: /^https?$/ }),
      on: z.array(z.enum(noticeKinds)).min(1).default(['paused', 'refused', 'failed', 'done']),
      secret_env: z.string().regex(/^[A-Z_][A-Z0-9_]*$/).optional().describe('Environment variable of the coordinator whose value signs what is posted.'),
    })).default([]),
  })).default({}),
});

export const tokenDigest = (token: string): string => createHash('sha256').update(token).digest('hex');

/** @throws AlumnusError ACCESS_INVALID naming each field */
export function parseAccess(text: string, where: string, env: Readonly<Record<string, string | undefined>>): Access {
  let written: unknown;
  try {
    written = parse(text);
  } catch (thrown) {
    throw new AlumnusError('ACCESS_INVALID', thrown instanceof Error ? thrown.message.split('\n')[0] ?? '' : String(thrown), { where, cause: thrown });
  }
  const read = schema.safeParse(written ?? {});
  if (!read.success) {
    const problems = read.error.issues.map(({ path, message }) => `${path.join('.') || 'the file'}: ${message}`);
    throw new AlumnusError('ACCESS_INVALID', problems.join('; '), { where, problems });
  }
  const { anonymous, members, projects } = read.data;
  const twice = members.find(({ token_sha256: digest }, index) => members.findIndex((each) => each.token_sha256 === digest) !== index);
  if (twice !== undefined) throw new AlumnusError('ACCESS_INVALID', `members: two have the token of ${twice.name}`, { where });
  const unknown = members.flatMap((member) => Object.keys(member.roles)).find((name) => name !== FLEET && name !== PROJECT_DEFAULT && !Object.hasOwn(projects, name));
  if (unknown !== undefined) throw new AlumnusError('ACCESS_INVALID', `members: there is no project ${unknown} in projects`, { where });
  const hooks = new Map(Object.entries(projects).map(([name, { webhooks }]) => [name, webhooks.map(({ url, on, secret_env: variable }): Webhook => {
    const secret = variable === undefined ? undefined : env[variable];
    if (variable !== undefined && (secret === undefined || secret === '')) throw new AlumnusError('ACCESS_INVALID', `projects.${name}.webhooks: ${variable} is not set in the coordinator's environment`, { where });
    return { url, on, ...(secret === undefined ? {} : { secret }) };
  })]));
  const callers = new Map(members.map((member) => [member.token_sha256, callerWith(member.name, member.roles)]));
  const nobody = anonymous === 'none' ? undefined : callerWith('', { [FLEET]: anonymous });
  return {
    callerOf: (token) => (token === undefined ? nobody : callers.get(tokenDigest(token))),
    quotaOf: (name) => ({ devices: projects[name]?.devices ?? Infinity, bytes: projects[name]?.bytes ?? Infinity }),
    webhooksOf: (name) => hooks.get(name) ?? [],
    projects: [...new Set([PROJECT_DEFAULT, ...Object.keys(projects)])],
  };
}

const callerWith = (name: string, held: Readonly<Record<string, Role>>): Caller => ({
  name, isAnyone: Object.keys(held).length > 0,
  roleIn: (wanted) => (Object.hasOwn(held, wanted) ? held[wanted] : held[FLEET]),
});

/** How often the file is looked at: a mounted secret changes by a link, which no notification tells. */
const LOOK_MS = 2_000;

export interface KeptAccess extends Access {
  close(): void;
}

/** @throws AlumnusError ACCESS_INVALID */
export function openAccessFile(file: string, env: Readonly<Record<string, string | undefined>>, log: (line: string) => void): KeptAccess {
  const read = (): Access => {
    let text: string;
    try {
      text = readFileSync(file, 'utf8');
    } catch (thrown) {
      throw new AlumnusError('ACCESS_INVALID', 'the file cannot be read', { where: file, cause: thrown });
    }
    return parseAccess(text, file, env);
  };
  let current = read();
  const changed = (): void => {
    try {
      current = read();
      log(`who may do what is read again from ${file}`);
    } catch (thrown) {
      log(`${thrown instanceof AlumnusError ? thrown.sentence : String(thrown)} What was read before holds.`);
    }
  };
  watchFile(file, { interval: LOOK_MS, persistent: false }, changed);
  return {
    callerOf: (token) => current.callerOf(token), quotaOf: (name) => current.quotaOf(name), webhooksOf: (name) => current.webhooksOf(name),
    get projects() { return current.projects; },
    close: () => unwatchFile(file, changed),
  };
}
