/**
 * One seed, played: coordinators that lead one after another (and at times two at once), workers, an operator, and the
 * faults of the plan until it heals. Then every run must end, and end as it would have undisturbed.
 */
import { workerService } from '../../coordinator/api/worker-service.ts';
import { Fold } from '../../coordinator/fold.ts';
import type { Journal } from '../../coordinator/journal/index.ts';
import { Leader } from '../../coordinator/leader.ts';
import { currentIteration, decide, isEnded, openTasks, type IterationState, type RunState } from '../../coordinator/run/index.ts';
import { AlumnusError } from '../../proto/errors.ts';
import type { RunData } from '../../proto/gen/alumnus/v1/events.ts';
import { Stage, type Task } from '../../proto/gen/alumnus/v1/task.ts';
import type { Recipe } from '../../recipe/index.ts';
import { answer, makeData, makeRecipe } from '../unit/coordinator/work.ts';
import { Checker, plain, Violation } from './checker.ts';
import { Disk, journalOf, type DiskMutant } from './disk.ts';
import { Network, type Server } from './network.ts';
import { drawPlan, type Plan, type RunPlan } from './plan.ts';
import { MemoryStore } from './store.ts';
import { SimulatedWorker, type Surroundings } from './worker.ts';
import { Random, World } from './world.ts';

/** Healed, a run must end within this much virtual time: every task once more, one after another, with all its attempts, is far less. */
const LIVENESS_MS_MAX = 4 * 3600 * 1000;
/** Far more than any history takes; ends one that goes in circles without time passing. */
const EVENTS_MAX = 3_000_000;
const TICKS_PER_LEASE = 5;
const OPERATOR_LOOKS_MS = 5_000;
/** The operator resumes a run this often before looking for the cause and repairing the shard. */
const RESUMES_BEFORE_REPAIR = 2;

/** Ways to break what is checked, to see that the checkers notice. */
export type Mutant = DiskMutant | 'skips-shard';

export interface History {
  readonly plan: Plan;
  readonly simulatedMs: number;
  readonly events: number;
  readonly counts: ReadonlyMap<string, number>;
  /** Of everything that was written, in order: equal seeds give equal ones. */
  readonly trace: string;
  readonly violation: string | undefined;
}

interface Coordinator extends Server {
  readonly leader: Leader;
  end(): void;
}

