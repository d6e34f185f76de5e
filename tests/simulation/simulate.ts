/**
 * One seed, played: coordinators of which one leads and the others stand by, workers, an operator, and the faults of the
 * plan until it heals. Real are the nodes with all that they decide (tenure, fold, leader, scheduler, manifests, snapshots,
 * reconcile, the worker service); simulated are time, network, journal, entry, store and workers. When all has healed every
 * run must end, and end as it would have undisturbed.
 */
import { workerService } from '../../coordinator/api/worker-service.ts';
import type { Leader } from '../../coordinator/leader.ts';
import { Node } from '../../coordinator/node.ts';
import { reconcile } from '../../coordinator/reconcile.ts';
import { currentIteration, decide, isDue, isEnded, openTasks, type IterationState, type RunState } from '../../coordinator/run/index.ts';
import { RunData } from '../../proto/gen/alumnus/v1/events.ts';
import type { ReconcileResponse } from '../../proto/gen/alumnus/v1/operator.ts';
import { Stage, type Task } from '../../proto/gen/alumnus/v1/task.ts';
import type { Recipe } from '../../recipe/index.ts';
import { paths, type ObjectRef, type ObjectStore, type PutOptions } from '../../store/index.ts';
import { finished } from '../unit/coordinator/bucket.ts';
import { makeData, makeRecipe } from '../unit/coordinator/work.ts';
import { Checker, plain, Violation, type StudentRound } from './checker.ts';
import { clockOf, Disk, LIST_LAG_MS_MAX, SharedEntry, STORE, StoreWay, type DiskMutant, type Way } from './engines.ts';
import { Network, type Server } from './network.ts';
import { Links, Party } from './party.ts';
import { drawPlan, type Plan, type RunPlan } from './plan.ts';
import { MemoryStore } from './store.ts';
import { SimulatedWorker, type Surroundings } from './worker.ts';
import { Random, World } from './world.ts';

/** Healed, a run must end within this much virtual time: every task once more, one after another, with all its attempts, is far less. */
const LIVENESS_MS_MAX = 16 * 3600 * 1000;
/** Far more than any history takes; ends one that goes in circles without time passing. */
const EVENTS_MAX = 3_000_000;
const OPERATOR_LOOKS_MS = 20_000;
/** The operator resumes a run this often before looking for the cause and repairing the shard. */
const RESUMES_BEFORE_REPAIR = 2;
/** A process manager starts again what ended. */
const RESTART_MS_MAX = 20_000;
/** Releases by their order: the one that a rolling upgrade begins with, and the one that it ends with. */
const OLDER = 1;
const NEWER = 2;

/** Ways to break what is checked, to see that the checkers notice. */
export type Mutant = DiskMutant | 'skips-shard' | 'mixes-checkpoints' | 'never-expires' | 'stale-snapshot' | 'never-steps-down' | 'merges-too-few' | 'repeats-data' | 'forgets-optimizer';

export interface History {
  readonly plan: Plan;
  readonly simulatedMs: number;
  readonly events: number;
  readonly counts: ReadonlyMap<string, number>;
  /** Of everything that was written, in order: equal seeds give equal ones. */
  readonly trace: string;
  readonly violation: string | undefined;
}

