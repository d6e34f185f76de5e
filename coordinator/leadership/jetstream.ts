/**
 * The leader's entry on NATS: one key of a KV bucket whose values live for `ttlMs`. The server forgets a value that was
 * not renewed and tells nobody; creating the key then succeeds.
 */
import { Kvm } from '@nats-io/kv';
import { millis } from '@nats-io/transport-node';
import { AlumnusError } from '../../proto/errors.ts';
import { apiError, bucketConfig, ensureStream, isApiError, jetstreamOf, natsError, type Nats } from '../nats.ts';
import type { Holder, LeaderEntry } from './entry.ts';

/** Short, since nobody leads while a dead leader's entry lives; long enough for renewals that meet a server's slow flush. */
const TTL_MS_DEFAULT = 1_500;
/** Calls are given up after this share of the time to live: a renewal must be tried several times in it. */
const CALLS_PER_TTL = 5;
const KEY = 'leader';

export const entryBucket = (name: string): string => `${name}-leader`;

export interface EntryOptions {
  /** In milliseconds; at least 500. Where the bucket is there and nothing is given, as it is. */
  readonly ttlMs?: number;
}

/** @throws AlumnusError JOURNAL_UNREACHABLE, JOURNAL_UNSUITABLE (also where the bucket's time to live is another), JOURNAL_FORBIDDEN */
export async function openEntry(nats: Nats, options: EntryOptions = {}): Promise<LeaderEntry> {
  const bucket = entryBucket(nats.url.name);
  const age = { max_age: (options.ttlMs ?? TTL_MS_DEFAULT) * 1e6 };
  const { config } = await ensureStream(nats, { ...bucketConfig(bucket), ...(options.ttlMs === undefined ? {} : age) }, { ...age, description: 'Alumnus: who leads' });
  // All coordinators must agree on it: the bucket says what it is.
  const ttlMs = millis(config.max_age);
  if (ttlMs === 0) throw new AlumnusError('JOURNAL_UNSUITABLE', `the bucket ${bucket} has no max_age: a leader that dies would lead forever`, { where: nats.description });
  const callMs = Math.floor(ttlMs / CALLS_PER_TTL);
  const { client } = await jetstreamOf(nats, callMs);
  const values = await new Kvm(client).open(bucket, { allow_direct: false });

  /** One call may be several requests; together they take `callMs` at the most. */
  const within = async <Result>(doing: string, call: Promise<Result>): Promise<Result> => {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new AlumnusError('JOURNAL_UNREACHABLE', `could not ${doing} within ${callMs} ms`, { where: nats.description })), callMs);
    });
    try {
      return await Promise.race([call, late]);
    } catch (thrown) {
      throw natsError(thrown, nats, doing);
    } finally {
      clearTimeout(timer);
    }
  };
  const unlessPassedBy = async (call: Promise<number>): Promise<number | undefined> => {
    try {
      return await call;
    } catch (thrown) {
      if (isApiError(thrown, apiError.wrongLastSequence, apiError.wrongLastSequenceUnknown)) return undefined;
      throw thrown;
    }
  };

  return {
    ttlMs,
    create: (holder) => within('take the leader\'s entry', unlessPassedBy(values.create(KEY, JSON.stringify(holder)))),
    update: (holder, revision) => within('renew the leader\'s entry', unlessPassedBy(values.update(KEY, JSON.stringify(holder), revision, callMs))),
    read: () => within('read the leader\'s entry', values.get(KEY).then((entry) => (entry === null || entry.operation !== 'PUT' ? undefined : { holder: entry.json<Holder>(), revision: entry.revision }))),
    delete: async (revision) => {
      await within('give up the leader\'s entry', unlessPassedBy(values.delete(KEY, { previousSeq: revision }).then(() => 0)));
    },
  };
}
