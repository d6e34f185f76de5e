/**
 * The engines that coordinators stand on, as one of them meets them: a journal, the leader's entry and the object store.
 * Each is one durable thing that all share, and a way to it for each party that can be slow, be cut in either direction,
 * fail, or lose its answer. What lies on the disk is bytes; every group is shown to the checker as it is written, which is
 * when it becomes true.
 */
import type { Clock } from '../../coordinator/clock.ts';
import { EVENT_SCHEMA_VERSION, GROUP_BYTES_MAX, type Journal } from '../../coordinator/journal/index.ts';
import type { Holder, LeaderEntry } from '../../coordinator/leadership/index.ts';
import { AlumnusError, type ErrorCode } from '../../proto/errors.ts';
import { EventGroup, type Event } from '../../proto/gen/alumnus/v1/events.ts';
import type { SnapshotRef } from '../../proto/gen/alumnus/v1/record.ts';
import { sha256, type ObjectRef, type ObjectStore, type PutOptions } from '../../store/index.ts';
import type { Links, Party } from './party.ts';
import type { Plan } from './plan.ts';
import { type MemoryStore } from './store.ts';
import type { World } from './world.ts';

/** After it a caller knows that nobody answers. */
const CALL_MS_MAX = 5_000;
/** A list that is not of this moment leaves out what came since. */
export const LIST_LAG_MS_MAX = 5_000;

/** Ways to break the disk on purpose, to see that the checkers notice. */
export type DiskMutant = 'none' | 'forgets-acknowledged' | 'ignores-sequence' | 'writes-twice';

interface Group {
  readonly bytes: Uint8Array;
  readonly first: number;
  readonly last: number;
  readonly term: number;
  readonly release: number;
}

/** What all parties share of a call. */
export interface Way {
  readonly world: World;
  readonly party: Party;
  readonly links: Links;
  readonly plan: Plan;
  /** Of the party's program. It writes a schema of this version, and refuses newer ones. */
  readonly release: number;
  /** The faults of the moment, or none when the world has healed. */
  readonly faulty: () => boolean;
}

const JOURNAL = 'journal';
const ENTRY = 'entry';
export const STORE = 'store';

/** One request and its answer. `act` happens once, where the request arrives, whatever becomes of the answer. */
function request<Result>({ world, party, links }: Way, to: string, delayMs: () => number, act: () => Result, lost: { code: ErrorCode; withinMs: number; answer?: boolean }): Promise<Result> {
  return new Promise((resolve, reject) => {
    const giveUp = party.later(lost.withinMs, () => reject(new AlumnusError(lost.code, `${to} did not answer`)));
    const answer = (settle: () => void): void => void party.later(delayMs(), () => {
      giveUp();
      settle();
    });
    if (!links.passes(party.name, to)) return;
    // On its way it no longer depends on who sent it.
    world.after(delayMs(), () => {
      let result: Result;
      try {
        result = act();
      } catch (thrown) {
        if (links.passes(to, party.name)) answer(() => reject(thrown instanceof Error ? thrown : new Error(String(thrown))));
        return;
      }
      // What it came to may be a promise that nobody waits for now.
      Promise.resolve(result).catch(() => undefined);
      if (links.passes(to, party.name) && lost.answer !== true) answer(() => resolve(result));
    });
  });
}

export class Disk {
  groups: Group[] = [];
  lastSequence = 0;
  /** Of the newest group. */
  term = 0;
  snapshot: SnapshotRef | undefined;
  #snapshotRelease = 0;
  readonly mutant: DiskMutant;
  readonly #onWritten: (group: EventGroup) => void;
  #appended = 0;

  constructor(mutant: DiskMutant, onWritten: (group: EventGroup) => void) {
    this.mutant = mutant;
    this.#onWritten = onWritten;
  }

