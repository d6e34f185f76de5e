/**
 * What goes wrong at a time: each kind of fault of the plan again and again until the world heals, and the loss of the
 * journal once. Faults of a single call are in engines.ts, network.ts and worker.ts.
 */
import type { Leader } from '../../coordinator/leader.ts';
import { STORE, type SharedEntry } from './engines.ts';
import type { Links, Party } from './party.ts';
import type { Plan } from './plan.ts';
import type { SimulatedWorker } from './worker.ts';
import type { World } from './world.ts';

/** A coordinator that runs now. */
export interface Standing {
  readonly party: Party;
  /** Whether it ever led. */
  readonly hasLed: boolean;
  /** kill -9 */
  end(): void;
}

/** Whom faults befall, and what they do there. */
export interface Cast {
  readonly world: World;
  readonly plan: Plan;
  readonly links: Links;
  readonly entry: SharedEntry;
  readonly addresses: readonly string[];
  isFaulty(): boolean;
  workers(): readonly SimulatedWorker[];
  coordinators(): readonly Standing[];
  leading(): Leader | undefined;
  revive(worker: SimulatedWorker): void;
  /** It is gone for good, and another comes. */
  replace(worker: SimulatedWorker, workerId: string, delayMs: number): void;
  /** Everything at once; it comes back one by one. */
  stopEverything(): void;
  /** @param groups at the journal's end */
  loseJournal(groups: number): void;
}

export function scheduleFaults(cast: Cast): void {
  const { world, plan, links } = cast;
  const { every, journalLoss } = plan;
  const repeat = (kind: keyof Plan['every'], fault: () => void): void => {
    if (every[kind] === Infinity) return;
    world.after(-Math.log(1 - world.random.next()) * every[kind], () => {
      if (!cast.isFaulty()) return;
      fault();
      repeat(kind, fault);
    });
  };
  let replacements = 0;
  const someone = (): SimulatedWorker => world.random.pick(cast.workers());
  const someCoordinator = (): Standing | undefined => {
    const standing = cast.coordinators();
    return standing.length === 0 ? undefined : world.random.pick(standing);
  };
  repeat('workerCrash', () => {
    const worker = someone();
    if (!worker.isRunning) return;
    world.count('fault: worker crash');
    worker.crash();
    // Some come back at once under their id, some only when the world heals.
    if (world.random.chance(0.8)) world.after(world.random.magnitude(100, 120_000), () => cast.revive(worker));
  });
  repeat('workerReplaced', () => {
    const worker = someone();
    world.count('fault: a worker is gone for good, and another comes');
    worker.crash();
    cast.replace(worker, `r${replacements += 1}`, world.random.magnitude(1_000, 60_000));
  });
  repeat('workerPause', () => {
    world.count('fault: worker stands still');
    someone().pause(world.random.magnitude(500, 4 * plan.leaseMs));
  });
  repeat('workerDrain', () => {
    const worker = someone();
    if (!worker.isRunning) return;
    world.count('fault: drain');
    worker.drain();
    world.after(world.random.whole(2_000, 120_000), () => cast.revive(worker));
  });
  repeat('coordinatorKill', () => {
    const coordinator = someCoordinator();
    if (coordinator === undefined) return;
    world.count(!coordinator.hasLed ? 'fault: standby killed' : 'fault: leader killed');
    coordinator.end();
  });
  repeat('coordinatorPause', () => {
    world.count('fault: coordinator stands still');
    someCoordinator()?.party.pause(world.random.magnitude(200, 6 * plan.ttlMs));
  });
  repeat('clockStep', () => {
    const coordinator = someCoordinator();
    if (coordinator === undefined) return;
    world.count('fault: a coordinator\'s clock steps ahead');
    coordinator.party.clockAheadMs += Math.round(world.random.magnitude(100, 4 * plan.leaseMs));
  });
  repeat('entryLost', () => {
    world.count('fault: the leader\'s entry is lost early');
    cast.entry.lose();
  });
  repeat('operatorPause', () => {
    const run = world.random.pick(plan.runs);
    cast.leading()?.command(run.runId, { kind: 'pause', reason: 'maintenance' }).then(() => world.count('fault: operator pauses'), () => undefined);
  });
  repeat('partition', () => {
    const worker = someone().workerId;
    const address = world.random.pick(cast.addresses);
    const [from, to] = world.random.pick([[worker, address], [address, worker], [address, 'journal'], ['journal', address], [address, 'entry'], ['entry', address], [address, STORE], [worker, STORE], [STORE, worker]] as const);
    const both = world.random.chance(0.4);
    const kind = [from, to].map((each) => (each.startsWith('coordinator') ? 'coordinator' : /^[wr]\d/.test(each) ? 'worker' : each)).join(' to ');
    world.count(`fault: link cut (${kind}${both ? ' and back' : ', one way'})`);
    links.cut(from, to);
    if (both) links.cut(to, from);
    // Each direction comes back by itself, in whatever order.
    for (const [a, b] of [[from, to], [to, from]] as const) world.after(world.random.magnitude(500, 8 * plan.leaseMs), () => links.restore(a, b));
  });
  repeat('powerLoss', () => {
    world.count('fault: power loss of the whole cluster');
    cast.stopEverything();
  });
  if (journalLoss !== undefined && journalLoss.atMs < plan.healAtMs) {
    world.after(journalLoss.atMs, () => {
      world.count(journalLoss.groups === Infinity ? 'fault: the journal is lost' : 'fault: acknowledged groups are lost');
      cast.stopEverything();
      cast.loseJournal(journalLoss.groups);
    });
  }
}
