/** The leader's entry on NATS, against its invariants (coordinator/leadership/entry.ts). No test asserts a time: they wait for what must come. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openEntry, type LeaderEntry } from '../../../coordinator/leadership/index.ts';
import { describeOnServers } from '../../harness/servers.ts';
import { Places } from './places.ts';

const ann = { id: 'ann', address: 'ann:1' };
const bob = { id: 'bob', address: 'bob:2' };
/** Longer than the default: on a busy machine a renewal may take some tenths of a second. */
const ttlMs = 2_500;

async function created(entry: LeaderEntry, holder: typeof ann): Promise<number> {
  const revision = await entry.create(holder);
  if (revision === undefined) throw new Error('the entry is held');
  return revision;
}

/** Tries again while another holds it. */
async function createdInTheEnd(entry: LeaderEntry, holder: typeof ann): Promise<number> {
  for (;;) {
    const revision = await entry.create(holder);
    if (revision !== undefined) return revision;
    await sleep(25);
  }
}

/** So many make sure that the entry outlived what it had without them. */
const RENEWALS_LEAST = 12;

for (const replicas of [1, 3] as const) {
  describeOnServers(['nats-server'], `the leader's entry on NATS, replicas=${replicas}`, () => {
    let places: Places;
    beforeAll(async () => {
      places = await Places.start(replicas);
    });
    afterAll(() => places.stop());
    const open = async (place: string): Promise<LeaderEntry> => openEntry(await places.connect(place), { ttlMs });

    test('of several creates one succeeds; the others see who holds it', async () => {
      const place = places.fresh();
      const entries = await Promise.all(Array.from({ length: 4 }, () => open(place)));
      expect(await entries[0]!.read()).toBeUndefined();
      const revisions = await Promise.all(entries.map((entry, index) => entry.create({ id: `${index}`, address: `${index}:1` })));
      const [winner, ...others] = revisions.flatMap((revision, index) => (revision === undefined ? [] : [index]));
      expect(others).toEqual([]);
      for (const entry of entries) expect(await entry.read()).toEqual({ holder: { id: `${winner}`, address: `${winner}:1` }, revision: revisions[winner!] });
    });

    test('an entry that is not renewed is free in the end', async () => {
      const place = places.fresh();
      const [first, second] = [await open(place), await open(place)];
      const revision = await created(first, ann);
      expect(await second.create(bob)).toBeUndefined();
      const taken = await createdInTheEnd(second, bob);
      expect(taken).toBeGreaterThan(revision);
      expect(await first.update(ann, revision)).toBeUndefined();
      expect((await first.read())?.holder).toEqual(bob);
    });

    test('an entry that is renewed stays held, however long', async () => {
      const place = places.fresh();
      const [first, second] = [await open(place), await open(place)];
      /** On a machine that stands still for a moment a call ends without an answer, and may have taken effect. */
      const unlessSilent = <Result>(call: Promise<Result>): Promise<Result | undefined> => call.catch((thrown: unknown) => {
        if ((thrown as { code?: string }).code === 'JOURNAL_UNREACHABLE') return undefined;
        throw thrown;
      });
      let sentMs = performance.now();
      let revision = await created(first, ann);
      let renewals = 0;
      for (const endMs = sentMs + 2 * ttlMs; performance.now() < endMs || renewals < RENEWALS_LEAST;) {
        await sleep(ttlMs / 10);
        const beforeMs = performance.now();
        const renewed = await unlessSilent(first.update(ann, revision));
        if (renewed !== undefined) {
          [revision, sentMs] = [renewed, beforeMs];
          renewals += 1;
        } else {
          // As a tenure does: what is still ours is renewed again.
          const present = await unlessSilent(first.read());
          if (present?.holder.id === ann.id) revision = present.revision;
        }
        const taken = await unlessSilent(second.create(bob));
        if (taken === undefined) continue;
        expect(performance.now() - sentMs, 'taken from one who renewed it in time').toBeGreaterThan(ttlMs);
        await second.delete(taken);
        sentMs = performance.now();
        revision = await created(first, ann);
      }
    });

    test('an update or delete with another revision changes nothing; a delete with the present one frees it at once', async () => {
      const place = places.fresh();
      const [first, second] = [await open(place), await open(place)];
      const old = await created(first, ann);
      const revision = (await first.update(ann, old))!;
      expect(await second.update(bob, old)).toBeUndefined();
      await second.delete(old);
      expect(await second.read()).toEqual({ holder: ann, revision });
      await first.delete(revision);
      expect(await second.read()).toBeUndefined();
      expect(await second.create(bob)).toBeGreaterThan(revision);
    });

    test('all take the time to live that the bucket has; one that asks for another is refused', async () => {
      const place = places.fresh();
      await open(place);
      const nats = await places.connect(place);
      expect((await openEntry(nats)).ttlMs).toBe(ttlMs);
      await expect(openEntry(nats, { ttlMs: ttlMs + 1 })).rejects.toMatchObject({ code: 'JOURNAL_UNSUITABLE', message: expect.stringContaining('max_age') as string });
    });

    test('a call to servers that stand still ends, and says that they cannot be reached', async () => {
      const entry = await open(places.fresh());
      for (const server of places.servers.servers) server.pause();
      try {
        await expect(entry.create(ann)).rejects.toMatchObject({ code: 'JOURNAL_UNREACHABLE' });
        await expect(entry.read()).rejects.toMatchObject({ code: 'JOURNAL_UNREACHABLE' });
      } finally {
        for (const server of places.servers.servers) server.resume();
      }
    });
  });
}
