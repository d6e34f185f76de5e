/**
 * The connection to NATS that the journal, the leader's entry and the facts for others share, and what they have in common:
 * the URL, credentials, making a stream where there is none, and what NATS's errors are to a person. Not for: what lies in a stream.
 *
 * Invariants:
 *  1. Once it was made, a connection never gives up: it tries all servers again and again until `close`.
 *  2. Credentials come from the environment alone, and are in no description, log line or error.
 *  3. A stream that is there with other settings than it must have is never changed and never used.
 */
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { jetstream, jetstreamManager, JetStreamApiError, PersistMode, type JetStreamClient, type JetStreamManager, type StreamConfig, type StreamInfo } from '@nats-io/jetstream';
import { connect, credsAuthenticator, errors, type ConnectionOptions, type NatsConnection } from '@nats-io/transport-node';
import { AlumnusError, toAlumnusError } from '../proto/errors.ts';
import type { Log } from '../telemetry/index.ts';

/** A server that is there answers within milliseconds. */
const CONNECT_MS = 2_000;
/** Between two tries of the same server. */
const RECONNECT_MS = 250;
/** A server that stands still closes nothing: after two pings without an answer the next server is tried. */
const PING_MS = 2_000;
const PINGS_OUT_MAX = 2;
/** One request of JetStream's API. It answers in milliseconds, or after an election. */
export const CALL_MS = 2_000;
/** Servers of a cluster elect within 4 to 9 s, and twice where the one that was asked has just gone; then there is time left to answer. */
export const ELECTION_MS_MAX = 30_000;
const RETRY_MS = 100;
/** What surrounds a group in its message: subject, headers, the group's own fields. */
export const MESSAGE_OVERHEAD_BYTES = 8 * 1024;
const NAME_DEFAULT = 'alumnus';
const REPLICAS_MAX = 5;

/** Numbers of JetStream's errors that mean something to us; the client's own list has six of them. */
export const apiError = {
  wrongLastSequence: 10071,
  /** The same, where a cluster doesn't say which it is. */
  wrongLastSequenceUnknown: 10164,
  /** A message with this id is on its way through the cluster. */
  duplicateInProcess: 10158,
  streamNotFound: 10059,
  streamNameInUse: 10058,
  notEnabledForAccount: 10039,
  messageTooLarge: 10054,
  replicasNotSupported: 10074,
  noSuitablePeers: 10005,
} as const;
/** Of the account, the stream, the server's memory and disk. */
const fullErrors: readonly number[] = [10002, 10023, 10028, 10047, 10077];

export interface NatsUrl {
  readonly servers: readonly string[];
  readonly tls: boolean;
  /** First part of the names of all streams and buckets. */
  readonly name: string;
  /** Undefined where the URL doesn't say: one for what is made, whatever there is for what is there. */
  readonly replicas: number | undefined;
}

