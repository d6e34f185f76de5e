/**
 * Facts for other systems: every journalled fact is published as a message of its own on a documented subject of NATS
 * (docs/journal.md). Not for: anything that Alumnus decides from; nothing here is ever read back but how far it went.
 *
 * Invariants:
 *  1. Facts appear in the order of their sequences, each once or more, and none is left out while it is in the journal.
 *     Each publish names the place in its stream that it takes, so that a later one never overtakes one that was lost, also
 *     where two coordinators publish.
 *  2. `publish` returns at once and never fails: what the buffer can't hold is read from the journal again.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { AlumnusError, toAlumnusError } from '../../proto/errors.ts';
import { Event, type EventGroup } from '../../proto/gen/alumnus/v1/events.ts';
import type { Log } from '../../telemetry/index.ts';
import { ensureStream, insist, jetstreamOf, MESSAGE_OVERHEAD_BYTES, natsError, type Nats } from '../nats.ts';
import { lastOf } from './group.ts';
import { openJetStream } from './jetstream.ts';
import type { Journal } from './journal.ts';

/** Long enough for a system that was down over a weekend. */
const AGE_MS_DEFAULT = 7 * 24 * 3_600_000;
/** Groups that wait for being published. Beyond it they are read from the journal again. */
const BUFFER_GROUPS = 256;
/** Messages on their way at once, and their bytes: enough to hide the way to the servers, little enough to send again. */
const WINDOW_MESSAGES = 256;
const WINDOW_BYTES = 2 * 1024 * 1024;
/** What waits for servers that are away is left alone: it ends with the connection. */
const CLOSE_MS = 2_000;
const RETRY_MS_LEAST = 250;
const RETRY_MS_MOST = 10_000;

export interface FactSink {
  /**
   * Takes a group that is in the journal; of a term, first the group without facts that began it, which says how far the journal
   * goes: what earlier leaders left unpublished follows then.
   */
  publish(group: EventGroup): void;
  /** Ends within seconds; what was not published yet is when the next term begins. */
  close(): Promise<void>;
}

export interface FactOptions {
  /** How long the stream keeps a fact, where it is made. Default: seven days. */
  readonly ageMs?: number;
  readonly log?: Log;
}

export const factNames = (name: string): { stream: string; subjects: string } => ({ stream: `${name}-facts`, subjects: `alumnus.${name}.facts.>` });

/** A run's id as one token of a subject: every byte but letters, digits, `_` and `-` as `%` and two digits. */
export const subjectToken = (text: string): string => [...Buffer.from(text)].map((byte) => {
  const character = String.fromCharCode(byte);
  return /[\w-]/.test(character) ? character : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
}).join('') || '%';

interface FactMessage {
  readonly sequence: number;
  /** The same whoever publishes it. A journal that took another's place counts from one again, hence the term. */
  readonly id: string;
  readonly subject: string;
  readonly body: Uint8Array;
}

/** What a fact looks like to others. @param bytesMax beyond it the message says how large the fact is, and holds it not */
export function factMessage(name: string, event: Event, sequence: number, term: number, bytesMax: number): FactMessage {
  const kind = event.fact?.$case ?? 'unknown';
  const head = { sequence, term, kind };
  const { runId, atMs } = event;
  const whole = Buffer.from(JSON.stringify({ ...head, ...(Event.toJSON(event) as object) }));
  const body = whole.length <= bytesMax ? whole : Buffer.from(JSON.stringify({ ...head, runId, atMs, omittedBytes: whole.length }));
  return { sequence, id: `${term}.${sequence}`, subject: `alumnus.${name}.facts.${subjectToken(runId)}.${kind}`, body };
}

