/** A journal that is lost while its coordinators live: each stops and says so, and neither decides from an empty one. */
import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { systemClock } from '../../../coordinator/clock.ts';
import { openJetStream } from '../../../coordinator/journal/index.ts';
import { openEntry } from '../../../coordinator/leadership/index.ts';
import { Node } from '../../../coordinator/node.ts';
import type { AlumnusError } from '../../../proto/errors.ts';
import { describeOnServers } from '../../harness/servers.ts';
import { MemoryStore } from '../../simulation/store.ts';
import { makeData, makeRecipe } from '../../unit/coordinator/work.ts';
import { Places } from './places.ts';

describeOnServers(['nats-server'], 'coordinators whose NATS server comes back empty', () => {
  let places: Places;
  beforeAll(async () => {
    places = await Places.start(1);
  });
  afterAll(() => places.stop());

  test('stop, the leader as the standby, with JOURNAL_UNREADABLE; those that start then lead on an empty journal', async () => {
    const place = places.fresh();
    const store = new MemoryStore();
    const nodes: Node[] = [];
    const make = async (id: string): Promise<{ node: Node; ended: Promise<AlumnusError> }> => {
      const nats = await places.connect(place);
      let tell: (error: AlumnusError) => void = () => undefined;
      const ended = new Promise<AlumnusError>((resolve) => (tell = resolve));
      const node = new Node({ journal: await openJetStream(nats), entry: await openEntry(nats), store, holder: { id, address: `${id}:1` }, leaseMs: 5_000, clock: systemClock(), random: Math.random, log: () => undefined, onFatal: tell });
      nodes.push(node);
      node.start();
      return { node, ended };
    };
    const leads = async (node: Node): Promise<void> => {
      for (;;) {
        try {
          return void node.leader();
        } catch {
          await sleep(50);
        }
      }
    };
    const a = await make('a');
    await leads(a.node);
    const b = await make('b');
    await a.node.leader().command('run', { kind: 'submit', runId: 'run', recipe: makeRecipe(), data: makeData() });
    while (b.node.journal.lastSequence === 0) await sleep(50);

    await places.servers.kill();
    for (const each of readdirSync(places.folderOfStreams)) rmSync(join(places.folderOfStreams, each), { recursive: true, force: true });
    await places.servers.restart();

    const errors = await Promise.all([a.ended, b.ended]);
    expect(errors.map(({ code }) => code)).toEqual(['JOURNAL_UNREADABLE', 'JOURNAL_UNREADABLE']);
    for (const { remedy } of errors) expect(remedy).toMatch(/stop every coordinator.*reconcile --dry-run/);
    const c = await make('c');
    await leads(c.node);
    expect(c.node.leader().runs()).toEqual([]);
    await c.node.stop();
  });
});
