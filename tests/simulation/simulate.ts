/**
 * One seed, played: coordinators of which one leads and the others stand by, workers, an operator, and the faults of the
 * plan until it heals. Real are the nodes with all that they decide (tenure, fold, leader, scheduler, manifests, snapshots,
 * reconcile, the worker service); simulated are time, network, journal, entry, store and workers. When all has healed every
 * run must end, and end as it would have undisturbed.
 */
import { workerService } from '../../coordinator/api/worker-service.ts';
import type { Leader } from '../../coordinator/leader.ts';
import { Node } from '../../coordinator/node.ts';
import { isEnded, openTasks } from '../../coordinator/run/index.ts';
import type { Task } from '../../proto/gen/alumnus/v1/task.ts';
import type { ObjectStore } from '../../store/index.ts';
import { Checker } from './checker.ts';
import { clockOf, Disk, SharedEntry, StoreWay, type Way } from './engines.ts';
import { scheduleFaults, type Cast } from './faults.ts';
import { breakLeader, taskBreaker, withStaleSnapshots, type Mutant } from './mutants.ts';
import { Network, type Server } from './network.ts';
import { Operator } from './operator.ts';
import { Links, Party } from './party.ts';
import { drawPlan, type Plan, type RunPlan } from './plan.ts';
import { MemoryStore } from './store.ts';
import { outcome, playUndisturbed, recipeOf } from './undisturbed.ts';
import { Violation } from './violation.ts';
import { SimulatedWorker, type Surroundings } from './worker.ts';
import { Random, World } from './world.ts';

/** Healed, a run must end within this much virtual time: every task once more, one after another, with all its attempts, is far less. */
const LIVENESS_MS_MAX = 16 * 3600 * 1000;
/** Far more than any history takes; ends one that goes in circles without time passing. */
const EVENTS_MAX = 3_000_000;
/** A process manager starts again what ended. */
const RESTART_MS_MAX = 20_000;
/** Releases by their order: the one that a rolling upgrade begins with, and the one that it ends with. */
const OLDER = 1;
const NEWER = 2;

export interface History {
  readonly plan: Plan;
  readonly simulatedMs: number;
  readonly events: number;
  readonly counts: ReadonlyMap<string, number>;
  /** Of everything that was written, in order: equal seeds give equal ones. */
  readonly trace: string;
  readonly violation: string | undefined;
}

const asError = (thrown: unknown): Error => (thrown instanceof Error ? thrown : new Error(String(thrown)));

export async function simulate(seed: number, mutant: Mutant = 'none'): Promise<History> {
  const plan = drawPlan(seed);
  const simulation = new Simulation(plan, mutant);
  let violation: string | undefined;
  try {
    await simulation.play();
  } catch (thrown) {
    violation = thrown instanceof Violation ? thrown.message : thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown);
  }
  const { world } = simulation;
  return { plan, simulatedMs: world.nowMs - simulation.startedAtMs, events: world.events, counts: world.counts, trace: simulation.trace.join('\n'), violation };
}

interface Coordinator extends Server {
  readonly address: string;
  readonly node: Node;
  readonly id: string;
  /** Its last one. */
  leader: Leader | undefined;
}

class Simulation {
  readonly world: World;
  readonly startedAtMs: number;
  readonly trace: string[] = [];
  readonly #disk: Disk;
  readonly #entry: SharedEntry;
  readonly #links = new Links();
  readonly #plan: Plan;
  readonly #mutant: Mutant;
  readonly #checker: Checker;
  readonly #network: Network;
  readonly #operator: Operator;
  readonly #breakTask: (task: Task) => void;
  readonly #store = new MemoryStore(() => this.world.nowMs);
  readonly #surroundings: Surroundings;
  #workers: SimulatedWorker[] = [];
  /** By address; an address whose process ended is free until another starts there. */
  readonly #coordinators = new Map<string, Coordinator>();
  readonly #addresses: readonly string[];
  #processes = 0;
  #broken: Error | undefined;

