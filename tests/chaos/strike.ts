/** Faults done to a cluster on real engines, each with the way to undo it and with what it may cost. When they strike is the plan's (faults.ts). */
import { childrenOf, lives } from '../harness/child.ts';
import type { Host } from '../harness/hosts.ts';
import type { Proxy } from '../harness/proxy.ts';
import type { Coordinator, RealCluster, Worker } from '../harness/real-cluster.ts';
import type { Server } from '../harness/servers.ts';
import type { Direction, Fault } from './faults.ts';

/** Leases that one worker holds at most: a task on the device, the next one loading, and one whose labels are written. */
export const SLOTS = 3;

/**
 * Attempts that a worker makes on a store that is full for at most 6 s: it waits between them at least 50 ms, 100 ms, 200 ms,
 * so that the eighth comes later; and as many as a worker holds may be in flight when the disk fills.
 */
const FULL_ATTEMPTS = 7 + SLOTS;

export interface Struck {
  /** What was struck, by name; empty where there was nothing to strike. */
  readonly what: string;
  /** Leases whose work it may cost. */
  readonly cost: number;
  readonly undo: () => Promise<void> | void;
}

const nothing: Struck = { what: '', cost: 0, undo: () => undefined };

/** @param busy what others hold down just now, by name: it is not struck again. What is struck is added, and taken out by `undo`. */
export async function strike(cluster: RealCluster, fault: Fault, busy: Set<string>): Promise<Struck> {
  const workers = [...cluster.workers.values()];
  const all = SLOTS * workers.length;
  const worker = pickOf(workers, fault.pick, (each) => each.child.alive && !busy.has(each.name));
  const server = pickOf([...cluster.nats.servers], fault.pick, (each) => each.alive && !busy.has(each.name));
  const [doing = ''] = fault.kind.split(' ');

  const struck = ((): Promise<Struck> | Struck => {
    switch (fault.kind) {
      case 'kill leader': return withLeader(cluster, busy, (leader) => killCoordinator(cluster, leader, all));
      case 'kill standby': return withStandby(cluster, busy, (standby) => killCoordinator(cluster, standby, 0));
      case 'kill worker': return worker === undefined ? nothing : killWorker(cluster, worker);
      case 'kill engine': return worker === undefined ? nothing : killEngine(worker);
      case 'kill nats server': return server === undefined ? nothing : killServer(server, all);
      case 'kill all nats': return killNats(cluster, all);
      case 'kill minio': return busy.has('minio') || !cluster.minio.server.alive ? nothing : killServer(cluster.minio.server, all);
      case 'stop leader': return withLeader(cluster, busy, ({ name, child }) => {
        child.kill('SIGSTOP');
        return { what: name, cost: all, undo: () => child.kill('SIGCONT') };
      });
      case 'stop worker': {
        if (worker === undefined) return nothing;
        // Its engine as well: a machine that stands still does so altogether.
        const { child } = worker;
        const engines = childrenOf(child.pid);
        const signal = (name: 'SIGSTOP' | 'SIGCONT'): void => {
          child.kill(name);
          for (const engine of engines) if (lives(engine)) process.kill(engine.pid, name);
        };
        signal('SIGSTOP');
        return { what: worker.name, cost: SLOTS, undo: () => signal('SIGCONT') };
      }
      case 'stop nats server': {
        if (server === undefined) return nothing;
        server.pause();
        return { what: server.name, cost: all, undo: () => server.resume() };
      }
      case 'unplug leader': return withLeader(cluster, busy, ({ name }) => unplug(cluster, name, all));
      case 'unplug worker': return worker === undefined ? nothing : unplug(cluster, worker.name, SLOTS);
      case 'unplug nats server': return server === undefined ? nothing : unplug(cluster, hostOf(server), all, server.name);
      case 'cut leader from nats': return withLeader(cluster, busy, ({ name }) => cut(cluster, name, cluster.nats.servers.map(hostOf), fault.direction, all));
      case 'cut worker from coordinators': return worker === undefined ? nothing : cut(cluster, worker.name, cluster.coordinators.map(({ name }) => name), fault.direction, SLOTS);
      case 'cut worker from minio': return worker === undefined ? nothing : cut(cluster, worker.name, ['minio'], fault.direction, SLOTS);
      case 'cut nats peers': return server === undefined ? nothing : cut(cluster, hostOf(server), cluster.nats.servers.filter((each) => each !== server).map(hostOf), fault.direction, all, server.name);
      case 'fill minio': return fillDisk(cluster, 'store', FULL_ATTEMPTS * workers.length);
      case 'fill nats server': return fillDisk(cluster, 'journal', all);
      case 'line to minio': return impose(cluster.relays === undefined ? [] : [cluster.relays.store], fault, 'minio', all);
      case 'line to nats': return withLeader(cluster, busy, ({ name }) => impose(cluster.relays?.journals.get(name) ?? [], fault, name, all));
    }
  })();
  const done = await struck;
  if (done.what === '') return done;
  const key = done.what.split(' ')[0] ?? '';
  busy.add(key);
  return {
    ...done, what: `${doing} ${done.what}`,
    undo: async () => {
      try {
        await done.undo();
      } finally {
        busy.delete(key);
      }
    },
  };
}

