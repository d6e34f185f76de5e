/** The journal on NATS against the suite that all journals pass, and what is its own: lost answers, servers that die, leaders that contend. */
import { readFileSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { jetstreamManager } from '@nats-io/jetstream';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openFacts, openJetStream, type Journal } from '../../../coordinator/journal/index.ts';
import { openEntry } from '../../../coordinator/leadership/index.ts';
import { connectNats } from '../../../coordinator/nats.ts';
import type { Event } from '../../../proto/gen/alumnus/v1/events.ts';
import { Proxy } from '../../harness/proxy.ts';
import { describeOnServers } from '../../harness/servers.ts';
import { journalConformance, paused, pausedMany, readAll, refAt } from '../../unit/coordinator/journal-conformance.ts';
import { Places } from './places.ts';

const conflict = { code: 'JOURNAL_CONFLICT' };
const facts = async (journal: Journal): Promise<Event[]> => (await readAll(journal)).flatMap((group) => group.events);

/** Appends one fact after another in the background. */
class Writer {
  acknowledged = 0;
  #stopping = false;
  readonly #running: Promise<void>;

  constructor(journal: Journal, term: number) {
    this.#running = this.#run(journal, term);
    // Awaited by `stop`.
    this.#running.catch(() => undefined);
  }

  async #run(journal: Journal, term: number): Promise<void> {
    while (!this.#stopping) this.acknowledged = await journal.append(this.acknowledged, term, [paused(this.acknowledged + 1)]);
  }