function recipeOf(plan: RunPlan, seed: number, checkpointSteps: number): Recipe {
  return makeRecipe({
    training: {
      checkpoint_steps: checkpointSteps,
      ...(plan.shared === undefined ? {} : { replicas: plan.shared.replicas, sharing: { local_steps: plan.shared.localSteps, quorum: plan.shared.quorum, straggler_wait: plan.shared.stragglerWait } }),
      ...(plan.fineTuning === 'none' ? {} : { fine_tune: { steps: 700, teaches: plan.fineTuning === 'teaches' } }),
    },
    seed, rounds: plan.rounds, weight: plan.weight, control: plan.control,
    labels: { balance: 'classes', ...(plan.guarded ? { precision: 0.97 } : {}) },
    ...(plan.guarded ? { guards: { class_share_least: 0.9, class_share_most: 0.5, calibration_error_most: 0.05 } } : {}),
    promotion: { on_refusal: plan.onRefusal, require: plan.require, tries_max: 2 },
    tolerance: { quarantined_share: plan.quarantinedShare, attempts: plan.attempts },
  });
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
  /** Its last leader, and how far that had come when the checker last looked. */
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
  readonly #store = new MemoryStore(() => this.world.nowMs);
  readonly #surroundings: Surroundings;
  #workers: SimulatedWorker[] = [];
  readonly #data = new Map<string, RunData>();
  readonly #repaired = new Set<string>();
  readonly #resumes = new Map<string, number>();
  /** By address; an address whose process ended is free until another starts there. */
  readonly #coordinators = new Map<string, Coordinator>();
  readonly #addresses: readonly string[];
  #processes = 0;
  #replacements = 0;
  /** The journal lost something that the bucket has: runs are not submitted again, and the operator reconciles. */
  #lost = false;
  #lostAtMs = 0;
  #broken: Error | undefined;
  #mixed: Task | undefined;

  constructor(plan: Plan, mutant: Mutant) {
    this.#plan = plan;
    this.#mutant = mutant;
    this.world = new World(new Random(plan.seed, 2));
    this.startedAtMs = this.world.nowMs;
    this.#checker = new Checker(this.world, plan, this.#store, () => this.#disk.term);
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
    this.#surroundings = {
      world: this.world, plan, network: this.#network, checker: this.#checker, faulty: () => this.#faulty(), addresses: this.#addresses.join(','), labels: new Map(), forget: (key) => this.#store.delete(key), broke: (thrown) => {
        this.#broken ??= thrown;
      },
      store: (workerId) => new StoreWay(this.#store, this.#wayOf(new Party(workerId, this.world), NEWER)),
      isPoison: (runId, shard) => !this.#repaired.has(runId) && plan.runs.some((run) => run.runId === runId && run.poison.includes(shard)),
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
    for (const run of this.#plan.runs) world.after(run.submitAtMs, () => this.#submit(run));
    this.#scheduleFaults();
    this.#upgrade();
    world.after(this.#plan.healAtMs, () => this.#heal());
    this.#operate();
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
    return !this.#lost && this.#plan.runs.every((run) => {
      const state = this.#checker.state(run.runId);
      return state !== undefined && isEnded(state.phase);
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
          if (this.#mutant === 'never-expires') leader.scheduler.expired = () => [];
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
    if (this.#mutant !== 'stale-snapshot') return store;
    // Writes the state that a run had one snapshot ago.
    const stale = new Map<string, Uint8Array>();
    const put = store.putAddressed.bind(store);
    store.putAddressed = (prefix: string, content: Uint8Array | AsyncIterable<Uint8Array>, options?: PutOptions): Promise<ObjectRef> => {
      if (options?.extension !== '.state' || !(content instanceof Uint8Array)) return put(prefix, content, options);
      const before = stale.get(prefix) ?? content;
      stale.set(prefix, content);
      return put(prefix, before, options);
    };
    return store;
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
    // A leader that mixes trainings up: what one left is handed to another.
    if (this.#mutant === 'mixes-checkpoints' && task.spec?.$case === 'train') {
      if (this.#mixed !== undefined && this.#mixed.taskId !== task.taskId) task.checkpoints = this.#mixed.checkpoints;
      else if (task.checkpoints.length > 0) this.#mixed = { ...task };
    }
    const { spec } = task;
    if (this.#mutant === 'merges-too-few' && spec?.$case === 'merge' && spec.value.inputs.length > 1) task.spec = { $case: 'merge', value: { ...spec.value, inputs: spec.value.inputs.slice(1) } };
    // Every round reads the data from its begin on.
    if (this.#mutant === 'repeats-data' && spec?.$case === 'replica') task.spec = { $case: 'replica', value: { ...spec.value, firstBatch: spec.value.replica * spec.value.steps } };
    if (this.#mutant === 'forgets-optimizer' && spec?.$case === 'replica') task.spec = { $case: 'replica', value: { ...spec.value, optimizer: undefined } };
    if (this.#mutant === 'skips-shard' && task.spec?.$case === 'select') task.spec = { $case: 'select', value: { ...task.spec.value, shards: task.spec.value.shards.slice(1) } };
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

  #submit(run: RunPlan): void {
    if (this.#checker.state(run.runId) !== undefined) return;
    const data = makeData({ shards: run.shards, truth: run.truth });
    this.#data.set(run.runId, data);
    // Said until it is written: an answer may be lost with its leader. What the bucket knows is not submitted anew.
    this.world.after(20_000, () => this.#submit(run));
    if ([...this.#store.objects.keys()].some((key) => key.startsWith(`runs/${run.runId}/`)) && this.#plan.journalLoss !== undefined && this.#checker.knew(run.runId)) return;
    // Of half of all seeds' runs, as of large sets, the data lies in the bucket.
    const written = (this.#plan.seed + this.#plan.runs.indexOf(run)) % 2 === 0 ? Promise.resolve(undefined)
      : this.#store.putAddressed(paths.runData(run.runId), RunData.encode(data).finish(), { extension: '.data' });
    written.then((dataRef) => this.#leading()?.command(run.runId, { kind: 'submit', runId: run.runId, recipe: recipeOf(run, this.#plan.seed, this.#plan.checkpointSteps), data, dataRef })).catch(() => undefined);
    if (run.cancelAtMs !== undefined) {
      this.world.after(run.cancelAtMs, () => {
        this.#leading()?.command(run.runId, { kind: 'cancel', reason: 'no longer needed' }).then(() => this.world.count('fault: operator cancels'), () => undefined);
      });
    }
  }

  /** The operator resumes what pauses itself, repairs a shard that keeps failing, and reconciles when the journal lost something. */
  #operate(): void {
    this.world.after(OPERATOR_LOOKS_MS, () => {
      this.#operate();
      // One that drained while it stood still ends late, after whoever was to start it again looked.
      if (!this.#faulty()) this.#workers.forEach((worker) => this.#revive(worker));
      if (this.#lost) {
        this.#reconcile();
        return;
      }
      for (const run of this.#plan.runs) {
        const state = this.#checker.state(run.runId);
        if (state?.phase !== 'paused') continue;
        const resumes = (this.#resumes.get(run.runId) ?? 0) + 1;
        if (resumes > RESUMES_BEFORE_REPAIR && !this.#repaired.has(run.runId) && run.poison.length > 0) {
          this.#repaired.add(run.runId);
          this.world.count('branch: a shard is repaired');
        }
        this.#leading()?.command(run.runId, { kind: 'resume' }).then(() => this.#resumes.set(run.runId, resumes), () => undefined);
      }
    });
  }

  /** First without applying, as the operator is told to: what could not be read for a moment is asked for again. */
  #reconcile(): void {
    const leader = this.#leading();
    if (leader === undefined || this.world.nowMs < this.#lostAtMs + LIST_LAG_MS_MAX) return;
    const unclear = ({ runs }: ReconcileResponse): boolean => runs.some(({ notes }) => notes.some((note) => !note.includes('was left by a leader') && !note.includes('went on otherwise')));
    const looked = this.#plan.chance.wrongNamedBytes > 0 ? reconcile(leader, { runId: '', apply: false }) : Promise.resolve({ runs: [], objectsSeen: 0 });
    looked.then((look) => {
      if (unclear(look)) return undefined;
      this.#checker.reconciling = true;
      return reconcile(leader, { runId: '', apply: true });
    }).then(this.#guard((done) => {
      if (!this.#lost || done === undefined) return;
      const { runs } = done;
      for (const { verdict } of runs) this.world.count(`branch: reconcile says ${verdict}`);
      // Where the store gave other bytes for a moment the operator is told so, and asks again.
      if (unclear(done)) return;
      this.#lost = false;
      for (const { runId, verdict, notes } of runs) if (verdict === 'unreadable') throw new Violation(`reconcile found ${runId} unreadable: ${notes.join('; ')}`);
      this.#checker.reconciled(runs.filter(({ verdict }) => verdict === 'diverged').map(({ runId }) => runId));
    }), () => undefined).finally(() => {
      this.#checker.reconciling = false;
    });
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

  #scheduleFaults(): void {
    const { world } = this;
    const { every, journalLoss } = this.#plan;
    const repeat = (kind: keyof Plan['every'], fault: () => void): void => {
      if (every[kind] === Infinity) return;
      world.after(-Math.log(1 - world.random.next()) * every[kind], () => {
        if (!this.#faulty()) return;
        fault();
        repeat(kind, fault);
      });
    };
    const someone = (): SimulatedWorker => world.random.pick(this.#workers);
    const someCoordinator = (): Coordinator | undefined => (this.#coordinators.size === 0 ? undefined : world.random.pick([...this.#coordinators.values()]));
    repeat('workerCrash', () => {
      const worker = someone();
      if (!worker.isRunning) return;
      world.count('fault: worker crash');
      worker.crash();
      // Some come back at once under their id, some only when the world heals.
      if (world.random.chance(0.8)) world.after(world.random.magnitude(100, 120_000), () => this.#revive(worker));
    });
    repeat('workerReplaced', () => {
      const worker = someone();
      world.count('fault: a worker is gone for good, and another comes');
      worker.crash();
      this.#workers = this.#workers.filter((each) => each !== worker);
      this.#addWorker(`r${this.#replacements += 1}`, world.random.magnitude(1_000, 60_000));
    });
    repeat('workerPause', () => {
      world.count('fault: worker stands still');
      someone().pause(world.random.magnitude(500, 4 * this.#plan.leaseMs));
    });
    repeat('workerDrain', () => {
      const worker = someone();
      if (!worker.isRunning) return;
      world.count('fault: drain');
      worker.drain();
      world.after(world.random.whole(2_000, 120_000), () => this.#revive(worker));
    });
    repeat('coordinatorKill', () => {
      const coordinator = someCoordinator();
      if (coordinator === undefined) return;
      world.count(coordinator.leader === undefined ? 'fault: standby killed' : 'fault: leader killed');
      this.#endCoordinator(coordinator.address, coordinator.id);
    });
    repeat('coordinatorPause', () => {
      world.count('fault: coordinator stands still');
      someCoordinator()?.party.pause(world.random.magnitude(200, 6 * this.#plan.ttlMs));
    });
    repeat('clockStep', () => {
      const coordinator = someCoordinator();
      if (coordinator === undefined) return;
      world.count('fault: a coordinator\'s clock steps ahead');
      coordinator.party.clockAheadMs += Math.round(world.random.magnitude(100, 4 * this.#plan.leaseMs));
    });
    repeat('entryLost', () => {
      world.count('fault: the leader\'s entry is lost early');
      this.#entry.lose();
    });
    repeat('operatorPause', () => {
      const run = world.random.pick(this.#plan.runs);
      this.#leading()?.command(run.runId, { kind: 'pause', reason: 'maintenance' }).then(() => world.count('fault: operator pauses'), () => undefined);
    });
    repeat('partition', () => {
      const worker = someone().workerId;
      const address = world.random.pick(this.#addresses);
      const [from, to] = world.random.pick([[worker, address], [address, worker], [address, 'journal'], ['journal', address], [address, 'entry'], ['entry', address], [address, STORE], [worker, STORE], [STORE, worker]] as const);
      const both = world.random.chance(0.4);
      const kind = [from, to].map((each) => (each.startsWith('coordinator') ? 'coordinator' : /^[wr]\d/.test(each) ? 'worker' : each)).join(' to ');
      world.count(`fault: link cut (${kind}${both ? ' and back' : ', one way'})`);
      this.#links.cut(from, to);
      if (both) this.#links.cut(to, from);
      // Each direction comes back by itself, in whatever order.
      for (const [a, b] of [[from, to], [to, from]] as const) world.after(world.random.magnitude(500, 8 * this.#plan.leaseMs), () => this.#links.restore(a, b));
    });
    repeat('powerLoss', () => {
      world.count('fault: power loss of the whole cluster');
      this.#stopEverything();
    });
    if (journalLoss !== undefined && journalLoss.atMs < this.#plan.healAtMs) {
      world.after(journalLoss.atMs, () => {
        world.count(journalLoss.groups === Infinity ? 'fault: the journal is lost' : 'fault: acknowledged groups are lost');
        this.#stopEverything();
        this.#disk.rewind(journalLoss.groups);
        this.#checker.rewound(this.#disk.lastSequence, this.#disk.term);
        this.#lost = true;
        this.#lostAtMs = this.world.nowMs;
      });
    }
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
    const data = this.#data.get(run.runId);
    if (state === undefined || data === undefined || state.phase === 'cancelled' || this.#plan.chance.differentResult > 0) return;
    const undisturbed = playUndisturbed(run, recipeOf(run, this.#plan.seed, this.#plan.checkpointSteps), data, state, (iteration, attempt, round) => this.#checker.studentRound(run.runId, iteration, attempt, round));
    const [here, there] = [outcome(state), outcome(undisturbed)];
    this.world.count(state.iterations.some((each) => each.quarantined.size > 0) ? 'branch: compared, shards quarantined' : 'branch: compared, nothing quarantined');
    if (here !== there) throw new Violation(`${run.runId} ended otherwise than undisturbed:\n${here}\n${there}`);
  }
}

/** What a run came to: every decision with its reasons and every digest that went into one. */
function outcome(state: RunState): string {
  const tried = (each: IterationState): object => ({ ...each, quarantined: [...each.quarantined.keys()].sort(), audit: undefined, auditGivenUp: undefined, acknowledged: undefined });
  const { phase, iteration, teacher, promoted, best, gates } = state;
  return JSON.stringify(plain({ phase, iteration, try: state.try, teacher, promoted, best, gates, iterations: state.iterations.map(tried), refusedTries: state.refusedTries.map(tried) }));
}

function playUndisturbed(run: RunPlan, recipe: Recipe, data: RunData, like: RunState, roundOf: (iteration: number, attempt: number, round: number) => StudentRound | undefined): RunState {
  // Here a round closes by its last replica alone. How long stragglers are waited for is no input of any task.
  const { training } = recipe;
  const patient: Recipe = training.sharing === undefined ? recipe : { ...recipe, training: { ...training, sharing: { ...training.sharing, straggler_wait: 100 } } };
  let nowMs = 0;
  let { state } = decide(undefined, { kind: 'submit', runId: run.runId, recipe: patient, data }, nowMs);
  const give = (task: Task): void => {
    state = decide(state, { kind: 'complete', task, workerId: 'alone', result: finished(task).result }, nowMs).state;
  };
  const studentsRound = (): number => state.rounds.find(({ training }) => training.subject === 'student')?.merges ?? 0;
  for (let step = 0; step < 20_000 && !isEnded(state.phase); step += 1) {
    nowMs += 1;
    if (state.phase === 'paused') {
      state = decide(state, { kind: 'resume' }, nowMs).state;
      continue;
    }
    // The control's rounds are compared with nothing: they may have any number.
    if (isDue(state, { nowMs, inFlightMs: 0, fleet: 1 })) {
      state = decide(state, { kind: 'clock', inFlightMs: 0, fleet: roundOf(state.iteration, state.try, studentsRound())?.replicas ?? 1 }, nowMs).state;
      continue;
    }
    const leftOut = state.stage === Stage.LABEL ? like.iterations[state.iteration]?.quarantined : undefined;
    const open = openTasks(state);
    const isDoomed = (task: Task): boolean => {
      if (task.spec?.$case === 'replica') return task.subject.startsWith('student') && roundOf(state.iteration, state.try, task.spec.value.round)?.included?.includes(task.spec.value.replica) === false;
      return leftOut?.has(task.subject) === true && !currentIteration(state).quarantined.has(task.subject);
    };
    const doomed = open.find(isDoomed);
    const next = doomed ?? open[0];
    if (next === undefined) break;
    if (doomed === undefined) give(next);
    else state = decide(state, { kind: 'fail', task: doomed, workerId: `w${step}`, code: 'ENGINE_CRASHED', message: 'the engine died', counts: true, fleet: 1_000, heldMs: 0 }, nowMs).state;
  }
  return state;
}
