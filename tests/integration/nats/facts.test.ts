/** Facts for other systems: each once or more, in order, whatever happened between the journal's acknowledgement and the publishing. */
import { setTimeout as sleep } from 'node:timers/promises';
import { jetstreamManager } from '@nats-io/jetstream';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { factMessage, subjectToken } from '../../../coordinator/journal/facts.ts';
import { openFacts, openJetStream, type FactSink, type Journal } from '../../../coordinator/journal/index.ts';
import type { Event, EventGroup } from '../../../proto/gen/alumnus/v1/events.ts';
import { Proxy } from '../../harness/proxy.ts';
import { describeOnServers } from '../../harness/servers.ts';
import { paused, pausedMany, readAll, refAt } from '../../unit/coordinator/journal-conformance.ts';
import { Places } from './places.ts';

interface Published {
  readonly subject: string;
  readonly body: { sequence: number; term: number; kind: string; runId: string; atMs: number; runPaused: { reason: string } };
}

const numbers = (count: number): number[] => Array.from({ length: count }, (_, index) => index + 1);
const group = (term: number, firstSequence: number, events: Event[] = []): EventGroup => ({ schemaVersion: 1, term, firstSequence, events });

describe('a fact as others see it', () => {
  test.each([['run-7', 'run-7'], ['a.b', 'a%2Eb'], ['ü*', '%C3%BC%2A'], ['', '%']])('the run %j is the token %s', (run, token) => {
    expect(subjectToken(run)).toBe(token);
  });

  test('what is larger than a message says so', () => {
    const message = factMessage('x', { ...paused(1), fact: { $case: 'runPaused', value: { reason: 'x'.repeat(2000), by: '', rule: '' } } }, 7, 2, 1000);
    expect(JSON.parse(Buffer.from(message.body).toString())).toEqual({ sequence: 7, term: 2, kind: 'runPaused', runId: 'run-1', atMs: 1, omittedBytes: expect.any(Number) as number });
  });
});