/** @throws AlumnusError JOURNAL_UNREACHABLE, JOURNAL_UNSUITABLE, JOURNAL_FORBIDDEN, STORE_FULL */
export async function openFacts(nats: Nats, { ageMs = AGE_MS_DEFAULT, log = () => undefined }: FactOptions = {}): Promise<FactSink> {
  const { stream, subjects } = factNames(nats.url.name);
  await ensureStream(nats, { name: stream, subjects: [subjects], retention: 'limits', storage: 'file', discard: 'old', no_ack: false, sealed: false }, { max_age: ageMs * 1e6, allow_direct: true, description: 'Alumnus: facts for other systems' });
  // Its own way to the journal: a reader moves the place up to which a journal was read, and the leader's is the leader's.
  return new Publisher(nats, await openJetStream(nats), stream, log);
}

class Publisher implements FactSink {
  readonly #nats: Nats;
  readonly #journal: Journal;
  readonly #stream: string;
  readonly #log: Log;
  readonly #closing = new AbortController();
  readonly #running: Promise<void>;
  #buffer: EventGroup[] = [];
  /** How far the journal goes, as we were told. */
  #end = 0;
  /** How far it went when the newest term began; to be compared with what was published before. */
  #begun: number | undefined;
  #wake: () => void = () => undefined;
  /** The last message that is about another journal, whose place this one took. */
  #foreign: number | undefined;
  /** The last message of the stream, and the sequence of its fact. Undefined where the stream must be asked. */
  #published: { message: number; sequence: number } | undefined;

  constructor(nats: Nats, journal: Journal, stream: string, log: Log) {
    this.#nats = nats;
    this.#journal = journal;
    this.#stream = stream;
    this.#log = log;
    this.#running = this.#run();
  }