  /** Resolves when so many more are acknowledged. */
  async writes(more: number): Promise<void> {
    const wanted = this.acknowledged + more;
    while (this.acknowledged < wanted) await Promise.race([this.#running, sleep(5)]);
  }

  /** Resolves to how many were acknowledged. */
  async stop(): Promise<number> {
    this.#stopping = true;
    await this.#running;
    return this.acknowledged;
  }
}

/** Within the body of the message of this number, each of which begins with its subject: bit rot. */
function flipByte(file: string, subject: string, message: number): void {
  const bytes = readFileSync(file);
  let at = -1;
  for (let found = 0; found < message; found += 1) at = bytes.indexOf(subject, at + 1);
  if (at < 0) throw new Error(`the file holds no ${message} messages`);
  // Behind the subject lie some 150 bytes of headers; half-way between two messages is in headers or body, and both are covered by the checksum.
  const middle = Math.floor((at + bytes.indexOf(subject, at + 1)) / 2);
  bytes[middle] = (bytes[middle] ?? 0) ^ 1;
  writeFileSync(file, bytes);
}

for (const replicas of [1, 3] as const) {
  describeOnServers(['nats-server'], `the journal on NATS, replicas=${replicas}`, () => {
    let places: Places;
    beforeAll(async () => {
      places = await Places.start(replicas);
    });
    afterAll(() => places.stop());

    journalConformance(`on NATS, replicas=${replicas}`, (place, after) => places.lead(place, after), () => places.fresh());

    test('of two that begin the same term at once, one succeeds', async () => {
      const place = places.fresh();
      const journals = await Promise.all([0, 1].map(async () => openJetStream(await places.connect(place))));
      for (let round = 1; round <= 10; round += 1) {
        for (const journal of journals) await readAll(journal);
        const outcomes = await Promise.allSettled(journals.map((journal) => journal.begin()));
        expect(outcomes.map((each) => each.status).sort()).toEqual(['fulfilled', 'rejected']);
        for (const outcome of outcomes) expect(outcome).toMatchObject(outcome.status === 'fulfilled' ? { value: round } : { reason: conflict });
      }
    });

    test('where an append and the next leader\'s beginning race, one of them wins', async () => {
      const place = places.fresh();
      let { journal: old, term } = await places.lead(place);
      let wins = 0;
      for (let round = 1; round <= 10; round += 1) {
        const next = await openJetStream(await places.connect(place));
        await readAll(next);
        const last = old.lastSequence;
        const [append, begin] = await Promise.allSettled([old.append(last, term, [paused(round)]), next.begin()]);
        expect([append.status, begin.status].sort()).toEqual(['fulfilled', 'rejected']);
        expect((append.status === 'rejected' ? append : begin)).toMatchObject({ reason: conflict });
        if (append.status === 'fulfilled') {
          wins += 1;
          await readAll(next);
        }
        term = begin.status === 'fulfilled' ? begin.value : await next.begin();
        await expect(old.append(old.lastSequence, term - 1, [paused(99)])).rejects.toMatchObject(conflict);
        old = next;
      }
      expect(old.lastSequence).toBe(wins);
      expect(await facts(old)).toHaveLength(wins);
    });

    test('a deposed leader that has read of the new term appends nothing, though it knows the right sequence', async () => {
      const place = places.fresh();
      const old = await places.lead(place);
      await old.journal.append(0, old.term, pausedMany(1, 1));
      const next = await places.lead(place);
      await readAll(old.journal);
      await expect(old.journal.append(1, old.term, pausedMany(2, 1))).rejects.toMatchObject(conflict);
      await expect(old.journal.append(1, next.term, pausedMany(2, 1))).rejects.toMatchObject(conflict);
      expect(await facts(next.journal)).toEqual([paused(1)]);
    });

    test('a reader that a snapshot has passed by is told so, and reads on from the snapshot', async () => {
      const place = places.fresh();
      const { journal, term } = await places.lead(place);
      await journal.append(0, term, pausedMany(1, 2));
      const standby = await openJetStream(await places.connect(place));
      await readAll(standby);
      for (let group = 0; group < 20; group += 1) await journal.append(journal.lastSequence, term, pausedMany(3 + group * 2, 2));
      await journal.truncate(refAt(38, term));
      await expect(readAll(standby, 2)).rejects.toMatchObject({ code: 'JOURNAL_UNREADABLE' });
      expect((await readAll(standby, 38)).map((group) => group.firstSequence)).toEqual([39, 41]);
      expect(await standby.begin()).toBe(term + 1);
    });

    test('groups that were purged behind the journal\'s back are noticed', async () => {
      const place = places.fresh();
      const { journal, term } = await places.lead(place);
      for (let group = 1; group <= 5; group += 1) await journal.append(group - 1, term, [paused(group)]);
      const manager = await jetstreamManager((await places.connect(place)).connection);
      await manager.streams.purge(`${place}-journal`, { seq: 4 });
      await expect(readAll(await openJetStream(await places.connect(place)))).rejects.toMatchObject({ code: 'JOURNAL_UNREADABLE', message: expect.stringContaining('missing') as string });
      await manager.streams.purge(`${place}-journal`);
      await expect(readAll(await openJetStream(await places.connect(place)))).rejects.toMatchObject({ code: 'JOURNAL_UNREADABLE', message: expect.stringContaining('emptied') as string });
    });
  });
}

describeOnServers(['nats-server'], 'the journal on NATS, when answers get lost', () => {
  let places: Places;
  let proxy: Proxy;
  beforeAll(async () => {
    places = await Places.start(1);
    proxy = await Proxy.start(() => places.servers.urls[0]!.replace('nats://', ''));
  });
  afterAll(async () => {
    proxy.stop();
    await places.stop();
  });

  test.each([['and the server still knows the id', 120_000], ['and the server has forgotten the id', 100]])('an append succeeds once, %s', async (_, windowMs) => {
    const place = places.fresh();
    const direct = await places.lead(place);
    const manager = await jetstreamManager((await places.connect(place)).connection);
    await manager.streams.update(`${place}-journal`, { duplicate_window: windowMs * 1e6 });
    const { journal, term } = await places.lead(place, 0, { address: proxy.address });
    proxy.mute();
    const append = journal.append(0, term, pausedMany(1, 3));
    // The server has it; its answer has not passed.
    while ((await facts(direct.journal)).length === 0) await sleep(20);
    await sleep(2 * Math.min(windowMs, 100));
    proxy.cut();
    expect(await append).toBe(3);
    expect(await journal.append(3, term, pausedMany(4, 1))).toBe(4);
    expect(await facts(direct.journal)).toEqual(pausedMany(1, 4));
  });

  test('an append that another leader has read and gone on from succeeded; the next one fails', async () => {
    const place = places.fresh();
    const old = await places.lead(place, 0, { address: proxy.address });
    proxy.mute();
    const append = old.journal.append(0, old.term, pausedMany(1, 1));
    const next = await openJetStream(await places.connect(place));
    while ((await readAll(next)).length === 0) await sleep(20);
    const term = await next.begin();
    await next.append(1, term, pausedMany(2, 1));
    proxy.cut();
    expect(await append).toBe(1);
    await expect(old.journal.append(1, old.term, pausedMany(9, 1))).rejects.toMatchObject(conflict);
    expect(await facts(next)).toEqual(pausedMany(1, 2));
  });

  test('an append that never reached the servers, and whose place another took, is refused and never appears', async () => {
    const place = places.fresh();
    const old = await places.lead(place, 0, { address: proxy.address });
    proxy.refuse();
    const append = old.journal.append(0, old.term, pausedMany(9, 1));
    append.catch(() => undefined);
    const next = await places.lead(place);
    await next.journal.append(0, next.term, pausedMany(1, 1));
    proxy.admit();
    await expect(append).rejects.toMatchObject(conflict);
    expect(await facts(next.journal)).toEqual([paused(1)]);
  });

  test('an append that nobody answers ends in a bounded time; its group is there whole or not at all', async () => {
    const place = places.fresh();
    const { journal, term } = await places.lead(place, 0, { address: proxy.address, insistMs: 500 });
    proxy.mute();
    await expect(journal.append(0, term, pausedMany(1, 3))).rejects.toMatchObject({ code: 'JOURNAL_UNREACHABLE' });
    proxy.cut();
    const next = await places.lead(place);
    expect(await facts(next.journal)).toEqual(pausedMany(1, 3));
    await expect(journal.append(0, term, pausedMany(9, 1))).rejects.toMatchObject(conflict);
  });

  test('a truncation whose answer is lost can be done again', async () => {
    const place = places.fresh();
    const { journal, term } = await places.lead(place, 0, { address: proxy.address });
    await journal.append(0, term, pausedMany(1, 1));
    await journal.append(1, term, pausedMany(2, 1));
    proxy.mute();
    const truncate = journal.truncate(refAt(1, term));
    await sleep(300);
    proxy.cut();
    await truncate;
    expect(await journal.snapshot()).toEqual(refAt(1, term));
    expect((await readAll(journal, 1)).map((group) => group.firstSequence)).toEqual([2]);
  });

  test('through kills of the server every acknowledged group is kept, whole and once', async () => {
    const place = places.fresh();
    const { journal, term } = await places.lead(place);
    const writer = new Writer(journal, term);
    for (let kills = 1; kills <= 3; kills += 1) {
      await writer.writes(50);
      await places.servers.restart();
    }
    await writer.writes(50);
    const count = await writer.stop();
    expect(await facts((await places.lead(place)).journal)).toEqual(pausedMany(1, count));
  });
});

describeOnServers(['nats-server'], 'the journal on a server whose disk damaged a message', () => {
  let places: Places;
  beforeAll(async () => {
    places = await Places.start(1);
  });
  afterAll(() => places.stop());

  test('a truncation drops nothing that its snapshot does not cover: the damage is told instead', async () => {
    const place = places.fresh();
    const { journal, term } = await places.lead(place);
    for (let sequence = 0; sequence < 60; sequence += 1) await journal.append(sequence, term, [paused(sequence + 1)]);
    await places.servers.stop();
    flipByte(places.fileOf(place), `alumnus.${place}.journal`, 32);
    await places.servers.restart();
    // Half of 62 messages and the one behind them is 32: where the search for what lies beyond sequence 20 begins.
    const next = await openJetStream(await places.connect(place));
    await readAll(next, 40);
    await expect(next.truncate(refAt(20, await next.begin()))).rejects.toMatchObject({ code: 'JOURNAL_UNREADABLE', message: 'message 32 is not to be had, and the stream goes from 1 to 62' });
    const manager = await jetstreamManager((await places.connect(place)).connection);
    // The term's beginning, 60 groups, the next term's beginning.
    expect((await manager.streams.info(`${place}-journal`)).state).toMatchObject({ first_seq: 1, last_seq: 62 });
  });
});

describeOnServers(['nats-server'], 'the journal on three NATS servers', () => {
  let places: Places;
  beforeAll(async () => {
    places = await Places.start(3);
  });
  afterAll(() => places.stop());

  test('appends go on when the server that leads the stream is killed, and nothing is lost or doubled', async () => {
    const place = places.fresh();
    const { journal, term } = await places.lead(place);
    const writer = new Writer(journal, term);
    await writer.writes(100);
    const manager = await jetstreamManager((await places.connect(place)).connection);
    const { cluster } = await manager.streams.info(`${place}-journal`);
    const leading = places.servers.servers.find((server) => server.name === cluster?.leader);
    await leading!.kill();
    await writer.writes(100);
    await leading!.restart();
    await writer.writes(100);
    const count = await writer.stop();
    expect(await facts((await places.lead(place)).journal)).toEqual(pausedMany(1, count));
  });
});

describeOnServers(['nats-server'], 'the journal on servers that cannot keep it', () => {
  let places: Places;
  let address: string;
  const connect = (place: string, user: string, query = ''): ReturnType<typeof connectNats> => connectNats(`nats://${address}/${place}${query}`, { env: { ALUMNUS_NATS_USER: user, ALUMNUS_NATS_PASSWORD: 'secret' } });
  const failure = async (call: Promise<unknown>): Promise<unknown> => call.then(() => undefined, (thrown: unknown) => thrown);

  beforeAll(async () => {
    const permissions = /^permissions: \{$[^]*?^\}$/m.exec(readFileSync(new URL('../../../docs/journal.md', import.meta.url), 'utf8'))![0];
    places = await Places.start(1, `
max_payload: 1MB
accounts {
  KEEPS: { jetstream: enabled, users: [
    { user: full, password: secret },
    { user: documented, password: secret, ${permissions} },
    { user: reads, password: secret, permissions: { publish: ["$JS.API.STREAM.INFO.>"], subscribe: ["_INBOX.>"] } }
  ] }
  NONE: { users: [{ user: none, password: secret }] }
}`);
    address = places.servers.urls[0]!.replace('nats://', '');
  });
  afterAll(() => places.stop());

  test('nobody there: it says which servers', async () => {
    const error = await failure(connectNats('nats://127.0.0.1:1,127.0.0.1:2/x', { env: {} }));
    expect(error).toMatchObject({ code: 'JOURNAL_UNREACHABLE', where: 'nats://127.0.0.1:1,127.0.0.1:2/x' });
  });

  test('credentials that are refused: it says so, without them', async () => {
    const error = await failure(connectNats(`nats://${address}`, { env: { ALUMNUS_NATS_USER: 'full', ALUMNUS_NATS_PASSWORD: 'wrong-one' } }));
    expect(error).toMatchObject({ code: 'JOURNAL_FORBIDDEN' });
    expect(JSON.stringify(error) + (error as Error).stack).not.toContain('wrong-one');
  });

  test('an account without JetStream', async () => {
    const nats = await connect('x', 'none');
    expect(await failure(openJetStream(nats))).toMatchObject({ code: 'JOURNAL_UNSUITABLE', message: expect.stringContaining('JetStream is not enabled') as string });
    await nats.close();
  });

  test('a user who may not make the stream: it names the subject', async () => {
    const nats = await connect('x', 'reads');
    expect(await failure(openJetStream(nats))).toMatchObject({ code: 'JOURNAL_FORBIDDEN', message: expect.stringContaining('$JS.API.STREAM.CREATE.x-journal') as string });
    await nats.close();
  });

  test('the permissions that docs/journal.md lists are enough', async () => {
    const nats = await connect('alumnus', 'documented');
    const journal = await openJetStream(nats);
    const term = await journal.begin();
    const facts = await openFacts(nats);
    const events = [{ ...paused(1), atMs: Date.now() }, { ...paused(2), atMs: Date.now() }];
    for (const [index, event] of events.entries()) await journal.append(index, term, [event]);
    await journal.truncate(refAt(1, term));
    const standby = await openJetStream(nats);
    expect((await readAll(standby, 1)).map((group) => group.firstSequence)).toEqual([2]);
    facts.publish({ schemaVersion: 1, term, firstSequence: 3, events: [] });
    const manager = await jetstreamManager((await connect('alumnus', 'full')).connection);
    while ((await manager.streams.info('alumnus-facts')).state.messages === 0) await sleep(20);
    const entry = await openEntry(nats);
    const revision = (await entry.create({ id: 'ann', address: 'ann:1' }))!;
    expect(await entry.create({ id: 'bob', address: 'bob:2' })).toBeUndefined();
    await entry.delete((await entry.update({ id: 'ann', address: 'ann:1' }, revision))!);
    expect(await entry.read()).toBeUndefined();
    await facts.close();
    await nats.close();
  });

  test('a stream that is there with other settings: it names them', async () => {
    const nats = await connect('other', 'full');
    const manager = await jetstreamManager(nats.connection);
    await manager.streams.add({ name: 'other-journal', subjects: ['alumnus.other.journal'], max_age: 60e9, discard: 'old' });
    expect(await failure(openJetStream(nats))).toMatchObject({ code: 'JOURNAL_UNSUITABLE', message: expect.stringMatching(/discard is "old" and must be "new".*max_age is 60000000000 and must be 0/) as string });
    await nats.close();
  });

  test('more replicas than servers', async () => {
    const nats = await connect('many', 'full', '?replicas=3');
    expect(await failure(openJetStream(nats))).toMatchObject({ code: 'JOURNAL_UNSUITABLE', message: expect.stringContaining('3 replicas') as string });
    await nats.close();
  });

  test('a group larger than the server takes: it names the setting, and the journal goes on', async () => {
    const nats = await connect('large', 'full');
    const journal = await openJetStream(nats);
    const term = await journal.begin();
    const large: Event = { runId: 'run', atMs: 1, fact: { $case: 'runPaused', value: { reason: 'x'.repeat(1_100_000), by: 'operator', rule: '' } } };
    expect(journal.factBytesMax).toBeLessThan(1_048_576);
    expect(await failure(journal.append(0, term, [large]))).toMatchObject({ code: 'JOURNAL_UNSUITABLE', message: expect.stringContaining('max_payload (1048576 bytes)') as string });
    expect(await journal.append(0, term, [paused(1)])).toBe(1);
    await nats.close();
  });

  test('a full stream', async () => {
    const nats = await connect('full', 'full');
    const journal = await openJetStream(nats);
    const term = await journal.begin();
    await (await jetstreamManager(nats.connection)).streams.update('full-journal', { max_bytes: 4_000 });
    const fill = async (): Promise<never> => {
      for (;;) await journal.append(journal.lastSequence, term, [paused(1)]);
    };
    expect(await failure(fill())).toMatchObject({ code: 'STORE_FULL' });
    expect((await readAll(journal)).length).toBe(journal.lastSequence);
    await nats.close();
  });
});

describe('the URL of a journal on NATS', () => {
  test.each([
    ['nats://a:4222/x?replica=3', 'there is no parameter replica'],
    ['nats://a:4222/x?replicas=2', 'replicas are 1, 3 or 5'],
    ['nats://user:secret@a:4222/x', 'credentials go into the environment'],
    ['nats://a:4222/x.y', 'the name has'],
    ['http://a', 'begins with nats://'],
  ])('%s is refused', async (url, reason) => {
    const error: unknown = await connectNats(url, { env: {} }).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'USAGE', message: expect.stringContaining(reason) as string });
    expect((error as Error).message).not.toContain('secret');
  });
});