describeOnServers(['nats-server'], 'facts for other systems', () => {
  let places: Places;
  beforeAll(async () => {
    places = await Places.start(1);
  });
  afterAll(() => places.stop());

  const published = async (place: string): Promise<Published[]> => {
    const { connection } = await places.connect(place);
    const manager = await jetstreamManager(connection);
    const { state } = await manager.streams.info(`${place}-facts`);
    const found: Published[] = [];
    for (let seq = state.first_seq; seq <= state.last_seq && state.messages > 0; seq += 1) {
      const message = await manager.streams.getMessage(`${place}-facts`, { seq });
      if (message !== null) found.push({ subject: message.subject, body: message.json() });
    }
    return found;
  };
  const sequences = async (place: string): Promise<number[]> => (await published(place)).map(({ body }) => body.sequence);
  const publishedTo = async (place: string, last: number): Promise<number[]> => {
    for (;;) {
      const found = await sequences(place);
      if ((found.at(-1) ?? 0) >= last) return found;
      await sleep(50);
    }
  };
  const append = async (journal: Journal, term: number, events: Event[], ...sinks: FactSink[]): Promise<void> => {
    const firstSequence = journal.lastSequence + 1;
    await journal.append(journal.lastSequence, term, events);
    for (const sink of sinks) sink.publish(group(term, firstSequence, events));
  };

  test('each is a message on the subject of its run and kind, with its sequence', async () => {
    const place = places.fresh();
    const { journal, term } = await places.lead(place);
    const facts = await openFacts(await places.connect(place));
    facts.publish(group(term, 1));
    await append(journal, term, [paused(1), { runId: 'run-2', atMs: Date.now(), fact: { $case: 'runResumed', value: {} } }], facts);
    await publishedTo(place, 2);
    const [first, second] = await published(place);
    expect(first).toEqual({ subject: `alumnus.${place}.facts.run-1.runPaused`, body: { sequence: 1, term, kind: 'runPaused', runId: 'run-1', atMs: expect.any(Number) as number, runPaused: { reason: 'pause 1', by: 'operator' } } });
    expect(second).toMatchObject({ subject: `alumnus.${place}.facts.run-2.runResumed`, body: { sequence: 2, kind: 'runResumed' } });
    await facts.close();
  });

  test('what a leader journalled and did not publish, the next one publishes when its term begins', async () => {
    const place = places.fresh();
    const old = await places.lead(place);
    const facts = await openFacts(await places.connect(place));
    facts.publish(group(old.term, 1));
    await append(old.journal, old.term, pausedMany(1, 3), facts);
    await publishedTo(place, 3);
    await facts.close();
    await append(old.journal, old.term, pausedMany(4, 300));
    const next = await places.lead(place);
    const healed = await openFacts(await places.connect(place));
    healed.publish(group(next.term, 304));
    expect(await publishedTo(place, 303)).toEqual(numbers(303));
    await append(next.journal, next.term, pausedMany(304, 2), healed);
    expect(await publishedTo(place, 305)).toEqual(numbers(305));
    await healed.close();
  });

  test('more than the buffer holds is read from the journal', async () => {
    const place = places.fresh();
    const { journal, term } = await places.lead(place);
    const facts = await openFacts(await places.connect(place));
    facts.publish(group(term, 1));
    for (let at = 1; at <= 700; at += 1) await journal.append(at - 1, term, [paused(at)]);
    for (let at = 1; at <= 700; at += 1) facts.publish(group(term, at, [paused(at)]));
    expect(await publishedTo(place, 700)).toEqual(numbers(700));
    await facts.close();
  });

  test('two that publish at once leave neither gaps nor disorder', async () => {
    const place = places.fresh();
    const { journal, term } = await places.lead(place);
    const sinks = [await openFacts(await places.connect(place)), await openFacts(await places.connect(place))];
    for (const sink of sinks) sink.publish(group(term, 1));
    for (let at = 1; at <= 100; at += 1) await append(journal, term, pausedMany(2 * at - 1, 2), ...sinks);
    expect(await publishedTo(place, 200)).toEqual(numbers(200));
    for (const sink of sinks) await sink.close();
  });

  test('answers that get lost and a server that is killed leave no gap', async () => {
    const place = places.fresh();
    const proxy = await Proxy.start(() => places.servers.urls[0]!.replace('nats://', ''));
    const { journal, term } = await places.lead(place);
    const facts = await openFacts(await places.connect(place, proxy.address));
    facts.publish(group(term, 1));
    await append(journal, term, pausedMany(1, 5), facts);
    await publishedTo(place, 5);
    proxy.mute();
    await append(journal, term, pausedMany(6, 5), facts);
    await publishedTo(place, 10);
    await append(journal, term, pausedMany(11, 5), facts);
    proxy.cut();
    await publishedTo(place, 15);
    await places.servers.kill();
    const appended = append(journal, term, pausedMany(16, 5), facts);
    await places.servers.restart();
    await appended;
    expect(await publishedTo(place, 20)).toEqual(numbers(20));
    await facts.close();
    proxy.stop();
  });

  test('facts of long ago are published, too, where the journal has them; those that it dropped are left out', async () => {
    const place = places.fresh();
    const { journal, term } = await places.lead(place);
    await append(journal, term, pausedMany(1, 3));
    // The stream keeps a fact for seven days from when it arrives there, however old it is: these are of 1970.
    await append(journal, term, pausedMany(4, 2));
    await journal.truncate(refAt(3, term));
    const lines: string[] = [];
    const facts = await openFacts(await places.connect(place), { log: (line) => lines.push(line) });
    facts.publish(group(term, 6));
    expect(await publishedTo(place, 5)).toEqual([4, 5]);
    expect(lines).toEqual([expect.stringContaining('facts 1 to 3 were not published')]);
    await facts.close();
  });

  test('a journal that took another\'s place is published from its first fact on', async () => {
    const place = places.fresh();
    const old = await places.lead(place);
    const facts = await openFacts(await places.connect(place));
    facts.publish(group(old.term, 1));
    await append(old.journal, old.term, pausedMany(1, 5), facts);
    await publishedTo(place, 5);
    await facts.close();
    const manager = await jetstreamManager((await places.connect(place)).connection);
    await manager.streams.delete(`${place}-journal`);
    const { journal } = await places.lead(place);
    const term = await journal.begin();
    await append(journal, term, pausedMany(1, 2));
    const lines: string[] = [];
    const again = await openFacts(await places.connect(place), { log: (line) => lines.push(line) });
    again.publish(group(term, 3));
    while ((await sequences(place)).length < 7) await sleep(50);
    expect(await sequences(place)).toEqual([...numbers(5), 1, 2]);
    expect(lines).toEqual([expect.stringContaining('another journal took its place')]);
    await again.close();
    expect((await readAll(await openJetStream(await places.connect(place)))).length).toBe(1);
  });
});