  publish(group: EventGroup): void {
    if (group.events.length === 0) {
      this.#begun = lastOf(group);
      this.#buffer = [];
      this.#end = lastOf(group);
    } else {
      if (this.#buffer.length >= BUFFER_GROUPS) this.#buffer = [];
      this.#buffer.push(group);
      this.#end = Math.max(this.#end, lastOf(group));
    }
    this.#wake();
  }

  async close(): Promise<void> {
    this.#closing.abort();
    this.#wake();
    await Promise.race([this.#running, sleep(CLOSE_MS, undefined, { ref: false })]);
  }

  async #run(): Promise<void> {
    const { signal } = this.#closing;
    let waitMs = 0;
    while (!signal.aborted) {
      try {
        await this.#catchUp();
        if (waitMs > 0) this.#log('facts for other systems are published again');
        waitMs = 0;
        // Between the last look and this line nothing else ran.
        if (!signal.aborted && (this.#published?.sequence ?? 0) >= this.#end && this.#begun === undefined) await new Promise<void>((resolve) => (this.#wake = resolve));
      } catch (thrown) {
        this.#published = undefined;
        if (waitMs === 0) this.#log(`facts for other systems are not published just now: ${toAlumnusError(thrown).sentence}`);
        waitMs = Math.min(Math.max(waitMs * 2, RETRY_MS_LEAST), RETRY_MS_MOST);
        await sleep(waitMs, undefined, { signal }).catch(() => undefined);
      }
    }
  }

  async #catchUp(): Promise<void> {
    const { signal } = this.#closing;
    while (!signal.aborted && (this.#begun !== undefined || (this.#published?.sequence ?? 0) < this.#end)) {
      if (this.#begun !== undefined) this.#published = undefined;
      const published = (this.#published ??= await this.#lookUp());
      this.#buffer = this.#buffer.filter((group) => lastOf(group) > published.sequence);
      const [next] = this.#buffer;
      if (next !== undefined && next.firstSequence <= published.sequence + 1) await this.#send([next]);
      else if (published.sequence < this.#end) await this.#readOn(published.sequence);
    }
  }

  /** What the stream ends with. Where all of it has aged away, what the journal has comes again from the first: the stream counts a fact's age from its arrival. */
  async #lookUp(): Promise<{ message: number; sequence: number }> {
    const begun = this.#begun;
    const { manager } = await jetstreamOf(this.#nats);
    const found = await insist(this.#nats, 'look how far facts were published', async () => {
      const { state } = await manager.streams.info(this.#stream);
      const last = state.messages === 0 ? null : await manager.streams.getMessage(this.#stream, { seq: state.last_seq });
      return { message: state.last_seq, sequence: last?.json<{ sequence: number }>().sequence ?? 0 };
    });
    if (begun !== undefined && this.#begun === begun) this.#begun = undefined;
    if (found.message === this.#foreign) return { ...found, sequence: 0 };
    if (begun === undefined || found.sequence <= begun) return found;
    this.#foreign = found.message;
    this.#log(`facts up to sequence ${found.sequence} were published, and the journal ended at ${begun} when this term began: another journal took its place, and is published from its first fact on`);
    return { ...found, sequence: 0 };
  }

  async #readOn(sequence: number): Promise<void> {
    let from = sequence;
    const covered = (await this.#journal.snapshot())?.sequence ?? 0;
    if (covered > from) {
      this.#log(`facts ${from + 1} to ${covered} were not published: the journal holds them no more`);
      from = covered;
    }
    let window: EventGroup[] = [];
    let events = 0;
    for await (const group of this.#journal.read(from)) {
      if (this.#closing.signal.aborted || this.#begun !== undefined) return;
      window.push(group);
      events += group.events.length;
      if (events < WINDOW_MESSAGES) continue;
      await this.#send(window);
      window = [];
      events = 0;
    }
    await this.#send(window);
    if (this.#published !== undefined && this.#published.sequence < covered) this.#published = { ...this.#published, sequence: covered };
    // What we were told of is in the journal; where it isn't, another journal has taken its place, and a term will begin there.
    if (this.#published !== undefined && this.#published.sequence < this.#end) throw new AlumnusError('JOURNAL_UNREADABLE', `it ends before sequence ${this.#end}, which was published or journalled`, { where: this.#journal.description });
  }

  /** @throws AlumnusError where one of them was not acknowledged; then the stream says which were taken */
  async #send(groups: readonly EventGroup[]): Promise<void> {
    const bytesMax = this.#nats.maxPayloadBytes - MESSAGE_OVERHEAD_BYTES;
    let window: FactMessage[] = [];
    let bytes = 0;
    for (const group of groups) {
      for (const [index, event] of group.events.entries()) {
        const sequence = group.firstSequence + index;
        if (sequence <= (this.#published?.sequence ?? 0)) continue;
        const message = factMessage(this.#nats.url.name, event, sequence, group.term, bytesMax);
        if (window.length >= WINDOW_MESSAGES || bytes + message.body.length > WINDOW_BYTES && window.length > 0) {
          await this.#sendWindow(window);
          window = [];
          bytes = 0;
        }
        window.push(message);
        bytes += message.body.length;
      }
    }
    await this.#sendWindow(window);
    const last = groups.at(-1);
    if (last !== undefined && this.#published !== undefined) this.#published = { message: this.#published.message, sequence: Math.max(this.#published.sequence, lastOf(last)) };
  }

  async #sendWindow(window: readonly FactMessage[]): Promise<void> {
    const from = this.#published;
    if (window.length === 0 || from === undefined) return;
    const { client } = await jetstreamOf(this.#nats);
    const outcomes = await Promise.allSettled(window.map(({ id, subject, body }, index) => client.publish(subject, body, { msgID: id, expect: { streamName: this.#stream, lastSequence: from.message + index } })));
    for (const [index, outcome] of outcomes.entries()) {
      if (outcome.status === 'rejected') throw natsError(outcome.reason, this.#nats, `publish the fact ${window[index]?.sequence ?? 0}`);
      // A copy of what another coordinator published: the stream is to be asked.
      if (outcome.value.seq !== from.message + index + 1) throw new AlumnusError('JOURNAL_UNREACHABLE', 'another coordinator publishes, too', { where: this.#nats.description });
    }
    this.#published = { message: from.message + window.length, sequence: window.at(-1)?.sequence ?? from.sequence };
  }
}