  /** The newest release that wrote what is there. A term's beginning holds nothing to read. */
  get release(): number {
    return Math.max(this.#snapshotRelease, ...this.groups.filter(({ first, last }) => last >= first).map(({ release }) => release));
  }

  /** @throws AlumnusError JOURNAL_CONFLICT as every engine does. */
  write(term: number, expected: number, events: readonly Event[], release: number): void {
    const begins = events.length === 0;
    if (this.mutant !== 'ignores-sequence') {
      if (begins ? term !== this.term + 1 : term !== this.term) throw new AlumnusError('JOURNAL_CONFLICT', `term ${term} meets term ${this.term}`);
      if (expected !== this.lastSequence) throw new AlumnusError('JOURNAL_CONFLICT', `the journal is at ${this.lastSequence}`);
    }
    const bytes = EventGroup.encode({ schemaVersion: EVENT_SCHEMA_VERSION, term, firstSequence: expected + 1, events: [...events] }).finish();
    if (bytes.length > GROUP_BYTES_MAX && events.length > 2) throw new Error('a group outgrew its message');
    const group: Group = { bytes, first: expected + 1, last: expected + events.length, term, release };
    this.#onWritten(EventGroup.decode(bytes));
    this.groups.push(group);
    this.#appended += 1;
    if (this.mutant === 'writes-twice' && !begins) this.groups.push(group);
    if (this.mutant === 'forgets-acknowledged' && this.#appended === 8) this.groups.splice(-2, 1);
    this.lastSequence = group.last;
    this.term = Math.max(this.term, term);
  }

  /** The last groups are gone, as after a power failure of servers that acknowledge before they flush; Infinity: all, and where the snapshot lies. */
  rewind(groups: number): void {
    if (groups === Infinity) {
      this.snapshot = undefined;
      this.#snapshotRelease = 0;
    }
    this.groups = groups === Infinity ? [] : this.groups.slice(0, Math.max(0, this.groups.length - groups));
    this.lastSequence = this.groups.at(-1)?.last ?? this.snapshot?.sequence ?? 0;
    this.term = this.groups.at(-1)?.term ?? this.snapshot?.term ?? 0;
  }

  way(way: Way, crash: () => void): Journal {
    const { world, plan, party } = way;
    const { random } = world;
    let known = 0;
    let began = -1;
    const delayMs = (): number => {
      if (!way.faulty() || !random.chance(plan.chance.appendSlow)) return random.next() * plan.appendMs;
      world.count('fault: slow journal');
      return random.magnitude(1_000, 30_000);
    };
    const lost = { code: 'JOURNAL_UNREACHABLE', withinMs: CALL_MS_MAX } as const;
    const conflict = (what: string): AlumnusError => new AlumnusError('JOURNAL_CONFLICT', what);
    const write = async (term: number, expected: number, events: readonly Event[]): Promise<void> => {
      const fault = way.faulty() ? random.next() : 1;
      const { appendRefused, appendLostAck, killInAppend } = plan.chance;
      if (fault < appendRefused) {
        world.count('fault: journal out of space');
        await request(way, JOURNAL, delayMs, () => {
          throw new AlumnusError('STORE_FULL', 'the journal cannot grow');
        }, lost);
      }
      const lostAck = fault < appendRefused + appendLostAck;
      if (lostAck) world.count('fault: acknowledgement of an append lost');
      const killed = !lostAck && fault < appendRefused + appendLostAck + killInAppend;
      await request(way, JOURNAL, delayMs, () => {
        const { alive } = party;
        this.write(term, expected, events, way.release);
        if (!alive) world.count('branch: a dead leader\'s append arrives');
        if (killed && alive) {
          world.count('fault: killed between append and acknowledgement');
          crash();
        }
      }, { ...lost, answer: lostAck }).catch((thrown: unknown) => {
        if (thrown instanceof AlumnusError && thrown.code === 'JOURNAL_CONFLICT') world.count('branch: a deposed leader\'s append is refused');
        throw thrown;
      });
      if (way.faulty() && random.chance(plan.chance.crashAtAwait)) {
        world.count('fault: killed between acknowledgement and answer');
        crash();
        await new Promise(() => undefined);
      }
    };
    return {
      description: 'simulated', factBytesMax: 64 * 1024 * 1024,
      get lastSequence() {
        return known;
      },
      begin: async () => {
        const term = this.term + 1;
        if (known !== this.lastSequence) throw conflict(`the journal is at ${this.lastSequence}`);
        await write(term, known, []);
        began = term;
        return term;
      },
      append: async (expected, term, events) => {
        if (term !== began && this.mutant !== 'ignores-sequence') throw conflict(`term ${term} was not begun here`);
        await write(term, expected, events);
        return (known = expected + events.length);
      },
      read: (after) => this.#read(way, delayMs, after, (sequence) => (known = sequence)),
      snapshot: () => request(way, JOURNAL, delayMs, () => {
        if (this.#snapshotRelease > way.release) throw new AlumnusError('JOURNAL_UNREADABLE', 'the snapshot is of a newer release');
        return this.snapshot;
      }, lost),
      truncate: (snapshot) => request(way, JOURNAL, delayMs, () => {
        if (this.term !== began || snapshot.sequence <= (this.snapshot?.sequence ?? 0)) throw conflict('a newer leader has kept a snapshot');
        this.snapshot = snapshot;
        this.#snapshotRelease = way.release;
        world.count('branch: the journal is truncated');
        this.groups = this.groups.filter((group, at) => group.last > snapshot.sequence || at === this.groups.length - 1);
      }, lost),
      close: () => Promise.resolve(),
    };
  }

  async *#read(way: Way, delayMs: () => number, after: number, reached: (sequence: number) => void): AsyncGenerator<EventGroup> {
    const { covered, groups } = await request(way, JOURNAL, delayMs, () => ({ covered: this.snapshot?.sequence ?? 0, groups: [...this.groups] }), { code: 'JOURNAL_UNREACHABLE', withinMs: CALL_MS_MAX });
    if (after < covered) throw new AlumnusError('JOURNAL_UNREADABLE', `facts up to ${covered} lie in a snapshot`);
    reached(after);
    let expected = after + 1;
    for (const { bytes, first, last, release } of groups) {
      if (last <= after) continue;
      if (release > way.release) {
        way.world.count('branch: an older release refuses what a newer one wrote');
        throw new AlumnusError('JOURNAL_UNREADABLE', 'the group is of a newer release');
      }
      if (first !== expected) throw new AlumnusError('JOURNAL_UNREADABLE', `facts are missing before sequence ${first}`);
      yield EventGroup.decode(bytes);
      expected = last + 1;
      reached(last);
    }
  }
}

/** The leader's entry: a key with a time to live, counted in true time. */
export class SharedEntry {
  held: { holder: Holder; revision: number; untilMs: number } | undefined;
  /** True time until which an early loss excuses two holders. */
  lostUntilMs = 0;
  readonly #world: World;
  readonly #ttlMs: number;
  #revision = 0;

  constructor(world: World, ttlMs: number) {
    this.#world = world;
    this.#ttlMs = ttlMs;
  }

  present(): { holder: Holder; revision: number } | undefined {
    return this.held !== undefined && this.held.untilMs > this.#world.nowMs ? this.held : undefined;
  }

  /** As by a server that came back without it. */
  lose(): void {
    this.held = undefined;
    this.lostUntilMs = this.#world.nowMs + this.#ttlMs;
  }

  #put(holder: Holder): number {
    this.held = { holder, revision: (this.#revision += 1), untilMs: this.#world.nowMs + this.#ttlMs };
    return this.#revision;
  }

  way(way: Way): LeaderEntry {
    const { world, plan } = way;
    const call = <Result>(act: () => Result): Promise<Result> => {
      const answer = way.faulty() && world.random.chance(plan.chance.entryAnswerLost);
      if (answer) world.count('fault: answer of the leader\'s entry lost');
      return request(way, ENTRY, () => world.random.next() * Math.min(plan.appendMs, this.#ttlMs / 20), act, { code: 'JOURNAL_UNREACHABLE', withinMs: this.#ttlMs / 5, answer });
    };
    return {
      ttlMs: this.#ttlMs,
      create: (holder) => call(() => (this.present() === undefined ? this.#put(holder) : undefined)),
      update: (holder, revision) => call(() => (this.present()?.revision === revision ? this.#put(holder) : undefined)),
      read: () => call(() => this.present()),
      delete: (revision) => call(() => {
        if (this.present()?.revision === revision) this.held = undefined;
      }),
    };
  }
}

/** A party's way to the object store. Bytes that arrived are whole, or are not there at all. */
export class StoreWay implements ObjectStore {
  readonly #shared: MemoryStore;
  readonly #way: Way;
  readonly #crash: () => void;

  constructor(shared: MemoryStore, way: Way, crash: () => void = () => undefined) {
    this.#shared = shared;
    this.#way = way;
    this.#crash = crash;
  }

  async #call<Result>(act: () => Promise<Result>, puts: boolean): Promise<Result> {
    const way = this.#way;
    const { world, plan, party } = way;
    const { random } = world;
    const fault = way.faulty() ? random.next() : 1;
    const { storeFails, storeHangs } = plan.chance;
    const delayMs = (): number => random.next() * plan.appendMs;
    const lost = { code: 'STORE_UNREACHABLE', withinMs: CALL_MS_MAX } as const;
    if (fault < storeFails) {
      const [code, what] = random.pick<readonly [ErrorCode, string]>(puts ? [['STORE_UNREACHABLE', 'fails (5xx)'], ['STORE_FULL', 'is full'], ['STORE_UNREACHABLE', 'cuts an upload off']] : [['STORE_UNREACHABLE', 'fails (5xx)']]);
      world.count(`fault: the store ${what}`);
      await request(way, STORE, delayMs, () => {
        throw new AlumnusError(code, 'the store refused');
      }, lost);
    }
    // It may have taken the bytes before it fell silent.
    const hangs = fault < storeFails + storeHangs;
    if (hangs) world.count('fault: the store doesn\'t answer');
    const done = await request(way, STORE, delayMs, act, { ...lost, answer: hangs });
    if (puts && way.faulty() && random.chance(plan.chance.crashAtAwait)) {
      world.count('fault: killed between a put and what follows');
      this.#crash();
      if (!party.alive) await new Promise(() => undefined);
    }
    return done;
  }

  putAddressed(prefix: string, content: Uint8Array | AsyncIterable<Uint8Array>, options?: PutOptions): Promise<ObjectRef> {
    return this.#call(() => this.#shared.putAddressed(prefix, content, options), true);
  }

  putNamed(key: string, content: Uint8Array): Promise<{ created: boolean; ref: ObjectRef }> {
    return this.#call(() => this.#shared.putNamed(key, content), true);
  }

  async get(ref: ObjectRef): Promise<Uint8Array> {
    const { world, plan, faulty } = this.#way;
    const content = await this.#call(() => this.#shared.get(ref), false);
    if (faulty() && world.random.chance(plan.chance.wrongBytes)) {
      world.count('fault: wrong bytes from the store');
      throw new AlumnusError('DIGEST_MISMATCH', 'other bytes came', { where: ref.key });
    }
    return content;
  }

  async *stream(ref: ObjectRef): AsyncGenerator<Uint8Array> {
    yield await this.get(ref);
  }

  async getRange(ref: ObjectRef, start: number, end: number): Promise<Uint8Array> {
    return (await this.get(ref)).subarray(start, end);
  }

  getNamed(key: string): Promise<{ ref: ObjectRef; content: Uint8Array } | undefined> {
    return this.#named(key);
  }

  async #named(key: string): Promise<{ ref: ObjectRef; content: Uint8Array } | undefined> {
    const { world, plan, faulty } = this.#way;
    const named = await this.#call(() => this.#shared.getNamed(key), false);
    if (named === undefined || plan.chance.wrongNamedBytes === 0 || !faulty() || !world.random.chance(plan.chance.wrongNamedBytes)) return named;
    world.count('fault: wrong bytes from the store, by name');
    // The reader has no digest to hold them against but the one in the name.
    const content = Buffer.from(named.content);
    content[0] = (content[0] ?? 0) ^ 1;
    return { content, ref: { ...named.ref, sha256: sha256(content) } };
  }

  metadata(key: string): Promise<Record<string, string>> {
    return this.#call(() => this.#shared.metadata(key), false);
  }

  async *list(prefix: string): AsyncGenerator<{ key: string; bytes: number }> {
    const { world, plan, faulty } = this.#way;
    const stale = plan.chance.staleList > 0 && faulty() && world.random.chance(plan.chance.staleList);
    const listed = await this.#call(async () => {
      const found: { key: string; bytes: number }[] = [];
      for await (const each of this.#shared.list(prefix)) {
        if (!stale || (this.#shared.bornMs.get(each.key) ?? 0) + LIST_LAG_MS_MAX <= world.nowMs) found.push(each);
        else world.count('fault: the store\'s list is stale');
      }
      return found;
    }, false);
    yield* listed;
  }

  delete(key: string): Promise<void> {
    return this.#call(() => this.#shared.delete(key), true);
  }
}

/** A party's clock runs at a speed of its own and never back. */
export function clockOf(world: World, party: Party, rate: number): Clock {
  const beganMs = world.nowMs;
  return {
    now: () => Math.round(beganMs + (world.nowMs - beganMs) * rate) + party.clockAheadMs,
    sleep: (ms, signal) => new Promise((resolve) => {
      if (signal?.aborted) return resolve();
      const done = (): void => {
        signal?.removeEventListener('abort', done);
        cancel();
        resolve();
      };
      signal?.addEventListener('abort', done, { once: true });
      const cancel = party.later(ms / rate, done);
    }),
  };
}