/** @throws AlumnusError USAGE */
export function parseNatsUrl(url: string): NatsUrl {
  const usage = (what: string): AlumnusError => new AlumnusError('USAGE', `${what}; such as nats://host:4222,host2:4222/${NAME_DEFAULT}?replicas=3`, { where: '--journal' });
  const [, scheme, hosts, name = '', query = ''] = /^(nats|tls):\/\/([^/?#]+)(?:\/([^?#]*))?(?:\?([^#]*))?$/.exec(url) ?? [];
  if (scheme === undefined || hosts === undefined) throw usage('the journal\'s URL begins with nats:// or tls://, then come hosts');
  // Where a process was started with a password in its arguments, everybody on the machine reads it.
  if (hosts.includes('@')) throw usage('credentials go into the environment (ALUMNUS_NATS_CREDS, or ALUMNUS_NATS_USER and ALUMNUS_NATS_PASSWORD, or ALUMNUS_NATS_TOKEN), not into the URL');
  const servers = hosts.split(',').map((host) => {
    if (!/^([\w.-]+|\[[\da-fA-F:.]+\])(:\d{1,5})?$/.test(host)) throw usage(`${host} is not host:port`);
    return host;
  });
  if (!/^[\w-]{0,32}$/.test(name)) throw usage('the name has up to 32 letters, digits, _ and -');
  const parameters = new URLSearchParams(query);
  const unknown = [...parameters.keys()].find((key) => key !== 'replicas');
  if (unknown !== undefined) throw usage(`there is no parameter ${unknown}`);
  const replicas = parameters.get('replicas');
  if (replicas !== null && !(/^\d$/.test(replicas) && Number(replicas) % 2 === 1 && Number(replicas) <= REPLICAS_MAX)) throw usage('replicas are 1, 3 or 5');
  return { servers, tls: scheme === 'tls', name: name === '' ? NAME_DEFAULT : name, replicas: replicas === null ? undefined : Number(replicas) };
}

export interface Nats {
  readonly url: NatsUrl;
  /** For people; without secrets. */
  readonly description: string;
  readonly connection: NatsConnection;
  /** Of the server that we are connected to, or were last. */
  readonly maxPayloadBytes: number;
  close(): Promise<void>;
}

export interface NatsOptions {
  readonly env?: NodeJS.ProcessEnv;
  /** Told when a server is lost and reached again. */
  readonly log?: Log;
}

/** @throws AlumnusError USAGE, JOURNAL_UNREACHABLE, JOURNAL_FORBIDDEN */
export async function connectNats(url: string, { env = process.env, log = () => undefined }: NatsOptions = {}): Promise<Nats> {
  const parsed = parseNatsUrl(url);
  const description = `${parsed.tls ? 'tls' : 'nats'}://${parsed.servers.join(',')}/${parsed.name}`;
  let connection: NatsConnection;
  try {
    connection = await connect({
      servers: [...parsed.servers], name: 'alumnus coordinator', timeout: CONNECT_MS, reconnectTimeWait: RECONNECT_MS, maxReconnectAttempts: -1,
      // A server that comes up before its account's data refuses everybody for a moment.
      ignoreAuthErrorAbort: true, pingInterval: PING_MS, maxPingOut: PINGS_OUT_MAX, noAsyncTraces: true,
      ...credentials(env), ...(parsed.tls || env.ALUMNUS_NATS_CA !== undefined ? { tls: env.ALUMNUS_NATS_CA === undefined ? {} : { caFile: env.ALUMNUS_NATS_CA } } : {}),
    });
  } catch (thrown) {
    if (thrown instanceof errors.AuthorizationError || thrown instanceof errors.UserAuthenticationExpiredError) {
      throw new AlumnusError('JOURNAL_FORBIDDEN', 'the servers refuse the credentials of ALUMNUS_NATS_CREDS, ALUMNUS_NATS_USER or ALUMNUS_NATS_TOKEN', { where: description, cause: thrown });
    }
    if (thrown instanceof AlumnusError) throw thrown;
    throw new AlumnusError('JOURNAL_UNREACHABLE', `none of its servers could be reached: ${messageOf(thrown)}`, { where: description, cause: thrown });
  }
  void follow(connection, log);
  let maxPayloadBytes = 0;
  return {
    url: parsed, description, connection,
    get maxPayloadBytes() {
      return (maxPayloadBytes = connection.info?.max_payload ?? maxPayloadBytes);
    },
    close: () => connection.close(),
  };
}

function credentials(env: NodeJS.ProcessEnv): Partial<ConnectionOptions> {
  const { ALUMNUS_NATS_CREDS: file, ALUMNUS_NATS_USER: user, ALUMNUS_NATS_PASSWORD: pass, ALUMNUS_NATS_TOKEN: token } = env;
  if (file !== undefined) {
    let bytes: Uint8Array;
    try {
      bytes = readFileSync(file);
    } catch (thrown) {
      throw new AlumnusError('USAGE', `the credentials cannot be read: ${messageOf(thrown)}`, { where: 'ALUMNUS_NATS_CREDS', cause: thrown });
    }
    return {
      // Read anew at each connection, since they are exchanged from time to time; while that happens the old ones serve.
      authenticator: credsAuthenticator(() => {
        try {
          bytes = readFileSync(file);
        } catch {
          // The file is being replaced.
        }
        return bytes;
      }),
    };
  }
  if (user !== undefined) return { user, ...(pass === undefined ? {} : { pass }) };
  return token === undefined ? {} : { token };
}

async function follow(connection: NatsConnection, log: Log): Promise<void> {
  for await (const status of connection.status()) {
    if (status.type === 'disconnect') log(`lost the NATS server ${status.server}`);
    else if (status.type === 'reconnect') log(`reaches the NATS server ${status.server}`);
  }
}

/** Requests that end within `callMs`, each. */
export async function jetstreamOf(nats: Nats, callMs = CALL_MS): Promise<{ client: JetStreamClient; manager: JetStreamManager }> {
  return { client: jetstream(nats.connection, { timeout: callMs }), manager: await jetstreamManager(nats.connection, { timeout: callMs, checkAPI: false }) };
}

export const isApiError = (thrown: unknown, ...codes: readonly number[]): thrown is JetStreamApiError => thrown instanceof JetStreamApiError && codes.includes(thrown.code);

/** Nobody answers requests to JetStream, or the server says that the account has none. The client doesn't export the class. */
const isNotEnabled = (thrown: unknown): thrown is Error => thrown instanceof Error && thrown.name === 'JetStreamNotEnabled';

const messageOf = (thrown: unknown): string => (thrown instanceof Error && thrown.message !== '' ? thrown.message : String(thrown));

/** Whether the same request may be answered in a moment: the servers are away, elect, or were cut off. */
export function isPassing(thrown: unknown): boolean {
  if (thrown instanceof errors.PermissionViolationError || causeOf(thrown) instanceof errors.PermissionViolationError) return false;
  // What is full is unavailable, too, by its status.
  if (thrown instanceof JetStreamApiError) return (thrown.status === 503 || thrown.code === apiError.noSuitablePeers) && !fullErrors.includes(thrown.code);
  if (isNotEnabled(thrown)) return !(thrown.cause instanceof JetStreamApiError);
  return thrown instanceof errors.TimeoutError || thrown instanceof errors.RequestError || thrown instanceof errors.NoRespondersError || thrown instanceof errors.ConnectionError;
}

const causeOf = (thrown: unknown): unknown => (thrown instanceof Error ? thrown.cause : undefined);

/** What an error of NATS is to a person. `doing` completes "could not ...". */
export function natsError(thrown: unknown, nats: Nats, doing: string): AlumnusError {
  if (thrown instanceof AlumnusError) return thrown;
  const where = nats.description;
  const fail = (code: ConstructorParameters<typeof AlumnusError>[0], what: string): AlumnusError => new AlumnusError(code, what, { where, cause: thrown });
  const violation = thrown instanceof errors.PermissionViolationError ? thrown : causeOf(thrown);
  if (violation instanceof errors.PermissionViolationError) return fail('JOURNAL_FORBIDDEN', `could not ${doing}: no permission for ${violation.operation === 'publish' ? 'publishing to' : 'subscribing to'} ${violation.subject}`);
  if (isNotEnabled(thrown) && (thrown.cause instanceof JetStreamApiError || nats.connection.info?.jetstream !== true)) {
    return fail('JOURNAL_UNSUITABLE', thrown.cause instanceof JetStreamApiError ? 'JetStream is not enabled for this account' : 'JetStream is not enabled on the server');
  }
  // A server that is away or elects says other things: this one answers, and what was there when we opened it is not.
  if (isApiError(thrown, apiError.streamNotFound)) return fail('JOURNAL_UNREADABLE', `could not ${doing}: the NATS server answers, and a stream that was there is gone`);
  if (isApiError(thrown, ...fullErrors)) return fail('STORE_FULL', `could not ${doing}: ${thrown.message}`);
  if (isApiError(thrown, apiError.messageTooLarge)) return fail('JOURNAL_UNSUITABLE', `could not ${doing}: the message is larger than the stream's max_msg_size`);
  if (isApiError(thrown, apiError.replicasNotSupported, apiError.noSuitablePeers)) return fail('JOURNAL_UNSUITABLE', `could not ${doing} with ${nats.url.replicas ?? 1} replicas: ${thrown.message}`);
  if (thrown instanceof errors.InvalidArgumentError && thrown.message.includes('max_payload')) return fail('JOURNAL_UNSUITABLE', `could not ${doing}: the message is larger than the server's max_payload (${nats.maxPayloadBytes} bytes)`);
  if (isPassing(thrown) || thrown instanceof errors.ClosedConnectionError || thrown instanceof errors.DrainingConnectionError || thrown instanceof JetStreamApiError) return fail('JOURNAL_UNREACHABLE', `could not ${doing}: ${messageOf(thrown)}`);
  return toAlumnusError(thrown, where);
}

/** Does it again while the servers are away or elect, up to `msMax`. @throws AlumnusError as `natsError` */
export async function insist<Result>(nats: Nats, doing: string, call: () => Promise<Result>, msMax = ELECTION_MS_MAX): Promise<Result> {
  const endMs = performance.now() + msMax;
  for (;;) {
    try {
      return await call();
    } catch (thrown) {
      // Without JetStream no server ever answers.
      const hopeless = isNotEnabled(thrown) && nats.connection.info?.jetstream === false;
      if (!isPassing(thrown) || hopeless || performance.now() > endMs) throw natsError(thrown, nats, doing);
      await sleep(RETRY_MS);
    }
  }
}

/**
 * The stream as it is, made where there is none.
 * @param must its settings, all of which are checked where it is there; beside them come the replicas that the URL names
 * @param may what a stream is made with and may differ from later
 * @throws AlumnusError JOURNAL_UNSUITABLE where it is there with other settings, JOURNAL_FORBIDDEN, JOURNAL_UNREACHABLE, STORE_FULL
 */
export async function ensureStream(nats: Nats, must: Partial<StreamConfig> & { name: string }, may: Partial<StreamConfig> = {}): Promise<StreamInfo> {
  const { manager } = await jetstreamOf(nats);
  const { replicas } = nats.url;
  const found = await insist(nats, `look for the stream ${must.name}`, async () => {
    try {
      return await manager.streams.info(must.name);
    } catch (thrown) {
      if (isApiError(thrown, apiError.streamNotFound)) return undefined;
      throw thrown;
    }
  });
  const info = found ?? await insist(nats, `make the stream ${must.name}`, async () => {
    try {
      return await manager.streams.add({ ...may, ...must, num_replicas: replicas ?? 1 });
    } catch (thrown) {
      // Another coordinator was faster.
      if (isApiError(thrown, apiError.streamNameInUse)) return manager.streams.info(must.name);
      throw thrown;
    }
  });
  const problems = Object.entries({ ...must, ...(replicas === undefined ? {} : { num_replicas: replicas }) }).flatMap(([setting, wanted]) => {
    const present = (info.config as Record<string, unknown>)[setting];
    return JSON.stringify(present) === JSON.stringify(wanted) || isUnset(present) && isUnset(wanted) ? [] : [`${setting} is ${JSON.stringify(present) ?? 'unset'} and must be ${JSON.stringify(wanted)}`];
  });
  // Acknowledges what is only in memory.
  if (info.config.persist_mode === PersistMode.Async) problems.push('persist_mode is "async" and must be "default"');
  if (problems.length > 0) throw new AlumnusError('JOURNAL_UNSUITABLE', `the stream ${must.name} is there with other settings: ${problems.join('; ')}`, { where: nats.description });
  return info;
}

/** The server leaves out what is off. */
const isUnset = (value: unknown): boolean => value === undefined || value === false || value === 0 || value === '' || value === -1;

/** The stream of a KV bucket with one value a key; read from its leader, since a replica may be behind. */
export const bucketConfig = (bucket: string) => ({
  name: `KV_${bucket}`, subjects: [`$KV.${bucket}.>`], retention: 'limits', storage: 'file', discard: 'new', max_msgs_per_subject: 1,
  allow_rollup_hdrs: true, deny_delete: true, allow_direct: false,
} satisfies Partial<StreamConfig>);
