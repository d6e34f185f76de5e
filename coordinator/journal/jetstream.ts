/**
 * The journal on NATS JetStream: one stream, one group one message. A message without facts begins a term. Where the newest
 * snapshot lies is one value of a KV bucket. Not for: the connection (coordinator/nats.ts).
 *
 * How an append is exact though answers get lost. Every message is published with the stream sequence that it must follow
 * and with an id of its own. One position of the stream takes one message, ever; so
 *  1. whatever copy of a publish arrives, and however late (the client keeps some of what is published while it is cut off
 *     and drops the rest), it lands at its one position or nowhere;
 *  2. a publish that is not answered is sent again, with the same id, until it is: of what is there the server says which
 *     sequence it has, where it still knows the id, or `wrong last sequence`;
 *  3. then the message at the position says whose it is: by its id ours, which succeeded, or another's, and ours can never be there.
 * An id begins with a number of this opening, since two leaders that begin the same term send the same bytes.
 *
 * What is read for a decision comes from the stream's leader. Groups in bulk come from any replica, up to the sequence that the leader named.
 */
import { createHash, randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { DirectMsgHeaders, PubHeaders, type StreamInfo } from '@nats-io/jetstream';
import { Kvm } from '@nats-io/kv';
import type { MsgHdrs } from '@nats-io/transport-node';
import { AlumnusError, invariant } from '../../proto/errors.ts';
import type { EventGroup } from '../../proto/gen/alumnus/v1/events.ts';
import { SnapshotRef } from '../../proto/gen/alumnus/v1/record.ts';
import { apiError, bucketConfig, CALL_MS, ELECTION_MS_MAX, ensureStream, insist, isApiError, isPassing, jetstreamOf, MESSAGE_OVERHEAD_BYTES, natsError, type Nats } from '../nats.ts';
import { decodeGroup, encodeGroup, lastOf } from './group.ts';
import { GROUP_BYTES_MAX, type Journal } from './journal.ts';

/** A publish is answered within milliseconds, and sent again after this; again costs nothing but its bytes. */
const PUBLISH_MS = 1_000;
const RETRY_MS = 50;
/** Servers forget ids after it. Longer than a publish is insisted on, so that most copies are answered from it. */
const DUPLICATES_MS = 120_000;
/** Of one batch. Both bound the memory it takes here; the server's own bound on what waits for a client is 64 MiB. */
const BATCH_GROUPS = 1_024;
const BATCH_BYTES = 8 * 1024 * 1024;
const BATCH_MS = 5_000;
/** A read without progress is given up sooner than an append: whoever reads along comes again by itself, and may be asked to stop meanwhile. */
const READ_MS = 5_000;
const SNAPSHOT_KEY = 'newest';
/** A pointer that others write at the same moment, again and again, is not contention but a defect. */
const POINTER_TRIES_MAX = 10;

/** Where one has read or appended up to. */
interface Position {
  /** The stream's sequence of the last message; terms' beginnings count. */
  readonly message: number;
  readonly sequence: number;
  readonly term: number;
}

/** A copy of where the stream stands, from its leader. */
interface Ends {
  readonly first: number;
  readonly last: number;
}

export const journalNames = (name: string): { stream: string; subject: string; bucket: string } => ({ stream: `${name}-journal`, subject: `alumnus.${name}.journal`, bucket: `${name}-snapshot` });

export interface JetStreamOptions {
  /** How long an append insists on an answer. */
  readonly insistMs?: number;
}

/**
 * Opens the journal on servers that are connected, and makes its stream and bucket where they aren't there. Nothing is
 * read yet: read to the end before `begin`.
 * @throws AlumnusError JOURNAL_UNREACHABLE, JOURNAL_UNSUITABLE, JOURNAL_FORBIDDEN, STORE_FULL
 */
export async function openJetStream(nats: Nats, { insistMs = ELECTION_MS_MAX }: JetStreamOptions = {}): Promise<Journal> {
  const { stream, subject, bucket } = journalNames(nats.url.name);
  if (nats.maxPayloadBytes < GROUP_BYTES_MAX + MESSAGE_OVERHEAD_BYTES) {
    throw new AlumnusError('JOURNAL_UNSUITABLE', `max_payload of the server is ${nats.maxPayloadBytes} and must be at least ${GROUP_BYTES_MAX + MESSAGE_OVERHEAD_BYTES}`, { where: nats.description });
  }
  await ensureStream(nats, {
    name: stream, subjects: [subject], retention: 'limits', storage: 'file', discard: 'new', max_age: 0, max_msgs_per_subject: -1,
    // Batches are read directly. Single groups cannot be deleted; purging what a snapshot covers must stay possible.
    allow_direct: true, deny_delete: true, deny_purge: false, allow_rollup_hdrs: false, no_ack: false, sealed: false,
  }, { description: 'Alumnus: the facts of all runs', duplicate_window: DUPLICATES_MS * 1e6 });
  await ensureStream(nats, bucketConfig(bucket), { description: 'Alumnus: where the newest snapshot of the journal lies' });
  return new JetStreamJournal(nats, insistMs, { stream, subject }, await openPointer(nats, bucket));
}

interface Pointer {
  /** From the leader. */
  read(): Promise<{ ref: SnapshotRef; revision: number } | undefined>;
  /** False where another was written meanwhile. */
  write(ref: SnapshotRef, revision: number): Promise<boolean>;
}

async function openPointer(nats: Nats, bucket: string): Promise<Pointer> {
  const { client } = await jetstreamOf(nats);
  const values = await new Kvm(client).open(bucket, { allow_direct: false });
  return {
    read: () => insist(nats, 'read where the snapshot lies', async () => {
      const entry = await values.get(SNAPSHOT_KEY);
      return entry === null || entry.operation !== 'PUT' ? undefined : { ref: SnapshotRef.decode(entry.value), revision: entry.revision };
    }),
    write: async (ref, revision) => {
      try {
        const bytes = SnapshotRef.encode(ref).finish();
        await (revision === 0 ? values.create(SNAPSHOT_KEY, bytes) : values.update(SNAPSHOT_KEY, bytes, revision));
        return true;
      } catch (thrown) {
        // Without an answer it may be there: whoever calls reads again.
        if (isPassing(thrown) || isApiError(thrown, apiError.wrongLastSequence, apiError.wrongLastSequenceUnknown)) return false;
        throw natsError(thrown, nats, 'keep where the snapshot lies');
      }
    },
  };
}

type Management = Awaited<ReturnType<typeof jetstreamOf>>;

class JetStreamJournal implements Journal {
  readonly description: string;
  readonly #nats: Nats;
  readonly #insistMs: number;
  readonly #names: { stream: string; subject: string };
  readonly #pointer: Pointer;
  /** Of this opening. */
  readonly #id = randomUUID();
  #position: Position = { message: 0, sequence: 0, term: 0 };
  #term: number | undefined;
  #management: Promise<Management> | undefined;

  constructor(nats: Nats, insistMs: number, names: { stream: string; subject: string }, pointer: Pointer) {
    this.description = nats.description;
    this.#nats = nats;
    this.#insistMs = insistMs;
    this.#names = names;
    this.#pointer = pointer;
  }

  get factBytesMax(): number {
    return this.#nats.maxPayloadBytes - MESSAGE_OVERHEAD_BYTES;
  }

  get lastSequence(): number {
    return this.#position.sequence;
  }

  async begin(): Promise<number> {
    const term = this.#position.term + 1;
    await this.#publish({ term, firstSequence: this.#position.sequence + 1, events: [] });
    this.#term = term;
    return term;
  }

  async append(expectedSequence: number, term: number, events: EventGroup['events']): Promise<number> {
    invariant(events.length > 0, 'a group holds facts');
    // The stream compares sequences only. Whoever has read of a newer term, or never began this one, must not send.
    if (term !== this.#term || term !== this.#position.term) throw this.#error('JOURNAL_CONFLICT', term === this.#term ? `term ${term} is deposed by term ${this.#position.term}` : `term ${term} was not begun here`);
    if (expectedSequence !== this.#position.sequence) throw this.#error('JOURNAL_CONFLICT', `the journal is at ${this.#position.sequence}, not at ${expectedSequence}`);
    await this.#publish({ term, firstSequence: expectedSequence + 1, events });
    return expectedSequence + events.length;
  }

  async *read(sequence: number): AsyncGenerator<EventGroup> {
    const ends = await this.#ends();
    let position = this.#position;
    if (sequence !== position.sequence || ends.first > position.message + 1) position = await this.#find(sequence, ends);
    while (position.message < ends.last) {
      for (const { message, group } of await this.#batch(position.message + 1, ends.last)) {
        // Of groups behind a snapshot the first may begin before what was asked for.
        const expected = position.term === 0 && group.firstSequence <= sequence + 1 ? group.firstSequence : position.sequence + 1;
        if (message !== position.message + 1 || group.firstSequence !== expected) throw this.#error('JOURNAL_UNREADABLE', `facts are missing before sequence ${group.firstSequence}`);
        if (group.term < position.term) throw this.#error('JOURNAL_UNREADABLE', `a group of term ${group.term} lies behind one of term ${position.term}, at sequence ${group.firstSequence}`);
        position = { message, sequence: lastOf(group), term: group.term };
        if (group.events.length > 0 && position.sequence > sequence) yield group;
        // Only now: what was handed out and thrown back was not read.
        this.#reach(position);
      }
    }
    if (position.sequence < sequence) throw this.#error('JOURNAL_UNREADABLE', `it ends at sequence ${position.sequence}, and facts up to ${sequence} were known`);
  }

  async snapshot(): Promise<SnapshotRef | undefined> {
    return (await this.#pointer.read())?.ref;
  }

  async truncate(snapshot: SnapshotRef): Promise<void> {
    const ends = await this.#ends();
    const newest = ends.last === this.#position.message ? this.#position.term : (await this.#at(ends.last))?.group.term;
    if (this.#term === undefined || newest !== this.#term) throw this.#error('JOURNAL_CONFLICT', `term ${this.#term ?? 0} is deposed by term ${newest ?? 0}`);
    const covered = await this.#keep(snapshot);
    // Also what an earlier truncation left behind. The last message stays: the newest term is read from it.
    const keep = Math.min(await this.#firstBeyond(covered, ends), ends.last);
    if (keep > ends.first) await insist(this.#nats, 'drop what the snapshot covers', async () => (await this.#manage()).manager.streams.purge(this.#names.stream, { seq: keep }), this.#insistMs);
  }

  close(): Promise<void> {
    // The connection belongs to whoever made it.
    return Promise.resolve();
  }

  #error(code: ConstructorParameters<typeof AlumnusError>[0], what: string, cause?: unknown): AlumnusError {
    return new AlumnusError(code, what, { where: this.description, ...(cause === undefined ? {} : { cause }) });
  }

  #manage(): Promise<Management> {
    return (this.#management ??= jetstreamOf(this.#nats));
  }

  #reach(position: Position): void {
    if (position.message > this.#position.message) this.#position = position;
  }

  /** @throws AlumnusError JOURNAL_CONFLICT, JOURNAL_UNREACHABLE, JOURNAL_UNSUITABLE, JOURNAL_FORBIDDEN, STORE_FULL */
  async #publish(group: Omit<EventGroup, 'schemaVersion'>): Promise<void> {
    const { stream, subject } = this.#names;
    const { message: expected } = this.#position;
    const bytes = encodeGroup(group);
    const id = `${this.#id}.${group.term}.${group.firstSequence}.${createHash('sha256').update(bytes).digest('hex')}`;
    const { client } = await this.#manage();
    const endMs = performance.now() + this.#insistMs;
    for (;;) {
      let last: unknown;
      try {
        const { seq } = await client.publish(subject, bytes, { msgID: id, timeout: PUBLISH_MS, expect: { streamName: stream, lastSequence: expected } });
        invariant(seq === expected + 1, `the message that follows ${expected} was acknowledged at ${seq}`);
        return this.#reach({ message: seq, sequence: group.firstSequence + group.events.length - 1, term: group.term });
      } catch (thrown) {
        const isWrong = isApiError(thrown, apiError.wrongLastSequence, apiError.wrongLastSequenceUnknown);
        if (!isWrong && !isApiError(thrown, apiError.duplicateInProcess) && !isPassing(thrown)) throw natsError(thrown, this.#nats, `append ${bytes.length} bytes`);
        if (isWrong) {
          const found = await this.#at(expected + 1);
          if (found?.id === id) return this.#reach({ message: expected + 1, sequence: lastOf(found.group), term: group.term });
          if (found !== undefined) throw this.#error('JOURNAL_CONFLICT', `term ${found.group.term} has appended at sequence ${found.group.firstSequence}`, thrown);
          // It lies there and can't be read yet, or a newer leader has dropped it with all that its snapshot covers.
        }
        last = thrown;
      }
      if (performance.now() > endMs) throw this.#error('JOURNAL_UNREACHABLE', `no answer within ${this.#insistMs} ms; the group at sequence ${group.firstSequence} may be there or not`, last);
      await sleep(RETRY_MS);
    }
  }

  /** The group at a place of the stream, from the leader; undefined where none lies there. */
  async #at(message: number): Promise<{ group: EventGroup; id: string } | undefined> {
    const stored = await insist(this.#nats, `read message ${message}`, async () => (await this.#manage()).manager.streams.getMessage(this.#names.stream, { seq: message }), this.#insistMs);
    return stored === null ? undefined : { group: decodeGroup(stored.data, this.description), id: stored.header.get(PubHeaders.MsgIdHdr) };
  }

  /** @throws AlumnusError JOURNAL_UNREADABLE where messages that were read here are no longer there */
  async #ends(): Promise<Ends> {
    const endMs = performance.now() + CALL_MS;
    for (;;) {
      const info = await this.#info();
      const isLate = performance.now() > endMs;
      if (info === undefined) {
        if (isLate) throw this.#error('JOURNAL_UNREADABLE', `the NATS server answers, and the stream ${this.#names.stream} is gone: the journal was lost or removed`);
        await sleep(RETRY_MS);
        continue;
      }
      const { state } = info;
      const isBehind = state.last_seq < this.#position.message;
      if (!isBehind && (state.messages > 0 || state.last_seq === 0)) return { first: Math.max(state.first_seq, 1), last: state.last_seq };
      // A server that was just elected may still apply what it has; what is gone stays gone.
      if (isLate) throw this.#error('JOURNAL_UNREADABLE', isBehind ? `it ends at message ${state.last_seq}, and message ${this.#position.message} was read or appended here` : 'its stream was emptied');
      await sleep(RETRY_MS);
    }
  }

  /** Undefined where there is no stream. */
  #info(): Promise<StreamInfo | undefined> {
    return insist(this.#nats, 'look how far the journal goes', async () => {
      try {
        return await (await this.#manage()).manager.streams.info(this.#names.stream);
      } catch (thrown) {
        if (isApiError(thrown, apiError.streamNotFound)) return undefined;
        throw thrown;
      }
    }, READ_MS);
  }

  /** Where reading on after `sequence` begins, one message before; of a stream's first message nothing is known before. */
  async #find(sequence: number, ends: Ends): Promise<Position> {
    const covered = (await this.#pointer.read())?.ref.sequence ?? 0;
    if (sequence < covered) throw this.#error('JOURNAL_UNREADABLE', `facts up to ${covered} lie in a snapshot, and those after ${sequence} were asked for`);
    if (ends.last === 0) {
      if (covered > 0) throw this.#error('JOURNAL_UNREADABLE', `its stream is empty, and a snapshot covers facts up to ${covered}`);
      return { message: 0, sequence: 0, term: 0 };
    }
    const message = Math.min(await this.#firstBeyond(sequence, ends), ends.last) - 1;
    if (message >= ends.first) {
      const before = await this.#at(message);
      if (before !== undefined) return { message, sequence: lastOf(before.group), term: before.group.term };
    }
    return { message, sequence: 0, term: 0 };
  }

  /** The first message whose group reaches beyond `sequence`; one after the last where none does. @throws AlumnusError JOURNAL_UNREADABLE where a message can't be had */
  async #firstBeyond(sequence: number, { first, last }: Ends): Promise<number> {
    let low = first;
    let high = last + 1;
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      const found = await this.#at(middle);
      if (found === undefined) {
        // Purged meanwhile, and then what was asked for lies behind it. A server says the same of bytes that it can't read:
        // taken for a purge, that would drop groups which no snapshot covers.
        const now = await this.#ends();
        if (now.first <= middle) throw this.#error('JOURNAL_UNREADABLE', `message ${middle} is not to be had, and the stream goes from ${now.first} to ${now.last}`);
        low = Math.min(now.first, high);
      } else if (lastOf(found.group) <= sequence) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** The messages from `from` on, at least one of them. Any replica answers; one that is behind is asked again. */
  async #batch(from: number, last: number): Promise<{ message: number; group: EventGroup }[]> {
    const request = JSON.stringify({ seq: from, batch: Math.min(BATCH_GROUPS, last - from + 1), max_bytes: BATCH_BYTES });
    return insist(this.#nats, `read the groups from message ${from} on`, async () => {
      const endMs = performance.now() + READ_MS;
      for (;;) {
        const found: { message: number; group: EventGroup }[] = [];
        for await (const { headers, data } of await this.#nats.connection.requestMany(`$JS.API.DIRECT.GET.${this.#names.stream}`, request, { strategy: 'sentinel', maxWait: BATCH_MS })) {
          // What is empty ends the batch, or says that there is nothing.
          if (data.length > 0) found.push({ message: sequenceOf(headers), group: decodeGroup(data, this.description) });
        }
        if (found.length > 0) return found;
        if (performance.now() > endMs) throw this.#error('JOURNAL_UNREACHABLE', `no server has the groups from message ${from} on`);
        await sleep(RETRY_MS);
      }
    }, READ_MS);
  }

  /** Keeps the pointer where it is newer than what is kept. Resolves to the sequence that the kept one covers. */
  async #keep(snapshot: SnapshotRef): Promise<number> {
    for (let tries = 0; tries < POINTER_TRIES_MAX; tries += 1) {
      const kept = await this.#pointer.read();
      if (kept !== undefined && kept.ref.term > snapshot.term) throw this.#error('JOURNAL_CONFLICT', `term ${kept.ref.term} has kept a snapshot`);
      if (kept !== undefined && kept.ref.sequence >= snapshot.sequence) return kept.ref.sequence;
      if (await this.#pointer.write(snapshot, kept?.revision ?? 0)) return snapshot.sequence;
    }
    throw this.#error('JOURNAL_UNREACHABLE', `where the snapshot lies could not be kept in ${POINTER_TRIES_MAX} tries`);
  }
}

function sequenceOf(headers: MsgHdrs | undefined): number {
  return Number(headers?.get(DirectMsgHeaders.Sequence));
}