function recipeOf(plan: RunPlan, seed: number): Recipe {
  return makeRecipe({
    seed, rounds: plan.rounds, weight: plan.weight, control: plan.control,
    labels: { balance: 'classes' },
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
  const { world, disk } = simulation;
  return { plan, simulatedMs: world.nowMs - simulation.startedAtMs, events: world.events, counts: world.counts, trace: disk.groups.map((bytes) => Buffer.from(bytes).toString('base64')).join('\n'), violation };
}

class Simulation {
  readonly world: World;
  readonly disk: Disk;
  readonly startedAtMs: number;
  readonly #plan: Plan;
  readonly #mutant: Mutant;
  readonly #checker: Checker;
  readonly #network: Network;
  readonly #workers: SimulatedWorker[] = [];
  readonly #store = new MemoryStore();
  readonly #data = new Map<string, RunData>();
  readonly #repaired = new Set<string>();
  readonly #resumes = new Map<string, number>();
  #coordinators: Coordinator[] = [];
  #starting = 0;
  #broken: Error | undefined;

  constructor(plan: Plan, mutant: Mutant) {
    this.#plan = plan;
    this.#mutant = mutant;
    this.world = new World(new Random(plan.seed, 2));
    this.disk = new Disk(mutant === 'skips-shard' ? 'none' : mutant);
    this.startedAtMs = this.world.nowMs;
    this.#checker = new Checker(this.world, plan, () => this.disk.term);
    this.#network = new Network(this.world, plan, () => this.#faulty(), () => (this.#coordinators.length === 0 ? undefined : this.world.random.pick(this.#coordinators)), (thrown) => {
      this.#broken ??= asError(thrown);
    });
  }

  #faulty(): boolean {
    return this.world.nowMs - this.startedAtMs < this.#plan.healAtMs;
  }

  async play(): Promise<void> {
    const { world } = this;
    this.#startCoordinator(0);
    const surroundings: Surroundings = {
      world, plan: this.#plan, network: this.#network, checker: this.#checker, faulty: () => this.#faulty(),
      isPoison: (runId, shard) => !this.#repaired.has(runId) && this.#plan.runs.some((run) => run.runId === runId && run.poison.includes(shard)),
    };
    for (let index = 0; index < this.#plan.workers; index += 1) {
      const worker = new SimulatedWorker(`w${index}`, surroundings);
      this.#workers.push(worker);
      world.after(world.random.whole(0, 3_000), () => worker.start());
    }
    for (const run of this.#plan.runs) world.after(run.submitAtMs, () => this.#submit(run));
    this.#scheduleFaults();
    world.after(this.#plan.healAtMs, () => this.#heal());
    this.#operate();
    while (!this.#isOver()) {
      if (world.events > EVENTS_MAX) throw new Violation(`${EVENTS_MAX} events and no end`);
      if (world.nowMs - this.startedAtMs > this.#plan.healAtMs + LIVENESS_MS_MAX) throw new Violation(`not over ${LIVENESS_MS_MAX / 60_000} minutes after the last fault: ${this.#standing()}`);
      await world.step();
      if (this.#broken !== undefined) throw this.#broken;
      for (const { leader } of this.#coordinators) this.#checker.leases(leader, this.#plan.runs.map((run) => run.runId));
    }
    for (const { leader } of this.#coordinators) this.#checker.leaderEnds(leader);
    for (const run of this.#plan.runs) this.#compare(run);
  }

  #isOver(): boolean {
    return this.#plan.runs.every((run) => {
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

  #startCoordinator(delayMs: number): void {
    this.#starting += 1;
    this.world.after(delayMs, () => {
      this.disk.term += 1;
      const { term } = this.disk;
      let alive = true;
      let coordinator: Coordinator | undefined;
      const end = (): void => {
        if (!alive) return;
        alive = false;
        this.#coordinators = this.#coordinators.filter((each) => each !== coordinator);
        if (coordinator !== undefined) this.#guard(() => this.#checker.leaderEnds((coordinator as Coordinator).leader))();
        if (this.#coordinators.length === 0 && this.#starting === 0) this.#startCoordinator(this.world.random.magnitude(50, 5_000));
      };
      const journal = journalOf(this.world, this.disk, this.#plan, { faulty: () => this.#faulty(), onWritten: this.#guard((group) => this.#checker.written(group)), kill: end, isAlive: () => alive });
      const clock = { now: () => this.world.nowMs, sleep: (ms: number) => new Promise<void>((resolve) => this.world.after(ms, resolve)) };
      void Fold.load(journal, this.#store).then((fold) => {
        const leader = new Leader({ journal, fold, store: this.#store, term, leaseMs: this.#plan.leaseMs, clock });
        this.#starting -= 1;
        this.#guard(() => {
          // A leader of a term that ended meanwhile may begin with less than is written by now.
          if (term === this.disk.term) this.#checker.leaderBegins(leader);
        })();
        coordinator = { leader, service: this.#serviceOf(leader, journal), isAlive: () => alive, end };
        this.#coordinators.push(coordinator);
        leader.onFailure(() => {
          this.world.count('branch: a leader steps down');
          end();
        });
        const tick = (): void => {
          if (!alive) return;
          leader.tick().catch((thrown: unknown) => {
            if (!(thrown instanceof AlumnusError)) this.#broken ??= asError(thrown);
          });
          this.world.after(this.#plan.leaseMs / TICKS_PER_LEASE, tick);
        };
        tick();
      }, (thrown: unknown) => {
        this.#broken ??= asError(thrown);
      });
    });
  }

  #serviceOf(leader: Leader, journal: Journal): Server['service'] {
    const service = workerService({ leader: () => leader, leaderAddress: '', journal }, 'simulated:');
    return {
      ...service,
      acquire: (call, callback) => service.acquire(call, (error, response) => {
        for (const lease of response?.leases ?? []) {
          this.#guard(() => {
            if (lease.task !== undefined && leader.run(lease.task.runId).phase !== 'running') throw new Violation(`${lease.task.taskId} was granted while its run was ${leader.run(lease.task.runId).phase}`);
          })();
          if (this.#mutant === 'skips-shard' && lease.task?.spec?.$case === 'select') lease.task = { ...lease.task, spec: { $case: 'select', value: { ...lease.task.spec.value, shards: lease.task.spec.value.shards.slice(1) } } };
        }
        callback(error, response);
      }),
    };
  }

  #newest(): Coordinator | undefined {
    return this.#coordinators.at(-1);
  }

  #submit(run: RunPlan): void {
    if (this.#checker.state(run.runId) !== undefined) return;
    const data = makeData({ shards: run.shards, truth: run.truth });
    this.#data.set(run.runId, data);
    // Said until it is written: an answer may be lost with its leader.
    this.world.after(5_000, () => this.#submit(run));
    this.#newest()?.leader.command(run.runId, { kind: 'submit', runId: run.runId, recipe: recipeOf(run, this.#plan.seed), data }).catch(() => undefined);
    if (run.cancelAtMs !== undefined) {
      this.world.after(run.cancelAtMs, () => {
        this.#newest()?.leader.command(run.runId, { kind: 'cancel', reason: 'no longer needed' }).then(() => this.world.count('fault: operator cancels'), () => undefined);
      });
    }
  }

  /** The operator resumes what pauses itself, and repairs a shard that keeps failing. */
  #operate(): void {
    this.world.after(OPERATOR_LOOKS_MS, () => {
      this.#operate();
      // One that drained while it stood still ends late, after whoever was to start it again looked.
      if (!this.#faulty()) this.#workers.forEach((worker) => this.#revive(worker));
      for (const run of this.#plan.runs) {
        const state = this.#checker.state(run.runId);
        if (state?.phase !== 'paused') continue;
        const resumes = (this.#resumes.get(run.runId) ?? 0) + 1;
        if (resumes > RESUMES_BEFORE_REPAIR && !this.#repaired.has(run.runId) && run.poison.length > 0) {
          this.#repaired.add(run.runId);
          this.world.count('branch: a shard is repaired');
        }
        this.#newest()?.leader.command(run.runId, { kind: 'resume' }).then(() => this.#resumes.set(run.runId, resumes), () => undefined);
      }
    });
  }

  #scheduleFaults(): void {
    const { world } = this;
    const { every } = this.#plan;
    const repeat = (kind: keyof Plan['every'], fault: () => void): void => {
      if (every[kind] === Infinity) return;
      world.after(-Math.log(1 - world.random.next()) * every[kind], () => {
        if (!this.#faulty()) return;
        fault();
        repeat(kind, fault);
      });
    };
    const someone = (): SimulatedWorker => world.random.pick(this.#workers);
    repeat('workerCrash', () => {
      const worker = someone();
      if (!worker.isRunning) return;
      world.count('fault: worker crash');
      worker.crash();
      // Some come back at once under their id, some only when the world heals.
      if (world.random.chance(0.8)) world.after(world.random.magnitude(100, 30_000), () => this.#revive(worker));
    });
    repeat('workerPause', () => {
      world.count('fault: worker pause');
      someone().pause(world.random.magnitude(500, 4 * this.#plan.leaseMs));
    });
    repeat('workerDrain', () => {
      const worker = someone();
      if (!worker.isRunning) return;
      world.count('fault: drain');
      worker.drain();
      world.after(world.random.whole(2_000, 30_000), () => this.#revive(worker));
    });
    repeat('coordinatorKill', () => {
      const coordinator = this.#newest();
      if (coordinator === undefined) return;
      world.count('fault: coordinator kill');
      coordinator.end();
    });
    repeat('takeover', () => {
      if (this.#starting > 0) return;
      const old = this.#newest();
      world.count('fault: takeover while the old leader lives');
      this.#startCoordinator(0);
      // One that has nothing to append would never notice; its process is ended some time later.
      if (old !== undefined) world.after(world.random.magnitude(100, 60_000), () => old.end());
    });
    repeat('operatorPause', () => {
      const run = world.random.pick(this.#plan.runs);
      this.#newest()?.leader.command(run.runId, { kind: 'pause', reason: 'maintenance' }).then(() => world.count('fault: operator pauses'), () => undefined);
    });
  }

  #revive(worker: SimulatedWorker): void {
    if (!worker.isRunning) worker.start();
  }

  #heal(): void {
    for (const worker of this.#workers) {
      worker.pause(0);
      this.#revive(worker);
    }
    for (const old of this.#coordinators.slice(0, -1)) old.end();
  }

  /** The same run with nothing in its way but the shards that were quarantined here. */
  #compare(run: RunPlan): void {
    const state = this.#checker.state(run.runId);
    const data = this.#data.get(run.runId);
    if (state === undefined || data === undefined || state.phase === 'cancelled' || this.#plan.chance.differentResult > 0) return;
    const undisturbed = playUndisturbed(run, recipeOf(run, this.#plan.seed), data, state);
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

function playUndisturbed(run: RunPlan, recipe: Recipe, data: RunData, like: RunState): RunState {
  let { state } = decide(undefined, { kind: 'submit', runId: run.runId, recipe, data }, 0);
  const give = (task: Task): void => {
    state = decide(state, { kind: 'complete', task, workerId: 'alone', result: answer(task) }, 0).state;
  };
  for (let step = 0; step < 10_000 && !isEnded(state.phase); step += 1) {
    if (state.phase === 'paused') {
      state = decide(state, { kind: 'resume' }, 0).state;
      continue;
    }
    const leftOut = state.stage === Stage.LABEL ? like.iterations[state.iteration]?.quarantined : undefined;
    const open = openTasks(state);
    const doomed = open.find((task) => leftOut?.has(task.subject) === true && !currentIteration(state).quarantined.has(task.subject));
    const next = doomed ?? open[0];
    if (next === undefined) break;
    if (doomed === undefined) give(next);
    else state = decide(state, { kind: 'fail', task: doomed, workerId: `w${step}`, code: 'ENGINE_CRASHED', message: 'the engine died', counts: true, fleet: 1_000, heldMs: 0 }, 0).state;
  }
  return state;
}