function pickOf<Each>(from: readonly Each[], pick: number, fit: (each: Each) => boolean): Each | undefined {
  const fitting = from.filter(fit);
  return fitting[pick % Math.max(1, fitting.length)];
}

/** Server `nats-0` runs on host `nats-1`. */
const hostOf = (server: Server): string => `nats-${Number(server.name.split('-')[1]) + 1}`;

async function withLeader(cluster: RealCluster, busy: Set<string>, act: (leader: Coordinator) => Promise<Struck> | Struck): Promise<Struck> {
  const leader = await cluster.leaderNow();
  return leader === undefined || busy.has(leader.name) ? nothing : act(leader);
}

async function withStandby(cluster: RealCluster, busy: Set<string>, act: (standby: Coordinator) => Promise<Struck> | Struck): Promise<Struck> {
  const leader = await cluster.leaderNow();
  const standby = cluster.coordinators.find((each) => each !== leader && each.child.alive && !busy.has(each.name));
  return leader === undefined || standby === undefined ? nothing : act(standby);
}

async function killCoordinator(cluster: RealCluster, coordinator: Coordinator, cost: number): Promise<Struck> {
  coordinator.child.kill('SIGKILL');
  await coordinator.child.ended;
  return { what: coordinator.name, cost, undo: () => cluster.restart(coordinator) };
}

async function killWorker(cluster: RealCluster, { name, child }: Worker): Promise<Struck> {
  child.kill('SIGKILL');
  await child.ended;
  return { what: name, cost: SLOTS, undo: () => cluster.startWorker(name) };
}

function killEngine({ name, child }: Worker): Struck {
  const [engine] = childrenOf(child.pid);
  if (engine === undefined || !lives(engine)) return nothing;
  process.kill(engine.pid, 'SIGKILL');
  return { what: `${name} its engine`, cost: SLOTS, undo: () => undefined };
}

async function killServer(server: Server, cost: number): Promise<Struck> {
  await server.kill();
  return { what: server.name, cost, undo: () => server.restart() };
}

async function killNats({ nats }: RealCluster, cost: number): Promise<Struck> {
  await nats.kill();
  return { what: 'nats', cost, undo: () => nats.restart() };
}

function unplug({ hosts }: RealCluster, name: string, cost: number, what = name): Struck {
  if (hosts === undefined) return nothing;
  const host = hosts.get(name);
  hosts.unplug(host);
  return { what, cost, undo: () => hosts.plug(host) };
}

function cut({ hosts }: RealCluster, name: string, others: readonly string[], direction: Direction = 'both', cost: number, what = name): Struck {
  if (hosts === undefined) return nothing;
  const one = hosts.get(name);
  const pairs = others.map((other) => hosts.get(other)).flatMap((other): [Host, Host][] => [...(direction === 'in' ? [] : [[one, other] as [Host, Host]]), ...(direction === 'out' ? [] : [[other, one] as [Host, Host]])]);
  for (const [from, to] of pairs) hosts.lose(from, to);
  return {
    what, cost,
    undo: () => {
      for (const [from, to] of pairs) hosts.carry(from, to);
    },
  };
}

function fillDisk({ disks, nats, minio }: RealCluster, which: 'store' | 'journal', cost: number): Struck {
  if (disks === undefined) return nothing;
  const server = which === 'store' ? minio.server : nats.servers[0];
  disks[which].fill();
  return {
    what: server?.name ?? '', cost,
    undo: async () => {
      disks[which].free();
      // A NATS server whose disk was full has switched JetStream off, until it is started again.
      if (which === 'journal') await server?.restart();
    },
  };
}

function impose(proxies: readonly Proxy[], { line }: Fault, what: string, cost: number): Struck {
  if (proxies.length === 0 || line === undefined) return nothing;
  for (const proxy of proxies) proxy.impose(line);
  return {
    what: `${what} ${line}`, cost,
    undo: () => {
      for (const proxy of proxies) proxy.heal();
    },
  };
}

