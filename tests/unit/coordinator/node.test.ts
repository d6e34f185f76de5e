/** Who leads, and until when: nodes on one journal and one entry, in virtual time. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { AlumnusError } from '../../../proto/errors.ts';
import { EventGroup } from '../../../proto/gen/alumnus/v1/events.ts';
import type { Clock } from '../../../coordinator/clock.ts';
import { Fold } from '../../../coordinator/fold.ts';
import { ADOPTION_MS } from '../../../coordinator/leader.ts';
import { Tenure, type Holder, type LeaderEntry } from '../../../coordinator/leadership/index.ts';
import { Node } from '../../../coordinator/node.ts';
import { MemoryStore } from '../../simulation/store.ts';
import { Random, World } from '../../simulation/world.ts';
import { MemoryDisk } from './memory-journal.ts';
import { makeData, makeRecipe } from './work.ts';

const TTL_MS = 1_500;
const LEASE_MS = 5_000;

let world: World;
let clock: Clock;
beforeEach(() => {
  world = new World(new Random(7));
  clock = {
    now: () => world.nowMs,
    sleep: (ms, signal) => new Promise((resolve) => {
      if (signal?.aborted) return resolve();
      const done = (): void => {
        signal?.removeEventListener('abort', done);
        resolve();
      };
      signal?.addEventListener('abort', done, { once: true });
      world.after(ms, done);
    }),
  };
});

async function pass(ms: number): Promise<void> {
  const untilMs = world.nowMs + ms;
  world.after(ms, () => undefined);
  while (world.nowMs < untilMs) await world.step();
}

/** One entry in virtual time; each way to it can be cut, and can lose its answers. */
class SharedEntry {
  held: { holder: Holder; revision: number; untilMs: number } | undefined;
  revision = 0;

  way(): LeaderEntry & { cut: boolean; losesAnswers: boolean } {
    const reach = async <Result>(act: () => Result): Promise<Result> => {
      if (way.cut) throw new AlumnusError('JOURNAL_UNREACHABLE', 'cut');
      const result = act();
      if (way.losesAnswers) throw new AlumnusError('JOURNAL_UNREACHABLE', 'the answer was lost');
      return result;
    };
    const present = () => (this.held !== undefined && this.held.untilMs > world.nowMs ? this.held : undefined);
    const put = (holder: Holder): number => {
      this.held = { holder, revision: (this.revision += 1), untilMs: world.nowMs + TTL_MS };
      return this.revision;
    };
    const way: LeaderEntry & { cut: boolean; losesAnswers: boolean } = {
      cut: false, losesAnswers: false, ttlMs: TTL_MS,
      create: (holder) => reach(() => (present() === undefined ? put(holder) : undefined)),
      update: (holder, revision) => reach(() => (present()?.revision === revision ? put(holder) : undefined)),
      read: () => reach(() => present()),
      delete: (revision) => reach(() => {
        if (present()?.revision === revision) this.held = undefined;
      }),
    };
    return way;
  }
}

describe('a tenure', () => {
  test('lasts while it is renewed, and its end as told is never later than the entry\'s own', async () => {
    const shared = new SharedEntry();
    const tenure = await Tenure.take(shared.way(), { id: 'a', address: 'a:1' }, clock);
    for (let step = 0; step < 100; step += 1) {
      await pass(100);
      expect(tenure?.untilMs).toBeGreaterThan(world.nowMs);
      expect(tenure?.untilMs).toBeLessThanOrEqual(shared.held?.untilMs ?? 0);
    }
    expect(await Tenure.take(shared.way(), { id: 'b', address: 'b:1' }, clock)).toBeUndefined();
  });

  test('that can\'t be renewed ends before another can begin', async () => {
    const shared = new SharedEntry();
    const way = shared.way();
    const tenure = await Tenure.take(way, { id: 'a', address: 'a:1' }, clock);
    await pass(1_000);
    way.cut = true;
    let other: Tenure | undefined;
    while (other === undefined) {
      await pass(10);
      other = await Tenure.take(shared.way(), { id: 'b', address: 'b:1' }, clock);
      if (other === undefined) continue;
      expect(tenure?.untilMs).toBeLessThanOrEqual(world.nowMs);
    }
    await pass(TTL_MS);
    expect(tenure?.ended.aborted).toBe(true);
    expect(tenure?.untilMs).toBe(0);
  });

  test('outlives answers that are lost, of the taking as of renewals', async () => {
    const shared = new SharedEntry();
    const way = shared.way();
    way.losesAnswers = true;
    await expect(Tenure.take(way, { id: 'a', address: 'a:1' }, clock)).rejects.toMatchObject({ code: 'JOURNAL_UNREACHABLE' });
    way.losesAnswers = false;
    const tenure = await Tenure.take(way, { id: 'a', address: 'a:1' }, clock);
    expect(tenure?.untilMs).toBeGreaterThan(world.nowMs);
    way.losesAnswers = true;
    await pass(500);
    way.losesAnswers = false;
    await pass(10 * TTL_MS);
    expect(tenure?.ended.aborted).toBe(false);
    expect(tenure?.untilMs).toBeGreaterThan(world.nowMs);
  });

  test('that is released frees the entry at once; one that was lost frees nothing', async () => {
    const shared = new SharedEntry();
    const first = await Tenure.take(shared.way(), { id: 'a', address: 'a:1' }, clock);
    await first?.release();
    const second = await Tenure.take(shared.way(), { id: 'b', address: 'b:1' }, clock);
    expect(second).toBeDefined();
    await first?.release();
    expect(shared.held?.holder.id).toBe('b');
  });
});