  constructor(plan: Plan, mutant: Mutant) {
    this.#plan = plan;
    this.#mutant = mutant;
    this.#breakTask = taskBreaker(mutant);
    this.world = new World(new Random(plan.seed, 2));
    this.startedAtMs = this.world.nowMs;
    this.#checker = new Checker(this.world, this.#store, () => this.#disk.term);
    const diskMutant = mutant === 'forgets-acknowledged' || mutant === 'ignores-sequence' || mutant === 'writes-twice' ? mutant : 'none';
    this.#disk = new Disk(diskMutant, this.#guard((group) => {
      this.#checker.written(group);
      this.trace.push(`${group.term}.${group.firstSequence} ${group.events.map(({ runId, fact }) => `${runId} ${fact?.$case}`).join(', ')}`);
    }));
    this.#entry = new SharedEntry(this.world, plan.ttlMs);
    this.#addresses = Array.from({ length: plan.coordinators }, (_, at) => `coordinator-${at}:1`);
    this.#network = new Network({
      world: this.world, plan, links: this.#links, faulty: () => this.#faulty(), route: (address) => this.#coordinators.get(address),
      broke: (thrown) => {
        this.#broken ??= asError(thrown);
      },
    });
    this.#operator = new Operator({
      world: this.world, plan, checker: this.#checker, store: this.#store, leading: () => this.#leading(), guard: (check) => this.#guard(check),
      // One that drained while it stood still ends late, after whoever was to start it again looked.
      onLook: () => {
        if (!this.#faulty()) this.#workers.forEach((worker) => this.#revive(worker));
      },
    });
    this.#surroundings = {
      world: this.world, plan, network: this.#network, checker: this.#checker, faulty: () => this.#faulty(), addresses: this.#addresses.join(','), labels: new Map(), forget: (key) => this.#store.delete(key), broke: (thrown) => {
        this.#broken ??= thrown;
      },
      store: (workerId) => new StoreWay(this.#store, this.#wayOf(new Party(workerId, this.world), NEWER)),
      isPoison: (runId, shard) => !this.#operator.isRepaired(runId) && plan.runs.some((run) => run.runId === runId && run.poison.includes(shard)),
    };
  }

  #releaseAt(address: string): number {
    const { upgrade } = this.#plan;
    const turn = this.#addresses.indexOf(address);
    return upgrade === undefined || this.world.nowMs - this.startedAtMs >= upgrade.atMs + turn * upgrade.everyMs ? NEWER : OLDER;
  }

  #wayOf(party: Party, release: number): Way {
    return { world: this.world, party, links: this.#links, plan: this.#plan, release, faulty: () => this.#faulty() };
  }

  #faulty(): boolean {
    return this.world.nowMs - this.startedAtMs < this.#plan.healAtMs;
  }

  async play(): Promise<void> {
    const { world } = this;
    for (const address of this.#addresses) this.#startCoordinator(address, world.random.whole(0, 2_000));
    for (let index = 0; index < this.#plan.workers; index += 1) this.#addWorker(`w${index}`, world.random.whole(0, 3_000));
    for (const run of this.#plan.runs) world.after(run.submitAtMs, () => this.#operator.submit(run));
    scheduleFaults(this.#cast());
    this.#upgrade();
    world.after(this.#plan.healAtMs, () => this.#heal());
    this.#operator.operate();
    let leadersBefore = 0;
    while (!this.#isOver()) {
      if (world.events > EVENTS_MAX) throw new Violation(`${EVENTS_MAX} events and no end`);
      if (world.nowMs - this.startedAtMs > this.#plan.healAtMs + LIVENESS_MS_MAX) throw new Violation(`not over ${LIVENESS_MS_MAX / 60_000} minutes after the last fault: ${this.#standing()}`);
      if (!(await world.step())) throw new Violation('nothing is left to happen');
      if (this.#broken !== undefined) throw this.#broken;
      const leaders = [...this.#coordinators.values()].filter(({ leader }) => leader !== undefined && leader.failure === undefined).length;
      if (leaders > 1 && leadersBefore <= 1) world.count('branch: two coordinators believe that they lead');
      leadersBefore = leaders;
      for (const { leader } of this.#coordinators.values()) if (leader !== undefined) this.#checker.leases(leader, this.#plan.runs.map((run) => run.runId));
    }
    for (const { leader } of this.#coordinators.values()) if (leader?.failure === undefined && leader?.term === this.#disk.term) this.#checker.leaderEnds(leader);
    for (const run of this.#plan.runs) this.#compare(run);
  }

  #isOver(): boolean {
    return !this.#operator.isReconciling && this.#plan.runs.every((run) => {
      const state = this.#checker.state(run.runId);
      return state !== undefined && isEnded(state.phase) && !this.#operator.wantsRetry(run, state);
    });
  }

  #standing(): string {
    return this.#plan.runs.map((run) => {
      const state = this.#checker.state(run.runId);
      return state === undefined ? `${run.runId} was never submitted` : `${run.runId} is ${state.phase} at i${state.iteration} stage ${state.stage}, ${openTasks(state).length} tasks open, ${state.reason}`;
    }).join('; ');
  }

  /** What a check throws deep inside a callback of the code under test must not be swallowed there. */
  #guard<Args extends unknown[]>(check: (...args: Args) => void): (...args: Args) => void {
    return (...args) => {
      try {
        check(...args);
      } catch (thrown) {
        this.#broken ??= asError(thrown);
      }
    };
  }

  #addWorker(workerId: string, delayMs: number): void {
    const worker = new SimulatedWorker(workerId, this.#surroundings);
    this.#workers.push(worker);
    this.world.after(delayMs, () => this.#revive(worker));
  }

  #startCoordinator(address: string, delayMs: number): void {
    const { world } = this;
    world.after(delayMs, () => {
      if (this.#coordinators.has(address)) return;
      this.#processes += 1;
      // Links are between places: a process that is started again has those of the one before.
      const party = new Party(address, world);
      const id = `${address}#${this.#processes}`;
      const crash = (): void => this.#endCoordinator(address, id);
      const release = this.#releaseAt(address);
      const way = this.#wayOf(party, release);
      const clock = clockOf(world, party, this.#plan.clockRates[this.#addresses.indexOf(address)] ?? 1);
      const entry = this.#entry.way(way);
      const node = new Node({
        journal: this.#disk.way(way, crash),
        entry: this.#mutant === 'never-steps-down' ? { ...entry, update: (holder, revision) => entry.update(holder, revision).then((renewed) => renewed ?? revision, () => revision) } : entry,
        store: this.#storeOf(way, crash), holder: { id, address }, leaseMs: this.#plan.leaseMs, clock, random: () => world.random.next(), log: () => undefined,
        snapshotEvents: this.#plan.snapshotEvents, standbyMs: this.#plan.standbyMs,
        onLead: this.#guard((leader) => {
          const own = this.#coordinators.get(address);
          if (own?.id !== id) return;
          if (own.leader !== undefined) world.count('branch: a node leads again');
          own.leader = leader;
          if (this.#disk.release > release) throw new Violation(`${id} leads with an older release than wrote the journal`);
          if (this.#disk.groups.some((group) => group.release < release)) world.count('branch: a newer release leads what an older one wrote');
          breakLeader(this.#mutant, leader);
          if (leader.term === this.#disk.term) this.#checker.leaderBegins(leader);
          leader.onFailure(() => world.count('branch: a leader steps down'));
        }),
        onFatal: (error) => {
          world.count(`branch: a coordinator gives up (${error.code})`);
          crash();
        },
      });
      this.#coordinators.set(address, { address, node, id, party, leader: undefined, service: this.#serviceOf(node, id) });
      node.start();
    });
  }

  #storeOf(way: Way, crash: () => void): ObjectStore {
    const store = new StoreWay(this.#store, way, crash);
    return this.#mutant === 'stale-snapshot' ? withStaleSnapshots(store) : store;
  }

  /** kill -9, and a process manager that starts it again. */
  #endCoordinator(address: string, id: string, awayMs = this.world.random.magnitude(50, RESTART_MS_MAX)): void {
    const coordinator = this.#coordinators.get(address);
    if (coordinator?.id !== id) return;
    coordinator.party.alive = false;
    this.#coordinators.delete(address);
    const { leader } = coordinator;
    if (leader !== undefined && leader.failure === undefined) this.#guard(() => this.#checker.leaderEnds(leader))();
    this.#startCoordinator(address, awayMs);
  }

  #serviceOf(node: Node, id: string): Server['service'] {
    const service = workerService(node, 'simulated:');
    return {
      ...service,
      acquire: (call, callback) => service.acquire(call, (error, response) => {
        for (const lease of response?.leases ?? []) this.#guard(() => this.#granted(node, id, lease.task))();
        callback(error, response);
      }),
    };
  }

  #granted(node: Node, id: string, task: Task | undefined): void {
    const present = this.#entry.present();
    const excused = this.world.nowMs <= this.#entry.lostUntilMs;
    if (present !== undefined && present.holder.id !== id && !excused) throw new Violation(`${id} granted a lease while ${present.holder.id} held the entry`);
    if (task === undefined) return;
    const run = node.leader().run(task.runId);
    if (run.phase !== 'running') throw new Violation(`${task.taskId} was granted while its run was ${run.phase}`);
    this.#breakTask(task);
  }

  /** Whoever leads, as the operator finds it; undefined where nobody does. */
  #leading(): Leader | undefined {
    const leaders = [...this.#coordinators.values()].flatMap(({ node }) => {
      try {
        return [node.leader()];
      } catch {
        return [];
      }
    });
    return leaders.length === 0 ? undefined : this.world.random.pick(leaders);
  }

  /** Coordinator by coordinator, whether or not there are other faults: each ends and comes back of the newer release. */
  #upgrade(): void {
    const { upgrade } = this.#plan;
    if (upgrade === undefined) return;
    this.#addresses.forEach((address, turn) => {
      this.world.after(upgrade.atMs + turn * upgrade.everyMs, () => {
        this.world.count('fault: a coordinator is upgraded');
        const present = this.#coordinators.get(address);
        if (present !== undefined) this.#endCoordinator(address, present.id);
      });
    });
  }

  #cast(): Cast {
    return {
      world: this.world, plan: this.#plan, links: this.#links, entry: this.#entry, addresses: this.#addresses,
      isFaulty: () => this.#faulty(),
      workers: () => this.#workers,
      coordinators: () => [...this.#coordinators.values()].map(({ address, id, party, leader }) => ({ party, hasLed: leader !== undefined, end: () => this.#endCoordinator(address, id) })),
      leading: () => this.#leading(),
      revive: (worker) => this.#revive(worker),
      replace: (worker, workerId, delayMs) => {
        this.#workers = this.#workers.filter((each) => each !== worker);
        this.#addWorker(workerId, delayMs);
      },
      stopEverything: () => this.#stopEverything(),
      loseJournal: (groups) => {
        this.#disk.rewind(groups);
        this.#checker.rewound(this.#disk.lastSequence, this.#disk.term);
        this.#operator.journalLost();
      },
    };
  }

  /** Everything at once; it comes back one by one. */
  #stopEverything(): void {
    for (const { address, id } of [...this.#coordinators.values()]) this.#endCoordinator(address, id);
    for (const worker of this.#workers) {
      worker.crash();
      this.world.after(this.world.random.magnitude(1_000, 30_000), () => this.#revive(worker));
    }
  }

  #revive(worker: SimulatedWorker): void {
    if (!worker.isRunning && this.#workers.includes(worker)) worker.start();
  }

  #heal(): void {
    this.#links.restoreAll();
    for (const worker of this.#workers) {
      worker.pause(0);
      this.#revive(worker);
    }
    for (const { party } of this.#coordinators.values()) party.pause(0);
  }

  /** The same run with nothing in its way but the shards that were quarantined here; its rounds have the replicas that they had here, and merge the same ones. */
  #compare(run: RunPlan): void {
    const state = this.#checker.state(run.runId);
    const data = this.#operator.dataOf(run.runId);
    if (state === undefined || data === undefined || state.phase === 'cancelled' || this.#plan.chance.differentResult > 0) return;
    const undisturbed = playUndisturbed(run, recipeOf(run, this.#plan), data, state, (training, round) => this.#checker.sharedRound(run.runId, training, round));
    const [here, there] = [outcome(state, state), outcome(undisturbed, state)];
    this.world.count(state.iterations.some((each) => each.quarantined.size > 0) ? 'branch: compared, shards quarantined' : 'branch: compared, nothing quarantined');
    if (here !== there) throw new Violation(`${run.runId} ended otherwise than undisturbed:\n${here}\n${there}`);
  }
}