describe('a node', () => {
  const disk = (): MemoryDisk => new MemoryDisk();
  let nodes: Node[] = [];
  afterEach(async () => {
    const ending = Promise.all(nodes.map((node) => node.stop()));
    await pass(5_000);
    await ending;
    nodes = [];
  });

  interface Made {
    readonly node: Node;
    readonly way: ReturnType<SharedEntry['way']>;
    readonly fatal: AlumnusError[];
    readonly told: EventGroup[];
    readonly logged: string[];
  }

  function make(name: string, on: MemoryDisk, shared: SharedEntry, store: MemoryStore): Made {
    const way = shared.way();
    const fatal: AlumnusError[] = [];
    const told: EventGroup[] = [];
    const logged: string[] = [];
    const node = new Node({
      journal: on.open(), entry: way, store, holder: { id: name, address: `${name}:1` }, leaseMs: LEASE_MS, clock,
      random: () => world.random.next(), log: (line) => logged.push(line), onFatal: (error) => fatal.push(error),
      facts: { publish: (group) => told.push(group), close: () => Promise.resolve() },
    });
    node.start();
    nodes.push(node);
    return { node, way, fatal, told, logged };
  }

  const submit = (node: Node, runId = 'run') => node.leader().command(runId, { kind: 'submit', runId, recipe: makeRecipe(), data: makeData() });

  test('leads alone; another stands by, names the leader, and knows what it knows', async () => {
    const [on, shared, store] = [disk(), new SharedEntry(), new MemoryStore()];
    const a = make('a', on, shared, store);
    await pass(500);
    const b = make('b', on, shared, store);
    await pass(1_000);
    const submitted = submit(a.node);
    await pass(1_000);
    await submitted;
    expect(() => b.node.leader()).toThrowError(expect.objectContaining({ code: 'NOT_LEADER', where: 'a:1' }) as Error);
    expect(a.node.leader().term).toBe(1);
    // Warm: it has read on to the end.
    await pass(1_000);
    expect(b.node.journal.lastSequence).toBe(on.last);
  });

  test('takes over when the leader can\'t renew, with a higher term and every fact; the old one has stopped granting by then and stands by', async () => {
    const [on, shared, store] = [disk(), new SharedEntry(), new MemoryStore()];
    const a = make('a', on, shared, store);
    await pass(500);
    const b = make('b', on, shared, store);
    await pass(500);
    const submitted = submit(a.node);
    await pass(100);
    await submitted;
    const old = a.node.leader();
    await pass(ADOPTION_MS);
    expect(old.mayGrant).toBe(true);
    a.way.cut = true;
    for (let ms = 0; ms < 4_000; ms += 10) {
      await pass(10);
      if (shared.held?.holder.id === 'b') expect(old.mayGrant).toBe(false);
    }
    const next = b.node.leader();
    expect(next.term).toBe(2);
    expect(next.run('run')).toEqual(old.run('run'));
    expect(old.failure?.code).toBe('NOT_LEADER');
    await expect(old.command('run', { kind: 'pause', reason: 'late' })).rejects.toMatchObject({ code: 'NOT_LEADER' });
    a.way.cut = false;
    await pass(1_000);
    expect(() => a.node.leader()).toThrowError(expect.objectContaining({ code: 'NOT_LEADER', where: 'b:1' }) as Error);
    expect([a.fatal, b.fatal]).toEqual([[], []]);
  });

  test('that another deposes in the journal, whatever the entry says, steps down at its next append and loses nothing', async () => {
    const [on, shared, store] = [disk(), new SharedEntry(), new MemoryStore()];
    const a = make('a', on, shared, store);
    await pass(500);
    const old = a.node.leader();
    // Two entries, as after a split that each half survived: both believe to lead, and only the journal can tell.
    const b = make('b', on, new SharedEntry(), store);
    await pass(500);
    expect(b.node.leader().term).toBe(2);
    expect(old.mayGrant).toBe(true);
    const late = submit(a.node).then(() => 'taken', (thrown: AlumnusError) => thrown.code);
    await pass(200);
    expect(await late).toBe('NOT_LEADER');
    expect(old.failure).toBeDefined();
    expect(on.last).toBe(0);
    // It begins anew, behind all that the other did.
    await pass(500);
    const taken = submit(a.node);
    await pass(200);
    expect((await taken).runId).toBe('run');
    expect(a.node.leader().term).toBe(3);
    expect([a.fatal, b.fatal]).toEqual([[], []]);
  });

  test('tells others of each term that it begins and of each group that the journal has', async () => {
    const [on, shared, store] = [disk(), new SharedEntry(), new MemoryStore()];
    const a = make('a', on, shared, store);
    await pass(500);
    const b = make('b', on, shared, store);
    const submitted = submit(a.node);
    await pass(500);
    await submitted;
    on.away = true;
    const refused = submit(a.node, 'other').catch((thrown: AlumnusError) => thrown.code);
    await pass(100);
    expect(await refused).toBe('JOURNAL_UNREACHABLE');
    on.away = false;
    await pass(2 * TTL_MS);
    const [begun, ...groups] = a.told.filter((group) => group.term === 1);
    expect(begun).toMatchObject({ term: 1, firstSequence: 1, events: [] });
    expect(groups.map((group) => EventGroup.encode(group).finish())).toEqual(on.groups.map((group) => group.bytes));
    const [next] = [...a.told, ...b.told].filter((group) => group.term === 2);
    expect(next).toMatchObject({ firstSequence: on.last + 1, events: [] });
  });

  test('hands over at once when it is stopped', async () => {
    const [on, shared, store] = [disk(), new SharedEntry(), new MemoryStore()];
    const a = make('a', on, shared, store);
    await pass(500);
    const b = make('b', on, shared, store);
    await pass(500);
    const stopping = a.node.stop();
    await pass(450);
    await stopping;
    expect(b.node.leader().term).toBe(2);
  });

  test('waits out a journal that is away, and leads again when it is back', async () => {
    const [on, shared, store] = [disk(), new SharedEntry(), new MemoryStore()];
    const a = make('a', on, shared, store);
    await pass(500);
    on.away = true;
    const refused = submit(a.node).catch((thrown: AlumnusError) => thrown.code);
    await pass(500);
    expect(await refused).toBe('JOURNAL_UNREACHABLE');
    on.away = false;
    await pass(2_000);
    const taken = submit(a.node);
    await pass(500);
    expect((await taken).phase).toBe('running');
    expect(a.fatal).toEqual([]);
  });

  test('says what keeps it from leading while the journal is away: the one that led, and the one that stood by', async () => {
    const [on, shared, store] = [disk(), new SharedEntry(), new MemoryStore()];
    const a = make('a', on, shared, store);
    await pass(500);
    const b = make('b', on, shared, store);
    await pass(1_000);
    expect([a.node.trouble, b.node.trouble]).toEqual(['', '']);
    [on.away, a.way.cut, b.way.cut] = [true, true, true];
    await pass(12_000);
    expect(a.node.trouble).toMatch(/^the journal does not answer since \d+ s: /);
    expect(b.node.trouble).toMatch(/^the journal does not answer since 1[12] s: nobody answers$/);
    expect(a.logged).toContain('no longer leads term 1: the leader\'s entry could not be renewed in time: cut');
    [on.away, a.way.cut, b.way.cut] = [false, false, false];
    await pass(2 * TTL_MS);
    expect([a.node.trouble, b.node.trouble]).toEqual(['', '']);
  });

  test('that was passed by a snapshot loads it', async () => {
    const [on, shared, store] = [disk(), new SharedEntry(), new MemoryStore()];
    const a = make('a', on, shared, store);
    await pass(500);
    const b = make('b', on, shared, store);
    await pass(500);
    b.way.cut = true;
    // What it hasn't read yet goes into a snapshot.
    const submitted = submit(a.node);
    await world.step();
    const leader = a.node.leader();
    await pass(50);
    await submitted;
    const fold = await Fold.load(on.open(), store);
    await on.open().truncate(await fold.write(store, leader.term));
    expect(on.groups).toEqual([]);
    b.way.cut = false;
    const stopping = a.node.stop();
    await pass(2_000);
    await stopping;
    expect(b.node.leader().run('run')).toEqual(leader.run('run'));
    expect(b.fatal).toEqual([]);
  });
});
